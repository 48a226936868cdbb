"""The learned room as bytes: arrays only, no pickle, bound to the encoding that it was learned with."""

import hashlib
import io
import zipfile
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.presence.room import Room, empty_room

FORMAT = 1
LARGEST_BYTES = 64 * 1024 * 1024
_BOUNDS = ("low", "high")
_CELLS = {"learned": np.bool_, "moved": np.bool_, "lit": np.bool_, "calm_s": np.float32, "evidence": np.float32}
_CELLS |= {"occupied": np.bool_}
_NUMBERS = ("present", "extreme_share", "explained_share", "uninformed_s")


class PresenceStateError(ValueError):
    """A saved room that cannot be used: damaged, of another format, or of another encoding. Learn the room again."""


def room_to_bytes(room: Room | None, key: str, thresholds: NDArray[np.float32]) -> bytes:
    """An .npz archive of the room; None (nothing measured yet) gives one without cells."""
    arrays: dict[str, NDArray[Any]] = {"format": np.array(FORMAT), "digest": _digest(key, thresholds)}
    if room is not None:
        arrays |= {name: getattr(room, name) for name in (*_BOUNDS, *_CELLS, "shift")}
        arrays["numbers"] = np.array([float(getattr(room, name)) for name in _NUMBERS])
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def room_from_bytes(data: bytes, key: str, thresholds: NDArray[np.float32]) -> Room | None:
    """The room that `room_to_bytes` wrote. Raises PresenceStateError for anything else."""
    arrays = _read(data)
    if int(arrays["format"].flat[0]) != FORMAT:
        raise PresenceStateError(f"the saved room has format {arrays['format']}, this version reads {FORMAT}")
    if arrays["digest"].shape != (32,) or not np.array_equal(arrays["digest"], _digest(key, thresholds)):
        raise PresenceStateError("the saved room was learned with another encoding: learn the room again")
    if "low" not in arrays:
        return None
    missing = {*_BOUNDS, *_CELLS, "shift", "numbers"} - set(arrays)
    if missing:
        raise PresenceStateError(f"the saved room lacks {sorted(missing)}: learn the room again")
    bounds = arrays["low"]
    if bounds.ndim != 3 or bounds.dtype != np.float32 or not 0 < bounds.size < LARGEST_BYTES:
        raise PresenceStateError(f"the saved room's bounds are {bounds.dtype} {bounds.shape}: learn the room again")
    expected: dict[str, tuple[tuple[int, ...], type]] = {"high": (bounds.shape, np.float32)}
    expected |= {name: (bounds.shape[:2], kind) for name, kind in _CELLS.items()}
    expected |= {"shift": (bounds.shape[2:], np.float32), "numbers": ((len(_NUMBERS),), np.float64)}
    for name, (shape, kind) in expected.items():
        array = arrays[name]
        if array.shape != shape or array.dtype != kind or not np.isfinite(array).all():
            raise PresenceStateError(f"the saved room's {name} is damaged: learn the room again")
    if not np.isfinite(bounds).all() or (bounds > arrays["high"]).any():
        raise PresenceStateError("the saved room's bounds are damaged: learn the room again")
    room = empty_room(bounds, arrays["high"])
    for name in (*_CELLS, "shift"):
        setattr(room, name, arrays[name].copy())
    for name, value in zip(_NUMBERS, arrays["numbers"], strict=True):
        setattr(room, name, bool(value) if name == "present" else float(value))
    return room


def _read(data: bytes) -> dict[str, NDArray[Any]]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > LARGEST_BYTES:
                raise PresenceStateError("the saved room is larger than any room: learn the room again")
        with np.load(io.BytesIO(data), allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except PresenceStateError:
        raise
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error, NotImplementedError) as cause:
        raise PresenceStateError(f"the saved room cannot be read ({cause}): learn the room again") from cause
    if not {"format", "digest"} <= set(arrays) or arrays["format"].size != 1:
        raise PresenceStateError("these bytes are no saved room: learn the room again")
    return arrays


def _digest(key: str, thresholds: NDArray[np.float32]) -> NDArray[np.uint8]:
    content = key.encode() + b"\n" + np.ascontiguousarray(thresholds, dtype="<f4").tobytes()
    return np.frombuffer(hashlib.sha256(content).digest(), dtype=np.uint8)
