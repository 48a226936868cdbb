"""What all fabrication files agree on: which way round they are seen, what lies outside the stop, and the sidecar.

Every file shows the mask as a person sees it who looks AT its structured side. That side faces the sensor by default,
and then the file is the mask's array as it is: row 0 at the top, column 0 at the left. Turned towards the scene, the
same mask is seen from the other side, so the file is mirrored left-right. No file is ever turned or flipped otherwise.
"""

import hashlib
import importlib
import json
import math
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from optics.mask import Mask, MaskError, circular_stop
from optics.materials import refractive_index
from optics.whole_file import whole_file

FORMAT = "canopic-fabrication-1"
Faces = Literal["sensor", "scene"]
Outside = Literal["flat", "keep"]
# Heights closer than this are one level: far below what any process holds, far above the rounding of float64.
SAME_HEIGHT_M = 1e-12


class FabricationError(MaskError):
    """A mask that this kind of file cannot hold, or a file that is not what it says. The message says what to do."""


@dataclass(frozen=True)
class ExportedFile:
    """What was written, for the person who takes it to the fab.

    kind: "tiff", "png", "stl", "gds" or "slm". path: the file. files: it and all that belongs to it (sidecar, aperture
    pictures). quantization_m: the file's heights differ from the mask's by at most this. facts: counts, sizes, layers,
    smallest feature, JSON-able. warnings: what this file does not say or what will be hard to make.
    """

    kind: str
    path: Path
    files: tuple[Path, ...]
    quantization_m: float
    facts: dict[str, Any]
    warnings: tuple[str, ...] = field(default=())

    @property
    def bytes(self) -> int:
        """Size of the file in bytes, without its sidecar."""
        return self.path.stat().st_size


def needed_package(name: str, what: str) -> Any:
    """A module of the [fabrication] extra. Raises FabricationError that says how to get it."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise FabricationError(f"{what} needs {name}: pip install 'canopic[fabrication]'") from error


def as_made(mask: Mask, outside: Outside) -> NDArray[np.float64]:
    """Heights that go into a file: float64 (rows, columns), in the mask's own axes.

    outside: "flat": cells outside the stop, which no light passes, get the lowest height inside it, so that they add
    neither levels nor walls; "keep": they stay. Raises FabricationError for another word.
    """
    if outside not in get_args(Outside):
        raise FabricationError(f'outside must be "flat" or "keep", got {outside!r}')
    if outside == "keep":
        return mask.height_m.copy()
    inside = mask.stop > 0
    return np.asarray(np.where(inside, mask.height_m, mask.height_m[inside].min()))


def as_seen(cells: NDArray[Any], faces: Faces) -> NDArray[Any]:
    """An array (rows, columns) as seen looking at the structured side; applied twice it gives the array back.

    Raises FabricationError unless `faces` says which way the structured side looks: "sensor" or "scene".
    """
    if faces not in get_args(Faces):
        raise FabricationError(f'faces must be "sensor" or "scene" (where the structured side looks), got {faces!r}')
    return np.ascontiguousarray(cells if faces == "sensor" else cells[:, ::-1])


def height_levels(height_m: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Distinct heights, ascending, float64 (levels,), and the level of each cell, (rows, columns).

    Heights that lie within SAME_HEIGHT_M of each other, apart from all others, are one level, at the lowest of them.
    """
    heights, which = np.unique(height_m, return_inverse=True)
    first = np.concatenate(([True], np.diff(heights) >= SAME_HEIGHT_M))
    level = np.cumsum(first) - 1
    if (heights - heights[first][level]).max() >= SAME_HEIGHT_M:
        # Millions of heights of a smooth surface lie this close to each other: each is its own.
        first, level = np.ones_like(first), np.arange(heights.size)
    return heights[first], level[which].reshape(height_m.shape)


def smallest_feature_m(height_m: NDArray[np.float64], pitch_m: float) -> float:
    """Width of the narrowest line or gap along a row or a column: metres.

    The pitch times the shortest run of equal heights between two different ones; the whole array where there is none.
    """
    shortest = max(height_m.shape)
    level = height_levels(height_m)[1]
    for lines in (level, level.T):
        steps = np.diff(lines, axis=1) != 0
        line, at = np.nonzero(steps)
        runs = np.diff(at)[np.diff(line) == 0]
        shortest = min(shortest, int(runs.min())) if runs.size else shortest
    return float(shortest * pitch_m)


