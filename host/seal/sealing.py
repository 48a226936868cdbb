"""A seal: which board, camera, mask and models one encoding was calibrated with, kept in its bundle.

`seal` puts calibrations that passed into `Bundle.calibration` and names, under "seal", every part that they hold for.
`broken_seal` says whether a bundle still is what was sealed; host/seal/mismatch.py compares the seal with the parts
that the daemon finds. A seal is no signature: whoever changes a bundle can seal it anew, which changes the bundle's id
(docs/decisions/0027-what-a-seal-binds.md).
"""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from calibration.outcome import KINDS, Kind
from host.board.thresholds import COMPARATORS, thresholds_digest, thresholds_to_dac_codes
from host.calibrate.results import Kept, array_digest, arrays_digest
from host.seal.sealed_optics import fits_kernel, fits_pitch, kernel_correlation, pitches_um
from optics.archive import BundleError, canonical_json
from optics.bundle import Attachment, Bundle
from optics.encoding import COLOURS, THROUGHPUT_TOLERANCE
from optics.mask import Mask

FORMAT = 1
SEAL = "seal"
# Calibrations whose result names the camera that they were made with.
OF_CAMERA: tuple[Kind, ...] = ("psf", "sensor", "range")


class SealError(ValueError):
    """What cannot be sealed. The message says which calibration is in the way and the command that mends it."""


def seal(
    bundle: Bundle,
    calibrations: Mapping[Kind, Kept],
    *,
    sealed_at: str,
    by: str,
    mask: Mask | None = None,
    force: bool = False,
) -> Bundle:
    """The bundle with its calibrations, and a seal over them, its encoding, its models and its mask.

    calibrations: as `canopic calibrate` kept them, at least one. sealed_at: ISO 8601 with a time zone. by: who seals
    ("canopic 0.1.0"). mask: the one that stands in front of the sensor, None: the bundle's own, if it has one.
    What was measured on a twin gives a twin's seal, which the daemon takes for a twin only. force: seal what did
    not pass as well; it is marked, and the daemon refuses it.

    Raises SealError for what did not pass, does not belong together (another encoding, two cameras, a twin's and a
    device's, a mask whose PSF is not the encoding's kernel), or is not what a calibration gives.
    """
    if not _dated(sealed_at):
        raise SealError(f"sealed_at must be a date and time with its time zone (ISO 8601), got {sealed_at!r}")
    if not calibrations:
        raise SealError("there is no calibration to seal: run `canopic calibrate board`, psf, sensor and range first")
    failed: list[str] = [kind for kind, kept in calibrations.items() if not kept.outcome.passed]
    if failed and not force:
        kind = next(kind for kind in calibrations if kind in failed)
        raise SealError(
            f"the calibration {kind!r} did not pass ({calibrations[kind].outcome.reason}): mend what it says and run "
            f"`canopic calibrate {kind}` again"
        )
    simulated = _simulated(calibrations)
    for kind, kept in calibrations.items():
        _CHECKS.get(kind, _nothing_more)(kept)
    board = calibrations.get("board")
    if board is not None and (named := board.outcome.result.get("encoding_id")) != bundle.encoding.id:
        raise SealError(
            f"the board was calibrated for encoding {_short(named)}, this bundle holds {_short(bundle.encoding.id)}: "
            "run `canopic calibrate board --bundle` with this bundle"
        )
    if board is not None:
        codes = thresholds_to_dac_codes(bundle.encoding.thresholds)
        digest = thresholds_digest(codes, board.outcome.arrays["trims"])
        if digest != board.outcome.result["thresholds_digest"]:
            raise SealError(
                f"the calibration 'board' names thresholds {board.outcome.result['thresholds_digest']}, its trims give "
                f"{digest}: run `canopic calibrate board` again"
            )
    held = _with_mask(bundle, mask)
    likeness = None
    if (psf := calibrations.get("psf")) is not None:
        likeness = kernel_correlation(psf.outcome.arrays["psf"], bundle.encoding.kernels[0])
        found = [("kernel", fits_kernel(likeness))]
        # A twin's mask is its PSF, pixel for pixel: it has no pitch that could be the wrong one.
        if not simulated:
            found.append(("pitch", fits_pitch(*pitches_um(held.mask, psf.outcome.result))))
        for name, wrong in found:
            if wrong is not None and not force:
                raise SealError(wrong)
            failed += [] if wrong is None else [name]
    results: dict[str, Any] = {kind: dict(calibrations[kind].outcome.result) for kind in KINDS if kind in calibrations}
    arrays = {
        f"{kind}.{name}": np.asarray(values)
        for kind, kept in calibrations.items()
        for name, values in kept.outcome.arrays.items()
    }
    written: dict[str, Any] = {
        "format": FORMAT,
        "sealed_at": sealed_at,
        "by": by,
        "simulated": simulated,
        "forced": sorted(failed),
        "encoding_id": bundle.encoding.id,
        "sensor_px": [bundle.rows_px, bundle.columns_px],
        "models": _model_digests(bundle),
        "mask": _mask_named(held.mask),
        "camera": _camera(calibrations),
        "board": None
        if board is None
        else {
            "serial": board.outcome.result["board_serial"],
            "thresholds_digest": board.outcome.result["thresholds_digest"],
        },
        "kernel_correlation": None if likeness is None else [round(each, 4) for each in likeness],
        "psf_digest": array_digest(arrays["psf.psf"]) if "psf.psf" in arrays else None,
        "arrays_digest": arrays_digest(arrays),
        "results_digest": _document_digest(results),
        "calibrations": {
            kind: {"passed": kept.outcome.passed, "made_at": kept.made_at} for kind, kept in calibrations.items()
        },
    }
    return _replaced(held, calibration=Attachment({SEAL: written, **results}, arrays))


