"""A mask on a modulator while the sensor runs: shown at the start, watched, and shown anew after the panel was off."""

import numpy as np
from numpy.typing import ArrayLike

from host.causes import Cause
from host.mask.errors import SlmError
from host.mask.slm import Slm


class ShownMask:
    """A phase image that has to stand on the panel for measurements to be right.

    phase_rad: float (rows, columns) of the panel. check_s: how often the panel is asked; in between the last answer
    holds, so that `cause` may be called for every frame.
    """

    def __init__(self, slm: Slm, phase_rad: ArrayLike, check_s: float = 1.0) -> None:
        """Nothing is shown yet. Raises SlmUnsuitable for a phase that the panel cannot show."""
        self._slm = slm
        self._levels = slm.levels_of(phase_rad)
        self._check_s = check_s
        self._asked_s = -np.inf
        self._stands = False

    def cause(self) -> Cause | None:
        """Why the modulator blinds the sensor now, None where its mask stands. Shows the image where it does not stand
        (at the start, and after the panel was off), and is a cause until it has settled."""
        now_s = self._slm.display.now_s()
        try:
            if not self._stands:
                self._slm.write(self._levels)
                self._stands, self._asked_s = True, now_s
            elif now_s >= self._asked_s + self._check_s:
                self._asked_s = now_s
                self._slm.check()
        except SlmError as error:
            self._stands = False
            return Cause(error.name, str(error), error.latched, "switch the modulator on")
        if now_s < self._slm.ready_s:
            return Cause("slm_settling", "the modulator's image is not settled yet", False)
        return None
