"""The whole evaluation on made-up people: interrupted and resumed alike, and what leaks ranks above what does not."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.detector.gaussian_encoding import gaussian_kernel
from models.evidence.evaluate import Watcher, evaluate, write_evidence
from models.evidence.jobs import Evaluation, Job, all_jobs
from models.evidence.material import Limits
from models.evidence.report import IDENTITY, SEVERAL
from models.evidence.runs import MEANS, Run, read_run
from models.evidence.settings import EvidenceSettings, QuestionError, asked_questions, check_attackers
from models.evidence.subjects import Subject
from models.evidence.whole import whole_attacker
from optics.encoding import Encoding

pytest.importorskip("torch", reason="attackers need torch: pip install 'canopic[train]'")

SETTINGS = EvidenceSettings(
    questions=("identity", "face"),
    attackers=("small", "nearest"),
    seeds=2,
    width=0.05,
    looks=2,
    training_looks=2,
    identity_epochs=12,
    face_epochs=3,
    limits=Limits(people=4, most_training=6, most_test=4, faces_training=10, faces_test=10),
)
LEAKS = Subject("leaks", "ours", Encoding(gaussian_kernel(2.0, 9), np.linspace(0.05, 0.9, 15, dtype=np.float32)))
# Every value is at or above every threshold: all codes are 15, whoever it is.
BLIND = Subject("blind", "ours", Encoding(gaussian_kernel(2.0, 9), np.zeros(15, np.float32), 8, "per_frame"))


@pytest.fixture(scope="module")
def whole(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Evaluation, list[Run]]:
    """An evaluation without interruption, and its runs."""
    evaluation = Evaluation((LEAKS, BLIND), tiny_data, tmp_path_factory.mktemp("whole"), SETTINGS)
    runs = evaluate(evaluation)
    write_evidence(evaluation, runs)
    return evaluation, runs


class StoppedError(Exception):
    """Stands for Ctrl-C."""


class Stop(Watcher):
    """Stops when seven runs are left."""

    def there(self, _job: Job, _run: Run, to_do: int) -> None:
        if to_do == 7:
            raise StoppedError


def test_interrupted_and_resumed_gives_the_same_report(
    whole: tuple[Evaluation, list[Run]], tiny_data: Path, tmp_path: Path
) -> None:
    evaluation = Evaluation((LEAKS, BLIND), tiny_data, tmp_path, SETTINGS)
    with pytest.raises(StoppedError):
        evaluate(evaluation, watcher=Stop())
    kept = {path.name: path.stat().st_mtime_ns for path in evaluation.runs.iterdir()}
    assert 0 < len(kept) < len(all_jobs(evaluation))
    write_evidence(evaluation, evaluate(evaluation))
    for name in ("evidence.json", "evidence.md"):
        assert (tmp_path / name).read_bytes() == (whole[0].folder / name).read_bytes()
    after = {path.name: path.stat().st_mtime_ns for path in evaluation.runs.iterdir()}
    assert {name: after[name] for name in kept} == kept


def test_what_leaks_ranks_above_what_does_not(whole: tuple[Evaluation, list[Run]]) -> None:
    shares = {
        name: np.mean([run.results[IDENTITY]["accuracy"] for run in whole[1] if run.subject_name == name and
                       run.key.question == IDENTITY and run.key.attacker == "small"])
        for name in ("leaks", "blind")
    }  # fmt: skip
    assert shares["blind"] == pytest.approx(0.25)
    assert shares["leaks"] > 0.5


def test_several_looks_are_answered_from_logits_and_from_mean_codes(whole: tuple[Evaluation, list[Run]]) -> None:
    evaluation, runs = whole
    document = write_evidence(evaluation, runs)
    several = next(row for row in document["subjects"] if row["name"] == "leaks")["results"][SEVERAL]
    assert set(several["attackers"]) == {"small", "small, mean codes", "nearest"}
    means = {name: found["mean"] for name, found in several["attackers"].items()}
    assert means[several["headline"]] == max(means.values())
    assert min(means.values()) > 0.4


def test_verification_of_the_blind_is_at_chance(whole: tuple[Evaluation, list[Run]]) -> None:
    for run in whole[1]:
        if run.subject_name == "blind" and "verification" in run.results:
            assert run.results["verification"]["eer"] == pytest.approx(0.5)


def test_the_reports_numbers_are_those_of_the_run_files(whole: tuple[Evaluation, list[Run]]) -> None:
    evaluation, runs = whole
    document = write_evidence(evaluation, runs)
    assert document["runs"] == sorted(path.name for path in evaluation.runs.iterdir())
    for row in document["subjects"]:
        for question, result in row["results"].items():
            if question.startswith("verification"):
                continue
            for attacker, found in result["attackers"].items():
                name = question + (MEANS if attacker.endswith(MEANS) else "")
                files = [read_run(evaluation.runs / file) for file in document["runs"]]
                who = (row["digest"], attacker.removesuffix(MEANS))
                mine = [one for one in files if (one.key.subject, one.key.attacker) == who]
                shares = [one.results[name]["accuracy"] for one in mine if name in one.results]
                assert found["mean"] == pytest.approx(np.mean(shares))
                assert found["seeds"] == len(shares)


def test_a_seed_or_a_subject_added_later_reuses_the_others(whole: tuple[Evaluation, list[Run]]) -> None:
    evaluation, runs = whole
    more = replace(evaluation, settings=replace(SETTINGS, seeds=3), subjects=(BLIND, LEAKS))
    known = {run.key for run in runs}
    new = [job for job in all_jobs(more) if job.key not in known]
    assert {job.key.seed for job in new} == {2}
    assert len(new) == 4
    other = replace(evaluation, settings=replace(SETTINGS, identity_epochs=13))
    assert {job.key.question for job in all_jobs(other) if job.key not in known} == {"identity"}


def test_detectors_of_scenes_have_seeds_of_their_own() -> None:
    settings = EvidenceSettings(seeds=3, detection_seeds=1)
    assert [whole_attacker("detection", settings, seed) for seed in range(3)] == ["detector", None, None]
    assert [whole_attacker("detection", EvidenceSettings(), seed) for seed in range(2)] == ["detector"] * 2
    assert [whole_attacker("distance", settings, seed) for seed in range(2)] == ["best", None]


def test_words_that_mean_nothing_are_refused_with_those_that_do() -> None:
    assert asked_questions(("face", "verification")) == ("identity", "face")
    with pytest.raises(QuestionError, match="same-photographs"):
        asked_questions(("faces",))
    with pytest.raises(QuestionError, match="resnet18 x8"):
        check_attackers(("resnet50",))


def test_a_head_start_without_a_teacher_is_refused(tiny_data: Path, tmp_path: Path) -> None:
    settings = replace(SETTINGS, attackers=("pretrained",))
    with pytest.raises(QuestionError, match=r"absent\.onnx is missing"):
        all_jobs(Evaluation((LEAKS,), tiny_data, tmp_path, settings, tmp_path / "absent.onnx"))
