"""Crops of 64 x 64 px cut once from a data set's pictures and kept in shards, so that a run starts anew where it ended.

The rules are those of the CAnOPIC authors' code (they resize sRGB values, bilinear with the support widened when
shrinking):

- "centre": the shorter side brought to 73 px (64 / 0.875), the middle 64 x 64 px. What tests and validation see; of a
  VGGFace2 picture it leaves a face about 40 px long.
- "random": a window of 8 to 100 % of the picture's area and 3:4 to 4:3, anywhere, squeezed to 64 x 64 px, mirrored half
  the time. What training sees; they draw it anew every epoch, here `count` draws of each picture are kept.
- "box": the square round a face box, its larger side 48 of the 64 px, as the project's LFW crops are.
"""

import hashlib
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.datasets.files import inside, read_rgb
from models.datasets.windows import CROP_PX, cut, face_window
from optics.whole_file import whole_file

CropRule = Literal["centre", "random", "box"]
SHARD = 500
# Raise this whenever a rule changes what a seed gives: caches of the older one are then left alone.
RECIPE = 1
SHORTER_PX = round(CROP_PX / 0.875)

Report = Callable[[int], None]


@dataclass(frozen=True, slots=True, eq=False)
class CropStore:
    """Cropped pictures on disc: `len` of them, in `shards` of (k, count, 64, 64, 3) sRGB uint8 in the list's order."""

    shards: list[Path]
    count: int
    length: int

    def __len__(self) -> int:
        return self.length

    def parts(self) -> Iterator[NDArray[np.uint8]]:
        """The shards one after the other, each a read-only map of its file: only what is touched is read."""
        for path in self.shards:
            yield np.load(path, mmap_mode="r")

    def firsts(self) -> NDArray[np.uint8]:
        """The first crop of each picture in memory, uint8 (n, 64, 64, 3): 12 KB each, for sets that fit."""
        if not self.shards:
            return np.zeros((0, CROP_PX, CROP_PX, 3), np.uint8)
        return np.concatenate([np.asarray(part[:, 0]) for part in self.parts()])


def cropped(
    cache: Path,
    root: Path,
    names: list[str],
    rule: CropRule,
    seed: int = 0,
    count: int = 1,
    boxes: dict[str, tuple[int, int, int, int]] | None = None,
    report: Report | None = None,
) -> CropStore:
    """The pictures `names` of `root`, cropped by `rule`, out of `cache` where it has them.

    count: crops of each picture (more than one for "random" only). boxes: x, y, width, height in pixels by name, for
    "box". report: called with the number of pictures ready so far, often enough for a progress bar. A shard is written
    whole or not at all, its draws depend on the seed and its own number alone, and its folder is named by a digest of
    all that decides its content: an interrupted run loses one shard and ends with the same bytes.
    """
    if count < 1 or (count > 1 and rule != "random"):
        raise ValueError(f"{count} crops of each picture make no sense by the rule {rule!r}: only random ones differ")
    if rule == "box" and boxes is None:
        raise ValueError("the rule box needs a box for each picture")
    folder = cache / listing_digest(root, names, rule, seed, count, boxes)
    folder.mkdir(parents=True, exist_ok=True)
    shards = []
    for number, first in enumerate(range(0, len(names), SHARD)):
        some = names[first : first + SHARD]
        path = folder / f"shard_{number:05d}.npy"
        if not path.exists():
            rng = np.random.default_rng([seed, number])
            made = np.zeros((len(some), count, CROP_PX, CROP_PX, 3), np.uint8)
            for index, name in enumerate(some):
                made[index] = _crops(read_rgb(inside(root, name)), rule, rng, count, (boxes or {}).get(name))
                if report is not None and index % 20 == 0:
                    report(first + index)
            with whole_file(path) as partial, partial.open("wb") as file:
                np.save(file, made)
        shards.append(path)
        if report is not None:
            report(first + len(some))
    return CropStore(shards, count, len(names))


def listing_digest(
    root: Path,
    names: list[str],
    rule: CropRule,
    seed: int,
    count: int,
    boxes: dict[str, tuple[int, int, int, int]] | None = None,
) -> str:
    """The name of the cache folder: 16 hexadecimal digits of the SHA-256 over root, names in order, rule and draws.

    The pictures' bytes do not enter: reading three million files to find out that nothing changed would be the whole
    work again. Whoever changes pictures under the same names gives another cache folder.
    """
    digest = hashlib.sha256()
    drawn = {"seed": seed, "count": count} if rule == "random" else {}
    head = {"recipe": RECIPE, "root": str(root.resolve()), "rule": rule, "side": CROP_PX, "shard": SHARD, **drawn}
    digest.update(json.dumps(head, sort_keys=True).encode())
    for name in names:
        digest.update(b"\0" + name.encode())
        if rule == "box" and boxes is not None:
            digest.update(repr(boxes[name]).encode())
    return digest.hexdigest()[:16]


def centre_crop(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The rule "centre" on sRGB uint8 (height, width, 3): uint8 (64, 64, 3)."""
    height, width = image.shape[:2]
    short = min(height, width)
    # The longer side as torchvision rounds it: downwards.
    size = (SHORTER_PX * width // short, SHORTER_PX * height // short)
    left, top = round((size[0] - CROP_PX) / 2), round((size[1] - CROP_PX) / 2)
    small = Image.fromarray(image).resize(size, Image.Resampling.BILINEAR)
    return np.asarray(small.crop((left, top, left + CROP_PX, top + CROP_PX)), np.uint8)


def random_crop(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """The rule "random" on sRGB uint8 (height, width, 3): uint8 (64, 64, 3)."""
    height, width = image.shape[:2]
    for _ in range(10):
        area = rng.uniform(0.08, 1.0) * height * width
        ratio = math.exp(rng.uniform(math.log(3 / 4), math.log(4 / 3)))
        columns, rows = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < columns <= width and 0 < rows <= height:
            break
    else:
        # A picture so long that nothing fits: its middle, as near to the allowed shapes as it goes.
        columns, rows = min(width, round(height * 4 / 3)), min(height, round(width * 4 / 3))
    left, top = int(rng.integers(width - columns + 1)), int(rng.integers(height - rows + 1))
    part = Image.fromarray(image[top : top + rows, left : left + columns])
    crop = np.asarray(part.resize((CROP_PX, CROP_PX), Image.Resampling.BILINEAR), np.uint8)
    return crop[:, ::-1] if rng.random() < 0.5 else crop


def _crops(
    image: NDArray[np.uint8],
    rule: CropRule,
    rng: np.random.Generator,
    count: int,
    box: tuple[int, int, int, int] | None,
) -> NDArray[np.uint8]:
    if rule == "random":
        return np.stack([random_crop(image, rng) for _ in range(count)])
    if rule == "box":
        return cut(image, face_window(np.array(box, np.float32)))[None]
    return centre_crop(image)[None]
