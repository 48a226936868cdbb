"""Runs a verification: the sealed parts are looked at again, one after the other, each shortly."""

import importlib
from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np

from calibration.outcome import Outcome
from host.board.errors import BoardError, BoardProgramError
from host.board.thresholds import thresholds_to_dac_codes
from host.calibrate.board_drift import drift_check
from host.calibrate.procedure import Procedure, Step, StepData
from host.calibrate.run import SessionError, run_procedure
from host.sealing import seal_of, sealed_psf, sealed_trims
from host.verification import Check, Verification, failed_check
from host.verification_checks import board_check, dark_checks, psf_check, range_check, slm_check
from host.verification_parts import Parts
from optics.bundle import Bundle

CameraKind = Literal["psf", "range", "slm"]


class NotSealed(ValueError):  # noqa: N818 - reads as what happened
    """There is nothing to verify against."""


def verify(
    bundle: Bundle,
    parts: Parts,
    *,
    unattended: bool = False,
    ask: Callable[[Step], None] = lambda _step: None,
    progress: Callable[[str], None] = lambda _text: None,
) -> list[Check]:
    """Check every part that the bundle is sealed with. unattended: leave out what needs hands at the bench.

    What cannot be checked (no board, no camera) is a failed check. Raises NotSealed for a bundle without a seal, and
    BundleError for one whose seal cannot be read.
    """
    named = seal_of(bundle)
    if named is None or bundle.calibration is None:
        raise NotSealed("the bundle has no seal: calibrate its parts and run `canopic seal` first")
    sealed = bundle.calibration.document
    checks: list[Check] = []
    if named["board"] is not None:
        progress("board: has a comparator drifted?")
        checks.append(_board(bundle, parts, named["board"]["serial"]))
    if "psf" in sealed:
        outcome, data = _acquired("psf", bundle, parts, unattended, ask, progress)
        measured = sealed_psf(bundle)
        if outcome is not None and measured is not None:
            checks.append(psf_check(outcome, *measured))
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
            checks.append(slm_check(outcome, bundle.calibration.arrays.get("slm.phase_rad")))
    return checks


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
    except (BoardError, BoardProgramError, SessionError, ValueError) as error:
        return failed_check("board", f"the board cannot be checked: {error}")


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
    """A short run of a calibration; (None, {}) where it is left out. What stops it is an outcome that failed."""
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
    except (SessionError, ValueError) as error:
        nothing: dict[str, np.ndarray[Any, Any]] = {}
        return Outcome(kind, False, str(error), {"wrong_setup": "device_failed"}, nothing), {}
