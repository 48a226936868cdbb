"""A camera with picamera2's API, its manners and its faults, over a simulated world and sensor.

What is mirrored, as of picamera2 0.3.38 (tests/host/twin/test_picamera_api.py compares names and signatures with an
installed picamera2):

    Picamera2(n)              RuntimeErrors for no camera and a busy one, reasons only in __cause__
    global_camera_info        on the object only: one hardware has one list
    camera_properties, camera_controls, sensor_modes (which reconfigures), sensor_resolution, sensor_format
    create_{preview,still,video}_configuration, align_configuration, configure, camera_configuration,
                              stream_configuration: checks, adjusted modes and formats, padded strides
    set_controls              unknown names raise; what is set lands `latency_frames` later, the gain one frame sooner
    start, stop, close        stop waits its turn behind jobs that wait for a frame, so it can wait for ever
    capture_request, captured_request, capture_metadata, capture_buffer, capture_array, drop_frames, switch_mode,
    dispatch_functions, wait, cancel_all_and_flush: a queue of jobs that frames feed; a capture that timed out stays in
                              it and swallows the next frame; nothing comes once all buffers are held
    CompletedRequest, MappedArray, SensorFormat, Transform, Job (host/twin/picamera_parts.py)

Not there: previews, encoders, files, images, the lores stream, tuning files, autofocus, two cameras at once.

With pace "fast" the sensor's clock jumps from frame to frame when somebody waits for one, and a time-out is over at
once; what would wait for ever does.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from types import TracebackType
from typing import Any

from numpy.typing import NDArray

from host.twin import picamera_configuration as configuration
from host.twin.bench import World
from host.twin.picamera_hardware import TwinHardware
from host.twin.picamera_parts import Buffer, CompletedRequest, Job, SensorFormat, Transform
from host.twin.sensor import SensorModel

Steps = list[Callable[[], tuple[bool, Any]]]
# Defaults of picamera2's create_*_configuration: nothing in particular, upright. They are copied, never changed.
_ANY: dict[str, Any] = {}
_UPRIGHT = Transform()
# What the sensor does before anybody has told it anything.
_AWAKE_US, _AWAKE_GAIN = 20_000, 2.0


def twin_camera(world: World, sensor: SensorModel, seed: int = 0, **options: Any) -> TwinHardware:
    """A simulated camera looking at `world`: called with a number it opens as picamera2.Picamera2 does.

    options: fields of TwinHardware (bits, black_dn, bayer, model, fps, latency_frames, fault, pace, rolling_shutter_s,
    packing, stride_align, startup_frames, celsius). Its `fault` may be set at any time. Raises ValueError for an option
    that it cannot have.
    """
    return TwinHardware(world, sensor, seed, **options)


class TwinPicamera2:
    """See the module. The picture of a frame is computed when its buffer is first looked at."""

    def __init__(
        self, camera_num: int = 0, verbose_console: Any = None, tuning: Any = None, allocator: Any = None,
        *, hardware: TwinHardware,
    ) -> None:  # fmt: skip
        del verbose_console, tuning, allocator
        self._hardware = hardware
        self.is_open = self.started = False
        self.camera_config: dict[str, Any] = {}
        self.lock = threading.RLock()
        self.request_lock = threading.Lock()
        self._jobs: list[Job] = []
        self._free: list[Buffer] = []
        self.completed_requests: list[CompletedRequest] = []
        self.stop_count = self.configure_count = self.frames = 0
        self._max_queue_len = 0
        self._controls: dict[str, Any] = {}
        self._applied: dict[str, Any] = {}
        self._landing: list[tuple[int, str, Any]] = []
        self._last_ns = 0
        self._sensor_frame = 0
        self._frame_drops = 0
        self._loop: threading.Thread | None = None
        if camera_num >= len(hardware.camera_info()):
            raise RuntimeError(
                f'No camera number {camera_num} found - use "rpicam-hello --list-cameras" to check connected cameras'
            )
        try:
            hardware.acquire(self)
        except RuntimeError as error:
            raise RuntimeError("Camera __init__ sequence did not complete.") from error
        self.camera_idx = camera_num
        self.is_open = True
        self.sensor_resolution = hardware.light.size_px
        self.sensor_format = f"S{hardware.bayer}{hardware.bits}"

    def __enter__(self) -> "TwinPicamera2":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def global_camera_info(self) -> list[dict[str, Any]]:
        """The cameras of this computer."""
        return self._hardware.camera_info()

    @property
    def camera_properties(self) -> dict[str, Any]:
        """Properties of the sensor; {} once it is closed."""
        if not self.is_open:
            return {}
        width, height = self._hardware.light.size_px
        cell = self._hardware.chip.cell_nm
        return {
            "Model": self._hardware.model,
            "UnitCellSize": (cell, cell),
            "Location": 2,
            "Rotation": 180,
            "ColorFilterArrangement": ("RGGB", "GRBG", "GBRG", "BGGR").index(self._hardware.bayer),
            "PixelArraySize": (width, height),
            "PixelArrayActiveAreas": [(0, 0, width, height)],
            "ScalerCropMaximum": (0, 0, width, height),
            "SensorSensitivity": 1.0,
            "SystemDevices": (),
        }

    @property
    def camera_controls(self) -> dict[str, tuple[Any, Any, Any]]:
        """(least, largest, default) of each control; {} once it is closed."""
        if not self.is_open:
            return {}
        chip, size = self._hardware.chip, self._hardware.light.size_px
        shortest_us = round(1e6 / self._hardware.fps)
        return {
            "AeEnable": (False, True, True),
            "AwbEnable": (False, True, None),
            "ExposureTime": (chip.quantized_exposure_us(0), 11_766_829, _AWAKE_US),
            "AnalogueGain": (chip.gain_of(0), chip.gain_of(chip.codes), 1.0),
            "FrameDurationLimits": (shortest_us, 11_767_556, 33_333),
            "NoiseReductionMode": (0, 4, 0),
            "ColourGains": (0.0, 32.0, None),
            "ScalerCrop": ((0, 0, 64, 64), (0, 0, *size), (0, 0, *size)),
        }

    @property
    def sensor_modes(self) -> list[dict[str, Any]]:
        """The raw modes. As picamera2, it configures the camera to each of them to find out."""
        modes = []
        for mode in self._hardware.modes():
            name = f"S{self._hardware.bayer}{mode['bit_depth']}"
            packed = SensorFormat(f"{name}_CSI2P" if mode["bit_depth"] in (10, 12) else name)
            self.configure(self.create_preview_configuration(raw={"format": str(packed), "size": mode["size"]}))
            controls = self.camera_controls
            limits = tuple(value for value in controls["ExposureTime"] if value)
            fps = round(1e6 / controls["FrameDurationLimits"][0], 2)
            modes.append({
                "format": packed, "unpacked": packed.unpacked, **mode, "fps": fps, "exposure_limits": limits
            })  # fmt: skip
        return modes

    def create_preview_configuration(
        self, main: Any = _ANY, lores: Any = None, raw: Any = _ANY, transform: Any = _UPRIGHT, colour_space: Any = "sYCC",
        buffer_count: int = 4, controls: Any = _ANY, display: Any = "main", encode: Any = "main", queue: bool = True,
        sensor: Any = _ANY, use_case: str = "preview",
    ) -> dict[str, Any]:  # fmt: skip
        """A configuration for looking at."""
        start = {"format": "XBGR8888", "size": (640, 480), "preserve_ar": True}
        rate = {"NoiseReductionMode": 3, "FrameDurationLimits": (100, 83_333)}
        return self._made(start, main, lores, raw, transform, colour_space, buffer_count, rate | controls, display,
                          encode, queue, sensor, use_case)  # fmt: skip

    def create_still_configuration(
        self, main: Any = _ANY, lores: Any = None, raw: Any = _ANY, transform: Any = _UPRIGHT, colour_space: Any = "sYCC",
        buffer_count: int = 1, controls: Any = _ANY, display: Any = None, encode: Any = None, queue: bool = True,
        sensor: Any = _ANY, use_case: str = "still",
    ) -> dict[str, Any]:  # fmt: skip
        """A configuration for single pictures."""
        start = {"format": "BGR888", "size": self.sensor_resolution, "preserve_ar": True}
        rate = {"NoiseReductionMode": 2, "FrameDurationLimits": (100, 1_000_000_000)}
        return self._made(start, main, lores, raw, transform, colour_space, buffer_count, rate | controls, display,
                          encode, queue, sensor, use_case)  # fmt: skip

    def create_video_configuration(
        self, main: Any = _ANY, lores: Any = None, raw: Any = _ANY, transform: Any = _UPRIGHT, colour_space: Any = None,
        buffer_count: int = 6, controls: Any = _ANY, display: Any = "main", encode: Any = "main", queue: bool = True,
        sensor: Any = _ANY, use_case: str = "video",
    ) -> dict[str, Any]:  # fmt: skip
        """A configuration for a steady rate."""
        start = {"format": "XBGR8888", "size": (1280, 720), "preserve_ar": True}
        rate = {"NoiseReductionMode": 1, "FrameDurationLimits": (33_333, 33_333)}
        return self._made(start, main, lores, raw, transform, colour_space or "Rec709", buffer_count, rate | controls,
                          display, encode, queue, sensor, use_case)  # fmt: skip

    def _made(
        self, start: Any, main: Any, lores: Any, raw: Any, transform: Any, colour_space: Any, buffer_count: int,
        controls: Any, display: Any, encode: Any, queue: bool, sensor: Any, use_case: str,
    ) -> dict[str, Any]:  # fmt: skip
        if not self.is_open:
            raise RuntimeError("Camera not opened")
        if lores is not None:
            raise ValueError("the camera twin has no lores stream")
        main = configuration.stream(start, main)
        configuration.align(main, optimal=False)
        raw = configuration.raw_stream({"format": self.sensor_format, "size": main["size"]}, raw)
        made = {
            "use_case": use_case, "transform": transform, "colour_space": colour_space, "buffer_count": buffer_count,
            "queue": queue, "main": main, "lores": None, "raw": raw, "controls": controls, "sensor": sensor,
        }  # fmt: skip
        for name, stream in (("Display", display), ("Encode", encode)):
            if stream is not None and made.get(stream) is None:
                raise RuntimeError(f"{name} stream {stream} was not defined")
        return made | {"display": display, "encode": encode}

    @staticmethod
    def align_stream(stream_config: dict[str, Any], optimal: bool = True) -> None:
        """Make the width of a stream one that the hardware likes; in place."""
        configuration.align(stream_config, optimal)

    @staticmethod
    def align_configuration(config: dict[str, Any], optimal: bool = True) -> None:
        """The same for the streams of a configuration but the raw one; in place."""
        configuration.align(config["main"], optimal)

    def configure(self, camera_config: Any = None) -> None:
        """Configure the camera; what came of it is in camera_configuration()."""
        if self.started:
            raise RuntimeError("Camera must be stopped before configuring")
        if camera_config is None or isinstance(camera_config, str):
            name = camera_config if camera_config in ("still", "video") else "preview"
            camera_config = getattr(self, f"create_{name}_configuration")()
        if not isinstance(camera_config, dict):
            raise TypeError("Invalid type for `camera_config` given")
        made: dict[str, Any] = {
            key: dict(value) if isinstance(value, dict) else value for key, value in camera_config.items()
        }
        self.camera_config = {}
        configuration.check(made)
        configuration.adjust(made, self._hardware)
        self._controls = {}
        self.set_controls(made["controls"])
        sizes = {name: made[name]["framesize"] for name in ("main", "raw") if made[name] is not None}
        self._free = [Buffer(sizes) for _ in range(made["buffer_count"])]
        self._max_queue_len = 1 if made["queue"] and made["buffer_count"] > 1 else 0
        self.camera_config = made
        self.configure_count += 1

    def camera_configuration(self) -> dict[str, Any]:
        """The configuration as it was adjusted."""
        return self.camera_config

    def stream_configuration(self, name: str = "main") -> dict[str, Any]:
        """One stream of it."""
        made: dict[str, Any] = self.camera_config[name]
        return made

    def set_controls(self, controls: dict[str, Any]) -> None:
        """Controls for the requests that are queued from now on; RuntimeError for a name that there is none of."""
        if not isinstance(controls, dict):
            raise RuntimeError(f"Cannot update controls with {type(controls)} type")
        for name, value in controls.items():
            if name not in self.camera_controls:
                raise RuntimeError(f"Control {name} is not advertised by libcamera")
            with self.lock:
                self._controls[name] = value
                if self.started:
                    slow = 4 if self._hardware.fault == "late_controls" else 1
                    late = self._hardware.latency_frames * slow - (name == "AnalogueGain")
                    self._landing.append((self._sensor_frame + max(late, 0), name, value))

    def start(self, config: Any = None, show_preview: Any = False) -> None:
        """Start the sensor, configured for a preview where nothing else was said."""
        del show_preview
        if config is not None or not self.camera_config:
            self.configure(config)
        if self.started:
            return
        if not self._hardware.frames_come() and self._hardware.fault == "unplugged":
            raise RuntimeError("Failed to start camera: Remote I/O error")
        self._applied = {
            "ExposureTime": _AWAKE_US,
            "AnalogueGain": _AWAKE_GAIN,
            "FrameDurationLimits": (33_333, 33_333),
        }
        with self.lock:
            first = self._hardware.startup_frames
            self._sensor_frame, self._last_ns = 0, self._hardware.clock_ns()
            self._landing = [(first, name, value) for name, value in self._controls.items()]
            self.started = True
        if self._hardware.pace == "realtime":
            self._loop = threading.Thread(target=self._run, name="camera twin", daemon=True)
            self._loop.start()

    def stop(self) -> None:
        """Stop the sensor, in turn with the jobs that are queued."""
        if self.started:
            self._hardware.block_while("stuck_close")
            self.dispatch_functions([self.stop_], wait=True, immediate=True)

    def stop_(self, request: Any = None) -> tuple[bool, Any]:
        """The same, at once: for the event loop itself."""
        del request
        if self.started:
            self.stop_count += 1
            self.started = False
            while self.completed_requests:
                self.completed_requests.pop(0).release()
        return True, None

    def close(self) -> None:
        """Stop, and give the camera back."""
        if not self.is_open:
            return
        self.stop()
        self.is_open = False
        self.camera_config = {}
        if self._hardware.holder is self:
            self._hardware.holder = None

    def cancel_all_and_flush(self) -> None:
        """Take all jobs out of the queue; whoever waits for one gets CancelledError."""
        with self.lock:
            for job in self._jobs:
                job.cancel()
            self._jobs = []

    def dispatch_functions(
        self, functions: Steps, wait: Any, signal_function: Callable[[Job], None] | None = None, immediate: bool = False
    ) -> Any:
        """Queue steps for the event loop; wait: True without an end, False not at all, None True unless there is a
        signal_function, or a number of seconds."""
        if wait is None:
            wait = signal_function is None
        pump = self._pump if self._hardware.pace == "fast" else None
        job = Job(functions, signal_function, pump)
        with self.lock:
            self._jobs.append(job)
            if len(self._jobs) == 1 and (self.completed_requests or immediate):
                self._work_off()
        return job.get_result(timeout=None if wait is True else wait) if wait else job

    def wait(self, job: Job, timeout: float | None = None) -> Any:
        """The result of a job."""
        return job.get_result(timeout=timeout)

    def capture_request(
        self, wait: Any = None, signal_function: Callable[[Job], None] | None = None, flush: Any = None
    ) -> Any:
        """The next frame; flush: only one whose exposure began after this moment (nanoseconds; True: now)."""
        self._hardware.block_while("stuck")
        if flush is True:
            flush = self._hardware.clock_ns()
        steps: Steps = [partial(self._wait_for_timestamp, flush), self._pop]
        return self.dispatch_functions(steps, wait, signal_function)

    @contextlib.contextmanager
    def captured_request(self, wait: Any = None, flush: Any = None) -> Iterator[CompletedRequest]:
        """The next frame, released at the end of the context."""
        request = self.capture_request(wait=wait, flush=flush)
        try:
            yield request
        finally:
            request.release()

    def capture_metadata(self, wait: Any = None, signal_function: Callable[[Job], None] | None = None) -> Any:
        """Metadata of the next frame."""
        return self.dispatch_functions([partial(self._use, CompletedRequest.get_metadata)], wait, signal_function)

    def capture_buffer(self, name: str = "main", wait: Any = None, signal_function: Any = None) -> NDArray[Any]:
        """Bytes of a stream of the next frame, uint8 (n,)."""
        steps: Steps = [partial(self._use, lambda request: request.make_buffer(name))]
        got: NDArray[Any] = self.dispatch_functions(steps, wait, signal_function)
        return got

    def capture_array(self, name: str = "main", wait: Any = None, signal_function: Any = None) -> NDArray[Any]:
        """The same as rows, uint8 (rows, stride)."""
        steps: Steps = [partial(self._use, lambda request: request.make_array(name))]
        got: NDArray[Any] = self.dispatch_functions(steps, wait, signal_function)
        return got

    def drop_frames(self, num_frames: int, wait: Any = None, signal_function: Any = None) -> Any:
        """Let frames pass."""
        return self.dispatch_functions([partial(self._drop, [num_frames])], wait, signal_function, immediate=True)

    def _use(self, what: Callable[[CompletedRequest], Any]) -> tuple[bool, Any]:
        done, request = self._pop()
        if not done:
            return False, None
        try:
            return True, what(request)
        finally:
            request.release()

    def _pop(self) -> tuple[bool, Any]:
        return (True, self.completed_requests.pop(0)) if self.completed_requests else (False, None)

    def _drop(self, left: list[int]) -> tuple[bool, Any]:
        while self.completed_requests:
            if left[0] == 0:
                return True, None
            self.completed_requests.pop(0).release()
            left[0] -= 1
        return False, None

    def _wait_for_timestamp(self, begun_ns: int | None) -> tuple[bool, Any]:
        if not begun_ns:
            return True, None
        while self.completed_requests:
            metadata = self.completed_requests[0].get_metadata()
            if metadata["SensorTimestamp"] - 1000 * metadata["ExposureTime"] >= begun_ns:
                return True, None
            self.completed_requests.pop(0).release()
        return False, None

    def requeue(self, buffer: Buffer) -> None:
        """A released request's buffer goes back to the camera (CompletedRequest.release calls it)."""
        if self.started:
            self._free.append(buffer)
            if self._hardware.fault == "lost":
                raise RuntimeError("Failed to queue request: No such device")

    def _pump(self, job: Job, timeout: float | None) -> None:
        """On the simulated clock: let frames come until the job is done, or its time is over."""
        end_ns = None if timeout is None else self._hardware.now_ns + int(timeout * 1e9)
        while not job.done:
            if end_ns is not None and self._hardware.now_ns >= end_ns:
                raise TimeoutError
            if not self._turn():
                if end_ns is None:
                    return  # and wait for what never comes, as long as nobody cancels it
                self._hardware.now_ns = end_ns

    def _run(self) -> None:
        """On the real clock: the event loop."""
        while self.started:
            due_ns = self._last_ns + int(1.5 * self._duration_us() * 1000)
            time.sleep(max(0.001, (due_ns - time.monotonic_ns()) / 1e9))
            self._turn()

    def _duration_us(self) -> int:
        shortest, longest = self._applied["FrameDurationLimits"]
        least, most, _ = self.camera_controls["FrameDurationLimits"] if self.is_open else (1, 1, 1)
        shortest, longest = max(shortest, least), min(longest, most)
        return int(min(max(shortest, self._applied["ExposureTime"] + 400), max(longest, shortest)))

    def _turn(self) -> bool:
        """One frame of the sensor, and what the event loop does with it. False: no frame came."""
        with self.lock:
            if not (self.started and self._hardware.frames_come() and self._free):
                return False
            self._land()
            duration_us = self._duration_us()
            # The sensor does not wait for anybody: on a real clock, frames may have passed since.
            missed = max(0, (self._hardware.clock_ns() - self._last_ns) // (duration_us * 1000) - 2)
            self._last_ns += duration_us * 1000 * (1 + missed)
            index, self._sensor_frame = self._sensor_frame, self._sensor_frame + 1 + missed
            if self._hardware.pace == "fast":
                self._hardware.now_ns = self._last_ns + duration_us * 500
            if self._hardware.fault == "dropped_frames" and index % 3:
                return True
            self.completed_requests.append(self._frame(index, duration_us))
            self.frames += 1
            self._work_off()
            while len(self.completed_requests) > self._max_queue_len:
                self.completed_requests.pop(0).release()
            return True

    def _land(self) -> None:
        """Controls whose frame has come."""
        due = [entry for entry in self._landing if entry[0] <= self._sensor_frame]
        self._landing = [entry for entry in self._landing if entry[0] > self._sensor_frame]
        for _, name, value in due:
            if self._hardware.fault != "controls_ignored" or name == "FrameDurationLimits":
                self._applied[name] = value

    def _frame(self, index: int, duration_us: int) -> CompletedRequest:
        chip, controls = self._hardware.chip, self.camera_controls
        least, most, _ = controls["ExposureTime"]
        exposure_us = chip.quantized_exposure_us(min(max(self._applied["ExposureTime"], least), most))
        gain = chip.quantized_gain(self._applied["AnalogueGain"])
        black = round(self._hardware.black_dn * 2 ** (16 - self._hardware.bits))
        stamp_ns = self._last_ns
        metadata = {
            "SensorTimestamp": stamp_ns, "ExposureTime": exposure_us, "AnalogueGain": gain, "DigitalGain": 1.0,
            "FrameDuration": duration_us, "SensorBlackLevels": (black,) * 4, "Lux": 400.0, "ColourTemperature": 4600,
            "ColourGains": (1.8, 1.6), "AeLocked": True, "FocusFoM": 1000, "ScalerCrop": controls["ScalerCrop"][1],
        }  # fmt: skip
        if chip.thermometer:
            metadata["SensorTemperature"] = self._hardware.celsius
        dark, config = index == 0, self.camera_config
        if dark and "ExposureTime" in self._controls:
            # The very first frame says what was asked for, and has no light yet.
            metadata |= {"ExposureTime": chip.quantized_exposure_us(self._controls["ExposureTime"])}
        buffer = self._free.pop(0)

        def draw(into: Buffer) -> None:
            self._hardware.draw(config, stamp_ns, exposure_us, gain, dark, into.bytes)

        return CompletedRequest(self, buffer, metadata, draw)

    def _work_off(self) -> None:
        """Try the jobs in turn; one that is not done stops those behind it."""
        while self._jobs and self._jobs[0].execute():
            self._jobs.pop(0).signal()
