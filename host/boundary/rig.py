"""What a calibration has in its hands inside the boundary: camera, lights, mask, and the bench around them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from host.board.deadline import Deadline
from host.calibrate.procedure import Setup
from host.camera.about import CameraIdentity, Exposed
from host.camera.errors import ControlsIgnored

# A stack may take this long for each of its frames, and this much besides for the controls to land.
FRAME_S, SETTLE_S = 1.0, 10.0
# A stack begins anew this often at most, and frames of the exposure before are so many at most.
MOST_RESTARTS, SETTLE_FRAMES = 3, 8
T = TypeVar("T")


class CapturingCamera(Protocol):
    """The driver in host/camera/driver.py, as calibrations use it."""

    @property
    def identity(self) -> CameraIdentity:
        """The opened camera."""

    def set_exposure(self, exposure_us: float, gain: float) -> tuple[float, float]:
        """Ask for an exposure; what will be given (clamped to the sensor's range)."""

    def capture(self, consume: Callable[[NDArray[np.uint16], Exposed], T], deadline: Deadline | None = None) -> T:
        """Hand one settled mosaic to `consume`; it is zeroed afterwards."""


class PointLight(Protocol):
    """A point source (or lamp) that can be switched: host/gpio on a Pi, the bench's on a twin."""

    def set(self, on: bool) -> None:
        """Switch it."""


@dataclass(frozen=True, slots=True, eq=False)
class Stack:
    """Several exposures of the same thing, reduced as they came: no frame of them is kept.

    mean_dn, variance_dn2: float64 (rows, columns) over the frames, site by site (the unbiased temporal variance; 0 for
    a single frame). highest_dn: uint16 (rows, columns), the largest value of each site, which tells saturation.
    means_dn: float64 (frames,), mean of each frame, which tells flicker and drift. about: of the last frame.
    """

    frames: int
    mean_dn: NDArray[np.float64]
    variance_dn2: NDArray[np.float64]
    highest_dn: NDArray[np.uint16]
    means_dn: NDArray[np.float64]
    about: Exposed


@dataclass(frozen=True, slots=True, eq=False)
class Rig:
    """The devices of one calibration.

    arrange: bring the bench into a set-up (on a twin; a person was asked already). cover_is_on: state of the cover's
    switch, None where there is none. slm: the driver in host/mask/, where there is one.
    """

    camera: CapturingCamera
    light: PointLight
    arrange: Callable[[Setup], None]
    cover_is_on: Callable[[], bool | None] = lambda: None
    slm: object | None = None


def alike(
    rig: Rig,
    frames: int,
    exposure_us: float,
    gain: float,
    add: Callable[[NDArray[np.uint16], Exposed], None],
    anew: Callable[[], None],
) -> Exposed:
    """Hand `frames` exposures to `add`, all of one exposure time and gain; metadata of the last one.

    The driver accepts what is near enough to what was asked for, which may be the exposure before where the two are
    near; a stack with both has a variance that is no noise. So `anew` is called, to forget what was added, whenever the
    metadata change. Raises ValueError for no frames, ControlsIgnored where the metadata keep changing, and what the
    camera raises.
    """
    if frames < 1:
        raise ValueError(f"a stack has at least one frame, got {frames}")
    exposure_us, gain = rig.camera.set_exposure(exposure_us, gain)
    most = frames + MOST_RESTARTS * (frames + SETTLE_FRAMES)
    deadline = Deadline(SETTLE_S + FRAME_S * frames + 3 * most * exposure_us / 1e6, f"capturing {frames} frames")
    taken, last = 0, (0.0, 0.0)

    def take(mosaic: NDArray[np.uint16], about: Exposed) -> Exposed:
        nonlocal taken, last
        if (about.exposure_us, about.gain) != last:
            anew()
            taken, last = 0, (about.exposure_us, about.gain)
        add(mosaic, about)
        taken += 1
        return about

    for _ in range(most):
        about = rig.camera.capture(take, deadline)
        if taken == frames:
            return about
    raise ControlsIgnored(
        f"exposure or gain kept changing while {frames} frames at {exposure_us:.0f} us were taken: another program "
        "steers the camera, or its automatic exposure is on; close the other program and start again"
    )


def stack(rig: Rig, frames: int, exposure_us: float, gain: float = 1.0) -> Stack:
    """Average `frames` exposures (Welford's running mean and variance, doi:10.1080/00401706.1962.10490022).

    Raises what `alike` raises.
    """
    running: list[NDArray[np.float64]] = []
    highest: list[NDArray[np.uint16]] = []
    means: list[float] = []

    def anew() -> None:
        for part in running:
            part.fill(0)
        for most in highest:
            most.fill(0)
        running.clear()
        highest.clear()
        means.clear()

    def add(mosaic: NDArray[np.uint16], _about: Exposed) -> None:
        value = mosaic.astype(np.float64)
        means.append(float(value.mean()))
        if not running:
            running.extend((value.copy(), np.zeros_like(value)))
            highest.append(mosaic.copy())
        else:
            mean, squares = running
            difference = value - mean
            mean += difference / len(means)
            squares += difference * (value - mean)
            np.maximum(highest[0], mosaic, out=highest[0])
            difference.fill(0)
        value.fill(0)

    about = alike(rig, frames, exposure_us, gain, add, anew)
    mean, squares = running
    return Stack(frames, mean, squares / max(1, frames - 1), highest[0], np.array(means), about)
