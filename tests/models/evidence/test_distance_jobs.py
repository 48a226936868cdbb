"""Distance as jobs of an evaluation: the same by a pool, gone on with after an interruption, put together last."""

import json
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.detector.archives import SCENES
from models.detector.gaussian_encoding import gaussian_kernel
from models.evidence import estimate
from models.evidence.evaluate import Task, Watcher, evaluate, write_evidence
from models.evidence.jobs import Evaluation, Job, all_jobs, planned
from models.evidence.material import Limits
from models.evidence.runs import Run
from models.evidence.settings import EvidenceSettings
from models.evidence.subjects import Subject
from optics.encoding import Encoding

pytest.importorskip("torch", reason="attackers need torch: pip install 'canopic[train]'")

SETTINGS = EvidenceSettings(
    questions=("distance",),
    attackers=("small", "nearest"),
    seeds=1,
    width=0.05,
    looks=2,
    training_looks=2,
    identity_epochs=2,
    face_epochs=2,
    sizes_px=(8.0, 32.0),
    limits=Limits(people=4, most_training=6, most_test=4, faces_training=10, faces_test=10),
)
OURS = Subject("ours", "ours", Encoding(gaussian_kernel(2.0, 9), np.linspace(0.05, 0.9, 15, dtype=np.float32)))
# Two sizes: three folds of two attackers for identity, one of faces; and what is put together from them.
JOBS = 2 * (3 * 2 + 1) + 1


class StoppedError(Exception):
    """Stands for Ctrl-C."""


class Notes(Watcher):
    """Notes what it is told; stops when so many runs are left."""

    def __init__(self, stop_at: int | None = None) -> None:
        self.stop_at = stop_at
        self.done: list[str] = []
        self.running: list[Task] = []
        self.steps: list[str] = []
        self.most = 0

    def there(self, job: Job, _run: Run, to_do: int) -> None:
        self.done.append(job.name)
        if to_do == self.stop_at:
            raise StoppedError

    def began(self, task: Task) -> None:
        self.running.append(task)
        self.most = max(self.most, len(self.running))

    def step(self, _task: Task, what: str, _done: int, _total: int) -> None:
        self.steps.append(what)

    def ended(self, task: Task) -> None:
        self.running.remove(task)


@pytest.fixture(scope="module")
def whole(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Evaluation, Notes]:
    """An evaluation in one process without interruption, written, and what was told of it."""
    evaluation = Evaluation((OURS,), tiny_data, tmp_path_factory.mktemp("distance"), SETTINGS)
    notes = Notes()
    write_evidence(evaluation, evaluate(evaluation, watcher=notes))
    return evaluation, notes


def written(evaluation: Evaluation) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in evaluation.runs.iterdir()}


def same(one: Evaluation, other: Evaluation) -> bool:
    return all(
        (one.folder / name).read_bytes() == (other.folder / name).read_bytes()
        for name in ("evidence.json", "evidence.md")
    )


def test_every_run_by_size_is_a_job_and_none_of_them_is_evidence_of_its_own(whole: tuple[Evaluation, Notes]) -> None:
    evaluation, notes = whole
    assert notes.done == [job.name for job in all_jobs(evaluation)]
    assert len(notes.done) == len(written(evaluation)) == JOBS
    assert notes.most == 1
    assert not notes.running
    document = write_evidence(evaluation, evaluate(evaluation))
    assert [name.split("_")[1] for name in document["runs"]] == ["distance"]
    row = document["subjects"][0]
    assert row["results"] == {}
    assert row["distance"]["sizes_px"] == [8.0, 32.0]
    assert json.loads((evaluation.folder / "evidence.json").read_text())["settings"]["sizes_px"] == [8.0, 32.0]


def test_a_pool_finds_the_same_and_does_two_at_once(whole: tuple[Evaluation, Notes], tmp_path: Path) -> None:
    evaluation = Evaluation((OURS,), whole[0].data, tmp_path, SETTINGS)
    notes = Notes()
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        write_evidence(evaluation, evaluate(evaluation, pool, notes, 2))
    assert same(evaluation, whole[0])
    assert sorted(notes.done) == sorted(whole[1].done)
    assert notes.done[-1] == "ours, distance, put together"
    assert notes.most == 2
    assert not notes.running


