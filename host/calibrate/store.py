"""A calibration's working directory: each finished step, so that an interrupted run goes on where it stopped."""

import hashlib
import json
import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from host.calibrate.procedure import Procedure, StepData
from optics.archive import ZIP_ERRORS
from optics.whole_file import whole_file, write_whole

RUN = "run.json"
DAMAGED = (*ZIP_ERRORS, ValueError, KeyError, EOFError, OSError, zipfile.BadZipFile)


class StepStore:
    """Steps of one run under DIRECTORY/steps. What was acquired with other options, or on another device, is not taken
    up again; what is damaged is acquired anew."""

    def __init__(self, directory: Path, procedure: Procedure, device: str) -> None:
        """Make the directory, or take up what is in it. `device`: what it is acquired with. Raises OSError."""
        self.directory = directory / "steps"
        self._key = run_key(procedure, device)
        self._make()
        run = self.directory / RUN
        try:
            kept = json.loads(run.read_text()).get("key")
        except (OSError, ValueError, AttributeError):
            kept = None
        if kept != self._key:
            self.forget()
            self._make()
            write_whole(run, json.dumps({"key": self._key, "kind": procedure.kind, "device": device}).encode())

    def _make(self) -> None:
        # For this user alone: difference pictures of a point source may show what it lit, too.
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.directory.chmod(0o700)

    def load(self, name: str) -> StepData | None:
        """The data of a finished step, None where it has to be acquired."""
        path = self._path(name)
        if not path.exists():
            return None
        try:
            with np.load(path, allow_pickle=False) as kept:
                return {key: kept[key] for key in kept.files}
        except DAMAGED:
            path.unlink(missing_ok=True)
            return None

    def keep(self, name: str, data: StepData) -> None:
        """Store a finished step, whole or not at all. Raises OSError."""
        write_arrays(self._path(name), data)

    def forget(self) -> None:
        """Remove every step: the next run starts afresh."""
        shutil.rmtree(self.directory, ignore_errors=True)

    def _path(self, name: str) -> Path:
        return self.directory / f"{name}.npz"


def run_key(procedure: Procedure, device: str) -> str:
    """Digest of all that has to be the same for a run to be taken up again."""
    steps = [(step.name, dict(step.settings), step.setup.__repr__()) for step in procedure.steps]
    content = json.dumps([procedure.kind, dict(procedure.options), steps, device], sort_keys=True, default=str)
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write an .npz, whole or not at all. Raises OSError."""
    with whole_file(path) as partial, partial.open("wb") as file:
        named: dict[str, Any] = {name: np.asarray(value) for name, value in arrays.items()}
        np.savez(file, **named)
