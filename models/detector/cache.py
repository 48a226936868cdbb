"""Training scenes measured once and kept, before the thresholds: exposure, noise and thresholds stay free.

Convolution and maximum commute with exposure, so one pooled array stands for every exposure of its scene, and one cache
serves every choice of thresholds. It is written in shards, each with its own random seed: an interrupted build goes on
where it stopped, and a larger cache contains the smaller one. Shards are made on several threads, one scene at a time
each: a scene takes 3.7 MB, a shard of them almost a gigabyte.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from models.detector.augment import Material, random_scene
from models.detector.scenes import PLAIN_POOL_PX, Scene, linear_to_srgb, plain_image, plane_cells, srgb_to_linear
from optics.encoding import Encoding, pooled
from optics.exposure import steady_exposure
from optics.whole_file import whole_file

SHARD = 250
# Raise this whenever `augment` or `scenes` change what a seed gives: caches of an older recipe are then left alone.
RECIPE = 1
KEPT = ("cells", "plain", "boxes", "ignore", "first")

# What an encoding sees of a scene. "linear": its radiance, as optics does. "srgb": the sRGB values of 8 bits, as
# encodings do that were published for image files.
Light = Literal["linear", "srgb"]
# An unencoded picture of a scene: radiance float32 (480, 640, 3) to sRGB uint8 (rows, columns, 3).
Picture = Callable[[NDArray[np.float32]], NDArray[np.uint8]]


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """Measured scenes.

    `cells`: float16 (n, rows, columns, channels), pooled values before the thresholds: at exposure 1, or for the range
    "per_frame" stretched from 0 to 1. `plain`: sRGB uint8 (n, rows, columns, 3), the same scenes unencoded, 8 x 8
    means. `steady`: float32 (n,), the exposure at which each scene settles (1 for "per_frame", which has none).
    `boxes`: float32 (m, 4) in plane pixels, all scenes one after the other, `ignore` bool (m,); scene i owns boxes
    `first[i]` to `first[i + 1]`, `first` int64 (n + 1,). `pool_px`, `plain_pool_px`: plane pixels per cell side.
    """

    cells: NDArray[np.float16]
    plain: NDArray[np.uint8]
    steady: NDArray[np.float32]
    boxes: NDArray[np.float32]
    ignore: NDArray[np.bool_]
    first: NDArray[np.int64]
    pool_px: int = PLAIN_POOL_PX
    plain_pool_px: int = PLAIN_POOL_PX

    def __len__(self) -> int:
        return len(self.first) - 1

    def boxes_of(self, index: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Boxes (k, 4) and ignore flags (k,) of one scene."""
        part = slice(self.first[index], self.first[index + 1])
        return self.boxes[part], self.ignore[part]

    def mean_radiance(self, index: int) -> float:
        """Mean linear radiance of one scene at exposure 1, over its pixels and colours, from its unencoded picture."""
        return float(srgb_to_linear(self.plain[index]).mean())

    def cell_px(self, encoded: bool = True) -> int:
        """Plane pixels per cell side of the codes, or of the unencoded pictures."""
        return self.pool_px if encoded else self.plain_pool_px


def seen_light(radiance: NDArray[np.float32], light: Light) -> NDArray[np.float32]:
    """What an encoding sees of linear radiance float32 (height, width, 3) in [0, 1]: itself, or its sRGB values."""
    return radiance if light == "linear" else linear_to_srgb(radiance).astype(np.float32) / np.float32(255)


