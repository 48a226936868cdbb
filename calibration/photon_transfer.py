"""What a sensor is, from how its noise grows with light: the photon transfer method of EMVA Standard 1288.

Terms, ranges and definitions are those of release 4.0 Linear (European Machine Vision Association, 2021): system gain
K in DN per electron from the slope of temporal variance over mean, up to 70 % of saturation (sections 2.2 and 6.6);
temporal dark noise less the quantisation noise of 1/12 DN^2; saturation capacity at the variance's peak; dark current
from mean and from variance (sections 3.1 and 7.1); DSNU and PRNU (section 4); linearity between 5 and 95 % of
saturation (section 6.7). What differs, and how uncertainties are made: docs/decisions/0025.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from calibration.photon_dark import dark_pattern_dn2, darkness, spatial_sigma_dn2
from calibration.photon_fits import (
    QUANTISATION_DN2,
    Estimate,
    Line,
    mean_of,
    most_noise_dn2,
    relative_deviations,
    rounding_of_variance,
    weighted_line,
)
from calibration.photon_lamp import CLIPPED_SHARE, Lamp
from calibration.photon_stacks import SITES, StackStatistics

# Below this variance in the dark (DN^2), rounding decides what is seen, and only an upper limit of the noise is known.
# The standard has 0.24, but a black level half-way between two numbers shows as much, and more, with hardly any noise.
LEAST_DARK_DN2 = 0.27
# Parts of saturation that the fits use.
GAIN_RANGE = (0.0, 0.7)
LINEARITY_RANGE = (0.05, 0.95)
# The linearity needs pixels below the end, not only their mean: by so many standard deviations of their values.
CLEAR_SIGMAS = 3.5
# Points that scatter around the transfer line so much more than their noise (chi-square per degree of freedom) do not
# lie on a line: its uncertainty grows as their scatter does (Birge, doi:10.1103/PhysRev.40.207).
EXCESS_CHI2 = 1.5
# A point whose variance rounding may change by more than this part does not tell whether the line is straight.
TOLD_SHARE = 0.01
# A stack is at the end of the scale when hardly a pixel moves any more.
PLATEAU_SHARE, PLATEAU_STEP = 0.98, 0.003


class NotMeasurable(ValueError):  # noqa: N818 - says what is missing
    """The stacks do not hold what an estimate needs; the message says what."""


@dataclass(frozen=True, slots=True, eq=False)
class SensorEstimate:
    """What was found. Units as in the names; DN: digital numbers, e: electrons.

    read_noise_e: temporal dark noise at no exposure time, quantisation noise taken off; where `dark_noise_is_limit`,
    only an upper limit; dsnu_e likewise with `dsnu_is_limit`. full_well_e: electrons at which values stop rising;
    saturation_capacity_e: at the peak of the variance, as the standard defines. dark_current_variance_e_per_s: the
    cross-check. threshold_e: absolute sensitivity threshold in electrons. dynamic_range_db, snr_max: of the standard.
    site_gain_dn_per_e: of each site alone, float64 (4,), and its sigma. transfer: the line variance = offset + K (mean
    - black level); transfer_scatter_percent: departure of its points beyond their noise, rms. deviations_percent:
    float64 (points, 4), NaN outside the range of the linearity. linear_exposure_us: float64 (points,).
    """

    black_level_dn: Estimate
    system_gain_dn_per_e: Estimate
    read_noise_e: Estimate
    dark_noise_is_limit: bool
    full_well_e: Estimate
    saturation_capacity_e: Estimate
    dark_current_e_per_s: Estimate
    dark_current_variance_e_per_s: Estimate
    prnu_percent: Estimate
    dsnu_e: Estimate
    dsnu_is_limit: bool
    linearity_error_percent: Estimate
    snr_max: Estimate
    threshold_e: Estimate
    dynamic_range_db: Estimate
    site_gain_dn_per_e: NDArray[np.float64]
    site_gain_sigma_dn_per_e: NDArray[np.float64]
    black_sites_dn: NDArray[np.float64]
    transfer: Line
    transfer_scatter_percent: float
    transfer_points: NDArray[np.bool_]
    linear_exposure_us: NDArray[np.float64]
    deviations_percent: NDArray[np.float64]


def estimate_sensor(
    dark: Sequence[StackStatistics], light: Sequence[StackStatistics], lamp: Lamp | None = None
) -> SensorEstimate:
    """Everything that stacks of darkness and of even, steady light tell about a sensor.

    dark: three or more different exposure times, lens covered. light: a ladder of exposure times at one light level and
    one gain, from a few percent of saturation to well beyond it. lamp: its light at each of them (`lamp_of`); None:
    quite steady. Raises NotMeasurable.
    """
    times = {stack.exposure_us for stack in dark}
    if len(times) < 3:
        raise NotMeasurable(f"dark stacks at three exposure times or more are needed, got {len(times)}")
    if len(light) < 6:
        raise NotMeasurable(f"stacks at six light exposures or more are needed, got {len(light)}")
    lamp = lamp or Lamp(np.ones(len(light)), 0.0)
    order = sorted(range(len(light)), key=lambda number: light[number].exposure_us)
    light, lamp = [light[number] for number in order], Lamp(lamp.relative[order], lamp.sigma)
    dark_signal = darkness(dark)
    blacks = dark_signal.lines
    black = np.array([line.offset for line in blacks])
    plateau, plateau_sigma = _plateau(light)
    signal = np.array([stack.mean_dn for stack in light]) - black
    inside = _unclipped(light) & (signal > 0) & (signal <= GAIN_RANGE[1] * (plateau - black))
    transfer, scatter, site_lines = _transfer(dark, light, black, inside)
    gain = Estimate(transfer.slope, transfer.slope_sigma)
    if not gain.value > 3 * gain.sigma:
        raise NotMeasurable("the noise does not grow with the light: the values are not a sensor's raw ones")

    read_noise, is_limit = _read_noise(transfer)
    dsnu, dsnu_is_limit = _pattern(dark_pattern_dn2(dark), gain, is_limit)
    # The sensor's black level is that of all its pixels; these are a sample of them.
    pixels = SITES * dark[0].pixels
    sampled = dsnu.value * gain.value / np.sqrt(pixels)
    black_level = Estimate(dark_signal.black_dn.value, float(np.hypot(dark_signal.black_dn.sigma, sampled)))
    reached = np.isfinite(plateau)
    well = mean_of(
        [(plateau[s] - black[s], np.hypot(plateau_sigma[s], blacks[s].offset_sigma)) for s in reached.nonzero()[0]]
    )
    capacity = _capacity(light, black, gain)
    deviations, error = _linearity(light, blacks, plateau - black, lamp)
    noise_e = np.hypot(read_noise.value, np.sqrt(QUANTISATION_DN2) / gain.value)
    threshold = Estimate(float(noise_e + 0.5), float(read_noise.sigma * read_noise.value / noise_e))
    decibels = 20 / np.log(10)
    relative = np.hypot(capacity.sigma / capacity.value, threshold.sigma / threshold.value)
    return SensorEstimate(
        black_level_dn=black_level,
        system_gain_dn_per_e=gain,
        read_noise_e=read_noise,
        dark_noise_is_limit=is_limit,
        full_well_e=_ratio(well, gain),
        saturation_capacity_e=capacity,
        dark_current_e_per_s=_ratio(dark_signal.dark_dn_per_s, gain),
        dark_current_variance_e_per_s=_dark_variance_rate(dark, gain),
        prnu_percent=_response_spread(dark, light, blacks, plateau - black),
        dsnu_e=dsnu,
        dsnu_is_limit=dsnu_is_limit,
        linearity_error_percent=error,
        snr_max=Estimate(float(np.sqrt(capacity.value)), float(capacity.sigma / 2 / np.sqrt(capacity.value))),
        threshold_e=threshold,
        dynamic_range_db=Estimate(
            float(decibels * np.log(capacity.value / threshold.value)), float(decibels * relative)
        ),
        site_gain_dn_per_e=np.array([line.slope for line in site_lines]),
        site_gain_sigma_dn_per_e=np.array([line.slope_sigma for line in site_lines]),
        black_sites_dn=black,
        transfer=transfer,
        transfer_scatter_percent=scatter,
        transfer_points=inside,
        linear_exposure_us=np.array([stack.exposure_us for stack in light]),
        deviations_percent=deviations,
    )


def _unclipped(light: Sequence[StackStatistics]) -> NDArray[np.bool_]:
    return np.array([(stack.saturated_share <= CLIPPED_SHARE) & (stack.zero_share <= CLIPPED_SHARE) for stack in light])


def _plateau(light: Sequence[StackStatistics]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Where each site's values end, DN, and its uncertainty: NaN for a site that does not get there."""
    longest = light[-1]
    end, sigma = np.full(SITES, np.nan), np.full(SITES, np.nan)
    before = max(
        (stack for stack in light if stack.exposure_us < 0.85 * longest.exposure_us), key=lambda s: s.exposure_us
    )
    still = np.abs(longest.mean_dn - before.mean_dn) < PLATEAU_STEP * longest.mean_dn
    there = still | (longest.saturated_share > PLATEAU_SHARE)
    end[there], sigma[there] = longest.mean_dn[there], longest.mean_sigma_dn[there]
    if not there.any():
        raise NotMeasurable("no stack is saturated: where the scale ends is not known")
    # A colour that the light has little of shares its converter with the others.
    return np.where(there, end, np.nanmax(end)), sigma


