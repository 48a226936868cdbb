"""Wrong set-ups of `calibrate psf`: what the data of a step show, and what the person at the bench is told to do."""

import numpy as np
from numpy.typing import NDArray

from calibration.outcome import Outcome, finite, wrong_setup
from calibration.point_source import Light, PointSpread
from calibration.point_source_leftover import Leftover
from calibration.point_source_setup import (
    MOST_REFUSED,
    STATUS,
    WARM_SHARE,
    ambient_fault,
    cover_is_on,
    covered,
    creep_px,
    mask_orientation,
    moves,
    near_edge,
    open_stop,
    second_source,
    wander_px,
)
from host.calibrate.procedure import StepData

Floats = NDArray[np.float64]

# Below this signal-to-noise ratio a PSF is not measured: noise lowers a correlation by 1 / (2 SNR^2), so at 50 by far
# less than masks differ.
LEAST_SNR = 50.0
# Two sources are apart, and the second one's brightness is known, where so much of its PSF is its own.
APART = 0.5
# Share of full scale up to which a frame's mean tells the room's light.
MOST_AMBIENT = 0.8


def before_measuring(name: str, step: StepData, dark: StepData) -> Outcome | None:
    """What is wrong with a step's set-up before its light is looked at."""
    level, black, white = float(np.max(dark["level_dn"])), float(np.mean(dark["black_dn"])), float(dark["white_dn"])
    coloured, share = float(dark["coloured"]), (level - black) / (white - black)
    if not covered(level, black, white, coloured):
        what, advice = f"their colours differ by {coloured * 100:.0f} %, as a light's do", ""
        if share >= WARM_SHARE:
            what = "a warm sensor's own current gives less"
            advice = "; if it is on, let the sensor cool"
        return wrong_setup(
            "psf",
            "cover_off",
            f"the dark frames are not dark: {share * 100:.1f} % of full scale at "
            f"{float(np.max(dark['exposure_us'])) / 1000:.0f} ms, and {what}. Put the lens cover on for them{advice}",
        )
    where = "" if name == "axis" else f" (step {name})"
    status = int(step["status"])
    if status == STATUS["skipped"]:
        return wrong_setup("psf", "source_off", f"step {name} was not acquired")  # an earlier step is at fault
    rates, scales = np.asarray(step["ambient_dn_per_us"]), np.asarray(step["ambient_scale_us"])
    source_rate = 0.0
    if status == STATUS["measured"]:
        scale = step["exposure_us"][0] * step["gains"][0]
        source_rate = max(float(np.mean(step["difference_dn"][0])) / float(scale), 0.0)
    # Where the room's light alone fills the scale its level is not known.
    below = rates * scales < MOST_AMBIENT * (float(dark["white_dn"]) - float(np.mean(dark["black_dn"])))
    ambient = ambient_fault(rates[below], scales[below], source_rate)
    if ambient == "ambient_changed":
        return wrong_setup(
            "psf",
            ambient,
            f"the room's light changed during the measurement{where}. Leave its lamps as they are, or off",
        )
    if ambient == "ambient_flicker":
        return wrong_setup(
            "psf", ambient, f"the room's light flickers from frame to frame{where}. Switch its lamps off"
        )
    if status == STATUS["no light"]:
        dark_scales = np.asarray(dark["exposure_us"]) * float(dark["gain"])
        dark_rates = (np.asarray(dark["level_dn"]) - float(np.mean(dark["black_dn"]))) / dark_scales
        switch = float(step["cover_switch"])  # 1: the cover's switch says on, 0: off, -1: there is none
        if switch == 1 or (switch < 0 and cover_is_on(rates, scales, dark_rates, dark_scales)):
            return wrong_setup(
                "psf",
                "cover_on",
                f"without the cover the sensor sees as little as with it{where}, the room's light included. "
                "Take the lens cover off",
            )
        return wrong_setup(
            "psf",
            "source_off",
            f"switching the source changes nothing on the sensor{where}, at exposures up to "
            f"{float(step['exposure_us'][0]) / 1000:.0f} ms. "
            "Check the LED, its cable and pin, and whether it points at the mask",
        )
    if status == STATUS["saturated"]:
        return wrong_setup(
            "psf",
            "too_bright",
            f"the source saturates the sensor at its shortest exposure, {float(step['exposure_us'][0]):.0f} us{where}. "
            "Dim it with a series resistor or a neutral filter, or move it further away",
        )
    if status == STATUS["lit elsewhere"]:
        return wrong_setup(
            "psf",
            "lights_the_room",
            f"{float(step['elsewhere']) * 100:.0f} % of the light that is switched falls far beside the brightest spot"
            f"{where}: the source lights more than the mask, and its pictures would show what. None of them was kept. "
            "Put the source into a tube that points at the mask, in a dark room with nobody in front of it",
        )
    places = [(float(at[0]), float(at[1])) for at in (step["peak_px"], step["centroid_px"])]
    plane = int(step["plane_px"][0]), int(step["plane_px"][1])
    design_px = int(step["design_px"])
    if near_edge(places, plane, design_px):
        at = places[0]
        return wrong_setup(
            "psf",
            "source_out_of_field",
            f"the source's light lies at row {at[0]:.0f}, column {at[1]:.0f} of {plane[0]} x {plane[1]} pixels{where}: "
            "part of the PSF misses the sensor. Move the source towards the axis",
        )
    return _unsteady(step, where)


