"""A mask: its height map, its aperture, what it is made of and where it stands; and the .npz file that holds it.

Orientation: a mask's arrays use the axes of the sensor's picture. Cell [0, 0] lies in front of pixel [0, 0], x grows
with the column, y with the row, and a picture of the height map (row 0 at the top) is the view onto the mask from the
sensor. Light that leaves a cell moves on in these axes without any flip. See docs/conventions.md.
"""

import hashlib
import json
import math
import struct
import zipfile
import zlib
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from optics.archive import ZIP_ERRORS
from optics.materials import FUSED_SILICA, Material, find_material
from optics.whole_file import whole_file

FORMAT = "canopic-mask-1"
Surface = Literal["stepped", "smooth"]
LARGEST_SIDE_PX = 4096
# Height, stop and transmission of the largest mask, and something for the texts.
LARGEST_CONTENT_BYTES = 3 * 8 * LARGEST_SIDE_PX**2 + 2**20
REQUIRED = ("height_m", "pitch_m", "material", "geometry")
ENTRIES = ("format", "height_m", "pitch_m", "stop", "transmission", "surface", "material", "geometry", "about")
# What numpy and zlib raise on damaged files, beyond what a zip reader does; found by fuzzing.
FILE_ERRORS = (*ZIP_ERRORS, zlib.error, struct.error, AttributeError, MemoryError, SyntaxError, TypeError)


class MaskError(ValueError):
    """A mask, or the file it comes from, is not usable. The message says what was expected."""


