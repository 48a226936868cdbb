"""Where the one PSF stops being true: over the distance of the scene, and over the angle to the axis."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from optics.mask import Mask
from optics.materials import REFERENCE_CELSIUS
from optics.metrics import aligned_correlation, per_colour_correlation
from optics.psf import psf

HELD = 0.9


@dataclass(frozen=True, eq=False)
class FieldDependence:
    """How a PSF changes over the field of view.

    angles_rad: float64 (n,), ascending, 0 first. correlation: float64 (n, 3), with the PSF on the axis, by colour.
    drift_px: float64 (n, 2), (rows, columns) by which the pattern lies beside the chief ray. throughput:
    float64 (n, 3). holds_to_rad: float64 (3,), largest angle up to which the correlation stays at `held` (straight
    lines between the angles looked at); inf where it never fell below.
    """

    angles_rad: NDArray[np.float64]
    correlation: NDArray[np.float64]
    drift_px: NDArray[np.float64]
    throughput: NDArray[np.float64]
    held: float
    holds_to_rad: NDArray[np.float64]

    def summary(self) -> dict[str, Any]:
        """For JSON and for people: degrees, and null where the PSF held over all angles looked at."""
        return {
            "angles_deg": [round(math.degrees(angle), 4) for angle in self.angles_rad],
            "correlation_with_axis": [[round(float(value), 5) for value in row] for row in self.correlation],
            "drift_px": [[round(float(value), 3) for value in row] for row in self.drift_px],
            "throughput": [[round(float(value), 6) for value in row] for row in self.throughput],
            "held_at_correlation": self.held,
            "holds_to_deg": [
                None if math.isinf(angle) else round(math.degrees(angle), 3) for angle in self.holds_to_rad
            ],
        }


def depth_scan(mask: Mask, distances_m: Sequence[float], celsius: float = REFERENCE_CELSIUS) -> NDArray[np.float32]:
    """PSF for points of light at these distances in front of the mask: float32 (distances, 3, rows, columns).

    distances_m: metres, positive, infinity allowed. Raises what `psf` raises, MaskError for a distance that is none.
    """
    return np.stack([psf(mask, celsius, source_distance_m=float(distance_m)) for distance_m in distances_m])


def field_dependence(
    mask: Mask,
    angles_rad: Sequence[float],
    azimuth_rad: float = 0.0,
    held: float = HELD,
    celsius: float = REFERENCE_CELSIUS,
) -> FieldDependence:
    """How far the PSF on the axis holds off the axis: a convolution with one kernel is right only there.

    angles_rad: to the axis, of the light through the middle of the mask, in [0, 80 degrees). azimuth_rad: in which
    direction, from x (to the right) towards y (downwards). The window follows the chief ray, so the mere shift of the
    picture does not count; what counts is that the pattern changes its shape. Raises ValueError for angles that do not
    ascend from 0 or above, or a `held` outside (0, 1), and what `psf` raises.
    """
    angles = [float(angle) for angle in angles_rad]
    if not angles or angles[0] < 0 or not all(low < high for low, high in pairwise(angles)):
        raise ValueError(f"angles_rad must ascend from 0 or above, got {angles}")
    if not 0 < held < 1:
        raise ValueError(f"held is a correlation between 0 and 1, got {held}")
    if angles[0] > 0:
        angles.insert(0, 0.0)
    axis = psf(mask, celsius)
    correlation, drift, light = [], [], []
    for angle in angles:
        away = math.tan(angle)
        seen = psf(
            mask,
            celsius,
            angle_x_rad=math.atan(away * math.cos(azimuth_rad)),
            angle_y_rad=math.atan(away * math.sin(azimuth_rad)),
        )
        correlation.append(per_colour_correlation(axis, seen))
        drift.append(aligned_correlation(axis, seen)[1])
        light.append(seen.sum(axis=(1, 2), dtype=np.float64))
    found = np.array(correlation)
    return FieldDependence(
        np.array(angles),
        found,
        np.array(drift),
        np.array(light),
        held,
        np.array([_crossing(np.array(angles), found[:, colour], held) for colour in range(found.shape[1])]),
    )


def _crossing(angles: NDArray[np.float64], correlation: NDArray[np.float64], held: float) -> float:
    """Where the correlation first falls below `held`, on the straight line between two angles; inf if it never does."""
    below = np.flatnonzero(correlation < held)
    if not below.size:
        return math.inf
    last = int(below[0])  # at least 1: the PSF on the axis correlates with itself
    before, after = correlation[last - 1], correlation[last]
    return float(angles[last - 1] + (angles[last] - angles[last - 1]) * (before - held) / (before - after))
