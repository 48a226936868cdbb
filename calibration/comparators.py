"""Where comparators switch: S-curves of a ramp, fitted as cumulative normals with one noise for both directions."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import log_ndtr, ndtri

# How a transition was found. fitted: by maximum likelihood. interval: the noise is far below the ramp's step, so all
# that is known is the step it lies in. stays_low, stays_high: the ramp does not bracket it. erratic: falls with the
# input.
State = Literal["fitted", "interval", "stays_low", "stays_high", "erratic"]

_LOG_ROOT_TAU = 0.5 * np.log(2 * np.pi)
_ITERATIONS = 60
_CONVERGED = 1e-9
_LEAST_MIXED = 2  # levels with both answers that fix a transition and a noise together; fewer leave a family of curves
_CHANCE_OF_MORE_NOISE = 0.05


@dataclass(frozen=True, slots=True, eq=False)
class Ramps:
    """Counts of highs over ramps of one board.

    levels_volts: float64 (comparators, 2, points), ascending and evenly spaced, what the input was driven to. highs:
    int (comparators, 2, points), how many of `reads` readings were high. [:, 0] was approached from far below before
    every reading (it shows the rising transition), [:, 1] from far above (the falling one).
    """

    levels_volts: NDArray[np.float64]
    highs: NDArray[np.int64]
    reads: int


@dataclass(frozen=True, slots=True, eq=False)
class Transitions:
    """Where comparators switch, all arrays (comparators,), volts on the ramp's scale; NaN where `state` says that
    nothing could be found. Every `_sigma` is a standard uncertainty (k = 1).

    rising, falling: the input at which half the readings are high, coming from below or above. transition: their mean.
    hysteresis: rising - falling. noise: standard deviation of the comparator's input-referred noise; in the state
    "interval" the middle of 0 and the largest that 95 % of such ramps would have shown. misfit: Pearson's chi-square
    per degree of freedom, about 1 for a cumulative normal and independent readings (NaN where not fitted).
    """

    state: tuple[State, ...]
    rising_volts: NDArray[np.float64]
    rising_sigma_volts: NDArray[np.float64]
    falling_volts: NDArray[np.float64]
    falling_sigma_volts: NDArray[np.float64]
    transition_volts: NDArray[np.float64]
    transition_sigma_volts: NDArray[np.float64]
    hysteresis_volts: NDArray[np.float64]
    hysteresis_sigma_volts: NDArray[np.float64]
    noise_volts: NDArray[np.float64]
    noise_sigma_volts: NDArray[np.float64]
    misfit: NDArray[np.float64]

    @property
    def found(self) -> NDArray[np.bool_]:
        """Which comparators have a transition, (comparators,)."""
        return np.isfinite(self.transition_volts)


def fit_transitions(ramps: Ramps) -> Transitions:
    """Maximum-likelihood transition levels, hysteresis and noise of comparators from their ramps.

    A reading at input x is high with probability Phi((x - t) / noise) (Phi: cumulative normal; t: rising or falling
    transition); k highs of n readings are binomial. That is a probit regression with two intercepts and one slope,
    whose likelihood is concave, so Fisher scoring finds the one maximum (Wichmann and Hill 2001,
    doi:10.3758/BF03194544, for fit and goodness of fit). Uncertainties are the Cramer-Rao bound: the inverse of the
    Fisher information at the maximum. A transition level is the input at which half the readings are above it (IEEE
    Std 1241-2010, code transition level). Where fewer than two levels of a ramp show both answers, transition and
    noise cannot be told apart: the transition is then uniform within one step of the ramp (standard uncertainty step
    / sqrt(12)), state "interval".

    Raises ValueError for other shapes, counts outside 0..reads, or levels that do not ascend.
    """
    levels, highs = _checked(ramps)
    count = len(levels)
    shares = highs / ramps.reads
    states = [_bracketed(share) for share in shares]
    found = np.array([state == "fitted" for state in states], dtype=bool)
    mixed = ((highs > 0) & (highs < ramps.reads)).sum(axis=2)
    regular = found & (mixed.min(axis=1) >= _LEAST_MIXED)

    values = np.full((count, 5, 2), np.nan)  # rising, falling, transition, hysteresis, noise: value and its sigma
    misfit = np.full(count, np.nan)
    for i in np.flatnonzero(found & ~regular):
        states[i] = "interval"
        values[i] = _interval(levels[i], highs[i], ramps.reads)
    if regular.any():
        fitted, falls, misfit[regular] = _fit(levels[regular], highs[regular], ramps.reads)
        values[regular] = fitted
        for i in np.flatnonzero(regular)[falls]:
            states[i] = "erratic"
            values[i] = np.nan
            misfit[i] = np.nan
    rising, falling, transition, hysteresis, noise = (values[:, i] for i in range(5))
    return Transitions(
        tuple(states),
        rising[:, 0], rising[:, 1], falling[:, 0], falling[:, 1], transition[:, 0], transition[:, 1],
        hysteresis[:, 0], hysteresis[:, 1], noise[:, 0], noise[:, 1], misfit,
    )  # fmt: skip


def chance_high(level_volts: ArrayLike, transition_volts: ArrayLike, noise_volts: ArrayLike) -> NDArray[np.float64]:
    """The S-curve: probability, float64, that a reading at `level_volts` is high; the arguments broadcast. A comparator
    without noise gives a step."""
    noise = np.maximum(np.asarray(noise_volts, dtype=np.float64), np.finfo(np.float64).tiny)
    distance = np.asarray(level_volts, dtype=np.float64) - np.asarray(transition_volts, dtype=np.float64)
    with np.errstate(over="ignore"):
        made: NDArray[np.float64] = np.exp(log_ndtr(distance / noise))
    return made


def _checked(ramps: Ramps) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    levels = np.asarray(ramps.levels_volts, dtype=np.float64)
    highs = np.asarray(ramps.highs, dtype=np.float64)
    if levels.ndim != 3 or levels.shape[1] != 2 or levels.shape[2] < 2 or highs.shape != levels.shape:
        raise ValueError(
            f"ramps are (comparators, 2 directions, 2 or more points), not {levels.shape} with counts {highs.shape}"
        )
    if ramps.reads < 1 or not ((highs >= 0) & (highs <= ramps.reads)).all():
        raise ValueError(f"counts of highs are 0..reads ({ramps.reads}), got {highs.min():g}..{highs.max():g}")
    if not (np.diff(levels, axis=2) > 0).all():
        raise ValueError("the levels of a ramp ascend: sort them, with their counts")
    return levels, highs


def _bracketed(share: NDArray[np.float64]) -> State:
    """Whether both ramps (2, points) begin below a half and end above it."""
    if (share[:, 0] < 0.5).all() and (share[:, -1] > 0.5).all():
        return "fitted"
    if (share[:, 0] < 0.5).all():
        return "stays_low"
    return "stays_high" if (share[:, -1] > 0.5).all() else "erratic"


def _interval(levels: NDArray[np.float64], highs: NDArray[np.float64], reads: int) -> NDArray[np.float64]:
    """Transitions and noise of one comparator, (5, 2), whose noise is too small for the ramp's step."""
    step = levels[:, 1] - levels[:, 0]
    share = highs / reads
    # The mean of a staircase (Spearman and Kaerber): the middle of the step in which it rises, or of those around a
    # single level with both answers.
    at = levels[:, -1] + step / 2 - step * share.sum(axis=1)
    mixed = ((highs > 0) & (highs < reads)).sum(axis=1)
    single = mixed == 1
    at[single] = levels[single][np.arange(int(single.sum())), ((highs > 0) & (highs < reads))[single].argmax(axis=1)]
    u = np.maximum(1, mixed) * step / np.sqrt(12)
    # The largest noise with which a ramp that lies well would still show no further level with both answers.
    reach = step * (mixed + 1) / 2
    most = float((reach / ndtri(_CHANCE_OF_MORE_NOISE ** (1 / (2 * reads)))).min())
    both = float(np.hypot(u[0], u[1]))
    return np.array([
        [at[0], u[0]], [at[1], u[1]], [at.mean(), both / 2], [at[0] - at[1], both], [most / 2, most / np.sqrt(12)],
    ])  # fmt: skip


