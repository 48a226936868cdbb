"""Files that hold a kernel: a mask, a PSF per colour, plain taps, a bundle; and what is written beside them."""

import json
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from optics.archive import ZIP_ERRORS, BundleError
from optics.bundle import names_bundle, read_bundle, resolve_bundle, shipped_bundles
from optics.fabrication import unfinished
from optics.mask import Mask, MaskError, read_mask
from optics.psf import psf

ARRAY_NAMES = ("psf", "kernels", "kernel")
# Negative taps down to this share of the largest are rounding, as transforms leave it: they count as zero.
ROUNDING = 1e-6
EXPECTED = (
    "a PSF (`canopic optics psf`), a mask (`canopic optics design`), an array of numbers (.npy, or FILE.npz:NAME), or "
    'a bundle (NAME.canopic, "default", "private" or "useful")'
)
EXPECTED_MASK = "a mask (.npz) as `canopic optics design` writes it, or the captioning paper's lens"
EXPECTED_NUMBERS = "an .npy (`numpy.save`), or text with one number a line"
# What NumPy raises for a file that is damaged or of another kind. Its own words are of no use: it takes what it does
# not know for a pickle, and advises to trust it.
DAMAGED = (*ZIP_ERRORS, zlib.error)


class OpticFileError(ValueError):
    """A file that holds no kernel. The message names it and says what is expected."""


@dataclass(frozen=True, eq=False)
class Optic:
    """What a file holds: taps float64 (rows, columns) or (3, rows, columns), and what is known about them.

    name: to call it in figures and tables. mask: where the file is a mask (taps are its PSF then). pitch_m: of the
    taps, None where the file does not say. wavelengths_m: of the colours, likewise.
    """

    name: str
    taps: NDArray[np.float64]
    mask: Mask | None = None
    pitch_m: float | None = None
    wavelengths_m: tuple[float, float, float] | None = None

    @property
    def per_colour(self) -> NDArray[np.float64]:
        """The taps as (3, rows, columns)."""
        return np.broadcast_to(self.taps, (3, *self.taps.shape[-2:])) if self.taps.ndim == 2 else self.taps

    @property
    def signed(self) -> bool:
        """Whether a tap is negative (by more than rounding, see `without_rounding`): then it is no PSF."""
        return bool(self.taps.min() < 0)


def read_optic(text: str | Path) -> Optic:
    """What a file (or a shipped bundle's name) holds.

    Accepted: see EXPECTED. `FILE.npz:NAME` names an array in an archive, `FILE.npz:NAME:INDEX` one of its filters.
    Raises OpticFileError, or MaskError and SamplingError (ValueError) for a mask that cannot be used.
    """
    text = str(text)
    if names_bundle(text):
        return _from_bundle(text)
    file, array, index = _parts(text)
    found, values, mask = read_array(file, array)
    shown = Path(file).name + (f":{array}" if array else "") + (f":{index}" if index is not None else "")
    taps = _checked(text, values, index)
    if mask is not None:
        geometry = mask.geometry
        return Optic(shown, taps, mask, geometry.pixel_pitch_m, geometry.wavelengths_m)
    pitch_m, wavelengths_m = _about(file) if found == "psf" else (None, None)
    return Optic(shown, taps, None, pitch_m, wavelengths_m)


def read_array(path: str | Path, array: str | None = None) -> tuple[str, NDArray[Any], Mask | None]:
    """The array in a file, what it is called there ("psf" for a mask's computed PSF, "" in an .npy), and the mask.

    array: its name in the archive; None takes the first of ARRAY_NAMES. Raises OpticFileError.
    """
    try:
        loaded = np.load(path, allow_pickle=False)
    except DAMAGED as error:
        raise OpticFileError(
            f"{path} is not a readable .npy or .npz file ({_why(error)}): expected {EXPECTED}"
        ) from error
    if not isinstance(loaded, np.lib.npyio.NpzFile):
        return "", np.asarray(loaded), None
    with loaded:
        if array is None and "height_m" in loaded:
            mask = _mask(path)
            return "psf", _psf(path, mask), mask
        name = array or next((name for name in ARRAY_NAMES if name in loaded), None)
        if name is None or name not in loaded:
            wanted = f"no array {array!r}" if array else f"no mask, and none of the arrays {', '.join(ARRAY_NAMES)}"
            raise OpticFileError(f"{path} holds {wanted}, only {loaded.files}: name one of them, as {path}:NAME")
        try:
            return name, np.asarray(loaded[name]), None
        except DAMAGED as error:
            raise OpticFileError(
                f"{path}: its array {name!r} cannot be read ({_why(error)}): expected an array of numbers"
            ) from error


