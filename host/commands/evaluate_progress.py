"""What `canopic evaluate` shows while it works: a table of what came out, a bar, what each process does."""

import math
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from models.evidence.evaluate import Task, Watcher
from models.evidence.jobs import Evaluation, Job, Plan
from models.evidence.report import FACE, IDENTITY, headline, summarised
from models.evidence.runs import Run, RunKey


def announcement(plan: Plan, costs: dict[RunKey, float], workers: int) -> str:
    """One sentence: how many runs there are to do and about how long they take. costs: seconds of one core for the
    missing runs that are estimated."""
    missing = plan.missing
    if not missing:
        return "the run is there already" if len(plan.jobs) == 1 else f"all {len(plan.jobs)} runs are there already"
    parts = []
    if costs:
        processes = f"{workers} process{'es' if workers > 1 else ''}"
        parts.append(f"about {duration(sum(costs.values()) / workers)} with {processes} (measured here, just now)")
    unknown = [job.key.question for job in missing if job.key not in costs]
    if unknown:
        many = "which is" if len(unknown) == 1 else f"{len(unknown)} runs, which are"
        parts.append(f"{' and '.join(dict.fromkeys(unknown))}, {many} not estimated")
    return f"{len(missing)} of {len(plan.jobs)} runs to do: {', and '.join(parts)}"


class Shown(Watcher):
    """Keeps what there is to show; `renderable` draws it anew."""

    def __init__(
        self, evaluation: Evaluation, plan: Plan, costs: dict[RunKey, float], workers: int, console: Console
    ) -> None:
        self._quick = evaluation.settings.quick
        self._names = [
            {"name": one.name, "kind": one.kind, "digest": one.digest, "build": one.build}
            for one in evaluation.subjects
        ]
        self._seen: list[Run] = []
        # How many runs the table is of, and the table.
        self._table: tuple[int, Table] | None = None
        self._costs = costs
        self._to_do = {job.key: job for job in plan.missing}
        self._workers = workers
        self._console = console
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
            console=console,
        )
        self._bar = self._progress.add_task("runs", total=len(plan.jobs), left="")
        # Tasks, when they began, and how far they are in words.
        self._running: dict[Task, tuple[float, str]] = {}
        # Seconds that estimated tasks took, and that they were estimated at.
        self._took = self._estimated = 0.0

    def there(self, job: Job, run: Run, to_do: int) -> None:
        if job.sized is None:
            self._seen.append(run)
        if self._to_do.pop(job.key, None) is not None:
            self._estimated += self._costs.get(job.key, 0.0)
            self._said(f"{job.name}: done, {to_do} runs to do")
        self._progress.update(self._bar, advance=1, left=self._left())

    def began(self, task: Task) -> None:
        self._running[task] = (time.monotonic(), "")

    def step(self, task: Task, what: str, done: int, total: int) -> None:
        began, _ = self._running[task]
        self._running[task] = (began, f": {what}, {done} of {total}")
        self._said(f"{task.name}: {what}, {done} of {total}")

    def ended(self, task: Task) -> None:
        began, _ = self._running.pop(task)
        if task.job.key in self._costs:
            self._took += time.monotonic() - began

    def renderable(self) -> RenderableType:
        """The table, the bar, and a line for each task that is running."""
        count = len(self._seen)
        if self._table is None or self._table[0] != count:
            self._table = (count, live_table(summarised(self._names, self._seen[:count]), self._quick))
        now = time.monotonic()
        lines = [
            Text(f"  {task.name}{said} ({since(now - began)})", style="dim", overflow="ellipsis", no_wrap=True)
            for task, (began, said) in list(self._running.items())
        ]
        return Group(self._table[1], self._progress, *lines)

    def _left(self) -> str:
        """How long the missing runs will take, in words."""
        if not self._to_do:
            return ""
        costs = [self._costs[key] for key in self._to_do if key in self._costs]
        # What a second of the estimate took so far tells what the rest takes.
        pace = self._took / self._estimated if self._estimated and self._took else 1.0
        words = [duration(sum(costs) * pace / self._workers)] if costs else []
        words += dict.fromkeys(key.question for key in self._to_do if key not in self._costs)
        return f"{' and '.join(words)} left"

    def _said(self, line: str) -> None:
        """Where nothing can be redrawn, a line for everything new."""
        if not self._console.is_terminal:
            self._console.print(line, highlight=False, soft_wrap=True)


@contextmanager
def drawn(shown: Shown, console: Console) -> Iterator[None]:
    """Shows it, twice a second, until the block ends."""
    try:
        with Live(get_renderable=shown.renderable, console=console, refresh_per_second=2):
            yield
    finally:
        # Where it is no terminal, what is drawn ends within its last line, and what comes next would stand there.
        if not console.is_terminal:
            console.line()


def live_table(rows: Collection[dict[str, Any]], quick: bool) -> Table:
    """The two axes of every subject, so far."""
    table = Table("subject", "identity", "", "face or no face", "", title="QUICK, not for quoting" if quick else None)
    for row in rows:
        who, face = headline(row, IDENTITY), headline(row, FACE)
        table.add_row(row["name"], *_cells(who), *_cells(face))
    return table


def _cells(found: dict[str, Any] | None) -> tuple[str, str]:
    if found is None:
        return "", ""
    low, high = found["interval_95"]
    seeds = f"{found['seeds']} seed" + ("s" if found["seeds"] > 1 else "")
    return f"{100 * found['mean']:.1f} % ({100 * low:.1f}..{100 * high:.1f})", seeds


def since(seconds: float) -> str:
    """Minutes and seconds: "3:07"."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def duration(seconds: float) -> str:
    """About how long, in words: "40 s", "5 min", "2.1 h"."""
    if seconds < 90:
        return f"{max(1, math.ceil(seconds))} s"
    minutes = math.ceil(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes / 60:.1f} h"