def _relative_variance_sigma(stacks: Sequence[StackStatistics]) -> NDArray[np.float64]:
    """Standard uncertainty of each stack's temporal variance, relative to it: float64 (stacks, 4).

    For normal noise sqrt(2 / (pixels (frames - 1))), times what the scatter over all the pixels says of the real noise
    (its kurtosis). Weights from each stack's own scatter would favour those that came out low by chance.
    """
    normal = np.array([np.full(SITES, np.sqrt(2 / (s.pixels * (s.frames - 1)))) for s in stacks])
    seen = np.array([s.temporal_sigma_dn2 / np.maximum(s.temporal_dn2, 1e-12) for s in stacks])
    return np.asarray(normal * max(1.0, float(np.median(seen / normal))))


def _transfer(
    dark: Sequence[StackStatistics],
    light: Sequence[StackStatistics],
    black: NDArray[np.float64],
    inside: NDArray[np.bool_],
) -> tuple[Line, float, list[Line]]:
    """The photon transfer line of all sites together, by how much its points depart from it beyond their noise (rms,
    percent), and the line of each site alone. Dark stacks are points, too."""
    if (inside.sum(axis=0) < 3).any():
        raise NotMeasurable("fewer than three exposures of a colour lie below 70 % of saturation, none of them clipped")
    used = np.vstack([np.ones((len(dark), SITES), bool), inside])
    x = np.array([stack.mean_dn for stack in [*dark, *light]]) - black
    y = np.array([stack.temporal_dn2 for stack in [*dark, *light]])
    relative = np.vstack([_relative_variance_sigma(dark), _relative_variance_sigma(light)])

    def fit(chosen: NDArray[np.bool_]) -> Line:
        sigma = np.maximum(y, 1e-6) * relative
        line = weighted_line(x[chosen], y[chosen], sigma[chosen])
        # Weights by the line, not by the points: a point that came out low by chance must not weigh more.
        for _ in range(3):
            fitted = np.maximum(line.offset + line.slope * x, 1e-6)
            sigma = np.hypot(fitted * relative, rounding_of_variance(fitted))
            line = weighted_line(x[chosen], y[chosen], sigma[chosen])
        # All dark points lie on the same place of a step: more of them do not average that out.
        excess = line.chi2 / max(1, line.free)
        covariance = line.covariance * (excess if excess > EXCESS_CHI2 else 1.0)
        covariance = covariance + np.diag([rounding_of_variance(np.array(line.offset)) ** 2, 0])
        return replace(line, covariance=covariance)

    line = fit(used)
    fitted = np.maximum(line.offset + line.slope * x, 1e-6)[used]
    rounding = rounding_of_variance(fitted) / fitted
    beyond = (y[used] / fitted - 1) ** 2 - relative[used] ** 2 - rounding**2
    # Where it is rounding that decides, a departure says nothing of the line.
    scatter = 100 * float(np.sqrt(max(beyond[rounding < TOLD_SHARE].mean(), 0.0)))
    return line, scatter, [fit(used & (np.arange(SITES) == site)) for site in range(SITES)]


