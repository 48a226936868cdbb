"""The phase image that makes a modulator delay light as a mask does."""

import numpy as np
from numpy.typing import NDArray

from host.mask.errors import SlmUnsuitable
from optics.mask import Mask
from optics.materials import refractive_index


def phase_of_mask(mask: Mask, rows: int, columns: int, wavelength_m: float | None = None) -> NDArray[np.float64]:
    """Phases, float64 (rows, columns) in radians, one cell of the mask to a pixel, in the middle; around it 0.

    The mask has to be made for the display's pitch (`canopic optics export --format slm` says how well one that is not
    fits). wavelength_m: for which it is right, by default the mask's green. phase = 2 pi (n - 1) height / wavelength.
    Raises SlmUnsuitable for a mask that is larger than the display.
    """
    wavelength_m = mask.geometry.wavelengths_m[1] if wavelength_m is None else wavelength_m
    height_rows, height_columns = mask.height_m.shape
    if height_rows > rows or height_columns > columns:
        raise SlmUnsuitable(
            f"the mask has {mask.height_m.shape} cells, the modulator {(rows, columns)} pixels: "
            "design it for this display"
        )
    phase = np.zeros((rows, columns))
    top, left = (rows - height_rows) // 2, (columns - height_columns) // 2
    per_metre = 2 * np.pi * (refractive_index(mask.material, wavelength_m) - 1) / wavelength_m
    phase[top : top + height_rows, left : left + height_columns] = mask.height_m * per_metre
    return phase