def _fit(
    levels: NDArray[np.float64], highs: NDArray[np.float64], reads: int
) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.float64]]:
    """Values and sigmas (n, 5, 2) of rising, falling, transition, hysteresis and noise; which have no rising slope; the
    misfit."""
    count, _, points = levels.shape
    step = levels[:, :, 1] - levels[:, :, 0]
    share = highs / reads
    start = levels[:, :, -1] + step / 2 - step * share.sum(axis=2)
    centre = start.mean(axis=1)
    scale = np.maximum(step.max(axis=1), _spread(levels, share, start))
    x = (levels - centre[:, None, None]) / scale[:, None, None]
    design = np.zeros((count, 2, points, 3))
    design[:, 0, :, 0] = -1.0
    design[:, 1, :, 1] = -1.0
    design[..., 2] = x
    beta = np.column_stack([(start - centre[:, None]) / scale[:, None], np.ones(count)])
    likelihood = _log_likelihood(design, beta, highs, reads)
    for _ in range(_ITERATIONS):
        gradient, information, _ = _score(design, beta, highs, reads)
        change = np.linalg.solve(information + 1e-12 * np.eye(3), gradient[..., None])[..., 0]
        taken = np.ones(count)
        for _ in range(20):  # halved where a step overshoots the maximum
            tried = beta + taken[:, None] * change
            now = _log_likelihood(design, tried, highs, reads)
            worse = now < likelihood - 1e-9
            if not worse.any():
                break
            taken[worse] /= 2
        beta, gain, likelihood = tried, now - likelihood, now
        if (np.abs(gain) < _CONVERGED).all():
            break
    slope = beta[:, 2]
    falls = ~(slope > 1e-6)
    slope = np.where(falls, 1.0, slope)
    sigma = scale / slope
    at = centre[:, None] + scale[:, None] * beta[:, :2] / slope[:, None]
    _, information, misfit = _score(design, beta, highs, reads)
    # From intercepts and slope (a, a', b) to (t, t', noise) = (a/b, a'/b, 1/b), in units of `scale`.
    jacobian = np.zeros((count, 3, 3))
    jacobian[:, 0, 0] = jacobian[:, 1, 1] = 1 / slope
    jacobian[:, :2, 2] = -beta[:, :2] / slope[:, None] ** 2
    jacobian[:, 2, 2] = -1 / slope**2
    inverse = np.linalg.inv(information + 1e-12 * np.eye(3))
    covariance = scale[:, None, None] ** 2 * (jacobian @ inverse @ jacobian.transpose(0, 2, 1))
    cross = covariance[:, 0, 1]
    u_rising, u_falling, u_noise = (np.sqrt(covariance[:, i, i]) for i in range(3))
    u_mean = 0.5 * np.sqrt(u_rising**2 + u_falling**2 + 2 * cross)
    u_difference = np.sqrt(np.maximum(0.0, u_rising**2 + u_falling**2 - 2 * cross))
    values = np.stack([at[:, 0], at[:, 1], at.mean(axis=1), at[:, 0] - at[:, 1], sigma], axis=1)
    return (
        np.stack([values, np.stack([u_rising, u_falling, u_mean, u_difference, u_noise], axis=1)], axis=2),
        falls,
        misfit,
    )


