"""Calibrates a board: where its comparators switch, the trims that put them where the encoding wants them, the rest."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.comparators import Transitions
from calibration.comparators_quantizer import Quantizer, quantizer
from calibration.comparators_trim import Trims, residual_limit
from calibration.outcome import Limit, Outcome, finite, judged, wrong_setup
from host.board.thresholds import (
    COMPARATORS,
    DAC_FULL_SCALE,
    REFERENCE_VOLTS,
    TRIM_MAX,
    dac_codes_to_volts,
    thresholds_digest,
    thresholds_to_dac_codes,
)
from host.calibrate.board_drift import DriftCheck as DriftCheck
from host.calibrate.board_drift import drift_check as drift_check
from host.calibrate.board_ramps import (
    FIND,
    FINE,
    LADDER,
    LSB_VOLTS,
    TRIM,
    TRIMMED,
    found_at,
    ladder_of,
    transitions_of,
    trims_of,
)
from host.calibrate.procedure import Procedure, Step, StepData
from optics.bundle import Bundle

# Half of what an armed board tolerates when it reads its DAC back (READBACK_TOLERANCE, 16 codes, 0.6 mV): a transition
# that is trimmed no better than that has no place in a seal that is checked against drift.
RESIDUAL_LIMIT_VOLTS = 0.3e-3
# Comparators have 0.1 to 1 mV of noise; beyond this the part, its supply or its wiring is at fault. A reading of light
# that lies a step's quarter from a threshold must not depend on noise: at most an eighth of the encoding's smallest
# step (two deviations reach a quarter), likewise hysteresis, which moves a threshold by half of itself.
NOISE_LIMIT_VOLTS, NOISE_STEP_SHARE = 3e-3, 1 / 8
HYSTERESIS_LIMIT_VOLTS, HYSTERESIS_STEP_SHARE = 10e-3, 1 / 4
# Chi-square per degree of freedom of the worst S-curve: above, readings were not independent or the board moved.
MISFIT_LIMIT = 4.0
_SCALE = "volts are the ramp's: the scale is the board's own DAC, an error of its reference common to all is not seen"


def make_procedure(bundle: Bundle, quick: bool = False) -> Procedure:
    """Five steps: a ladder over the whole range (is this the right board?), a narrower ramp, fine ramps from below and
    above without trims, with trims, and with trims corrected by what was left. A reading takes a real board 0.1 ms, so
    all of it about a minute. `quick`: a quarter of the fine readings, for rehearsals.

    Raises ValueError where no threshold of the bundle lies inside the DAC's range.
    """
    codes = thresholds_to_dac_codes(bundle.encoding.thresholds)
    if not ((codes > TRIM_MAX) & (codes < DAC_FULL_SCALE - TRIM_MAX)).any():
        raise ValueError(
            "every threshold of this bundle lies at an end of the board's range, where no transition can be measured, "
            "and its codes tell hardly any light apart: use a bundle with thresholds inside the range"
        )
    reads = 32 if quick else 128

    def fine(name: str, text: str, share: int) -> Step:
        return Step(name, text, settings={"ramp": name, "points": 48, "reads": reads // share})

    steps = (
        Step(LADDER, "ramp over the whole range", settings={"ramp": LADDER, "points": 257, "reads": 8}),
        Step(FIND, "finding each transition", settings={"ramp": FIND, "points": 65, "reads": 16}),
        fine(FINE, "fine ramps from below and above", 2),
        fine(TRIM, "the same with trims", 1),
        fine(TRIMMED, "the same with trims corrected", 1),
    )
    encoding_id = bundle.encoding.id

    def conclude(data: Mapping[str, StepData]) -> Outcome:
        return conclude_board(data, codes, encoding_id)

    def draw(outcome: Outcome, data: Mapping[str, StepData], path: Path) -> None:
        from host.figures.calibration_board import draw as drawn

        drawn(outcome, data, path)

    options = {"encoding_id": encoding_id, "quick": quick}
    return Procedure("board", steps, "host.calibrate.acquire_board:acquire", conclude, draw, options)


@dataclass(frozen=True, slots=True, eq=False)
class BoardAnalysis:
    """Everything that the ramps say, arrays (15,) by comparator, volts of the ramp. before, after: transitions without
    and with trims, `_sigma` their standard uncertainties; seen: which were bracketed by the last ramps (else reckoned).
    curves: the fits of the last ramps. plain, trimmed: the quantizer without and with trims. limit: standard deviation
    that a measured residual has at best."""

    wanted_volts: NDArray[np.float64]
    before_volts: NDArray[np.float64]
    before_sigma_volts: NDArray[np.float64]
    after_volts: NDArray[np.float64]
    after_sigma_volts: NDArray[np.float64]
    seen: NDArray[np.bool_]
    curves: Transitions
    noise_volts: NDArray[np.float64]
    noise_sigma_volts: NDArray[np.float64]
    hysteresis_volts: NDArray[np.float64]
    hysteresis_sigma_volts: NDArray[np.float64]
    trims: Trims
    plain: Quantizer
    trimmed: Quantizer
    limit_volts: NDArray[np.float64]
    gain: float

    @property
    def at_the_ends(self) -> NDArray[np.bool_]:
        """Comparators, (15,), whose wanted level is so close to 0 V or full scale that no DAC code cancels their offset
        (or that no ramp shows them): light that is so dark, or fills the scale, is told apart no better than that."""
        reach = 5 * self.noise_volts + np.abs(self.hysteresis_volts) + 2 * np.abs(self.before_volts - self.wanted_volts)
        near = (self.wanted_volts < reach) | (self.wanted_volts > REFERENCE_VOLTS - reach)
        clamped = np.array([why == "dac_end" for why in self.trims.clamped])
        at_the_ends: NDArray[np.bool_] = near & (clamped | ~self.seen)
        return at_the_ends

    @property
    def residual_volts(self) -> NDArray[np.float64]:
        """Trimmed transition minus wanted level, (15,)."""
        return self.after_volts - self.wanted_volts


def analyse(data: Mapping[str, StepData], dac_codes: NDArray[np.uint16]) -> BoardAnalysis:
    """The finished ramps of all five steps, put together. dac_codes: uint16 (15,), wanted."""
    wanted = dac_codes_to_volts(dac_codes)
    before, before_sigma, _ = found_at(data, FINE, dac_codes)
    after, after_sigma, seen = found_at(data, TRIMMED, dac_codes)
    _, trim_sigma, _ = found_at(data, TRIM, dac_codes)
    trims, gain = trims_of(data, dac_codes), ladder_of(data[LADDER]).gain
    curves, ladder = transitions_of(data[TRIMMED]), transitions_of(data[LADDER])
    noise = np.where(seen, curves.noise_volts, ladder.noise_volts)
    noise_sigma = np.where(seen, curves.noise_sigma_volts, ladder.noise_sigma_volts)
    hysteresis = np.where(seen, curves.hysteresis_volts, ladder.hysteresis_volts)
    hysteresis_sigma = np.where(seen, curves.hysteresis_sigma_volts, ladder.hysteresis_sigma_volts)
    return BoardAnalysis(
        wanted,
        before,
        before_sigma,
        after,
        after_sigma,
        seen,
        curves,
        noise,
        noise_sigma,
        hysteresis,
        hysteresis_sigma,
        trims,
        quantizer(before, wanted, noise, LSB_VOLTS),
        quantizer(after, wanted, noise, LSB_VOLTS),
        residual_limit(trim_sigma, LSB_VOLTS, again_sigma_volts=after_sigma),
        gain,
    )


def conclude_board(data: Mapping[str, StepData], dac_codes: NDArray[np.uint16], encoding_id: str) -> Outcome:
    """From all steps' ramps to the verdict. Lists in the result are by comparator, 0 to 14."""
    serial = bytes(np.asarray(data[LADDER]["serial"], dtype=np.uint8)).decode(errors="replace")
    about = {"board_serial": serial, "encoding_id": encoding_id}
    ladder = ladder_of(data[LADDER])
    if ladder.name:
        return wrong_setup("board", ladder.name, ladder.seen, {**about, "gain": ladder.gain})
    found = analyse(data, dac_codes)
    trims = np.asarray(data[TRIMMED]["trims"], dtype=np.int16)  # those that were measured
    seen = found.seen & ~found.at_the_ends
    residual = found.residual_volts[seen]
    before = (found.before_volts - found.wanted_volts)[seen]
    result: dict[str, Any] = {
        **about,
        "thresholds_digest": thresholds_digest(dac_codes, trims),
        "trims": trims.tolist(),
        "trims_clamped": {str(i): why for i, why in enumerate(found.trims.clamped) if why},
        "at_the_ends": np.flatnonzero(found.at_the_ends).tolist(),
        "beyond_the_ramp": np.flatnonzero(~found.seen).tolist(),
        **_listed("transition_before_volts", found.before_volts, found.before_sigma_volts),
        **_listed("offset_volts", found.before_volts - found.wanted_volts, found.before_sigma_volts),
        **_listed("transition_volts", found.after_volts, found.after_sigma_volts),
        **_listed("noise_volts", found.noise_volts, found.noise_sigma_volts),
        **_listed("hysteresis_volts", found.hysteresis_volts, found.hysteresis_sigma_volts),
        "residual_rms_before_volts": _rms(before),
        "residual_rms_volts": _rms(residual),
        "residual_largest_volts": _largest(residual),
        "physical_limit_volts": _rms(found.limit_volts[seen]),
        "dac_lsb_volts": LSB_VOLTS,
        "effective_levels": {
            "wanted": found.plain.wanted_effective_levels,
            "before": found.plain.effective_levels,
            "after": found.trimmed.effective_levels,
        },
        "before": _of_quantizer(found.plain),
        "after": _of_quantizer(found.trimmed),
        "scale": _SCALE,
    }
    arrays: dict[str, NDArray[Any]] = {
        "trims": trims,
        "transition_volts": found.after_volts,
        "transition_sigma_volts": found.after_sigma_volts,
        "noise_volts": found.noise_volts,
        "hysteresis_volts": found.hysteresis_volts,
    }
    summary = (
        f"transitions of board {serial} are {_microvolts(_rms(residual))} (rms) from the wanted levels after trimming, "
        f"{_microvolts(_rms(before))} before; the DAC's step and the measurement's uncertainty alone give "
        f"{_microvolts(_rms(found.limit_volts[seen]))}"
        + (
            f"; not counted: comparator {_channels(found.at_the_ends)}, at the end of the DAC's range"
            * (not seen.all())
        )
    )
    return judged("board", result, _limits(found), arrays, summary=summary, advice=_advice(found))


