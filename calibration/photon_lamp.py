"""The lamp while a ladder is climbed: how its light fell or rose, by references, and how it trembles."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibration.photon_stacks import StackStatistics

# A large sensor has hot and dead pixels that are clipped whatever the light.
CLIPPED_SHARE = 5e-4
# Flicker is looked for in stacks of at least this part of full scale: in darkness there is none to see.
LIT_PART = 0.02
# It is seen where it exceeds the noise of its own measurement by so many standard uncertainties.
SEEN_SIGMAS = 4.0


@dataclass(frozen=True, slots=True, eq=False)
class Lamp:
    """relative: float64 (stacks,), the light at each stack in units of its mean. sigma: standard uncertainty of each,
    relative, which more exposures of a stack do not make less: a flicker may be slower than a stack."""

    relative: NDArray[np.float64]
    sigma: float


def lamp_of(references: Sequence[StackStatistics], light: Sequence[StackStatistics]) -> Lamp:
    """The lamp at each stack of `light`, by stacks of one exposure time taken in between.

    references: in the order in which they were taken. Three or more give a straight line over time, and what they
    depart from it is the lamp's restlessness; with fewer, or with times that do not rise (a run that was interrupted,
    a camera whose clock began anew), the light is taken as constant and their differences as its uncertainty.
    """
    reported = references[0].reported_black_dn
    restless = _restless([*references, *light], reported)
    times = np.array([stack.time_s for stack in references])
    levels = np.array([float((stack.mean_dn - reported).max() / stack.exposure_us) for stack in references])
    levels /= levels.mean()
    if len(references) < 3 or not (np.diff(times) > 0).all():
        between = float(levels.std(ddof=1)) if len(levels) > 1 else 0.0
        return Lamp(np.ones(len(light)), max(restless, between))
    slope, offset = np.polyfit(times - times.mean(), levels, 1)
    left = levels - offset - slope * (times - times.mean())
    scatter = float(np.sqrt((left**2).sum() / (len(levels) - 2)))
    relative = offset + slope * (np.array([stack.time_s for stack in light]) - times.mean())
    return Lamp(np.asarray(relative, dtype=np.float64), max(restless, scatter))


def flicker(stack: StackStatistics, reported: NDArray[np.float64]) -> float:
    """Standard deviation of the light between a stack's exposures, relative to it; 0 where it is clipped or dark.

    reported: float64 (4,), black level in DN.
    """
    return float(np.sqrt(max(_together(stack, reported)[0], 0.0)))


def _together(stack: StackStatistics, reported: NDArray[np.float64]) -> tuple[float, float]:
    """Relative variance of all pixels together between exposures, their own noise taken off, and its uncertainty."""
    signal = stack.mean_dn - reported
    site = int(np.argmax(np.where(stack.saturated_share <= CLIPPED_SHARE, signal, -np.inf)))
    if stack.saturated_share[site] > CLIPPED_SHARE or signal[site] < LIT_PART * (stack.white_dn - reported[site]):
        return 0.0, float("inf")
    noise = float(stack.temporal_dn2[site]) / stack.pixels / float(signal[site]) ** 2
    seen = float(stack.frame_means_dn[:, site].var(ddof=1)) / float(signal[site]) ** 2
    return seen - noise, noise * float(np.sqrt(2 / (stack.frames - 1)))


def _restless(stacks: Sequence[StackStatistics], reported: NDArray[np.float64]) -> float:
    """Standard deviation of the light within stacks, relative: of the worst in which it is seen beyond the pixels'
    noise, but no less than what all of them together leave possible (one standard uncertainty)."""
    variances, sigmas = np.array([_together(stack, reported) for stack in stacks]).T
    weights = 1 / np.maximum(sigmas, 1e-30) ** 2
    possible = 0.0
    if weights.sum() > 0:
        possible = max(float((weights * variances).sum() / weights.sum()), 0.0) + float(weights.sum() ** -0.5)
    seen = variances[variances > SEEN_SIGMAS * sigmas]
    return float(np.sqrt(max(possible, seen.max(initial=0.0))))
