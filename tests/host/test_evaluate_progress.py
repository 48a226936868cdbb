"""What `canopic evaluate` says before and while it works: every run is counted, and what is not estimated is named."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from host.cli import app
from host.commands import evaluate_progress
from host.commands.evaluate_progress import Shown, announcement
from models.evidence.evaluate import Task
from models.evidence.jobs import Evaluation, Job, Plan
from models.evidence.runs import Run, RunKey, share
from models.evidence.settings import EvidenceSettings
from models.evidence.sized import SizedRun
from models.evidence.subjects import Subject
from tests.models.evidence.conftest import write_tiny_data

CLEAN = Subject("clean", "baseline")


def job(question: str, seed: int = 0, face_px: float | None = None) -> Job:
    attacker = "detector" if question == "detection" else "small"
    key = RunKey(CLEAN.digest, question, attacker, seed, "{}" if face_px is None else f'{{"px": {face_px}}}')
    return Job(CLEAN, key, None if face_px is None else SizedRun(key, face_px, 0, EvidenceSettings()))


def run(one: Job) -> Run:
    labels = np.arange(4) % 2
    return Run(
        one.key, "clean", {one.key.question: share(labels == labels, labels, 2, 4) | {"train_accuracy": 1.0}}, 1.0
    )


FACES = [job("face"), job("face", 1)]
DETECTION = [job("detection"), job("detection", 1)]


@pytest.mark.parametrize(
    ("jobs", "found", "workers", "said"),
    [
        (FACES, [], 1, "2 of 2 runs to do: about 60 s with 1 process (measured here, just now)"),
        (FACES, FACES[:1], 2, "1 of 2 runs to do: about 15 s with 2 processes (measured here, just now)"),
        (FACES, FACES, 1, "all 2 runs are there already"),
        (FACES[:1], FACES[:1], 1, "the run is there already"),
        (DETECTION[:1], [], 1, "1 of 1 runs to do: detection, which is not estimated"),
        (DETECTION, [], 2, "2 of 2 runs to do: detection, 2 runs, which are not estimated"),
        (
            FACES + DETECTION[:1],
            [],
            1,
            "3 of 3 runs to do: about 60 s with 1 process (measured here, just now), and detection, which is not "
            "estimated",
        ),
        (FACES + DETECTION, DETECTION, 1, "2 of 4 runs to do: about 60 s with 1 process (measured here, just now)"),
    ],
)
def test_what_is_to_come_is_said_in_one_sentence(jobs: list[Job], found: list[Job], workers: int, said: str) -> None:
    plan = Plan(jobs, {one.key: run(one) for one in found})
    costs = {one.key: 30.0 for one in plan.missing if one.key.question != "detection"}
    assert announcement(plan, costs, workers) == said


class Clock:
    """Seconds that go by when the test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(evaluate_progress, "time", clock)
    return clock


def shown_of(jobs: list[Job], console: Console, workers: int = 1) -> Shown:
    plan = Plan(jobs, {})
    costs = {one.key: 30.0 for one in jobs if one.key.question != "detection"}
    return Shown(Evaluation((CLEAN,), Path(), Path(), EvidenceSettings()), plan, costs, workers, console)


def text_of(shown: Shown) -> str:
    console = Console(file=io.StringIO(), width=120, force_terminal=False)
    with console.capture() as capture:
        console.print(shown.renderable())
    return capture.get()


def test_every_task_has_a_line_until_it_ends(clock: Clock) -> None:
    shown = shown_of([DETECTION[0], *FACES], Console(file=io.StringIO(), force_terminal=True), 2)
    detection, face = Task(DETECTION[0]), Task(FACES[0])
    shown.began(detection)
    clock.now += 40
    shown.began(face)
    shown.step(detection, "training, loss 0.50", 300, 1500)
    clock.now += 20
    found = text_of(shown)
    assert "0/3" in found
    assert "clean, detection, seed 0: training, loss 0.50, 300 of 1500 (1:00)" in found
    assert "clean, face, small, seed 0 (0:20)" in found
    shown.ended(face)
    shown.there(FACES[0], run(FACES[0]), 2)
    found = text_of(shown)
    assert "clean, face" not in found
    assert "100.0 %" in found
    assert "1/3" in found
    # It took 20 s where 30 were estimated, and so will the other; two do it.
    assert "10 s and detection left" in found


def test_runs_by_size_are_counted_and_not_in_the_table() -> None:
    sized = job("identity", face_px=24.0)
    shown = shown_of([sized, *FACES], Console(file=io.StringIO(), force_terminal=True))
    shown.there(sized, run(sized), 2)
    found = text_of(shown)
    assert "1/3" in found
    assert "100.0 %" not in found


def test_where_nothing_can_be_redrawn_everything_new_has_a_line() -> None:
    written = io.StringIO()
    shown = shown_of(DETECTION[:1], Console(file=written, force_terminal=False))
    task = Task(DETECTION[0])
    shown.began(task)
    shown.step(task, "measuring scenes", 250, 4000)
    shown.ended(task)
    shown.there(DETECTION[0], run(DETECTION[0]), 0)
    assert written.getvalue().splitlines() == [
        "clean, detection, seed 0: measuring scenes, 250 of 4000",
        "clean, detection, seed 0: done, 0 runs to do",
    ]


def test_distance_from_the_command_counts_its_runs_and_says_how_long(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="attackers need torch: pip install 'canopic[train]'")
    pytest.importorskip("matplotlib", reason="figures need matplotlib: pip install 'canopic[train]'")
    data = tmp_path / "data"
    data.mkdir()
    out = tmp_path / "out"
    words = ["evaluate", "--against", "pixelate", "--questions", "distance", "--quick", "--sizes", "8,24"]
    words += ["--attackers", "small", "--width", "0.05", "--data", str(write_tiny_data(data)), "--out", str(out)]
    found = CliRunner().invoke(app, words)
    assert found.exit_code == 0, found.output
    # Two sizes: three folds for identity, one of faces; and what is put together from them.
    assert "9 of 9 runs to do: about " in found.stderr
    assert "not estimated" not in found.stderr
    assert "pixelate, identity at 24 px, small, fold 3 of 3: done" in found.stderr
    assert "pixelate, distance, put together: done, 0 runs to do" in found.stderr
    document = json.loads((out / "evidence.json").read_text())
    assert document["settings"]["sizes_px"] == document["subjects"][0]["distance"]["sizes_px"] == [8.0, 24.0]
    again = CliRunner().invoke(app, words)
    assert again.exit_code == 0
    assert "the run is there already" in again.stderr
