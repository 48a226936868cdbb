"""Windows of scenes that an encoder learns from: what lies in them, what surrounds them, and their faces. No torch."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.detector.archives import Photograph, read_scenes, validation_part
from models.detector.augment import Material, random_scene
from models.detector.batches import random_window
from models.detector.gaussian_encoding import training_material
from models.detector.scenes import Scene, boxes_within, fitted, linear_to_srgb

# Windows that are in memory at once while many are measured.
AT_A_TIME = 16


@dataclass(frozen=True, slots=True, eq=False)
class SceneSource:
    """What windows are cut from: `training`, out of which scenes are made without end, and photographs `apart`, of
    which those have nothing."""

    training: Material
    apart: list[Photograph]


@dataclass(frozen=True, slots=True, eq=False)
class SceneWindows:
    """Windows of scenes with `margin_px` more on every side, which light spreads from.

    `images`: sRGB uint8 (n, rows + 2 margins, columns + 2 margins, 3). `boxes`: of each window float32 (k, 4), x, y,
    width, height in pixels from the window's own corner (not the margin's), `ignore` bool (k,).
    """

    images: NDArray[np.uint8]
    boxes: list[NDArray[np.float32]]
    ignore: list[NDArray[np.bool_]]
    margin_px: int

    def __len__(self) -> int:
        return len(self.images)


def archive_scenes(data: Path) -> SceneSource:
    """The source in the archives of folder `data`: training scenes as detectors have them, and the validation part.

    Raises DataMissingError for a missing archive.
    """
    apart = [one for one in read_scenes(data, "train") if validation_part(one.name)]
    return SceneSource(training_material(data), apart)


def margin_px(kernel_px: int, pool: int) -> int:
    """What surrounds a window so that its own cells see no edge: at least half a kernel, in whole cells."""
    return -(-(kernel_px // 2) // pool) * pool


def training_scenes(source: SceneSource, rng: np.random.Generator) -> Iterator[Scene]:
    """Scenes as detectors are trained on (`models.detector.augment`), without end."""
    while True:
        yield random_scene(source.training, rng)


def scenes_apart(source: SceneSource) -> Iterator[Scene]:
    """The photographs apart, fitted to the plane, in turn and without end."""
    for photograph in cycle(source.apart):
        yield fitted(photograph)


def windows_in_parts(
    scenes: Iterator[Scene],
    count: int,
    window_px: list[int],
    margin: int,
    rng: np.random.Generator,
    report: Callable[[int, int], None],
) -> Iterator[SceneWindows]:
    """`count` windows as `cut_windows`, a few at a time: images of all of them would fill the memory.

    report(done, count) is called before each part.
    """
    for done in range(0, count, AT_A_TIME):
        report(done, count)
        yield cut_windows(islice(scenes, min(AT_A_TIME, count - done)), window_px, margin, rng)


def cut_windows(scenes: Iterable[Scene], window_px: list[int], margin: int, rng: np.random.Generator) -> SceneWindows:
    """One random window of each scene, at any pixel; seven in ten hold a face where their scene has one.

    Beyond the scene its outermost pixels continue. Faces with their centre outside the window are left out, those of
    which less than 60 % lie in it are ignored.
    """
    images, boxes, ignore = [], [], []
    rows, columns = window_px
    for scene in scenes:
        top, left = random_window(scene.boxes[~scene.ignore], scene.radiance.shape[:2], (rows, columns), rng)
        wide = np.pad(scene.radiance, ((margin, margin), (margin, margin), (0, 0)), mode="edge")
        images.append(linear_to_srgb(wide[top : top + rows + 2 * margin, left : left + columns + 2 * margin]))
        moved = scene.boxes - np.array([left, top, 0, 0], np.float32)
        centre = moved[:, :2] + moved[:, 2:] / 2
        inside = ((centre >= 0) & (centre < [columns, rows])).all(axis=1)
        its, flags = boxes_within(moved[inside], scene.ignore[inside], (rows, columns))
        boxes.append(its)
        ignore.append(flags)
    return SceneWindows(np.stack(images), boxes, ignore, margin)
