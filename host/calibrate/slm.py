"""`canopic calibrate slm`: first look, steps in time, sweeps through the grey levels, stillness; to a table."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.outcome import Limit, Outcome, finite, judged, wrong_setup
from calibration.phase_lut import Sweep, fit_response, invert, level_of_turn, ripple_of, two_half_phases
from calibration.phase_lut_fringes import complex_of, fixed_pattern, undrawn
from calibration.phase_lut_mirror import mirrored_of
from calibration.phase_lut_settling import creep, settling_of, slower
from calibration.phase_lut_setup import MOST_CREEP, look_of, recognise
from host.calibrate.procedure import Procedure, Setup, Step, StepData
from optics.bundle import Bundle

SETUP = Setup(field="fringes")
ASK = (
    "Put the modulator into a Michelson interferometer, its image filling the camera's picture, the light polarised "
    "along its director, and tilt the mirror until some 32 to 38 upright fringes cross the picture. Laser on. (On a "
    "panel with few pixels stay 8 fringes away from one fringe to two pixels: there the pixels mirror the fringes.)"
)
# Levels of the first look; steps of less than half a turn between them on any panel that reaches 3 pi or less.
LOOK_LEVELS = (0, 48, 96, 144, 192, 240)
SETTLE_STEP_RAD = 2.2
# Levels that every procedure measures, for the result in figures; the arrays have them all.
SOME_LEVELS = (60, 120, 180, 240)
LEAST_RANGE_RAD = 2 * np.pi * 255 / 256
MOST_RESIDUAL_RAD, MOST_SIGMA_RAD = 0.06, 0.05
# Mirrored fringes from this share on are worth a word to the person at the mirror.
MENTIONED_MIRRORED = 0.002
MOST_SETTLE_MS, MOST_FLICKER_PERCENT, MOST_SPREAD_PERCENT = 500.0, 3.0, 8.0


def make_procedure(bundle: Bundle | None = None, quick: bool = False) -> Procedure:
    """The procedure; the bundle does not matter to it. quick: fewer levels, sweeps and pictures, more uncertain."""
    del bundle
    spacing, sweeps, repeats, pictures = (15, 4, 16, 40) if quick else (5, 8, 24, 120)
    watch_s = 0.42 if quick else 0.6
    wait = {"wait_s": 0.5}
    look = {"what": "look", "still": 16 if quick else 32, "levels": list(LOOK_LEVELS), **wait}
    steps = [
        Step("look", "a first look at the fringes, and whether the panel answers", SETUP, ASK, look),
        Step(
            "settle", f"{repeats} steps up and down, watched picture by picture", SETUP,
            settings={"what": "settle", "step_rad": SETTLE_STEP_RAD, "repeats": repeats, "watch_s": watch_s, **wait},
        ),
        *(
            Step(
                f"sweep-{number + 1}",
                f"grey levels 0 to 255 by {spacing} on the {'right' if number % 2 else 'left'} half",
                SETUP,
                settings={"what": "sweep", "other_half": bool(number % 2), "order": _order(spacing, number), **wait},
            )
            for number in range(sweeps)
        ),
        Step(
            "hold", f"{pictures} pictures of the highest level: does its phase stand still?", SETUP,
            settings={"what": "hold", "level": 255, "pictures": pictures, **wait},
        ),
    ]  # fmt: skip
    return Procedure(
        "slm", steps, "host.boundary.acquire_slm:acquire", conclude, draw, {"quick": quick, "spacing": spacing}
    )


def conclude(data: Mapping[str, StepData]) -> Outcome:
    """The table, and what the panel is like; or the wrong set-up that was seen."""
    look = look_of(data["look"])
    wrong = recognise(look)
    if wrong is not None:
        return wrong_setup("slm", *wrong)
    moving = creep(data["settle"])
    if moving > MOST_CREEP:
        return wrong_setup(
            "slm",
            "not_settled",
            f"half a second after a new image the phase still moves by {moving:.0%} of the step: a cold panel, warm it "
            "up (as long as its data sheet says, with the laser on), or it is not made for images that change",
        )

    sweeps = [sweep_of(each) for name, each in data.items() if name.startswith("sweep")]
    mirrored = mirrored_of(sweeps)
    # Light that does not belong at the carrier, in any one region.
    stray = float(np.hypot(look.leak, mirrored.rms))
    response = fit_response(sweeps, look.snr, stray, mirrored.together())
    inverse = invert(response.phase_rad)
    turn, turn_sigma = level_of_turn(response)
    rise, fall = (settling_of(data["settle"], falling, mirrored.together(look.test)) for falling in (False, True))
    settle_s, settle_sigma_s = slower(rise, fall)
    reach_rad = float(response.phase_rad[-1])
    flicker, flicker_sigma = ripple_of(*held_phases(data["hold"]), reach_rad)
    fixed_rad, drawn_rad = fixed_pattern(look.fixed)
    vibration_rad, vibration_sigma_rad = look.vibration_rad
    # Noise and stray light of one region, over as many regions; what the beam draws is common to them.
    region_sigma_rad = float(np.hypot(stray, 1 / look.snr / np.sqrt(look.still.shape[0]))) / np.sqrt(2)
    fixed_sigma_rad = float(np.hypot(region_sigma_rad / np.sqrt(fixed_rad.size), drawn_rad))
    gains, gains_drawn = undrawn(response.gains, np.abs(look.fixed))
    spread = float(np.std(gains))
    # d spread / d gain of a region is (gain - mean) / (regions * spread); the halves' means move whole halves.
    apart = abs(float(gains[look.test].mean() - gains[~look.test].mean()))
    apart_sigma = np.sqrt(2) * response.half_sigma
    by_halves = max(apart, apart_sigma) / (4 * spread) * apart_sigma
    spread_sigma = float(np.linalg.norm([response.gain_sigma / np.sqrt(gains.size), gains_drawn, by_halves]))
    residual_rad = float(np.sqrt((inverse.error_rad**2).mean()))

    result: dict[str, Any] = {
        "phase_range_rad": reach_rad,
        "phase_range_rad_sigma": float(response.sigma_rad[-1]),
        "some_levels": list(SOME_LEVELS),
        "some_phases_rad": [float(response.phase_rad[level]) for level in SOME_LEVELS],
        "some_phases_rad_sigma": [float(response.sigma_rad[level]) for level in SOME_LEVELS],
        "level_of_turn": finite(turn),
        "level_of_turn_sigma": finite(turn_sigma),
        "residual_rms_rad": residual_rad,
        "residual_largest_rad": float(np.abs(inverse.error_rad).max()),
        "falls_back_rad": inverse.fall_rad,
        "settle_ms": 1e3 * settle_s,
        "settle_ms_sigma": 1e3 * settle_sigma_s,
        "rise_constant_ms": 1e3 * rise.constant_s,
        "rise_constant_ms_sigma": 1e3 * rise.constant_sigma_s,
        "fall_constant_ms": 1e3 * fall.constant_s,
        "fall_constant_ms_sigma": 1e3 * fall.constant_sigma_s,
        "flicker_percent": 100 * flicker,
        "flicker_percent_sigma": 100 * flicker_sigma,
        "fixed_pattern_rms_rad": float(np.sqrt((fixed_rad**2).mean())),
        "fixed_pattern_rms_rad_sigma": fixed_sigma_rad,
        "response_spread_percent": 100 * spread,
        "response_spread_percent_sigma": 100 * spread_sigma,
        "vibration_rms_rad": vibration_rad,
        "vibration_rms_rad_sigma": vibration_sigma_rad,
        "mirrored_fringes_percent": 100 * mirrored.rms,
        "visibility": look.visibility,
        "fringe_snr": look.snr,
        "measured_levels": [int(level) for level in response.levels],
        "sign": "phase is taken to grow with the grey level: fringes cannot tell",
    }
    tilt = (
        f"The panel's pixels mirror {100 * mirrored.rms:.1f} % of the fringes onto themselves, which is in the "
        "uncertainties: tilt the mirror until the fringes are 8 more (or fewer) than half the panel's columns, or "
        "slant by 8 from top to bottom"
    )
    mentioned = mirrored.rms > MENTIONED_MIRRORED
    arrays: dict[str, NDArray[Any]] = {
        "lut": inverse.lut,
        "phase_rad": response.phase_rad,
        "phase_sigma_rad": response.sigma_rad,
        "residual_rad": inverse.error_rad,
        "fixed_pattern_rad": fixed_rad,
        "region_gains": gains,
    }
    worst_sigma_rad = float(response.sigma_rad.max())
    limits = [
        Limit("phase_range_rad", reach_rad, LEAST_RANGE_RAD, "least", "rad", "the phase of the highest level"),
        Limit("residual_rms_rad", residual_rad, MOST_RESIDUAL_RAD, "most", "rad", "the rms phase error of the table"),
        Limit("phase_sigma_rad", worst_sigma_rad, MOST_SIGMA_RAD, "most", "rad", "the largest uncertainty of a phase"),
        Limit("settle_ms", 1e3 * settle_s, MOST_SETTLE_MS, "most", "ms", "the time until an image stands"),
        Limit("flicker_percent", 100 * flicker, MOST_FLICKER_PERCENT, "most", "%", "the rms ripple of the phase"),
        Limit(
            "response_spread_percent", 100 * spread, MOST_SPREAD_PERCENT, "most", "%",
            "the spread of the response over the panel",
        ),
    ]  # fmt: skip
    return judged(
        "slm",
        result,
        limits,
        arrays,
        summary=(
            f"The panel reaches {reach_rad / np.pi:.2f} pi; with its table phases are {residual_rad:.3f} rad rms off, "
            f"an image stands after {1e3 * settle_s:.0f} ms, ripple is {100 * flicker:.2f} %."
            + (f" {tilt}." if mentioned else "")
        ),
        advice=(f"{tilt}; " if mentioned else "")
        + (
            "a panel that does not reach a turn takes a shorter wavelength or another gamma curve in its controller; "
            "uncertain phases take more sweeps and a quieter table"
        ),
    )


def draw(outcome: Outcome, data: Mapping[str, StepData], path: Path) -> None:
    """The figure, .png."""
    from host.figures.calibration_slm import draw as draw_figure

    draw_figure(outcome, data, path)


def sweep_of(data: StepData) -> Sweep:
    """A sweep from what its step kept."""
    return Sweep(
        np.asarray(data["levels"], dtype=np.int64),
        complex_of(data, "phasors"),
        np.asarray(data["test"], dtype=np.bool_),
    )


def held_phases(data: StepData) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Phases of the half under test while it held a level, and while it was dark: float64 (n,) each."""
    test = np.asarray(data["test"], dtype=np.bool_)
    phases = []
    for name in ("still", "dark"):
        phasors = complex_of(data, name)
        held = Sweep(np.zeros(phasors.shape[0], dtype=np.int64), phasors, test)
        phases.append(np.nanmean(two_half_phases(held)[0], axis=1))
    return phases[0], phases[1]


def _order(spacing: int, seed: int) -> list[int]:
    """Levels 0, spacing, ..., 255 in an order that no drift follows, level 0 first and after every six others."""
    levels = [*range(spacing, 255, spacing), 255]
    mixed = [int(each) for each in np.random.default_rng(seed).permutation(levels)]
    order = []
    for index in range(0, len(mixed), 6):
        order += [0, *mixed[index : index + 6]]
    return [*order, 0]
