"""VGGFace2 and ILSVRC: who and which pictures are used, and that nothing is on two sides of a split."""

import random
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.datasets.files import AnnotationError, pictures_in
from models.datasets.ilsvrc import faceless_pictures, listed_pictures, picture_names
from models.datasets.vggface2 import (
    Identity,
    missing_pictures,
    most_pictures,
    named_people,
    people_by_pictures,
    random_pictures,
    read_boxes,
    read_meta,
    split_people,
)
from models.detector.archives import DataMissingError


def test_meta_is_read_with_its_blanks_quotes_and_empty_column(trees: dict[str, Path], tmp_path: Path) -> None:
    meta = read_meta(trees["vggface2"])
    assert len(meta) == 10
    assert meta["n000011"] == Identity("n000011", "Person_1,_test", 15, "test", "f")
    (tmp_path / "identity_meta.csv").write_text("Class_ID, Name, Sample_Num, Flag, Gender\nn000001, A, 424, 2, m\n")
    with pytest.raises(AnnotationError, match=r"identity_meta\.csv:2: .*Flag \(0 or 1\)"):
        read_meta(tmp_path)
    with pytest.raises(DataMissingError, match=r"meta\.tar\.gz"):
        read_meta(trees["wider"])


def test_pictures_that_the_table_counts_and_the_folders_lack_are_noticed(
    trees: dict[str, Path], tmp_path: Path
) -> None:
    root = trees["vggface2"]
    assert missing_pictures(root, ["test/n000011", "train/n000002"]) == 0
    (tmp_path / "test").mkdir()
    shutil.copytree(root / "test" / "n000011", tmp_path / "test" / "n000011")
    (tmp_path / "test" / "n000011" / "0004_01.jpg").unlink()
    assert missing_pictures(tmp_path, ["test/n000011"]) == 0, "there is no table to count by"
    shutil.copytree(root / "meta", tmp_path / "meta")
    assert missing_pictures(tmp_path, ["test/n000011"]) == 1


BOXES = st.dictionaries(
    st.tuples(st.integers(1, 9131), st.integers(1, 999), st.integers(1, 50)),
    st.tuples(st.integers(-50, 999), st.integers(-50, 999), st.integers(1, 999), st.integers(1, 999)),
    max_size=8,
)


