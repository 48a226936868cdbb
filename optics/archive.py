"""The container of a bundle: byte strings in a reproducible zip file, arrays as .npy, documents as canonical JSON."""

import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

MOST_ENTRIES = 256
# What an array in a bundle may consist of; each is stored little-endian.
ARRAY_DTYPES = ("|b1", "|u1", "<u2", "<u4", "<u8", "|i1", "<i2", "<i4", "<i8", "<f4", "<f8", "<c8", "<c16")
# Everything that Python's zip reader raises on damaged input; found by fuzzing and by reading it.
ZIP_ERRORS = (
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
    EOFError,
    KeyError,
    IndexError,
    NotImplementedError,
    OSError,
    OverflowError,
    RuntimeError,
    ValueError,
)


class BundleError(ValueError):
    """A bundle that cannot be used, and why."""


def pack(entries: Mapping[str, bytes]) -> bytes:
    """A zip file of stored entries, in their order, without times or rights: equal entries give equal bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, content in entries.items():
            _check_name(name)
            about = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            about.create_system = 3
            about.external_attr = 0o644 << 16
            archive.writestr(about, content)
    return buffer.getvalue()


def unpack(content: bytes) -> dict[str, bytes]:
    """The entries of a zip file, in memory. Raises BundleError for what `pack` would not have written.

    Entries must be stored, so nothing can be larger unpacked than the file is; times and rights are ignored.
    """
    if not content.startswith(b"PK"):
        raise BundleError("not a CAnOPIC bundle: the file does not begin like a zip file")
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return _entries(archive, len(content))
    except BundleError:
        raise
    except ZIP_ERRORS as error:
        raise BundleError(f"the bundle is truncated or damaged ({error}): fetch it again") from error


def _entries(archive: zipfile.ZipFile, size: int) -> dict[str, bytes]:
    infos = archive.infolist()
    if len(infos) > MOST_ENTRIES:
        raise BundleError(f"{len(infos)} entries, a bundle has at most {MOST_ENTRIES}")
    if sum(info.file_size for info in infos) > size:
        raise BundleError("the entries claim to be larger than the file: the bundle is damaged, fetch it again")
    entries: dict[str, bytes] = {}
    for info in infos:
        _check_name(info.filename)
        if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size:
            raise BundleError(f"entry {info.filename} is compressed: a bundle's entries are stored")
        if info.filename in entries:
            raise BundleError(f"entry {info.filename} occurs twice")
        entries[info.filename] = archive.read(info)
    return entries


def _check_name(name: str) -> None:
    path = PurePosixPath(name)
    if str(path) != name or path.is_absolute() or ".." in path.parts or "\\" in name or not name.isprintable():
        raise BundleError(f"entry name {name!r} is not a plain relative path")


def canonical_json(document: Any) -> bytes:
    """JSON with sorted keys, no spaces and ASCII only: one byte string per value. Raises BundleError if it has none."""
    try:
        text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise BundleError(f"not storable as JSON: {error}") from error
    return text.encode("ascii")


def json_from_bytes(name: str, content: bytes) -> dict[str, Any]:
    """The object in a canonical JSON entry. Raises BundleError for anything else, doubled keys included."""
    try:
        document = json.loads(content.decode("ascii"))
    except (ValueError, RecursionError) as error:
        raise BundleError(f"entry {name} is not valid JSON: {error}") from error
    if not isinstance(document, dict) or canonical_json(document) != content:
        raise BundleError(f"entry {name} is not a JSON object in canonical form")
    return document


def array_to_bytes(array: NDArray[Any]) -> bytes:
    """An array as .npy (version 1.0, C order, little-endian). Raises BundleError for anything but plain numbers."""
    dtype = array.dtype.newbyteorder("<")
    if dtype.str not in ARRAY_DTYPES:
        raise BundleError(f"an array of {array.dtype} cannot be stored, only numbers and booleans")
    buffer = io.BytesIO()
    # Not ascontiguousarray: it would turn a single number (shape ()) into an array of one.
    np.lib.format.write_array(buffer, np.asarray(array, dtype=dtype, order="C"), version=(1, 0), allow_pickle=False)
    return buffer.getvalue()


def array_from_bytes(name: str, content: bytes) -> NDArray[Any]:
    """The array in a .npy entry written by `array_to_bytes`. Raises BundleError for any other content."""
    buffer = io.BytesIO(content)
    try:
        version = np.lib.format.read_magic(buffer)
        if version != (1, 0):
            raise BundleError(f"entry {name} has .npy version {version}, expected (1, 0)")
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(buffer)
    except BundleError:
        raise
    except (ValueError, EOFError, TypeError, SyntaxError, RecursionError, MemoryError) as error:
        raise BundleError(f"entry {name} is not a valid .npy array: {error}") from error
    start = buffer.tell()
    count = 1
    for length in shape:
        count *= length
    # Before anything is allocated: the header's shape must be what the entry holds.
    if fortran or dtype.str not in ARRAY_DTYPES or min(shape, default=0) < 0:
        raise BundleError(f"entry {name} is not an array of plain little-endian numbers in C order")
    if count * dtype.itemsize != len(content) - start:
        raise BundleError(f"entry {name} holds {len(content) - start} bytes, its shape {shape} needs other")
    return np.frombuffer(content, dtype=dtype, offset=start).reshape(shape)
