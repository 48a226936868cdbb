"""A diffuser: a random smooth surface of given roughness and grain, as in lensless cameras behind a diffuser."""

import numpy as np
import scipy.fft

from optics.mask import Geometry, Mask, MaskError, circular_stop
from optics.masks.heights import height_map_mask
from optics.materials import FUSED_SILICA, Material


def diffuser_mask(
    rms_height_m: float,
    correlation_m: float,
    rng: np.random.Generator,
    cells: int = 255,
    pitch_m: float = 2e-6,
    geometry: Geometry | None = None,
    material: Material = FUSED_SILICA,
) -> Mask:
    """A Gaussian random surface on cells x cells, behind the largest circular stop.

    Heights at two points a distance r apart correlate as exp(-(r / correlation_m)^2); their root mean square around
    the mean is rms_height_m, exactly, inside the stop. The rms slope along one direction is
    sqrt(2) rms_height_m / correlation_m, and light leaves at (n - 1) times that. Used as in DiffuserCam (Antipa et al.,
    Optica 5, 1 (2018), doi:10.1364/OPTICA.5.000001). The same rng state gives the same surface. Raises MaskError for a
    grain that the cells do not resolve, or of which the stop holds too few.
    """
    if not (np.isfinite(rms_height_m) and rms_height_m > 0):
        raise MaskError(f"rms_height_m must be a positive number of metres, got {rms_height_m!r}")
    width_m = cells * pitch_m
    if not 2 * pitch_m <= correlation_m <= width_m / 4:
        raise MaskError(
            "correlation_m must lie between two cells and a quarter of the mask "
            f"({2 * pitch_m:g} to {width_m / 4:g} m), got {correlation_m!r}"
        )
    # Made on twice the side and cut, because the surface repeats at the end of its grid.
    side = scipy.fft.next_fast_len(2 * cells)
    frequency = np.fft.fftfreq(side, pitch_m)
    squared = frequency[:, np.newaxis] ** 2 + frequency**2
    # A filter of exp(-2 (r / correlation)^2) has the wanted function as its autocorrelation.
    filtered = scipy.fft.fft2(rng.standard_normal((side, side))) * np.exp(-squared * (np.pi * correlation_m) ** 2 / 2)
    heights = scipy.fft.ifft2(filtered).real[:cells, :cells]
    stop = circular_stop((cells, cells), pitch_m)
    inside = heights[stop > 0]
    heights = (heights - inside.mean()) * (rms_height_m / inside.std())
    about = {"made_by": "diffuser", "rms_height_m": rms_height_m, "correlation_m": correlation_m}
    return height_map_mask(heights, pitch_m, geometry, material, stop, "smooth", about)
