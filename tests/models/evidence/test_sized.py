"""Runs by size: listed without reading an image, under the keys of the runs that people already have."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.detector.gaussian_encoding import gaussian_kernel
from models.evidence.jobs import Evaluation, all_jobs
from models.evidence.material import ARCHIVES, Limits
from models.evidence.runs import digest
from models.evidence.settings import EvidenceSettings, QuestionError
from models.evidence.subjects import Subject
from models.evidence.whole import check_sizes
from optics.encoding import Encoding

pytest.importorskip("torch", reason="keys name how networks are trained: pip install 'canopic[train]'")

SETTINGS = EvidenceSettings(
    questions=("identity", "distance"),
    attackers=("nearest", "small", "resnet18", "linear"),
    seeds=2,
    width=0.05,
    looks=2,
    training_looks=2,
    identity_epochs=2,
    face_epochs=3,
    quick=True,
    limits=Limits(people=4, most_training=6, most_test=4, faces_training=10, faces_test=10),
)
OURS = Subject("ours", "ours", Encoding(gaussian_kernel(2.0, 9), np.linspace(0.05, 0.9, 15, dtype=np.float32)))
CLEAN = Subject("clean", "baseline")
# Digests of the settings of runs at 24 and 48 px, as the version wrote them that did them within one job. Whoever
# changes them throws away what people have measured: then raise the recipe that says why.
NETWORK = (
    "01103697aa11", "0a561ea5dd15", "39e3950a510e", "4055ee999c54", "43cb5ede8f73", "8542cec96ba6",
)  # fmt: skip
CONTROL = (
    "4ceb60954a01", "4f3e94f6073d", "6f56c01c790e", "84c1e80ae18b", "9ca57ac54519", "c84e90f49715",
)  # fmt: skip
FACE = ("decd56faef21", "f33ddef1741a")
DISTANCE = "21af6c717414"


@pytest.fixture
def evaluation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Evaluation:
    """Archives by name alone, and their names for digests: whoever reads one of them fails."""
    for name in {name for names in ARCHIVES.values() for name in names}:
        (tmp_path / name).write_text("no archive")
    for module in ("sized", "whole"):
        monkeypatch.setattr(f"models.evidence.{module}.file_digest", lambda path: path.name)
    return Evaluation((OURS, CLEAN), tmp_path, tmp_path / "out", replace(SETTINGS, questions=("distance",)))


def test_the_keys_are_those_of_the_runs_that_people_have(evaluation: Evaluation) -> None:
    found: dict[tuple[str, str, str, int], list[str]] = {}
    for job in all_jobs(evaluation):
        at = (job.subject.name, job.key.question, job.key.attacker, job.key.seed)
        found.setdefault(at, []).append(digest(job.key.settings)[:12])
    assert {at: tuple(sorted(sums)) for at, sums in found.items()} == {
        ("ours", "identity", "small", 0): NETWORK,
        ("ours", "identity", "nearest", 0): CONTROL,
        ("ours", "identity", "linear", 0): CONTROL,
        ("ours", "face", "small", 0): FACE,
        ("ours", "distance", "best", 0): (DISTANCE,),
        ("clean", "identity", "small", 0): NETWORK,
        ("clean", "identity", "nearest", 0): CONTROL,
        ("clean", "face", "small", 0): FACE,
        ("clean", "distance", "best", 0): (DISTANCE,),
    }


def test_sizes_that_are_asked_for_keep_the_runs_of_the_others(evaluation: Evaluation) -> None:
    more = replace(evaluation, settings=replace(evaluation.settings, sizes_px=(12.0, 24.0, 48.0)))
    before = {job.key for job in all_jobs(evaluation)}
    new = [job for job in all_jobs(more) if job.key not in before]
    assert {job.sized.face_px for job in new if job.sized is not None} == {12.0}
    assert {job.subject.name for job in new if job.key.question == "distance"} == {"ours", "clean"}
    same = replace(evaluation, settings=replace(evaluation.settings, sizes_px=(24.0, 48.0)))
    assert {job.key for job in all_jobs(same)} == before


def test_a_run_says_what_it_is(evaluation: Evaluation) -> None:
    names = [job.name for job in all_jobs(evaluation)]
    assert len(set(names)) == len(names)
    assert names[0] == "ours, identity at 24 px, small, fold 1 of 3"
    assert "ours, face at 48 px, small" in names
    assert names[-1] == "clean, distance, put together"


@pytest.mark.parametrize("sizes", [(), (24.0, 12.0), (12.0, 12.0), (3.0,), (12.0, 1e9), (float("nan"),), (-12.0,)])
def test_sizes_that_cannot_be_are_refused(sizes: tuple[float, ...]) -> None:
    with pytest.raises(QuestionError, match="ascending, from 4 to 480"):
        check_sizes(sizes)


def test_sizes_that_can_be_are_not() -> None:
    check_sizes((4.0, 12.5, 480.0))
