"""Names and pictures in a data set's own folder: nothing is read outside it, and every error names its file."""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
from numpy.typing import NDArray

from models.detector.archives import DataMissingError


class AnnotationError(Exception):
    """A line of a data set's own tables that does not say what it should."""


def wrong_line(path: Path, number: int, text: str, expected: str) -> AnnotationError:
    """The error for line `number` (from 1) of `path`, which reads `text`."""
    return AnnotationError(f"{path}:{number}: {text.strip()[:80]!r} was read where {expected} was expected.")


def data_folder(root: Path, name: str, what: str) -> Path:
    """Folder `name` of a data set; DataMissingError with `what` it should hold when it is not there."""
    folder = root / name
    if not folder.is_dir():
        raise DataMissingError(f"{folder} is missing or no folder. It should hold {what}.")
    return folder


def data_file(root: Path, *names: str, what: str) -> Path:
    """The first of `names` that is a file in `root`; DataMissingError with `what` it should be when none is."""
    for name in names:
        if (root / name).is_file():
            return root / name
    raise DataMissingError(f"{root} holds no {' or '.join(names)}: {what}.")


def inside(root: Path, name: str) -> Path:
    """The path of file `name`, written with "/", in `root`.

    Raises AnnotationError for a name that leads out of the folder: absolute, with "..", or through a link. Raises
    DataMissingError when there is no such file.
    """
    parts = PurePosixPath(name)
    if not name or parts.is_absolute() or ".." in parts.parts or "\\" in name or "\0" in name:
        raise AnnotationError(f"{name!r} is no name of a file in {root}: it must be relative, with / and without ..")
    path = root.joinpath(*parts.parts)
    if not path.is_file():
        raise DataMissingError(f"{path} is missing, though a list of the data set names it.")
    if not path.resolve().is_relative_to(root.resolve()):
        raise AnnotationError(f"{path} is a link that leads out of {root}. Give the folder that holds the file itself.")
    return path


def read_rgb(path: Path) -> NDArray[np.uint8]:
    """The picture as sRGB uint8 (height, width, 3), as stored: a rotation noted in its EXIF is not applied, since the
    data sets' boxes and ellipses were drawn without it. Raises DataMissingError when it cannot be decoded."""
    flags = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
    stored = np.frombuffer(path.read_bytes(), np.uint8)
    decoded = cv2.imdecode(stored, flags) if len(stored) else None
    if decoded is None:
        raise DataMissingError(f"{path} cannot be decoded as a picture ({len(stored)} bytes); fetch it again.")
    return np.asarray(decoded, np.uint8)


def lines_of(path: Path) -> Iterator[tuple[int, str]]:
    """Line numbers from 1 and lines without their ends, one at a time. Raises DataMissingError without the file and
    AnnotationError where it is no text."""
    if not path.is_file():
        raise DataMissingError(f"{path} is missing.")
    with path.open(encoding="utf-8-sig", newline=None) as file:
        number = 0
        try:
            for number, line in enumerate(file, 1):
                yield number, line.rstrip("\n")
        except UnicodeDecodeError as error:
            raise AnnotationError(f"{path}:{number + 1}: no UTF-8 text ({error.reason}).") from None


def read_names(path: Path) -> list[str]:
    """Names in a text file, one a line (as the CAnOPIC authors' lists), in its order; empty and # lines are left out.

    Raises AnnotationError for a name that occurs twice: it would be counted twice, or end up on both sides of a split.
    """
    first: dict[str, int] = {}
    for number, line in lines_of(path):
        name = line.strip()
        if not name or name.startswith("#"):
            continue
        if name in first:
            raise wrong_line(path, number, name, f"another name than line {first[name]}'s")
        first[name] = number
    return list(first)


def pictures_in(folder: Path) -> list[str]:
    """Names of the JPEG and PNG files directly in `folder`, sorted. Links are left out."""
    endings = (".jpg", ".jpeg", ".png")
    return sorted(
        entry.name for entry in folder.iterdir() if entry.name.lower().endswith(endings) and not entry.is_symlink()
    )


def folders_in(folder: Path) -> list[str]:
    """Names of the folders directly in `folder`, sorted. Links are left out."""
    return sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.is_symlink())