def measured(
    scenes: Iterable[Scene], encoding: Encoding | None, light: Light = "linear", picture: Picture = plain_image
) -> Samples:
    """Scenes through kernels and maximum of `encoding` (its thresholds only decide the steady exposure), and pictures.

    Without an encoding only pictures are made, and `cells` is empty. Scenes are used up one by one. Raises ValueError
    for a pool that no detector is made for (`scenes.plane_cells`).
    """
    if encoding is not None:
        plane_cells(encoding.pool)
    cells, plain, boxes, ignore, counts = [], [], [np.zeros((0, 4), np.float32)], [np.zeros(0, np.bool_)], [0]
    steady: list[float] = []
    for scene in scenes:
        if encoding is None:
            cells.append(np.zeros((0, 0, 0), np.float16))
            steady.append(1.0)
        else:
            one = pooled(seen_light(scene.radiance, light), encoding, threads=1)
            cells.append(one.astype(np.float16))
            steady.append(_steady(one, encoding))
        plain.append(picture(scene.radiance))
        boxes.append(scene.boxes)
        ignore.append(scene.ignore)
        counts.append(len(scene.boxes))
    shape = (0, 0, 0) if encoding is None else (*plane_cells(encoding.pool), encoding.channels)
    return Samples(
        cells=np.stack(cells) if cells else np.zeros((0, *shape), np.float16),
        plain=np.stack(plain) if plain else np.zeros((0, *plane_cells(PLAIN_POOL_PX), 3), np.uint8),
        steady=np.array(steady, np.float32),
        boxes=np.concatenate(boxes),
        ignore=np.concatenate(ignore),
        first=np.cumsum(counts).astype(np.int64),
        pool_px=PLAIN_POOL_PX if encoding is None else encoding.pool,
    )


def cache_folder(
    root: Path,
    encoding: Encoding | None,
    data_digests: dict[str, str],
    seed: int,
    light: Light = "linear",
    picture: str = "means",
) -> Path:
    """Folder for the scenes of these kernels, data, recipe and seed. Thresholds do not enter (see the module).

    `picture` names how unencoded pictures are made. What is as it was for the first encodings is not in the key, so
    that their caches keep their names.
    """
    content: dict[str, Any] = {"data": data_digests, "recipe": RECIPE, "seed": seed}
    if encoding is not None:
        kernels = hashlib.sha256(np.ascontiguousarray(encoding.kernels, "<f4").tobytes()).hexdigest()
        content |= {"kernels": kernels, "pool": encoding.pool}
        if encoding.range != "fixed":
            content["range"] = encoding.range
    if light != "linear":
        content["light"] = light
    if picture != "means":
        content["picture"] = picture
    return root / hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def default_cache_root() -> Path:
    """CANOPIC_CACHE when it is set, else `canopic` in the user's cache folder."""
    chosen = os.environ.get("CANOPIC_CACHE")
    return Path(chosen) if chosen else Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "canopic"


def build(
    folder: Path,
    source: Material,
    encoding: Encoding | None,
    count: int,
    seed: int,
    progress: Callable[[int], None],
    light: Light = "linear",
    picture: Picture = plain_image,
    threads: int = 1,
) -> Samples:
    """`count` training scenes (rounded up to whole shards), from `folder` where it has them, else made and kept there.

    `progress` is called with the number of scenes ready so far. The steady exposure is that of `encoding`'s thresholds.
    `threads` shards are made at a time; the result does not depend on it.
    """
    folder.mkdir(parents=True, exist_ok=True)

    def shard(index: int) -> dict[str, NDArray[Any]]:
        path = folder / f"shard_{index:04d}.npz"
        if not path.exists():
            rng = np.random.default_rng([seed, index])
            made = measured((random_scene(source, rng) for _ in range(SHARD)), encoding, light, picture)
            with whole_file(path) as partial, partial.open("wb") as file:
                np.savez(file, **{name: getattr(made, name) for name in KEPT})
        with np.load(path) as file:
            return {name: file[name] for name in file.files}

    shards = []
    with ThreadPoolExecutor(max(1, threads)) as executor:
        for done, one in enumerate(executor.map(shard, range(-(-count // SHARD))), 1):
            shards.append(one)
            progress(done * SHARD)
    return _joined(shards, encoding)


def _joined(shards: list[dict[str, NDArray[Any]]], encoding: Encoding | None) -> Samples:
    cells = np.concatenate([shard["cells"] for shard in shards])
    counts = np.concatenate([np.diff(shard["first"]) for shard in shards])
    steady = [1.0] * len(cells) if encoding is None else [_steady(one.astype(np.float32), encoding) for one in cells]
    return Samples(
        cells=cells,
        plain=np.concatenate([shard["plain"] for shard in shards]),
        steady=np.array(steady, np.float32),
        boxes=np.concatenate([shard["boxes"] for shard in shards]),
        ignore=np.concatenate([shard["ignore"] for shard in shards]),
        first=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        pool_px=PLAIN_POOL_PX if encoding is None else encoding.pool,
    )


def _steady(cells: NDArray[np.float32], encoding: Encoding) -> float:
    return 1.0 if encoding.range == "per_frame" else steady_exposure(cells, encoding.thresholds)
