"""The range's calibration: a fixed full scale for the scene's light, as an exposure and a gain."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from calibration.full_scale import BINS, LOWEST, WIDTH, FullScale, Look, full_scale, look_of, reached_by
from calibration.outcome import Limit, Outcome, finite, judged, wrong_setup
from host.boundary.measuring import check_measurable
from host.calibrate.procedure import Procedure, Setup, Step, StepData
from host.calibrate.sensor import words
from host.exposure import REFERENCE_EXPOSURE_US, ExposureConfig
from host.figures.calibration_range import draw
from host.seal.sealing import sealed_gains
from optics.bundle import Bundle
from optics.exposure import SATURATED_SHARE_TARGET

ACQUIRE = "host.boundary.acquire_range:acquire"
# Frames of each look: unequal, so that looks do not fall on the same phase of a light that flickers regularly.
LOOK_FRAMES, QUICK_LOOKS = (4, 6, 3, 8, 5, 4, 7, 3), 4
CHECK_FRAMES = 16
SCENE = Setup(field="scene")
ASK = (
    "Put the mask on, take the lens cover off, and let the camera see what it will look at, in the brightest light "
    "that it will have to work in. Leave the light as it is until this is done."
)
# Light that differs by more between exposures makes other codes of the same scene.
LARGEST_LIGHT_CHANGE_PERCENT, FLICKER_PERCENT = 3.0, 5.0
# The longest exposure at the highest gain is darkness below this part of full scale: dark current of a warm sensor.
DARKNESS = 0.03
MOST_ZERO_SHARE, MOST_UNCERTAINTY_PERCENT = 0.75, 5.0
DEADBAND = (0.25, 3.0)


def make_procedure(bundle: Bundle, quick: bool = False, mains_hz: int = 50) -> Procedure:
    """The steps for a bundle's plane, pool and thresholds. mains_hz: 50, 60, or 0 for lamps that do not flicker.

    Raises NotMeasurable (a ValueError) for an encoding that one camera behind one mask cannot be.
    """
    check_measurable(bundle)
    limits = ExposureConfig(mains_hz=mains_hz)
    settings = {
        "rows_px": bundle.rows_px,
        "columns_px": bundle.columns_px,
        "pool": bundle.encoding.pool,
        "thresholds": [float(level) for level in bundle.encoding.thresholds],
        "gains": list(sealed_gains(bundle) or (1.0, 1.0, 1.0)),
        "exposure_us": list(limits.exposure_us),
        "gain": list(limits.gain),
        "mains_hz": mains_hz,
    }
    steps = [Step("find", "looking for the exposure that fits the light", SCENE, ASK, {**settings, "role": "find"})]
    for number, frames in enumerate(LOOK_FRAMES[: QUICK_LOOKS if quick else None], 1):
        look = {**settings, "role": "look", "frames": frames}
        steps.append(Step(f"look_{number}", "the same light again: does it change?", SCENE, "", look))
    check = {**settings, "role": "check", "frames": CHECK_FRAMES // 2 if quick else CHECK_FRAMES}
    steps.append(Step("check", "at the setting that was found: how many cells are clipped?", SCENE, "", check))
    thresholds = bundle.encoding.thresholds
    return Procedure(
        "range",
        steps,
        ACQUIRE,
        conclude=lambda data: conclude(data, thresholds, limits),
        draw=lambda outcome, data, path: draw(outcome, data, path, thresholds),
        options={"quick": quick, "encoding": bundle.encoding.id, "mains_hz": mains_hz},
    )


def conclude(data: Mapping[str, StepData], thresholds: Any, limits: ExposureConfig) -> Outcome:
    """All steps to the outcome: a wrong set-up by its name, else exposure and gain against the acceptance limits.

    `full_scale_radiance` is the light that reaches full scale at the exposure and gain found, in the unit of the light
    that fills the scale in 10 ms at gain 1: 10,000 us over exposure times gain.
    """
    find, check = data["find"], look_of(data["check"])
    about = {"camera": words(find["camera"]), "bits": int(find["bits"]), "mains_hz": limits.mains_hz}
    looks = [look_of(step) for name, step in sorted(data.items()) if name.startswith("look")]
    levels = np.concatenate([each.means / each.product_us for each in [*looks, check]])
    change_percent = float(100 * levels.std(ddof=1) / abs(levels.mean())) if levels.mean() else float("inf")
    if fault := _fault(data, thresholds, limits, change_percent):
        return wrong_setup("range", *fault, result=about)
    found = full_scale(check, thresholds, looks[1:])
    product_us = found.product_us
    result: dict[str, Any] = {
        **about,
        "exposure_us": round(check.exposure_us),
        "gain": check.gain,
        "product_us": product_us,
        "product_us_sigma": found.product_sigma_us,
        "full_scale_radiance": REFERENCE_EXPOSURE_US / product_us,
        "full_scale_radiance_sigma": REFERENCE_EXPOSURE_US / product_us**2 * found.product_sigma_us,
        "other_view_percent": finite(found.other_view_percent),
        "saturated_share": found.saturated_share,
        "saturated_share_sigma": found.saturated_share_sigma,
        "saturated_share_range": list(found.saturated_range),
        "saturated_share_target": SATURATED_SHARE_TARGET,
        "zero_share": found.zero_share,
        "zero_share_sigma": found.zero_share_sigma,
        "headroom_percent": finite(found.headroom_percent),
        "light_change_percent": finite(change_percent),
        "cells": check.cells,
    }
    counts = check.counts.sum(axis=0)
    arrays = {"counts": counts, "values": LOWEST + (np.arange(BINS) + 0.5) * WIDTH}
    return judged("range", result, _limits(found, change_percent), arrays, summary=_summary(check, found),
                  advice="repeat with the scene and the light as they will be")  # fmt: skip


def _fault(
    data: Mapping[str, StepData], thresholds: Any, limits: ExposureConfig, change_percent: float
) -> tuple[str, str] | None:
    find = data["find"]
    if any(int(step.get("cover", -1)) == 1 for step in data.values()):
        return "cover_on", "the cover's switch says that the lens cover is on: take it off and start again"
    top = float(thresholds[-1])
    last, short = (
        float(np.mean([reached_by(counts, SATURATED_SHARE_TARGET) for counts in np.asarray(find[name], np.int64)]))
        for name in ("last_counts", "short_counts")
    )
    exposure_us, gain = float(find["last_exposure_us"]), float(find["last_gain"])
    at_limit = f"{exposure_us / 1000:.3g} ms at gain {gain:.3g}"
    longest = exposure_us > 0.95 * limits.exposure_us[1] or exposure_us * gain > 0.6 * _most_us(limits)
    wanted = float(find["product_us"]) / float(find["last_product_us"])
    if longest and wanted > 1.2:
        if last - short < DARKNESS:
            return "cover_on", (
                f"{at_limit} show no more than a covered sensor does: take the lens cover off, or turn on the light"
            )
        return "too_dark", (
            f"even {at_limit} bring the brightest {100 * SATURATED_SHARE_TARGET:.0f} % of the cells to "
            f"{100 * last / top:.0f} % of the highest threshold only; more light, a larger aperture, or a mask that "
            "passes more"
        )
    if wanted < 0.85 and exposure_us <= 1.3 * limits.exposure_us[0] + 20:
        return "too_bright", (
            f"even {at_limit} drive more than {100 * SATURATED_SHARE_TARGET:.0f} % of the cells beyond the highest "
            "threshold: less light, or a grey filter in front of the mask"
        )
    if change_percent > FLICKER_PERCENT:
        half_period = f"multiples of {500 / limits.mains_hz:.3g} ms" if limits.mains_hz else "any length"
        return "flicker", (
            f"the light changes by {change_percent:.1f} % between exposures of {half_period}: set exposure.mains_hz to "
            "the mains where the lamps are, or use lamps that do not flicker"
        )
    return None


def _most_us(limits: ExposureConfig) -> float:
    return limits.exposure_us[1] * limits.gain[1]


def _limits(found: FullScale, change_percent: float) -> list[Limit]:
    low, high = (SATURATED_SHARE_TARGET * edge for edge in DEADBAND)
    sigma = 100 * found.product_sigma_us / found.product_us
    return [
        Limit("saturated_most", 100 * found.saturated_share, 100 * high, "most", "%", "share of saturated cells"),
        Limit("saturated_least", 100 * found.saturated_share, 100 * low, "least", "%", "share of saturated cells"),
        Limit("zero", 100 * found.zero_share, 100 * MOST_ZERO_SHARE, "most", "%", "share of cells at code 0"),
        Limit("uncertainty", sigma, MOST_UNCERTAINTY_PERCENT, "most", "%", "uncertainty of the full scale"),
        Limit("light", change_percent, LARGEST_LIGHT_CHANGE_PERCENT, "most", "%", "change of the light"),
    ]


def _summary(check: Look, found: FullScale) -> str:
    sigma = 100 * found.product_sigma_us / found.product_us
    return (
        f"{check.exposure_us / 1000:.4g} ms at gain {check.gain:.3g}: {100 * found.saturated_share:.1f} % of the cells "
        f"are saturated, {100 * found.zero_share:.1f} % read code 0; the light may grow by "
        f"{found.headroom_percent:.0f} % before a tenth is saturated; full scale to {sigma:.2f} %"
    )
