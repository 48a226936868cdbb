"""`canopic evaluate`: encodings beside the paper's and the conventional ones, under the same fresh attackers."""

import multiprocessing
import signal
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
from rich.console import Console

from host.commands.checks import OptionError, asked_device, check_out, check_positive, check_torch
from host.commands.common import DONE, WRONG_INPUT, expected, out, print_json, say
from host.commands.evaluate_progress import Shown, announcement, drawn, live_table
from models.detector.archives import DataMissingError, archive_path
from models.evidence.evaluate import evaluate, write_evidence
from models.evidence.jobs import Evaluation, material_of, planned
from models.evidence.material import QUICK_LIMITS, needed_archives
from models.evidence.runs import Run, RunError, RunKey
from models.evidence.settings import (
    CROP_QUESTIONS,
    PRETRAINED,
    EvidenceSettings,
    QuestionError,
    asked_questions,
    check_attackers,
)
from models.evidence.subjects import SubjectError, resolve_subjects
from models.evidence.whole import ARCHIVES as ARCHIVES_OF_WHOLE
from models.evidence.whole import check_sizes

PAPER_FILE = Path("reference_encoders") / "canopic_paper.npz"
TEACHER_FILE = Path("models") / "mobilefacenet.onnx"
INTERRUPTED = 130
ATTACKERS = "small,resnet18,googlenet,pretrained,nearest,linear"
QUICK_ATTACKERS = "small"


def evaluate_encodings(
    encodings: list[str],
    against: str,
    data: Path | None,
    out_folder: Path,
    questions: str,
    attackers: str | None,
    seeds: int,
    width: float,
    looks: int,
    *,
    pretrained_seeds: int | None = None,
    detection_seeds: int | None = None,
    sizes: str | None = None,
    paper: Path | None = None,
    teacher: Path | None = None,
    workers: int = 1,
    device: str = "cpu",
    quick: bool = False,
    as_json: bool = False,
) -> int:
    """Do every run that is not in the folder yet, and write evidence.json, evidence.md and the figures.

    attackers: None stands for `ATTACKERS`, or with `quick` for `QUICK_ATTACKERS`. sizes: of faces in px, separated by
    commas, for distance. device: "cpu", "cuda" or "auto", for attackers of crops; detectors of scenes and distance stay
    on the processor. Status 0: done; 1: something there is damaged or cannot be written; 2: it cannot be done as asked;
    130: interrupted (the same command goes on).
    """
    try:
        with (
            expected(OptionError, SubjectError, QuestionError, DataMissingError, status=WRONG_INPUT),
            expected(RunError, OSError),
        ):
            check_positive(width, "--width")
            settings = EvidenceSettings(
                questions=asked_questions(_words(questions)),
                attackers=_words(attackers or (QUICK_ATTACKERS if quick else ATTACKERS)),
                seeds=seeds,
                pretrained_seeds=pretrained_seeds,
                detection_seeds=detection_seeds,
                width=width,
                looks=looks,
                sizes_px=None if sizes is None else _sizes(sizes),
            )
            check_attackers(settings.attackers)
            check_out(out_folder)
            where = asked_device(device)
            folder = _data_folder(data, settings)
            subjects = resolve_subjects(encodings, list(_words(against)), paper or folder / PAPER_FILE)
            teacher = _teacher(teacher or folder / TEACHER_FILE, settings)
            check_torch()
            evaluation = Evaluation(
                tuple(subjects), folder, out_folder, quick_settings(settings) if quick else settings, teacher, where
            )
            document = _evaluated(evaluation, workers)
    except (KeyboardInterrupt, BrokenProcessPool):
        say(f"canopic: stopped. What was finished is in {out_folder}: the same command goes on from there")
        return INTERRUPTED
    if as_json:
        print_json(document)
    else:
        console = out()
        console.print(live_table(document["subjects"], quick))
        console.print(f"{out_folder / 'evidence.md'}, evidence.json and the figures beside them hold all of it")
    return DONE


def _evaluated(evaluation: Evaluation, workers: int) -> dict[str, Any]:
    """Read the images, do the runs, write all of it; returns what evidence.json holds."""
    cv2.setNumThreads(1)
    console = Console(stderr=True)
    with console.status("Reading and checking the images"):
        material_of(evaluation)
    runs = _all_runs(evaluation, workers, console)
    document = write_evidence(evaluation, runs)
    from host.figures.evidence import draw_all

    draw_all(document, list(evaluation.subjects), evaluation.folder)
    return document


def _data_folder(data: Path | None, settings: EvidenceSettings) -> Path:
    """The folder of the archives. Raises DataMissingError where it is not given, or an archive of a question is not in
    it."""
    if data is None:
        raise DataMissingError(
            "--data is missing: attackers are asked about photographs; give the folder of the archives"
        )
    if not data.is_dir():
        raise DataMissingError(f"--data {data}: there is no such folder; give the one that holds the archives")
    crops = needed_archives(tuple(one for one in settings.questions if one in CROP_QUESTIONS))
    whole = [name for question in settings.questions for name in ARCHIVES_OF_WHOLE.get(question, ())]
    for name in dict.fromkeys([*crops, *whole]):
        archive_path(data, name)
    return data


def _teacher(path: Path, settings: EvidenceSettings) -> Path:
    """The face embedding's file. Raises QuestionError where the pretrained attacker needs it and it is not there."""
    if PRETRAINED in settings.attackers and "identity" in settings.questions and not path.is_file():
        raise QuestionError(
            f'"{PRETRAINED}" learns from a face embedding of unencoded faces, {path} is missing: give an ONNX file '
            "(--teacher), or leave the attacker out (--attackers)"
        )
    return path


def quick_settings(settings: EvidenceSettings) -> EvidenceSettings:
    """The same questions sooner: one seed, few images, few steps. A trial, not evidence."""
    return replace(
        settings,
        seeds=1,
        looks=min(settings.looks, 4),
        training_looks=2,
        identity_epochs=6,
        face_epochs=4,
        windows_epochs=4,
        student_epochs=2,
        limits=QUICK_LIMITS,
        quick=True,
    )


def _all_runs(evaluation: Evaluation, workers: int, console: Console) -> list[Run]:
    from models.evidence.estimate import estimated_seconds

    plan = planned(evaluation)
    costs: dict[RunKey, float] = {}
    if plan.missing:
        with console.status("Timing a few steps of every attacker and a few looks"):
            costs = estimated_seconds(evaluation, plan)
    console.print(announcement(plan, costs, workers), soft_wrap=True)
    shown = Shown(evaluation, plan, costs, workers, console)
    with drawn(shown, console), _pool(workers) as executor:
        return evaluate(evaluation, executor, shown, workers)


@contextmanager
def _pool(workers: int) -> Iterator[Executor | None]:
    """A pool of processes with one thread each, or None for one. Ended at once on Ctrl-C."""
    if workers <= 1:
        yield None
        return
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), initializer=_start_worker)
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _start_worker() -> None:
    """One thread for each of the libraries; Ctrl-C ends the process without a word."""
    import torch

    signal.signal(signal.SIGINT, signal.SIG_DFL)
    torch.set_num_threads(1)
    cv2.setNumThreads(1)


def _words(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))


def _sizes(text: str) -> tuple[float, ...]:
    """Sizes of faces in pixels. Raises OptionError for what is no number, QuestionError for sizes that cannot be."""
    try:
        sizes = tuple(float(word) for word in _words(text))
    except ValueError:
        raise OptionError(f"--sizes {text}: expected numbers separated by commas, such as 12,16,24") from None
    check_sizes(sizes)
    return sizes
