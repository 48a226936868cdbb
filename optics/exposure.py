"""The exposure at which an encoding is used: a small, fixed share of the cells reads the highest code."""

import numpy as np
from numpy.typing import NDArray

# Share of cells (all channels together) at code 15 that exposure is steered to: bright, but hardly clipped.
SATURATED_SHARE_TARGET = 0.02
# What a sensor reaches, as exposure_us * gain / 10_000: 100 us at gain 1 to 33 ms at gain 16.
LOWEST_EXPOSURE = 0.01
HIGHEST_EXPOSURE = 52.8


def steady_exposure(
    pooled_at_unit: NDArray[np.float32],
    thresholds: NDArray[np.float32],
    share: float = SATURATED_SHARE_TARGET,
    limits: tuple[float, float] = (LOWEST_EXPOSURE, HIGHEST_EXPOSURE),
) -> float:
    """Factor on the light (exposure_us * gain / 10_000) at which `share` of the cells reads code 15.

    pooled_at_unit: cells at factor 1, float32 of any shape, range "fixed" and not clipped (convolution and maximum are
    linear in the light, so one frame tells what every other exposure would give). thresholds: float32 (15,), fractions
    of full scale. Where automatic exposure settles, and therefore what a detector has to be trained at.

    Returns the smallest factor that brings round(share * cells), at least one cell, to the highest threshold; within
    `limits`, so a dark frame gives the upper one. Ties between equally bright cells can make the share larger.
    Raises ValueError for no cells, cells that are not finite, or a share outside (0, 1].
    """
    cells = np.asarray(pooled_at_unit, dtype=np.float64).ravel()
    if cells.size == 0 or not np.isfinite(cells).all():
        raise ValueError("pooled_at_unit must hold at least one cell, all of them finite")
    if not 0 < share <= 1:
        raise ValueError(f"share must be in (0, 1], got {share}")
    low, high = limits
    if not 0 < low <= high:
        raise ValueError(f"limits must be positive and ascending, got {limits}")
    rank = max(1, round(share * cells.size))
    brightest = float(np.partition(cells, cells.size - rank)[cells.size - rank])
    highest_threshold = float(np.asarray(thresholds)[-1])
    if brightest <= 0:
        return high
    factor = highest_threshold / brightest
    # A cell on the threshold must not fall below it by rounding once cells and factor are multiplied as float32.
    return float(min(max(factor * (1 + 2.0**-22), low), high))
