"""The whole evaluation: doing the runs that are not there yet one by one or by a pool, and what came out.

Everything that was finished is kept in DIR/runs and found again, so an interrupted evaluation goes on where it stopped,
and a subject, a seed or a question added later costs only itself.
"""

import json
from collections import deque
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from models.evidence.bits import code_entropies
from models.evidence.jobs import Evaluation, Job, material_of, planned, prepare_job, run_job, teach
from models.evidence.report import SCHEMA, goals, summarised, verdicts
from models.evidence.runs import Run
from models.evidence.settings import PRETRAINED
from models.evidence.subjects import Subject
from models.evidence.tables import page
from models.evidence.whole import DISTANCE
from optics.whole_file import write_whole


@dataclass(frozen=True, eq=False)
class Task:
    """What a process is busy with: a run, or (`looks`) measuring what the run shares with others that wait for it."""

    job: Job
    looks: bool = False

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.job.name}: measuring" if self.looks else self.job.name


class Watcher:
    """Who is told how an evaluation goes on. This one does nothing with it; what it raises ends the evaluation, and
    what was finished stays."""

    def there(self, job: Job, run: Run, to_do: int) -> None:
        """A run is there, found or just finished, and so many are still to do."""

    def began(self, task: Task) -> None:
        """A process has begun with a task."""

    def step(self, task: Task, what: str, done: int, total: int) -> None:
        """How far a task is. Only tasks of this process say so."""

    def ended(self, task: Task) -> None:
        """A task is done."""


def evaluate(
    evaluation: Evaluation, executor: Executor | None = None, watcher: Watcher | None = None, workers: int = 1
) -> list[Run]:
    """The runs that evidence is made of, in the order of `all_jobs`; those that are not there yet are done.

    executor: `workers` processes to do them in (each on one thread), or None for this one. Distance is put together
    here, when its parts are there. Raises RunError for a damaged run file.
    """
    watcher = watcher or Watcher()
    plan = planned(evaluation)
    found = dict(plan.found)
    missing = plan.missing
    for job in plan.jobs:
        if job.key in plan.found:
            watcher.there(job, plan.found[job.key], len(missing))
    if any(job.key.attacker == PRETRAINED for job in missing):
        teach(evaluation)
    for left, (job, run) in zip(
        range(len(missing) - 1, -1, -1), _finished(evaluation, missing, executor, watcher, workers), strict=True
    ):
        found[run.key] = run
        watcher.there(job, run, left)
    return [found[job.key] for job in plan.jobs if job.sized is None]


def _finished(
    evaluation: Evaluation, jobs: list[Job], executor: Executor | None, watcher: Watcher, workers: int
) -> Iterator[tuple[Job, Run]]:
    if executor is not None:
        yield from _by_pool(evaluation, [job for job in jobs if not _assembles(job)], executor, watcher, workers)
        jobs = [job for job in jobs if _assembles(job)]
    for job in jobs:
        yield job, _here(evaluation, Task(job), watcher)


def _assembles(job: Job) -> bool:
    """Whether it only puts together what other jobs leave."""
    return job.key.question == DISTANCE


def _here(evaluation: Evaluation, task: Task, watcher: Watcher) -> Run:
    watcher.began(task)
    run = run_job(evaluation, task.job, lambda what, done, total: watcher.step(task, what, done, total))
    watcher.ended(task)
    return run


def _by_pool(
    evaluation: Evaluation, jobs: list[Job], executor: Executor, watcher: Watcher, workers: int
) -> Iterator[tuple[Job, Run]]:
    """Runs as they are finished. What several jobs share is measured first, by one process, then they start.

    No more is handed out than there are processes, so whatever is handed out has begun. Looks are measured ahead as
    long as fewer runs are ready than there are processes.
    """
    groups: dict[object, list[Job]] = {}
    for job in jobs:
        groups.setdefault((job.shared, job.key.seed), []).append(job)
    waiting = deque(groups.values())
    ready: deque[Job] = deque()
    pending: dict[Future[Any], tuple[Task, list[Job]]] = {}
    while waiting or ready or pending:
        while len(pending) < workers and (waiting or ready):
            group = waiting.popleft() if waiting and len(ready) < workers else []
            task = Task(group[0] if group else ready.popleft(), looks=len(group) > 1)
            if task.looks:
                future: Future[Any] = executor.submit(prepare_job, evaluation, task.job)
            else:
                future = executor.submit(run_job, evaluation, task.job)
            pending[future] = task, group
            watcher.began(task)
        done, _ = wait(pending, return_when=FIRST_COMPLETED)
        for future in done:
            task, group = pending.pop(future)
            result = future.result()
            watcher.ended(task)
            if task.looks:
                ready.extend(group)
            else:
                yield task.job, result


def facts(subject: Subject, evaluation: Evaluation) -> dict[str, Any]:
    """What a subject is, as a JSON object: how it could be built, levels, bits per measurement and per code.

    Bits are over the held-out faces of the people who are to be known (`code_entropies`).
    """
    found: dict[str, Any] = {
        "name": subject.name,
        "kind": subject.kind,
        "source": subject.source,
        "digest": subject.digest,
        "build": subject.build,
        "noise_of_parts": subject.noisy,
    }
    encoding = subject.encoding
    if encoding is None:
        return found
    found |= {
        "encoding_id": encoding.id,
        "filters": encoding.filters,
        "pool": encoding.pool,
        "range": encoding.range,
        "light": subject.light,
        "effective_levels": encoding.effective_levels,
    }
    faces = material_of(evaluation).parts.get("identity test")
    if faces is not None:
        codes = subject.look(faces.images, np.random.default_rng(0)).inputs
        found["bits_per_measurement"], found["bits_per_code"] = code_entropies(codes)
        found["codes_per_measurement"] = int(codes[0].size)
        found["faces_measured"] = len(codes)
    return found


def evidence(evaluation: Evaluation, runs: list[Run]) -> dict[str, Any]:
    """What evidence.json holds: settings, data, subjects with their results, verdicts and goals (see `report`)."""
    rows = summarised([facts(subject, evaluation) for subject in evaluation.subjects], runs)
    found = verdicts(rows, runs, np.random.default_rng(0))
    return {
        "schema": SCHEMA,
        "quick": evaluation.settings.quick,
        "settings": asdict(evaluation.settings),
        "data_sha256": material_of(evaluation).data_sha256,
        "subjects": rows,
        "verdicts": found,
        "goals": goals(rows, found),
        "runs": sorted(run.key.file_name for run in runs),
    }


def write_evidence(evaluation: Evaluation, runs: list[Run]) -> dict[str, Any]:
    """Write evidence.json and evidence.md into the evaluation's folder; returns what evidence.json holds."""
    document = evidence(evaluation, runs)
    write_whole(evaluation.folder / "evidence.json", json.dumps(document, indent=1, allow_nan=False))
    write_whole(evaluation.folder / "evidence.md", page(document))
    return document
