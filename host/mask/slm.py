"""The driver of a phase modulator: a phase image through correction and table to grey levels, shown and settled."""

import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from host.board.deadline import Deadline
from host.mask.display import Display, Levels
from host.mask.errors import SlmError, SlmOff, SlmUnsuitable

LEVELS = 256
# Grey level for each of 256 phases from 0 to 2 pi of a panel that was never calibrated.
LINEAR_LUT: NDArray[np.uint8] = np.arange(LEVELS, dtype=np.uint8)


class Slm:
    """A modulator. Shows nothing before it is told to, and raises SlmOff rather than believe an unplugged panel.

    lut: uint8 (256,), the grey level for the phase k / 256 of a turn, as `canopic calibrate slm` finds it; None:
    linear. correction_rad: float (rows, columns), added to each phase: what the panel's own curvature lacks (minus its
    fixed pattern); None: nothing. settle_s: from a new image to standing phases. sleep: how a wait without a camera
    passes.
    """

    def __init__(
        self,
        display: Display,
        lut: ArrayLike | None = None,
        correction_rad: ArrayLike | None = None,
        settle_s: float = 0.1,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        table = LINEAR_LUT if lut is None else np.asarray(lut)
        if table.shape != (LEVELS,) or table.dtype.kind not in "iuf" or not ((table >= 0) & (table < LEVELS)).all():
            raise SlmUnsuitable(f"a table has {LEVELS} grey levels from 0 to 255, got {table.dtype} {table.shape}")
        shape = (display.rows, display.columns)
        correction = np.zeros(shape) if correction_rad is None else np.asarray(correction_rad, dtype=np.float64)
        if correction.shape != shape or not np.isfinite(correction).all():
            raise SlmUnsuitable(
                f"a correction has a finite phase for each of the {shape} pixels, got {correction.shape}"
            )
        if not settle_s >= 0:
            raise SlmUnsuitable(f"a settle time is 0 or more seconds, got {settle_s}")
        self.display = display
        self.settle_s = float(settle_s)
        self._lut: NDArray[np.uint8] = np.rint(table).astype(np.uint8)
        self._correction = correction
        self._sleep = sleep
        self._ready_s = -np.inf

    def __enter__(self) -> Self:
        self.check()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns) of the panel."""
        return self.display.rows, self.display.columns

    @property
    def ready_s(self) -> float:
        """From when on the last image stands, on the clock of the camera's time stamps; -inf before the first."""
        return self._ready_s

    def check(self) -> None:
        """Raise SlmOff where the panel is unplugged or off."""
        if self.display.status() == "off":
            raise SlmOff(
                f"the modulator on {self.display.name} is off or unplugged: switch it on and check its video cable; "
                "`canopic doctor` lists the video outputs"
            )

    def levels_of(self, phase_rad: ArrayLike) -> Levels:
        """Grey levels for phases, float (rows, columns) in radians: corrected, wrapped, through the table: uint8."""
        phase = np.asarray(phase_rad, dtype=np.float64)
        if phase.shape != self.shape:
            raise SlmUnsuitable(
                f"the phase has {phase.shape} pixels, the modulator on {self.display.name} {self.shape}: a mask for "
                "this display comes from `canopic optics export --format slm`"
            )
        if not np.isfinite(phase).all():
            raise SlmUnsuitable("phases must be finite: give 0 to the pixels that do not matter")
        turns = (phase + self._correction) / (2 * np.pi)
        # 2 pi is 0 again: the last of 256 steps wraps to the first.
        return np.asarray(self._lut[np.rint(np.mod(turns, 1) * LEVELS).astype(np.int64) % LEVELS])

    def show(self, phase_rad: ArrayLike, deadline: Deadline, advance: Callable[[], float] | None = None) -> float:
        """Show a phase image and return once it stands; gives `ready_s`: captures that begin then or later see it.

        advance: captures and discards one frame, and gives its start (Exposed.time_s): the wait is then counted in
        frames of the camera's own clock. None: the wait is slept. Raises SlmOff, SlmUnsuitable, DeadlineExceeded.
        """
        self.write(self.levels_of(phase_rad))
        self.await_settled(deadline, advance)
        return self._ready_s

    def write(self, levels: Levels) -> float:
        """Show grey levels as they are, uint8 (rows, columns), without waiting. Returns when they were written, on the
        clock of the camera's time stamps. Raises SlmOff, SlmUnsuitable."""
        if levels.shape != self.shape or levels.dtype != np.uint8:
            raise SlmUnsuitable(f"grey levels must be uint8 {self.shape}, got {levels.dtype} {levels.shape}")
        self.check()
        try:
            self.display.put(levels)
        except OSError as error:
            raise SlmError(f"the modulator on {self.display.name} cannot be written: {error}") from error
        # Pulled out while it was written: then the image may not be there.
        self.check()
        written_s = self.display.now_s()
        self._ready_s = written_s + self.settle_s
        return written_s

    def await_settled(self, deadline: Deadline, advance: Callable[[], float] | None = None) -> None:
        """Return once captures that begin now see the last image. Arguments and errors as in `show`."""
        if advance is None:
            while (left_s := self._ready_s - self.display.now_s()) > 0:
                deadline.check("the modulator's image is not settled yet")
                self._sleep(deadline.at_most_s(left_s))
            return
        while advance() < self._ready_s:
            deadline.check("the modulator's image is not settled yet")

    def close(self) -> None:
        """Give the display back. What it shows stays: the mask outlives the program that showed it."""
        self.display.close()
