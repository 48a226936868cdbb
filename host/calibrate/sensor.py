"""The sensor's calibration by photon transfer: a ladder of exposures under an even light, then in the dark."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from calibration.outcome import Limit, Outcome, finite, judged, wrong_setup
from calibration.photon_fits import Estimate
from calibration.photon_lamp import Lamp, lamp_of
from calibration.photon_sensitivity import CalibratedLight, sensitivity
from calibration.photon_setup import light_of_uncovering, metering_fault, stacks_fault
from calibration.photon_stacks import StackStatistics, from_arrays
from calibration.photon_transfer import NotMeasurable, SensorEstimate, estimate_sensor
from host.calibrate.procedure import Procedure, Setup, Step, StepData
from host.figures.calibration_sensor import draw
from optics.bundle import Bundle

ACQUIRE = "host.boundary.acquire_sensor:acquire"
# Parts of the exposure at which the brightest colour fills the scale. Dense where the variance has its peak; the last
# saturates colours that have half of the light.
RUNGS = (0.02, 0.04, 0.07, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6, 0.7, 0.8, 0.86, 0.9, 0.93, 0.95, 0.97, 0.985, 1.0, 1.03, 1.1)
QUICK_RUNGS = (0.03, 0.07, 0.15, 0.3, 0.4, 0.6, 0.7, 0.8, 0.88, 0.93, 0.97, 1.0, 1.05)
END_RUNGS = (1.8, 2.4)
MIDDLE_PART = 0.5
DARK_US = (1_000.0, 60_000.0, 200_000.0, 400_000.0)
FRAMES, QUICK_FRAMES = 16, 10
MIDDLE_FRAMES, QUICK_MIDDLE_FRAMES = 48, 24
REFERENCES = 3
FLAT = Setup(field="flat")
COVERED = Setup(cover_on=True, field="flat")
DARK = Setup(cover_on=True, field="dark")
LIGHT_ASK = (
    "Take the lens cover off (and lens and mask, where they come off), and light the bare sensor evenly: a lamp on "
    "direct current behind a white diffuser, a hand's breadth away. Leave it so until the ladder is done."
)
COVER_ASK = "Put the lens cover on, and leave the lamp burning as it is: does the cover keep its light out?"
DARK_ASK = "Leave the lens cover on, switch the lamp off and darken the room: the sensor must not see any light."
UNKNOWN_EFFICIENCY = "not known: quantum efficiency and photons need a light of calibrated irradiance (EMVA 1288, 6.4)"
# Acceptance. A sensor beyond these would change codes by itself.
GAIN_SIGMA_PERCENT, QUICK_GAIN_SIGMA_PERCENT = 1.0, 2.0
LINEARITY_PERCENT, PRNU_PERCENT, DYNAMIC_RANGE_DB = 3.0, 5.0, 40.0
BLACK_SHARE, SITE_GAIN_PERCENT, TRANSFER_PERCENT, UNDERFLOW_PERCENT = 0.004, 3.0, 3.0, 0.5


def make_procedure(bundle: Bundle, quick: bool = False, lamp: CalibratedLight | None = None) -> Procedure:
    """The steps: the same for every bundle, whose plane only has to fit. quick: fewer exposures, about twice the
    uncertainty. lamp: a calibrated light, where there is one; only then photons are known."""
    frames, middle = (QUICK_FRAMES, QUICK_MIDDLE_FRAMES) if quick else (FRAMES, MIDDLE_FRAMES)
    rungs = [*(QUICK_RUNGS if quick else RUNGS), *END_RUNGS]
    steps = [Step("meter", "looking for the exposure that fills the scale", FLAT, LIGHT_ASK, {"role": "meter"})]

    def reference(number: int) -> Step:
        settings = {"role": "light", "part": MIDDLE_PART, "frames": middle}
        return Step(f"reference_{number}", "the light at half of saturation: is it steady?", FLAT, "", settings)

    steps.append(reference(1))
    for number, part in enumerate(rungs, 1):
        text = f"light at {100 * part:.3g} % of saturation"
        steps.append(Step(f"light_{number:02}", text, FLAT, "", {"role": "light", "part": part, "frames": frames}))
        if number == len(rungs) // 2:
            steps.append(reference(2))
    steps.append(reference(REFERENCES))
    covered = {"role": "covered", "exposure_us": DARK_US[-1], "frames": frames}
    steps.append(Step("covered", "the lamp on the lens cover: does it leak?", COVERED, COVER_ASK, covered))
    dark: list[tuple[str, dict[str, Any]]] = [(f"{us / 1000:g} ms of darkness", {"exposure_us": us}) for us in DARK_US]
    dark.append(("darkness as long as half of saturation takes", {"part": MIDDLE_PART}))
    for number, (text, settings) in enumerate(dark, 1):
        longer = middle if number in (1, len(dark)) else frames
        ask = DARK_ASK if number == 1 else ""
        steps.append(Step(f"dark_{number}", text, DARK, ask, {"role": "dark", "frames": longer, **settings}))
    return Procedure("sensor", steps, ACQUIRE, conclude=lambda data: conclude(data, quick, lamp), draw=draw,
                     options={"quick": quick, "plane_px": [bundle.rows_px, bundle.columns_px]})  # fmt: skip


def stacks_of(data: Mapping[str, StepData], kind: str) -> list[StackStatistics]:
    """The stacks of the steps whose name begins with `kind`: "light", "reference", "covered" or "dark"."""
    found = [step for name, step in sorted(data.items()) if name.startswith(kind) and "skipped" not in step]
    return [from_arrays({key: value for key, value in step.items() if key != "cover"}) for step in found]


def conclude(data: Mapping[str, StepData], quick: bool = False, lamp: CalibratedLight | None = None) -> Outcome:
    """All steps to the outcome: a wrong set-up by its name, else the estimates against the acceptance limits."""
    meter = data["meter"]
    about = {"camera": words(meter["camera"]), "bits": int(meter["bits"]), "gain": 1.0}
    metered = from_arrays({key.removeprefix("last_"): meter[key] for key in meter if key.startswith("last_")})
    light, references, covered, dark = (stacks_of(data, kind) for kind in ("light", "reference", "covered", "dark"))
    if fault := _covers(data) or metering_fault(
        list(meter["exposures_us"]),
        list(meter["fractions"]),
        light_of_uncovering(metered, dark, covered[0] if covered else None),
        float(meter["longest_us"]),
        float(meter["shortest_us"]),
    ):
        return wrong_setup("sensor", *fault, result=about)
    if not (light and references and dark):
        reason = "no exposure was found at which the light neither saturates nor vanishes: is it steady?"
        return wrong_setup("sensor", "light_unstable", reason, about)
    if fault := stacks_fault(dark, light, references, covered[0] if covered else None):
        return wrong_setup("sensor", *fault, result=about)
    ladder = [*light, max(references, key=lambda stack: stack.frames)]
    try:
        burning = lamp_of(references, ladder)
        estimate = estimate_sensor(dark, ladder, burning)
        photons = _photons(ladder, estimate, lamp, burning)
    except NotMeasurable as error:
        return wrong_setup("sensor", "not_measurable", str(error), about)
    reported = float(references[0].reported_black_dn.mean())
    result = {**about, **described(estimate), **photons, "black_level_reported_dn": reported}
    arrays = {
        "site_gain_dn_per_e": estimate.site_gain_dn_per_e,
        "black_sites_dn": estimate.black_sites_dn,
        "deviations_percent": estimate.deviations_percent,
        "linear_exposure_us": estimate.linear_exposure_us,
    }
    white = references[0].white_dn
    return judged(
        "sensor",
        result,
        [*_limits(estimate, reported, white, quick), _underflow(dark)],
        arrays,
        summary=_summary(estimate),
        advice="repeat with a steadier, more even light; what stays is the sensor's own",
    )


def described(estimate: SensorEstimate) -> dict[str, Any]:
    """Every estimate under its name, its standard uncertainty as NAME_sigma, and what is not known with the reason."""
    names = (
        "black_level_dn", "system_gain_dn_per_e", "read_noise_e", "full_well_e", "saturation_capacity_e",
        "dark_current_e_per_s", "dark_current_variance_e_per_s", "prnu_percent", "dsnu_e", "linearity_error_percent",
        "snr_max", "threshold_e", "dynamic_range_db",
    )  # fmt: skip
    result: dict[str, Any] = {}
    for name in names:
        value: Estimate = getattr(estimate, name)
        result[name], result[f"{name}_sigma"] = finite(value.value), finite(value.sigma)
    result["read_noise_is_upper_limit"] = estimate.dark_noise_is_limit
    result["dsnu_is_upper_limit"] = estimate.dsnu_is_limit
    result["sites"] = {
        "system_gain_dn_per_e": [finite(value) for value in estimate.site_gain_dn_per_e],
        "system_gain_dn_per_e_sigma": [finite(value) for value in estimate.site_gain_sigma_dn_per_e],
        "black_level_dn": [finite(value) for value in estimate.black_sites_dn],
    }
    result["transfer_scatter_percent"] = finite(estimate.transfer_scatter_percent)
    result["transfer_chi2_per_degree"] = finite(estimate.transfer.chi2 / max(1, estimate.transfer.free))
    inside = estimate.deviations_percent[np.isfinite(estimate.deviations_percent)]
    result["linearity_range_percent"] = [float(inside.min()), float(inside.max())]
    return result


def _photons(
    ladder: list[StackStatistics], estimate: SensorEstimate, lamp: CalibratedLight | None, burning: Lamp
) -> dict[str, Any]:
    """What needs a calibrated light, a value for each site, or why it is not known."""
    if lamp is None:
        names = ("quantum_efficiency", "threshold_photons")
        return {**dict.fromkeys(names), **{f"{name}_why": UNKNOWN_EFFICIENCY for name in names}}
    found = sensitivity(ladder, estimate, lamp, burning)
    return {
        "quantum_efficiency": found.quantum_efficiency.tolist(),
        "quantum_efficiency_sigma": found.quantum_efficiency_sigma.tolist(),
        "threshold_photons": found.threshold_photons.tolist(),
        "threshold_photons_sigma": found.threshold_photons_sigma.tolist(),
    }


def words(array: Any) -> str:
    """Text that a step holds as uint8 (n,), UTF-8."""
    return bytes(np.asarray(array, dtype=np.uint8)).decode(errors="replace")


def _covers(data: Mapping[str, StepData]) -> tuple[str, str] | None:
    """What the cover's own switch says against what each step needs."""
    for name, step in data.items():
        state = int(step.get("cover", -1))
        closed = name.startswith(("dark", "covered"))
        if closed and state == 0:
            return "cover_off", "the cover's switch says that it was off in the dark: put the lens cover on"
        if not closed and state == 1:
            return "cover_on", "the cover's switch says that it was on in the light: take the lens cover off"
    return None


