"""FDDB in its original layout: photographs whose faces are ellipses, one at a time.

    originalPics/2002/07/19/big/img_130.jpg
    FDDB-folds/FDDB-fold-01-ellipseList.txt ... -10-ellipseList.txt

A fold (Jain and Learned-Miller 2010, UM-CS-2010-009) holds, for each picture, its name without ".jpg", how many faces,
and a line "major_axis_radius minor_axis_radius angle center_x center_y 1" per face: radii and centre in pixels, the
angle of the major axis in radians from the x axis towards y, which points down.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from models.datasets.files import data_folder, inside, lines_of, read_rgb, wrong_line
from models.detector.archives import Photograph

FOLDS = range(1, 11)
# Tan et al. bring each picture down until its smallest face is this long, as in the crops that identity is tested on.
LARGEST_MAJOR_AXIS_PX = 40.0


@dataclass(frozen=True, slots=True, eq=False)
class EllipseFaces:
    """The faces of one picture. `name` as in the fold, without ".jpg"; `ellipses`: float64 (n, 5), the columns
    major radius, minor radius (px), angle (rad), centre x, centre y (px)."""

    name: str
    ellipses: NDArray[np.float64]


def read_fold(path: Path) -> Iterator[EllipseFaces]:
    """Every entry of a `..-ellipseList.txt`, in its order. Raises AnnotationError with file and line."""
    lines = lines_of(path)
    for number, name in lines:
        if not name.strip():
            continue
        if "/" not in name:
            raise wrong_line(path, number, name, "the name of a picture, such as 2002/07/19/big/img_130,")
        last, text = next(lines, (number + 1, ""))
        if not text.strip().isdecimal():
            raise wrong_line(path, last, text, "the number of faces")
        ellipses = []
        for _ in range(int(text)):
            last, text = next(lines, (last + 1, ""))
            ellipses.append(_ellipse(path, last, text))
        yield EllipseFaces(name.strip(), np.array(ellipses, np.float64).reshape(-1, 5))


def fddb_photographs(
    root: Path, folds: Iterable[int] = FOLDS, largest_px: float | None = LARGEST_MAJOR_AXIS_PX
) -> Iterator[tuple[Photograph, NDArray[np.float64]]]:
    """Photographs with their ellipses, float64 (n, 5) as in `EllipseFaces`, fold by fold, one at a time.

    A photograph's `boxes` are the smallest upright ones round the ellipses. `largest_px`: see `brought_down` (None: as
    stored). Raises DataMissingError or AnnotationError.
    """
    pictures = data_folder(root, "originalPics", "folders of pictures by year, month and day (originalPics.tar.gz)")
    lists = data_folder(root, "FDDB-folds", "the ten files FDDB-fold-xx-ellipseList.txt (FDDB-folds.tgz)")
    for fold in folds:
        for entry in read_fold(lists / f"FDDB-fold-{fold:02d}-ellipseList.txt"):
            image = read_rgb(inside(pictures, entry.name + ".jpg"))
            ellipses = entry.ellipses
            if largest_px is not None:
                image, ellipses = brought_down(image, ellipses, largest_px)
            ignore = np.zeros(len(ellipses), np.bool_)
            yield Photograph(entry.name, image, ellipse_boxes(ellipses), ignore), ellipses


def brought_down(
    image: NDArray[np.uint8], ellipses: NDArray[np.float64], largest_px: float = LARGEST_MAJOR_AXIS_PX
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Picture and ellipses shrunk together until the smallest face has a major axis (twice its radius) of at most
    `largest_px`; left alone when it has, or when there is no face."""
    axis = 2 * ellipses[:, 0].min() if len(ellipses) else 0.0
    if axis <= largest_px:
        return image, ellipses
    scale = largest_px / axis
    height, width = image.shape[:2]
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    return small, ellipses * np.array([scale, scale, 1.0, scale, scale])


def ellipse_boxes(ellipses: NDArray[np.float64]) -> NDArray[np.float32]:
    """The smallest upright boxes (x, y, width, height), float32 (n, 4), round ellipses float64 (n, 5)."""
    major, minor, angle, x, y = ellipses.T if len(ellipses) else np.zeros((5, 0))
    half_width = np.hypot(major * np.cos(angle), minor * np.sin(angle))
    half_height = np.hypot(major * np.sin(angle), minor * np.cos(angle))
    return np.stack([x - half_width, y - half_height, 2 * half_width, 2 * half_height], axis=1).astype(np.float32)


def _ellipse(path: Path, number: int, text: str) -> list[float]:
    expected = "an ellipse, major_axis_radius minor_axis_radius angle center_x center_y 1,"
    try:
        values = [float(word) for word in text.split()]
    except ValueError:
        raise wrong_line(path, number, text, expected) from None
    # The last number is 1 in every published line; detections of the same form carry a score there.
    if len(values) != 6 or not all(math.isfinite(value) for value in values) or min(values[:2]) <= 0:
        raise wrong_line(path, number, text, expected)
    return values[:5]
