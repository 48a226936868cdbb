"""Which ramps a board is driven through, each narrower than the last: whole range, step by step down to the noise."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.comparators import Ramps, Transitions, fit_transitions
from calibration.comparators_ladder import Ladder, judge_ladder
from calibration.comparators_trim import Trims, find_trims
from host.board.thresholds import COMPARATORS, DAC_FULL_SCALE, REFERENCE_VOLTS, TRIM_MAX, dac_codes_to_volts
from host.calibrate.procedure import StepData

LSB_VOLTS = REFERENCE_VOLTS / DAC_FULL_SCALE
LADDER_CODES = np.rint(np.arange(1, COMPARATORS + 1) / (COMPARATORS + 1) * DAC_FULL_SCALE).astype(np.uint16)
# The steps in their order. The first trims go by the ladder's scale, which the comparators' offsets make uncertain by
# some thousandths; the second ones only correct what the first left, so that no longer counts.
LADDER, FIND, FINE, TRIM, TRIMMED = "ladder", "find", "fine", "trim", "trimmed"
_BEFORE = {FINE: FIND, TRIM: FINE, TRIMMED: TRIM}
# A ramp reaches this many standard deviations of noise to either side, and this many of what the last one left open.
_REACH_NOISE, _REACH_OPEN = 4.5, 4.0
# What separates the ladder's transitions from those of the wanted thresholds besides their codes: gain errors of the
# comparators' inputs (data sheets of dividers and DACs: up to 0.5 %) and the curvature of two DAC channels.
_GAIN_SLACK, _CURVE_SLACK_VOLTS = 0.006, 1e-3
_TRIM_SLACK_CODES = 4
# How many levels share in a transition, and in a noise, for each level per deviation of noise: with the weights w of
# the fit, (integral of w)^2 / integral of w^2, and the same with w z^2 for w (z: level in deviations).
_SHARING, _SHARING_NOISE = 3.96, 9.26


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """One step's ramps. dac_codes: uint16 (15,), trims: int16 (15,) to provision; start_codes, step_codes: int64
    (15, 2) of the test cell's DAC, by comparator and direction (from below, from above); points, reads."""

    dac_codes: NDArray[np.uint16]
    trims: NDArray[np.int16]
    start_codes: NDArray[np.int64]
    step_codes: NDArray[np.int64]
    points: int
    reads: int


def plan_ramps(
    ramp: str, dac_codes: NDArray[np.uint16], settings: Mapping[str, Any], before: Mapping[str, StepData]
) -> Plan | None:
    """What to drive in the step `ramp`, from what the steps `before` showed; None where they showed a wrong set-up.

    dac_codes: uint16 (15,), wanted thresholds. settings: `points` and `reads`. Raises KeyError for an unknown step.
    """
    points, reads = int(settings["points"]), int(settings["reads"])
    untrimmed = np.zeros(COMPARATORS, dtype=np.int16)
    if ramp == LADDER:
        step = DAC_FULL_SCALE // (points - 1)
        shape = (COMPARATORS, 2)
        return Plan(LADDER_CODES, untrimmed, np.zeros(shape, np.int64), np.full(shape, step), points, reads)
    ladder = transitions_of(before[LADDER])
    judged = ladder_of(before[LADDER])
    if judged.name:
        return None
    known = _expected(ladder, judged, dac_codes)
    if ramp == FIND:
        return _around(dac_codes, untrimmed, known, points, reads)
    known = _sharpened(known, transitions_of(before[_BEFORE[ramp]]))
    if ramp == FINE:
        return _around(dac_codes, untrimmed, known, points, reads)
    trims = trims_of(before, dac_codes).trims
    change = trims.astype(np.int64) - before[_BEFORE[ramp]]["trims"]
    slack = LSB_VOLTS * (_TRIM_SLACK_CODES + _GAIN_SLACK * np.abs(change))
    moved = _Known(
        known.centres_volts + (judged.gain * LSB_VOLTS * change)[:, None],
        known.open_volts + slack[:, None],
        known.noise_volts,
    )
    return _around(dac_codes, trims, moved, points, reads)


@dataclass(frozen=True, slots=True, eq=False)
class _Known:
    """What is known of transitions before a ramp. centres_volts, open_volts: float64 (15, 2), where rising and falling
    ones are expected, and how far off they may be at most; noise_volts: float64 (15,), at most."""

    centres_volts: NDArray[np.float64]
    open_volts: NDArray[np.float64]
    noise_volts: NDArray[np.float64]


def _expected(ladder: Transitions, judged: Ladder, dac_codes: NDArray[np.uint16]) -> _Known:
    """Where the ladder lets the transitions of other thresholds be expected."""
    away = dac_codes_to_volts(dac_codes) - dac_codes_to_volts(LADDER_CODES)
    seen = _seen(ladder)
    slack = _GAIN_SLACK * np.abs(away) + _CURVE_SLACK_VOLTS
    return _Known(
        seen.centres_volts + (judged.gain * away)[:, None], seen.open_volts + slack[:, None], seen.noise_volts
    )