def seal_of(bundle: Bundle) -> dict[str, Any] | None:
    """The seal of a bundle, None where it was never sealed. Raises BundleError for one that cannot be read here."""
    if bundle.calibration is None or SEAL not in bundle.calibration.document:
        return None
    found = bundle.calibration.document[SEAL]
    if not isinstance(found, dict) or not isinstance(found.get("format"), int):
        raise BundleError("the bundle's seal is no seal: seal it again (`canopic seal`)")
    if found["format"] > FORMAT:
        raise BundleError(f"the seal has format {found['format']}, this canopic reads up to {FORMAT}: upgrade canopic")
    if missing := [name for name in _FIELDS if not isinstance(found.get(name, ...), _FIELDS[name])]:
        raise BundleError(f"the seal says nothing usable about {missing[0]}: seal the bundle again (`canopic seal`)")
    board = found["board"]
    if board is not None and not all(isinstance(board.get(name), str) for name in ("serial", "thresholds_digest")):
        raise BundleError("the seal says nothing usable about board: seal the bundle again (`canopic seal`)")
    if not _dated(found["sealed_at"]):
        raise BundleError(f"the seal has no date ({found['sealed_at']!r}): seal the bundle again (`canopic seal`)")
    return found


def broken_seal(bundle: Bundle) -> str | None:
    """What in a bundle is not what was sealed, in words; None while the seal holds (or there is none).

    Raises what `seal_of` raises. The bundle's own digests hold for whatever it contains now; this compares that with
    what it contained when it was sealed.
    """
    named = seal_of(bundle)
    if named is None or bundle.calibration is None:
        return None
    if named["encoding_id"] != bundle.encoding.id:
        return f"the seal is for encoding {_short(named['encoding_id'])}, not {_short(bundle.encoding.id)}"
    if named["sensor_px"] != [bundle.rows_px, bundle.columns_px]:
        return f"the sensor plane is {bundle.rows_px} x {bundle.columns_px} pixels, sealed were {named['sensor_px']}"
    now = _model_digests(bundle)
    for name in sorted({*now, *named["models"]}):
        if name not in now:
            return f"model {name} was taken out"
        if name not in named["models"]:
            return f"model {name} was added"
        if now[name] != named["models"][name]:
            return f"model {name} is another one (SHA-256 {_short(now[name])}, sealed {_short(named['models'][name])})"
    if _mask_named(bundle.mask) != named["mask"]:
        return "the mask in the bundle is another one"
    if arrays_digest(bundle.calibration.arrays) != named["arrays_digest"]:
        return "an array of the calibration (a PSF, trims) was changed"
    results = {kind: result for kind, result in bundle.calibration.document.items() if kind != SEAL}
    if _document_digest(results) != named["results_digest"]:
        return "a number of the calibration was changed"
    return None


