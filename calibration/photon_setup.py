"""Whether a bench is fit for a photon transfer: the standard's conditions, and the name of each that is broken."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from calibration.photon_dark import darkness
from calibration.photon_fits import weighted_line
from calibration.photon_lamp import CLIPPED_SHARE, flicker
from calibration.photon_stacks import StackStatistics

# EMVA Standard 1288, section 6.1: the light may differ by 3 % over the sensor.
LARGEST_UNEVENNESS = 0.03
# Standard deviation of the light from exposure to exposure, and its change over the whole ladder, relative to it.
LARGEST_FLICKER, LARGEST_DRIFT = 0.01, 0.02
# Parts of full scale that the ladder's ends have to reach.
NO_LIGHT, DIM_END, BRIGHT_START = 0.01, 0.97, 0.3
# A cover lets this part of the lamp's light through, at most: with the lamp off, so much of what is left of the light
# in a room is less than the noise of a dark current. Less than half a digital number is rounding.
LARGEST_LEAK, LEAST_LEAK_DN = 5e-4, 0.5
# Dark currents of the four sites that differ by this part, as the light's colours do, are light.
COLOURED = 0.1
# Light is seen where the mean rises by this many times its uncertainty.
SEEN_SIGMAS = 5.0
# A sensor at the end of its scale gives less than this part of what a straight response would.
UNBENT = 0.8
Fault = tuple[str, str]


def metering_fault(
    exposures_us: Sequence[float],
    fractions: Sequence[float],
    light: tuple[float, float],
    longest_us: float,
    shortest_us: float,
) -> Fault | None:
    """What is wrong with the light by the exposures that looked for it; None: nothing so far.

    fractions: mean of the brightest colour above its black level, as a part of full scale, one for each exposure.
    light: what light adds to darkness at the last of them, as a part of full scale, and its standard uncertainty.
    longest_us, shortest_us: exposures that were allowed.
    """
    order = np.argsort(exposures_us)
    exposure, fraction = np.asarray(exposures_us, float)[order], np.asarray(fractions, float)[order]
    if fraction[0] > BRIGHT_START and exposure[0] <= 1.2 * shortest_us:
        return "too_bright", (
            f"at the shortest exposure ({exposure[0]:.0f} us) the sensor is already at {100 * fraction[0]:.0f} % of "
            "full scale, and a ladder from there has no lower rungs; dim the light or put a diffuser in front of it"
        )
    steps = np.flatnonzero(exposure[1:] > 1.5 * exposure[:-1])
    stuck = [i for i in steps if abs(fraction[i + 1] - fraction[i]) < 0.02 * fraction[i] and 0.05 < fraction[i] < 0.9]
    if stuck:
        return "controls_ignored", (
            f"exposures of {exposure[stuck[0]]:.0f} and {exposure[stuck[0] + 1]:.0f} us give the same values: the "
            "camera does not take the exposure that it reports; restart it, and look for another program that steers it"
        )
    if exposure[-1] >= 0.8 * longest_us and fraction[-1] < DIM_END / 2:
        full_us = exposure[-1] / max(fraction[-1], 1e-9)
        lit, sigma = light
        if lit <= SEEN_SIGMAS * sigma:
            return "cover_on", (
                f"{exposure[-1] / 1000:.0f} ms of exposure give not one electron of light: the lens cover is on, or "
                "something else covers the sensor; take it off and start again"
            )
        if lit < NO_LIGHT:
            return "light_off", (
                f"after {exposure[-1] / 1000:.0f} ms light has filled {100 * lit:.2g} % of the scale, which "
                "is stray light: switch the lamp on"
            )
        return "too_dim", (
            f"the sensor is at {100 * fraction[-1]:.0f} % of full scale after {exposure[-1] / 1000:.0f} ms and would "
            f"need {full_us / 1000:.0f} ms to saturate: use a brighter lamp, or bring it closer"
        )
    return None


def light_above_darkness(metered: StackStatistics, dark: Sequence[StackStatistics]) -> tuple[float, float]:
    """What light adds at a metered exposure, as a part of full scale (mean of the sites), and its uncertainty.

    Dark current and black level come from the two dark stacks nearest in exposure time, site by site.
    """
    near = sorted(dark, key=lambda stack: abs(stack.exposure_us - metered.exposure_us))[:2]
    if not near:
        return float((metered.mean_dn - metered.reported_black_dn).mean() / metered.white_dn), 0.0
    expected, sigma = near[0].mean_dn, near[0].mean_sigma_dn
    if len(near) == 2 and near[0].exposure_us != near[1].exposure_us:
        along = (metered.exposure_us - near[0].exposure_us) / (near[1].exposure_us - near[0].exposure_us)
        expected = expected + along * (near[1].mean_dn - near[0].mean_dn)
        sigma = np.hypot((1 - along) * sigma, along * near[1].mean_sigma_dn)
    own = np.hypot(metered.mean_sigma_dn, sigma)
    span = metered.white_dn - float(metered.reported_black_dn.mean())
    return float((metered.mean_dn - expected).mean() / span), float(np.sqrt((own**2).sum()) / own.size / span)


def light_of_uncovering(
    metered: StackStatistics, dark: Sequence[StackStatistics], covered: StackStatistics | None
) -> tuple[float, float]:
    """What the light at a metered exposure has beyond what comes through the cover when the lamp shines on it, as
    `light_above_darkness`. covered: None where no such stack was taken."""
    light, sigma = light_above_darkness(metered, dark)
    if covered is None:
        return light, sigma
    through, through_sigma = light_above_darkness(covered, dark)
    part = metered.exposure_us / covered.exposure_us
    return light - part * through, float(np.hypot(sigma, part * through_sigma))


def stacks_fault(
    dark: Sequence[StackStatistics],
    light: Sequence[StackStatistics],
    references: Sequence[StackStatistics],
    covered: StackStatistics | None = None,
) -> Fault | None:
    """What is wrong with the bench by the stacks; None: nothing.

    references: stacks at one exposure, taken before, between and after the others. covered: a stack with the cover on
    and the lamp shining on it; None: not taken.
    """
    shortest = min(dark, key=lambda stack: stack.exposure_us)
    usable = [s for s in [*references, *light] if s.saturated_share.max() <= CLIPPED_SHARE]
    exposures, levels = [s.exposure_us for s in light], [float(s.mean_dn.max()) for s in light]
    # A full well stops below the converter's end: then no value is clipped, and none changes.
    same = max(exposures) > 4 * min(exposures) and max(levels) < 1.05 * min(levels)
    if not usable or same:
        return "saturated_everywhere", (
            "every exposure to light has pixels at the end of the scale: dim the light, or repeat the metering"
        )
    # Black by what the camera reports: with the cover off even the shortest dark stack may hold light.
    reported = shortest.reported_black_dn
    light_rate = max(float((s.mean_dn - reported).max() / s.exposure_us) for s in usable)
    if fault := _leak(dark, usable, covered):
        return fault
    if fault := _unsteady(references, light, reported):
        return fault
    middle = min(usable, key=lambda s: abs((s.mean_dn - reported).max() / (s.white_dn - reported.max()) - 0.5))
    site = int(np.argmax(middle.mean_dn - reported))
    uneven = float(middle.surface_dn[site] / (middle.mean_dn - reported)[site])
    if uneven > LARGEST_UNEVENNESS:
        return "light_uneven", (
            f"the light differs by {100 * uneven:.1f} % over the sensor, {100 * LARGEST_UNEVENNESS:.0f} % are allowed: "
            "move the lamp away, or put a diffuser before the sensor, and take the lens or mask off"
        )
    brightest = max(light, key=lambda stack: stack.exposure_us)
    reached = float((brightest.mean_dn - reported).max() / (light_rate * brightest.exposure_us))
    if reached > UNBENT:
        return "too_dim", (
            f"at the longest exposure ({brightest.exposure_us / 1000:.1f} ms) values still rise with the light "
            f"({100 * reached:.0f} % of a straight line): saturation is not reached; use a brighter lamp"
        )
    return None


def _leak(
    dark: Sequence[StackStatistics], usable: Sequence[StackStatistics], covered: StackStatistics | None
) -> Fault | None:
    """Whether light reaches the covered sensor. A warm sensor fills in the dark, too, as fast as under a dim lamp; but
    its own current does not know whether the lamp burns, and has not the light's colours."""
    reported = dark[0].reported_black_dn
    brightest = max(usable, key=lambda stack: float((stack.mean_dn - reported).max()))
    rates = (brightest.mean_dn - reported) / brightest.exposure_us
    span = brightest.white_dn - float(reported.mean())
    if max(stack.saturated_share.max() for stack in [*dark, *([covered] if covered else [])]) > 0.5:
        return "cover_off", (
            "the covered sensor is at the end of its scale: the lens cover is off or leaks; put it on and start again"
        )
    if covered is not None:
        added, sigma = light_above_darkness(covered, dark)
        part = added * span / float(rates.mean() * covered.exposure_us)
        if added > SEEN_SIGMAS * sigma and added * span > LEAST_LEAK_DN and part > LARGEST_LEAK:
            return "cover_off", (
                f"with the cover on, the lamp still adds {100 * part:.2g} % of its light: the lens cover is off or "
                "leaks; put it on, or a black cloth over it, and start again"
            )
    clear = [stack for stack in dark if stack.saturated_share.max() <= CLIPPED_SHARE]
    if len({stack.exposure_us for stack in clear}) < 2 or np.unique(rates).size < 2:
        return None
    lines = darkness(clear).lines
    slopes, sigmas = np.array([line.slope for line in lines]), np.array([line.slope_sigma for line in lines])
    coloured = weighted_line(rates, slopes, sigmas)
    differ = coloured.slope * float(np.ptp(rates))
    if (
        coloured.slope > SEEN_SIGMAS * coloured.slope_sigma
        and differ > COLOURED * float(slopes.mean())
        and differ * max(stack.exposure_us for stack in clear) > LEAST_LEAK_DN
    ):
        return "cover_off", (
            f"the covered sensor gathers {100 * coloured.slope:.2g} % of the lamp's light, by its colours: the lens "
            "cover is off or leaks, and the lamp still burns; put the cover on, switch the lamp off and start again"
        )
    return None


def _unsteady(
    references: Sequence[StackStatistics], light: Sequence[StackStatistics], reported: NDArray[np.float64]
) -> Fault | None:
    restless = max((flicker(stack, reported) for stack in [*references, *light]), default=0.0)
    if restless > LARGEST_FLICKER:
        return "light_unstable", (
            f"the light changes by {100 * restless:.1f} % (standard deviation) from exposure to exposure: run the lamp "
            "on direct current, and let nothing move in front of it"
        )
    levels = [float((stack.mean_dn - reported).max() / stack.exposure_us) for stack in references]
    if len(levels) > 1:
        drift = (max(levels) - min(levels)) / (sum(levels) / len(levels))
        if drift > LARGEST_DRIFT:
            return "light_unstable", (
                f"the light changed by {100 * drift:.1f} % between the beginning and the end: let the lamp warm up for "
                "a quarter of an hour, then start again"
            )
    return None
