"""A mask on a modulator: its phase is shown before anything is measured, and again after the panel was off."""

import math
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import numpy as np
from numpy.typing import NDArray

from host.board.deadline import Deadline
from host.board.errors import DeadlineExceeded
from host.capture import Identity
from host.causes import Cause
from host.config import Config
from host.mask.display import Display, open_display
from host.mask.errors import SlmError, SlmUnsuitable
from host.mask.interlock import slm_cause
from host.mask.slm import Slm
from optics.bundle import Attachment, Bundle
from optics.materials import Material, refractive_index

SHOW_S = 15.0


class ShownMask:
    """The interlock of a modulator (host.causes.Interlock): no measurement without the mask's phase on the panel."""

    def __init__(self, slm: Slm, phase_rad: NDArray[np.float64]) -> None:
        """phase_rad: float64 of the panel's (rows, columns)."""
        self._slm, self._phase_rad = slm, phase_rad
        self._shown = False

    def __call__(self, _identity: Identity | None) -> Cause | None:
        """Why the modulator blinds the sensor; shows the mask where the panel has come back."""
        cause = slm_cause(self._slm)
        if cause is not None:
            self._shown = False  # a panel that was off has forgotten its image
            return cause
        if not self._shown:
            try:
                self._slm.show(self._phase_rad, Deadline(SHOW_S, "showing the mask on the modulator"))
            except SlmError as error:
                return Cause(error.name, str(error), error.latched)
            except DeadlineExceeded as error:
                return Cause("slm_unsettled", str(error), False)
            self._shown = True
        return None


def phase_on(mask: Attachment, shape: tuple[int, int]) -> NDArray[np.float64]:
    """Phase of a bundle's mask in the middle of a panel of `shape` (rows, columns): float64, radians, 0 around it.

    2 pi (n - 1) height / wavelength, at the green wavelength of the mask's geometry; a cell of the mask is a pixel of
    the panel. Raises SlmUnsuitable for a mask that is larger than the panel, or that the bundle does not describe.
    """
    try:
        height_m = np.asarray(mask.arrays["height_m"], dtype=np.float64)
        wavelength_m = float(mask.document["geometry"]["wavelengths_m"][1])
        said: dict[str, Any] = dict(mask.document["material"])
        for name in ("coefficients", "range_um"):
            said[name] = tuple(said[name])
        material = Material(**said)
        index = refractive_index(material, wavelength_m)
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise SlmUnsuitable(f"the bundle does not say what mask to show ({error}): seal it with --mask FILE") from error
    rows, columns = height_m.shape
    if rows > shape[0] or columns > shape[1]:
        raise SlmUnsuitable(
            f"the bundle's mask has {rows} x {columns} cells, the panel {shape[0]} x {shape[1]} pixels, and a cell is "
            "shown by a pixel: design the mask with the panel's pitch (`canopic optics design`)"
        )
    phase = np.zeros(shape)
    top, left = (shape[0] - rows) // 2, (shape[1] - columns) // 2
    phase[top : top + rows, left : left + columns] = 2 * math.pi * (index - 1) * height_m / wavelength_m
    return phase


def open_shown_mask(
    config: Config, bundle: Bundle, stack: ExitStack, load: Callable[[str], Display] = open_display
) -> ShownMask | Cause | None:
    """The modulator of a configuration, closed with `stack`; None where the mask is printed, or nothing optical is
    there (path twin, a simulated camera). A cause where it cannot be had, or the bundle holds no mask to show.

    Where they are sealed, phases go through the table that `canopic calibrate slm` found, less the panel's own pattern.
    """
    simulated = config.capture.path == "twin" or (
        config.capture.path in ("camera", "loop") and config.camera.device == "twin"
    )
    if config.mask.kind != "slm" or simulated:
        return None
    try:
        if bundle.mask is None:
            raise SlmUnsuitable("the bundle holds no mask to show on the modulator: seal it with --mask FILE")
        display = load(config.mask.slm_display)
        sealed = {} if bundle.calibration is None else bundle.calibration.arrays
        shape = (display.rows, display.columns)
        own = sealed.get("slm.fixed_pattern_rad")
        correction = None if own is None or own.shape != shape else -own
        slm = Slm(display, sealed.get("slm.lut"), correction, config.mask.slm_settle_ms / 1000)
        stack.callback(slm.close)
        return ShownMask(slm, phase_on(bundle.mask, shape))
    except SlmError as error:
        return Cause(error.name, str(error), True, "`canopic doctor` lists the video outputs")
