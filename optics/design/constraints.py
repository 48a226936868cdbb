"""Whether a height map keeps what fabrication asks for: range, levels, smallest feature. Looks at the map alone."""

import numpy as np
import scipy.ndimage
from numpy.typing import NDArray

# Heights are float64 metres: this is a tenth of an atom's width, far above rounding.
TOLERANCE_M = 1e-11


def violations(
    height_m: NDArray[np.float64],
    height_range_m: float,
    heights_m: NDArray[np.float64] | None = None,
    feature_cells: int = 1,
) -> list[str]:
    """What is wrong with height_m, float64 (rows, columns), in words; empty if nothing is.

    height_range_m: largest allowed height in metres; heights_m: the allowed ones, ascending, or None for any.
    feature_cells: no land and no gap of any level may be narrower than this many cells: see `smallest_feature`.
    """
    wrong = []
    if height_m.min() < -TOLERANCE_M or height_m.max() > height_range_m + TOLERANCE_M:
        wrong.append(
            f"heights reach from {height_m.min():.4g} to {height_m.max():.4g} m, allowed is 0 to {height_range_m:.4g} m"
        )
    if heights_m is not None:
        distance = np.abs(height_m[..., np.newaxis] - heights_m).min(axis=-1)
        if (distance > TOLERANCE_M).any():
            wrong.append(
                f"{np.count_nonzero(distance > TOLERANCE_M)} cells lie on none of the {heights_m.size} allowed "
                f"heights, the worst {distance.max():.3g} m away"
            )
    if feature_cells > 1 and not keeps_feature(height_m, feature_cells):
        wrong.append(f"a land or gap is {smallest_feature(height_m, feature_cells)} cells wide, not {feature_cells}")
    return wrong


def keeps_feature(height_m: NDArray[np.float64], side: int) -> bool:
    """Whether each cell belongs to a square of side x side cells that are all at least as high, and to one of which
    all are at most as high: then no land or gap of any level is narrower than `side`.

    These are the grey-scale opening and closing by the square (J. Serra, "Image Analysis and Mathematical Morphology",
    1982); a map that both leave alone passes. Beyond its edge the map continues with its outermost cells.
    """
    wider = np.pad(height_m, side, mode="edge")
    inside = (slice(side, -side), slice(side, -side))
    return all(
        (np.abs(kept(wider, size=(side, side), mode="nearest") - wider)[inside] <= TOLERANCE_M).all()
        for kept in (scipy.ndimage.grey_opening, scipy.ndimage.grey_closing)
    )


def smallest_feature(height_m: NDArray[np.float64], most: int = 16) -> int:
    """The largest side, up to `most` cells, for which `keeps_feature` holds."""
    side = 1
    while side < most and keeps_feature(height_m, side + 1):
        side += 1
    return side
