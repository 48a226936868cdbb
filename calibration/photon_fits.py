"""Straight lines through measured points: weighted by their uncertainties, or by relative deviations."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Variance of rounding to whole digital numbers, DN^2.
QUANTISATION_DN2 = 1 / 12
# A black level half-way between two numbers shows 0.25 DN^2 with no noise at all, and up to this with a little.
UNTOLD_DN2 = 0.26
_NOISES_DN2 = np.linspace(0, 4, 8001)


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with its standard uncertainty (k = 1)."""

    value: float
    sigma: float


@dataclass(frozen=True, slots=True, eq=False)
class Line:
    """y = offset + slope x. covariance: float64 (2, 2) of (offset, slope). chi2: sum of squared weighted residuals;
    free: points less 2."""

    offset: float
    slope: float
    covariance: NDArray[np.float64]
    chi2: float
    free: int

    @property
    def offset_sigma(self) -> float:
        """Standard uncertainty of the offset."""
        return float(np.sqrt(self.covariance[0, 0]))

    @property
    def slope_sigma(self) -> float:
        """Standard uncertainty of the slope."""
        return float(np.sqrt(self.covariance[1, 1]))


def rounding_ripple(noise_dn2: NDArray[np.float64]) -> NDArray[np.float64]:
    """exp(-2 pi^2 noise): what is left of the steps of whole numbers when noise of this variance (DN^2) smears them.

    The mean of rounded values departs from the true one by up to ripple / pi; its slope by 2 ripple; the variance
    from true + 1/12 by (4 noise + 1 / pi^2) ripple (the first harmonic of the quantiser's error: Widrow and Kollar,
    Quantization Noise, 2008, doi:10.1017/CBO9780511754661). Where on its step a value lies is not known, so that
    their effective values, a root of two less, are uncertainties.
    """
    return np.asarray(np.exp(-2 * np.pi**2 * np.maximum(noise_dn2, 0)))


def least_noise_dn2(variance_dn2: NDArray[np.float64]) -> NDArray[np.float64]:
    """The least noise (a variance before rounding, DN^2) that can show this variance after it, wherever on its step
    the value lies: the inverse of noise + 1/12 + (4 noise + 1 / pi^2) ripple, which grows with the noise."""
    shown = _NOISES_DN2 + QUANTISATION_DN2 + (4 * _NOISES_DN2 + np.pi**-2) * rounding_ripple(_NOISES_DN2)
    variance = np.asarray(variance_dn2, dtype=np.float64)
    least = np.where(variance > shown[-1], variance - QUANTISATION_DN2, np.interp(variance, shown, _NOISES_DN2))
    return np.where(variance < UNTOLD_DN2, 0.0, least)


def most_noise_dn2(variance_dn2: float) -> float:
    """The most noise that can show no more than this variance (at most 4 DN^2), as `least_noise_dn2`."""
    shown = _NOISES_DN2 + QUANTISATION_DN2 - (4 * _NOISES_DN2 + np.pi**-2) * rounding_ripple(_NOISES_DN2)
    return float(_NOISES_DN2[np.flatnonzero(shown <= variance_dn2)[-1]])


def rounding_of_variance(variance_dn2: NDArray[np.float64]) -> NDArray[np.float64]:
    """Standard uncertainty of a measured variance, DN^2, because rounding adds 1/12 DN^2 on average only."""
    noise = least_noise_dn2(variance_dn2)
    return np.asarray((4 * noise + np.pi**-2) * rounding_ripple(noise) / np.sqrt(2))


def mean_of(values: Sequence[tuple[float, float]]) -> Estimate:
    """The plain mean of independent values with their uncertainties: sites count the same whatever their noise."""
    array = np.array(values, dtype=np.float64)
    return Estimate(float(array[:, 0].mean()), float(np.sqrt((array[:, 1] ** 2).sum()) / len(array)))


def weighted_line(x: NDArray[np.float64], y: NDArray[np.float64], sigma: NDArray[np.float64]) -> Line:
    """Least squares with weights 1 / sigma^2: the covariance is (X^T W X)^-1. All float64 (n,).

    Raises ValueError for fewer than two places on x, or a sigma that is not above 0.
    """
    if not (x.shape == y.shape == sigma.shape and x.ndim == 1):
        raise ValueError(f"a line needs as many x as y and sigma, got {x.shape}, {y.shape} and {sigma.shape}")
    if np.unique(x).size < 2 or not (np.isfinite(sigma) & (sigma > 0)).all():
        raise ValueError("a line needs two different places on x, each point with an uncertainty above 0")
    weight = sigma**-2
    # Around the weighted centre offset and slope do not depend on each other: nothing cancels.
    total = weight.sum()
    centre = (weight * x).sum() / total
    spread = (weight * (x - centre) ** 2).sum()
    slope = float((weight * (x - centre) * y).sum() / spread)
    offset = float((weight * y).sum() / total - slope * centre)
    covariance = np.array([[1 / total + centre**2 / spread, -centre / spread], [-centre / spread, 1 / spread]])
    chi2 = float((weight * (y - offset - slope * x) ** 2).sum())
    return Line(offset, slope, covariance, chi2, x.size - 2)


def relative_deviations(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[NDArray[np.float64], Line]:
    """Deviations from the line whose *relative* residuals are least, percent of that line: float64 (n,), and the line.

    EMVA Standard 1288, release 4.0 Linear, section 6.7: weights 1 / y^2. Raises ValueError for y not above 0.
    """
    if not (y > 0).all():
        raise ValueError("relative deviations need values above 0")
    line = weighted_line(x, y, y)
    fitted = line.offset + line.slope * x
    return 100 * (y - fitted) / fitted, line
