"""Covered crops: what is hidden is gone, what is not stays, and attackers know people by what is left."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from models.detector.augment import CROP_FACE_BOX
from models.detector.scenes import srgb_to_linear
from models.evidence.covered import face_alone, face_area, without_face
from models.evidence.material import Labelled, Material
from models.evidence.questions import ask
from models.evidence.settings import EvidenceSettings, asked_of, asked_questions
from models.evidence.subjects import resolve_subjects

PEOPLE = 4


def crops(seed: int, count: int = 6) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (count, 64, 64, 3), np.uint8)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_what_is_covered_has_one_colour_and_the_rest_is_as_it_was(seed: int) -> None:
    whole, area = crops(seed), face_area()
    for covered, hidden in ((without_face(whole), area), (face_alone(whole), ~area)):
        assert np.array_equal(covered[:, ~hidden], whole[:, ~hidden])
        assert (covered[:, hidden] == covered[:, hidden][:, :1]).all()
        mean = srgb_to_linear(whole[:, ~hidden]).mean(axis=1)
        # Rounded to a byte of sRGB, at most half a step of its steepest part.
        assert np.abs(srgb_to_linear(covered[:, hidden][:, 0]) - mean).max() < 0.005


def test_the_area_holds_the_box_of_a_face_but_for_its_corners() -> None:
    area = face_area()
    x, y, width, height = CROP_FACE_BOX
    middle_row, middle_column = int(y + height / 2), int(x + width / 2)
    assert area[middle_row, int(x) + 1]
    assert area[middle_row, int(x + width) - 1]
    assert area[int(y) + 1, middle_column]
    assert area[int(y + height) - 1, middle_column]
    assert not area[0, 0]
    assert not area[-1, -1]
    assert 0.3 < area.mean() < 0.5


def test_a_plain_crop_stays_as_it_is() -> None:
    plain = np.full((2, 64, 64, 3), 137, np.uint8)
    assert np.array_equal(without_face(plain), plain)
    assert np.array_equal(face_alone(plain), plain)


def test_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\(n, 64, 64, 3\), got \(1, 32, 64, 3\)"):
        without_face(np.zeros((1, 32, 64, 3), np.uint8))


@pytest.mark.parametrize("told_by", ["surroundings", "face-alone"])
def test_people_are_known_by_what_is_left(told_by: str, tmp_path: Path) -> None:
    """Made-up people who differ in their surroundings alone, or in their faces alone."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(PEOPLE), 6)
    area = face_area() if told_by == "face-alone" else ~face_area()
    images = rng.integers(90, 110, (len(labels), 64, 64, 3), np.uint8)
    for person in range(PEOPLE):
        images[labels == person] += (rng.integers(0, 100, (64, 64, 1)) * area[:, :, None]).astype(np.uint8)
    known, asked = Labelled(images[::2], labels[::2]), Labelled(images[1::2], labels[1::2])
    parts = {}
    for question, cover in (("surroundings", without_face), ("face-alone", face_alone)):
        parts[f"{question} train"] = Labelled(cover(known.images), known.labels)
        parts[f"{question} test"] = Labelled(cover(asked.images), asked.labels)
    material = Material(parts, PEOPLE, "", {"faces_identity_lfw64.tar": told_by})
    subject = resolve_subjects([], ["pixelate"], None)[0]
    chosen = EvidenceSettings(looks=1, training_looks=1)
    right = {
        question: ask(subject, question, "nearest", 0, material, chosen, tmp_path)[question]["accuracy"]
        for question in ("surroundings", "face-alone")
    }
    other = "face-alone" if told_by == "surroundings" else "surroundings"
    assert right[told_by] == 1.0
    assert right[other] < 0.75


def test_controls_answer_and_the_pretrained_attacker_does_not() -> None:
    assert asked_questions(("face-alone", "surroundings")) == ("surroundings", "face-alone")
    assert asked_of("nearest", "surroundings", 0)
    assert not asked_of("nearest", "surroundings", 1)
    assert asked_of("small", "face-alone", 2)
    assert not asked_of("pretrained", "face-alone", 0)
