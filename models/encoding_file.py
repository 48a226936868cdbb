"""Encodings in .npz files, as `canopic train encoder`, `canopic bundle export` and people with NumPy write them."""

import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from optics.archive import ZIP_ERRORS
from optics.encoding import Encoding

EXPECTED = (
    "expected an .npz file with kernels float32 (filters, height, width), thresholds float32 (15,) and, unless they "
    'are 8 and "fixed", pool and range, as `canopic train encoder` and `canopic bundle export` write it'
)
LIGHTS = ("linear", "srgb")


class EncodingFileError(ValueError):
    """A file that cannot be used. The message names it, what is wrong with it, and what was expected."""


def read_encoding(path: Path) -> Encoding:
    """The encoding in an .npz file with `kernels`, `thresholds` and, unless they are defaults, `pool` and `range`.

    Raises EncodingFileError.
    """
    return read_encoding_and_light(path)[0]


def read_encoding_and_light(path: Path) -> tuple[Encoding, str | None]:
    """As `read_encoding`, and what it sees of a picture, "linear" light or its "srgb" values; None where it says not.

    Raises EncodingFileError.
    """
    arrays = read_arrays(path, EXPECTED, ("kernels", "thresholds", "pool", "range", "light"))
    missing = [name for name in ("kernels", "thresholds") if name not in arrays]
    if missing:
        raise EncodingFileError(f"{path} has no array {' and none called '.join(missing)}: {EXPECTED}")
    pool = arrays.get("pool", np.array(8))
    if pool.size != 1 or pool.dtype.kind not in "iu":
        raise EncodingFileError(f"{path}: pool must be one whole number of pixels, got {pool!r}: {EXPECTED}")
    kind, light = (str(arrays[name]) if name in arrays else None for name in ("range", "light"))
    if light not in (None, "", *LIGHTS):
        raise EncodingFileError(f'{path}: light must be "linear" or "srgb", got "{light}": {EXPECTED}')
    try:
        encoding = Encoding(
            arrays["kernels"],
            arrays["thresholds"],
            int(pool.item()),
            kind or "fixed",  # type: ignore[arg-type]
        )
    except (TypeError, ValueError) as error:
        raise EncodingFileError(f"{path} is no encoding, {error}: {EXPECTED}") from error
    return encoding, light or None


def read_arrays(path: Path, expected: str, names: Iterable[str] | None = None) -> dict[str, NDArray[Any]]:
    """The arrays of an .npz file that are called `names`, as far as it has them, or all.

    expected: ends the message of an EncodingFileError, which is raised where the file or one of these arrays cannot be
    read. Arrays of Python objects are never loaded.
    """
    try:
        loaded = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise EncodingFileError(f"{path} is missing: {expected}") from None
    except (*ZIP_ERRORS, zlib.error) as error:
        raise EncodingFileError(f"{path} cannot be read, {_why(error)}: {expected}") from error
    if not isinstance(loaded, np.lib.npyio.NpzFile):
        raise EncodingFileError(f"{path} holds one array without a name: {expected}")
    arrays = {}
    with loaded:
        for name in loaded.files if names is None else [name for name in names if name in loaded.files]:
            try:
                arrays[name] = np.asarray(loaded[name])
            except (*ZIP_ERRORS, zlib.error) as error:
                raise EncodingFileError(
                    f"{path}: its array {name} cannot be read, {_why(error)}: {expected}"
                ) from error
    return arrays


def _why(error: Exception) -> str:
    """In words for the person who gave the file; NumPy's own would advise to load Python objects."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if "Object arrays" in str(error):
        return "it holds Python objects in place of numbers"
    return "it is in another format, or damaged"