def _read_noise(transfer: Line) -> tuple[Estimate, bool]:
    """sqrt(offset - 1/12) / K, and whether that is an upper limit only."""
    own = transfer.offset - QUANTISATION_DN2
    gain = transfer.slope
    if transfer.offset < LEAST_DARK_DN2:
        limit = float(np.sqrt(most_noise_dn2(LEAST_DARK_DN2)) / gain)
        return Estimate(limit, limit / np.sqrt(3)), True
    value = float(np.sqrt(own) / gain)
    slope = np.array([1 / (2 * np.sqrt(own) * gain), -value / gain])
    return Estimate(value, float(np.sqrt(slope @ transfer.covariance @ slope))), False


def _pattern(pattern_dn2: Estimate, gain: Estimate, noise_is_limit: bool) -> tuple[Estimate, bool]:
    """DSNU in electrons, and whether that is an upper limit only: without noise, small patterns round to nothing."""
    if noise_is_limit and pattern_dn2.value < LEAST_DARK_DN2 - QUANTISATION_DN2:
        limit = float(np.sqrt(most_noise_dn2(LEAST_DARK_DN2)) / gain.value)
        return Estimate(limit, limit / np.sqrt(3)), True
    return _root(pattern_dn2.value / gain.value**2, pattern_dn2.sigma / gain.value**2, gain), False


