"""Acquires a point source's light: dark frames, an exposure bracket around it, frames with it on and off in turns.

What leaves the boundary are differences, light with the source on less light with it off, cut to a window around the
source. What the room's light shows is in both and falls out; only what the source itself lights remains, which is its
own point through the mask. Of the frames without the source nothing leaves but the mean of each, and of the dark ones
by how much their colours differ.
"""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import scipy.ndimage
from numpy.typing import NDArray

from calibration.bayer import quads
from calibration.hdr import NEAR_FULL, BracketPart
from calibration.point_source import point_spread, source_light
from calibration.point_source_frames import Reduced, reduce_frames
from calibration.point_source_setup import LIT_SHARE, STATUS, colours_differ, covered, lit_elsewhere
from host.boundary.rig import Rig, stack
from host.calibrate.procedure import Step, StepData, scalar
from host.camera.about import Exposed
from optics.metrics import MetricError

FIRST_US, LONGEST_US = 10_000.0, 200_000.0
DARK_FRAMES = 8
# Where the brightest site belongs, and how far from there is good enough, in shares of full scale.
WANTED_FULLNESS, LEAST_FULLNESS, MOST_FULLNESS = 0.6, 0.4, 0.7
MOST_TRIES = 12
# The n-th brightest site tells the brightness: a single hot one says nothing.
BRIGHTEST = 3
# Exposures of the bracket, as multiples of the first; ambient light may take up this share of full scale.
BRACKET, MOST_AMBIENT = (1.0, 4.0, 16.0), 0.3
# Frames with the source on, and as many without, of one round; rounds until the wanted SNR is reached.
ROUND_FRAMES, LEAST_ROUNDS = 8, 2
FOUND_SIGMAS = 6.0
AMBIENT_FRAMES = 24
# However large a region is asked for, no more of a plane than this side leaves the boundary.
LARGEST_REGION_PX = 255
# Noise below this many DN does not dither the converter: gain is raised until it does.
DITHERING_DN = 0.6


def acquire(rig: Rig, step: Step, before: dict[str, StepData]) -> StepData:
    """One step of `calibrate psf`: "dark", or the source at one place.

    settings: `region_px`, side of the region in pixels of a plane; `design_px`, side of the designed PSF; `snr`, wanted
    signal-to-noise ratio; `most_frames` with the source on, for each exposure. Raises what the camera raises.
    """
    rig.arrange(step.setup)
    if step.name == "dark":
        rig.light.set(False)
        return _dark(rig)
    failed = not _covered(before["dark"]) or any(
        int(data["status"]) != STATUS["measured"] for data in before.values() if "status" in data
    )
    if failed:
        # Nothing that follows a wrong set-up can be of use: the reason is told without asking for more.
        return {"status": scalar(STATUS["skipped"])}
    try:
        return _source(rig, step.settings, float(before["dark"]["gain"]))
    finally:
        rig.light.set(False)


def _covered(dark: StepData) -> bool:
    """Whether the dark frames were dark."""
    level, black = float(np.max(dark["level_dn"])), float(np.mean(dark["black_dn"]))
    return covered(level, black, float(dark["white_dn"]), float(dark["coloured"]))


