"""The sensor's life: starting, verifying, sensing, blind. Measurements leave only while sensing.

    starting -> verifying -> sensing
                  ^   |        |
                  |   v        v
                  +-- blind <--+

Every way into `sensing` leads through a full verification: bundle and detector belong together, the board speaks the
same schema, passes its self-test and reads back the bundle's thresholds. Blindness has a reason. One that mends by
itself (a lost port, a restarted board) is tried again, with back-off; a latched one waits until somebody has acted.
"""

import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from host.board.assembly import BoardMeasurement
from host.board.errors import BoardError
from host.capture import Capture, Identity, Probe
from host.causes import Cause, cause_of
from host.measurement import Measurement, Provenance
from host.outputs.json_lines import started_detail
from host.outputs.report import About, Event, Output, Reading, Standing, State, Summary
from host.pipeline import Decision, Pipeline
from host.source import Source
from host.stop import StopRequest
from host.storage import Storage, StoredEvent
from host.stream import Place, Position, follow, next_stream, position_from_bytes, position_to_bytes

READ_S = 0.2
FIRST_BACK_OFF_S, LONGEST_BACK_OFF_S = 0.1, 10.0
PROBE_S = 2.0
COMMIT_S = 1.0
ROOM_S = 30.0
DRAIN_S = 3.0  # after the last frame of a scene: how long what is still on its way may take
BAD_IN_A_ROW = 10
KEPT_LATENCIES = 20_000