def without_rounding(taps: NDArray[np.float64]) -> NDArray[np.float64]:
    """Taps whose negative ones, where none is below -ROUNDING of the largest, are zero; others as they are.

    A blur made with transforms has values of -1e-17 where it should have none; it is light all the same.
    """
    lowest = float(taps.min())
    return np.maximum(taps, 0) if -ROUNDING * float(np.abs(taps).max()) <= lowest < 0 else taps


def read_any_mask(path: Path) -> Mask:
    """A mask's file, or the captioning paper's lens (`zernike_coefficients_um`). Raises OpticFileError."""
    try:
        loaded = np.load(path, allow_pickle=False)
    except DAMAGED as error:
        raise OpticFileError(f"{path} is not a readable mask ({_why(error)}): expected {EXPECTED_MASK}") from error
    if not isinstance(loaded, np.lib.npyio.NpzFile):
        raise OpticFileError(f"{path} is not a mask, it holds one array: expected {EXPECTED_MASK}")
    with loaded:
        names = loaded.files
    if "zernike_coefficients_um" in names:
        from optics.caption_lens import read_caption_lens

        return read_caption_lens(path)
    if "height_m" not in names:
        raise OpticFileError(f"{path} is not a mask, it holds {names}: expected {EXPECTED_MASK}")
    return _mask(path)


def read_numbers(path: Path) -> NDArray[np.float64]:
    """A list of numbers from a .npy, or from text with one number a line (the first column counts): float64 (n,).

    Raises OpticFileError.
    """
    try:
        if path.suffix == ".npy":
            values = np.load(path, allow_pickle=False)
        else:
            values = np.loadtxt(path, delimiter="," if path.suffix == ".csv" else None, ndmin=2)[:, 0]
        numbers = np.asarray(values, dtype=np.float64).ravel()
    except (*DAMAGED, TypeError) as error:
        why = _why(error, "it holds something else, or is damaged")
        raise OpticFileError(
            f"{path} is not a readable list of numbers ({why}): expected {EXPECTED_NUMBERS}"
        ) from error
    if not numbers.size:
        raise OpticFileError(f"{path} holds no number: expected {EXPECTED_NUMBERS}")
    return numbers


def separate(inputs: Iterable[str | Path], outputs: Iterable[Path]) -> None:
    """Refuse to write over what is read, under whatever name. Raises OpticFileError.

    inputs: paths, or what `read_optic` takes. outputs: files that will be written.
    """
    shipped = shipped_bundles()
    read = {(shipped.get(str(each)) or Path(_parts(str(each))[0])).resolve(): each for each in inputs}
    for output in outputs:
        same = [each for file, each in read.items() if file == output.resolve() or _one_file(file, output)]
        if same:
            raise OpticFileError(
                f"{output} would be written over {same[0]}, which is read: name another file for what is written"
            )


def write_json(document: dict[str, Any], path: Path) -> None:
    """Write a report, whole or not at all; its folder is made. Raises FabricationError (a ValueError)."""
    with unfinished(path) as partial:
        partial.write_text(json.dumps(document, indent=1, allow_nan=False) + "\n")


def write_psf(
    path: Path, taps: NDArray[np.float32], pitch_m: float, wavelengths_m: tuple[float, ...], **more: Any
) -> None:
    """Write a PSF as .npz: `psf` float32 (3, rows, columns), `pixel_pitch_m`, `wavelengths_m`, and `more`.

    The path gets the whole file or keeps what it had; its folder is made. Raises FabricationError (a ValueError).
    """
    with unfinished(path) as partial, partial.open("wb") as file:
        np.savez_compressed(
            file,
            psf=taps.astype(np.float32),
            pixel_pitch_m=np.array(pitch_m),
            wavelengths_m=np.array(wavelengths_m),
            **more,
        )


