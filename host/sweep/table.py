"""The live table of a sweep: the front first, then the other points by identity, then those at work."""

import time
from collections.abc import Sequence

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from host.sweep.report import joined_points
from host.sweep.run import Progress, Standing
from models.encoder.sweep_front import Joined, Measure

REFRESH_S = 1.0


class LiveTable:
    """Shows a `Progress` on a console: redrawn in a terminal, elsewhere one line whenever a point ends."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False) if console.is_terminal else None
        self._ended: set[str] = set()
        self._joined: tuple[list[Joined], list[int]] = ([], [])
        self._counted = -1
        self._drawn_s = 0.0

    def __enter__(self) -> "LiveTable":
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, progress: Progress) -> None:
        """Called often; draws about once a second and whenever a point has ended."""
        done = progress.results()
        news = len(done) != self._counted
        if news:
            self._counted, self._joined = len(done), joined_points(progress)
        if self._live is None:
            self._say(progress)
        elif news or time.monotonic() - self._drawn_s > REFRESH_S:
            self._drawn_s = time.monotonic()
            self._live.update(self._picture(progress), refresh=True)

    def _picture(self, progress: Progress) -> RenderableType:
        room = max(self._console.size.height - 6, 5)
        return Group(table(progress, *self._joined, most=room), Text(line(progress)))

    def _say(self, progress: Progress) -> None:
        for digest, one in progress.standings.items():
            if one.state in ("done", "failed") and digest not in self._ended:
                self._ended.add(digest)
                if not one.kept:
                    text = f"{_place(one)}: {_outcome(one)}; {line(progress)}"
                    self._console.print(text, markup=False, highlight=False, soft_wrap=True)


def line(progress: Progress) -> str:
    """Counts and the time left, in one line."""
    left = progress.seconds_left(time.monotonic())
    kept = sum(one.kept for one in progress.standings.values())
    parts = [f"{len(progress.of('done'))} of {len(progress.standings)} done" + (f" ({kept} before)" if kept else "")]
    if progress.of("failed"):
        parts.append(f"{len(progress.of('failed'))} failed")
    if progress.of("running"):
        parts.append(f"{len(progress.of('running'))} at work")
    if left is not None and (progress.of("running") or progress.of("waiting")):
        parts.append(f"about {span(left)} left")
    return ", ".join(parts)


def span(seconds: float) -> str:
    """A length of time for people: 40 s, 12 min, 3.5 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def table(progress: Progress, joined: Sequence[Joined], front: Sequence[int], most: int | None = None) -> Table:
    """One row per point, its seeds joined: those of the front first, by identity; at most `most` rows."""
    by_name: dict[str, list[Standing]] = {}
    for one in progress.standings.values():
        by_name.setdefault(one.point.name, []).append(one)
    place = {joined[index].name: number for number, index in enumerate(front)}
    found = {one.name: one for one in joined}

    def order(name: str) -> tuple[int, float]:
        if name in place:
            return 0, place[name]
        if name in found:
            return 1, found[name].identity.mean
        busy = any(one.state == "running" for one in by_name[name])
        return 2, 0.0 if busy else 1.0

    names = sorted(by_name, key=order)
    made = Table(title=None, caption=f"{len(names) - most} more points" if most and len(names) > most else None)
    for column in ("point", "state", "cycle"):
        made.add_column(column)
    for column in ("identity %", "face %", "bits", "levels"):
        made.add_column(column, justify="right")
    for name in names[:most]:
        measured = found.get(name)
        cells = ["", "", "", ""]
        if measured is not None:
            cells = [_share(measured.identity), _share(measured.face), f"{measured.bits:.0f}", _levels(measured)]
        style = "bold" if name in place else "red" if any(one.state == "failed" for one in by_name[name]) else ""
        title = Text(("* " if name in place else "  ") + name)
        made.add_row(title, _state(by_name[name]), _cycle(by_name[name]), *cells, style=style)
    return made


def _state(seeds: Sequence[Standing]) -> str:
    counts = {state: sum(one.state == state for one in seeds) for state in ("done", "failed", "running", "waiting")}
    if len(seeds) == 1:
        return seeds[0].state
    return ", ".join(f"{count} {state}" for state, count in counts.items() if count)


def _cycle(seeds: Sequence[Standing]) -> str:
    return "; ".join(f"{one.cycle}/{one.cycles} {one.stage}" for one in seeds if one.state == "running")


def _share(measure: Measure) -> str:
    return f"{100 * measure.mean:.1f} [{100 * measure.low:.1f}, {100 * measure.high:.1f}]"


def _levels(one: Joined) -> str:
    least, most = one.levels
    return str(least) if least == most else f"{least} to {most}"


def _place(one: Standing) -> str:
    return f"{one.point.name}, seed {one.point.plan.seed}"


def _outcome(one: Standing) -> str:
    if one.state == "failed" or one.document is None:
        return f"failed, {(one.document or {}).get('reason', '')}"
    document = one.document
    identity = max(float(found["balanced"]) for found in document["identity"]["attackers"].values())
    face = max(float(found["accuracy"]) for found in document["face"]["attackers"].values())
    return f"identity {100 * identity:.1f} %, face {100 * face:.1f} %, {document['bits']['per_measurement']:.0f} bits"
