"""Runs a verification: the sealed parts are looked at again, one after the other, each shortly."""

import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from calibration.outcome import Outcome
from calibration.point_source import point_spread
from host.board.errors import BoardError, BoardFault, BoardIdentityMismatch, BoardProgramError, ThresholdMismatch
from host.board.thresholds import thresholds_to_dac_codes
from host.calibrate.board_drift import drift_check
from host.calibrate.procedure import Procedure, Step, StepData
from host.calibrate.psf import USUAL_PRNU_PERCENT, designed_psf, light_of
from host.calibrate.run import SessionError, run_procedure
from host.seal.sealing import seal_of, sealed_psf, sealed_result, sealed_trims
from host.seal.verification import Check, Verification, failed_check
from host.seal.verification_checks import board_check, dark_checks, psf_check, range_check, slm_check
from host.seal.verification_parts import Parts
from optics.bundle import Bundle
from optics.metrics import MetricError

CameraKind = Literal["psf", "range", "slm"]


class NotSealed(ValueError):  # noqa: N818 - reads as what happened
    """There is nothing to verify against."""


class NotLooked(Exception):  # noqa: N818 - reads as what happened
    """A part could not be looked at: nobody at the bench, another program has it, it cannot be started. That says
    nothing about the part. checks: those that were made before."""

    def __init__(self, message: str, checks: Sequence[Check] = ()) -> None:
        super().__init__(message)
        self.checks = tuple(checks)


def verify(
    bundle: Bundle,
    parts: Parts,
    *,
    unattended: bool = False,
    ask: Callable[[Step], None] = lambda _step: None,
    progress: Callable[[str], None] = lambda _text: None,
) -> list[Check]:
    """Check every part that the bundle is sealed with. unattended: leave out what needs hands at the bench.

    What was measured and is not what was sealed is a failed check. Raises NotLooked, with the checks so far, at the
    first part that cannot be looked at; NotSealed for a bundle without a seal, and BundleError for one whose seal
    cannot be read.
    """
    named = seal_of(bundle)
    if named is None or bundle.calibration is None:
        raise NotSealed("the bundle has no seal: calibrate its parts and run `canopic seal` first")
    checks: list[Check] = []
    try:
        _look(bundle, parts, named, checks, unattended, ask, progress)
    except NotLooked as error:
        raise NotLooked(str(error), checks) from error
    return checks


def _look(
    bundle: Bundle,
    parts: Parts,
    named: Mapping[str, Any],
    checks: list[Check],
    unattended: bool,
    ask: Callable[[Step], None],
    progress: Callable[[str], None],
) -> None:
    """One part after the other into `checks`. Raises NotLooked."""
    attachment = bundle.calibration
    sealed = {} if attachment is None else attachment.document
    if named["board"] is not None:
        progress("board: has a comparator drifted?")
        checks.append(_board(bundle, parts, named["board"]["serial"]))
    if "psf" in sealed:
        outcome, data = _acquired("psf", bundle, parts, unattended, ask, progress)
        measured = sealed_psf(bundle)
        if outcome is not None and measured is not None:
            checks.append(psf_check(outcome, *measured, _seen(outcome, data, bundle)))
            if "dark" in data and "sensor" in sealed:
                checks += dark_checks(data["dark"], sealed["sensor"])
            checks += _camera(outcome, named["camera"])
    if "range" in sealed:
        outcome, _ = _acquired("range", bundle, parts, unattended, ask, progress)
        if outcome is not None:
            checks.append(range_check(outcome, sealed["range"]))
    if "slm" in sealed:
        outcome, _ = _acquired("slm", bundle, parts, unattended, ask, progress)
        if outcome is not None:
            checks.append(slm_check(outcome, None if attachment is None else attachment.arrays.get("slm.phase_rad")))


def _seen(
    outcome: Outcome, data: Mapping[str, StepData], bundle: Bundle
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """The PSF on the axis and its uncertainty, float64 (3, h, w), where the outcome names a mask that is mounted wrong:
    what is behind that name may be another change. None otherwise, or where there is none to be had."""
    if outcome.result.get("wrong_setup") not in ("mask_flipped", "mask_turned") or not {"dark", "axis"} <= set(data):
        return None
    prnu_percent = float(sealed_result(bundle, "sensor").get("prnu_percent") or USUAL_PRNU_PERCENT)
    try:
        spread = point_spread(light_of(data["axis"], data["dark"], prnu_percent), designed_psf(bundle))
    except (MetricError, ValueError):
        return None
    return np.maximum(spread.psf, 0), np.minimum(spread.sigma, spread.psf.max())


def with_earlier(checks: list[Check], earlier: Verification | None, bundle_id: str) -> list[Check]:
    """These checks, and those of the last record of this bundle that were not made this time: what failed once stays
    failed until it is checked again."""
    made = {check.name for check in checks}
    kept = [] if earlier is None or earlier.bundle_id != bundle_id else list(earlier.checks)
    return [*checks, *(check for check in kept if check.name not in made)]


def _board(bundle: Bundle, parts: Parts, serial: str) -> Check:
    codes = thresholds_to_dac_codes(bundle.encoding.thresholds)
    arrays = {} if bundle.calibration is None else bundle.calibration.arrays
    try:
        with parts.board() as client:
            client.provision(bundle.encoding.id, codes, sealed_trims(bundle))
            return board_check(drift_check(client, arrays), client.identity.board_serial, serial)
    except (BoardFault, ThresholdMismatch, BoardIdentityMismatch) as error:
        return failed_check("board", f"the board refuses to work: {error}")  # it has looked at itself
    except (BoardError, BoardProgramError, SessionError, OSError, ValueError) as error:
        raise NotLooked(f"the board cannot be looked at: {error}") from error


def _camera(outcome: Outcome, sealed: str | None) -> list[Check]:
    """Whether it was the sealed camera that gave these frames; nothing where that is not known."""
    found = outcome.result.get("camera")
    if found is None or sealed is None or found == sealed:
        return []
    return [failed_check("camera", f"camera {sealed} is sealed, this is {found}: connect the sealed camera")]


def _acquired(
    kind: CameraKind,
    bundle: Bundle,
    parts: Parts,
    unattended: bool,
    ask: Callable[[Step], None],
    progress: Callable[[str], None],
) -> tuple[Outcome | None, Mapping[str, StepData]]:
    """A short run of a calibration; (None, {}) where it is left out. Raises NotLooked where something stops it."""
    try:
        procedure: Procedure = importlib.import_module(f"host.calibrate.{kind}").make_procedure(bundle, quick=True)
        hands = not parts.arranges_itself
        if unattended and hands and any(step.ask for step in procedure.steps):
            return None, {}
        with parts.session(procedure) as session:
            outcome, data = run_procedure(
                procedure,
                session,
                ask=ask if hands else lambda _step: None,
                progress=lambda step, *_: progress(f"{kind}: {step.text}"),
            )
        return outcome, data
    except (SessionError, OSError, ValueError) as error:
        raise NotLooked(f"{kind} cannot be looked at: {error}") from error