def _seen(found: Transitions) -> _Known:
    sigma = np.column_stack([found.rising_sigma_volts, found.falling_sigma_volts])
    centres = np.column_stack([found.rising_volts, found.falling_volts])
    return _Known(centres, _REACH_OPEN * sigma, found.noise_volts + 2 * found.noise_sigma_volts)


def _sharpened(known: _Known, found: Transitions) -> _Known:
    """The same after a ramp; what it did not bracket stays as it was."""
    seen, now = found.found, _seen(found)
    return _Known(
        np.where(seen[:, None], now.centres_volts, known.centres_volts),
        np.where(seen[:, None], now.open_volts, known.open_volts),
        np.where(seen, now.noise_volts, known.noise_volts),
    )


def transitions_of(data: StepData) -> Transitions:
    """The transitions that a step's ramps show, in volts of the ramp. Their uncertainty includes that every level of
    the ramp may be off by its DAC's differential nonlinearity (up to one LSB, uniform), averaged over the levels that
    share in the transition."""
    ramps = ramps_of(data)
    found = fit_transitions(ramps)
    step = (data["step_codes"] * LSB_VOLTS).mean(axis=1)
    per_deviation = found.noise_volts / step
    u = LSB_VOLTS / np.sqrt(12 * np.maximum(1.0, _SHARING * per_deviation))
    u_noise = LSB_VOLTS / np.sqrt(12 * np.maximum(1.0, 2 * _SHARING_NOISE * per_deviation))
    return Transitions(
        found.state,
        found.rising_volts,
        np.hypot(found.rising_sigma_volts, u),
        found.falling_volts,
        np.hypot(found.falling_sigma_volts, u),
        found.transition_volts,
        np.hypot(found.transition_sigma_volts, u / np.sqrt(2)),
        found.hysteresis_volts,
        np.hypot(found.hysteresis_sigma_volts, u * np.sqrt(2)),
        found.noise_volts,
        np.hypot(found.noise_sigma_volts, u_noise),
        found.misfit,
    )


def ramps_of(data: StepData) -> Ramps:
    """A step's ramps as the arithmetic takes them."""
    highs = np.asarray(data["highs"], dtype=np.int64)
    codes = data["start_codes"][:, :, None] + data["step_codes"][:, :, None] * np.arange(highs.shape[2])
    return Ramps(dac_codes_to_volts(codes), highs, int(data["reads"]))


def ladder_of(data: StepData) -> Ladder:
    """What the ladder says about the set-up."""
    return judge_ladder(transitions_of(data), dac_codes_to_volts(LADDER_CODES), REFERENCE_VOLTS)


def found_at(
    data: Mapping[str, StepData], ramp: str, dac_codes: NDArray[np.uint16]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """Transitions in the step `ramp` and their uncertainties, volts, float64 (15,), and which were seen, bool (15,).
    One that lies beyond the ramp's ends (a threshold at 0 V, say) is reckoned from the ladder's."""
    found, judged = transitions_of(data[ramp]), ladder_of(data[LADDER])
    reckoned = _expected(transitions_of(data[LADDER]), judged, dac_codes)
    centres = reckoned.centres_volts.mean(axis=1) + judged.gain * LSB_VOLTS * data[ramp]["trims"]
    seen = found.found
    return (
        np.where(seen, found.transition_volts, centres),
        np.where(seen, found.transition_sigma_volts, reckoned.open_volts.max(axis=1) / _REACH_OPEN),
        seen,
    )


def trims_of(data: Mapping[str, StepData], dac_codes: NDArray[np.uint16]) -> Trims:
    """The trims that bring every transition onto its wanted level, by the last ramps before `trimmed`."""
    last = TRIM if TRIM in data else FINE
    at, _, _ = found_at(data, last, dac_codes)
    gain = ladder_of(data[LADDER]).gain
    untrimmed = at - gain * LSB_VOLTS * data[last]["trims"]
    wanted = dac_codes_to_volts(dac_codes)
    return find_trims(untrimmed, wanted, dac_codes, LSB_VOLTS, gain=gain, largest=TRIM_MAX, full_scale=DAC_FULL_SCALE)


def _around(dac_codes: NDArray[np.uint16], trims: NDArray[np.int16], known: _Known, points: int, reads: int) -> Plan:
    """Ramps around expected transitions, as wide as the noise and what is still open ask for."""
    half = _REACH_NOISE * known.noise_volts[:, None] + known.open_volts
    largest = DAC_FULL_SCALE // (points - 1)
    step = np.clip(np.ceil(2 * half / (points - 1) / LSB_VOLTS), 1, largest).astype(np.int64)
    start = np.rint(known.centres_volts / LSB_VOLTS).astype(np.int64) - step * (points // 2)
    start = np.clip(start, 0, DAC_FULL_SCALE - step * (points - 1))
    return Plan(dac_codes, trims, start, step, points, reads)
