"""Has a sealed board moved? A few readings around each sealed transition, cheap enough for while it runs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from calibration.comparators_drift import find_drift
from host.board.bench import ApproachName
from host.board.thresholds import COMPARATORS, DAC_FULL_SCALE, REFERENCE_VOLTS

# An eleventh of the default encoding's smallest step (22 mV) and a fortieth of what an armed board takes for a fault
# (75 mV): far above what a check resolves, so it tells ageing and warmth from noise before codes suffer.
DRIFT_LIMIT_VOLTS = 2e-3
# One check a minute then gives a false alarm in two years, were every comparator exactly at the limit all the time.
FALSE_ALARM = 1e-6
_LSB_VOLTS = REFERENCE_VOLTS / DAC_FULL_SCALE
_READS = 32
_CORE = 7  # levels across the transition, 1.5 deviations apart
_APPROACHES: tuple[tuple[ApproachName, float], ...] = (("below", 0.5), ("above", -0.5))
_ARRAYS = ("transition_volts", "transition_sigma_volts", "noise_volts", "hysteresis_volts")


class Sweeps(Protocol):
    """What a check needs of BoardClient."""

    def sweep(
        self, comparator: int, start: int, step: int, count: int, reads: int, approach: ApproachName
    ) -> NDArray[np.uint16]:
        """In how many of `reads` readings the comparator was high at each level, uint16 (count,)."""


@dataclass(frozen=True, slots=True, eq=False)
class DriftCheck:
    """comparators: which were checked; drift_volts, drift_sigma_volts: float64 (n,), how far each has moved since the
    seal (where it left the short ramp, only that it is beyond the limit). moved: those beyond the limit. false_alarm:
    largest chance that `moved` names any while all are within the limit. reason: one sentence."""

    comparators: tuple[int, ...]
    drift_volts: NDArray[np.float64]
    drift_sigma_volts: NDArray[np.float64]
    moved: tuple[int, ...]
    limit_volts: float
    false_alarm: float
    reason: str

    @property
    def ok(self) -> bool:
        """Whether none has moved."""
        return not self.moved


def drift_check(
    client: Sweeps,
    sealed: Mapping[str, NDArray[Any]],
    *,
    comparators: Sequence[int] = range(COMPARATORS),
    limit_volts: float = DRIFT_LIMIT_VOLTS,
    false_alarm: float = FALSE_ALARM,
) -> DriftCheck:
    """Compare a board, committed or armed with its sealed thresholds and trims, with its sealed transitions.

    sealed: the calibration's arrays transition_volts, transition_sigma_volts, noise_volts, hysteresis_volts, each
    (15,); names may carry the prefix `board.`. For each comparator four short sweeps of the test cell: seven levels
    across the transition and two just beyond the limit, each from below and from above, 32 readings a level. What has
    moved is decided as `calibration.comparators_drift.find_drift` says. A sealed transition outside the DAC's range
    (a threshold at 0 V) is left out.

    Raises what BoardClient.sweep raises, and ValueError where an array is missing.
    """
    transition, u, noise, hysteresis = (_array(sealed, name) for name in _ARRAYS)
    chosen = [i for i in comparators if limit_volts < transition[i] < REFERENCE_VOLTS - limit_volts]
    if not chosen:
        return DriftCheck((), np.zeros(0), np.zeros(0), (), limit_volts, false_alarm, "no transition can be checked")
    codes, highs, at = [], [], []
    for i in chosen:
        pitch = max(1, round(1.5 * noise[i] / _LSB_VOLTS))
        guard = max(_CORE // 2 * pitch + 1, int(np.ceil((limit_volts + 2 * noise[i] + 6 * u[i]) / _LSB_VOLTS)))
        seen_codes, seen_highs, seen_at = [], [], []
        for approach, sign in _APPROACHES:
            level = transition[i] + sign * hysteresis[i]
            centre = round(level / _LSB_VOLTS)
            for first, step, count in ((centre - _CORE // 2 * pitch, pitch, _CORE), (centre - guard, 2 * guard, 2)):
                start = int(np.clip(first, 0, DAC_FULL_SCALE - step * (count - 1)))
                seen_highs.append(client.sweep(i, start, step, count, _READS, approach))
                seen_codes.append(start + step * np.arange(count))
                seen_at.append(np.full(count, level))
        codes.append(np.concatenate(seen_codes))
        highs.append(np.concatenate(seen_highs))
        at.append(np.concatenate(seen_at))
    found = find_drift(
        np.array(codes) * _LSB_VOLTS, np.array(highs), _READS, np.array(at), u[chosen], noise[chosen], limit_volts,
        false_alarm
    )  # fmt: skip
    moved = tuple(i for i, yes in zip(chosen, found.moved, strict=True) if yes)
    largest = int(np.abs(found.drift_volts).argmax())
    reason = (
        "; ".join(
            f"comparator {i} switches lower than where it was calibrated"
            if drift < 0
            else f"comparator {i} switches higher than where it was calibrated"
            for i, drift, yes in zip(chosen, found.drift_volts, found.moved, strict=True)
            if yes
        )
        + f", by more than {limit_volts * 1e3:g} mV: run `canopic calibrate board` and seal again"
        if moved
        else f"no comparator has moved by more than {limit_volts * 1e3:g} mV (largest: comparator {chosen[largest]}, "
        f"{found.drift_volts[largest] * 1e3:+.2f} mV)"
    )
    return DriftCheck(
        tuple(chosen), found.drift_volts, found.drift_sigma_volts, moved, limit_volts, false_alarm, reason
    )


def _array(sealed: Mapping[str, NDArray[Any]], name: str) -> NDArray[np.float64]:
    found = sealed.get(name, sealed.get(f"board.{name}"))
    if found is None or np.shape(found) != (COMPARATORS,):
        raise ValueError(
            f"the board's calibration holds no {name} ({COMPARATORS},): run `canopic calibrate board` again"
        )
    return np.asarray(found, dtype=np.float64)
