"""Plans of learnings: defaults that fit together, and messages that name file, key, value and what was expected."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from models.encoder.plan import PLANS, EncoderPlan, PlanError, checked_plan, plan_file, read_plan


def written(folder: Path, text: str) -> Path:
    path = folder / "plan.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_an_empty_file_is_the_default_plan(tmp_path: Path) -> None:
    assert read_plan(written(tmp_path, "")) == EncoderPlan()


def test_what_a_file_says_is_taken_and_the_rest_is_default(tmp_path: Path) -> None:
    text = "name: narrow\nseed: 4\nprivacy: {alpha: 50, bits_budget: 120}\nchain: {levels: 3, start: {sigma_px: [5]}}\n"
    plan = read_plan(written(tmp_path, text))
    assert (plan.name, plan.seed, plan.privacy.alpha, plan.privacy.bits_budget) == ("narrow", 4, 50, 120)
    assert plan.chain.levels == 3
    assert plan.chain.start.side_px == 63
    assert plan.schedule == EncoderPlan().schedule


def test_a_plan_survives_being_written_and_read() -> None:
    plan = checked_plan({"chain": {"thresholds": [0.1, 0.4], "levels": 3}, "privacy": {"alpha": 1.5}}, "x")
    assert EncoderPlan.model_validate(plan.model_dump(mode="json")) == plan
    assert EncoderPlan.model_validate_json(plan.model_dump_json()) == plan


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("privacy: {alhpa: 5}", "privacy.alhpa: is no setting of a plan"),
        ("privacy: {alpha: -1}", "privacy.alpha: -1 is refused: Input should be greater than or equal to 0"),
        ("seed: '7'", "seed: '7' is refused: Input should be a valid integer"),
        ("chain: {levels: 17}", "chain.levels: 17 is refused"),
        ("chain: {levels: 4, thresholds: [0.5]}", "chain: 4 levels expect 3 thresholds"),
        ("chain: {thresholds: [0.5, 0.4], levels: 3}", "chain: thresholds are expected to ascend"),
        ("chain: {kernels: none}", "'kernels: none' and 'start: {form: none}' expect each other"),
        ("chain: {free_thresholds: true}", "expects 'levels: 16' and 'range: per_frame'"),
        ("chain: {start: {side_px: 8}}", "'form: gaussian' expects an odd side_px"),
        ("chain: {start: {form: file}}", "'form: file' and 'path' expect each other"),
        ("chain: {thresholds: file}", "'thresholds: file' expects 'start: {form: file}'"),
        ("chain: {thresholds: spread, range: per_frame}", "'thresholds: spread' expects 'range: fixed'"),
        (
            "chain: {symmetric: true, kernels: signed, start: {form: halves, side_px: 10}}",
            "'symmetric: true' expects an odd side_px",
        ),
        ("nuisance: {exposure_span: [1.2, 0.2]}", "exposure_span is expected to be [low, high]"),
        ("nuisance: {exposure_span: [0, 1]}", "nuisance.exposure_span.0: 0 is refused"),
        ("recognition: {networks: []}", "recognition.networks: [] is refused"),
        ("recognition: {networks: [{network: vgg}]}", "recognition.networks.0.network: 'vgg' is refused"),
        ("material: {most_images: 3}", "one image at least"),
        ("- 1", "expected sections such as `privacy:`, got list"),
        ("a: [", "is not YAML"),
    ],
)
def test_what_is_wrong_is_said_with_file_and_key(tmp_path: Path, text: str, says: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(PlanError) as caught:
        read_plan(path)
    assert str(caught.value).startswith(str(path))
    assert says in str(caught.value)


def test_every_mistake_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(PlanError) as caught:
        read_plan(written(tmp_path, "seed: -1\nprivacy: {alpha: .nan}\nschedule: {cycles: many}\n"))
    assert [line.split(": ")[1] for line in str(caught.value).splitlines()] == [
        "seed", "privacy.alpha", "schedule.cycles",
    ]  # fmt: skip


@pytest.mark.parametrize("path", sorted(PLANS.glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_plans_can_be_read_by_name(path: Path) -> None:
    assert read_plan(plan_file(path.stem)) == read_plan(path)


def test_a_file_comes_before_a_shipped_plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "matched").write_text("name: mine\n", encoding="utf-8")
    assert read_plan(plan_file("matched")).name == "mine"
    assert plan_file("no_such_plan") == Path("no_such_plan")


def test_a_folder_of_that_name_is_no_plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "matched").mkdir()
    assert plan_file("matched") == PLANS / "matched.yaml"
    with pytest.raises(PlanError, match=r"shipped one .*matched.*conv1_maxpool_quantize_alpha50"):
        read_plan(plan_file("no_such_plan"))


def test_files_that_are_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match=r"nowhere\.yaml: cannot be read"):
        read_plan(tmp_path / "nowhere.yaml")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(PlanError, match="is not text"):
        read_plan(tmp_path / "binary")


def test_plans_do_not_change() -> None:
    with pytest.raises(ValidationError):
        EncoderPlan().seed = 3  # type: ignore[misc]
