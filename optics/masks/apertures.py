"""A coded aperture: a pattern of open and closed features, and how a record of it is decoded."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from optics.mask import Geometry, Mask, MaskError
from optics.materials import FUSED_SILICA, Material


def aperture_mask(
    pattern: ArrayLike,
    feature_cells: int = 1,
    pitch_m: float = 2e-6,
    geometry: Geometry | None = None,
    tiles: int = 1,
    material: Material = FUSED_SILICA,
    about: dict[str, Any] | None = None,
) -> Mask:
    """A flat plate that passes light through a pattern: 0 closed to 1 open (amplitude), (rows, columns).

    Each feature is a square of feature_cells x feature_cells cells of pitch_m. tiles: how often the pattern repeats
    along each direction; 2 shows every cyclic shift of it to the sensor. The stop is the whole square, so that the
    throughput counts from the light on the plate. `about` gets the Fresnel number feature^2 / (wavelength distance)
    in the middle colour: well below 1, diffraction, not the shadow, makes the PSF. Raises MaskError.
    """
    values = np.asarray(pattern, dtype=np.float64)
    if values.ndim != 2 or values.size == 0 or not np.isfinite(values).all() or values.min() < 0 or values.max() > 1:
        raise MaskError("pattern must be (rows, columns) of amplitudes from 0 (closed) to 1 (open)")
    for name, count in (("feature_cells", feature_cells), ("tiles", tiles)):
        if isinstance(count, bool) or not isinstance(count, int | np.integer) or count < 1:
            raise MaskError(f"{name} must be a whole number, at least 1, got {count!r}")
    cells = np.repeat(np.repeat(np.tile(values, (tiles, tiles)), feature_cells, axis=0), feature_cells, axis=1)
    geometry = geometry if geometry is not None else Geometry()
    feature_m = feature_cells * pitch_m
    made = {
        "made_by": "aperture",
        "feature_m": feature_m,
        "tiles": tiles,
        "fresnel_number": feature_m**2 / (geometry.wavelengths_m[1] * geometry.sensor_distance_m),
        **(about or {}),
    }
    return Mask(np.zeros(cells.shape), pitch_m, material, geometry, np.ones(cells.shape), cells, "stepped", made)


def cyclic_correlation(pattern: ArrayLike, decoder: ArrayLike) -> NDArray[np.float64]:
    """Sum over the pattern of pattern times shifted decoder, for every cyclic shift: float64, same shape.

    Element [k, l] is the sum of pattern[i, j] decoder[i + k, j + l], indices modulo the size: what a decoder makes
    of a single point. Raises MaskError for different shapes.
    """
    first, second = np.asarray(pattern, np.float64), np.asarray(decoder, np.float64)
    if first.shape != second.shape or first.ndim != 2:
        raise MaskError(f"pattern and decoder must have one shape (rows, columns), got {first.shape}, {second.shape}")
    spectrum = np.conj(np.fft.fft2(first)) * np.fft.fft2(second)
    return np.asarray(np.fft.ifft2(spectrum).real)
