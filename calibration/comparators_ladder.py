"""Is this the board that it should be? An evenly spaced ladder of thresholds tells wrong set-ups from each other."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import theilslopes

from calibration.comparators import Transitions

# A comparator that switches further from its threshold than this is a fault, not a calibration matter: the firmware's
# COMPARATOR_TOLERANCE (1966 codes), beyond which an armed board blinds itself. 3 % of full scale.
FAULT_VOLTS = 0.075
# Threshold DAC and ramp hang on one reference; a DAC's gain error is below 0.5 % (data sheets of 16-bit DACs), a part
# that fell back to another reference is off by far more (2.048 or 3.0 V instead of 2.5 V: 18 or 20 %).
SCALE_TOLERANCE = 0.03
# Comparators have some tenths of a millivolt of noise. When most show this much, it comes from what they share.
NOISY_VOLTS = 0.008
_FEWEST_FOR_A_SCALE = 5


@dataclass(frozen=True, slots=True, eq=False)
class Ladder:
    """gain: slope of transitions over thresholds (1: the ramp and the thresholds have one scale). offset_volts: float64
    (n,), transition - threshold. name: short name of the wrong set-up, "" for none; seen: what shows it, in words."""

    gain: float
    offset_volts: NDArray[np.float64]
    name: str = ""
    seen: str = ""


def judge_ladder(found: Transitions, threshold_volts: ArrayLike, full_scale_volts: float) -> Ladder:
    """What a ramp over the whole range, 0 to `full_scale_volts`, says about comparators with thresholds, float (n,),
    that are evenly spread and so far apart that each transition is recognised as one of them.

    The scale is the median of slopes (Theil-Sen), which a third of wrong comparators does not move. The learned
    thresholds cannot serve for this: many are equal, and two comparators that were swapped would not show.
    """
    wanted = np.asarray(threshold_volts, dtype=np.float64)
    at, known = found.transition_volts, found.found
    slope, intercept = 1.0, 0.0
    if known.sum() >= _FEWEST_FOR_A_SCALE:
        slope, intercept = (float(value) for value in theilslopes(at[known], wanted[known])[:2])
    wrong = (
        _scaled(found, wanted, slope, intercept, full_scale_volts)
        or _stuck(found, full_scale_volts)
        or _misplaced(at, wanted)
        or _noisy(found.noise_volts)
    )
    return Ladder(slope, at - wanted, *wrong)


_Wrong = tuple[str, str] | tuple[()]


def _scaled(
    found: Transitions, wanted: NDArray[np.float64], slope: float, intercept: float, full_scale_volts: float
) -> _Wrong:
    """One factor explains every transition, and those that were not seen would lie beyond the ramp."""
    line = intercept + slope * wanted
    known = found.found
    beyond = (line <= 0.0) | (line >= full_scale_volts)
    on_line = np.abs(found.transition_volts - line) < FAULT_VOLTS
    enough = known.sum() >= _FEWEST_FOR_A_SCALE
    if not enough or abs(slope - 1.0) <= SCALE_TOLERANCE or not np.where(known, on_line, beyond).all():
        return ()
    return (
        "missing_reference",
        f"every transition is {slope:.3g} times its threshold, so thresholds and ramp do not share one reference: "
        "check the reference's wiring to the threshold DAC",
    )


def _stuck(found: Transitions, full_scale_volts: float) -> _Wrong:
    """A comparator that does not switch anywhere on the ramp."""
    words = [f"comparator {i} {_STAYS[found.state[i]]}" for i in np.flatnonzero(~found.found)]
    if not words:
        return ()
    return (
        "stuck_comparator",
        f"{'; '.join(words)}, while the ramp went from 0 to {full_scale_volts:g} V: check its supply, wiring and "
        "threshold channel, then run `canopic board selftest`",
    )


def _misplaced(at: NDArray[np.float64], wanted: NDArray[np.float64]) -> _Wrong:
    """Comparators that switch far from their own threshold: at each other's, or anywhere."""
    offset = at - wanted
    far = np.abs(offset) > min(FAULT_VOLTS, float(np.diff(wanted).min()) / 2)
    if not far.any():
        return ()
    channels = np.flatnonzero(far)
    belongs = np.abs(at[:, None] - wanted).argmin(axis=1)
    near = np.abs(at - wanted[belongs]) < FAULT_VOLTS
    if near[far].all() and sorted(belongs[far]) == list(channels):
        pairs = ", ".join(f"{i} switches where {belongs[i]} should" for i in channels)
        return "swapped_comparators", f"comparator {pairs}: exchange their threshold lines or their outputs"
    worst = ", ".join(f"{i} by {offset[i] * 1e3:+.0f} mV" for i in channels)
    return (
        "wrong_thresholds",
        f"comparator {worst} off its threshold, more than {FAULT_VOLTS * 1e3:.0f} mV, although the DAC reads back what "
        "was written: check for leakage or a bad joint between that DAC channel and its comparator",
    )


def _noisy(noise_volts: NDArray[np.float64]) -> _Wrong:
    """Noise in most comparators at once."""
    middle = float(np.median(noise_volts))
    if middle <= NOISY_VOLTS:
        return ()
    return (
        "noisy_supply",
        f"{int((noise_volts > NOISY_VOLTS).sum())} of {noise_volts.size} comparators have more than "
        f"{NOISY_VOLTS * 1e3:g} mV of noise (median {middle * 1e3:.1f} mV), so what they share is noisy: check supply, "
        "decoupling and ground",
    )


_STAYS = {"stays_low": "stays low", "stays_high": "stays high", "erratic": "does not follow its input"}
