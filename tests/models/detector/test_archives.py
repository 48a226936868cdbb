"""Reading archives, and that no photograph or person is on both sides of a split."""

import tarfile
from pathlib import Path

import numpy as np
import pytest

from models.detector.archives import (
    FACES,
    FACES_BY_PERSON,
    NON_FACES,
    DataMissingError,
    read_crops,
    read_scenes,
    validation_part,
)


def test_scenes_come_with_their_boxes_and_flags(small_data: Path) -> None:
    train, test = read_scenes(small_data, "train"), read_scenes(small_data, "test")
    assert [one.name for one in train] == ["0.jpg", "1.jpg", "3.jpg"]
    assert [one.name for one in test] == ["2.jpg"]
    assert train[0].image.shape == (36, 48, 3)
    assert train[0].boxes.tolist() == [[5, 6.5, 12, 15]]
    assert [one.ignore.tolist() for one in train] == [[False], [True], []]
    assert train[2].boxes.shape == (0, 4)


def test_crops_keep_to_their_split_and_filter(small_data: Path) -> None:
    assert len(read_crops(small_data, FACES, "train").images) == 4
    assert len(read_crops(small_data, FACES).images) == 5
    assert read_crops(small_data, FACES, keep=lambda row: row["file"].endswith("2.jpg")).images.shape == (1, 64, 64, 3)
    assert read_crops(small_data, FACES, keep=lambda _: False).images.shape == (0, 64, 64, 3)


def test_a_missing_archive_says_which_and_where(tmp_path: Path) -> None:
    with pytest.raises(DataMissingError, match=r"scenes_faces_wider480\.tar is missing.*--data"):
        read_scenes(tmp_path, "train")


def test_a_foreign_archive_is_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / FACES, "w"):
        pass
    with pytest.raises(DataMissingError, match=r"holds no file index\.csv"):
        read_crops(tmp_path, FACES)


def test_the_validation_part_is_fixed_by_name_and_about_an_eighth() -> None:
    names = [f"{index}--Event/{index}_picture.jpg" for index in range(2000)]
    held_out = [validation_part(name) for name in names]
    assert held_out == [validation_part(name) for name in names]
    assert 0.09 < np.mean(held_out) < 0.16


def test_no_photograph_or_person_is_in_both_splits(shared_data: Path) -> None:
    train, test = ({one.name for one in read_scenes(shared_data, split)} for split in ("train", "test"))
    assert (len(train), len(test)) == (480, 120)
    assert not train & test
    people = [{row["person"] for row in read_crops(shared_data, FACES, split).rows} for split in ("train", "test")]
    assert not people[0] & people[1]
    known = {row["person"] for row in read_crops(shared_data, FACES_BY_PERSON).rows}
    assert not known & (people[0] | people[1])
    for archive in (NON_FACES, FACES_BY_PERSON):
        files = [{row["file"] for row in read_crops(shared_data, archive, split).rows} for split in ("train", "test")]
        assert not files[0] & files[1]