def _limits(found: BoardAnalysis) -> list[Limit]:
    seen = found.seen & ~found.at_the_ends
    steps = np.diff(np.unique(found.wanted_volts))
    smallest = float(steps.min()) if steps.size else REFERENCE_VOLTS
    clamped = sum(1 for why, counts in zip(found.trims.clamped, seen, strict=True) if why and counts)
    switching = float((found.seen | found.at_the_ends).sum())
    noise, hysteresis = found.noise_volts[seen], np.abs(found.hysteresis_volts[seen])
    noise_bound = min(NOISE_LIMIT_VOLTS, smallest * NOISE_STEP_SHARE)
    hysteresis_bound = min(HYSTERESIS_LIMIT_VOLTS, smallest * HYSTERESIS_STEP_SHARE)
    misfit = np.nan_to_num(found.curves.misfit[seen])
    return [
        Limit("seen", switching, COMPARATORS, "least", "", "the number of comparators that were seen to switch"),
        Limit(
            "residual",
            _largest(found.residual_volts[seen]) * 1e3,
            RESIDUAL_LIMIT_VOLTS * 1e3,
            "most",
            "mV",
            "the largest distance of a trimmed transition from its wanted level",
        ),
        Limit("noise", _largest(noise) * 1e3, noise_bound * 1e3, "most", "mV", "the noisiest comparator's noise"),
        Limit(
            "hysteresis",
            _largest(hysteresis) * 1e3,
            hysteresis_bound * 1e3,
            "most",
            "mV",
            "the largest hysteresis",
        ),
        Limit("missing_codes", float(len(found.trimmed.missing)), 0.0, "most", "", "the number of missing codes"),
        Limit("trims_clamped", float(clamped), 0.0, "most", "", "the number of trims that were too large"),
        Limit(
            "misfit", _largest(misfit), MISFIT_LIMIT, "most", "", "the worst S-curve's chi-square per degree of freedom"
        ),
    ]