def framed(taps: NDArray[np.floating], rows: int, columns: int) -> NDArray[np.float64]:
    """Taps (..., h, w) in a larger window of zeros, the tap at side // 2 on its axis again."""
    top, left = rows // 2 - taps.shape[-2] // 2, columns // 2 - taps.shape[-1] // 2
    made = np.zeros((*taps.shape[:-2], rows, columns))
    made[..., top : top + taps.shape[-2], left : left + taps.shape[-1]] = taps
    return made


def common_window(first: NDArray[np.floating], second: NDArray[np.floating]) -> tuple[int, int]:
    """(rows, columns), odd, of a window that holds both with their axes on each other; their own where that is one."""
    if first.shape[-2:] == second.shape[-2:]:
        return first.shape[-2], first.shape[-1]
    rows, columns = (
        max(2 * (side // 2) + 1 for side in pair) for pair in zip(first.shape[-2:], second.shape[-2:], strict=True)
    )
    return rows, columns


def _parts(text: str) -> tuple[str, str | None, int | None]:
    """ "a.npz:kernels:2" to ("a.npz", "kernels", 2)."""
    if ".npz:" not in text:
        return text, None, None
    file, _, rest = text.rpartition(".npz:")
    array, _, index = rest.partition(":")
    if index and not index.isdigit():
        raise OpticFileError(f"{text}: {index!r} is not the number of a filter, as in FILE.npz:NAME:0")
    return f"{file}.npz", array, int(index) if index else None


def _one_file(first: Path, second: Path) -> bool:
    try:
        return first.samefile(second)
    except OSError:
        return False


def _from_bundle(name: str) -> Optic:
    try:
        kernels = read_bundle(resolve_bundle(name)).encoding.kernels
    except BundleError as error:
        raise OpticFileError(str(error)) from error
    if len(kernels) != 1:
        raise OpticFileError(
            f"{name} has {len(kernels)} filters, one mask does one: `canopic bundle export {name} FILE.npz`, then name "
            "one as FILE.npz:kernels:0"
        )
    return Optic(f"bundle {Path(name).stem}", without_rounding(kernels[0].astype(np.float64)))


def _mask(path: str | Path) -> Mask:
    try:
        return read_mask(path)
    except MaskError as error:
        raise OpticFileError(str(error)) from error


def _psf(path: str | Path, mask: Mask) -> NDArray[np.float32]:
    try:
        return psf(mask)
    except ValueError as error:
        raise OpticFileError(f"{path}: its PSF cannot be computed: {error}") from error


def _checked(text: str, values: NDArray[Any], index: int | None) -> NDArray[np.float64]:
    if values.dtype.kind not in "fiu":
        raise OpticFileError(f"{text} holds {values.dtype}; kernels are real numbers")
    if values.ndim == 3 and index is not None:
        if index >= len(values):
            raise OpticFileError(f"{text}: there are {len(values)} filters, counted from 0")
        values = values[index]
    if values.ndim == 3 and len(values) == 1:
        values = values[0]
    if not values.size or values.ndim not in (2, 3) or (values.ndim == 3 and len(values) != 3):
        more = ": name one of its filters, as FILE.npz:NAME:0" if values.ndim == 3 and values.size else ""
        raise OpticFileError(
            f"{text} holds an array of shape {values.shape}; expected (height, width), or (3, height, width) for a "
            f"kernel per colour{more}"
        )
    if not np.isfinite(values).all():
        raise OpticFileError(f"{text} holds NaN or infinity")
    return without_rounding(values.astype(np.float64))


def _why(error: Exception, damaged: str = "it is not in NumPy's format, or damaged") -> str:
    """Why a file was not read, in words for the person who named it."""
    return error.strerror if isinstance(error, OSError) and error.strerror else damaged


def _about(path: str) -> tuple[float | None, tuple[float, float, float] | None]:
    """Pitch and wavelengths of a file that `write_psf` wrote, None for what another one does not say."""
    with np.load(path, allow_pickle=False) as archive:
        pitch = float(archive["pixel_pitch_m"]) if "pixel_pitch_m" in archive else None
        if "wavelengths_m" not in archive or np.shape(archive["wavelengths_m"]) != (3,):
            return pitch, None
        red, green, blue = (float(each) for each in archive["wavelengths_m"])
        return pitch, (red, green, blue)
