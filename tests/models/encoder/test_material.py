"""Learning material: no evaluation person, no test image, nothing held out that was learned from."""

import csv
import io
import tarfile
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from models.detector.archives import DataMissingError
from models.encoder.material import EVALUATION_PEOPLE, archive_material, evaluation_people, learning_material
from models.encoder.plan import MaterialPlan, checked_plan
from tests.models.archive_files import write_archive

LIMITS = MaterialPlan(photographs=False)
SIDE = 64


def archive(path: Path, rows: list[dict[str, str]]) -> None:
    """A tar file of tiny JPEG pictures, each of a grey of its own row, and their table."""
    with tarfile.open(path, "w") as tar:
        table = io.StringIO()
        writer = csv.DictWriter(table, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
        files = {"index.csv": table.getvalue().encode()}
        for number, row in enumerate(rows):
            picture = np.full((SIDE, SIDE, 3), number % 256, np.uint8)
            picture[:8, :8] = number // 256
            files[row["file"]] = bytes(cv2.imencode(".jpg", picture)[1])
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Made-up archives: 71 people of 6 images, 3 of 5; others of 5, 2 and 1; pictures without a face."""
    known = [(f"a{number:02}", 6) for number in range(EVALUATION_PEOPLE)] + [(f"b{number}", 5) for number in range(3)]
    people = [
        {"file": f"{name}/{image}.jpg", "person": name, "split": "test" if image == 0 else "train"}
        for name, count in known
        for image in range(count + 1)
    ]
    archive(tmp_path / "faces_identity_lfw64.tar", people)
    others = [("c0", 8), ("c1", 5), *((f"d{number}", 2) for number in range(20))]
    rows = [
        {"file": f"{name}/{image}.jpg", "person": name, "split": "train"}
        for name, count in others
        for image in range(count)
    ]
    archive(tmp_path / "faces_other_lfw64.tar", [*rows, {"file": "z/0.jpg", "person": "z", "split": "test"}])
    without = [{"file": f"n/{photo}_{crop}.jpg", "split": "train"} for photo in range(40) for crop in range(3)]
    archive(tmp_path / "nonface_images64.tar", without)
    return tmp_path


def levels(images: NDArray[np.uint8]) -> list[int]:
    """Which pictures of an archive these are: twice the same would have equal ones."""
    return [int(image[:6, :6].mean().round()) * 256 + int(image[20:].mean().round()) for image in images]


def test_evaluation_people_have_the_most_images_ties_by_name() -> None:
    rows = [{"person": name} for name in ("b", "b", "c", "c", "a", "d", "d", "d")]
    assert evaluation_people(rows, 3) == ["d", "b", "c"]


def test_people_are_those_that_no_evaluation_uses(data: Path) -> None:
    material = archive_material(data, np.random.default_rng(0), LIMITS)
    assert material.names == ("b0", "b1", "b2", "c0", "c1")
    everyone = np.concatenate([material.people, material.held_out_people])
    # The test image of each of the known people is nowhere.
    assert Counter(everyone.tolist()) == {0: 5, 1: 5, 2: 5, 3: 8, 4: 5}
    assert set(material.held_out_people.tolist()) == set(range(5))


def test_what_is_held_out_is_not_learned_from(data: Path) -> None:
    material = archive_material(data, np.random.default_rng(0), LIMITS)
    for person in range(5):
        seen = levels(material.faces[material.people == person])
        held = levels(material.held_out_faces[material.held_out_people == person])
        assert len(held) >= 1
        assert not set(seen) & set(held)
    assert not set(levels(material.positives)) & set(levels(material.held_out_positives))
    # Crops of one photograph are three pictures in a row: all of them on one side.
    learned = {number // 3 for number in levels(material.negatives)}
    assert not learned & {number // 3 for number in levels(material.held_out_negatives)}


def test_limits_are_kept_and_the_seed_chooses_within_them(data: Path) -> None:
    limits = MaterialPlan(photographs=False, most_people=2, most_images=4, most_positives=4, most_negatives=7)
    one, again, other = (archive_material(data, np.random.default_rng(seed), limits) for seed in (1, 1, 2))
    assert one.counts()["people"] == 2
    assert len(one.faces) + len(one.held_out_faces) == 8
    assert (len(one.positives), len(one.negatives)) == (4, 7)
    assert one.digest() == again.digest() != other.digest()
    assert np.array_equal(one.held_out_faces, other.held_out_faces)


def test_a_missing_archive_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataMissingError, match=r"faces_identity_lfw64\.tar is missing.*--data"):
        archive_material(tmp_path, np.random.default_rng(0), LIMITS)


def test_scenes_are_read_where_a_plan_asks_for_them(data: Path) -> None:
    plan = checked_plan({"material": {"photographs": False}}, "test")
    with_scenes = checked_plan({"material": {"photographs": False}, "scenes": {}}, "test")
    with pytest.raises(DataMissingError, match=r"scenes_faces_wider480\.tar is missing"):
        learning_material(data, with_scenes)
    names = [f"{number}.jpg" for number in range(40)]
    splits = ["test", *["train"] * 39]
    size = {"width": "48", "height": "36", "n_faces": "1"}
    boxes = {"x": "5", "y": "6", "w": "12", "h": "15", "invalid": "0"}
    tables = {
        "images.csv": [{"file": name, "split": split, **size} for name, split in zip(names, splits, strict=True)],
        "boxes.csv": [{"file": name, **boxes} for name in names],
    }
    rng = np.random.default_rng(0)
    pictures = {name: rng.integers(0, 256, (36, 48, 3), np.uint8) for name in names}
    write_archive(data / "scenes_faces_wider480.tar", tables, pictures)
    crops, both = learning_material(data, plan), learning_material(data, with_scenes)
    assert crops.scenes is None
    assert both.scenes is not None
    learned = {one.name for one in both.scenes.training.photographs}
    apart = {one.name for one in both.scenes.apart}
    assert learned
    assert apart
    assert not learned & apart
    assert learned | apart == set(names[1:])
    # Scenes change nothing else, and count as images of their own.
    assert np.array_equal(crops.positives, both.positives)
    assert crops.digest() != both.digest()
    assert set(both.counts()) == {*crops.counts(), "photographs", "held_out_photographs"}
    assert "scenes_faces_wider480.tar" in both.digests