def sealed_trims(bundle: Bundle) -> NDArray[np.int16] | None:
    """int16 (15,), what is added to the DAC codes of the thresholds on the sealed board; None: not calibrated.

    This and the readers below give None, too, for what no calibration gives: a bundle that somebody has changed must
    not stop the daemon, which says what `broken_seal` finds.
    """
    found = _array(bundle, "board.trims")
    return found.astype(np.int16) if found is not None and _are_trims(found) else None


def sealed_gains(bundle: Bundle) -> tuple[float, float, float] | None:
    """Factors for red, green and blue that give each colour of white light as much as green; None: not calibrated."""
    found: Any = sealed_result(bundle, "psf").get("gains")
    return (float(found[0]), float(found[1]), float(found[2])) if _are_gains(found) else None


def sealed_exposure(bundle: Bundle) -> tuple[int, float] | None:
    """Exposure (whole microseconds) and gain at which the scene's light fits the range; None: not calibrated."""
    exposure_us, gain = (sealed_result(bundle, "range").get(name) for name in ("exposure_us", "gain"))
    return (max(1, round(exposure_us)), float(gain)) if _positive(exposure_us) and _positive(gain) else None


def sealed_psf(bundle: Bundle) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
    """The measured PSF, float32 (3, h, w), and its standard uncertainty of that shape; None: not calibrated."""
    psf, sigma = _array(bundle, "psf.psf"), _array(bundle, "psf.psf_sigma")
    if psf is None or sigma is None or not _are_psfs(psf, sigma):
        return None
    return psf.astype(np.float32), sigma.astype(np.float32)


def sealed_result(bundle: Bundle, kind: Kind) -> dict[str, Any]:
    """The numbers of one sealed calibration, {} where it was not made."""
    found = None if bundle.calibration is None else bundle.calibration.document.get(kind)
    return found if isinstance(found, dict) else {}


def mask_attachment(mask: Mask) -> Attachment:
    """A mask as a bundle holds it: its id, what it is made of and where it stands, and its arrays."""
    document = {
        "id": mask.id,
        "pitch_m": mask.pitch_m,
        "surface": mask.surface,
        "material": asdict(mask.material),
        "geometry": _plain(asdict(mask.geometry)),
        "about": mask.about,
    }
    arrays: dict[str, NDArray[Any]] = {
        "height_m": mask.height_m,
        "stop": mask.stop,
        "transmission": mask.transmission,
    }
    return Attachment(_plain(document), arrays)


_FIELDS: dict[str, Any] = {
    "sealed_at": str,
    "by": str,
    "simulated": bool,
    "forced": list,
    "encoding_id": str,
    "sensor_px": list,
    "models": dict,
    "mask": (dict, type(None)),
    "camera": (str, type(None)),
    "board": (dict, type(None)),
    "kernel_correlation": (list, type(None)),
    "psf_digest": (str, type(None)),
    "arrays_digest": str,
    "results_digest": str,
    "calibrations": dict,
}


def _dated(text: str) -> bool:
    """Whether a text is a date and time with its time zone."""
    try:
        return datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        return False


def _simulated(calibrations: Mapping[Kind, Kept]) -> bool:
    """Whether they are a twin's. Raises SealError where some are and some are not."""
    simulated = sorted(kind for kind, kept in calibrations.items() if kept.simulated)
    measured = sorted(kind for kind, kept in calibrations.items() if not kept.simulated)
    if simulated and measured:
        raise SealError(
            f"{', '.join(simulated)} was measured on a twin, {', '.join(measured)} on real parts: they say nothing "
            "about each other. Give a directory with the calibrations of one camera"
        )
    return bool(simulated)


def _check_psf(kept: Kept) -> None:
    psf, sigma = (kept.outcome.arrays.get(name) for name in ("psf", "psf_sigma"))
    again = "run `canopic calibrate psf` again"
    if psf is None or sigma is None or not _are_psfs(psf, sigma):
        raise SealError(f"the calibration 'psf' holds no PSF of three colours with its uncertainty: {again}")
    light = psf.sum(axis=(1, 2), dtype=np.float64)
    if not (light.min() > 0 and light.max() <= 1 + THROUGHPUT_TOLERANCE):
        raise SealError(f"the calibrated PSF passes {light.max():.3g} of the light, expected 0 to 1: {again}")
    if not _are_gains(gains := kept.outcome.result.get("gains")):
        raise SealError(f"the calibration 'psf' holds no gain above 0 for each colour, got {gains!r}: {again}")


