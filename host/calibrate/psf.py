"""`calibrate psf`: a mask's PSF from a point source, on the axis, off it and at several distances."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from calibration.hdr import BracketPart
from calibration.outcome import Limit, Outcome, finite, judged
from calibration.point_source import Light, PointSpread, point_spread, share_in_doubt, share_within, source_light
from calibration.point_source_leftover import Leftover, leftover
from calibration.point_source_setup import creep_px, wander_px
from calibration.registration import rotation_shows
from host.calibrate.procedure import Procedure, Setup, Step, StepData
from host.calibrate.psf_setup import LEAST_SNR, after_measuring, before_measuring, too_dim
from host.figures.calibration_psf import draw
from optics.bundle import Attachment, Bundle
from optics.mask import Geometry, Mask
from optics.materials import Material
from optics.metrics import MetricError, aligned_correlation
from optics.psf import psf as mask_psf

Floats = NDArray[np.float64]

# Acquired until this signal-to-noise ratio, twice the least, or until so many frames.
WANTED_SNR = 2 * LEAST_SNR
MOST_FRAMES = 256
# Below this correlation a model trained for the design sees another encoding (docs/decisions/0024).
LEAST_CORRELATION = 0.9
# A hot pixel always saturates and does no harm; a peak that does is another PSF.
MOST_CLIPPED_LIGHT = 1e-3
# Light that nothing explains counts as uncertainty, but a PSF that is uncertain by so much predicts no codes.
MOST_IN_DOUBT = 0.2
# Light that the window has to hold: what is outside is missing from every code that is computed with it.
LEAST_WINDOW_SHARE = 0.97
# As optics.field: up to where one PSF stands for all positions and distances.
HELD_CORRELATION = 0.9
# Sides of squares around the centre whose share of green light is told: the PSF in five numbers.
SQUARES_PX = (1, 3, 7, 13, 21)
# Spread of a sensor's response where it was not measured, percent: small sensors have 0.5 to 2, any of it as likely.
USUAL_PRNU_PERCENT, USUAL_PRNU_SIGMA_PERCENT = 1.25, 1.5 / math.sqrt(12)
FIELD_DEG = 2.0
FIELD = {
    "right": (FIELD_DEG, 0.0),
    "left": (-FIELD_DEG, 0.0),
    "down": (0.0, FIELD_DEG),
    "up": (0.0, -FIELD_DEG),
}
DISTANCES_MM = {"near": 300.0, "far": 3000.0}


def make_procedure(bundle: Bundle, quick: bool = False) -> Procedure:
    """The steps for a bundle's mask. quick: dark frames and the axis only; nothing is said about field and depth then.

    Raises ValueError where the bundle says of no mask that could be measured: its first kernel has negative taps.
    """
    designed = designed_psf(bundle)
    prnu = known_prnu(bundle)
    side = max(designed.shape[1:])
    settings = {
        "region_px": 2 * side + 1,
        "design_px": side,
        "snr": WANTED_SNR,
        "most_frames": MOST_FRAMES,
    }
    steps = [
        Step(
            "dark",
            "dark frames",
            Setup(cover_on=True),
            "Put the lens cover on, and darken the room.",
            settings,
        ),
        Step(
            "axis",
            "point source on the axis",
            Setup(),
            "Take the cover off and put the point source straight ahead, a metre away or more, where it is to stay.",
            settings,
        ),
    ]
    if not quick:
        steps += [
            Step(
                f"field_{name}",
                f"point source {FIELD_DEG:g} degrees {name}",
                Setup(source_deg=angles),
                f"Move the point source {FIELD_DEG:g} degrees {name} in the picture.",
                settings,
            )
            for name, angles in FIELD.items()
        ]
        steps += [
            Step(
                f"depth_{name}",
                f"point source at {distance_mm / 1000:g} m",
                Setup(distance_mm=distance_mm),
                f"Put the point source straight ahead at {distance_mm / 1000:g} m.",
                settings,
            )
            for name, distance_mm in DISTANCES_MM.items()
        ]

    def conclude_all(data: Mapping[str, StepData]) -> Outcome:
        return conclude(data, designed, prnu)

    return Procedure(
        "psf",
        steps,
        "host.boundary.acquire_psf:acquire",
        conclude_all,
        draw,
        {"bundle": bundle.id, "quick": quick, "prnu_percent": prnu.percent},
        judge_after=("axis",),
    )


def designed_psf(bundle: Bundle) -> Floats:
    """The PSF that the bundle's mask should have, float64 (3, rows, columns), axis on pixel n // 2.

    The mask's own array "psf" where the bundle holds one; else worked out from the mask; else, without a mask, the
    first kernel for every colour. Raises ValueError where that has negative taps, or the mask is none.
    """
    if bundle.mask is not None:
        if "psf" in bundle.mask.arrays:
            psf = np.asarray(bundle.mask.arrays["psf"], dtype=np.float64)
            if psf.ndim != 3 or len(psf) != 3 or not np.isfinite(psf).all() or psf.min() < 0:
                raise ValueError(f"the PSF of the bundle's mask must be (3, rows, columns), not negative: {psf.shape}")
            return psf
        return np.asarray(mask_psf(_mask(bundle.mask)), dtype=np.float64)
    kernel = bundle.encoding.kernels[0].astype(np.float64)
    if kernel.min() < 0:
        raise ValueError(
            "the bundle's first kernel has negative taps, which no mask's PSF has: it takes a pair of masks, and a "
            "pair's PSFs are not calibrated here. Calibrate its board alone and seal that (`canopic calibrate board`, "
            "`canopic seal`), or calibrate a bundle with realisable kernels, or one whose mask is described (`mask`, "
            "array psf)"
        )
    return np.repeat(kernel[np.newaxis], 3, axis=0)


def _mask(held: Attachment) -> Mask:
    """The mask as a bundle holds it (host.seal.sealing.mask_attachment). Raises ValueError where it is none."""
    document, arrays = held.document, held.arrays
    try:
        geometry = dict(document["geometry"])
        if geometry.get("source_distance_m", 0) is None:
            geometry["source_distance_m"] = math.inf
        return Mask(
            np.asarray(arrays["height_m"], dtype=np.float64),
            float(document["pitch_m"]),
            TypeAdapter(Material).validate_python(document["material"]),
            TypeAdapter(Geometry).validate_python(geometry),
            np.asarray(arrays["stop"], dtype=np.float64),
            np.asarray(arrays["transmission"], dtype=np.float64),
            document["surface"],
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"the bundle's mask cannot be read ({error}): seal it again with --mask") from error


@dataclass(frozen=True, slots=True)
class Prnu:
    """Spread of the pixels' response in percent, its standard uncertainty, and where it comes from: "calibration" or
    "assumed"."""

    percent: float
    sigma_percent: float
    source: str

    @property
    def expected_percent(self) -> float:
        """Standard deviation of a pixel's response as far as is known: a spread s that is itself only known to lie
        about m with standard deviation u has the expected variance E[s^2] = m^2 + u^2."""
        return math.hypot(self.percent, self.sigma_percent)


def known_prnu(bundle: Bundle) -> Prnu:
    """Spread of the sensor's response: of the sealed calibration of the sensor, else what is usual."""
    sealed = bundle.calibration.document if bundle.calibration is not None else {}
    sensor = sealed.get("sensor")
    if isinstance(sensor, dict):
        found = sensor if "prnu_percent" in sensor else sensor.get("result") or {}
        value, sigma = found.get("prnu_percent"), found.get("prnu_percent_sigma")
        if isinstance(value, int | float) and 0 <= value < 100:
            spread = float(sigma) if isinstance(sigma, int | float) and 0 <= sigma < 100 else 0.0
            return Prnu(float(value), spread, "calibration")
    return Prnu(USUAL_PRNU_PERCENT, USUAL_PRNU_SIGMA_PERCENT, "assumed")


