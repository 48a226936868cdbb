"""What crosses the boundary, and nothing else can: codes in 4 bits, facts in bounded JSON, results of calibrations.

A record is its type (u8), three zero bytes and its length (u32, little endian), then as many bytes. The receiver
refuses any other type, any length above the type's bound, and codes of another shape than agreed on: a picture does
not fit.
"""

import io
import json
import struct
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from host.board.assembly import BoardMeasurement, Geometry, pack_codes, unpack_codes
from host.boundary.errors import WireError

HEAD = struct.Struct("<B3xI")
_MEASUREMENT = struct.Struct("<IIQIII")
TEXT_BYTES = 16_384
# Failure messages and names: long enough to say what to do, far too short for a picture.
MESSAGE_CHARACTERS = 1_000
# Results of one calibration step: statistics and PSF windows of a whole plane in float64.
STEP_BYTES = 512 * 1024 * 1024
# Numbers and truth values; a step's arrays may hold nothing else.
_STEP_KINDS = frozenset("biuf")


class Kind(IntEnum):
    """Types of records; below 64 they come out of the boundary, from 64 on they go in."""

    ABOUT = 1
    MEASUREMENT = 2
    END = 3
    FAILURE = 4
    STEP = 5
    SPEC = 64
    EXPOSURE = 65
    FAULT = 66
    ACQUIRE = 67


_LARGEST = {
    Kind.ABOUT: TEXT_BYTES,
    Kind.MEASUREMENT: 1 << 20,
    Kind.END: TEXT_BYTES,
    Kind.FAILURE: TEXT_BYTES,
    Kind.STEP: STEP_BYTES,
    Kind.SPEC: 1 << 20,
    Kind.EXPOSURE: TEXT_BYTES,
    Kind.FAULT: TEXT_BYTES,
    Kind.ACQUIRE: STEP_BYTES,
}
OUTWARDS = frozenset(kind for kind in Kind if kind < 64)
INWARDS = frozenset(Kind) - OUTWARDS


@dataclass(frozen=True, slots=True)
class Record:
    """One record as it came: its type and its bytes."""

    kind: Kind
    content: bytes


class Records:
    """Records cut out of a stream of bytes. `allowed`: types that may come from this side."""

    def __init__(self, allowed: frozenset[Kind], largest: Mapping[Kind, int] | None = None) -> None:
        """largest: bounds in bytes that are tighter than the type's own."""
        self._allowed = allowed
        self._largest = {**_LARGEST, **(largest or {})}
        self._buffer = bytearray()

    def add(self, data: bytes) -> None:
        """Take bytes that arrived."""
        self._buffer += data

    def take(self) -> Record | None:
        """The next whole record, None while there is none. Raises WireError for what may not come."""
        if len(self._buffer) < HEAD.size:
            return None
        number, length = HEAD.unpack_from(self._buffer)
        kind = next((known for known in self._allowed if known == number), None)
        if kind is None:
            raise WireError(f"a record of type {number} may not come out here")
        if length > self._largest[kind]:
            raise WireError(f"a record {kind.name} of {length} bytes is longer than {self._largest[kind]}")
        if len(self._buffer) < HEAD.size + length:
            return None
        content = bytes(self._buffer[HEAD.size : HEAD.size + length])
        del self._buffer[: HEAD.size + length]
        return Record(kind, content)


def packed(kind: Kind, content: bytes) -> bytes:
    """The bytes of a record."""
    return HEAD.pack(kind, len(content)) + content


def packed_json(kind: Kind, document: Mapping[str, Any]) -> bytes:
    """The bytes of a record that holds a JSON object."""
    return packed(kind, json.dumps(dict(document), allow_nan=False).encode())


def json_of(record: Record) -> dict[str, Any]:
    """The JSON object in a record. Raises WireError."""
    try:
        document = json.loads(record.content)
    except ValueError as error:
        raise WireError(f"a record {record.kind.name} holds no JSON") from error
    if not isinstance(document, dict):
        raise WireError(f"a record {record.kind.name} holds no JSON object")
    return document


def short(text: object) -> str:
    """A message as it may cross: printable, and of bounded length."""
    return "".join(letter if letter.isprintable() else " " for letter in str(text))[:MESSAGE_CHARACTERS]


def packed_measurement(measured: BoardMeasurement) -> bytes:
    """The record of one measurement; its codes take 4 bits each, so nothing finer fits."""
    head = _MEASUREMENT.pack(
        measured.sequence % 2**32,
        measured.frame % 2**32,
        measured.capture_time_us,
        measured.exposure_us,
        measured.gain_milli,
        measured.thresholds_crc,
    )
    return packed(Kind.MEASUREMENT, head + pack_codes(measured.codes))


def measurement_of(record: Record, shape: tuple[int, int, int], thresholds_crc: int, now_s: float) -> BoardMeasurement:
    """The measurement in a record, for cells of `shape` (rows, columns, channels) and the thresholds agreed on.

    Raises WireError where it is of another size, or made with other thresholds.
    """
    geometry = Geometry(*shape)
    if len(record.content) != _MEASUREMENT.size + geometry.packed_bytes:
        raise WireError(
            f"a measurement of {len(record.content)} bytes, expected {_MEASUREMENT.size + geometry.packed_bytes}"
        )
    sequence, frame, time_us, exposure_us, gain_milli, crc = _MEASUREMENT.unpack_from(record.content)
    if crc != thresholds_crc:
        raise WireError(f"a measurement made with thresholds {crc:08x}, expected {thresholds_crc:08x}")
    codes = unpack_codes(record.content[_MEASUREMENT.size :], geometry)
    return BoardMeasurement(sequence, frame, time_us, exposure_us, gain_milli, crc, now_s, codes)


def packed_arrays(
    arrays: Mapping[str, NDArray[Any]], kind: Kind = Kind.STEP, head: Mapping[str, Any] | None = None
) -> bytes:
    """The record of named arrays (an .npz), after a JSON object of its own length (u32)."""
    text = json.dumps(dict(head or {})).encode()
    file = io.BytesIO()
    named: dict[str, Any] = {name: np.asarray(value) for name, value in arrays.items()}
    np.savez(file, **named)
    return packed(kind, struct.pack("<I", len(text)) + text + file.getvalue())


def arrays_of(record: Record) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """JSON object and arrays of a record: numbers only, none of them an object. Raises WireError."""
    try:
        (length,) = struct.unpack_from("<I", record.content)
        head = json.loads(record.content[4 : 4 + length])
        with np.load(io.BytesIO(record.content[4 + length :]), allow_pickle=False) as kept:
            arrays = {name: kept[name] for name in kept.files}
    except (ValueError, OSError, KeyError, EOFError, struct.error, zipfile.BadZipFile) as error:
        raise WireError(f"a record {record.kind.name} holds no arrays: {error}") from error
    for name, array in arrays.items():
        if array.dtype.kind not in _STEP_KINDS:
            raise WireError(f"{name} is an array of {array.dtype}, not of numbers")
    return head, arrays
