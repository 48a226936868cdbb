"""A sweep from its points to its results: what is done stays, what failed is said, the rest is handed out."""

import fcntl
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from host.stop import StopRequest
from host.sweep.work import FAILURE, PROGRESS, RESULT, Executor, Job, Run, read_json
from models.encoder.sweep import Point

State = Literal["waiting", "running", "done", "failed"]
POINTS = "points"
LOCK = ".lock"
POLL_S = 0.5


class SweepBusyError(RuntimeError):
    """Another sweep works in the same folder."""


@dataclass(slots=True)
class Standing:
    """How far a point is. `cycle` of `cycles` while it learns; `stage`: what it does; `document`: its result or its
    failure once it has ended; `kept`: the result was there before this run."""

    point: Point
    state: State = "waiting"
    cycle: int = 0
    cycles: int = 0
    stage: str = ""
    document: dict[str, Any] | None = None
    kept: bool = False

    @property
    def share(self) -> float:
        """How much of it is done, 0..1: judging counts as two cycles."""
        if self.state in ("done", "failed"):
            return 1.0
        return min(self.cycle / (self.cycles + 2), 0.99) if self.cycles else 0.0


@dataclass(slots=True)
class Progress:
    """All standings by digest, in the order of the points, and since when (monotonic seconds) there is work."""

    standings: dict[str, Standing]
    started_s: float = 0.0
    workers: int = 1
    shares_at_start: dict[str, float] = field(default_factory=dict)

    def of(self, state: State) -> list[Standing]:
        return [one for one in self.standings.values() if one.state == state]

    def results(self) -> list[dict[str, Any]]:
        """Of the points that are done, in the order of the points."""
        return [one.document for one in self.of("done") if one.document is not None]

    def seconds_left(self, now_s: float) -> float | None:
        """Estimated from the work done since the start, in points; None before there is any."""
        shares = {digest: one.share for digest, one in self.standings.items()}
        gained = sum(shares.values()) - sum(self.shares_at_start.values())
        if gained <= 0:
            return None
        return (now_s - self.started_s) * (len(shares) - sum(shares.values())) / gained


Watch = Callable[[Progress], None]


def folder_of(out: Path, point: Point) -> Path:
    """Where a point keeps its files."""
    return out / POINTS / point.digest


def standings(points: Sequence[Point], out: Path) -> dict[str, Standing]:
    """What is done already: results of the same plan, data and judge. Earlier failures are tried again."""
    found = {}
    for point in points:
        one = Standing(point, cycles=point.plan.schedule.cycles)
        document = read_json(folder_of(out, point) / RESULT)
        if document is not None and document.get("judge") == point.judge.model_dump(mode="json"):
            one.state, one.kept = "done", True
            # The file may call the same plan by another name today.
            one.document = document | {"name": point.name, "overrides": dict(point.overrides)}
        found[point.digest] = one
    return found


def run_points(
    points: Sequence[Point],
    data: Path,
    out: Path,
    run: Run,
    make_executor: Callable[[], Executor],
    watch: Watch,
    stop: StopRequest,
) -> Progress:
    """Work on every point that is not done. Returns how each stands at the end, or when `stop` was asked for.

    run: see `work.Job`. make_executor: called only where there is work. watch: called about twice a second. Raises
    SweepBusyError where another sweep works in `out`, OSError where it cannot be written.
    """
    out.mkdir(parents=True, exist_ok=True)
    with _locked(out):
        progress = Progress(standings(points, out))
        waiting = progress.of("waiting")
        watch(progress)
        if not waiting:
            return progress
        executor = make_executor()
        progress.workers = executor.workers
        progress.started_s = time.monotonic()
        for one in waiting:
            # What an interrupted run has left says how much is done, not that somebody is at it.
            _look(one, out)
            one.state = "waiting"
            (folder_of(out, one.point) / PROGRESS).unlink(missing_ok=True)
        progress.shares_at_start = {digest: one.share for digest, one in progress.standings.items()}
        try:
            for one in waiting:
                executor.submit(Job(run, one.point, data, folder_of(out, one.point)))
            while not stop and (progress.of("waiting") or progress.of("running")):
                for ended in executor.poll(POLL_S):
                    one = progress.standings[ended.digest]
                    one.document = ended.document
                    one.state = "done" if ended.document["state"] == "done" else "failed"
                for one in progress.standings.values():
                    _look(one, out)
                watch(progress)
        finally:
            executor.close()
        for one in progress.of("running"):
            one.state = "waiting"
        return progress


def reasons(progress: Progress, out: Path) -> list[str]:
    """One line for each point that failed: its name, seed, why, and where its log is."""
    return [
        f"{one.point.name}, seed {one.point.plan.seed}: {(one.document or {}).get('reason', 'no reason is known')} "
        f"({folder_of(out, one.point) / FAILURE})"
        for one in progress.of("failed")
    ]


def _look(one: Standing, out: Path) -> None:
    """How far a point is, from the file that its worker writes."""
    if one.state not in ("waiting", "running"):
        return
    found: Mapping[str, Any] = read_json(folder_of(out, one.point) / PROGRESS) or {}
    if found:
        one.state = "running"
        one.cycle, one.stage = max(one.cycle, int(found.get("cycle", 0))), str(found.get("stage", ""))


@contextmanager
def _locked(out: Path) -> Iterator[None]:
    descriptor = os.open(out / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise SweepBusyError(f"{out}: another sweep works in this folder; wait for it, or give another --out") from None
    try:
        yield
    finally:
        os.close(descriptor)
