"""The images of the evaluation: who is asked about, how many, and that nobody is in a training and a test part."""

from pathlib import Path

import numpy as np
import pytest

from models.detector.archives import DataMissingError
from models.evidence.material import Limits, evaluation_people, question_digest, read_material

QUESTIONS = ("identity", "face", "pretraining")


def test_the_people_with_the_most_images_are_asked_about_ties_by_name() -> None:
    names = ["b"] * 3 + ["a"] * 3 + ["c"] * 5 + ["d"]
    assert evaluation_people(names, 2) == ["a", "c"]


def test_parts_keep_to_their_limits_and_are_kept(tiny_data: Path, tmp_path: Path) -> None:
    limits = Limits(people=3, most_training=4, most_test=2, faces_training=8, faces_test=5)
    material = read_material(tiny_data, QUESTIONS, limits, tmp_path)
    train, test, unseen = (material.parts[f"identity {name}"] for name in ("train", "test", "unseen"))
    assert np.bincount(train.labels).tolist() == [4, 4, 4]
    assert np.bincount(test.labels).tolist() == [2, 2, 2]
    assert np.bincount(unseen.labels).tolist() == [2] * 6
    assert np.bincount(material.parts["face train"].labels).tolist() == [8, 8]
    assert np.bincount(material.parts["face test"].labels).tolist() == [5, 5]
    files = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    again = read_material(tiny_data, QUESTIONS, limits, tmp_path)
    assert {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == files
    assert all((again.parts[name].images == part.images).all() for name, part in material.parts.items())


def test_no_test_face_is_among_those_that_a_teacher_shows(tiny_data: Path, tmp_path: Path) -> None:
    parts = read_material(tiny_data, QUESTIONS, Limits(people=3), tmp_path).parts
    shown = {image.tobytes() for image in parts["pretraining train"].images}
    assert len(shown) == 3 * 6 + 10 + 12
    for name in ("identity test", "identity unseen"):
        assert not any(image.tobytes() in shown for image in parts[name].images)


def test_a_question_added_later_leaves_the_digests_of_the_others(tiny_data: Path, tmp_path: Path) -> None:
    limits = Limits(people=3)
    one = read_material(tiny_data, ("identity",), limits, tmp_path)
    both = read_material(tiny_data, ("identity", "face"), limits, tmp_path)
    assert question_digest("identity", one, limits) == question_digest("identity", both, limits)
    assert question_digest("identity", one, limits) != question_digest("identity", one, Limits(people=2))


def test_a_missing_archive_is_named(tiny_data: Path, tmp_path: Path) -> None:
    with pytest.raises(DataMissingError, match="scenes_faces_wider480"):
        read_material(tiny_data, ("same-photographs",), Limits(), tmp_path)
