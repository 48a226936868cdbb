"""Plain text, a line a second at most: for a log, a pipe, or a terminal too small or too simple for the live view."""

import time
from collections.abc import Callable
from typing import TextIO

from host.outputs.claims import kernel_line, levels_line
from host.outputs.pipe import abandon
from host.outputs.report import About, Event, Reading, Standing, Summary

SECONDS_BETWEEN_LINES = 1.0


class Lines:
    """Writes to `stream`; `clock` is monotonic seconds."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._next_s = 0.0
        self._standing = Standing("starting")
        self._measured = 0
        self._since_s = clock()
        self.wanted = True

    def start(self, about: About) -> None:
        self._print(f"{about.source}; bundle {about.bundle_name} ({levels_line(about.effective_levels)})")
        if about.kernel is not None:
            self._print(f"optics: {kernel_line(about.kernel)}")

    def standing(self, standing: Standing) -> None:
        if standing != self._standing:
            self._standing = standing
            self._print(standing_text(standing))

    def progress(self, text: str) -> None:
        self._print(text)

    def reading(self, reading: Reading) -> None:
        self._measured += 1
        now = self._clock()
        if now < self._next_s:
            return
        rate = self._measured / max(now - self._since_s, 1e-3)
        self._next_s, self._since_s, self._measured = now + SECONDS_BETWEEN_LINES, now, 0
        self._print(f"{reading_text(reading)}  {rate:.0f} frames/s")

    def event(self, event: Event) -> None:
        if event.kind not in ("state", "started", "stopped"):  # standing, start and close say these
            self._print(event_text(event))

    def close(self, summary: Summary) -> None:
        for line in summary_lines(summary):
            self._print(line)

    def _print(self, text: str) -> None:
        if not self.wanted:
            return
        try:
            self._stream.write(text + "\n")
            self._stream.flush()
        except BrokenPipeError:
            self.wanted = False
            abandon(self._stream)


def clock_text(time_s: float) -> str:
    """Seconds on a scene's clock as m:ss.t; Unix time as the local time of day."""
    if time_s > 1e8:
        return time.strftime("%H:%M:%S", time.localtime(time_s))
    return f"{int(time_s // 60)}:{time_s % 60:04.1f}"


def people(count: int) -> str:
    return "nobody" if count == 0 else "1 person" if count == 1 else f"{count} people"


def standing_text(standing: Standing) -> str:
    """The state, why, and what to do about it."""
    parts = [standing.state.upper() if standing.state == "blind" else standing.state]
    if standing.reason:
        parts.append(f": {standing.reason}")
    if standing.advice:
        parts.append(f" ({standing.advice})")
    if standing.storage_problem:
        parts.append(f"; storage: {standing.storage_problem}")
    return "".join(parts)


def reading_text(reading: Reading) -> str:
    provenance = reading.measurement.provenance
    latency = "" if reading.latency_ms is None else f"  {reading.latency_ms:.0f} ms"
    return (
        f"{clock_text(reading.time_s)}  {people(reading.count)}  {'occupied' if reading.occupied else 'empty'}  "
        f"{provenance.exposure_us / 1000:.1f} ms x{provenance.gain:.2g}{latency}"
    )


def event_text(event: Event) -> str:
    """An event for people: "0:12.3 arrived: 1 person"."""
    detail = dict(event.detail)
    text = f"{clock_text(event.time_s)} {event.kind.replace('_', ' ')}"
    if event.kind == "state":
        reason = f" ({detail['reason']})" if detail.get("reason") else ""
        return f"{clock_text(event.time_s)} {detail.get('to')}{reason}"
    if "count" in detail and event.kind != "left":
        text += f": {people(int(detail['count']))}"
    if "message" in detail:
        text += f": {detail['message']}"
    return text


def summary_lines(summary: Summary) -> list[str]:
    """The end of a run in three lines at most."""
    frames = "" if summary.frames is None else f" of {summary.frames} frames"
    lines = [
        f"{summary.why_stopped}: {summary.measurements} measurements{frames} in {summary.duration_s:.1f} s"
        f" ({summary.frames_per_second:.1f} a second), occupied {summary.occupied_share:.0%} of them"
    ]
    if summary.latency_p50_ms is not None and summary.latency_p99_ms is not None:
        lines.append(
            f"latency {summary.latency_p50_ms:.1f} ms median, {summary.latency_p99_ms:.1f} ms at the 99th percentile"
        )
    counted = ", ".join(f"{number} {kind.replace('_', ' ')}" for kind, number in sorted(summary.events.items()))
    lines.append(f"events: {counted or 'none'}")
    if summary.state == "blind":
        lines.append(f"the sensor was blind at the end: {summary.reason}")
    return lines