def test_interrupted_it_goes_on_and_does_nothing_twice(whole: tuple[Evaluation, Notes], tmp_path: Path) -> None:
    evaluation = Evaluation((OURS,), whole[0].data, tmp_path, SETTINGS)
    with pytest.raises(StoppedError):
        evaluate(evaluation, watcher=Notes(stop_at=9))
    kept = written(evaluation)
    assert len(kept) == len(planned(evaluation).found) == JOBS - 9
    write_evidence(evaluation, evaluate(evaluation))
    assert {name: at for name, at in written(evaluation).items() if name in kept} == kept
    assert same(evaluation, whole[0])


def test_the_last_job_only_puts_together(
    whole: tuple[Evaluation, Notes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluation = Evaluation((OURS,), whole[0].data, tmp_path, SETTINGS)
    monkeypatch.setattr("models.evidence.distance.do_sized", lambda *_: pytest.fail("a run is done by the last job"))
    evaluate(evaluation)
    assert len(written(evaluation)) == JOBS


def test_where_distance_is_there_its_parts_are_not_asked_for(whole: tuple[Evaluation, Notes], tmp_path: Path) -> None:
    evaluation = Evaluation((OURS,), whole[0].data, tmp_path, SETTINGS)
    evaluation.runs.mkdir()
    last = all_jobs(evaluation)[-1].key.file_name
    (evaluation.runs / last).write_bytes((whole[0].runs / last).read_bytes())
    plan = planned(evaluation)
    assert (len(plan.jobs), plan.missing) == (1, [])
    write_evidence(evaluation, evaluate(evaluation))
    assert same(evaluation, whole[0])


def test_the_estimate_counts_each_of_them_and_no_detector(whole: tuple[Evaluation, Notes], tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for path in whole[0].data.iterdir():
        (data / path.name).symlink_to(path)
    # Its digest alone is asked for.
    (data / SCENES).write_text("no archive")
    evaluation = Evaluation((OURS,), data, tmp_path / "out", replace(SETTINGS, questions=("detection", "distance")))
    plan = planned(evaluation)
    costs = estimate.estimated_seconds(evaluation, plan)
    left_out = [job.key.question for job in plan.missing if job.key not in costs]
    assert left_out == ["detection"]
    assert len(costs) == JOBS
    assert all(cost > 0 for cost in costs.values())


def test_a_larger_face_and_its_looks_take_longer(
    whole: tuple[Evaluation, Notes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second for each look and each cell of an image: what is left is how many there are of them."""
    evaluation = Evaluation((OURS,), whole[0].data, tmp_path, SETTINGS)
    monkeypatch.setattr(estimate, "_seconds_per_image", lambda _job, _attacker, side, *_: float(side**2))
    plan = planned(evaluation)
    costs = {}
    for look_s in (0.0, 1.0):
        monkeypatch.setattr(
            estimate, "_timed_look", lambda _, face_px, look_s=look_s: (look_s, 4 if face_px == 8 else 8, 3)
        )
        found = estimate.estimated_seconds(evaluation, plan)
        costs[look_s] = {job.name: found[job.key] for job in plan.missing}
    small, large = (costs[0.0][f"ours, face at {size} px, small"] for size in (8, 32))
    # 20 images each way: two epochs and half of one, and half of two for the tests.
    assert small == pytest.approx(16 * (20 * 2.5 + 20))
    assert large == pytest.approx(4 * small)
    looks = {name: costs[1.0][name] - cost for name, cost in costs[0.0].items()}
    assert looks["ours, face at 8 px, small"] == pytest.approx(20 * 2 + 20)
    # Forty images in three folds, tested in one and learned in two of them, mirrored and not.
    measured = [looks[f"ours, identity at 8 px, small, fold {fold} of 3"] for fold in (1, 2, 3)]
    assert sum(measured) == pytest.approx(80 * 2 * 2 + 40 * 2)
    # Who comes second finds them measured.
    assert looks["ours, identity at 8 px, nearest, fold 1 of 3"] == 0