def _response_spread(
    dark: Sequence[StackStatistics],
    light: Sequence[StackStatistics],
    blacks: Sequence[Line],
    span: NDArray[np.float64],
) -> Estimate:
    """PRNU in percent, from the stack nearest to half of saturation (for each site), dark pattern taken off."""
    squares, sigmas = [], []
    for site in range(SITES):
        clean = [s for s in light if s.saturated_share[site] <= CLIPPED_SHARE]
        signals = [s.mean_dn[site] - blacks[site].offset - blacks[site].slope * s.exposure_us for s in clean]
        # Many exposures near the middle: the one of most frames says most.
        rank = [
            abs(signal / span[site] - 0.5) - 0.2 * (s.frames == max(k.frames for k in clean))
            for s, signal in zip(clean, signals, strict=True)
        ]
        chosen = int(np.argmin(rank))
        stack, signal = clean[chosen], signals[chosen]
        without = min(dark, key=lambda k: abs(k.exposure_us - stack.exposure_us))
        squares.append((stack.spatial_dn2[site] - without.spatial_dn2[site]) / signal**2)
        both = np.hypot(spatial_sigma_dn2(stack)[site], spatial_sigma_dn2(without)[site])
        sigmas.append(both / signal**2)
    mean = mean_of(list(zip(squares, sigmas, strict=True)))
    return _root(mean.value * 1e4, mean.sigma * 1e4)