def _are_psfs(psf: NDArray[Any], sigma: NDArray[Any]) -> bool:
    """Whether these are a PSF of three colours and its uncertainty."""
    if psf.ndim != 3 or psf.shape[0] != COLOURS or 0 in psf.shape or psf.shape != sigma.shape:
        return False
    if psf.dtype.kind != "f" or sigma.dtype.kind != "f":
        return False
    return bool(np.isfinite(psf).all() and np.isfinite(sigma).all() and sigma.min() >= 0)


def _are_gains(gains: Any) -> bool:
    return isinstance(gains, list) and len(gains) == COLOURS and all(map(_positive, gains))


def _are_trims(trims: NDArray[Any]) -> bool:
    return trims.shape == (COMPARATORS,) and trims.dtype == np.int16


def _check_board(kept: Kept) -> None:
    again = "run `canopic calibrate board` again"
    trims = kept.outcome.arrays.get("trims")
    if trims is None or not _are_trims(trims):
        raise SealError(f"the calibration 'board' holds no {COMPARATORS} trims (int16): {again}")
    for name in ("board_serial", "thresholds_digest", "encoding_id"):
        if not (isinstance(value := kept.outcome.result.get(name), str) and value):
            raise SealError(f"the calibration 'board' does not say its {name}: {again}")


def _check_range(kept: Kept) -> None:
    for name in ("exposure_us", "gain"):
        if not _positive(value := kept.outcome.result.get(name)):
            raise SealError(f"the calibration 'range' has {name} {value!r}: run `canopic calibrate range` again")


def _nothing_more(_kept: Kept) -> None:
    """Its numbers are kept for people; the daemon uses none of them."""


_CHECKS = {"psf": _check_psf, "board": _check_board, "range": _check_range}


def _camera(calibrations: Mapping[Kind, Kept]) -> str | None:
    """The one camera that the calibrations were made with."""
    named: dict[str, list[str]] = {}
    for kind in OF_CAMERA:
        if kind in calibrations:
            name = calibrations[kind].outcome.result.get("camera")
            if not (isinstance(name, str) and name):
                raise SealError(
                    f"the calibration {kind!r} does not name its camera: run `canopic calibrate {kind}` again"
                )
            named.setdefault(name, []).append(kind)
    if len(named) > 1:
        said = "; ".join(f"{', '.join(kinds)} with {name}" for name, kinds in named.items())
        raise SealError(f"the calibrations were made with different cameras ({said}): calibrate one camera throughout")
    return next(iter(named), None)


def _with_mask(bundle: Bundle, mask: Mask | None) -> Bundle:
    if mask is None:
        return bundle
    held = None if bundle.mask is None else bundle.mask.document.get("id")
    if held is not None and held != mask.id:
        raise SealError(
            f"the bundle was made for mask {_short(held)}, the file holds mask {_short(mask.id)}: give the bundle's "
            "mask, or leave --mask out"
        )
    return _replaced(bundle, mask=mask_attachment(mask))


def _replaced(bundle: Bundle, **changed: Any) -> Bundle:
    fields = ("encoding", "rows_px", "columns_px", "models", "metadata", "evidence", "mask", "calibration")
    return Bundle(**{name: changed.get(name, getattr(bundle, name)) for name in fields})


def _model_digests(bundle: Bundle) -> dict[str, str]:
    """Of each model: SHA-256 over its file, then over its metadata (a score threshold decides what is counted)."""
    return {
        name: hashlib.sha256(hashlib.sha256(content).digest() + canonical_json(dict(bundle.metadata[name]))).hexdigest()
        for name, content in sorted(bundle.models.items())
    }


def _mask_named(mask: Attachment | None) -> dict[str, Any] | None:
    if mask is None:
        return None
    digest = hashlib.sha256(canonical_json(mask.document) + arrays_digest(mask.arrays).encode()).hexdigest()
    return {"id": mask.document.get("id"), "digest": digest}


def _document_digest(document: Mapping[str, Any]) -> str:
    return hashlib.sha256(canonical_json(dict(document))).hexdigest()


def _array(bundle: Bundle, name: str) -> NDArray[Any] | None:
    return None if bundle.calibration is None else bundle.calibration.arrays.get(name)


def _plain(value: Any) -> Any:
    """The value as JSON can hold it: infinity (a source at infinity) as null."""
    if isinstance(value, dict):
        return {str(name): _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _positive(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value > 0


def _short(digest: Any) -> str:
    return str(digest)[:12]
