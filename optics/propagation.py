"""Light on its way from one plane to the next: transfer functions of free space, and their application."""

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from optics.grid import Grid

Complex = NDArray[np.complex128]


def transfer_function(grid: Grid, wavelength_m: float, distance_m: float) -> Complex:
    """Band-limited angular spectrum: complex128 (rows, columns) in the order of `scipy.fft`.

    Free space over `distance_m` (metres, either sign) for a field on `grid`. Frequencies beyond the limit of Matsushima
    and Shimobaba, "Band-Limited Angular Spectrum Method for Numerical Simulation of Free-Space Propagation in Far and
    Near Fields", Opt. Express 17, 19662 (2009), doi:10.1364/OE.17.019662, equation 20, and evanescent waves are zero.
    """
    squared = 1 / wavelength_m**2 - grid.fx_per_m**2 - grid.fy_per_m**2
    # Taken from the axial wave, so that the phase keeps its digits over long distances.
    along = np.sqrt(np.maximum(squared, 0)) - 1 / wavelength_m
    inside = squared > 0
    for frequency, count in ((grid.fx_per_m, grid.columns), (grid.fy_per_m, grid.rows)):
        limit = 1 / (wavelength_m * np.hypot(2 * distance_m / (count * grid.pitch_m), 1))
        inside = inside & (np.abs(frequency) <= limit)
    return np.where(inside, np.exp(2j * np.pi * along * distance_m), 0)


def apply_transfer(field: Complex, transfer: Complex, threads: int = 2) -> Complex:
    """The field behind the space that `transfer` describes: both complex (rows, columns), same grid."""
    spectrum = scipy.fft.fft2(field, workers=threads)
    spectrum *= transfer
    return np.asarray(scipy.fft.ifft2(spectrum, overwrite_x=True, workers=threads))
