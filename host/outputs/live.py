"""The live view: codes as a picture, faces marked, beside the count, the state and what may be claimed of it."""

import time
from collections import deque
from collections.abc import Callable

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from host.outputs.claims import claim, kernel_line, levels_line, provenance_line, short_kernel_line
from host.outputs.lines import clock_text, event_text, people, standing_text, summary_lines
from host.outputs.picture import CodesPicture, codes_to_pixels
from host.outputs.report import About, Event, Reading, Standing, Summary

PANEL_COLUMNS, PANEL_LINES = 38, 15
HEAD_LINES, LEAST_EVENTS = 4, 3
SMALLEST_COLUMNS, SMALLEST_LINES = 64, HEAD_LINES + PANEL_LINES + LEAST_EVENTS
REFRESH_S = 0.15
KEPT_EVENTS = 50
RATE_WINDOW_S = 3.0


def fits(console: Console) -> bool:
    """Whether the terminal can show the live view; otherwise use `Lines`."""
    return (
        console.is_terminal
        and not console.is_dumb_terminal
        and console.width >= SMALLEST_COLUMNS
        and console.height >= SMALLEST_LINES
    )


class LiveView:
    """Draws on `console` a few times a second, in the caller's thread; `clock` is monotonic seconds."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._clock = clock
        self._about: About | None = None
        self._standing = Standing("starting")
        self._progress = ""
        self._reading: Reading | None = None
        self._events: deque[Event] = deque(maxlen=KEPT_EVENTS)
        self._times: deque[float] = deque(maxlen=2000)
        self._drawn_s = float("-inf")
        self._live = Live(self.view(), console=console, screen=True, auto_refresh=False)
        self._live.start()
        self.wanted = True

    def start(self, about: About) -> None:
        self._about = about
        self._draw(now=True)

    def standing(self, standing: Standing) -> None:
        changed = standing != self._standing
        self._standing = standing
        self._draw(now=changed)

    def progress(self, text: str) -> None:
        self._progress = text
        self._draw(now=True)

    def reading(self, reading: Reading) -> None:
        self._reading = reading
        self._times.append(self._clock())
        self._draw()

    def event(self, event: Event) -> None:
        if event.kind not in ("started", "stopped"):
            self._events.append(event)
        self._draw()

    def stop(self) -> None:
        """Give the terminal back, whatever happened; can be called again."""
        self._live.stop()

    def close(self, summary: Summary) -> None:
        self.stop()
        for line in summary_lines(summary):
            self._console.print(line, highlight=False)
        if self._about is not None and self._about.kernel is not None:
            self._console.print(f"optics: {kernel_line(self._about.kernel)}", highlight=False)
        for warning in () if self._about is None else self._about.warnings:
            self._console.print(f"warning: {warning}", style="yellow", highlight=False)
        if self._reading is not None:
            self._console.print(_claim(self._reading), style="dim", highlight=False)

    def view(self) -> RenderableType:
        """What the screen shows now, for the console's present size."""
        width, height = self._console.size
        panel = Table.grid(padding=(0, 1, 0, 0))
        panel.add_column(style="dim", no_wrap=True)
        panel.add_column(overflow="fold")
        for name, value in self._rows():
            panel.add_row(name, value)
        head = self._headline()
        left, lines = width - PANEL_COLUMNS - 1, PANEL_LINES
        waiting = self._progress or "waiting for the first measurement"
        blind = self._standing.state == "blind"
        picture: RenderableType = Text("no measurement leaves a blind sensor" if blind else waiting, style="dim")
        if self._reading is not None and self._about is not None and self._standing.state == "sensing":
            size = (self._about.rows_px, self._about.columns_px)
            codes, faces = self._reading.measurement.codes, self._reading.faces
            pixels = codes_to_pixels(codes, faces, size, left, height - HEAD_LINES - LEAST_EVENTS)
            picture, left = CodesPicture(pixels, colour=not self._console.no_color), pixels.shape[1]
            lines = max(lines, pixels.shape[0] // 2)
        body = Table.grid(padding=(0, 1, 0, 0))
        body.add_column(width=left)
        body.add_column(width=PANEL_COLUMNS)
        body.add_row(picture, panel)
        rows: list[RenderableType] = [head, Text(), body, Text()]
        recent = list(self._events)[-max(height - HEAD_LINES - lines, LEAST_EVENTS) :]
        rows.extend(Text(event_text(event), style=_event_style(event), no_wrap=True) for event in reversed(recent))
        return Group(*rows)

    def _headline(self) -> Text:
        standing = self._standing
        if standing.state == "blind":
            return Text(standing_text(standing), style="bold white on red")
        if standing.state != "sensing" or self._reading is None:
            return Text(f"{standing.state}  {self._progress}", style="bold")
        word, style = (
            ("OCCUPIED", "bold black on green") if self._reading.occupied else ("EMPTY", "bold black on white")
        )
        return Text.assemble((f" {word} ", style), ("  " + people(self._reading.count), "bold"))

    def _rows(self) -> list[tuple[str, RenderableType]]:
        rows: list[tuple[str, RenderableType]] = [("state", Text(self._standing.state))]
        reading, about = self._reading, self._about
        if self._standing.storage_problem:
            rows.append(("storage", Text(self._standing.storage_problem, style="red")))
        if about is not None:
            rows.append(("source", Text(about.source)))
            rows.append(("bundle", Text(f"{about.bundle_name} {about.encoding_id[:12]}")))
            rows.append(("codes", Text(levels_line(about.effective_levels))))
            if about.kernel is not None:
                rows.append(("optics", Text(short_kernel_line(about.kernel), style="yellow")))
            if about.warnings:
                rows.append(("warning", Text(f"{len(about.warnings)}, said in full at the end", style="yellow")))
        if reading is not None:
            provenance = reading.measurement.provenance
            latency = "not known" if reading.latency_ms is None else f"{reading.latency_ms:.0f} ms"
            rows += [
                ("time", Text(clock_text(reading.time_s))),
                ("exposure", Text(f"{provenance.exposure_us / 1000:.1f} ms, gain {provenance.gain:.2f}")),
                ("speed", Text(f"{self._rate():.1f} frames/s, latency {latency}")),
                (_measured_by(reading), Text(f"{provenance.board_serial} ({provenance.firmware})")),
                ("steps", Text(provenance_line(provenance.steps))),
                ("claim", Text(_claim(reading))),
            ]
        return rows

    def _rate(self) -> float:
        now = self._clock()
        while self._times and self._times[0] < now - RATE_WINDOW_S:
            self._times.popleft()
        span = now - self._times[0] if self._times else 0.0
        return (len(self._times) - 1) / span if span > 0 else 0.0

    def _draw(self, now: bool = False) -> None:
        if now or self._clock() - self._drawn_s >= REFRESH_S:
            self._drawn_s = self._clock()
            self._live.update(self.view(), refresh=True)


def _claim(reading: Reading) -> str:
    provenance = reading.measurement.provenance
    return claim(provenance.steps, provenance.rehearsed_path)


def _measured_by(reading: Reading) -> str:
    provenance = reading.measurement.provenance
    return "camera" if "camera" in (provenance.capture_path, provenance.rehearsed_path) else "board"


def _event_style(event: Event) -> str:
    if event.kind == "warning":
        return "yellow"
    return "red" if event.detail.get("to") == "blind" else "dim" if event.kind == "state" else ""
