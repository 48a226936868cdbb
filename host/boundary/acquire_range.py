"""Looks at the scene for the range's calibration: pooled as a measurement is; only counts of cells leave."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.full_scale import Look, histogram, look_of, next_product_us
from host.board.deadline import Deadline
from host.boundary.acquire_sensor import text
from host.boundary.measuring import Measuring
from host.boundary.rig import FRAME_S, SETTLE_S, Rig
from host.calibrate.procedure import Step, StepData, scalar
from host.camera.about import Exposed
from host.exposure import REFERENCE_EXPOSURE_US, ExposureConfig, split_exposure
from optics.bundle import Attachment, Bundle
from optics.encoding import Encoding

FIRST_US = 10_000.0
MOST_TRIES, TRY_FRAMES = 14, 2
# The search ends where the next setting would differ by less than this.
NEAR = 0.05
UNKNOWN, OFF, ON = -1, 0, 1


def acquire(rig: Rig, step: Step, before: Mapping[str, StepData]) -> StepData:
    """One step.

    settings["role"]: "find" (search from 10 ms at gain 1), "look" (at what the looks before say) or "check" (the same,
    refined once more); "frames"; rows_px, columns_px, pool, thresholds and gains of the plane; exposure_us, gain and
    mains_hz, the camera's limits. Raises what the camera raises, ValueError for a plane that it has not.
    """
    settings = step.settings
    look = _Looking(rig, settings)
    if settings["role"] == "find":
        return _find(rig, look, settings)
    product_us = float(before["find"]["product_us"])
    top = float(settings["thresholds"][-1])
    looks = [look_of(data) for name, data in before.items() if name.startswith("look")]
    if looks:
        product_us = float(np.mean([next_product_us(each, top) for each in looks]))
    if settings["role"] == "check":
        # Another split into exposure and gain has other noise, and noise is part of what a maximum sees: once more.
        product_us = next_product_us(look.at(product_us, TRY_FRAMES * 2, exact=True), top)
    return _described(rig, look.at(product_us, int(settings["frames"]), exact=True))


def plane_of(settings: Mapping[str, Any]) -> Bundle:
    """A bundle that pools as the real one does; its mask has done its work before the light gets here."""
    encoding = Encoding(
        np.ones((1, 1, 1), np.float32), np.array(settings["thresholds"], np.float32), int(settings["pool"]), "fixed"
    )
    gains = Attachment({"psf": {"gains": list(settings["gains"])}})
    return Bundle(encoding, int(settings["rows_px"]), int(settings["columns_px"]), calibration=gains)


class _Looking:
    """Takes looks: each exposure is pooled inside the measurement's own memory, counted, and zeroed there."""

    def __init__(self, rig: Rig, settings: Mapping[str, Any]) -> None:
        self._rig = rig
        low_us, high_us = settings["exposure_us"]
        self._limits = ExposureConfig((int(low_us), int(high_us)), tuple(settings["gain"]), int(settings["mains_hz"]))
        self._counts: list[NDArray[np.int64]] = []
        self._means: list[float] = []
        self._measuring = Measuring(plane_of(settings), self._count)

    def at(self, product_us: float, frames: int, exact: bool = False) -> Look:
        """A look at exposure times gain, split as the daemon splits it. exact: the gain makes up for what the camera's
        lines take from the exposure."""
        exposure_us, gain = split_exposure(product_us / REFERENCE_EXPOSURE_US, self._limits)
        look = self.with_setting(exposure_us, gain, 1 if exact else frames)
        if not exact:
            return look
        if abs(look.exposure_us / exposure_us - 1) > 0.005 and look.exposure_us < product_us:
            low, high = self._limits.gain
            exposure_us, gain = round(look.exposure_us), min(max(product_us / look.exposure_us, low), high)
        return self.with_setting(exposure_us, gain, frames)

    def with_setting(self, exposure_us: float, gain: float, frames: int) -> Look:
        """So many exposures of one exposure time and gain, as the metadata say."""
        self._rig.camera.set_exposure(exposure_us, gain)
        self._counts, self._means = [], []
        deadline = Deadline(SETTLE_S + FRAME_S * (frames + 8), f"looking {frames} times")
        last: tuple[float, float] | None = None
        while len(self._counts) < frames:
            about = self._rig.camera.capture(self._take, deadline)
            if last is not None and (about.exposure_us, about.gain) != last:
                # The setting before was near enough to be let through; this one is what was asked for.
                del self._counts[:-1], self._means[:-1]
            last = (about.exposure_us, about.gain)
            deadline.check()
        return Look(about.exposure_us, about.gain, np.array(self._counts), np.array(self._means))

    def _take(self, mosaic: NDArray[np.uint16], about: Exposed) -> Exposed:
        self._measuring.codes(mosaic, about)
        return about

    def _count(self, cells: NDArray[np.float32]) -> NDArray[np.uint8]:
        self._counts.append(histogram(cells))
        self._means.append(float(cells.mean(dtype=np.float64)))
        return np.zeros(0, np.uint8)


def _find(rig: Rig, look: _Looking, settings: Mapping[str, Any]) -> StepData:
    """Settings from 10 ms at gain 1 on, each by the look before it, until they stay or the camera's limits are met."""
    top = float(settings["thresholds"][-1])
    wanted_us = FIRST_US
    tried: list[Look] = []
    while len(tried) < MOST_TRIES:
        tried.append(look.at(wanted_us, TRY_FRAMES))
        wanted_us = next_product_us(tried[-1], top)
        if abs(wanted_us / tried[-1].product_us - 1) < NEAR:
            break
        if len(tried) > 1 and tried[-1].product_us == tried[-2].product_us:
            break
    last = tried[-1]
    # What the longest exposure shows beyond the shortest, at the same gain, is light (or dark current).
    short = look.with_setting(settings["exposure_us"][0], last.gain, TRY_FRAMES)
    return {
        **_described(rig, tried[0]),
        "last_counts": last.counts,
        "product_us": scalar(wanted_us),
        "products_us": np.array([each.product_us for each in tried]),
        "levels": np.array([each.means.mean() for each in tried]),
        "last_product_us": scalar(last.product_us),
        "last_exposure_us": scalar(last.exposure_us),
        "last_gain": scalar(last.gain),
        "short_counts": short.counts,
        "camera": text(rig.camera.identity.name),
        "bits": scalar(rig.camera.identity.bits),
    }


def _described(rig: Rig, look: Look) -> StepData:
    state = rig.cover_is_on()
    return {
        "exposure_us": scalar(look.exposure_us),
        "gain": scalar(look.gain),
        "counts": look.counts,
        "means": look.means,
        "cover": scalar(UNKNOWN if state is None else ON if state else OFF),
    }
