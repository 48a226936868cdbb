"""A calibration as it is kept: KIND.json with verdict, reason and numbers, KIND.npz with its arrays."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.outcome import KINDS, Kind, Outcome
from host.calibrate.store import write_arrays
from optics.mask import FILE_ERRORS
from optics.whole_file import write_whole

# Far above any real calibration (a PSF of three 255 x 255 windows is 800 kB).
LARGEST_BYTES = 64 * 1024 * 1024


class ResultError(ValueError):
    """A kept calibration that cannot be used. The message names the file and the command that makes it anew."""


@dataclass(frozen=True, eq=False)
class Kept:
    """A calibration as it was kept. truth: the hidden parameters of its twin, None for real devices. made_at: date and
    time (ISO 8601, UTC)."""

    outcome: Outcome
    truth: Mapping[str, Any] | None
    made_at: str

    @property
    def simulated(self) -> bool:
        """Whether it was measured on a twin: by its truth, or because the device said so."""
        return self.truth is not None or self.outcome.result.get("simulated") is True


def save_outcome(
    outcome: Outcome, directory: Path, truth: Mapping[str, Any] | None = None, made_at: datetime | None = None
) -> None:
    """Write DIRECTORY/KIND.npz, then KIND.json, each whole or not at all; the document names the arrays' digest, so
    that a mixture of two runs is recognised. truth: of a twin. made_at: now, unless given. Raises OSError; ValueError
    for a result that JSON cannot hold."""
    directory.mkdir(parents=True, exist_ok=True)
    at = (made_at or datetime.now(UTC)).astimezone(UTC)
    document: dict[str, Any] = {
        "kind": outcome.kind,
        "passed": outcome.passed,
        "reason": outcome.reason,
        "result": outcome.result,
        "made_at": at.isoformat(timespec="seconds"),
        "arrays": arrays_digest(outcome.arrays),
    }
    if truth is not None:
        document["truth"] = dict(truth)
    text = json.dumps(document, allow_nan=False, indent=1) + "\n"
    write_arrays(directory / f"{outcome.kind}.npz", outcome.arrays)
    write_whole(directory / f"{outcome.kind}.json", text)


def load_outcome(directory: Path, kind: Kind) -> Kept:
    """What `save_outcome` wrote. Raises ResultError for files that are missing, damaged or do not belong together."""
    again = f"run `canopic calibrate {kind} --out {directory}` again"
    path = directory / f"{kind}.json"
    try:
        if path.stat().st_size > LARGEST_BYTES:
            raise ResultError(f"{path} is larger than any calibration: {again}")
        document = json.loads(path.read_text())
    except FileNotFoundError:
        raise ResultError(f"{path} is missing: run `canopic calibrate {kind} --out {directory}`") from None
    except (OSError, ValueError, RecursionError) as error:
        if isinstance(error, ResultError):
            raise
        raise ResultError(f"{path} cannot be read ({error}): {again}") from error
    outcome, truth, made_at = _checked(path, document, kind, again)
    arrays = _arrays(directory / f"{kind}.npz", again)
    if arrays_digest(arrays) != document.get("arrays"):
        raise ResultError(f"{path} and {kind}.npz beside it come from two different runs, or one is damaged: {again}")
    return Kept(Outcome(kind, outcome["passed"], outcome["reason"], outcome["result"], arrays), truth, made_at)


def kept_kinds(directory: Path) -> list[Kind]:
    """Calibrations that a directory has, in the order in which they are made."""
    return [kind for kind in KINDS if (directory / f"{kind}.json").exists()]


def array_digest(values: NDArray[Any]) -> str:
    """SHA-256 (hexadecimal) of an array's dtype, shape and content; equal on every machine."""
    little = np.ascontiguousarray(values, dtype=np.asarray(values).dtype.newbyteorder("<"))
    head = f"{little.dtype.str} {np.shape(values)}\n".encode()
    return hashlib.sha256(head + little.tobytes()).hexdigest()


def arrays_digest(arrays: Mapping[str, NDArray[Any]]) -> str:
    """SHA-256 (hexadecimal) over the names and digests of arrays, whatever their order."""
    lines = [f"{name} {array_digest(np.asarray(values))}\n" for name, values in sorted(arrays.items())]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _checked(path: Path, document: Any, kind: Kind, again: str) -> tuple[dict[str, Any], Mapping[str, Any] | None, str]:
    wanted = {"kind": str, "passed": bool, "reason": str, "result": dict, "made_at": str, "arrays": str}
    if not isinstance(document, dict):
        raise ResultError(f"{path} holds no calibration: {again}")
    for key, kind_of in wanted.items():
        if not isinstance(document.get(key), kind_of):
            raise ResultError(f"{path} holds no usable {key!r}: {again}")
    if document["kind"] != kind:
        raise ResultError(f"{path} holds a calibration of kind {document['kind']!r}, not {kind!r}: {again}")
    truth = document.get("truth")
    if truth is not None and not isinstance(truth, dict):
        raise ResultError(f"{path} holds no usable 'truth': {again}")
    try:
        at = datetime.fromisoformat(document["made_at"])
    except ValueError:
        at = datetime.min
    if at.tzinfo is None:
        raise ResultError(f"{path}: made_at {document['made_at']!r} is no date with a time zone: {again}")
    return document, truth, document["made_at"]


def _arrays(path: Path, again: str) -> dict[str, NDArray[Any]]:
    try:
        if path.stat().st_size > LARGEST_BYTES:
            raise ResultError(f"{path} is larger than any calibration: {again}")
        with np.load(path, allow_pickle=False) as kept:
            arrays = {name: np.asarray(kept[name]) for name in kept.files}
    except FileNotFoundError:
        raise ResultError(f"{path} is missing: {again}") from None
    except FILE_ERRORS as error:
        if isinstance(error, ResultError):
            raise
        raise ResultError(f"{path} is damaged ({type(error).__name__}): {again}") from error
    if wrong := [name for name, values in arrays.items() if values.dtype.kind not in "biuf"]:
        raise ResultError(f"{path}: array {wrong[0]!r} holds no numbers: {again}")
    return arrays
