"""Darkness: black level, dark current and pattern from covered stacks, where rounding may hide all three.

EMVA Standard 1288, release 4.0 Linear, sections 3.1, 4 and 7.1. Rounding errs by up to half a digital number, and by
the same amount wherever values lie on the same place of their steps: stacks and sites that are alike have one error
together, and more of them do not average it out.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from calibration.photon_fits import Estimate, Line, least_noise_dn2, mean_of, rounding_ripple, weighted_line
from calibration.photon_stacks import SITES, StackStatistics

# Sites whose dark currents differ by so much more than their noise (chi-square per degree of freedom) have not one.
UNLIKE_CHI2 = 4.0


@dataclass(frozen=True, slots=True, eq=False)
class Darkness:
    """lines: of each site, mean in DN over exposure time in us. black_dn: their common offset, dark_dn_per_s: their
    common slope."""

    lines: list[Line]
    black_dn: Estimate
    dark_dn_per_s: Estimate


def darkness(dark: Sequence[StackStatistics]) -> Darkness:
    """Black level and dark current by the mean dark signal over exposure time (section 3.1).

    dark: stacks of two different exposure times or more. Rounding's error of a mean is ripple / pi sin(2 pi mean) of
    unknown phase (its first harmonic, see `rounding_ripple`), so those of two means go together by the cosine of what
    lies between them. Where steps are hardly smeared, means do not tell where on them they lie: there as much again is
    independent.
    """
    times = np.array([stack.exposure_us for stack in dark])
    means = np.array([stack.mean_dn for stack in dark]).T
    noise = np.array([stack.mean_sigma_dn for stack in dark]).T
    ripple = rounding_ripple(least_noise_dn2(np.array([stack.temporal_dn2 for stack in dark]).T))
    rounding = ripple / np.pi / np.sqrt(2)
    weights = 1 / np.maximum(np.hypot(noise, rounding), 1e-9)
    lines, solvers = [], []
    for site in range(SITES):
        lines.append(weighted_line(times, means[site], 1 / weights[site]))
        scaled = np.stack([np.ones_like(times), times], axis=1) * weights[site][:, np.newaxis]
        solvers.append(np.linalg.pinv(scaled) * weights[site])

    def covariance(one: int, other: int) -> NDArray[np.float64]:
        apart = means[one][:, np.newaxis] - means[other]
        together = np.outer(rounding[one], rounding[other]) * np.cos(2 * np.pi * apart)
        if one == other:
            together += np.diag(noise[one] ** 2 + ripple[one] * rounding[one] ** 2)
        return np.asarray(solvers[one] @ together @ solvers[other].T)

    whole = np.sum([covariance(one, other) for one in range(SITES) for other in range(SITES)], axis=0) / SITES**2
    lines = [replace(line, covariance=covariance(site, site)) for site, line in enumerate(lines)]
    offset, slope = (np.array([getattr(line, name) for line in lines]) for name in ("offset", "slope"))
    slope_sigma = float(np.sqrt(whole[1, 1]))
    own = np.array([line.slope_sigma for line in lines])
    if (((slope - slope.mean()) / own) ** 2).sum() / (SITES - 1) > UNLIKE_CHI2:
        # Sites that warm unequally, or a little light that leaks in: of its colours the one is as likely as the other.
        slope_sigma = float(np.hypot(slope_sigma, np.ptp(slope)))
    return Darkness(
        lines,
        Estimate(float(offset.mean()), float(np.sqrt(whole[0, 0]))),
        Estimate(float(slope.mean()) * 1e6, slope_sigma * 1e6),
    )


def spatial_sigma_dn2(stack: StackStatistics) -> NDArray[np.float64]:
    """Standard uncertainty of a stack's spatial variance, rounding included: float64 (4,), DN^2.

    With temporal ripple r and a pattern of variance s and ripple q, rounding changes s by 4 s r q cos(phase), and adds
    up to r^2 / 12 of its own: pixels that noise does not smear end on whole numbers.
    """
    ripple = rounding_ripple(least_noise_dn2(stack.temporal_dn2))
    pattern = np.maximum(stack.spatial_dn2, 0)
    stretched = 4 / np.sqrt(2) * pattern * ripple * rounding_ripple(pattern)
    return np.asarray(np.sqrt(stack.spatial_sigma_dn2**2 + stretched**2 + (ripple**2 / 12) ** 2))


def dark_pattern_dn2(dark: Sequence[StackStatistics]) -> Estimate:
    """Spatial variance of the shortest dark stack, DN^2, over all sites (rounding errs alike in all of them)."""
    stack = min(dark, key=lambda stack: stack.exposure_us)
    noise = mean_of(list(zip(stack.spatial_dn2, stack.spatial_sigma_dn2, strict=True)))
    rounding = np.sqrt(np.maximum(spatial_sigma_dn2(stack) ** 2 - stack.spatial_sigma_dn2**2, 0)).mean()
    return Estimate(noise.value, float(np.hypot(noise.sigma, rounding)))