def relief_facts(mask: Mask, height_m: NDArray[np.float64]) -> dict[str, Any]:
    """What matters to whoever makes it: size, levels, height range, smallest feature, highest wall. JSON-able."""
    walls = [np.abs(np.diff(height_m, axis=axis)) for axis in (0, 1)]
    return {
        "rows": height_m.shape[0],
        "columns": height_m.shape[1],
        "pitch_m": mask.pitch_m,
        "levels": int(height_levels(height_m)[0].size),
        "height_min_m": float(height_m.min()),
        "height_max_m": float(height_m.max()),
        "smallest_feature_m": smallest_feature_m(height_m, mask.pitch_m),
        "highest_wall_m": max(float(wall.max()) if wall.size else 0.0 for wall in walls),
    }


def relief_warnings(facts: dict[str, Any]) -> list[str]:
    """What will be hard to make, in words."""
    wall, feature = facts["highest_wall_m"], facts["smallest_feature_m"]
    if wall > feature:
        return [
            f"walls up to {wall * 1e6:.3g} um stand on features of {feature * 1e6:.3g} um: higher than wide is hard to "
            "make; a larger min_feature_m or a smaller height range helps"
        ]
    return []


def has_round_stop(mask: Mask) -> bool:
    """Whether the stop is the largest circle that fits into the array, which a sidecar describes with one number."""
    return bool(np.array_equal(mask.stop, circular_stop(mask.height_m.shape, mask.pitch_m)))


def describe(mask: Mask, kind: str, faces: Faces, outside: Outside, facts: dict[str, Any]) -> dict[str, Any]:
    """The part of a sidecar that is the same for all kinds of file: JSON-able."""
    geometry = asdict(mask.geometry)
    if math.isinf(mask.geometry.source_distance_m):
        geometry["source_distance_m"] = None  # JSON has no infinity
    indices = {}
    for wavelength_m in mask.geometry.wavelengths_m:
        with suppress(ValueError):  # outside of what the material's source describes: left out, not guessed
            indices[f"{wavelength_m * 1e9:.9g} nm"] = refractive_index(mask.material, wavelength_m)
    round_stop = has_round_stop(mask)
    return {
        "format": FORMAT,
        "kind": kind,
        **facts,
        "orientation": {
            "seen": "looking at the structured side",
            "structured_side_faces": faces,
            "mirrored_left_right": faces == "scene",
            "cell_0_0": "upper left" if faces == "sensor" else "upper right",
            "rows_grow": "down",
            "columns_grow": "to the right" if faces == "sensor" else "to the left",
            "cell_0_0_lies_over": "pixel [0, 0] of the sensor's picture",
        },
        "outside_stop": outside,
        "stop": {"circle_diameter_m": min(mask.stop.shape) * mask.pitch_m} if round_stop else "see aperture picture",
        "surface": mask.surface,
        "material": asdict(mask.material),
        "refractive_index_at_20_celsius": indices,
        "geometry": geometry,
        "about": mask.about,
    }


def sidecar_path(path: Path) -> Path:
    """Where the description of a file lies: its name with `.json` added."""
    return path.with_name(path.name + ".json")


def write_sidecar(path: Path, document: dict[str, Any]) -> Path:
    """Write `<path>.json` with the file's name and SHA-256 added. Returns where it lies."""
    target = sidecar_path(path)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    text = json.dumps({**document, "file": path.name, "sha256": digest}, indent=1, allow_nan=False)
    with unfinished(target) as partial:
        partial.write_text(text + "\n")
    return target


def prepare_path(path: Path) -> None:
    """See to it that `path` can be written: its folder is made where it is missing. What is there already stays.

    Raises FabricationError, which names `path` and says what to do, where it is a folder or its folder does not take
    files.
    """
    if path.is_dir():
        raise FabricationError(f"{path} is a folder: name a file in it, as {path / 'mask'}{path.suffix}")
    try:
        if path.parent.exists() and not path.parent.is_dir():
            raise FabricationError(f"{path} cannot be written: {path.parent} is a file, not a folder: name another")
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise _unwritable(path, error) from error


@contextmanager
def unfinished(path: Path) -> Iterator[Path]:
    """A path to write to that becomes `path` when all went well; else `path` keeps what it had, and nothing is left.

    Missing folders are made. Raises FabricationError, with the cause, where `path` cannot be written.
    """
    prepare_path(path)
    try:
        with whole_file(path) as partial:
            yield partial
    except OSError as error:
        raise _unwritable(path, error) from error


def _unwritable(path: Path, error: OSError) -> FabricationError:
    # Without the error's own path, which is that of the unfinished file.
    why = error.strerror or type(error).__name__
    return FabricationError(f"{path} cannot be written ({why}): name a file in a folder that you can write to")
