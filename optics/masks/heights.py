"""A mask from a height map of one's own, and the small steps on heights that every builder needs."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from optics.mask import Geometry, Mask, MaskError, Surface
from optics.materials import FUSED_SILICA, Material, refractive_index

Array = NDArray[np.float64]


def height_map_mask(
    heights_m: ArrayLike,
    pitch_m: float,
    geometry: Geometry | None = None,
    material: Material = FUSED_SILICA,
    stop: ArrayLike | None = None,
    surface: Surface = "stepped",
    about: dict[str, Any] | None = None,
) -> Mask:
    """A mask from any height map: float (rows, columns), metres, negative heights allowed.

    The lowest point inside the stop becomes 0, and what lies outside the stop is 0, because no light passes there.
    stop: amplitude in [0, 1], same shape; None: the largest circle. Raises MaskError.
    """
    heights = np.array(heights_m, dtype=np.float64)
    if heights.ndim != 2 or 0 in heights.shape:
        raise MaskError(f"heights_m must be an array of (rows, columns), got shape {heights.shape}")
    if not np.isfinite(heights).all():
        missing = int((~np.isfinite(heights)).sum())
        raise MaskError(f"heights_m has {missing} values that are no numbers: fill them, with 0 if they are outside")
    flat = Mask(
        np.zeros_like(heights),
        pitch_m,
        material,
        geometry if geometry is not None else Geometry(),
        None if stop is None else np.asarray(stop, dtype=np.float64),  # type: ignore[arg-type]  # None: filled by Mask
    )
    inside = flat.stop > 0
    heights = np.where(inside, heights - heights[inside].min(), 0.0)
    made = {"made_by": "height_map", **(about or {})}
    return Mask(heights, pitch_m, material, flat.geometry, flat.stop, flat.transmission, surface, made)


def picture_heights(picture: ArrayLike, highest_m: float, lowest_m: float = 0.0) -> Array:
    """Heights from the grey values of a picture: float64 (rows, columns), metres.

    picture: uint8 or uint16 (rows, columns); 0 is lowest_m and the largest number of its type (255 or 65535) is
    highest_m. Raises MaskError for colour pictures and other types, whose scale cannot be known.
    """
    grey = np.asarray(picture)
    if grey.dtype not in (np.uint8, np.uint16):
        raise MaskError(f"a height picture has 8 or 16 bits (uint8, uint16), got {grey.dtype}: give heights_m instead")
    if grey.ndim != 2:
        raise MaskError(f"a height picture has one grey value for each cell, got shape {grey.shape}: keep one channel")
    if not (np.isfinite([highest_m, lowest_m]).all() and highest_m > lowest_m):
        raise MaskError(f"highest_m must lie above lowest_m, got {highest_m!r} and {lowest_m!r}")
    return np.asarray(lowest_m + grey * ((highest_m - lowest_m) / np.iinfo(grey.dtype).max), dtype=np.float64)


def wave_height_m(material: Material, wavelength_m: float) -> float:
    """Height of material that delays light by one wave against air: wavelength / (n - 1), metres.

    Raises ValueError where the material is not described.
    """
    return wavelength_m / (refractive_index(material, wavelength_m) - 1)


def wrap_heights(heights_m: ArrayLike, wave_m: float, waves: int = 1, levels: int | None = None) -> Array:
    """Heights modulo `waves` times `wave_m`; with `levels`, rounded to as many even steps: float64, same shape.

    A level is k / levels of the range, k = 0 ... levels - 1, so that the step after the last is the first again.
    Raises MaskError.
    """
    if waves < 1 or (levels is not None and levels < 2):
        raise MaskError(f"waves must be at least 1 and levels at least 2, got {waves!r} and {levels!r}")
    span_m = waves * wave_m
    wrapped = np.mod(np.asarray(heights_m, dtype=np.float64), span_m)
    if levels is None:
        return np.asarray(wrapped)
    return np.asarray(np.mod(np.rint(wrapped / span_m * levels), levels) * (span_m / levels))
