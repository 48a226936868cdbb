"""One point in a worker process: what both executors run, and what is kept of it, result or failure."""

import json
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from models.encoder.sweep import Point
from optics.whole_file import write_whole

RESULT, FAILURE, PROGRESS, LOG = "result.json", "failure.json", "progress.json", "log.txt"
DEAD_WORKERS = 2  # a point whose worker dies is handed out again so often
# Every worker is one process with one thread. Spinning OpenMP threads would take the cores of its neighbours.
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OMP_WAIT_POLICY": "PASSIVE",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
}

Run = Callable[[Any, Any, Path, Path], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Job:
    """A point to be worked on: `run(plan, judge, data, folder)` is called in a worker. All of it can be pickled."""

    run: Run
    point: Point
    data: Path
    folder: Path


@dataclass(frozen=True, slots=True)
class Ended:
    """What became of a job: the document that its folder holds as result.json or failure.json."""

    digest: str
    document: dict[str, Any]


class Executor(Protocol):
    """Takes jobs and gives back what became of them, in any order."""

    workers: int

    def submit(self, job: Job) -> None:
        """Hand out a job; it starts when a worker is free."""

    def poll(self, seconds: float) -> list[Ended]:
        """Jobs that have ended since the last call; waits for at most `seconds` for one."""

    def close(self) -> None:
        """End every worker, at once. What they have written stays; a point interrupted is resumed next time."""


def learn_and_judge(plan: Any, judge: Any, data: Path, folder: Path, device: str = "cpu") -> dict[str, Any]:
    """`run_point`, in the worker, which is the first to import torch."""
    from models.encoder.sweep_point import run_point

    return run_point(plan, judge, data, folder, device)


def attempt(job: Job) -> dict[str, Any]:
    """Work on a job here and now. Returns the document, which is in the job's folder then.

    A failure of the point is a document too: no other point has to stop for it.
    """
    job.folder.mkdir(parents=True, exist_ok=True)
    (job.folder / FAILURE).unlink(missing_ok=True)
    started = time.monotonic()
    point = job.point
    facts = {"digest": point.digest, "name": point.name, "overrides": dict(point.overrides), "seed": point.plan.seed}
    try:
        found = job.run(point.plan, point.judge, job.data, job.folder)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is this point's; the reason is kept
        reason = f"{type(error).__name__}: {error}"
        failure = facts | {"state": "failed", "reason": reason, "traceback": traceback.format_exc()}
        write_json(job.folder / FAILURE, failure)
        return failure
    seconds = time.monotonic() - started
    result = facts | {"state": "done", "seconds": round(seconds, 1)} | found
    write_json(job.folder / RESULT, result)
    (job.folder / PROGRESS).unlink(missing_ok=True)
    return result


def worker_died(job: Job, how: str) -> dict[str, Any]:
    """The failure of a job whose worker died as often as it was handed out; kept in its folder."""
    reason = f"its worker died {DEAD_WORKERS + 1} times ({how}); is there memory enough for so many workers?"
    point = job.point
    facts = {"digest": point.digest, "name": point.name, "overrides": dict(point.overrides), "seed": point.plan.seed}
    failure = facts | {"state": "failed", "reason": reason}
    job.folder.mkdir(parents=True, exist_ok=True)
    write_json(job.folder / FAILURE, failure)
    return failure


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    """Whole or not at all. Raises OSError."""
    write_whole(path, json.dumps(document, indent=1, allow_nan=False) + "\n")


def read_json(path: Path) -> dict[str, Any] | None:
    """The object in a file; None where there is no such file or no whole object in it."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None