@dataclass(frozen=True, slots=True)
class Geometry:
    """Where the light comes from, and where the sensor is.

    sensor_distance_m: from the mask to the sensor. pixel_pitch_m: of the sensor's (pooled-from) pixels, the pitch of
    PSFs and kernels. psf_px: (rows, columns) of the window in which the PSF is wanted, centred on the axis.
    wavelengths_m: one each for red, green and blue, in this order. source_distance_m: of the point of light in front of
    the mask; infinity is a plane wave.
    """

    sensor_distance_m: float = 5e-3
    pixel_pitch_m: float = 6e-6
    psf_px: tuple[int, int] = (63, 63)
    wavelengths_m: tuple[float, float, float] = (640e-9, 550e-9, 460e-9)
    source_distance_m: float = math.inf

    def __post_init__(self) -> None:
        for name in ("sensor_distance_m", "pixel_pitch_m"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise MaskError(f"{name} must be a positive number of metres, got {value!r}")
        if not self.source_distance_m > 0:
            raise MaskError(f"source_distance_m must be positive (inf: a plane wave), got {self.source_distance_m!r}")
        if len(self.wavelengths_m) != 3 or not all(math.isfinite(each) and each > 0 for each in self.wavelengths_m):
            raise MaskError(f"wavelengths_m must be three positive lengths (R, G, B), got {self.wavelengths_m!r}")
        sides = tuple(int(side) for side in self.psf_px if isinstance(side, int | np.integer) and 1 <= side <= 8191)
        if len(sides) != 2 or len(self.psf_px) != 2:
            raise MaskError(f"psf_px must be two whole numbers of pixels from 1 to 8191, got {self.psf_px!r}")
        object.__setattr__(self, "psf_px", sides)
        object.__setattr__(self, "wavelengths_m", tuple(float(each) for each in self.wavelengths_m))


@dataclass(frozen=True, eq=False)
class Mask:
    """A thin optical element in front of the sensor.

    height_m: float64 (rows, columns), finite, not negative: material above the substrate, in metres. Light of
        wavelength L is delayed by 2 pi (n(L) - 1) height / L. The middle of the array lies on the optical axis, for an
        even number of cells too (then between two cells).
    pitch_m: side of a (square) cell. material: of the relief. geometry: see Geometry.
    stop: float64 (rows, columns) in [0, 1], amplitude: the clear aperture. Throughput counts from the light that
        enters it. None: the circle that fits into the array.
    transmission: float64 (rows, columns) in [0, 1], amplitude: a pattern inside the stop (a coded aperture). None: 1.
    surface: "stepped" (flat square cells, as lithography makes them) or "smooth" (samples of a smooth surface).
    about: JSON object with whatever else is known (how it was made, levels, target).

    Arrays are copied and made read-only. Raises MaskError for what cannot be.
    """

    height_m: NDArray[np.float64]
    pitch_m: float
    material: Material = FUSED_SILICA
    geometry: Geometry = field(default_factory=Geometry)
    stop: NDArray[np.float64] = None  # type: ignore[assignment]  # filled on construction
    transmission: NDArray[np.float64] = None  # type: ignore[assignment]
    surface: Surface = "stepped"
    about: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        height = np.array(self.height_m, dtype=np.float64)
        if height.ndim != 2 or 0 in height.shape or max(height.shape) > LARGEST_SIDE_PX:
            raise MaskError(f"height_m must be (rows, columns) of 1 to {LARGEST_SIDE_PX} cells, got {height.shape}")
        if not np.isfinite(height).all() or height.min() < 0:
            raise MaskError("height_m must be finite and not negative: add a constant to all of it")
        if height.max() >= self.geometry.sensor_distance_m:
            raise MaskError(
                f"height_m reaches {height.max():g} m, but the sensor is {self.geometry.sensor_distance_m:g} m behind "
                "the mask: heights are in metres"
            )
        if not (math.isfinite(self.pitch_m) and self.pitch_m > 0):
            raise MaskError(f"pitch_m must be a positive number of metres, got {self.pitch_m!r}")
        if self.surface not in get_args(Surface):
            raise MaskError(f'surface must be "stepped" or "smooth", got {self.surface!r}')
        for name, values in (("height_m", height), *self._apertures(height.shape)):
            values.flags.writeable = False
            object.__setattr__(self, name, values)

    def _apertures(self, shape: tuple[int, int]) -> list[tuple[str, NDArray[np.float64]]]:
        stop = circular_stop(shape, self.pitch_m) if self.stop is None else np.array(self.stop, np.float64)
        transmission = np.ones(shape) if self.transmission is None else np.array(self.transmission, np.float64)
        for name, values in (("stop", stop), ("transmission", transmission)):
            if values.shape != shape:
                raise MaskError(f"{name} must have the shape of height_m, {shape}, got {values.shape}")
            if not np.isfinite(values).all() or values.min() < 0 or values.max() > 1:
                raise MaskError(f"{name} is an amplitude and must lie in [0, 1]")
        if not stop.any():
            raise MaskError("stop is closed everywhere: no light enters")
        return [("stop", stop), ("transmission", transmission)]

    @property
    def amplitude(self) -> NDArray[np.float64]:
        """Share of the field's amplitude that passes each cell: stop times transmission."""
        return np.asarray(self.stop * self.transmission)

    @property
    def levels(self) -> int:
        """Number of distinct heights inside the clear aperture."""
        return int(np.unique(self.height_m[self.stop > 0]).size)

    @cached_property
    def id(self) -> str:
        """SHA-256 (64 hexadecimal digits) of everything that decides what light does, `about` left out.

        Equal masks have equal ids on every machine.
        """
        told = [FORMAT, self.surface, self.height_m.shape, self.pitch_m, asdict(self.material), asdict(self.geometry)]
        digest = hashlib.sha256(json.dumps(_as_floats(told), sort_keys=True).encode())
        for values in (self.height_m, self.stop, self.transmission):
            digest.update(np.ascontiguousarray(values, dtype="<f8").tobytes())
        return digest.hexdigest()


def _as_floats(value: Any) -> Any:
    """Numbers as float, so that 0 and 0.0 read alike."""
    if isinstance(value, dict):
        return {name: _as_floats(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_as_floats(each) for each in value]
    return value if isinstance(value, str) else float(value)


def cell_positions_m(cells: int, pitch_m: float) -> NDArray[np.float64]:
    """Where the centres of a row (or column) of cells lie, in metres from the optical axis: float64 (cells,)."""
    return np.asarray((np.arange(cells) - (cells - 1) / 2) * pitch_m, dtype=np.float64)


def circular_stop(shape: tuple[int, int], pitch_m: float, diameter_m: float | None = None) -> NDArray[np.float64]:
    """A round clear aperture: float64 of `shape`, 1 where a cell's centre is inside, else 0.

    diameter_m: by default the largest circle that fits. Raises MaskError if no cell is inside.
    """
    radius_m = (min(shape) * pitch_m if diameter_m is None else diameter_m) / 2
    distance_m = np.hypot(cell_positions_m(shape[0], pitch_m)[:, np.newaxis], cell_positions_m(shape[1], pitch_m))
    stop = (distance_m <= radius_m).astype(np.float64)
    if not stop.any():
        raise MaskError(f"a stop of {radius_m * 2:g} m is smaller than one cell of {pitch_m:g} m")
    return stop


def write_mask(mask: Mask, path: str | Path) -> None:
    """Write a mask as .npz: `height_m`, `pitch_m`, `stop`, `transmission`, and as text `material`, `geometry`, `about`.

    `numpy.load` opens it without this project; `material`, `geometry` and `about` are JSON. The path either keeps its
    old content or gets the whole new one. Raises MaskError if `about` is no JSON object, OSError as writing does.
    """
    try:
        about = json.dumps(mask.about, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise MaskError(f"about must be a JSON object, so that it can be stored: {error}") from error
    geometry = asdict(mask.geometry)
    if math.isinf(mask.geometry.source_distance_m):
        geometry["source_distance_m"] = None  # JSON has no infinity
    with whole_file(Path(path)) as partial, partial.open("wb") as file:
        np.savez_compressed(
            file,
            format=np.array(FORMAT),
            height_m=mask.height_m,
            pitch_m=np.array(mask.pitch_m),
            stop=mask.stop,
            transmission=mask.transmission,
            surface=np.array(mask.surface),
            material=np.array(json.dumps(asdict(mask.material))),
            geometry=np.array(json.dumps(geometry)),
            about=np.array(about),
        )


def read_mask(path: str | Path) -> Mask:
    """Read a mask as `write_mask` writes it, or as a person does with `numpy.savez`.

    `height_m`, `pitch_m`, `material` (JSON, or the name of a known one) and `geometry` (JSON) have to be there; in a
    file that names no format the rest may be left out and is as in `Mask`. Raises MaskError, whose message begins with
    the path and names what is wrong.
    """
    content = _entries(Path(path))
    try:
        geometry = _object(content, "geometry")
        if geometry.get("source_distance_m", 0) is None:
            geometry["source_distance_m"] = math.inf
        return Mask(
            content["height_m"],
            _number(content, "pitch_m"),
            _material(content),
            _part(Geometry, "geometry", geometry),
            content.get("stop"),  # type: ignore[arg-type]  # None: filled by Mask
            content.get("transmission"),  # type: ignore[arg-type]
            str(content.get("surface", "stepped")),  # type: ignore[arg-type]  # checked by Mask
            _object(content, "about") if "about" in content else {},
        )
    except MaskError as error:
        raise MaskError(f"{path}: {error}") from error
    except (ValueError, TypeError) as error:
        raise MaskError(f"{path}: an array of this mask does not hold numbers ({error})") from error


def _entries(path: Path) -> dict[str, NDArray[Any]]:
    try:
        with path.open("rb") as file:
            if not zipfile.is_zipfile(file):
                raise MaskError(f"{path} is not a mask: expected an .npz file as `canopic optics design` writes it")
        with zipfile.ZipFile(path) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
        if size > LARGEST_CONTENT_BYTES:
            raise MaskError(f"{path} is not a mask: {size} bytes, the largest mask has {LARGEST_CONTENT_BYTES}")
        with np.load(path, allow_pickle=False) as loaded:
            found = {name: loaded[name] for name in ENTRIES if name in loaded.files}
    except MaskError:
        raise
    except OSError as error:
        raise MaskError(f"{path} is not a readable mask: {error.strerror or error}") from error
    except FILE_ERRORS as error:
        raise MaskError(f"{path} is not a readable mask (.npz), it is damaged: {error}") from error
    # The format first: a file of another version may lack the rest. A person's own file need not name one.
    written = str(found.get("format", FORMAT))
    if written != FORMAT:
        raise MaskError(
            f'{path} is not a mask: format is "{written}", expected "{FORMAT}" (or it is of a newer version)'
        )
    needed = ENTRIES if "format" in found else REQUIRED
    for name in needed:
        if name not in found:
            raise MaskError(f"{path} is not a mask: {name} is missing, a mask has {', '.join(needed)}")
    return found


def _material(content: dict[str, NDArray[Any]]) -> Material:
    name = str(content["material"])
    if name.isidentifier():
        return find_material(name)
    return _part(Material, "material", _object(content, "material"))


def _number(content: dict[str, NDArray[Any]], name: str) -> float:
    array = content[name]
    if array.shape != () or array.dtype.kind not in "fiu":
        raise MaskError(f"{name} must be one number, got {array.dtype} of shape {array.shape}")
    return float(array)


def _object(content: dict[str, NDArray[Any]], name: str) -> dict[str, Any]:
    try:
        found = json.loads(str(content[name]))
    except (ValueError, RecursionError) as error:
        raise MaskError(f"{name} must be JSON: {error}") from error
    if not isinstance(found, dict):
        raise MaskError(f"{name} must be a JSON object, got {str(content[name])[:60]!r}")
    return found


Part = TypeVar("Part", Geometry, Material)


def _part(kind: type[Part], name: str, values: dict[str, Any]) -> Part:
    """A dataclass from its JSON: all of its fields and no others."""
    known = {each.name for each in fields(kind)}
    if set(values) != known:
        odd = sorted(set(values) ^ known)
        raise MaskError(f"{name} must have exactly {sorted(known)}: {odd} missing or unknown")
    try:
        return TypeAdapter(kind).validate_python(values)
    except ValidationError as error:
        first: Any = error.errors()[0]
        place = ".".join([name, *(str(part) for part in first["loc"])])
        raise MaskError(f"{place}: {first['msg'].removeprefix('Value error, ')}, got {first['input']!r}") from error
