"""One JSON object a line on stdout and nothing else there, flushed; a reader that leaves ends it quietly."""

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, TextIO

from host.capture import Identity
from host.measurement import steps_of
from host.outputs.claims import claim
from host.outputs.pipe import abandon
from host.outputs.report import About, Event, Reading, Standing, Summary


def measurement_object(reading: Reading) -> dict[str, Any]:
    """The `measurement` object of a reading. Times in seconds, rounded to microseconds."""
    provenance = reading.measurement.provenance
    return {
        "type": "measurement",
        "sequence": reading.sequence,
        "time": round(reading.time_s, 6),
        "count": reading.count,
        "occupied": reading.occupied,
        "state": "sensing",
        "latency_ms": None if reading.latency_ms is None else round(reading.latency_ms, 3),
        "provenance": {
            **{
                key: round(value, 6) if isinstance(value, float) else value for key, value in asdict(provenance).items()
            },
            "steps": provenance.steps,
        },
    }


def event_object(event: Event) -> dict[str, Any]:
    """The `event` object: its kind, its time and whatever belongs to it."""
    return {"type": "event", "event": event.kind, "time": round(event.time_s, 6), **event.detail}


class JsonLines:
    """Writes to `stream` (stdout). After EPIPE nothing more is written and `wanted` is False."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.wanted = True

    def start(self, about: About) -> None:
        """Nothing: the `started` event carries what is running."""

    def standing(self, standing: Standing) -> None:
        """Nothing: every change of state is an event."""

    def progress(self, text: str) -> None:
        sys.stderr.write(text + "\n")

    def reading(self, reading: Reading) -> None:
        self._write(measurement_object(reading))

    def event(self, event: Event) -> None:
        self._write(event_object(event))

    def close(self, summary: Summary) -> None:
        """Nothing: the `stopped` event carries the summary."""

    def _write(self, line: Mapping[str, Any]) -> None:
        if not self.wanted:
            return
        try:
            self._stream.write(json.dumps(line, separators=(",", ":"), allow_nan=False) + "\n")
            self._stream.flush()
        except BrokenPipeError:
            self.wanted = False
            abandon(self._stream)


def started_detail(about: About, identity: Identity) -> dict[str, Any]:
    """What the `started` event says about the run, the claim included."""
    steps = steps_of(identity.capture_path)
    return {
        **asdict(about),
        "capture_path": identity.capture_path,
        "steps": steps,
        "claim": claim(steps, identity.rehearsed_path),
        "rehearsed_path": identity.rehearsed_path,
        "sandbox": identity.sandbox,
    }
