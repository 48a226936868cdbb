"""Stores what happens, then tells the outputs: nobody hears of an event that a restart could take back."""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from host.causes import Cause
from host.outputs.report import About, Event, Output, Reading, Standing, State, Summary
from host.storage import Storage, StoredEvent


class Recorder:
    """One run's storage and outputs. `clock` gives the time of events that belong to no measurement."""

    def __init__(self, storage: Storage, outputs: Sequence[Output], clock: Callable[[], float]) -> None:
        self.storage = storage
        self.counted: Counter[str] = Counter()
        self._outputs = outputs
        self._clock = clock
        self._run_id = f"{time.time_ns():x}"
        self._number = 0
        self._standing = Standing("starting")

    @property
    def wanted(self) -> bool:
        """Whether anybody still reads the outputs."""
        return any(output.wanted for output in self._outputs)

    def start(self, about: About) -> None:
        """Tell the outputs what runs, what opening the storage had to say, and what to be warned of."""
        for output in self._outputs:
            output.start(about)
        self._tell_storage()
        for text in about.warnings:
            self.event("warning", {"message": text})

    def reading(self, reading: Reading) -> None:
        for output in self._outputs:
            output.reading(reading)

    def standing(self, state: State, cause: Cause | None) -> None:
        """Tell the state and its reason, if they are news."""
        reason, advice = (cause.reason, cause.advice or None) if cause else (None, None)
        standing = Standing(state, reason, advice, self.storage.problem)
        if standing != self._standing:
            self._standing = standing
            for output in self._outputs:
                output.standing(standing)

    def event(self, kind: str, detail: Mapping[str, object], state: Mapping[str, bytes] | None = None) -> None:
        """Something that belongs to no measurement: stored under a key that no other run has."""
        self._number += 1
        self.events([Event(kind, self._clock(), detail)], [f"{self._run_id}:{self._number}"], state)

    def events(self, events: Sequence[Event], keys: Sequence[str], state: Mapping[str, bytes] | None = None) -> None:
        """Store events in one transaction with the state that they led to, then tell them. The same key again is the
        same event again: it is not stored twice."""
        wall_time_s = time.time()
        stored = [
            StoredEvent(key, event.kind, event.time_s, wall_time_s, dict(event.detail))
            for event, key in zip(events, keys, strict=True)
        ]
        self.commit(stored, state)
        self._tell(events)

    def commit(self, events: Sequence[StoredEvent] = (), state: Mapping[str, bytes] | None = None) -> None:
        """Write state, tallied minutes and what waits."""
        self.storage.commit(events, state)
        self._tell_storage()

    def close(self, summary: Summary) -> None:
        for output in self._outputs:
            output.close(summary)

    def _tell(self, events: Sequence[Event]) -> None:
        for event in events:
            self.counted[event.kind] += 1
            for output in self._outputs:
                output.event(event)

    def _tell_storage(self) -> None:
        """What happened to the storage is an event too; a change of its problem stands beside the state."""
        while self.storage.notices:
            self.event("storage", {"message": self.storage.notices.pop(0)})
        if self.storage.problem != self._standing.storage_problem:
            self._standing = Standing(
                self._standing.state, self._standing.reason, self._standing.advice, self.storage.problem
            )
            for output in self._outputs:
                output.standing(self._standing)
