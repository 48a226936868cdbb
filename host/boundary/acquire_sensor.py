"""Stacks of even light and of darkness for the sensor's calibration: their statistics leave, no picture does."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.photon_stacks import StackReducer, StackStatistics, to_arrays
from host.boundary.rig import Rig, alike
from host.calibrate.procedure import Step, StepData, scalar
from host.camera.about import Exposed

FIRST_US, LONGEST_METERED_US = 2_000.0, 150_000.0
METERING_FRAMES, MOST_METERINGS = 4, 12
# Metering is done when the brightest colour lies here, in parts of full scale.
MIDDLE = (0.25, 0.6)
WANTED = 0.4
# More than this part of full scale is no dark current.
DARKNESS = 0.1
UNKNOWN, OFF, ON = -1, 0, 1


def acquire(rig: Rig, step: Step, before: Mapping[str, StepData]) -> StepData:
    """One step. settings["role"]: "meter", "light" (with "part" of the exposure that fills the scale), "covered" (the
    lamp shines on the cover) or "dark" (with "exposure_us", or "part"); "frames". What it gives is statistics over all
    pixels of a site. Raises what the camera raises."""
    settings = step.settings
    rig.light.set(settings["role"] != "dark")
    if settings["role"] == "meter":
        return _meter(rig)
    full_us = float(before["meter"]["full_us"])
    if not np.isfinite(full_us) and ("part" in settings or float(before["meter"]["fractions"].max()) > DARKNESS):
        # The light is of no use, and the outcome says so: nobody has to wait for the rest. Where hardly any was seen,
        # darkness alone tells stray light from dark current.
        return {"skipped": scalar(1), "cover": scalar(_cover(rig))}
    exposure_us = settings["part"] * full_us if "part" in settings else settings["exposure_us"]
    stack = statistics(rig, int(settings["frames"]), float(exposure_us))
    return {**to_arrays(stack), "cover": scalar(_cover(rig))}


def statistics(rig: Rig, frames: int, exposure_us: float, gain: float = 1.0) -> StackStatistics:
    """So many exposures, all of one exposure time and gain, reduced as they come. Raises what `alike` raises."""
    reducer = StackReducer()
    times_s: list[float] = []

    def anew() -> None:
        nonlocal reducer
        reducer.clear()
        reducer = StackReducer()
        times_s.clear()

    def add(mosaic: NDArray[np.uint16], about: Exposed) -> None:
        reducer.add(mosaic, about.white_dn)
        times_s.append(about.time_s + about.exposure_us / 2e6)

    try:
        about = alike(rig, frames, exposure_us, gain, add, anew)
        return reducer.reduce(about.exposure_us, about.gain, about.white_dn, about.black_dn, float(np.mean(times_s)))
    finally:
        reducer.clear()


def _meter(rig: Rig) -> StepData:
    """Exposures until the brightest colour lies in the middle of the scale, or there is no such exposure."""
    shortest_us = rig.camera.set_exposure(1.0, 1.0)[0]
    longest_us = rig.camera.set_exposure(LONGEST_METERED_US, 1.0)[0]
    exposure_us = min(max(FIRST_US, shortest_us), longest_us)
    tried: list[tuple[float, float]] = []
    while len(tried) < MOST_METERINGS:
        stack = statistics(rig, METERING_FRAMES, exposure_us)
        span = stack.white_dn - stack.reported_black_dn
        fraction = float(((stack.mean_dn - stack.reported_black_dn) / span).max())
        tried.append((stack.exposure_us, fraction))
        if MIDDLE[0] <= fraction <= MIDDLE[1]:
            break
        change = 1 / 8 if fraction > 0.95 else min(16.0, WANTED / max(fraction, 1e-6))
        wanted_us = min(max(exposure_us * change, shortest_us), longest_us)
        if abs(wanted_us / exposure_us - 1) < 0.05:
            break
        exposure_us = wanted_us
    fraction = tried[-1][1]
    # A second exposure, half as long: values that do not follow it are not this exposure's.
    half = statistics(rig, METERING_FRAMES, max(tried[-1][0] / 2, shortest_us))
    span = half.white_dn - half.reported_black_dn
    tried.append((half.exposure_us, float(((half.mean_dn - half.reported_black_dn) / span).max())))
    return {
        **{f"last_{name}": array for name, array in to_arrays(stack).items()},
        "exposures_us": np.array([at for at, _ in tried]),
        "fractions": np.array([reached for _, reached in tried]),
        "full_us": scalar(tried[-2][0] / fraction if 0.05 < fraction < 0.95 else np.nan),
        "shortest_us": scalar(shortest_us),
        "longest_us": scalar(longest_us),
        "cover": scalar(_cover(rig)),
        "bits": scalar(rig.camera.identity.bits),
        "camera": text(rig.camera.identity.name),
        "simulated": scalar(rig.camera.identity.simulated),
        "bayer": text(rig.camera.identity.bayer),
    }


def _cover(rig: Rig) -> int:
    """What the cover's switch says: ON, OFF or UNKNOWN."""
    state = rig.cover_is_on()
    return UNKNOWN if state is None else ON if state else OFF


def text(words: str) -> NDArray[Any]:
    """Words as StepData can hold them: uint8 (n,), UTF-8."""
    return np.frombuffer(words.encode(), dtype=np.uint8)
