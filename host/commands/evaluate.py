"""`canopic evaluate`: encodings beside the paper's and the conventional ones, under the same fresh attackers."""

import math
import multiprocessing
import signal
import time
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import typer
from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from host.commands.common import DONE, FAILED, WRONG_INPUT, expected, out, print_json, say
from models.detector.archives import DataMissingError
from models.evidence.evaluate import Evaluation, all_jobs, evaluate, material_of, write_evidence
from models.evidence.material import QUICK_LIMITS
from models.evidence.report import FACE, IDENTITY, headline, summarised
from models.evidence.runs import Run, RunError, find_run
from models.evidence.settings import EvidenceSettings, QuestionError, asked_questions, check_attackers
from models.evidence.subjects import SubjectError, resolve_subjects

PAPER_FILE = Path("reference_encoders") / "canopic_paper.npz"
TEACHER_FILE = Path("models") / "mobilefacenet.onnx"
INTERRUPTED = 130


def evaluate_encodings(
    encodings: list[str],
    against: str,
    data: Path,
    out_folder: Path,
    questions: str,
    attackers: str,
    seeds: int,
    width: float,
    looks: int,
    *,
    pretrained_seeds: int | None = None,
    paper: Path | None = None,
    teacher: Path | None = None,
    workers: int = 1,
    device: str = "cpu",
    quick: bool = False,
    as_json: bool = False,
) -> int:
    """Do every run that is not in the folder yet, and write evidence.json, evidence.md and the figures.

    device: "cpu", "cuda" or "auto", for attackers of crops; detectors of scenes and distance stay on the processor.
    """
    try:
        import torch  # noqa: F401
    except ModuleNotFoundError:
        say("canopic: attackers are trained with PyTorch: pip install 'canopic[train]'")
        raise typer.Exit(FAILED) from None
    from models.attackers.device import DeviceError, chosen_device

    cv2.setNumThreads(1)
    with (
        expected(SubjectError, QuestionError, DeviceError, status=WRONG_INPUT),
        expected(DataMissingError, RunError, OSError),
    ):
        where = chosen_device(device)
        settings = EvidenceSettings(
            questions=asked_questions(_words(questions)),
            attackers=_words(attackers),
            seeds=seeds,
            pretrained_seeds=pretrained_seeds,
            width=width,
            looks=looks,
        )
        check_attackers(settings.attackers)
        if quick:
            settings = quick_settings(settings)
        subjects = resolve_subjects(encodings, list(_words(against)), paper or data / PAPER_FILE)
        evaluation = Evaluation(tuple(subjects), data, out_folder, settings, teacher or data / TEACHER_FILE, where)
        console = Console(stderr=True)
        with console.status("Reading and checking the images"):
            material_of(evaluation)
        try:
            runs = _all_runs(evaluation, workers, console)
        except (KeyboardInterrupt, BrokenProcessPool):
            say(f"canopic: stopped. What was finished is in {evaluation.runs}: the same command goes on from there")
            return INTERRUPTED
        document = write_evidence(evaluation, runs)
        from host.figures.evidence import draw_all

        draw_all(document, subjects, out_folder)
    if as_json:
        print_json(document)
    else:
        console = out()
        console.print(live_table(document["subjects"], quick))
        console.print(f"{out_folder / 'evidence.md'}, evidence.json and the figures beside them hold all of it")
    return DONE


def quick_settings(settings: EvidenceSettings) -> EvidenceSettings:
    """The same questions in minutes: one seed, few images, few steps. A trial, not evidence."""
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

    jobs = all_jobs(evaluation)
    missing = [job for job in jobs if find_run(evaluation.runs, job.key) is None]
    left = 0.0
    if missing:
        with console.status("Timing a few steps of every attacker"):
            costs = estimated_seconds(evaluation, missing)
        left = sum(costs.values())
        console.print(
            f"{len(missing)} of {len(jobs)} runs to do: about {_duration(left / workers)} with {workers} "
            f"process{'es' if workers > 1 else ''} (measured here, just now)"
            + (", and detection and distance, which are not estimated" if len(costs) < len(missing) else "")
        )
    else:
        costs = {}
        console.print(f"all {len(jobs)} runs are there already")
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]} left"),
        console=console,
    )
    task = progress.add_task("runs", total=len(jobs), left="?")
    names = [
        {"name": one.name, "kind": one.kind, "digest": one.digest, "build": one.build} for one in evaluation.subjects
    ]
    seen: list[Run] = []
    begun = time.monotonic()
    done = 0.0
    with Live(console=console, refresh_per_second=2) as live, _pool(workers) as executor:

        def report(run: Run, to_do: int) -> None:
            nonlocal done
            seen.append(run)
            done += costs.get(run.key, 0.0)
            # What a second of the estimate took so far tells what the rest takes.
            pace = (time.monotonic() - begun) / done if done else 1 / workers
            rest = max(0.0, left - done) * pace if to_do else 0.0
            progress.update(task, completed=len(seen), left=_duration(rest))
            live.update(Group(live_table(summarised(names, seen), evaluation.settings.quick), progress))

        return evaluate(evaluation, executor, report)


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


def live_table(rows: list[dict[str, Any]], quick: bool) -> Table:
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


def _words(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, math.ceil(seconds))} s"
    minutes = math.ceil(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes / 60:.1f} h"
