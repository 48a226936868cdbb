"""Summaries are those of the runs, and the verdict holds both axes against their intervals."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.detector.metrics import wilson_interval
from models.evidence.report import FACE, IDENTITY, RETRIEVAL, SEVERAL, compare, difference, goals, summarised, verdicts
from models.evidence.runs import MEANS, Run, RunKey, canonical, share
from models.evidence.tables import page

LABELS = {IDENTITY: np.arange(400) % 71, FACE: np.arange(400) % 2}


def run(subject: str, question: str, right: int, attacker: str = "small", seed: int = 0, first: int = 0) -> Run:
    """A run in which the attacker is right about `right` of 400 images, from the image `first` on."""
    answers = np.roll(np.arange(400) < right, first)
    measure = share(answers, LABELS[question], 71 if question == IDENTITY else 2, 1000) | {"train_accuracy": 0.9}
    return Run(RunKey(subject, question, attacker, seed, canonical({})), subject, {question: measure}, 1.0)


def fact(name: str, kind: str = "ours", build: str = "mask") -> dict[str, str]:
    return {"name": name, "kind": kind, "build": build, "digest": name, "source": ""}


def test_the_headline_is_the_strongest_attacker_and_seeds_do_not_add_images() -> None:
    runs = [run("a", IDENTITY, right, "small", seed) for seed, right in enumerate((20, 30, 40))]
    runs += [run("a", IDENTITY, right, "resnet18", seed) for seed, right in enumerate((30, 35, 40))]
    result = summarised([fact("a")], runs)[0]["results"][IDENTITY]
    assert result["headline"] == "resnet18"
    found = result["attackers"]["resnet18"]
    assert found["by_seed"] == [30 / 400, 35 / 400, 40 / 400]
    assert found["mean"] == pytest.approx(35 / 400)
    assert (found["n"], found["seeds"]) == (400, 3)
    assert found["interval_95"] == pytest.approx(wilson_interval(35, 400))


axis = st.tuples(st.floats(-1, 1), st.floats(0, 0.5), st.floats(0, 0.5)).map(lambda a: (a[0], a[0] - a[1], a[0] + a[2]))
MIRROR = {"beats": "loses", "loses": "beats"}


def turned(gap: tuple[float, float, float]) -> tuple[float, float, float]:
    return -gap[0], -gap[2], -gap[1]


@given(axis, axis)
def test_a_verdict_is_the_opposite_the_other_way_round(
    identity: tuple[float, float, float], face: tuple[float, float, float]
) -> None:
    there, back = compare(identity, face), compare(turned(identity), turned(face))
    if there in MIRROR:
        assert back == MIRROR[there]
    if there == "beats":
        assert identity[0] <= 0 <= face[0]
        assert identity[2] < 0 or face[1] > 0
    if there == "beats within the interval":
        assert identity[0] > 0 or face[0] < 0
        assert identity[1] <= 0
        assert face[2] >= 0


@given(axis, axis, st.floats(0.001, 1))
def test_less_identity_never_turns_winning_into_losing(
    identity: tuple[float, float, float], face: tuple[float, float, float], less: float
) -> None:
    order = ["loses", "open", "beats within the interval", "beats"]
    better = (identity[0] - less, identity[1] - less, identity[2] - less)
    assert order.index(compare(better, face)) >= order.index(compare(identity, face))


@pytest.mark.parametrize(
    ("identity", "face", "verdict"),
    [
        ((-0.05, -0.08, -0.02), (0.0, -0.01, 0.01), "beats"),
        ((-0.05, -0.08, -0.02), (-0.005, -0.01, 0.01), "beats within the interval"),
        ((-0.05, -0.08, -0.02), (-0.05, -0.08, -0.02), "open"),
        ((-0.01, -0.03, 0.01), (0.01, -0.01, 0.03), "open"),
        ((0.05, 0.02, 0.08), (0.0, -0.01, 0.01), "loses"),
    ],
)
def test_verdicts_by_hand(identity: tuple[float, float, float], face: tuple[float, float, float], verdict: str) -> None:
    assert compare(identity, face) == verdict


def test_differences_are_paired() -> None:
    rng = np.random.default_rng(0)
    right = (rng.random(400) < 0.5).astype(np.float64)
    better = right.copy()
    better[np.flatnonzero(right == 0)[:12]] = 1
    gap, low, high = difference(better, right, rng)
    assert gap == pytest.approx(12 / 400)
    assert 0 < low < gap < high  # unpaired, 3 points of 400 images could not be told from none
    with pytest.raises(ValueError, match="same images"):
        difference(right, right[:10], rng)


def document() -> dict[str, object]:
    subjects = {"ours": (18, 372), "theirs": (60, 370), "unbuildable": (10, 390)}
    runs = [
        run(name, question, right)
        for name, both in subjects.items()
        for question, right in zip((IDENTITY, FACE), both, strict=True)
    ]
    facts = [fact("theirs", "paper", "no"), fact("ours"), fact("unbuildable", "ours", "no")]
    rows = summarised(facts, runs)
    found = verdicts(rows, runs, np.random.default_rng(0))
    settings = {"attackers": ["small"], "width": 0.25, "seeds": 1, "looks": 16}
    return {"quick": False, "settings": settings, "subjects": rows, "verdicts": found, "goals": goals(rows, found)}


def test_only_what_can_be_built_is_held_against_the_goals() -> None:
    made = document()
    assert [(one["ours"], one["reference"], one["verdict"]) for one in made["verdicts"]] == [  # type: ignore[attr-defined]
        ("ours", "theirs", "beats")
    ]
    beaten, five, chance = made["goals"]  # type: ignore[misc]
    assert beaten["reached"]
    assert (five["reached"], five["nearest"]) == (True, "ours")
    assert not chance["reached"]
    assert chance["by_image"]["missing"]["identity"] == pytest.approx(18 / 400 - 2 / 71)
    assert chance["missing"]["face"] == 0


def test_the_goal_near_chance_counts_an_attacker_that_looks_several_times() -> None:
    runs = [run("ours", IDENTITY, 8), run("ours", FACE, 372)]
    runs[0].results[SEVERAL] = dict(run("ours", IDENTITY, 40).results[IDENTITY])
    chance = goals(summarised([fact("ours")], runs), [])[2]
    assert chance["by_image"]["identity"] == pytest.approx(0.1)


def test_the_goals_count_a_name_that_the_nearest_training_image_gives() -> None:
    runs = [run("ours", IDENTITY, 8), run("ours", FACE, 372)]
    runs[0].results[RETRIEVAL] = dict(run("ours", IDENTITY, 24).results[IDENTITY])
    five, chance = goals(summarised([fact("ours")], runs), [])[1:]
    for found in (five["by_image"], chance["by_image"]):
        assert (found["identity"], found["reached"]) == (pytest.approx(0.06), False)


def test_the_goals_count_people_and_say_what_images_would() -> None:
    runs = [run("ours", IDENTITY, 24), run("ours", FACE, 372)]
    runs[0].results[IDENTITY]["per_class"] = 0.04
    rows = summarised([fact("ours")], runs)
    five = goals(rows, [])[1]
    assert (five["identity"], five["reached"]) == (0.04, True)
    assert (five["by_image"]["identity"], five["by_image"]["reached"]) == (pytest.approx(0.06), False)
    text = page(document() | {"goals": goals(rows, [])})
    assert "reached; nearest is ours: identity 4.0 %" in text
    assert "Counted by image not reached; nearest is ours: identity 6.0 %" in text


def test_the_page_says_the_runs_numbers() -> None:
    text = page(document())
    assert "| ours | mask | - | - | 4.5 (2.9..7.0) |" in text
    assert "| theirs | not realisable | - | - | 15.0 (11.8..18.8) |" in text
    assert "missing 1.7 and 0.0 points" in text
    assert "QUICK" not in text
    assert "not corrected for their number (1, on two axes each)" in text
    assert "bootstrap draws images" in text
    assert "QUICK" in page(document() | {"quick": True})


def test_the_page_says_who_had_fewer_seeds() -> None:
    settings = {"attackers": ["small", "pretrained", "nearest", "linear"], "width": 0.25, "seeds": 3, "looks": 16}
    text = page(document() | {"settings": settings | {"pretrained_seeds": 2}})
    assert "3 seeds (2 of the pretrained one, 1 of nearest and linear)" in text
    assert "3 seeds (1 of nearest and linear)" in page(document() | {"settings": settings})


def test_several_looks_count_the_stronger_of_logits_and_mean_codes() -> None:
    runs = [run("ours", IDENTITY, 8)]
    runs[0].results[SEVERAL] = dict(run("ours", IDENTITY, 20).results[IDENTITY])
    runs[0].results[SEVERAL + MEANS] = dict(run("ours", IDENTITY, 60).results[IDENTITY])
    found = summarised([fact("ours")], runs)[0]["results"]
    assert found[SEVERAL]["headline"] == "small" + MEANS
    assert found[SEVERAL]["attackers"]["small" + MEANS]["mean"] == pytest.approx(0.15)
    assert SEVERAL + MEANS not in found
