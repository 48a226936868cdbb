"""The camera driver: exposures whose metadata prove that they are what was asked for, each handed out once and wiped.

It speaks picamera2's API to whatever `open_device` returns. All of that runs in one thread (host/camera/attendant.py),
so a call that never comes back costs the camera, never the program: the error says so, `close` returns, and a new
camera is opened in a new process (docs/decisions/0021).
"""

import atexit
import contextlib
import importlib
import math
import threading
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from host.board.deadline import Deadline
from host.camera.about import CameraIdentity, CameraWanted, Exposed
from host.camera.attendant import Attendant, Stuck
from host.camera.device import explain
from host.camera.errors import CameraError, CameraHung, CameraLost, CameraUnsuitable, ControlsIgnored
from host.camera.modes import choose_mode
from host.camera.setup import configuration, identity, layout, limits
from host.camera.unpack import RawFormat, site_black_dn, unpack

T = TypeVar("T")
# Opening asks the sensor for all its modes, each by configuring it; closing may wait for a frame.
OPEN_S, CONTROL_S, CLOSE_S = 30.0, 3.0, 5.0
# What a call may take beyond the time that it was itself given: unpacking a large mosaic on a small computer.
GRACE_S = 2.0
# Frames at the start of a stream that no metadata tell apart from good ones: the sensor is still waking up.
STARTUP_FRAMES = 3
# After so many frames without the exposure that was asked for, it is not late but ignored.
SETTLE_FRAMES = 40
# At the end of the time for a capture, so many such frames are still a camera that runs, not one that hangs.
UNSETTLED_FRAMES = 8
# The sensor's steps: exposures are whole lines, gains a code of 8 bits or more (imx219: 4 % from code to code at 10).
EXPOSURE_TOLERANCE, EXPOSURE_LINES, GAIN_TOLERANCE = 0.02, 1.5, 0.07
FIRST_EXPOSURE_US, FIRST_GAIN = 10_000.0, 1.0
FRAME_US = 33_333
_RECOVERY = "A loose ribbon cable, or a hung driver: this camera is given up; a new process opens it anew"


