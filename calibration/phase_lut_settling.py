"""How long a phase takes to stand: a delay and an exponential through a step that was watched frame by frame."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from calibration.phase_lut_fringes import complex_of

# A phase counts as standing within this share of its step.
STANDING = 0.01
# Time constants over the length of the record, from which the fit starts.
GRID = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)


@dataclass(frozen=True, slots=True)
class Settling:
    """delay_s: until the first change; constant_s: of the exponential after it; settle_s: until STANDING of the step is
    left, delay + constant ln(1 / STANDING). _sigma: standard uncertainties."""

    delay_s: float
    delay_sigma_s: float
    constant_s: float
    constant_sigma_s: float
    settle_s: float
    settle_sigma_s: float


def shares_left(watched: Mapping[str, NDArray[Any]], falling: bool) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What is left of every step one way, in all runs together: (after_s, left), float64 (n,) each.

    watched: `after_s`, `falling`, `run` (n,), phasors (n, regions) as `phasors_re` and `phasors_im`, `test` (regions,):
    pictures of a half that is stepped up and down in every run; the other half stands still. The step is counted
    between the means of the last quarter of each way's record, over all runs.
    """
    phase, after_s, way = _phase_of_half(watched)
    up, down = (float(np.concatenate(_ends(phase, watched, way == each)).mean()) for each in (0, 1))
    end, start = (down, up) if falling else (up, down)
    mine = way == int(falling)
    return after_s[mine], np.asarray((phase[mine] - end) / (start - end))


def creep(watched: Mapping[str, NDArray[Any]]) -> float:
    """How far the phase still moves in the last quarter of the records: its two halves' means apart, over the step."""
    phase, _, way = _phase_of_half(watched)
    ends = [_ends(phase, watched, way == each) for each in (0, 1)]
    step = abs(float(np.concatenate(ends[0]).mean() - np.concatenate(ends[1]).mean()))
    moved = [
        np.mean([float(end[end.size // 2 :].mean() - end[: end.size // 2].mean()) for end in each]) for each in ends
    ]
    return float(np.max(np.abs(moved)) / max(step, 1e-6))


def _phase_of_half(
    watched: Mapping[str, NDArray[Any]],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    phasors, test = complex_of(watched, "phasors"), np.asarray(watched["test"], dtype=bool)
    turned = phasors * np.conj(phasors[0])
    own = turned[:, test].sum(axis=1) * np.conj(turned[:, ~test].sum(axis=1))
    # A step is less than half a turn, so all of it lies within half a turn of its own middle.
    middle = np.angle(np.exp(1j * np.angle(own)).sum())
    return np.asarray(np.angle(own * np.exp(-1j * middle))), watched["after_s"], watched["falling"]


def _ends(
    phase: NDArray[np.float64], watched: Mapping[str, NDArray[Any]], mine: NDArray[np.bool_]
) -> list[NDArray[np.float64]]:
    runs = watched["run"]
    records = [phase[mine & (runs == run)] for run in np.unique(runs)]
    return [record[-max(2, record.size // 4) :] for record in records]


def remaining(delay_s: float, constant_s: float, after_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """Share of a step that is left: 1 up to the delay, then exp(-(t - delay) / constant)."""
    return np.asarray(np.exp(-np.maximum(0, after_s - delay_s) / constant_s))


def fit_settling(after_s: NDArray[np.float64], left: NDArray[np.float64]) -> Settling:
    """Fit delay and time constant to the shares that were seen left.

    after_s: float64 (n,), seconds from writing the image to the middle of each exposure. left: float64 (n,), the share
    of the step still to go, 1 before and 0 after it. The uncertainties are those of least squares with a scatter that
    may differ from point to point (White's heteroscedasticity-consistent covariance, doi:10.2307/1912934, with the
    small-sample correction by leverage, HC3: doi:10.1016/0304-4076(85)90158-7). Raises ValueError for fewer than 4
    points.
    """
    if after_s.size < 4 or after_s.shape != left.shape:
        raise ValueError(f"a step is seen at 4 moments or more, got {after_s.shape} and {left.shape}")
    span_s = max(float(np.ptp(after_s)), 1e-6)

    def miss(parameters: NDArray[np.float64]) -> NDArray[np.float64]:
        return remaining(parameters[0], math.exp(parameters[1]), after_s) - left

    # Before the delay the model is flat: descents from several places on a grid find the best of its valleys.
    grid = [(delay * span_s, math.log(constant * span_s)) for delay in (0, 0.01, 0.03, 0.1) for constant in GRID]
    starts = sorted(grid, key=lambda start: float((miss(np.array(start)) ** 2).sum()))[:3]
    fits = [least_squares(miss, start, x_scale=(0.01 * span_s, 0.3)) for start in starts]
    best = min(fits, key=lambda fit: float(fit.cost))
    covariance = _covariance(np.asarray(best.jac), best.fun)
    delay_s, constant_s = float(best.x[0]), math.exp(float(best.x[1]))
    turns = math.log(1 / STANDING)
    towards = np.array([1.0, constant_s * turns])
    return Settling(
        delay_s,
        math.sqrt(covariance[0, 0]),
        constant_s,
        constant_s * math.sqrt(covariance[1, 1]),
        delay_s + constant_s * turns,
        float(np.sqrt(towards @ covariance @ towards)),
    )


def _covariance(jacobian: NDArray[np.float64], residual: NDArray[np.float64]) -> NDArray[np.float64]:
    inverse = np.linalg.pinv(jacobian.T @ jacobian)
    leverage = np.einsum("ij,jk,ik->i", jacobian, inverse, jacobian)
    corrected = residual / np.maximum(1 - leverage, 0.1)
    meat = (jacobian * corrected[:, None] ** 2).T @ jacobian
    return np.asarray(inverse @ meat @ inverse)
