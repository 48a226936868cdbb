"""VGGFace2 in its original layout: who is in it, and which pictures of whom the CAnOPIC paper used.

    train/n000002/0001_01.jpg       8631 people
    test/n000001/0001_01.jpg         500 people (the paper's "validation set")
    meta/identity_meta.csv           Class_ID, Name, Sample_Num, Flag, Gender
    bb_landmark/loose_bb_train.csv   NAME_ID,X,Y,W,H  ("n000002/0001_01" without .jpg), loose_bb_test.csv

The pictures are crops already: the face's box extended by its own size, so that the face takes about half of them (Cao
et al. 2018, DOI 10.1109/FG.2018.00020). The published crop rule therefore needs no boxes, see `models.datasets.crops`.
"""

import csv
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from models.datasets.files import data_file, data_folder, folders_in, lines_of, pictures_in, wrong_line
from models.detector.archives import DataMissingError

VggPart = Literal["train", "test"]
PARTS: tuple[VggPart, ...] = ("train", "test")
Box = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Identity:
    """One row of identity_meta.csv. `pictures`: as counted there; `part`: the folder the person is in."""

    number: str
    name: str
    pictures: int
    part: VggPart
    gender: str


@dataclass(frozen=True, slots=True)
class Pictures:
    """Names of pictures ("test/n000001/0001_01.jpg") with the number of the person on each, from 0."""

    names: list[str]
    people: list[int]


@dataclass(frozen=True, slots=True)
class PeopleSplit:
    """Pictures of the same people, apart. `people`: their folders, "test/n000001", person 0 first."""

    people: list[str]
    train: Pictures
    validation: Pictures
    test: Pictures


def read_meta(root: Path) -> dict[str, Identity]:
    """Everyone in identity_meta.csv by number ("n000001"). Raises AnnotationError with file and line."""
    path = data_file(root, "meta/identity_meta.csv", "identity_meta.csv", what="the table of people (meta.tar.gz)")
    found: dict[str, Identity] = {}
    for number, line in lines_of(path):
        if not line.strip() or line.startswith("Class_ID"):
            continue
        # Published lines have a blank after a comma, quotes round names, and an empty column at their end.
        row = [field.strip() for field in next(csv.reader([line], skipinitialspace=True))]
        if len(row) < 5 or not row[2].isdecimal() or row[3] not in ("0", "1"):
            raise wrong_line(path, number, line, "Class_ID, Name, Sample_Num, Flag (0 or 1), Gender")
        found[row[0]] = Identity(row[0], row[1], int(row[2]), "train" if row[3] == "1" else "test", row[4])
    return found


def read_boxes(root: Path, part: VggPart, wanted: Collection[str]) -> dict[str, Box]:
    """Face boxes (x, y, width, height) in pixels of the `wanted` names ("n000001/0001_01.jpg"), from loose_bb_PART.csv.

    The table of three million lines is read line by line. A box may begin left of or above its picture. Raises
    AnnotationError with file and line, DataMissingError when a wanted name has no box.
    """
    name = f"loose_bb_{part}.csv"
    path = data_file(
        root, f"bb_landmark/{name}", f"meta/bb_landmark/{name}", what="the face boxes (bb_landmark.tar.gz)"
    )
    left = set(wanted)
    found: dict[str, Box] = {}
    for number, line in lines_of(path):
        if number == 1 and line.replace('"', "").startswith("NAME_ID"):
            continue
        fields = [field.strip().strip('"') for field in line.split(",")]
        picture = fields[0] + ".jpg"
        if len(fields) == 5 and picture not in left:
            continue
        try:
            x, y, width, height = (int(field) for field in fields[1:])
        except ValueError:
            raise wrong_line(path, number, line, "NAME_ID,X,Y,W,H with whole numbers") from None
        if width <= 0 or height <= 0:
            raise wrong_line(path, number, line, "a box with a width and a height")
        found[picture] = (x, y, width, height)
        left.discard(picture)
    if left:
        raise DataMissingError(f"{path} has no box for {sorted(left)[0]} and {len(left) - 1} more pictures.")
    return found