def _dark(rig: Rig) -> StepData:
    """Dark level and noise at gain 1, and the gain that makes noise large enough to dither the converter."""
    dark = stack(rig, DARK_FRAMES, FIRST_US)
    noise = float(np.sqrt(max(dark.variance_dn2.mean() - 1 / 12, 1e-6)))
    gain = 1.0 if noise >= DITHERING_DN else rig.camera.set_exposure(FIRST_US, DITHERING_DN / noise)[1]
    levels = [stack(rig, DARK_FRAMES, exposure_us, gain) for exposure_us in (FIRST_US, LONGEST_US)]
    identity = rig.camera.identity
    return {
        "gain": scalar(gain),
        "noise_dn": scalar(noise),
        "exposure_us": np.array([level.about.exposure_us for level in levels]),
        "level_dn": np.array([level.mean_dn.mean() for level in levels]),
        "scatter_dn": np.array([level.means_dn.std(ddof=1) for level in levels]),
        "coloured": scalar(colours_differ(levels[0].mean_dn, levels[1].mean_dn)),
        "black_dn": np.array(levels[0].about.black_dn, dtype=np.float64),
        "white_dn": scalar(levels[0].about.white_dn),
        "bayer": _text(identity.bayer),
        "camera": _text(identity.name),
        "pixel_um": scalar(np.nan if identity.pixel_um is None else identity.pixel_um),
        "plane_px": np.array([identity.rows_px // 2, identity.columns_px // 2]),
    }


@dataclass
class _Taken:
    """What is known of the frames without the source, in the order in which they were taken."""

    rates: list[float] = field(default_factory=list)
    times_s: list[float] = field(default_factory=list)
    scales_us: list[float] = field(default_factory=list)

    def note(self, mosaic: NDArray[np.uint16], about: Exposed) -> None:
        """Keep the mean of a frame, as a rate: DN above black per microsecond at gain 1."""
        self.scales_us.append(about.exposure_us * about.gain)
        self.rates.append((float(mosaic.mean()) - float(np.mean(about.black_dn))) / self.scales_us[-1])
        self.times_s.append(about.time_s)


def _source(rig: Rig, settings: Any, gain: float) -> StepData:
    ambient = _Taken()
    exposure_us, difference, noise_dn, clipped = _right_exposure(rig, gain, ambient)
    smooth, found_sigmas, at = _find(difference, noise_dn, int(settings["design_px"]))
    rows, columns = difference.shape[1:]
    peak = np.unravel_index(int(np.argmax(smooth)), smooth.shape)
    common: dict[str, NDArray[Any]] = {
        "exposure_us": np.array([exposure_us]),
        "gain": scalar(gain),
        "found_sigmas": scalar(found_sigmas),
        "peak_px": np.array(peak, dtype=np.float64),
        "centroid_px": np.array(at),
        "plane_px": np.array([rows, columns]),
        "cover_switch": scalar({None: -1.0, False: 0.0, True: 1.0}[rig.cover_is_on()]),
        "design_px": scalar(float(settings["design_px"])),
    }
    if clipped or found_sigmas < FOUND_SIGMAS:
        status = STATUS["saturated"] if clipped else STATUS["no light"]
        return {**common, **_ambient(ambient), "status": scalar(status)}
    half = min(int(settings["region_px"]), LARGEST_REGION_PX) // 2
    low = [max(0, round(place) - half) for place in at]
    high = [min(n, round(place) + half + 1) for place, n in zip(at, (rows, columns), strict=True)]
    window = (slice(low[0], high[0]), slice(low[1], high[1]))
    # Before anything leaves: a source that lights more than the mask would show what it lights.
    elsewhere = lit_elsewhere(difference, noise_dn, window)
    if elsewhere > LIT_SHARE:
        difference.fill(0)
        # Lamps that flicker or were switched on give differences everywhere, too: the level of more frames tells.
        rig.light.set(False)
        for _ in range(AMBIENT_FRAMES):
            rig.camera.capture(ambient.note)
        status = STATUS["lit elsewhere"]
        return {**common, **_ambient(ambient), "status": scalar(status), "elsewhere": scalar(elsewhere)}
    exposures = _bracket(rig, exposure_us, gain, ambient)
    on: list[list[NDArray[np.uint16]]] = [[] for _ in exposures]
    off: list[list[NDArray[np.uint16]]] = [[] for _ in exposures]
    abouts: list[Exposed] = []
    reduced: list[Reduced] = []
    most, due = int(settings["most_frames"]), LEAST_ROUNDS * ROUND_FRAMES
    while True:
        abouts = [
            _round(rig, exposure, gain, window, lit, dark, ambient)
            for exposure, lit, dark in zip(exposures, on, off, strict=True)
        ]
        if len(on[0]) < due:
            continue
        reduced = []
        for lit, dark, about in zip(on, off, abouts, strict=True):
            reference = reduced[0].difference_dn if reduced else None
            reduced.append(reduce_frames(np.stack(lit), np.stack(dark), about.white_dn, reference))
        parts = [bracket_part(each, about) for each, about in zip(reduced, abouts, strict=True)]
        snr = _snr(parts, abouts[0].bayer)
        if snr >= float(settings["snr"]) or len(on[0]) + ROUND_FRAMES > most:
            break
        # The ratio grows with the root of the frames: what it takes, as far as these tell, but at most twice as many.
        needed = math.ceil(len(on[0]) * min(2.0, (float(settings["snr"]) / max(snr, 1e-3)) ** 2))
        due = min(needed, most - most % ROUND_FRAMES)
    for frames in (*on, *off):
        for frame in frames:
            frame.fill(0)
    return {
        **common,
        **_ambient(ambient),
        **_kept(reduced, abouts),
        "origin_px": np.array(low),
        "snr": scalar(snr),
        "status": scalar(STATUS["measured"]),
    }


def bracket_part(reduced: Reduced, about: Exposed) -> BracketPart:
    """A reduced stack as a part of a bracket."""
    return BracketPart(
        reduced.difference_dn,
        reduced.saturated,
        reduced.frames_on,
        reduced.frames_off,
        reduced.dark_variance_dn2,
        reduced.dn_per_electron,
        about.exposure_us,
        about.gain,
    )


def _right_exposure(rig: Rig, gain: float, ambient: _Taken) -> tuple[float, NDArray[np.float64], float, bool]:
    """Exposure that brings the brightest site to WANTED_FULLNESS.

    Returns it, the difference at that exposure (4, rows, columns) of a few frames, the noise of the difference in DN,
    and whether the source saturates even the shortest exposure.
    """
    shortest_us = rig.camera.set_exposure(1.0, gain)[0]
    longest_us = rig.camera.set_exposure(LONGEST_US, gain)[0]
    exposure_us = FIRST_US
    for _ in range(MOST_TRIES):
        about, lit, dark = _pair(rig, exposure_us, gain, ambient)
        fullness = _brightest(lit) / about.white_dn
        light, black = _brightest(lit - dark), float(np.mean(about.black_dn))
        if fullness >= NEAR_FULL:
            if about.exposure_us <= 1.05 * shortest_us:
                return about.exposure_us, lit - dark, 1.0, True
            wanted_us = exposure_us / 8
        elif fullness <= MOST_FULLNESS and (fullness >= LEAST_FULLNESS or about.exposure_us >= 0.95 * longest_us):
            break
        elif light > 0.03 * about.white_dn:
            wanted_us = exposure_us * (WANTED_FULLNESS * about.white_dn - black) / (fullness * about.white_dn - black)
        else:
            wanted_us = exposure_us * 8
        exposure_us = min(max(wanted_us, shortest_us), longest_us)
    # A faint source may only show in many frames.
    pairs = 4 if fullness >= LEAST_FULLNESS else 16
    total, squares = np.zeros_like(lit), np.zeros_like(lit)
    for _ in range(pairs):
        about, lit, dark = _pair(rig, exposure_us, gain, ambient)
        total += (lit - dark) / pairs
        squares += (lit - dark) ** 2 / pairs
    noise = np.sqrt(np.mean(squares - total**2) / (pairs - 1))
    return about.exposure_us, total, max(float(noise), 1e-3), False


def _find(
    difference: NDArray[np.float64], noise_dn: float, design_px: int
) -> tuple[NDArray[np.float64], float, tuple[float, float]]:
    """Smoothed light (rows, columns), how significant its maximum is, and the centroid of what is bright."""
    blur = max(1.0, design_px / 16)
    light = difference.sum(axis=0)
    smooth = scipy.ndimage.gaussian_filter(light, blur, mode="constant")
    even = np.median(light)
    smooth = smooth - even
    # Four sites, averaged by the filter over 4 pi blur^2 pixels.
    sigma = noise_dn * 2 / np.sqrt(4 * np.pi * blur**2)
    bright = np.where(smooth > 0.2 * smooth.max(), smooth, 0) if smooth.max() > 0 else np.ones_like(smooth)
    rows, columns = (np.arange(n) for n in light.shape)
    at = (
        float((bright.sum(axis=1) * rows).sum() / bright.sum()),
        float((bright.sum(axis=0) * columns).sum() / bright.sum()),
    )
    return smooth, float(smooth.max() / sigma), at


def _bracket(rig: Rig, exposure_us: float, gain: float, ambient: _Taken) -> list[float]:
    """Exposures of the bracket: longer ones lift the PSF's faint parts, as far as camera and ambient light allow."""
    longest_us = rig.camera.set_exposure(LONGEST_US, gain)[0]
    white = rig.camera.capture(lambda _, about: about.white_dn)
    rate = max(float(np.median(ambient.rates)), 0.0) * gain
    if rate > 0:
        longest_us = min(longest_us, MOST_AMBIENT * white / rate)
    return [exposure_us * times for times in BRACKET if times == 1 or exposure_us * times <= longest_us]


def _round(
    rig: Rig,
    exposure_us: float,
    gain: float,
    window: tuple[slice, slice],
    on: list[NDArray[np.uint16]],
    off: list[NDArray[np.uint16]],
    ambient: _Taken,
) -> Exposed:
    """Half of the frames without the source, all with it, the other half without: a drift falls out to first order."""
    rig.camera.set_exposure(exposure_us, gain)

    def cut(mosaic: NDArray[np.uint16], about: Exposed) -> tuple[NDArray[np.uint16], Exposed]:
        sites = np.asarray(quads(mosaic))
        return np.array(sites[:, window[0], window[1]], dtype=np.uint16), about

    def cut_dark(mosaic: NDArray[np.uint16], about: Exposed) -> NDArray[np.uint16]:
        ambient.note(mosaic, about)
        return cut(mosaic, about)[0]

    def dark(count: int) -> None:
        rig.light.set(False)
        off.extend(rig.camera.capture(cut_dark) for _ in range(count))

    dark(ROUND_FRAMES // 2)
    rig.light.set(True)
    for _ in range(ROUND_FRAMES):
        frame, about = rig.camera.capture(cut)
        on.append(frame)
    dark(ROUND_FRAMES // 2)
    return about


def _pair(
    rig: Rig, exposure_us: float, gain: float, ambient: _Taken
) -> tuple[Exposed, NDArray[np.float64], NDArray[np.float64]]:
    """One frame with the source and one without, as quads (4, rows, columns)."""
    rig.camera.set_exposure(exposure_us, gain)

    def whole(mosaic: NDArray[np.uint16], about: Exposed) -> tuple[NDArray[np.float64], Exposed]:
        return np.asarray(quads(mosaic)).astype(np.float64), about

    def whole_dark(mosaic: NDArray[np.uint16], about: Exposed) -> NDArray[np.float64]:
        ambient.note(mosaic, about)
        return whole(mosaic, about)[0]

    rig.light.set(False)
    dark = rig.camera.capture(whole_dark)
    rig.light.set(True)
    lit, about = rig.camera.capture(whole)
    return about, lit, dark


def _brightest(sites: NDArray[np.float64]) -> float:
    return float(np.partition(sites.ravel(), -BRIGHTEST)[-BRIGHTEST])


def _snr(parts: list[BracketPart], bayer: str) -> float:
    """Signal-to-noise ratio of the worst colour so far, as it will be judged: of the PSF in its window. 0: no light."""
    try:
        return float(point_spread(source_light(parts, bayer, 0.0), None).snr.min())
    except MetricError:
        return 0.0


def _kept(reduced: list[Reduced], abouts: list[Exposed]) -> dict[str, NDArray[Any]]:
    """Reduced stacks as arrays, one entry for each exposure."""
    return {
        "exposure_us": np.array([about.exposure_us for about in abouts]),
        "gains": np.array([about.gain for about in abouts]),
        "difference_dn": np.stack([each.difference_dn for each in reduced]),
        "saturated": np.stack([each.saturated for each in reduced]),
        "frames_on": np.array([each.frames_on for each in reduced]),
        "frames_off": np.array([each.frames_off for each in reduced]),
        "frames_taken": np.array([len(each.on_means_dn) for each in reduced]),
        "dark_variance_dn2": np.array([each.dark_variance_dn2 for each in reduced]),
        "dn_per_electron": np.array([each.dn_per_electron for each in reduced]),
        "shifts_px": np.stack([each.shifts_px for each in reduced]),
        "shift_sigma_px": np.stack([each.shift_sigma_px for each in reduced]),
        "flashes": np.array([each.flashes for each in reduced]),
        "bumps": np.array([each.bumps for each in reduced]),
    }


def _ambient(ambient: _Taken) -> dict[str, NDArray[Any]]:
    return {
        "ambient_dn_per_us": np.array(ambient.rates),
        "ambient_time_s": np.array(ambient.times_s),
        "ambient_scale_us": np.array(ambient.scales_us),
    }


def _text(text: str) -> NDArray[np.uint8]:
    """Text as StepData holds it: its UTF-8 bytes."""
    return np.frombuffer(text.encode(), dtype=np.uint8).copy()