def _spread(levels: NDArray[np.float64], share: NDArray[np.float64], mean: NDArray[np.float64]) -> NDArray[np.float64]:
    """A rough standard deviation of the S-curves of each comparator, (n,), from the curves' increments."""
    rises = np.maximum(0.0, np.diff(share, axis=2))
    middles = (levels[:, :, 1:] + levels[:, :, :-1]) / 2
    squares = (rises * (middles - mean[:, :, None]) ** 2).sum(axis=(1, 2)) / np.maximum(1e-9, rises.sum(axis=(1, 2)))
    made: NDArray[np.float64] = np.sqrt(squares)
    return made


def _log_likelihood(design: NDArray[Any], beta: NDArray[Any], highs: NDArray[Any], reads: int) -> NDArray[np.float64]:
    eta = np.einsum("cdpk,ck->cdp", design, beta)
    made: NDArray[np.float64] = (highs * log_ndtr(eta) + (reads - highs) * log_ndtr(-eta)).sum(axis=(1, 2))
    return made


def _score(
    design: NDArray[Any], beta: NDArray[Any], highs: NDArray[Any], reads: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Gradient (n, 3) and Fisher information (n, 3, 3) of the log likelihood; chi-square per degree of freedom (n,)."""
    eta = np.einsum("cdpk,ck->cdp", design, beta)
    log_density = -0.5 * eta**2 - _LOG_ROOT_TAU
    log_high, log_low = log_ndtr(eta), log_ndtr(-eta)
    over_high, over_low = np.exp(log_density - log_high), np.exp(log_density - log_low)
    weight = reads * over_high * over_low
    slope = highs * over_high - (reads - highs) * over_low
    gradient = np.einsum("cdp,cdpk->ck", slope, design)
    information = np.einsum("cdp,cdpk,cdpl->ckl", weight, design, design)
    # Levels where an odd answer is expected less than once in all tell nothing by chi-square.
    expected = np.exp(log_high), np.exp(log_low)
    told = reads * np.minimum(*expected) > 1.0
    variance = np.where(told, reads * expected[0] * expected[1], 1.0)
    squares = np.where(told, (highs - reads * expected[0]) ** 2 / variance, 0.0).sum(axis=(1, 2))
    misfit = squares / np.maximum(1, told.sum(axis=(1, 2)) - 3)
    return gradient, information, misfit
