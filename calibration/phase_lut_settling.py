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
# What of the watched steps is not one value for each picture.
PER_STEP = ("test", "level")


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
    up, down = _stands(phase, watched, way)
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


def _stands(
    phase: NDArray[np.float64], watched: Mapping[str, NDArray[Any]], way: NDArray[np.int64]
) -> tuple[float, float]:
    """The phases, radians, at which steps up and steps down end."""
    up, down = (float(np.concatenate(_ends(phase, watched, way == each)).mean()) for each in (0, 1))
    return up, down


def _ends(
    phase: NDArray[np.float64], watched: Mapping[str, NDArray[Any]], mine: NDArray[np.bool_]
) -> list[NDArray[np.float64]]:
    runs = watched["run"]
    records = [phase[mine & (runs == run)] for run in np.unique(runs)]
    return [record[-max(2, record.size // 4) :] for record in records]


def remaining(delay_s: float, constant_s: float, after_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """Share of a step that is left: 1 up to the delay, then exp(-(t - delay) / constant)."""
    return np.asarray(np.exp(-np.maximum(0, after_s - delay_s) / constant_s))


def settling_of(watched: Mapping[str, NDArray[Any]], falling: bool, mirrored: float = 0.0) -> Settling:
    """Delay and time constant of the steps one way, in data as for `shares_left`.

    mirrored: size of the mean share of mirrored fringes in the half that steps (calibration/phase_lut_mirror.py), which
    bends every step alike, so that no scatter shows it; what it makes of the fit counts in the uncertainties.

    The runs are independent, the pictures of one are not (a ripple, the level that it starts from): the uncertainties
    are those of leaving out each run in turn (jackknife, doi:10.1214/aos/1176345462), widened for few runs as a t
    distribution's is, by sqrt((n - 1) / (n - 3)) (JCGM 101:2008, 6.4.9.4). Raises ValueError for fewer than 4 runs.
    """
    runs = np.unique(watched["run"])
    count = int(runs.size)
    if count < 4:
        raise ValueError(f"steps are watched in 4 runs or more, got {count}")
    delay_s, constant_s = fit_step(*shares_left(watched, falling))
    turns = math.log(1 / STANDING)
    left_out = []
    for run in runs:
        kept = watched["run"] != run
        rest = {name: value if name in PER_STEP else value[kept] for name, value in watched.items()}
        delay, constant = fit_step(*shares_left(rest, falling), (delay_s, constant_s))
        left_out.append((delay, constant, delay + constant * turns))
    spread = np.std(np.array(left_out), axis=0) * math.sqrt((count - 1) * (count - 1) / (count - 3))
    bent = _bent(watched, falling, delay_s, constant_s, mirrored) if mirrored > 0 else np.zeros(2)
    sigma = np.hypot(spread, [bent[0], bent[1], bent[0] + bent[1] * turns])
    settle_s = delay_s + constant_s * turns
    return Settling(delay_s, float(sigma[0]), constant_s, float(sigma[1]), settle_s, float(sigma[2]))


def _bent(
    watched: Mapping[str, NDArray[Any]], falling: bool, delay_s: float, constant_s: float, mirrored: float
) -> NDArray[np.float64]:
    """How far a share b of mirrored fringes moves delay and constant: rms over b's angles, seconds, float64 (2,)."""
    phase, after_s, way = _phase_of_half(watched)
    up, down = _stands(phase, watched, way)
    after_s, step_rad = after_s[way == int(falling)], abs(up - down)
    left = remaining(delay_s, constant_s, after_s)
    true_rad, moved = step_rad * (left if falling else 1 - left), []
    for share in (mirrored, 1j * mirrored):
        seen_rad, full_rad = (each + np.imag(share * np.exp(-2j * each) - share) for each in (true_rad, step_rad))
        seen = seen_rad / full_rad if falling else 1 - seen_rad / full_rad
        moved.append(np.array(fit_step(after_s, seen, (delay_s, constant_s))) - (delay_s, constant_s))
    return np.asarray(np.sqrt((np.array(moved) ** 2).mean(axis=0)))


def slower(one: Settling, other: Settling) -> tuple[float, float]:
    """The longer of two settle times, and its standard uncertainty, seconds. Where it is not sure which is the longer
    (closer than twice the uncertainty of their difference), the larger uncertainty of the two."""
    first, second = sorted((one, other), key=lambda each: each.settle_s, reverse=True)
    unsure = first.settle_s - second.settle_s < 2 * math.hypot(one.settle_sigma_s, other.settle_sigma_s)
    sigma_s = max(one.settle_sigma_s, other.settle_sigma_s) if unsure else first.settle_sigma_s
    return first.settle_s, sigma_s


def fit_step(
    after_s: NDArray[np.float64], left: NDArray[np.float64], near: tuple[float, float] | None = None
) -> tuple[float, float]:
    """(delay, time constant), seconds, of least squares through the shares that were seen left.

    after_s: float64 (n,), seconds from writing the image to the middle of each exposure. left: float64 (n,), the share
    of the step still to go, 1 before and 0 after it. near: where to look, None: everywhere. Raises ValueError for fewer
    than 4 points.
    """
    if after_s.size < 4 or after_s.shape != left.shape:
        raise ValueError(f"a step is seen at 4 moments or more, got {after_s.shape} and {left.shape}")
    span_s = max(float(np.ptp(after_s)), 1e-6)

    def miss(parameters: NDArray[np.float64]) -> NDArray[np.float64]:
        return remaining(parameters[0], math.exp(parameters[1]), after_s) - left

    if near is not None:
        starts = [(near[0], math.log(near[1]))]
    else:
        # Before the delay the model is flat: descents from several places on a grid find the best of its valleys.
        grid = [(delay * span_s, math.log(constant * span_s)) for delay in (0, 0.01, 0.03, 0.1) for constant in GRID]
        starts = sorted(grid, key=lambda start: float((miss(np.array(start)) ** 2).sum()))[:3]
    fits = [least_squares(miss, start, x_scale=(0.01 * span_s, 0.3), xtol=1e-12, ftol=1e-12) for start in starts]
    best = min(fits, key=lambda fit: float(fit.cost)).x
    return float(best[0]), math.exp(float(best[1]))
