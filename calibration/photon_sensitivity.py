"""Photons: what a sensor makes of them, where the light's irradiance is known from a calibrated photometer.

EMVA Standard 1288, release 4.0 Linear, sections 2.1 and 2.4: responsivity R is the slope of the mean over photons,
quantum efficiency is R / K, and the absolute sensitivity threshold in photons is that in electrons over it. Without a
calibrated light none of these can be known, and none is made up.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibration.photon_fits import weighted_line
from calibration.photon_lamp import Lamp
from calibration.photon_stacks import SITES, StackStatistics
from calibration.photon_transfer import NotMeasurable, SensorEstimate


@dataclass(frozen=True, slots=True)
class CalibratedLight:
    """Photons that reach one pixel in a second, with the photometer's standard uncertainty."""

    photons_per_pixel_s: float
    photons_per_pixel_s_sigma: float

    def __post_init__(self) -> None:
        if not (self.photons_per_pixel_s > 0 and self.photons_per_pixel_s_sigma >= 0):
            raise ValueError(f"a calibrated light has photons above 0 and an uncertainty of 0 or more, got {self}")


@dataclass(frozen=True, slots=True, eq=False)
class Sensitivity:
    """Of each site of a quad, row by row, float64 (4,): quantum efficiency with its filter, at this light's wavelength,
    and the fewest photons that stand out from darkness (signal to noise 1), with standard uncertainties."""

    quantum_efficiency: NDArray[np.float64]
    quantum_efficiency_sigma: NDArray[np.float64]
    threshold_photons: NDArray[np.float64]
    threshold_photons_sigma: NDArray[np.float64]


def sensitivity(
    ladder: Sequence[StackStatistics], estimate: SensorEstimate, light: CalibratedLight, lamp: Lamp | None = None
) -> Sensitivity:
    """From the stacks that `estimate` was made of, in any order, and the lamp at each of them (None: quite steady).
    Raises NotMeasurable for fewer than three exposures below 70 % of saturation."""
    order = sorted(range(len(ladder)), key=lambda number: ladder[number].exposure_us)
    stacks = [ladder[number] for number in order]
    relative_light = np.ones(len(stacks)) if lamp is None else lamp.relative[order]
    restless = 0.0 if lamp is None else lamp.sigma
    gain = estimate.system_gain_dn_per_e
    seconds = np.array([stack.exposure_us for stack in stacks]) / 1e6 * relative_light
    efficiency, efficiency_sigma = np.empty(SITES), np.empty(SITES)
    for site in range(SITES):
        used = estimate.transfer_points[:, site]
        if used.sum() < 3:
            raise NotMeasurable("fewer than three exposures of a colour lie below 70 % of saturation")
        mean = np.array([stack.mean_dn[site] for stack in stacks])[used]
        sigma = np.array([np.hypot(s.mean_sigma_dn[site], restless * s.mean_dn[site]) for s in stacks])[used]
        line = weighted_line(seconds[used], mean, sigma)
        electrons_per_s = line.slope / gain.value - estimate.dark_current_e_per_s.value
        efficiency[site] = electrons_per_s / light.photons_per_pixel_s
        relative = (
            np.hypot(line.slope_sigma / gain.value, estimate.dark_current_e_per_s.sigma) / electrons_per_s,
            gain.sigma / gain.value,
            light.photons_per_pixel_s_sigma / light.photons_per_pixel_s,
        )
        efficiency_sigma[site] = efficiency[site] * np.sqrt(np.sum(np.square(relative)))
    threshold = estimate.threshold_e.value / efficiency
    both = np.hypot(estimate.threshold_e.sigma / estimate.threshold_e.value, efficiency_sigma / efficiency)
    return Sensitivity(efficiency, efficiency_sigma, threshold, threshold * both)
