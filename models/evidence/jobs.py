"""Which runs an evaluation is made of, which of them are there, and how one is done."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from models.evidence import questions
from models.evidence.head_start import teacher_embeddings
from models.evidence.material import Material, read_material
from models.evidence.runs import Run, RunKey, canonical, find_run, write_run
from models.evidence.settings import CROP_QUESTIONS, PRETRAINED, EvidenceSettings, asked_of
from models.evidence.sized import SizedRun, do_sized, prepare_sized
from models.evidence.subjects import Subject
from models.evidence.whole import DISTANCE, ask_whole, runs_of_distance, whole_attacker, whole_settings

# Called with what is done, how far it is, and of how much.
Report = Callable[[str, int, int], None]


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
    """One run to do. `sized`: for the runs that distance is put together from, how."""

    subject: Subject
    key: RunKey
    sized: SizedRun | None = None

    @property
    def name(self) -> str:
        """For people."""
        if self.sized is not None:
            return f"{self.subject.name}, {self.sized.name}"
        if self.key.question in CROP_QUESTIONS:
            return f"{self.subject.name}, {self.key.question}, {self.key.attacker}, seed {self.key.seed}"
        if self.key.question == DISTANCE:
            return f"{self.subject.name}, {DISTANCE}, put together"
        return f"{self.subject.name}, {self.key.question}, seed {self.key.seed}"

    @property
    def shared(self) -> tuple[object, ...]:
        """Equal for jobs that share their looks."""
        at = () if self.sized is None else (self.sized.face_px, self.sized.fold)
        return self.key.subject, self.key.question, *at


@dataclass(frozen=True, eq=False)
class Plan:
    """Jobs of an evaluation, and the runs of those that were done before."""

    jobs: list[Job]
    found: dict[RunKey, Run]

    @property
    def missing(self) -> list[Job]:
        """The jobs that are still to do."""
        return [job for job in self.jobs if job.key not in self.found]


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
    """Every run of the evaluation, subject by subject, the first seed of all of them before the second. What distance
    is put together from stands before it."""
    material = material_of(evaluation)
    settings = evaluation.settings
    wholes = {
        question: whole_settings(question, evaluation.data, settings)
        for question in settings.questions
        if question not in CROP_QUESTIONS
    }
    jobs = []
    for seed in range(settings.seeds):
        parts: list[list[SizedRun]] = [[] for _ in evaluation.subjects]
        if DISTANCE in wholes and whole_attacker(DISTANCE, settings, seed) is not None:
            parts = runs_of_distance(evaluation.subjects, evaluation.data, settings)
        for subject, sized in zip(evaluation.subjects, parts, strict=True):
            for question in (one for one in settings.questions if one in CROP_QUESTIONS):
                for attacker in settings.attackers:
                    if not asked_of(attacker, question, seed, settings.pretrained_seeds):
                        continue
                    rest = questions.run_settings(subject, question, attacker, material, settings, evaluation.teacher)
                    jobs.append(Job(subject, RunKey(subject.digest, question, attacker, seed, canonical(rest))))
            for question, rest in wholes.items():
                who = whole_attacker(question, settings, seed)
                if who is not None:
                    jobs += [Job(subject, one.key, one) for one in sized if question == DISTANCE]
                    jobs.append(Job(subject, RunKey(subject.digest, question, who, seed, canonical(rest))))
    return jobs


def planned(evaluation: Evaluation) -> Plan:
    """The jobs of an evaluation, and which of them are done. Where a subject's distance is there, what it was put
    together from is not asked for. Raises RunError for a damaged run file."""
    jobs = all_jobs(evaluation)
    found = {}
    for job in (one for one in jobs if one.sized is None):
        if (run := find_run(evaluation.runs, job.key)) is not None:
            found[job.key] = run
    made = {key.subject for key in found if key.question == DISTANCE}
    jobs = [job for job in jobs if job.sized is None or job.key.subject not in made]
    for job in (one for one in jobs if one.sized is not None):
        if (run := find_run(evaluation.runs, job.key)) is not None:
            found[job.key] = run
    return Plan(jobs, found)


def run_job(evaluation: Evaluation, job: Job, report: Report | None = None) -> Run:
    """Do one run on this process's core and write its file. Those of whole scenes say to `report` how far they are."""
    if job.sized is not None:
        return do_sized(job.sized, job.subject, evaluation.data, evaluation.folder)
    started = time.process_time()
    subject, question, seed = job.subject, job.key.question, job.key.seed
    settings, cache = evaluation.settings, evaluation.cache
    if question in CROP_QUESTIONS:
        material = material_of(evaluation)
        results = questions.ask(
            subject, question, job.key.attacker, seed, material, settings, cache, evaluation.teacher, evaluation.device
        )
    else:
        results = ask_whole(question, subject, seed, evaluation.data, evaluation.folder, settings, report)
    run = Run(job.key, job.subject.name, results, time.process_time() - started)
    write_run(evaluation.runs, run)
    return run


def teach(evaluation: Evaluation) -> None:
    """Ask the teacher about the faces that the pretrained attacker learns from; its answers are kept."""
    part = material_of(evaluation).parts.get("pretraining train")
    if part is not None and evaluation.teacher is not None:
        teacher_embeddings(evaluation.teacher, part.images, evaluation.cache)


def prepare_job(evaluation: Evaluation, job: Job) -> None:
    """Measure the looks that a job shares with others."""
    if job.sized is not None:
        prepare_sized(job.sized, job.subject, evaluation.data, evaluation.folder)
    elif job.key.question in CROP_QUESTIONS:
        material = material_of(evaluation)
        questions.prepare(job.subject, job.key.question, material, evaluation.settings, evaluation.cache)