class Camera:
    """One camera, configured once. Not for two threads at a time.

    `open` before anything else, `close` at the end, or use it as a context manager. After CameraHung or CameraLost this
    object is of no more use: close it. Everything it raises is in host/camera/errors.py.
    """

    def __init__(self, open_device: Callable[[int], Any], wanted: CameraWanted, capture_timeout_s: float = 5.0) -> None:
        """open_device: gives an object with picamera2's API for a camera's number. capture_timeout_s: how long frames
        may stay away, besides the time that exposures themselves take."""
        self._open_device = open_device
        self._wanted = wanted
        self._timeout_s = capture_timeout_s
        self._attendant: Attendant | None = None
        self._device: Any = None
        self._identity: CameraIdentity | None = None
        self._failure: CameraError | None = None
        self._form = RawFormat("", "RGGB", 8, "unpacked")
        self._stride = 0
        self._line_us = 0.0
        self._exposure_us_limits = (0.0, 0.0)
        self._gain_limits = (0.0, 0.0)
        self._asked = (0.0, 0.0)
        self._ask_again = False
        self._taken_us = 0.0
        self._strange: list[tuple[float, float]] = []
        self._frame = -1
        self._last_ns = 0
        self._mosaic: NDArray[np.uint16] = np.empty((0, 0), np.uint16)
        self._in_use = threading.Lock()

    def __enter__(self) -> "Camera":
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def identity(self) -> CameraIdentity:
        """The camera as it is configured. Raises CameraLost while none is open."""
        if self._identity is None:
            raise CameraLost("no camera is open")
        return self._identity

    @property
    def exposure_limits(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """((shortest, longest) exposure in microseconds, (lowest, highest) analog gain) of the mode in use."""
        return self._exposure_us_limits, self._gain_limits

    def open(self) -> CameraIdentity:
        """Open, configure and start the camera.

        Raises CameraMissing, CameraBusy, CameraUnsuitable, CameraHung, CameraLost.
        """
        if self._device is not None:
            return self.identity
        number = self._wanted.number
        attendant = Attendant(f"camera {number}")
        deadline = Deadline(OPEN_S, f"opening camera {number}")
        opened: list[Any] = []

        def open_and_start() -> tuple[Any, CameraIdentity]:
            device = self._opened(number)
            opened.append(device)
            try:
                identity = self._configure(device)
                self._control(device, *self._clamped(FIRST_EXPOSURE_US, FIRST_GAIN), first=True)
                device.start()
            except BaseException:  # whatever ended it, Ctrl-C too: the camera is given back
                with contextlib.suppress(Exception):
                    _shut(device)
                raise
            return device, identity

        def put_away() -> None:
            for device in opened:
                _shut(device)

        try:
            self._device, self._identity = attendant.call(open_and_start, deadline, late=put_away)
        except Stuck as error:
            attendant.dismiss()
            for device in opened:
                _let_go(device)
            raise CameraHung(f"{error}. {_RECOVERY}") from error
        except CameraError:
            attendant.dismiss()
            raise
        except Exception as error:
            attendant.dismiss()
            raise CameraLost(f"camera {number} could not be set up: {error}. {_RECOVERY}") from error
        self._attendant = attendant
        self._mosaic = np.zeros((self._identity.rows_px, self._identity.columns_px), np.uint16)
        return self._identity

    def set_exposure(self, exposure_us: float, gain: float) -> tuple[float, float]:
        """Ask for an exposure (microseconds) and an analog gain; returns both as clamped to the sensor's limits.

        Frames that `capture` gives from now on have it: within a line and 2 % (exposure), within a step of the sensor's
        gain (7 %); what a frame was really taken with is in its `Exposed`. Raises ValueError for what is not above 0,
        and CameraHung or CameraLost.
        """
        if not (exposure_us > 0 and gain > 0 and math.isfinite(exposure_us) and math.isfinite(gain)):
            raise ValueError(f"exposure and gain must be above 0, got {exposure_us} us and {gain}")
        attendant, device = self._ready()
        asked = self._clamped(exposure_us, gain)
        if asked != self._asked:
            deadline = Deadline(CONTROL_S, "setting the camera's exposure")
            self._guarded(attendant, lambda: self._control(device, *asked), deadline)
        return asked

    def capture(
        self,
        consume: Callable[[NDArray[np.uint16], Exposed], T],
        deadline: Deadline | None = None,
        *,
        begun_after: bool = True,
    ) -> T:
        """What `consume` makes of the next frame that has what was asked for.

        consume: called with the mosaic, uint16 (rows, columns) of digital numbers, and what is known of it. The mosaic
        is overwritten with zeros when it returns or raises; so is the camera's own buffer. deadline: of the caller,
        where it is shorter than the camera's own; its end says nothing of the camera, which goes on. begun_after:
        the frame's exposure began after this call; False takes the one that is under way, too, which gives up to twice
        as many frames of a scene that is only watched. Raises CameraHung without a frame in time, ControlsIgnored after
        SETTLE_FRAMES frames with another exposure (the next capture asks again), CameraLost, and what `consume` raises.
        """
        attendant, device = self._ready()
        if not self._in_use.acquire(blocking=False):
            raise RuntimeError("a camera captures one frame at a time, and none while another is being consumed")
        try:
            limit = self._limit(deadline)
            # The call below is given the deadline itself; this bounds it should it not keep to it.
            backstop = Deadline(limit.remaining_s() + GRACE_S, limit.operation)
            about = self._guarded(
                attendant, lambda: self._take(device, limit, begun_after), backstop, ends=limit is not deadline
            )
            return consume(self._mosaic, about)
        finally:
            self._mosaic.fill(0)
            self._in_use.release()

    def close(self) -> None:
        """Give the camera back. Never raises, and returns within CLOSE_S even where the camera does not answer; the
        camera then stays taken until this process ends."""
        attendant, device = self._attendant, self._device
        self._attendant = self._device = self._identity = None
        if attendant is None:
            return
        try:
            attendant.call(lambda: _shut(device), Deadline(CLOSE_S, "closing the camera"))
        except Stuck:
            _let_go(device)
        except Exception as error:  # noqa: BLE001 - nobody is left who could do something about it
            self._failure = CameraLost(f"closing the camera failed: {error}")
        attendant.dismiss()

    def _opened(self, number: int) -> Any:
        try:
            return self._open_device(number)
        except Exception as error:
            raise explain(error, number) from error

    def _configure(self, device: Any) -> CameraIdentity:
        """Configure the raw stream, and check what came of it. In the attendant."""
        mode = choose_mode(device.sensor_modes, self._wanted)
        device.configure(configuration(device, mode, self._wanted))
        got, controls = device.camera_configuration(), device.camera_controls
        self._form, self._stride = layout(mode, got, self._wanted), int(got["raw"]["stride"])
        self._exposure_us_limits = limits(controls, "ExposureTime")
        self._gain_limits = limits(controls, "AnalogueGain")
        # The shortest frame shared out over its rows: an upper bound of the time of a line.
        self._line_us = limits(controls, "FrameDurationLimits")[0] / mode.size_px[1]
        self._frame, self._last_ns = -1, 0
        return identity(device, self._wanted.number, mode, self._form)

    def _clamped(self, exposure_us: float, gain: float) -> tuple[float, float]:
        (shortest, longest), (lowest, highest) = self.exposure_limits
        return float(min(max(round(exposure_us), shortest), longest)), float(min(max(gain, lowest), highest))

    def _control(self, device: Any, exposure_us: float, gain: float, first: bool = False) -> None:
        """Send the controls; they land some frames later. In the attendant."""
        wanted: dict[str, Any] = {"ExposureTime": int(exposure_us), "AnalogueGain": gain}
        if first:
            shortest, longest = (int(value) for value in device.camera_controls["FrameDurationLimits"][:2])
            frame_us = min(max(FRAME_US, shortest), longest)
            wanted |= {"AeEnable": False, "AwbEnable": False, "NoiseReductionMode": 0}
            # An exposure longer than a frame makes the frame longer, up to what the sensor can.
            wanted["FrameDurationLimits"] = (frame_us, longest)
        device.set_controls({name: value for name, value in wanted.items() if name in device.camera_controls})
        self._asked, self._ask_again = (exposure_us, gain), False
        self._strange.clear()

    def _take(self, device: Any, limit: Deadline, begun_after: bool) -> Exposed:
        """Wait for a frame that is what was asked for and unpack it into the mosaic. In the attendant."""
        if self._ask_again:
            self._control(device, *self._asked)
        # Where the first one must have begun after now, those that follow it have.
        flush: bool | None = True if begun_after else None
        while not limit.expired:
            try:
                # `wait=0` would not wait but return a job.
                request = device.capture_request(wait=max(limit.remaining_s(), 0.001), flush=flush)
            except TimeoutError:
                # The job that timed out would take the next frame and keep it, and everything would wait behind it.
                device.cancel_all_and_flush()
                break
            try:
                about = self._judged(request.get_metadata())
                if about is not None:
                    self._copy(request)
                    return about
            finally:
                request.release()
            flush = None
            if len(self._strange) >= SETTLE_FRAMES:
                break
        if len(self._strange) >= UNSETTLED_FRAMES:
            raise self._ignored()
        raise CameraHung(f"no frame from the camera within the {limit.seconds:g} s for {limit.operation}")

    def _ignored(self) -> ControlsIgnored:
        (exposure_us, gain), count = self._strange[-1], len(self._strange)
        self._strange.clear()
        self._ask_again = True
        return ControlsIgnored(
            f"{count} frames after {self._asked[0]:.0f} us at gain {self._asked[1]:.2f} were asked for, the camera"
            f" still gives {exposure_us:.0f} us at gain {gain:.2f}. Another program or an automatic control overrides"
            " it; it is asked again at the next capture"
        )

    def _judged(self, metadata: Mapping[str, Any]) -> Exposed | None:
        """What a frame's metadata say; None for a frame of the start, or with another exposure than asked for."""
        try:
            exposure_us, gain = float(metadata["ExposureTime"]), float(metadata["AnalogueGain"])
            stamp_ns, levels = int(metadata["SensorTimestamp"]), metadata["SensorBlackLevels"]
        except KeyError as error:
            raise CameraUnsuitable(
                f"the camera's metadata have no {error}, without which a frame cannot be judged: `sudo apt"
                " full-upgrade` brings a newer libcamera, or use a Raspberry Pi camera"
            ) from error
        self._count(stamp_ns, float(metadata.get("FrameDuration", 0)))
        self._taken_us = exposure_us
        if self._frame < STARTUP_FRAMES:
            return None
        asked_us, asked_gain = self._asked
        slack_us = EXPOSURE_TOLERANCE * asked_us + EXPOSURE_LINES * self._line_us
        if abs(exposure_us - asked_us) > slack_us or abs(gain - asked_gain) > GAIN_TOLERANCE * asked_gain:
            self._strange.append((exposure_us, gain))
            return None
        self._strange.clear()
        celsius = metadata.get("SensorTemperature")
        return Exposed(
            frame=self._frame,
            time_s=stamp_ns / 1e9 - exposure_us / 1e6,
            exposure_us=exposure_us,
            gain=gain,
            black_dn=site_black_dn(tuple(levels), self._form.bayer, self._form.bits),
            white_dn=self._form.white_dn,
            bayer=self._form.bayer,
            celsius=None if celsius is None else float(celsius),
        )

    def _count(self, stamp_ns: int, frame_us: float) -> None:
        """Count the sensor's frames by the clock: those that nobody fetched, too."""
        passed_us = (stamp_ns - self._last_ns) / 1e3
        self._frame += max(1, round(passed_us / frame_us)) if self._last_ns and frame_us > 0 else 1
        self._last_ns = stamp_ns

    def _copy(self, request: Any) -> None:
        """Unpack the frame straight from the camera's buffer, and wipe that."""
        # MappedArray stands beside the class of the request, in picamera2.request.
        mapped_array = importlib.import_module(type(request).__module__).MappedArray
        rows, columns = self._mosaic.shape
        with mapped_array(request, "raw", reshape=False, write=True) as mapped:
            try:
                unpack(mapped.array, self._form, (columns, rows), self._stride, self._mosaic)
            finally:
                mapped.array.fill(0)
        with mapped_array(request, "main", reshape=False, write=True) as mapped:
            mapped.array.fill(0)

    def _limit(self, deadline: Deadline | None) -> Deadline:
        """One deadline for the capture: frames may stay away for the time-out, besides the exposures that it takes."""
        settled = abs(self._taken_us - self._asked[0]) < 0.1 * self._asked[0]
        frames = 3 if settled else 12
        exposing_s = frames * max(self._asked[0], self._taken_us) / 1e6
        own = Deadline(self._timeout_s + exposing_s, "capturing a frame")
        return deadline if deadline is not None and deadline.remaining_s() < own.remaining_s() else own

    def _ready(self) -> tuple[Attendant, Any]:
        if self._failure is not None:
            raise type(self._failure)(f"{self._failure}") from self._failure
        if self._attendant is None:
            raise CameraLost("no camera is open")
        return self._attendant, self._device

    def _guarded(self, attendant: Attendant, work: Callable[[], T], deadline: Deadline, ends: bool = True) -> T:
        """Run `work` in the attendant; what goes wrong there becomes a CameraError, and ends the use of this camera.

        ends: whether a frame that did not come in time does, too.
        """
        try:
            device = self._device
            return attendant.call(work, deadline, late=lambda: self._after_all(device))
        except Stuck as error:
            self._failure = CameraHung(f"{error}. {_RECOVERY}")
            raise self._failure from error
        except ControlsIgnored:
            raise
        except CameraHung as error:
            if not ends:
                raise
            self._failure = CameraHung(f"{error}. {_RECOVERY}")
            raise self._failure from error
        except CameraError as error:
            self._failure = error
            raise
        except Exception as error:
            self._failure = CameraLost(f"the camera failed: {error or type(error).__name__}. {_RECOVERY}")
            raise self._failure from error

    def _after_all(self, device: Any) -> None:
        """A call came back after it had been given up: wipe what it brought, and let go. In the attendant."""
        self._mosaic.fill(0)
        if self._device is not device:
            _shut(device)


def _let_go(device: Any) -> None:
    """picamera2 closes itself when Python ends, and would wait for a camera that hangs without an end."""
    atexit.unregister(device.close)


def _shut(device: Any) -> None:
    """Stop and close a device. What is left in its queue goes first: nothing must wait behind a frame that never comes.

    Not by `stop`, which is a job for picamera2's event loop: an error while a frame is put back ends that loop, and a
    job for it is waited for without an end. `close` ends the loop, then stops without it.
    """
    with contextlib.suppress(Exception):
        device.cancel_all_and_flush()
    device.close()