def people_by_pictures(root: Path, parts: Collection[VggPart]) -> dict[str, int]:
    """How many pictures each person's folder holds, "test/n000001": 424, most first, ties by name.

    Counted in the folders, since that is what can be read; identity_meta.csv counts the complete set.
    """
    counts = {}
    for part in parts:
        folder = data_folder(root, part, "a folder for each person, such as n000001")
        for person in folders_in(folder):
            counts[f"{part}/{person}"] = len(pictures_in(folder / person))
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def missing_pictures(root: Path, people: Collection[str]) -> int:
    """How many pictures of `people` ("test/n000001") identity_meta.csv counts and the folders lack; 0 without it."""
    try:
        meta = read_meta(root)
    except DataMissingError:
        return 0
    missing = 0
    for person in people:
        known = meta.get(person.rpartition("/")[2])
        there = len(pictures_in(data_folder(root, person, "the pictures of one person")))
        missing += max(0, (0 if known is None else known.pictures) - there)
    return missing


def most_pictures(
    root: Path, parts: Collection[VggPart], count: int, without: Collection[str] = (), at_least: int = 1
) -> list[str]:
    """The `count` people of `parts` with the most pictures, `without` some, as folders "test/n000001".

    Raises DataMissingError when fewer people have `at_least` pictures.
    """
    left_out = set(without)
    able = [name for name, pictures in people_by_pictures(root, parts).items() if pictures >= at_least]
    chosen = [name for name in able if name not in left_out][:count]
    if len(chosen) < count:
        raise DataMissingError(
            f"{root} has {len(chosen)} people with {at_least} pictures or more in {' and '.join(parts)} to choose from "
            f"({len(left_out)} are left out), {count} are asked for: unpack the whole set, or ask for fewer people."
        )
    return chosen


def split_people(
    root: Path, people: list[str], test: int, validation: int, rng: np.random.Generator, most_train: int | None = None
) -> PeopleSplit:
    """`test` and `validation` pictures of each person at random, the remaining ones (at most `most_train`) to train.

    The paper: 30, 30 and the rest, of the 100 people of the test folder with the most pictures. Raises
    DataMissingError for a person with too few.
    """
    parts: list[tuple[list[str], list[int]]] = [([], []), ([], []), ([], [])]
    for number, person in enumerate(people):
        names = [f"{person}/{name}" for name in pictures_in(data_folder(root, person, "the pictures of one person"))]
        if len(names) <= test + validation:
            raise DataMissingError(
                f"{root / person} holds {len(names)} pictures; {test} to test, {validation} to validate and one to "
                "train are needed."
            )
        order: NDArray[np.int64] = rng.permutation(len(names))
        ends = (0, test, test + validation, len(names))
        for (chosen, labels), first, end in zip(parts, ends, ends[1:], strict=False):
            some = [names[index] for index in order[first:end]]
            if chosen is parts[2][0]:
                some = some[:most_train]
            chosen += some
            labels += [number] * len(some)
    tested, validated, trained = (Pictures(*part) for part in parts)
    return PeopleSplit(people, trained, validated, tested)


def named_people(names: list[str]) -> tuple[Pictures, list[str]]:
    """Pictures of a published list ("train/n000810/0183_02.jpg") with the people numbered as they first appear."""
    people: dict[str, int] = {}
    labels = [people.setdefault(name.rpartition("/")[0], len(people)) for name in names]
    return Pictures(names, labels), list(people)


def random_pictures(
    root: Path, part: VggPart, count: int, rng: np.random.Generator, without: Collection[str] = ()
) -> list[str]:
    """`count` pictures of one part at random, of people not in `without` ("train/n000810"), as names in `root`.

    Only names are read, folder by folder. Raises DataMissingError when there are fewer.
    """
    left_out = set(without)
    folder = data_folder(root, part, "a folder for each person, such as n000001")
    people = [person for person in folders_in(folder) if f"{part}/{person}" not in left_out]
    names = [f"{part}/{person}/{name}" for person in people for name in pictures_in(folder / person)]
    if len(names) < count:
        raise DataMissingError(f"{folder} holds {len(names)} pictures to choose from; {count} are asked for.")
    return [names[index] for index in rng.permutation(len(names))[:count]]
