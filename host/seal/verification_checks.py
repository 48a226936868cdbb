"""What a verification compares: each part as it is found now against its seal, with a limit that says why it is one."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.outcome import Outcome
from host.calibrate.board_drift import DriftCheck
from host.optic_files import common_window, framed
from host.seal.verification import Check, at_most, failed_check
from optics.metrics import MetricError, aligned_correlation, energy_radius, moved

# A deployment may change a PSF by this much (temperature, another lamp) before its codes do: it is what a mask that
# stands 2 % nearer or farther than when it was sealed does to the default bundle's PSF.
PSF_ALLOWANCE = 0.02
# Wrong set-ups of the PSF's calibration that say something about the mask; the others are of the bench.
OF_THE_MASK = ("mask_flipped", "mask_turned", "mask_missing")
# What makes a PSF other than it was sealed, most likely first.
CHANGES = "The mask is loose, dusty or wet, it has moved, or the source stands at another distance"
# A change of a radius or of light that is worth a word.
TOLD = 0.01
# The difference of two measurements of one PSF is noise over thousands of pixels, so its rms hardly varies: this much
# above the expected one is no chance.
NOISE_FACTOR = 1.25
# A single number, on the other hand, may lie three of its standard deviations away.
SIGMAS = 3.0
# Read noise grows by about half for every 20 degrees where dark current has a part in it.
READ_NOISE_SHARE = 0.5
# The black level may wander by this share of full scale; thresholds lie further apart.
BLACK_SHARE = 0.004
# Light that changed by more than this since the range was found is another place, or another lamp.
LIGHT_FACTOR = 8.0


def board_check(drift: DriftCheck, serial: str, sealed_serial: str) -> Check:
    """A board: the sealed one, and no transition further from its sealed place than the limit."""
    if serial != sealed_serial:
        return failed_check("board", f"board {sealed_serial} is sealed, this is {serial}: connect the sealed board")
    largest = float(np.max(np.abs(drift.drift_volts))) if drift.drift_volts.size else math.nan
    found = at_most(
        "board", largest * 1e3, drift.limit_volts * 1e3, "mV", "the largest drift of a comparator", drift.reason
    )
    if drift.ok == found.passed:
        return found
    # The drift's own verdict counts: it knows the uncertainty of each comparator.
    return Check("board", found.value, found.limit, "mV", drift.ok, drift.reason)


def psf_check(
    outcome: Outcome,
    psf: NDArray[np.floating[Any]],
    sigma: NDArray[np.floating[Any]],
    seen: tuple[NDArray[np.floating[Any]], NDArray[np.floating[Any]]] | None = None,
) -> Check:
    """The PSF on the axis against the sealed one, psf and sigma float (3, h, w). seen: the same of now, where the
    outcome names a wrong set-up and holds none.

    What is left of the difference after the best shift (the source never stands quite where it stood) and one
    brightness for each colour, relative to the PSF: rms over rms. Its limit is what both uncertainties explain and an
    allowance, added in squares.
    """
    advice = "if the mask sits as it did and is clean, calibrate the PSF again and seal"
    found, found_sigma = (outcome.arrays.get(name) for name in ("psf", "psf_sigma"))
    name = outcome.result.get("wrong_setup")
    if name in OF_THE_MASK and seen is not None:
        found, found_sigma = seen
    elif name in OF_THE_MASK:
        return failed_check("psf", f"the PSF is not the sealed one ({outcome.reason}): {advice}")
    elif name is not None or found is None or found_sigma is None:
        return failed_check("psf", f"the PSF could not be measured ({outcome.reason})")
    found_sigma = _no_wider(found_sigma, sigma, outcome.arrays.get("psf_noise_sigma"))
    try:
        left, noise = psf_difference(found, found_sigma, psf, sigma)
        changed = psf_change(found, psf)
    except (MetricError, ValueError) as error:
        return failed_check("psf", f"the PSF cannot be compared with the sealed one ({error}): {advice}")
    limit = math.hypot(NOISE_FACTOR * noise, PSF_ALLOWANCE)
    meaning = "the relative change of the PSF"
    if name is not None and left > limit:
        # Named against the design: the mask was sealed as it stood, so what was the right way round has changed.
        also = f"a mask turned over or round would look so, too ({name})"
        return Check("psf", left, limit, "", False, f"the PSF has changed by {left:.2g} since it was sealed, at most "
                     f"{limit:.2g} is allowed: {changed}. {CHANGES}; {also}: {advice}")  # fmt: skip
    if name is None and not outcome.passed and left <= limit:
        return Check("psf", left, limit, "", False, f"its calibration, which passed when it was sealed, no longer does "
                     f"({outcome.reason}): {advice}")  # fmt: skip
    return at_most("psf", left, limit, "", meaning, f"{changed}. {CHANGES}: {advice}")


def _no_wider(
    found_sigma: NDArray[np.floating[Any]],
    sealed_sigma: NDArray[np.floating[Any]],
    noise_sigma: NDArray[np.floating[Any]] | None,
) -> NDArray[np.float64]:
    """The uncertainty of the PSF found now, scaled down to the sealed one's where it is larger for another reason than
    noise: what a calibration cannot explain by the design widens its uncertainty, and a mask that has changed is just
    that."""
    found = np.asarray(found_sigma, np.float64)
    largest = float(np.linalg.norm(sealed_sigma))
    if noise_sigma is not None:
        largest = max(largest, float(np.linalg.norm(noise_sigma)))
    size = float(np.linalg.norm(found))
    return found * (largest / size) if size > largest else found


def psf_change(found: NDArray[np.floating[Any]], sealed: NDArray[np.floating[Any]]) -> str:
    """In words, what became of a PSF (3, h, w): wider or narrower, weaker in its window, other colours."""
    now, then = (np.maximum(np.asarray(each, np.float64), 0) for each in (found, sealed))
    radius, sealed_radius = (float(energy_radius(each, 1.0).mean()) for each in (now, then))
    light, sealed_light = now.sum(axis=(1, 2)), then.sum(axis=(1, 2))
    ratio = radius / sealed_radius - 1
    told = [f"half of its light lies within {radius:.1f} pixels, sealed {sealed_radius:.1f}"]
    told[0] += " (wider)" if ratio > TOLD else " (narrower)" if ratio < -TOLD else ""
    weaker = 1 - float((light / sealed_light).mean())
    if weaker > TOLD:
        told.append(f"{weaker:.0%} less of it lies in its window (weaker)")
    if abs(ratio) <= TOLD and weaker <= TOLD:
        told.append("its shape is another one")
    return "; ".join(told)


def psf_difference(
    found: NDArray[np.floating[Any]],
    found_sigma: NDArray[np.floating[Any]],
    sealed: NDArray[np.floating[Any]],
    sealed_sigma: NDArray[np.floating[Any]],
) -> tuple[float, float]:
    """(difference, what noise alone makes of it), both relative to the sealed PSF, rms over all colours and pixels.

    The found PSF is shifted back onto the sealed one, to 1/50 pixel, and each colour scaled by least squares. Raises
    MetricError where a colour has no contrast.
    """
    rows, columns = common_window(found, sealed)
    one, one_sigma, other, other_sigma = (
        framed(np.asarray(each, np.float64), rows, columns) for each in (found, found_sigma, sealed, sealed_sigma)
    )
    _, (down, right) = aligned_correlation(other, one)
    back = moved(one, (-down, -right))
    scale = (back * other).sum(axis=(1, 2)) / (back**2).sum(axis=(1, 2))
    power = (other**2).sum(axis=(1, 2))
    left = ((scale[:, np.newaxis, np.newaxis] * back - other) ** 2).sum(axis=(1, 2)) / power
    noise = (one_sigma**2 + other_sigma**2).sum(axis=(1, 2)) / power
    return float(np.sqrt(left.mean())), float(np.sqrt(noise.mean()))


def dark_checks(dark: Mapping[str, NDArray[Any]], sensor: Mapping[str, Any]) -> list[Check]:
    """Black level and read noise of covered frames against the sealed sensor.

    dark: the step "dark" of the PSF's acquisition: `gain`, `noise_dn`, `level_dn` and `exposure_us` float (n,). sensor:
    the sealed result.
    """
    gain, noise_dn = float(dark["gain"]), float(dark["noise_dn"])
    dn_per_e = float(sensor["system_gain_dn_per_e"])
    full_scale_dn = 2.0 ** int(sensor["bits"]) - 1
    dark_e = max(float(sensor.get("dark_current_e_per_s") or 0.0), 0.0) * float(dark["exposure_us"][0]) / 1e6
    # A warm sensor's current is noisy, too (its variance are its electrons), and that is no noise of reading.
    read_noise_e = math.sqrt(max((noise_dn / dn_per_e) ** 2 - dark_e, 0.0))
    sealed_e = float(sensor["read_noise_e"])
    sigma_e = float(sensor.get("read_noise_e_sigma") or 0.0)
    expected_dn = float(sensor["black_level_dn"]) + dark_e * dn_per_e * gain
    return [
        at_most(
            "read_noise",
            read_noise_e,
            sealed_e * (1 + READ_NOISE_SHARE) + SIGMAS * sigma_e,
            "e",
            "the read noise",
            "a hot sensor, or light past the cover: cool it, cover it, verify again",
        ),
        at_most(
            "black_level",
            abs(float(dark["level_dn"][0]) - expected_dn),
            BLACK_SHARE * full_scale_dn,
            "DN",
            "the change of the black level",
            "light past the cover, or another sensor: cover it; if it comes back, calibrate the sensor again",
        ),
    ]


def range_check(outcome: Outcome, sealed: Mapping[str, Any]) -> Check:
    """Whether the scene's light still fits the range, at an exposure not far from the sealed one."""
    if not outcome.passed:
        return failed_check("range", outcome.reason)
    now = float(outcome.result["exposure_us"]) * float(outcome.result["gain"])
    then = float(sealed["exposure_us"]) * float(sealed["gain"])
    return at_most(
        "range",
        max(now / then, then / now),
        LIGHT_FACTOR,
        "",
        "the factor by which the exposure for this scene has changed",
        "a lamp is off, or the sensor was moved: mend it, or calibrate the range again and seal",
    )


def slm_check(outcome: Outcome, phase_rad: NDArray[np.floating[Any]] | None) -> Check:
    """The modulator's phase for each grey level against the sealed one, rms in radians."""
    found = outcome.arrays.get("phase_rad")
    if not outcome.passed or found is None or phase_rad is None or found.shape != phase_rad.shape:
        return failed_check("slm", outcome.reason if not outcome.passed else "the SLM has another number of levels")
    away = np.asarray(found, np.float64) - np.asarray(phase_rad, np.float64)
    sigma = np.asarray(outcome.arrays.get("phase_sigma_rad", np.zeros(1)), np.float64)
    limit = 2 * math.pi / 64 + SIGMAS * float(np.sqrt(np.mean(sigma**2)))
    return at_most(
        "slm",
        float(np.sqrt(np.mean((away - away.mean()) ** 2))),
        limit,
        "rad",
        "the change of the modulator's phase",
        "let it warm up; if it comes back, calibrate the SLM again and seal",
    )
