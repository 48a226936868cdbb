"""A phase modulator's response: phase against grey level from fringes of its two halves, its inverse, and its ripple.

One half shows the level, the other level 0; what both do (vibration, air) is no phase of the modulator and cancels
(the idea of the two-half methods, see doi:10.1364/OE.24.014159; panels that are not uniform: doi:10.1364/AO.43.006400).
Fringes do not tell a phase from its negative: it is taken to grow with the level.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline, PchipInterpolator
from scipy.optimize import isotonic_regression, minimize

from calibration.phase_lut_fringes import Phasors

LEVELS = 256
Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Sweep:
    """One pass through grey levels. levels: int (n,), level 0 first and again in between. phasors: complex128
    (n, regions). test: bool (regions,), the regions that showed the level, the others showed level 0."""

    levels: NDArray[np.int64]
    phasors: Phasors
    test: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Response:
    """Phase against grey level.

    levels: int64 (m,), measured ones; phase_rad, sigma_rad: float64 (256,), above level 0, between measured levels by a
    monotone cubic; standard uncertainty. gains: float64 (regions,), response of each region over the mean one (NaN
    where never measured); gain_sigma: standard uncertainty of one of them within its half, half_sigma: of the mean of a
    half (a ripple moves all of a half together). noise_rad: scatter of one measurement near
    level 0; ripple: rms of what scatters in proportion to the phase.
    """

    levels: NDArray[np.int64]
    phase_rad: Values
    sigma_rad: Values
    gains: Values
    gain_sigma: float
    half_sigma: float
    noise_rad: float
    ripple: float


@dataclass(frozen=True, slots=True, eq=False)
class Inverse:
    """Grey levels for phases. lut: uint8 (256,), for the phase k / 256 of a turn. error_rad: float64 (256,), what the
    level gives less what was asked for, on the circle. fall_rad: by how much the measured response ever falls back."""

    lut: NDArray[np.uint8]
    error_rad: Values
    fall_rad: float


def two_half_phases(sweep: Sweep) -> tuple[Values, Values]:
    """Phases of the regions under test above their own level 0, and of the reference: (n, regions), (n,), radians.

    The first is wrapped to a turn and NaN in regions that were the reference; it is counted against the mean phase of
    the reference regions in the same picture. The second is that of the reference against the first picture: vibration.
    """
    turned = sweep.phasors * np.conj(sweep.phasors[0])
    turned /= np.maximum(np.abs(turned), 1e-300)
    reference = turned[:, ~sweep.test].sum(axis=1)
    own = turned * np.conj(reference / np.maximum(np.abs(reference), 1e-300))[:, None]
    # Level 0 was seen several times: their mean is the origin of each region.
    origin = own[sweep.levels == 0].mean(axis=0)
    phases = np.angle(own * np.conj(origin))
    phases[:, ~sweep.test] = np.nan
    return phases, np.unwrap(np.angle(reference))


def unwrapped_response(levels: NDArray[np.int64], phases_rad: Values) -> tuple[NDArray[np.int64], Values]:
    """Each region's phases, (n, regions), as one curve over ascending levels: (m,), (m, regions).

    Levels seen several times are averaged. Neighbouring levels must differ by less than half a turn. The curve's sign
    is turned where it falls.
    """
    distinct = np.unique(levels)
    mean = np.stack([_circular_mean(phases_rad[levels == level]) for level in distinct])
    curve = np.unwrap(mean, axis=0)
    curve -= curve[0]
    return distinct, np.asarray(curve if np.nanmean(curve[-1]) >= 0 else -curve)


def fit_response(sweeps: Sequence[Sweep], snr: float, leak: float = 0.0, mirrored: float = 0.0) -> Response:
    """The response of all sweeps, both halves with equal weight.

    snr: fringe over noise of one picture in one region: no scatter is less than it makes.
    leak: light at the carrier that belongs to no fringe, over the fringe's (`floor` of the pictures): an error that is
    the same in every sweep. mirrored: size of the mean share b of mirrored fringes in the regions
    (calibration/phase_lut_mirror.py): a phase p is off by Im(b exp(-2ip) - b), whose rms over b's angles is
    sqrt(2) |b sin p|. The scatter between sweeps of the same half gives the uncertainty, as a part that is the
    same at all levels and one in proportion to the phase. Raises ValueError unless each half was swept at least twice
    over the same levels.
    """
    levels, curves = _same_levels(sweeps)
    tests = np.stack([sweep.test for sweep in sweeps])
    half_of = np.array([int(np.flatnonzero((tests == test).all(axis=1))[0]) for test in tests])
    groups = [np.flatnonzero(half_of == group) for group in np.unique(half_of)]
    if min(group.size for group in groups) < 2:
        raise ValueError("each half is swept at least twice, so that the sweeps tell their scatter")
    of_sweep = np.nanmean(curves, axis=2)
    means = np.stack([of_sweep[group].mean(axis=0) for group in groups])
    phase = means.mean(axis=0)

    # Residuals of n sweeps have (n - 1) / n of the variance.
    squares = np.concatenate([
        (of_sweep[group] - mean) ** 2 * group.size / (group.size - 1) for group, mean in zip(groups, means, strict=True)
    ])  # fmt: skip
    counts = int(tests[0].sum()), int((~tests[0]).sum())
    floor = 0.5 / snr**2 * (1 / counts[0] + 1 / counts[1])
    constant, share = _variance_model(np.tile(phase[1:], squares.shape[0]), squares[:, 1:].ravel(), floor)
    weights = sum(1 / group.size for group in groups) / len(groups) ** 2
    counted = int(tests[0].sum()) * len(groups)
    variance = (constant + share * phase**2) * weights
    steady = np.hypot(leak * np.sqrt((1 - np.cos(phase)) / counted), np.sqrt(2) * mirrored * np.sin(phase))

    gains = np.full(tests.shape[1], np.nan)
    spreads = []
    for group, mean in zip(groups, means, strict=True):
        test = tests[group[0]]
        each = np.einsum("slr,l->sr", curves[group][:, :, test], mean) / (mean @ mean)
        gains[test] = each.mean(axis=0) * (mean @ phase) / (phase @ phase)
        spreads.append(each - each.mean(axis=1, keepdims=True))
    scatter = np.concatenate([(each - each.mean(axis=0)).ravel() for each in spreads])
    region_sigma = np.sqrt((scatter**2).sum() / max(1, scatter.size - gains.size)) / np.sqrt(len(sweeps) / len(groups))
    region_sigma = float(np.hypot(region_sigma, leak / max(float(phase[-1]), 1e-9)))

    each_sweep = (constant + share * phase**2) * phase**2
    half_sigma = np.sqrt(each_sweep.sum() / min(group.size for group in groups)) / (phase @ phase)

    every = np.arange(LEVELS, dtype=np.float64)
    smooth = PchipInterpolator(levels, phase)(every)
    between = np.abs(smooth - CubicSpline(levels, phase)(every)) if levels.size > 3 else np.zeros(LEVELS)
    # A scatter told by few residuals is uncertain itself: a t distribution's width (JCGM 101:2008, 6.4.9.4). Each of
    # the two parts of the variance has about half of them.
    freedom = (len(sweeps) - len(groups)) * (levels.size - 1) / 2
    wider = np.sqrt(freedom / (freedom - 2)) if freedom > 2 else np.inf
    scattered = wider * np.sqrt(np.interp(every, levels, variance))
    sigma = np.sqrt(scattered**2 + np.interp(every, levels, steady) ** 2 + between**2)
    return Response(
        levels,
        np.asarray(smooth),
        np.asarray(sigma),
        gains,
        region_sigma,
        float(half_sigma),
        float(np.sqrt(constant)),
        float(np.sqrt(share)),
    )


def invert(phase_rad: Values) -> Inverse:
    """Grey levels that come closest to each of 256 phases, on the circle.

    phase_rad: float64 (256,), of each level. Where it falls back (noise, or a panel that does), it is replaced by the
    closest curve that does not (isotonic regression), so that a level stands for one phase. Levels beyond the first
    turn are not used.
    """
    rising = np.asarray(isotonic_regression(phase_rad).x)
    fall = float(np.max(np.maximum.accumulate(phase_rad) - phase_rad))
    wanted = np.arange(LEVELS) * 2 * np.pi / LEVELS
    # Only the first turn: the same phase a turn later is as good for a pixel, and bad for the border to its neighbour.
    usable = rising[rising < 2 * np.pi + 1e-12]
    lut = np.abs(np.angle(np.exp(1j * (usable - wanted[:, None])))).argmin(axis=1).astype(np.uint8)
    error = np.angle(np.exp(1j * (phase_rad[lut] - wanted)))
    return Inverse(lut, np.asarray(error), fall)


def level_of_turn(response: Response) -> tuple[float, float]:
    """The grey level at which the phase reaches 2 pi, and its standard uncertainty; (NaN, NaN) where it never does."""
    phase = response.phase_rad
    above = np.flatnonzero(phase >= 2 * np.pi)
    if above.size == 0 or above[0] == 0:
        return float("nan"), float("nan")
    high = int(above[0])
    slope = max(float(phase[high] - phase[high - 1]), 1e-9)
    level = high - (float(phase[high]) - 2 * np.pi) / slope
    return level, float(response.sigma_rad[high]) / slope


def ripple_of(still_rad: Values, dark_rad: Values, phase_rad: float) -> tuple[float, float]:
    """Rms ripple over the phase, and its standard uncertainty, from phases that should stand still.

    still_rad: float64 (n,), at a level whose phase is `phase_rad`; dark_rad: float64 (m,), at level 0, which shows the
    noise of the measurement. The variance of a variance is (fourth moment - variance^2) / n. A ripple below the noise
    is 0.
    """

    def moments(values: Values) -> tuple[float, float]:
        centred = values - values.mean()
        variance = float((centred**2).sum() / (values.size - 1))
        return variance, max(float((centred**4).mean()) - variance**2, 0.0) / values.size

    seen, seen_error = moments(still_rad)
    noise, noise_error = moments(dark_rad)
    error = np.sqrt(seen_error + noise_error)
    excess = max(seen - noise, 0.0)
    rms = np.sqrt(excess)
    # Near 0 the root's slope has no end: there the root of the error is the uncertainty.
    sigma = error / (2 * rms) if excess > error else np.sqrt(error)
    return float(rms / phase_rad), float(sigma / phase_rad)


def _same_levels(sweeps: Sequence[Sweep]) -> tuple[NDArray[np.int64], Values]:
    """(levels,), (sweeps, levels, regions) of sweeps over the same levels."""
    done = [unwrapped_response(sweep.levels, two_half_phases(sweep)[0]) for sweep in sweeps]
    if not done or any(not np.array_equal(each[0], done[0][0]) for each in done):
        raise ValueError("all sweeps go over the same levels, and there is at least one")
    return done[0][0], np.stack([each[1] for each in done])


def _circular_mean(phases_rad: Values) -> Values:
    return np.asarray(np.angle(np.exp(1j * phases_rad).sum(axis=0)))


def _variance_model(phase: Values, squares: Values, floor: float) -> tuple[float, float]:
    """Variance = constant + share phase^2, the constant not below `floor`, that makes the squared residuals likeliest
    (normal ones: the sum of log variance + square / variance is least)."""
    least = max(floor, 1e-3 * float(squares.mean()), 1e-14)
    scale = max(float((phase**2).mean()), 1e-12)

    def unlikely(logs: Values) -> float:
        variance = least + np.exp(logs[0]) + np.exp(logs[1]) * phase**2
        return float((np.log(variance) + squares / variance).sum())

    typical = np.log(max(float(squares.mean()), 1e-13))
    starts = [(typical, typical - np.log(scale)), (np.log(least), typical - np.log(scale))]
    fits = [minimize(unlikely, start, method="Nelder-Mead") for start in starts]
    best = min(fits, key=lambda fit: float(fit.fun)).x
    return float(least + np.exp(best[0])), float(np.exp(best[1]))
