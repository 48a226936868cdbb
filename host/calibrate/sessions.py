"""Where a calibration's steps are acquired in this process: a rig that is already there, and its errors in words."""

import importlib
from collections.abc import Callable
from typing import Any

from host.board.errors import BoardError
from host.calibrate.procedure import Procedure, Step, StepData
from host.calibrate.run import SessionError
from host.camera.errors import CameraError

Acquire = Callable[[Any, Step, dict[str, StepData]], StepData]


class RigSession:
    """Steps acquired with `rig` by this very process: a board (it gives no frames), or a twin's bench in a test.

    A real camera's frames stay in the boundary process: host.boundary.client.BoundarySession is for it.
    """

    def __init__(self, procedure: Procedure, rig: Any, device: str) -> None:
        self._acquire = acquisition(procedure.acquire)
        self._rig = rig
        self.device = device

    def acquire(self, step: Step, before: dict[str, StepData]) -> StepData:
        """One step; the bench is arranged for it first. Raises SessionError for what a device says."""
        try:
            self._rig.arrange(step.setup)
            return self._acquire(self._rig, step, before)
        except CameraError as error:
            raise SessionError(str(error), error.name) from error
        except BoardError as error:
            raise SessionError(str(error), getattr(error, "name", "") or "board_error") from error


def acquisition(name: str) -> Acquire:
    """The function that "module:function" names. Raises ValueError where it is none of this project's acquisitions."""
    module, colon, function = name.partition(":")
    if not colon or not module.startswith(("host.boundary.acquire_", "host.calibrate.acquire_")):
        raise ValueError(f"{name!r} names no acquisition; expected host.boundary.acquire_KIND:FUNCTION")
    found: Acquire = getattr(importlib.import_module(module), function)
    return found
