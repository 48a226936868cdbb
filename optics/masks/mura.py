"""Modified uniformly redundant arrays: a coded aperture half open, whose decoder gives back a point exactly.

Source: S. R. Gottesman and E. E. Fenimore, "New family of binary arrays for coded aperture imaging", Appl. Opt. 28,
4344 (1989), doi:10.1364/AO.28.004344, equations 13 and 14.
"""

import math

import numpy as np
from numpy.typing import NDArray

from optics.mask import Geometry, Mask, MaskError
from optics.masks.apertures import aperture_mask
from optics.materials import FUSED_SILICA, Material


def mura_pattern(side: int) -> NDArray[np.float64]:
    """The square MURA of an odd prime side: float64 (side, side), 0 closed, 1 open, (side^2 - 1) / 2 open.

    Raises MaskError, naming the nearest sides that would do.
    """
    if isinstance(side, bool) or not isinstance(side, int | np.integer) or not _is_odd_prime(int(side)):
        near = [number for number in range(3, max(int(side), 3) + 40) if _is_odd_prime(number)]
        near.sort(key=lambda number: (abs(number - side), number))
        raise MaskError(f"a MURA's side is an odd prime, got {side!r}: choose {near[0]} or {near[1]}")
    residue = np.full(side, -1)
    residue[np.arange(1, side) ** 2 % side] = 1
    pattern: NDArray[np.float64] = (residue[:, np.newaxis] == residue).astype(np.float64)
    pattern[:, 0] = 1
    pattern[0, :] = 0
    return pattern


def mura_decoder(side: int) -> NDArray[np.float64]:
    """The decoder: float64 (side, side) of +1 and -1.

    Cyclic correlation of the pattern with it is (side^2 - 1) / 2 at no shift and 0 at every other. Raises MaskError.
    """
    decoder = 2 * mura_pattern(side) - 1
    decoder[0, 0] = 1
    return decoder


def mura_mask(
    side: int,
    feature_cells: int = 1,
    pitch_m: float = 2e-6,
    geometry: Geometry | None = None,
    tiles: int = 1,
    material: Material = FUSED_SILICA,
) -> Mask:
    """A MURA of side x side features of feature_cells x feature_cells cells: see `aperture_mask`. Raises MaskError."""
    about = {"made_by": "mura", "side": int(side)}
    return aperture_mask(mura_pattern(side), feature_cells, pitch_m, geometry, tiles, material, about)


def _is_odd_prime(number: int) -> bool:
    return number > 2 and all(number % divisor for divisor in range(2, math.isqrt(number) + 1))
