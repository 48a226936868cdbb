"""Training scenes measured once and kept, before the thresholds: exposure, noise and thresholds stay free.

Convolution and maximum commute with exposure, so one pooled array stands for every exposure of its scene, and one cache
serves every choice of thresholds. It is written in shards, each with its own random seed: an interrupted build goes on
where it stopped, and a larger cache contains the smaller one.
"""

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.detector.augment import Material, random_scene
from models.detector.scenes import COLUMNS, ROWS, Scene, plain_image
from optics.encoding import Encoding, pooled
from optics.exposure import steady_exposure

SHARD = 250
# Raise this whenever `augment` or `scenes` change what a seed gives: caches of an older recipe are then left alone.
RECIPE = 1


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """Measured scenes.

    `cells`: float16 (n, 60, 80, channels), pooled values at exposure 1, before the thresholds. `plain`: sRGB uint8
    (n, 60, 80, 3), the same scenes unencoded at the same resolution. `steady`: float32 (n,), the exposure at which each
    scene settles. `boxes`: float32 (m, 4) in plane pixels, all scenes one after the other, `ignore` bool (m,); scene i
    owns boxes `first[i]` to `first[i + 1]`, `first` int64 (n + 1,).
    """

    cells: NDArray[np.float16]
    plain: NDArray[np.uint8]
    steady: NDArray[np.float32]
    boxes: NDArray[np.float32]
    ignore: NDArray[np.bool_]
    first: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.cells)

    def boxes_of(self, index: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Boxes (k, 4) and ignore flags (k,) of one scene."""
        part = slice(self.first[index], self.first[index + 1])
        return self.boxes[part], self.ignore[part]


def measured(scenes: list[Scene], encoding: Encoding) -> Samples:
    """Scenes through kernels and maximum of `encoding` (its thresholds only decide the steady exposure)."""
    cells = np.zeros((len(scenes), ROWS, COLUMNS, encoding.channels), np.float32)
    for index, scene in enumerate(scenes):
        cells[index] = pooled(scene.radiance, encoding, threads=1)
    empty = [np.zeros((0, 4), np.float32)], [np.zeros(0, np.bool_)]
    return Samples(
        cells=cells.astype(np.float16),
        plain=np.array([plain_image(scene.radiance) for scene in scenes], np.uint8).reshape(-1, ROWS, COLUMNS, 3),
        steady=np.array([steady_exposure(one, encoding.thresholds) for one in cells], np.float32),
        boxes=np.concatenate([scene.boxes for scene in scenes] + empty[0]),
        ignore=np.concatenate([scene.ignore for scene in scenes] + empty[1]),
        first=np.concatenate([[0], np.cumsum([len(scene.boxes) for scene in scenes])]).astype(np.int64),
    )


def cache_folder(root: Path, encoding: Encoding, data_digests: dict[str, str], seed: int) -> Path:
    """Folder for the scenes of these kernels, data, recipe and seed. Thresholds do not enter (see the module)."""
    kernels = hashlib.sha256(np.ascontiguousarray(encoding.kernels, "<f4").tobytes()).hexdigest()
    content = {"kernels": kernels, "pool": encoding.pool, "data": data_digests, "recipe": RECIPE, "seed": seed}
    return root / hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def default_cache_root() -> Path:
    """CANOPIC_CACHE when it is set, else `canopic` in the user's cache folder."""
    chosen = os.environ.get("CANOPIC_CACHE")
    return Path(chosen) if chosen else Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "canopic"


def build(
    folder: Path, source: Material, encoding: Encoding, count: int, seed: int, progress: Callable[[int], None]
) -> Samples:
    """`count` training scenes (rounded up to whole shards), from `folder` where it has them, else made and kept there.

    `progress` is called with the number of scenes ready so far. The steady exposure is that of `encoding`'s thresholds.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shards = []
    for index in range(-(-count // SHARD)):
        path = folder / f"shard_{index:04d}.npz"
        if not path.exists():
            rng = np.random.default_rng([seed, index])
            made = measured([random_scene(source, rng) for _ in range(SHARD)], encoding)
            partial = path.with_suffix(".part")
            with partial.open("wb") as file:
                np.savez(file, **{name: getattr(made, name) for name in ("cells", "plain", "boxes", "ignore", "first")})
            partial.rename(path)
        with np.load(path) as file:
            shards.append({name: file[name] for name in file.files})
        progress((index + 1) * SHARD)
    return _joined(shards, encoding)


def _joined(shards: list[dict[str, NDArray[np.generic]]], encoding: Encoding) -> Samples:
    cells = np.concatenate([shard["cells"] for shard in shards])
    counts = np.concatenate([np.diff(shard["first"]) for shard in shards])
    return Samples(
        cells=cells,
        plain=np.concatenate([shard["plain"] for shard in shards]),
        steady=np.array([steady_exposure(one.astype(np.float32), encoding.thresholds) for one in cells], np.float32),
        boxes=np.concatenate([shard["boxes"] for shard in shards]),
        ignore=np.concatenate([shard["ignore"] for shard in shards]),
        first=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
    )
