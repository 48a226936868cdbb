"""The whole evaluation: which runs there are to do, doing them one by one or by a pool, and what came out.

Everything that was finished is kept in DIR/runs and found again, so an interrupted evaluation goes on where it stopped,
and a subject, a seed or a question added later costs only itself.
"""

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from models.evidence import questions
from models.evidence.bits import code_entropies
from models.evidence.head_start import teacher_embeddings
from models.evidence.material import Material, read_material
from models.evidence.report import SCHEMA, goals, summarised, verdicts
from models.evidence.runs import Run, RunKey, canonical, find_run, write_run
from models.evidence.settings import CROP_QUESTIONS, PRETRAINED, EvidenceSettings, asked_of
from models.evidence.subjects import Subject
from models.evidence.tables import page
from models.evidence.whole import ask_whole, whole_attacker, whole_settings
from optics.whole_file import write_whole

# Called with every run that is there: found or just finished, and how many are still to do.
Report = Callable[[Run, int], None]


# Subjects whose looks are measured before the attackers that wait for them have ended.
PREPARED_AHEAD = 2


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Subjects, the folder of archives, the folder for what comes out, settings, the pretrained attacker's teacher (a
    face embedding in ONNX form), and the device on which attackers of crops are trained (`models.attackers.device`).

    No run's key names the device: what was finished on one is not done again on another."""

    subjects: tuple[Subject, ...]
    data: Path
    folder: Path
    settings: EvidenceSettings
    teacher: Path | None = None
    device: str = "cpu"

    @property
    def runs(self) -> Path:
        """Folder of the run files."""
        return self.folder / "runs"

    @property
    def cache(self) -> Path:
        """Folder of what can be made again: crops and looks."""
        return self.folder / "cache"


@dataclass(frozen=True, eq=False)
class Job:
    """One run to do."""

    subject: Subject
    key: RunKey


def material_of(evaluation: Evaluation) -> Material:
    """The images of the evaluation, read once per process. Raises DataMissingError where an archive is missing."""
    asked = tuple(one for one in evaluation.settings.questions if one in CROP_QUESTIONS)
    if PRETRAINED in evaluation.settings.attackers and "identity" in asked:
        asked = (*asked, "pretraining")
    return _material(evaluation.data, asked, evaluation.settings, evaluation.cache)


@lru_cache(maxsize=1)
def _material(data: Path, asked: tuple[str, ...], settings: EvidenceSettings, cache: Path) -> Material:
    return read_material(data, asked, settings.limits, cache)


def all_jobs(evaluation: Evaluation) -> list[Job]:
    """Every run of the evaluation, subject by subject, the first seed of all of them before the second."""
    material = material_of(evaluation)
    settings = evaluation.settings
    wholes = {
        question: whole_settings(question, evaluation.data, settings)
        for question in settings.questions
        if question not in CROP_QUESTIONS
    }
    jobs = []
    for seed in range(settings.seeds):
        for subject in evaluation.subjects:
            for question in (one for one in settings.questions if one in CROP_QUESTIONS):
                for attacker in settings.attackers:
                    if not asked_of(attacker, question, seed, settings.pretrained_seeds):
                        continue
                    rest = questions.run_settings(subject, question, attacker, material, settings, evaluation.teacher)
                    jobs.append(Job(subject, RunKey(subject.digest, question, attacker, seed, canonical(rest))))
            for question, rest in wholes.items():
                who = whole_attacker(question, settings, seed)
                if who is not None:
                    jobs.append(Job(subject, RunKey(subject.digest, question, who, seed, canonical(rest))))
    return jobs


def run_job(evaluation: Evaluation, job: Job) -> Run:
    """Do one run on this process's core and write its file."""
    started = time.process_time()
    subject, question, seed = job.subject, job.key.question, job.key.seed
    settings, cache = evaluation.settings, evaluation.cache
    if question in CROP_QUESTIONS:
        material = material_of(evaluation)
        results = questions.ask(
            subject, question, job.key.attacker, seed, material, settings, cache, evaluation.teacher, evaluation.device
        )
    else:
        results = ask_whole(question, subject, seed, evaluation.data, evaluation.folder, settings)
    run = Run(job.key, job.subject.name, results, time.process_time() - started)
    write_run(evaluation.runs, run)
    return run


def teach(evaluation: Evaluation) -> None:
    """Ask the teacher about the faces that the pretrained attacker learns from; its answers are kept."""
    part = material_of(evaluation).parts.get("pretraining train")
    if part is not None and evaluation.teacher is not None:
        teacher_embeddings(evaluation.teacher, part.images, evaluation.cache)


def prepare_job(evaluation: Evaluation, subject: Subject, question: str) -> None:
    """Measure the looks that a subject's attackers share."""
    if question not in CROP_QUESTIONS:
        return
    questions.prepare(subject, question, material_of(evaluation), evaluation.settings, evaluation.cache)


def evaluate(evaluation: Evaluation, executor: Executor | None = None, report: Report | None = None) -> list[Run]:
    """All runs of the evaluation, in the order of `all_jobs`; those that are not there yet are done.

    executor: processes to do them in (each on one thread), or None for this one. report: see `Report`; what it raises
    ends the evaluation, and what was finished stays. Raises RunError for a damaged run file.
    """
    jobs = all_jobs(evaluation)
    found = {job.key: run for job in jobs if (run := find_run(evaluation.runs, job.key)) is not None}
    missing = [job for job in jobs if job.key not in found]
    for run in found.values():
        if report is not None:
            report(run, len(missing))
    if any(job.key.attacker == PRETRAINED for job in missing):
        teach(evaluation)
    finished = _one_by_one(evaluation, missing) if executor is None else _by_pool(evaluation, missing, executor)
    for left, run in zip(range(len(missing) - 1, -1, -1), finished, strict=True):
        found[run.key] = run
        if report is not None:
            report(run, left)
    return [found[job.key] for job in jobs]


def _one_by_one(evaluation: Evaluation, jobs: list[Job]) -> Iterator[Run]:
    for job in jobs:
        yield run_job(evaluation, job)


def _by_pool(evaluation: Evaluation, jobs: list[Job], executor: Executor) -> Iterator[Run]:
    """Runs as they are finished. What several jobs share is measured first, by one process, then they start."""
    groups: dict[tuple[str, str, int], list[Job]] = {}
    for job in jobs:
        groups.setdefault((job.subject.digest, job.key.question, job.key.seed), []).append(job)
    waiting = iter(groups.values())
    pending: set[Future[Any]] = set()
    prepared: dict[Future[Any], list[Job]] = {}

    def prepare_next() -> None:
        mine = next(waiting, None)
        if mine is not None:
            future = executor.submit(prepare_job, evaluation, mine[0].subject, mine[0].key.question)
            prepared[future] = mine
            pending.add(future)

    for _ in range(PREPARED_AHEAD):
        prepare_next()
    while pending:
        done, others = wait(pending, return_when=FIRST_COMPLETED)
        pending = set(others)
        for future in done:
            result = future.result()
            if future in prepared:
                pending |= {executor.submit(run_job, evaluation, job) for job in prepared[future]}
                prepare_next()
            else:
                yield result


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
