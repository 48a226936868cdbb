"""Who judges an encoder: people with the most images, and the better of a network and a linear probe."""

import numpy as np
import pytest
from numpy.typing import NDArray

from models.encoder.plan import ChoicePlan, NetworkPlan

torch = pytest.importorskip("torch", reason="learning needs torch: pip install 'canopic[train]'")

from models.encoder.adversaries import Lesson  # noqa: E402
from models.encoder.judge import judged, most_images  # noqa: E402
from models.encoder.looks import Looks  # noqa: E402


def lesson(labels: list[int], classes: int, seed: int, looks: int = 1) -> Lesson:
    """Codes 8 x 8 x 3 of which one row says who it is, faintly."""
    rng = np.random.default_rng(seed)
    codes = rng.integers(4, 9, (len(labels), looks, 8, 8, 3))
    for index, label in enumerate(labels):
        codes[index, :, label % 8, :, 0] += 4
    return Lesson(Looks(codes.astype(np.uint8), 15), np.array(labels, np.int64), classes)


def test_those_with_the_most_images_are_chosen_and_numbered_anew() -> None:
    labels = [0, 1, 1, 1, 2, 3, 3, 4, 4, 4]
    known, asked = lesson(labels, 5, 0), lesson([4, 0, 3, 1, 2], 5, 1)
    found, test = most_images(known, asked, 3)
    assert found.labels.tolist() == [0, 0, 0, 1, 1, 2, 2, 2]
    assert test.labels.tolist() == [2, 1, 0]
    assert (found.classes, test.classes) == (3, 3)
    assert np.array_equal(found.looks.codes, known.looks.codes[[1, 2, 3, 5, 6, 7, 8, 9]])
    assert np.array_equal(test.looks.codes, asked.looks.codes[[0, 2, 3]])
    for people in (None, 5, 60):
        assert most_images(known, asked, people) == (known, asked)


def test_the_better_attacker_counts_and_both_are_on_record() -> None:
    """One pass teaches a network nothing; the probe tells people apart."""
    labels: NDArray[np.int64] = np.repeat(np.arange(6), [9, 9, 9, 9, 2, 2])
    lessons = {
        "identity": lesson(labels.tolist(), 6, 0),
        "held_out_identity": lesson([0, 1, 2, 3, 4, 5] * 4, 6, 1),
        "face": lesson([0, 1] * 8, 2, 2),
        "held_out_face": lesson([0, 1] * 5, 2, 3, looks=2),
    }
    plan = ChoicePlan(network=NetworkPlan(width=0.05), people=4, identity_epochs=1, face_epochs=1)
    identity = judged(lessons, plan, 0)["identity"]
    assert identity["network"] == "linear"
    assert (identity["n"], identity["chance"], identity["n_train"]) == (16, 0.25, 36)
    assert identity["accuracy"] > 0.8
    assert identity["accuracy"] == max(one["accuracy"] for one in identity["attackers"])
    assert [one["network"] for one in identity["attackers"]] == ["small", "linear"]
    alone = judged(lessons, plan.model_copy(update={"linear": False, "people": None}), 0)
    assert (alone["identity"]["network"], alone["identity"]["n"]) == ("small", 24)
    assert "attackers" not in alone["identity"]
    assert alone["face"]["n"] == 10