class Daemon:
    """Runs one sensor until it is asked to stop, the scene ends, or `measurements` have been made."""

    def __init__(
        self,
        *,
        capture: Capture,
        pipeline: Pipeline,
        source: Source,
        storage: Storage,
        outputs: Sequence[Output],
        about: About,
        stop: StopRequest,
        measurements: int | None = None,
        stay_blind: bool = True,
    ) -> None:
        """`stay_blind`: whether a latched reason keeps the daemon waiting for an operator, or ends it."""
        self._capture, self._pipeline, self._source = capture, pipeline, source
        self._storage, self._outputs, self._about, self._stop = storage, outputs, about, stop
        self._limit, self._stay_blind = measurements, stay_blind
        self.state: State = "starting"
        self.cause: Cause | None = None
        self._identity: Identity | None = None
        self._latched_probe: Probe | None = None
        self._back_off_s = FIRST_BACK_OFF_S
        self._try_at_s = 0.0
        self._position = Position()
        self._sequence = 0
        self._frames_missed = 0
        self._occupied = 0
        self._bad_in_a_row = 0
        self._time_s = 0.0
        self._events: Counter[str] = Counter()
        self._latencies: deque[float] = deque(maxlen=KEPT_LATENCIES)
        self._run_id = f"{time.time_ns():x}"
        self._event_number = 0
        self._commit_at = (0.0, 0.0)
        self._room_at_s = float("-inf")
        self._last_data_s = 0.0
        self._why = ""
        self._notices_told = 0
        self._problem: str | None = None

    def run(self) -> Summary:
        """Until done. Disarms the board and writes what waits before it returns. Never raises for bad data or hardware."""
        began_s = time.monotonic()
        self._restore()
        for output in self._outputs:
            output.start(self._about)
        self._tell_storage()
        try:
            self._enter("verifying")
            while not self._done():
                if self.state == "verifying":
                    self._verify()
                elif self.state == "sensing":
                    self._sense()
                else:
                    self._wait_blind()
        finally:
            self._capture.release(disarm=True)
            summary = self._summary(time.monotonic() - began_s)
            self._emit([Event("stopped", self._now(), asdict(summary))])
            self._commit(force=True)
            for output in self._outputs:
                output.close(summary)
        return summary

    def _done(self) -> bool:
        if self._stop:
            self._why = self._stop.reason
        elif self._limit is not None and self._sequence >= self._limit:
            self._why = "as many measurements as asked for"
        elif not any(output.wanted for output in self._outputs):
            self._why = "nobody reads the output any more"
        elif self._source.failure is not None:
            self._why = f"the scene failed: {self._source.failure}"
        elif self.state == "blind" and self.cause is not None and self.cause.latched and not self._stay_blind:
            self._why = f"blind: {self.cause.reason}"
        elif self._source.finished and self._drained():
            self._why = "end of the scene"
        return bool(self._why)

    def _drained(self) -> bool:
        frames = self._source.frames
        if frames is not None and self._position.frame >= frames - 1:
            return True
        return self.state == "sensing" and time.monotonic() - self._last_data_s > DRAIN_S

    # -- states

    def _enter(self, state: State, cause: Cause | None = None) -> None:
        before, self.state, self.cause = self.state, state, cause
        for output in self._outputs:
            output.standing(self._standing())
        if state != before or cause is not None:
            detail: dict[str, Any] = {"from": before, "to": state}
            if cause is not None:
                detail |= {
                    "reason": cause.reason,
                    "cause": cause.kind,
                    "latched": cause.latched,
                    "advice": cause.advice,
                }
            self._emit([Event("state", self._now(), detail)])
            self._commit(force=True)

    def _standing(self) -> Standing:
        cause = self.cause
        return Standing(
            self.state,
            cause.reason if cause else None,
            (cause.advice or None) if cause else None,
            self._storage.problem,
        )

    def _verify(self) -> None:
        began_s = time.monotonic()
        try:
            identity = self._capture.verify(*self._pipeline.exposure)
        except BoardError as error:
            self._go_blind(cause_of(error))
            return
        first = self._identity is None
        restarted = self._identity is not None and identity.boot_id != self._identity.boot_id
        self._identity = identity
        self._back_off_s = FIRST_BACK_OFF_S
        self._last_data_s = time.monotonic()
        if first:
            steps = _steps(identity)
            self._emit([Event("started", self._now(), started_detail(self._about, steps))])
        else:
            self._source.again_from(self._position.frame + 1)
        self._enter("sensing")
        detail = {"message": f"board verified in {time.monotonic() - began_s:.1f} s", "board_restarted": restarted}
        self._emit([Event("verified", self._now(), detail | asdict(identity))])

    def _sense(self) -> None:
        try:
            measured = self._capture.read(READ_S)
            if measured is None:
                self._commit()
                return
            self._take(measured)
        except BoardError as error:
            self._go_blind(cause_of(error))

    def _go_blind(self, cause: Cause) -> None:
        self._capture.release(disarm=cause.latched)
        if cause.latched:
            self._latched_probe = self._capture.probe()
            self._try_at_s = time.monotonic() + PROBE_S
        else:
            self._latched_probe = None
            self._try_at_s = time.monotonic() + self._back_off_s
            self._back_off_s = min(2 * self._back_off_s, LONGEST_BACK_OFF_S)
        # The same reason once more on a further try is no news.
        if self.state == "verifying" and self._was_blind_for(cause):
            self.state, self.cause = "blind", cause
        else:
            self._enter("blind", cause)

    def _was_blind_for(self, cause: Cause) -> bool:
        same = self._last_told == cause
        self._last_told = cause
        return same

    _last_told: Cause | None = None

    def _wait_blind(self) -> None:
        self._stop.wait(min(0.2, max(0.0, self._try_at_s - time.monotonic())))
        self._commit()
        if self._stop or time.monotonic() < self._try_at_s or self.cause is None:
            return
        if not self.cause.latched:
            self.state = "verifying"  # quietly: a change of state is told when it succeeds, or fails for another reason
            return
        self._try_at_s = time.monotonic() + PROBE_S
        seen = self._capture.probe()
        acted = seen.speaks_schema and seen.fault == 0 and seen != self._latched_probe
        if acted:
            self._emit([Event("operator_acted", self._now(), {"message": "the board has changed; verifying it"})])
            self._enter("verifying")
        elif self._latched_probe == Probe():
            self._latched_probe = seen

    # -- measurements

    def _take(self, measured: BoardMeasurement) -> None:
        identity = self._identity
        if identity is None:
            return
        self._last_data_s = time.monotonic()
        own_scene = self._source.twin is not None
        place, after = follow(self._position, identity.boot_id, measured.frame, own_scene)
        if place is Place.SEEN:
            return
        time_s = measured.capture_time_us / 1e6 if self._on_scene_clock(identity) else time.time()
        try:
            decision = self._pipeline.decide(measured, time_s, new_stream=place is Place.NEW_STREAM)
        except (ValueError, TypeError, ArithmeticError) as error:
            self._bad_in_a_row += 1
            self._emit([Event("bad_measurement", self._now(), {"message": str(error), "frame": measured.frame})])
            if self._bad_in_a_row >= BAD_IN_A_ROW:
                self._bad_in_a_row = 0
                self._go_blind(
                    Cause("bad measurements", f"{BAD_IN_A_ROW} unusable measurements in a row: {error}", False)
                )
            return
        self._bad_in_a_row = 0
        if place is Place.NEXT and self._position.frame >= 0:
            self._frames_missed += max(0, measured.frame - self._position.frame - 1)
        self._position, self._time_s = after, time_s
        self._report(measured, decision, identity)
        if decision.exposure is not None:
            self._capture.set_exposure(*decision.exposure)

    def _report(self, measured: BoardMeasurement, decision: Decision, identity: Identity) -> None:
        now_s = time.monotonic()
        latency_ms = (now_s - measured.received_s) * 1000
        provenance = Provenance(
            capture_path=identity.capture_path,
            encoding_id=self._about.encoding_id,
            board_serial=identity.board_serial,
            firmware=identity.firmware,
            thresholds_digest=measured.thresholds_digest,
            boot_id=identity.boot_id,
            board_sequence=measured.sequence,
            frame=measured.frame,
            capture_time_s=measured.capture_time_us / 1e6,
            exposure_us=measured.exposure_us,
            gain=measured.gain,
            monotonic_s=now_s,
            wall_time_s=time.time(),
        )
        reading = Reading(
            sequence=self._sequence,
            time_s=self._time_s,
            count=decision.count,
            occupied=decision.occupied,
            measurement=Measurement(measured.codes, provenance),
            faces=decision.faces,
            present=decision.present,
            latency_ms=latency_ms,
            stages_ms=decision.stages_ms,
        )
        self._sequence += 1
        self._occupied += decision.occupied
        self._latencies.append(latency_ms)
        self._storage.tally(self._position.stream, self._time_s, decision.count, decision.occupied)
        for output in self._outputs:
            output.reading(reading)
        if decision.events:
            stream, frame = self._position.stream, measured.frame
            stored = [self._stored(event, f"{stream}:{frame}:{event.kind}") for event in decision.events]
            self._commit(stored, force=True)
            self._tell(decision.events)
        else:
            self._commit()

    def _on_scene_clock(self, identity: Identity) -> bool:
        return identity.capture_path == "twin" and not (self._source.twin is not None and self._source.live)

    def _now(self) -> float:
        """The time of an event that no measurement belongs to: the scene's where there is one, else Unix time."""
        recorded = self._source.twin is not None and not self._source.live
        return self._time_s if recorded or 0 < self._time_s < 1e8 else time.time()

    # -- events and storage

    def _emit(self, events: Sequence[Event]) -> None:
        """Tell and store events that belong to no measurement."""
        stored = []
        for event in events:
            self._event_number += 1
            stored.append(self._stored(event, f"{self._run_id}:{self._event_number}"))
        self._commit(stored, force=True)
        self._tell(events)

    def _tell(self, events: Sequence[Event]) -> None:
        for event in events:
            self._events[event.kind] += 1
            for output in self._outputs:
                output.event(event)

    def _stored(self, event: Event, key: str) -> StoredEvent:
        return StoredEvent(key, event.kind, event.time_s, time.time(), dict(event.detail))

    def _commit(self, events: Sequence[StoredEvent] = (), force: bool = False) -> None:
        """Write events with the state that they led to; without events at most once a second of either clock."""
        now_s, scene_s = time.monotonic(), self._time_s
        due = now_s - self._commit_at[0] >= COMMIT_S or abs(scene_s - self._commit_at[1]) >= COMMIT_S
        if not (force or due):
            return
        self._commit_at = (now_s, scene_s)
        state: dict[str, bytes] = {"position": position_to_bytes(self._position)} | self._pipeline.small_state()
        if abs(scene_s - self._room_at_s) >= ROOM_S or (self._why and force):
            self._room_at_s = scene_s
            state |= self._pipeline.room_state()
        self._storage.commit(events, state if self._sequence else {})
        self._tell_storage()

    def _tell_storage(self) -> None:
        """What happened to the storage, as events; a change of its problem also in the standing."""
        news = self._storage.notices[self._notices_told :]
        self._notices_told += len(news)
        for notice in news:
            event = Event("storage", self._now(), {"message": notice})
            self._event_number += 1
            self._storage.commit([self._stored(event, f"{self._run_id}:{self._event_number}")])
            self._tell([event])
        if self._storage.problem != self._problem:
            self._problem = self._storage.problem
            for output in self._outputs:
                output.standing(self._standing())

    def _restore(self) -> None:
        stored: Mapping[str, bytes] = self._storage.load_state()
        self._position = position_from_bytes(stored.get("position"))
        if self._source.twin is not None:
            self._position = next_stream(self._position)
        for notice in self._pipeline.restore(stored):
            self._storage.notices.append(notice)

    def _summary(self, duration_s: float) -> Summary:
        latencies = np.array(self._latencies) if self._latencies else None
        frames = self._source.frames
        return Summary(
            measurements=self._sequence,
            frames=frames,
            unmeasured=self._frames_missed,
            duration_s=round(duration_s, 3),
            events=dict(self._events),
            occupied_share=round(self._occupied / max(1, self._sequence), 4),
            frames_per_second=round(self._sequence / max(duration_s, 1e-6), 2),
            latency_p50_ms=None if latencies is None else round(float(np.percentile(latencies, 50)), 3),
            latency_p99_ms=None if latencies is None else round(float(np.percentile(latencies, 99)), 3),
            state=self.state,
            reason=self.cause.reason if self.cause else None,
            why_stopped=self._why or "stopped by an error",
            failed=self._source.failure is not None or not self._why,
        )


def _steps(identity: Identity) -> dict[str, Any]:
    from host.measurement import STEPS

    return dict(zip(("convolution", "pooling", "thresholds"), STEPS[identity.capture_path], strict=True))