def _advice(found: BoardAnalysis) -> str:
    """Which comparators to look at."""
    worst: list[str] = []
    for name, values in (("residual", found.residual_volts), ("noise", found.noise_volts)):
        shown = np.where(found.seen & ~found.at_the_ends, np.abs(values), 0.0)
        worst.append(f"comparator {int(shown.argmax())} has the largest {name}")
    clamped = [f"{i} ({why})" for i, why in enumerate(found.trims.clamped) if why]
    if clamped:
        worst.append(f"trims at their limit: comparator {', '.join(clamped)}")
    return "; ".join(worst) + "; check these comparators' supply and wiring, or use an encoding with wider steps"


def _of_quantizer(made: Quantizer) -> dict[str, Any]:
    """INL and DNL, in volts, in LSB of the DAC, and relative to the wanted steps (None: the encoding made it empty)."""
    return {
        "inl_volts": made.inl_volts.tolist(),
        "inl_lsb": (made.inl_volts / LSB_VOLTS).tolist(),
        "dnl_volts": made.dnl_volts.tolist(),
        "dnl_lsb": (made.dnl_volts / LSB_VOLTS).tolist(),
        "dnl_of_step": [finite(value) for value in made.dnl_relative],
        "missing_codes": list(made.missing),
        "unwanted_codes": list(made.unwanted),
    }


def _listed(name: str, values: NDArray[np.float64], sigma: NDArray[np.float64]) -> dict[str, Any]:
    return {name: [finite(v) for v in values], f"{name}_sigma": [finite(v) for v in sigma]}


def _rms(values: NDArray[np.float64]) -> float:
    return float(np.sqrt(np.mean(values**2))) if values.size else float("nan")


def _largest(values: NDArray[np.float64] | Sequence[float]) -> float:
    return float(np.max(np.abs(values))) if len(values) else float("nan")


def _channels(which: NDArray[np.bool_]) -> str:
    return ", ".join(str(i) for i in np.flatnonzero(which))


def _microvolts(volts: float) -> str:
    return f"{volts * 1e6:.0f} uV"
