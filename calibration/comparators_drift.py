"""Has a comparator moved? A short ramp against the sealed transition, with a stated chance of a false alarm."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import log_ndtr, ndtr

_GRID = 1201
_REACH = 4.0  # how far the search goes to either side, in limits


@dataclass(frozen=True, slots=True, eq=False)
class Drift:
    """drift_volts, drift_sigma_volts: float64 (n,), by how much each transition has moved since it was sealed (a lower
    bound of its size where it left the short ramp). moved: bool (n,), beyond the limit. false_alarm: the largest chance
    that a check of comparators that are all within the limit says that one has moved."""

    drift_volts: NDArray[np.float64]
    drift_sigma_volts: NDArray[np.float64]
    moved: NDArray[np.bool_]
    false_alarm: float


def find_drift(
    levels_volts: ArrayLike,
    highs: ArrayLike,
    reads: int,
    transition_volts: ArrayLike,
    transition_sigma_volts: ArrayLike,
    noise_volts: ArrayLike,
    limit_volts: float,
    false_alarm: float,
) -> Drift:
    """Which transitions moved by more than `limit_volts`, from few readings.

    levels_volts: float (n, points), what the inputs were driven to; highs: int (n, points) of `reads`; transition_volts
    (n, points): the sealed transition that belongs to each level (rising or falling, as the level was approached);
    transition_sigma_volts, noise_volts: float (n,), sealed. The noise is taken from the seal, so one unknown is left,
    the shift d: its likelihood (binomial, as in comparators.py) on a grid of +-4 limits, with a flat prior, and
    blurred by the sealed uncertainty, gives the probability that |d| is beyond the limit. A comparator has moved
    where that is more than 1 - false_alarm / n. For a shift that is well measured this is a one-sided normal test at
    the limit with n-fold Bonferroni correction: comparators that all stand exactly at the limit alarm with a chance
    of at most `false_alarm`, those well within it practically never. Raises ValueError for other shapes or a limit
    that is not positive.
    """
    levels, counts, sealed = (np.asarray(v, np.float64) for v in (levels_volts, highs, transition_volts))
    u_sealed, noise = (np.asarray(v, np.float64) for v in (transition_sigma_volts, noise_volts))
    n = levels.shape[0] if levels.ndim == 2 else 0
    if n == 0 or counts.shape != levels.shape or sealed.shape != levels.shape or u_sealed.shape != (n,):
        raise ValueError(
            f"levels {levels.shape}, highs {counts.shape} and sealed transitions {sealed.shape} must agree"
        )
    if noise.shape != (n,) or not (limit_volts > 0 and 0 < false_alarm < 1 and reads >= 1):
        raise ValueError(
            f"expected noise ({n},), a positive limit, a false-alarm chance within 0..1 and readings, "
            f"not {noise.shape}, {limit_volts} V, {false_alarm}, {reads}"
        )
    shift = np.linspace(-_REACH * limit_volts, _REACH * limit_volts, _GRID)
    # Below the grid's own step a noise cannot be seen; it only decides between two of its points.
    width = np.maximum(noise, shift[1] - shift[0])
    above = (levels - sealed)[:, :, None] - shift
    eta = above / width[:, None, None]
    likelihood = (counts[:, :, None] * log_ndtr(eta) + (reads - counts[:, :, None]) * log_ndtr(-eta)).sum(axis=1)
    chance = np.exp(likelihood - likelihood.max(axis=1, keepdims=True))
    chance /= chance.sum(axis=1, keepdims=True)
    mean = chance @ shift
    spread = np.sqrt(np.maximum(0.0, chance @ shift**2 - mean**2) + u_sealed**2)
    u = np.maximum(u_sealed, np.finfo(np.float64).tiny)[:, None]
    with np.errstate(over="ignore"):
        beyond = ndtr((shift - limit_volts) / u) + ndtr((-limit_volts - shift) / u)
    beyond_chance = np.minimum(1.0, (chance * beyond).sum(axis=1))
    return Drift(mean, spread, 1.0 - beyond_chance < false_alarm / n, false_alarm)