def _capacity(light: Sequence[StackStatistics], black: NDArray[np.float64], gain: Estimate) -> Estimate:
    """Saturation capacity: electrons at the peak of the temporal variance of the brightest site (section 6.6).

    The peak lies between the neighbours of the highest point, anywhere with equal chance.
    """
    site = int(np.argmax(light[len(light) // 2].mean_dn - black))
    variance = np.array([stack.temporal_dn2[site] for stack in light])
    signal = np.array([stack.mean_dn[site] for stack in light]) - black[site]
    peak = int(np.argmax(variance))
    if peak in (0, len(light) - 1):
        raise NotMeasurable("the variance has no peak within the exposures: the ladder does not reach saturation")
    half_width = (signal[peak + 1] - signal[peak - 1]) / 2
    value = signal[peak] / gain.value
    return Estimate(
        float(value), float(np.hypot(half_width / np.sqrt(3) / gain.value, value * gain.sigma / gain.value))
    )


def _dark_variance_rate(dark: Sequence[StackStatistics], gain: Estimate) -> Estimate:
    """Dark current by the growth of the dark variance: slope / K^2, electrons per second (section 7.1)."""
    relative = _relative_variance_sigma(dark)
    times = np.array([stack.exposure_us for stack in dark]) / 1e6
    level = np.mean([stack.temporal_dn2 for stack in dark])
    slopes = []
    for site in range(SITES):
        variance = np.array([stack.temporal_dn2[site] for stack in dark])
        sigma = np.hypot(level * relative[:, site], rounding_of_variance(variance))
        line = weighted_line(times, variance, np.maximum(sigma, 1e-12))
        slopes.append((line.slope, line.slope_sigma))
    mean = mean_of(slopes)
    relative_gain = 2 * gain.sigma / gain.value
    return Estimate(mean.value / gain.value**2, float(np.hypot(mean.sigma, mean.value * relative_gain) / gain.value**2))


def _linearity(
    light: Sequence[StackStatistics], blacks: Sequence[Line], span: NDArray[np.float64], lamp: Lamp
) -> tuple[NDArray[np.float64], Estimate]:
    """Deviations in percent, float64 (stacks, 4), and LE: the mean of their absolute values (section 6.7).

    Over exposure time times the lamp's light. Stacks with pixels that the end of the scale cuts off are left out: their
    mean is bent by the spread of the pixels, not by their response. The uncertainty is what temporal noise and the
    lamp's restlessness would make of a perfectly straight response.
    """
    exposure = np.array([stack.exposure_us for stack in light])
    gathered = exposure * lamp.relative
    deviations = np.full((len(light), SITES), np.nan)
    noise = np.full((len(light), SITES), np.nan)
    for site in range(SITES):
        # Where the scale ends, dark electrons count like any others.
        reached = np.array([stack.mean_dn[site] for stack in light]) - blacks[site].offset
        signal = reached - blacks[site].slope * exposure
        inside = (signal >= LINEARITY_RANGE[0] * span[site]) & (reached <= LINEARITY_RANGE[1] * span[site])
        spread = np.array([np.sqrt(max(stack.temporal_dn2[site] + stack.spatial_dn2[site], 0)) for stack in light])
        inside &= reached + CLEAR_SIGMAS * spread <= span[site]
        if inside.sum() < 3:
            continue
        deviations[inside, site], _ = relative_deviations(gathered[inside], signal[inside])
        own = np.array([np.hypot(stack.mean_sigma_dn[site], blacks[site].offset_sigma) for stack in light])
        noise[inside, site] = 100 * np.hypot(own[inside] / signal[inside], lamp.sigma)
    if not np.isfinite(deviations).any():
        raise NotMeasurable("no colour has three exposures between 5 and 95 % of saturation")
    return deviations, Estimate(float(np.nanmean(np.abs(deviations))), float(np.sqrt(np.nanmean(noise**2))))


def _ratio(value: Estimate, gain: Estimate) -> Estimate:
    """Digital numbers to electrons."""
    electrons = value.value / gain.value
    return Estimate(float(electrons), float(np.hypot(value.sigma, electrons * gain.sigma) / gain.value))


def _root(square: float, sigma: float, gain: Estimate | None = None) -> Estimate:
    """Root of a variance; of one that noise could have made, with the uncertainty that such a root has."""
    value = float(np.sqrt(max(square, 0.0)))
    own = sigma / (2 * value) if square > 2 * sigma else float(np.sqrt(sigma))
    from_gain = value * gain.sigma / gain.value if gain is not None else 0.0
    return Estimate(value, float(np.hypot(own, from_gain)))
