"""What a 4-bit code says about radiance: an interval of its logarithm, and how well it fits the interval believed so
far.

A code c measured at exposure e says that thresholds[c - 1] <= radiance * e < thresholds[c]. In logarithms the exposure
is a shift, so beliefs made at different exposures compare, and a change of light is a shift too. Code 0 has no lower
and code 15 no upper bound: they carry almost no information, and the arithmetic below treats them so without a
special case.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
LEVELS = 16
# Stands for a bound that does not exist. Finite, so that differences of bounds never become NaN.
UNBOUNDED = 60.0
# A belief without one of its bounds counts as this wide (nats, a factor of 7): beyond, every value is equally unlikely.
WIDEST_NATS = 2.0
# What the shift of the light may be wrong by, nats.
SHIFT_UNCERTAINTY = np.float32(0.03)
# Probability of any code in a cell of the empty room: reflections, insects, a comparator that misfires.
SURPRISE = np.float32(0.02)


@dataclass(frozen=True)
class SensorNoise:
    """Standard deviation of a pooled value v (fraction of full scale): sqrt((read * gain)² + shot² * v * gain +
    (relative * v)²).

    `read`: read noise, comparator offset and noise; `shot`: 1 / sqrt(full well in electrons) at gain 1, after the
    maximum over a cell has narrowed it; `relative`: what remains proportional (flicker, exposure not exactly as
    reported). The bounds of a code are widened by `sigmas` of it.
    """

    read: float = 0.0004
    shot: float = 0.005
    relative: float = 0.005
    sigmas: float = 2.5


def code_bounds(thresholds: NDArray[np.float32], noise: SensorNoise, gain: float = 1.0) -> tuple[Array, Array]:
    """Lowest and highest log of the pooled value (nats, relative to full scale) at which each code is plausible.

    thresholds: float32 (15,), ascending, fractions of full scale, duplicates allowed. Returns two float32 (16,). A
    threshold at or below zero bounds nothing. Codes between equal thresholds cannot occur without noise; where a noisy
    comparator makes one, the widened bounds still form an interval.
    """
    values = np.asarray(thresholds, dtype=np.float64)
    bounding = values > 0
    safe = np.where(bounding, values, 1.0)
    sigma = np.sqrt(
        (noise.read * max(gain, 1.0)) ** 2 + noise.shot**2 * safe * max(gain, 1.0) + (noise.relative * safe) ** 2
    )
    margin = noise.sigmas * sigma / safe
    # Symmetric in the logarithm near a threshold, without ever reaching zero light: log1p above, its mirror below.
    below = np.where(bounding, np.log(safe) - np.log1p(margin), -UNBOUNDED)
    above = np.where(bounding, np.log(safe) + np.log1p(margin), -UNBOUNDED)
    low = np.concatenate(([-UNBOUNDED], below)).astype(np.float32)
    high = np.concatenate((above, [UNBOUNDED])).astype(np.float32)
    return low, high


def noise_floor(thresholds: NDArray[np.float32], noise: SensorNoise, gain: float = 1.0) -> int:
    """Highest code that read noise alone may give: codes up to it say no more than 0 does."""
    # The maximum over the 64 pixels of a cell lies 2.3 sigma above their mean, hardly ever 4.
    return int((np.asarray(thresholds) <= 4 * noise.read * max(gain, 1.0)).sum())


def code_prior(thresholds: NDArray[np.float32]) -> Array:
    """How likely each code is where something unknown stands: float32 (16,), sums to 1 over the codes that can occur.

    Unknown reflectance is taken as uniform in the logarithm over the bins, each counted as at most WIDEST_NATS / 2
    wide.
    """
    widest = WIDEST_NATS / 2
    logs = np.log(np.maximum(np.asarray(thresholds, dtype=np.float64), 1e-9))
    widths = np.concatenate(([widest], np.minimum(np.diff(logs), widest), [widest]))
    prior = np.maximum(widths / widths.sum(), 1e-3)
    return np.asarray(prior, dtype=np.float32)


def plausibility(low: Array, high: Array, believed_low: Array, believed_high: Array) -> Array:
    """Probability that a value spread evenly over the believed interval lies in the measured one: float32, 0..1.

    Arrays broadcast. 0 where the intervals do not meet; a belief without a bound counts as WIDEST_NATS wide, so that
    anything on its open side stays plausible.
    """
    overlap = np.minimum(high, believed_high)
    overlap -= np.maximum(low, believed_low)
    width = np.subtract(believed_high, believed_low)
    np.clip(width, 1e-3, WIDEST_NATS, out=width)
    overlap /= width
    return np.asarray(np.clip(overlap, 0.0, 1.0, out=overlap))


def middle(low: Array, high: Array) -> Array:
    """Middle of intervals of log radiance; an open side counts as half of WIDEST_NATS beyond the other bound.

    Where both sides are open (a cell that is always black, or a belief of nothing) the middle is 0, which means
    nothing.
    """
    closed_low = np.maximum(low, high - WIDEST_NATS)
    closed_high = np.minimum(high, low + WIDEST_NATS)
    return np.asarray((closed_low + closed_high) * np.float32(0.5))
