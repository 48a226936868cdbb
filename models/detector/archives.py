"""Reads the photographs that the models are trained and measured on: tar files of JPEG images with CSV tables."""

import csv
import hashlib
import io
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

Split = Literal["train", "test"]

SCENES = "scenes_faces_wider480.tar"
FACES = "faces_other_lfw64.tar"
FACES_BY_PERSON = "faces_identity_lfw64.tar"
NON_FACES = "nonface_images64.tar"


class DataMissingError(Exception):
    """An archive that the command needs is not where it was told to look."""


@dataclass(frozen=True, slots=True, eq=False)
class Photograph:
    """One photograph with the faces in it.

    `image`: sRGB uint8 (height, width, 3). `boxes`: float32 (n, 4), x, y, width, height of each face in pixels of this
    image. `ignore`: bool (n,), True where a face is there but too small, too unclear or labelled invalid: it counts
    neither as a face to find nor as background.
    """

    name: str
    image: NDArray[np.uint8]
    boxes: NDArray[np.float32]
    ignore: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Crops:
    """Small square photographs. `images`: sRGB uint8 (n, side, side, 3); `rows`: one table row (a dict) per image."""

    images: NDArray[np.uint8]
    rows: list[dict[str, str]]


def archive_path(data: Path, name: str) -> Path:
    """The path of archive `name` in folder `data`. Raises DataMissingError when it is not there."""
    path = data / name
    if not path.is_file():
        raise DataMissingError(f"{path} is missing. Give the folder that holds {name} (option --data).")
    return path


def file_digest(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_scenes(data: Path, split: Split) -> list[Photograph]:
    """All photographs of one split of the face-box scenes, in the order of the table."""
    archive = archive_path(data, SCENES)
    with tarfile.open(archive) as tar:
        boxes: dict[str, list[tuple[float, float, float, float, bool]]] = {}
        for row in _table(tar, "boxes.csv"):
            box = (float(row["x"]), float(row["y"]), float(row["w"]), float(row["h"]), row["invalid"] == "1")
            boxes.setdefault(row["file"], []).append(box)
        photographs = []
        for row in _table(tar, "images.csv"):
            if row["split"] != split:
                continue
            found = boxes.get(row["file"], [])
            photographs.append(
                Photograph(
                    name=row["file"],
                    image=_image(tar, row["file"]),
                    boxes=np.array([box[:4] for box in found], np.float32).reshape(-1, 4),
                    ignore=np.array([box[4] for box in found], np.bool_),
                )
            )
    return photographs


def read_crops(
    data: Path, archive: str, split: Split | None = None, keep: Callable[[dict[str, str]], bool] | None = None
) -> Crops:
    """The crops of `archive` that belong to `split` (None: every split) and whose table row `keep` accepts."""
    images, rows = [], []
    with tarfile.open(archive_path(data, archive)) as tar:
        for row in _table(tar, "index.csv"):
            if (split is None or row["split"] == split) and (keep is None or keep(row)):
                images.append(_image(tar, row["file"]))
                rows.append(row)
    return Crops(images=np.stack(images) if images else np.zeros((0, 64, 64, 3), np.uint8), rows=rows)


def validation_part(name: str, share: float = 0.125) -> bool:
    """Whether the training photograph `name` is held out of training to choose thresholds: fixed by its name alone."""
    digest = hashlib.sha256(name.encode()).digest()
    return int.from_bytes(digest[:4], "big") < share * 2**32


def _table(tar: tarfile.TarFile, name: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(_bytes(tar, name).decode("utf-8"))))


def _bytes(tar: tarfile.TarFile, name: str) -> bytes:
    try:
        file = tar.extractfile(name)
    except KeyError:
        file = None
    if file is None:
        raise DataMissingError(f"{tar.name!s} holds no file {name}: it is not the archive that its name says.")
    return file.read()


def _image(tar: tarfile.TarFile, name: str) -> NDArray[np.uint8]:
    decoded = cv2.imdecode(np.frombuffer(_bytes(tar, name), np.uint8), cv2.IMREAD_COLOR_RGB)
    if decoded is None:
        raise DataMissingError(f"{name} in {tar.name!s} cannot be decoded as an image; fetch the archive again.")
    return np.asarray(decoded, np.uint8)