def conclude(data: Mapping[str, StepData], designed: Floats, prnu: Prnu) -> Outcome:
    """From all steps' data to the outcome: a wrong set-up is named, else the PSF is measured and judged."""
    dark = data["dark"]
    for name, step in data.items():
        if name == "dark":
            continue
        wrong = before_measuring(name, step, dark)
        if wrong is not None:
            return wrong
        if name == "axis":
            axis = step
            light = light_of(step, dark, prnu.expected_percent)
            try:
                spread = point_spread(light, designed)
            except MetricError:  # so little light that a colour's sum came out below zero
                return too_dim(step, 0.0)
            left = leftover(light, spread, designed)
            wrong = after_measuring(step, light, spread, designed, left)
            if wrong is not None:
                return wrong
    field, depth = _others(data, dark, designed, spread, prnu.expected_percent)
    return _outcome(axis, dark, designed, light, spread, left, field, depth, prnu)


def light_of(step: StepData, dark: StepData, prnu_percent: float) -> Light:
    """The source's light from a step that was measured."""
    parts = [
        BracketPart(
            np.asarray(step["difference_dn"][index], dtype=np.float64),
            np.asarray(step["saturated"][index], dtype=bool),
            int(step["frames_on"][index]),
            int(step["frames_off"][index]),
            float(step["dark_variance_dn2"][index]),
            float(step["dn_per_electron"][index]),
            float(step["exposure_us"][index]),
            float(step["gains"][index]),
        )
        for index in range(len(step["exposure_us"]))
    ]
    return source_light(parts, text(dark["bayer"]), prnu_percent)


