"""ILSVRC 2012 (ImageNet) in its original layout, as the source of pictures without a face.

    train/n01440764/n01440764_10026.JPEG
    val/ILSVRC2012_val_00000001.JPEG                 as unpacked, or
    val/n01751748/ILSVRC2012_val_00000001.JPEG       sorted into folders by class

Classes are not needed here: a picture counts as faceless when a list says so. The CAnOPIC authors published such lists
("train/n.../....JPEG" and "val/ILSVRC2012_val_....JPEG", one name a line); ImageNet itself does not know.
"""

from pathlib import Path
from typing import Literal

import numpy as np

from models.datasets.files import data_folder, folders_in, pictures_in, read_names
from models.detector.archives import DataMissingError

IlsvrcPart = Literal["train", "val"]
WHAT = {"train": "a folder for each class, such as n01440764", "val": "50,000 pictures, flat or in folders by class"}


def picture_names(root: Path, part: IlsvrcPart) -> list[str]:
    """Names of all pictures of one part ("val/ILSVRC2012_val_00000001.JPEG"), in the order of folders and names."""
    folder = data_folder(root, part, WHAT[part])
    names = [f"{part}/{name}" for name in pictures_in(folder)]
    for inner in folders_in(folder):
        names += [f"{part}/{inner}/{name}" for name in pictures_in(folder / inner)]
    return names


def listed_pictures(root: Path, part: IlsvrcPart, listed: Path) -> list[str]:
    """The names in a list file as they lie in `root`, whichever of the two layouts val/ has, in the list's order.

    A name is found by its last part, which is unique in ILSVRC, so that a list made for the flat layout serves the
    sorted one. Raises DataMissingError for a name that is not there.
    """
    there = {name.rpartition("/")[2]: name for name in picture_names(root, part)}
    found = []
    for name in read_names(listed):
        last = name.rpartition("/")[2]
        if last not in there:
            raise DataMissingError(f"{listed} names {name}, which is not in {root / part}: unpack the whole set.")
        found.append(there[last])
    return found


def faceless_pictures(
    root: Path, part: IlsvrcPart, count: int, rng: np.random.Generator, listed: Path | None = None
) -> list[str]:
    """`count` pictures at random out of the list, or out of all (some of which do show faces) when there is none.

    Raises DataMissingError when there are fewer.
    """
    names = picture_names(root, part) if listed is None else listed_pictures(root, part, listed)
    if len(names) < count:
        raise DataMissingError(
            f"{listed or root / part} has {len(names)} pictures to choose from; {count} are asked for."
        )
    return [names[index] for index in rng.permutation(len(names))[:count]]