def _unsteady(step: StepData, where: str) -> Outcome | None:
    shifts, sigma = np.asarray(step["shifts_px"]), np.asarray(step["shift_sigma_px"])
    bumped = float(np.sum(step["bumps"])) / float(np.sum(step["frames_taken"]))
    if moves(shifts, sigma) or bumped > MOST_REFUSED:
        wander, _ = wander_px(shifts, sigma)
        creep, _ = creep_px(shifts, sigma)
        return wrong_setup(
            "psf",
            "moving",
            f"the source wanders by {wander:.2f} pixels (rms) from frame to frame, and by {creep:.2f} from the first "
            f"half of them to the second{where}. Fix source and camera to the same table, and keep hands and fans away",
        )
    return None


def after_measuring(
    step: StepData, light: Light, spread: PointSpread, designed: Floats, left: Leftover | None
) -> Outcome | None:
    """What the measured PSF itself says about the set-up. left: what the fitted design leaves over."""
    snr = float(spread.snr.min())
    seen = {"snr": finite(snr)}
    if snr < LEAST_SNR:
        return too_dim(step, snr)
    second = second_source(left)
    if second is not None:
        seen["second_source_share"] = second.share
        how = (
            f"{second.share * 100:.1f} % as bright, lies {second.distance_px:.0f} pixels from the first"
            if second.own > APART
            else f"lies so near to the first, some {second.distance_px:.0f} pixels, that the two PSFs overlap"
        )
        return wrong_setup(
            "psf",
            "two_sources",
            f"a second point of light{',' if second.own > APART else ''} {how}. "
            "Cover reflecting surfaces, and switch other LEDs off",
            seen,
        )
    stop_px = open_stop(light, spread)
    if stop_px is not None:
        return wrong_setup(
            "psf",
            "mask_missing",
            f"the light is an even disc of {stop_px:.0f} pixels, as an open stop gives. Mount the mask",
            seen,
        )
    name, what = mask_orientation(light, spread, designed, left)
    if name == "mask_flipped":
        advice = "Turn the mask over, its structured side towards the sensor"
        if "larger" in what:
            advice += "; if it is that way round, it stands too far from the sensor by that share of the distance"
        return wrong_setup("psf", name, f"{what}. {advice}", seen)
    if name == "mask_turned":
        return wrong_setup("psf", name, f"{what}. Turn the mask by half a turn in its plane", seen)
    return None


def too_dim(step: StepData, snr: float) -> Outcome:
    exposure_ms = float(np.max(step["exposure_us"])) / 1000
    return wrong_setup(
        "psf",
        "too_dim",
        f"{int(np.max(step['frames_on']))} frames of up to {exposure_ms:.0f} ms give a signal-to-noise ratio of "
        f"{snr:.1f}, {LEAST_SNR:.0f} is asked for. Use a brighter source, bring it nearer, or darken the room",
        {"snr": finite(snr)},
    )