def text(array: NDArray[Any]) -> str:
    """Text from its UTF-8 bytes."""
    return bytes(np.asarray(array, dtype=np.uint8)).decode(errors="replace")


def _others(
    data: Mapping[str, StepData], dark: StepData, designed: Floats, axis: PointSpread, prnu_percent: float
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Correlation of the PSF with the one on the axis, for each position and each distance."""
    field, depth = [], []
    for name, step in data.items():
        if not name.startswith(("field_", "depth_")):
            continue
        light = light_of(step, dark, prnu_percent)
        seen = point_spread(light, designed)
        entry = {
            "correlation_with_axis": likeness_to(axis, light, seen),
            "light": float(light.planes[1].sum()),
            "snr": float(seen.snr.min()),
        }
        if name.startswith("field_"):
            field.append({"source_deg": list(FIELD[name.removeprefix("field_")]), **entry})
        else:
            depth.append({"distance_mm": DISTANCES_MM[name.removeprefix("depth_")], **entry})
    return field, depth


def likeness_to(axis: PointSpread, light: Light, seen: PointSpread) -> float:
    """Correlation of a PSF elsewhere with the one on the axis, in that one's window, after the best shift."""
    half = axis.side // 2
    wide = np.pad(light.planes, [(0, 0), (half, half), (half, half)])
    cut = wide[:, seen.centre[0] : seen.centre[0] + axis.side, seen.centre[1] : seen.centre[1] + axis.side]
    return aligned_correlation(axis.psf, cut, reach_px=2)[0]


def _outcome(
    step: StepData,
    dark: StepData,
    designed: Floats,
    light: Light,
    spread: PointSpread,
    left: Leftover | None,
    field: Sequence[dict[str, Any]],
    depth: Sequence[dict[str, Any]],
    prnu: Prnu,
) -> Outcome:
    fitted = spread.registration
    pixel_um = float(dark["pixel_um"])
    aligned = np.zeros(3) if fitted is None else fitted.correlation
    origin = step["origin_px"]
    shift = [at - middle for at, middle in zip(spread.centre_px, spread.centre, strict=True)]
    rotation = _rotation(spread, designed)
    squares, squares_sigma = share_within(light, spread.centre, SQUARES_PX)
    # What may be the mask's or a reflection's counts as uncertainty with all of it.
    in_doubt = np.zeros_like(light.planes) if left is None else left.in_doubt
    squares_sigma = np.hypot(squares_sigma, share_in_doubt(light, in_doubt, spread.centre, SQUARES_PX))
    pixels_in_doubt = spread.cut(np.abs(in_doubt) / light.planes.sum(axis=(1, 2), keepdims=True))
    doubt = float(pixels_in_doubt.sum(axis=(1, 2)).max())
    gained = in_doubt.sum(axis=(1, 2)) / light.planes.sum(axis=(1, 2))
    refused = {"flash": int(np.sum(step["flashes"])), "bump": int(np.sum(step["bumps"]))}
    places = np.asarray(step["shifts_px"]), np.asarray(step["shift_sigma_px"])
    wander, creep = wander_px(*places)[0], creep_px(*places)[0]
    result: dict[str, Any] = {
        "camera": text(dark["camera"]),
        "plane_pixel_um": None if math.isnan(pixel_um) else 2 * pixel_um,
        "gains": _list(spread.gains),
        "gains_sigma": _list(np.hypot(spread.gains_sigma, spread.gains * (gained - gained[1]))),
        "snr": float(spread.snr.min()),
        "snr_by_colour": _list(spread.snr),
        "snr_meaning": "rms of the PSF over rms of its temporal noise, in the window",
        "correlation": {"designed": _list(spread.designed_correlation), "aligned": _list(aligned)},
        "shift_px": [float(each) for each in shift],
        "shift_px_sigma": list(spread.centre_sigma_px),
        "position_px": [float(at + first) for at, first in zip(spread.centre_px, origin, strict=True)],
        "position_px_sigma": list(spread.centre_sigma_px),
        "centred_by": spread.centred_by,
        **rotation,
        "scale": None if fitted is None else fitted.scale,
        "scale_sigma": None if fitted is None else fitted.scale_sigma,
        "discrepancy": None if fitted is None else fitted.discrepancy,
        "squares_px": list(SQUARES_PX),
        "share_in_squares": _list(squares[1]),
        "share_in_squares_sigma": _list(squares_sigma[1]),
        "window_px": spread.side,
        "window_share": _list(spread.share),
        "clipped_px": spread.clipped,
        "clipped_light": spread.clipped_light,
        "background_share": _list(light.background * light.planes[0].size / light.planes.sum(axis=(1, 2))),
        "exposure_us": _list(step["exposure_us"]),
        "frames_on": [int(each) for each in step["frames_on"]],
        "frames_refused": refused,
        "wander_px": wander,
        "creep_px": creep,
        "dn_per_electron": _list(step["dn_per_electron"]),
        "prnu_percent": prnu.percent,
        "prnu_percent_sigma": prnu.sigma_percent,
        "prnu_from": prnu.source,
        "haze": None if left is None else _list(left.haze),
        "haze_sigma": None if left is None else _list(left.haze_sigma),
        "haze_meaning": "share of the light in a wide halo: of the mask, or of a rough surface near the source",
        "second_source_limit": None if left is None else finite(left.limit),
        "second_source_limit_meaning": "share up to which a sharp reflection may have stayed unseen at the worst place",
        "light_in_doubt": doubt,
        "field": list(field),
        "depth": list(depth),
    }
    worst_aligned = float(aligned.min())
    limits = [
        Limit("snr", result["snr"], LEAST_SNR, "least", "", "the signal-to-noise ratio of the worst colour"),
        Limit(
            "clipped_light",
            spread.clipped_light,
            MOST_CLIPPED_LIGHT,
            "most",
            "",
            "the share of the light on pixels that saturated in every exposure",
        ),
        Limit(
            "light_in_doubt",
            doubt,
            MOST_IN_DOUBT,
            "most",
            "",
            "the share of the light that is neither the designed PSF nor usual haze",
        ),
        Limit(
            "correlation_aligned",
            worst_aligned,
            LEAST_CORRELATION,
            "least",
            "",
            "the correlation with the designed PSF, shift, rotation and scale removed,",
        ),
        Limit(
            "window_share",
            float(spread.share.min()),
            LEAST_WINDOW_SHARE,
            "least",
            "",
            "the share of the source's light that the window holds",
        ),
    ]
    for name, entries, what in (
        ("shift_invariance", field, f"{FIELD_DEG:g} degrees off the axis"),
        ("depth_invariance", depth, "at other distances"),
    ):
        if entries:
            least = min(entry["correlation_with_axis"] for entry in entries)
            meaning = f"the least correlation with the PSF on the axis, {what},"
            limits.append(Limit(name, least, HELD_CORRELATION, "least", "", meaning))
    arrays: dict[str, NDArray[Any]] = {
        "psf": _not_negative(spread.psf).astype(np.float32),
        # A saturated pixel may hold anything: its uncertainty is the whole peak.
        "psf_sigma": np.minimum(np.hypot(spread.sigma, pixels_in_doubt), spread.psf.max()).astype(np.float32),
        "psf_noise_sigma": np.minimum(spread.noise_sigma, spread.psf.max()).astype(np.float32),
        "designed": designed.astype(np.float32),
    }
    told = ""
    if any(refused.values()):
        told = f" Refused: {refused['flash']} frames for a flash, {refused['bump']} for a bump."
    if doubt > 0:
        told += (
            f" {doubt * 100:.1f} % of its light is neither the designed PSF nor the haze that masks usually have: an "
            "error of the mask, dirt on it, or a reflection, which cannot be told apart. It counts as uncertainty."
        )
    summary = (
        f"The PSF was measured with a signal-to-noise ratio of {result['snr']:.0f} in {spread.side} x {spread.side} "
        f"pixels; it correlates with the designed one by {worst_aligned:.3f} once shift, rotation and scale are "
        f"removed.{told}"
    )
    advice = (
        "check that the mask is the one of this bundle, at its distance and clean; shift, rotation and scale in the "
        "result say how it is mounted"
    )
    return judged("psf", result, limits, arrays, summary=summary, advice=advice)


def _rotation(spread: PointSpread, designed: Floats) -> dict[str, Any]:
    fitted = spread.registration
    if fitted is None or fitted.rotation_rad is None or fitted.rotation_sigma_rad is None:
        why = (
            "the designed PSF looks alike in every rotation: none can be seen"
            if not rotation_shows(designed)
            else "the measured PSF could not be fitted with the designed one"
        )
        return {"rotation_deg": None, "rotation_deg_sigma": None, "rotation_note": why}
    return {
        "rotation_deg": math.degrees(fitted.rotation_rad),
        "rotation_deg_sigma": math.degrees(fitted.rotation_sigma_rad),
        "rotation_note": "from x towards y: clockwise in a picture with row 0 on top",
    }


def _not_negative(psf: Floats) -> Floats:
    """Noise below zero is no light: cut off, and each colour's sum restored. Nor does a window hold more than all the
    light: where noise around a sharp PSF says so, the sum is 1."""
    cut = np.maximum(psf, 0)
    wanted = np.minimum(psf.sum(axis=(1, 2)), 1)
    return np.asarray(cut * np.minimum(wanted / cut.sum(axis=(1, 2)), 1)[:, np.newaxis, np.newaxis])


def _list(values: Any) -> list[float]:
    return [float(each) for each in np.asarray(values).ravel()]