def _limits(estimate: SensorEstimate, reported: float, white: float, quick: bool) -> list[Limit]:
    gain = estimate.system_gain_dn_per_e
    sites = estimate.site_gain_dn_per_e
    # Four gains that are one differ by their noise alone: that is taken off.
    noise = float(np.sqrt((estimate.site_gain_sigma_dn_per_e**2).mean()))
    spread = float(np.sqrt(max(sites.var(ddof=1) - noise**2, 0.0)))
    allowed = QUICK_GAIN_SIGMA_PERCENT if quick else GAIN_SIGMA_PERCENT
    return [
        Limit("gain_uncertainty", 100 * gain.sigma / gain.value, allowed, "most", "%",
              "uncertainty of the system gain"),
        Limit("linearity_error", estimate.linearity_error_percent.value, LINEARITY_PERCENT, "most", "%",
              "linearity error"),
        Limit("prnu", estimate.prnu_percent.value, PRNU_PERCENT, "most", "%", "response non-uniformity (PRNU)"),
        Limit("dynamic_range", estimate.dynamic_range_db.value, DYNAMIC_RANGE_DB, "least", "dB", "dynamic range"),
        Limit("black_level", abs(estimate.black_level_dn.value - reported), BLACK_SHARE * white, "most", "DN",
              "difference of the black level from what the camera reports"),
        Limit("site_gains", 100 * spread / gain.value, SITE_GAIN_PERCENT, "most", "%",
              "difference of gain between the colours, noise taken off"),
        Limit("transfer", estimate.transfer_scatter_percent, TRANSFER_PERCENT, "most", "%",
              "departure of the photon transfer from a straight line, noise taken off"),
    ]  # fmt: skip


def _underflow(dark: list[StackStatistics]) -> Limit:
    """The black level must be so high that the noise around it is not cut off (EMVA 1288, section 6.5)."""
    worst = max(float(stack.zero_share.max()) for stack in dark)
    return Limit("underflow", 100 * worst, UNDERFLOW_PERCENT, "most", "%", "share of dark values that are cut off at 0")


def _summary(estimate: SensorEstimate) -> str:
    gain, noise, well = estimate.system_gain_dn_per_e, estimate.read_noise_e, estimate.full_well_e
    at_most = "at most " if estimate.dark_noise_is_limit else ""
    return (
        f"system gain {gain.value:.4g} +- {gain.sigma:.2g} DN per electron, read noise {at_most}{noise.value:.2f} +- "
        f"{noise.sigma:.2g} e, full well {well.value:.0f} +- {well.sigma:.2g} e, dynamic range "
        f"{estimate.dynamic_range_db.value:.1f} dB, linear to {estimate.linearity_error_percent.value:.2f} %"
    )
