"""WIDER FACE in its original layout: photographs with face boxes, one at a time.

    WIDER_train/images/0--Parade/0_Parade_marchingband_1_849.jpg
    WIDER_val/images/...
    wider_face_split/wider_face_train_bbx_gt.txt, wider_face_val_bbx_gt.txt

The tables (Yang et al. 2016, DOI 10.1109/CVPR.2016.596) hold, for each picture, its name, how many faces, and a line
"x y w h blur expression illumination invalid occlusion pose" per face. A picture without a face is followed by one line
of ten zeros all the same.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, overload

import cv2
import numpy as np
from numpy.typing import NDArray

from models.datasets.files import data_file, data_folder, inside, lines_of, read_rgb, wrong_line
from models.detector.archives import Photograph

WiderPart = Literal["train", "val"]
FIELDS = ("x", "y", "w", "h", "blur", "expression", "illumination", "invalid", "occlusion", "pose")
# Largest value of each attribute: 0 is the harmless one (clear, typical, normal, valid, none, typical).
HIGHEST = {"blur": 2, "expression": 1, "illumination": 1, "invalid": 1, "occlusion": 2, "pose": 1}


@dataclass(frozen=True, slots=True, eq=False)
class WiderFaces:
    """The faces of one picture. `name` as in the table, "0--Parade/....jpg"; `faces`: int64 (n, 10), columns `FIELDS`:
    box in pixels, then the attributes."""

    name: str
    faces: NDArray[np.int64]


def read_table(path: Path) -> Iterator[WiderFaces]:
    """Every entry of a `..._bbx_gt.txt`, in its order, one at a time.

    Raises AnnotationError, with file and line, for a line that is not what its place asks for.
    """
    lines = lines_of(path)
    held: tuple[int, str] | None = None
    last = 0
    while True:
        number, name = held or next(lines, (0, ""))
        held = None
        if not number:
            return
        if not name.strip():
            continue
        if not name.strip().lower().endswith((".jpg", ".jpeg", ".png")):
            raise wrong_line(path, number, name, "the name of a picture")
        last, text = next(lines, (number + 1, ""))
        if not text.strip().isdecimal():
            raise wrong_line(path, last, text, "the number of faces")
        faces = []
        for _ in range(int(text)):
            last, text = next(lines, (last + 1, ""))
            faces.append(_face(path, last, text))
        if not faces:
            # The line of zeros that stands for no face; a table that leaves it out is read too.
            held = next(lines, None)
            if held is not None and held[1].split() == ["0"] * len(FIELDS):
                held = None
        yield WiderFaces(name.strip(), np.array(faces, np.int64).reshape(-1, len(FIELDS)))


class WiderPhotographs(Sequence[Photograph]):
    """The photographs of one part, in the table's order: each is read from disc whenever it is asked for.

    Faces labelled invalid, or without extent, are there but `ignore`. `longest_px`: pictures whose longer side is more
    are shrunk to it (areas averaged), boxes with them. `wanted`: which entries of the table, None for all. Raises
    DataMissingError or AnnotationError.
    """

    def __init__(
        self,
        root: Path,
        part: WiderPart,
        longest_px: int | None = None,
        wanted: Callable[[WiderFaces], bool] | None = None,
    ) -> None:
        self.folder = data_folder(root, f"WIDER_{part}/images", "a folder of pictures for each event, as 0--Parade")
        self.longest_px = longest_px
        self.entries = [one for one in read_table(table_path(root, part)) if wanted is None or wanted(one)]

    def __len__(self) -> int:
        return len(self.entries)

    @overload
    def __getitem__(self, index: int) -> Photograph: ...

    @overload
    def __getitem__(self, index: slice) -> list[Photograph]: ...

    def __getitem__(self, index: int | slice) -> Photograph | list[Photograph]:
        if isinstance(index, slice):
            return [self[one] for one in range(*index.indices(len(self)))]
        entry = self.entries[index]
        image = read_rgb(inside(self.folder, entry.name))
        boxes = entry.faces[:, :4].astype(np.float32)
        ignore = (entry.faces[:, FIELDS.index("invalid")] == 1) | (boxes[:, 2:] <= 0).any(axis=1)
        image, scale = shrunk(image, self.longest_px)
        return Photograph(entry.name, image, boxes * np.float32(scale), ignore)


def table_path(root: Path, part: WiderPart) -> Path:
    """The table of one part."""
    name = f"wider_face_{part}_bbx_gt.txt"
    return data_file(root, f"wider_face_split/{name}", name, what="the table of face boxes (wider_face_split.zip)")


def shrunk(image: NDArray[np.uint8], longest_px: int | None) -> tuple[NDArray[np.uint8], float]:
    """`image` with its longer side brought down to `longest_px` where it is more (None: never), and the scale used."""
    height, width = image.shape[:2]
    scale = 1.0 if longest_px is None else min(1.0, longest_px / max(height, width))
    if scale == 1.0:
        return image, 1.0
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8), scale


def _face(path: Path, number: int, text: str) -> list[int]:
    expected = f"a face, ten whole numbers {' '.join(FIELDS)},"
    words = text.split()
    try:
        values = [int(word) for word in words]
    except ValueError:
        raise wrong_line(path, number, text, expected) from None
    if len(values) != len(FIELDS) or values[2] < 0 or values[3] < 0:
        raise wrong_line(path, number, text, expected)
    for name, value in zip(FIELDS, values, strict=True):
        if not 0 <= value <= HIGHEST.get(name, value):
            raise wrong_line(path, number, text, f"{name} from 0 to {HIGHEST.get(name, 'the picture size')}")
    return values