@given(boxes=BOXES, quoted=st.booleans(), wanted=st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_box_tables_are_read_as_written(
    tmp_path: Path, boxes: dict[tuple[int, int, int], tuple[int, ...]], quoted: bool, wanted: random.Random
) -> None:
    names = {key: f"n{key[0]:06d}/{key[1]:04d}_{key[2]:02d}" for key in boxes}
    quote = '"' if quoted else ""
    lines = [f"{quote}{names[key]}{quote},{','.join(map(str, box))}" for key, box in boxes.items()]
    (tmp_path / "bb_landmark").mkdir(exist_ok=True)
    (tmp_path / "bb_landmark" / "loose_bb_train.csv").write_text("\n".join(["NAME_ID,X,Y,W,H", *lines]))
    some = [key for key in boxes if wanted.random() < 0.5]
    found = read_boxes(tmp_path, "train", [names[key] + ".jpg" for key in some])
    assert found == {names[key] + ".jpg": boxes[key] for key in some}


def test_boxes_are_found_for_the_wanted_pictures_only(trees: dict[str, Path], tmp_path: Path) -> None:
    boxes = read_boxes(trees["vggface2"], "test", ["n000011/0003_01.jpg", "n000001/0001_01.jpg"])
    assert boxes == {"n000011/0003_01.jpg": (24, 23, 31, 47), "n000001/0001_01.jpg": (23, 22, 30, 45)}
    with pytest.raises(DataMissingError, match=r"no box for n9/1\.jpg and 0 more"):
        read_boxes(trees["vggface2"], "test", ["n9/1.jpg"])
    table = tmp_path / "loose_bb_test.csv"
    table.parent.joinpath("bb_landmark").mkdir()
    table = table.parent / "bb_landmark" / table.name
    for line, expected in (('"n1/1_01",60,60,79', "whole numbers"), ('"n1/1_01",-6,60,79,0', "a width and a height")):
        table.write_text(f"NAME_ID,X,Y,W,H\n{line}\n")
        with pytest.raises(AnnotationError, match=rf"loose_bb_test\.csv:2: .*{expected}"):
            read_boxes(tmp_path, "test", ["n1/1_01.jpg"])


def test_people_with_the_most_pictures_come_first_and_can_be_left_out(trees: dict[str, Path]) -> None:
    root = trees["vggface2"]
    counts = people_by_pictures(root, ("train", "test"))
    assert list(counts.items())[:3] == [("train/n000052", 19), ("train/n000042", 18), ("test/n000031", 17)]
    assert most_pictures(root, ("train", "test"), 3) == ["train/n000052", "train/n000042", "test/n000031"]
    assert most_pictures(root, ("test",), 2, without=["test/n000031"]) == ["test/n000021", "test/n000011"]
    with pytest.raises(DataMissingError, match=r"has 2 people with 17 pictures or more in train .*3 are asked for"):
        most_pictures(root, ("train",), 3, without=["train/n000032"], at_least=17)


def test_each_persons_pictures_are_split_once(trees: dict[str, Path]) -> None:
    root = trees["vggface2"]
    people = most_pictures(root, ("test",), 3)
    split = split_people(root, people, 3, 2, np.random.default_rng(0))
    assert split.people == people
    everything: list[str] = []
    for part, each in ((split.test, 3), (split.validation, 2)):
        assert [part.people.count(person) for person in range(3)] == [each] * 3
        everything += part.names
    everything += split.train.names
    assert len(everything) == len(set(everything)) == 17 + 16 + 15
    for part in (split.train, split.validation, split.test):
        assert all(name.startswith(people[number] + "/") for name, number in zip(part.names, part.people, strict=True))
    again = split_people(root, people, 3, 2, np.random.default_rng(0), most_train=4)
    assert again.test == split.test
    assert len(again.train.names) == 12
    with pytest.raises(DataMissingError, match=r"n000001 holds 14 pictures; 9 to test, 6 to validate"):
        split_people(root, ["test/n000001"], 9, 6, np.random.default_rng(0))


def test_a_published_list_numbers_people_as_they_come(trees: dict[str, Path]) -> None:
    names = ["train/n000810/0183_02.jpg", "train/n000810/0448_01.jpg", "test/n004563/0209_02.jpg"]
    pictures, people = named_people(names)
    assert pictures.people == [0, 0, 1]
    assert people == ["train/n000810", "test/n004563"]
    some = random_pictures(trees["vggface2"], "train", 40, np.random.default_rng(0), without=["train/n000002"])
    assert len(set(some)) == 40
    assert not [name for name in some if "n000002/" in name]
    with pytest.raises(DataMissingError, match="4000 are asked for"):
        random_pictures(trees["vggface2"], "train", 4000, np.random.default_rng(0))


def test_a_faceless_list_serves_the_flat_and_the_sorted_layout(trees: dict[str, Path], tmp_path: Path) -> None:
    flat = trees["ilsvrc"]
    listed = tmp_path / "val_faceless.txt"
    listed.write_text("".join(f"val/ILSVRC2012_val_{number:08d}.JPEG\n" for number in (7, 3, 5)))
    assert listed_pictures(flat, "val", listed) == [f"val/ILSVRC2012_val_{n:08d}.JPEG" for n in (7, 3, 5)]
    for number, name in enumerate(pictures_in(flat / "val")):
        inner = tmp_path / "val" / f"n0144076{number % 3}"
        inner.mkdir(parents=True, exist_ok=True)
        (inner / name).write_bytes((flat / "val" / name).read_bytes())
    assert len(picture_names(tmp_path, "val")) == 30
    found = listed_pictures(tmp_path, "val", listed)
    assert found[0] == "val/n01440760/ILSVRC2012_val_00000007.JPEG"
    assert sorted(faceless_pictures(tmp_path, "val", 3, np.random.default_rng(0), listed)) == sorted(found)
    with pytest.raises(DataMissingError, match="3 pictures to choose from; 4"):
        faceless_pictures(tmp_path, "val", 4, np.random.default_rng(0), listed)
    listed.write_text("val/ILSVRC2012_val_00000031.JPEG\n")
    with pytest.raises(DataMissingError, match=r"names val/ILSVRC2012_val_00000031\.JPEG, which is not in"):
        listed_pictures(tmp_path, "val", listed)
    assert len(set(faceless_pictures(flat, "train", 60, np.random.default_rng(0)))) == 60
