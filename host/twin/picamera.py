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
    capture_request, captured_request, capture_metadata, capture_buffer, capture_array, drop_frames,
    dispatch_functions, wait, cancel_all_and_flush: a queue of jobs that frames feed; a capture that timed out stays in
                              it and swallows the next frame; nothing comes once all buffers are held
    CompletedRequest, MappedArray, SensorFormat, Transform, Job (host/twin/picamera_parts.py)

Not there: previews, encoders, files, images, the lores stream, tuning files, autofocus, mode switches, two cameras.

With pace "fast" the sensor's clock jumps from frame to frame when somebody waits for one, and a time-out is over at
once; what would wait for ever does.
"""

import atexit
import threading
import time
from types import TracebackType
from typing import Any

from host.twin import picamera_configuration as configuration
from host.twin.bench import World
from host.twin.picamera_hardware import TwinHardware
from host.twin.picamera_jobs import JobQueue
from host.twin.picamera_parts import Buffer, CompletedRequest, SensorFormat
from host.twin.sensor import SensorModel

# What the sensor does before anybody has told it anything.
_AWAKE_US, _AWAKE_GAIN = 20_000, 2.0


def twin_camera(world: World, sensor: SensorModel, seed: int = 0, **options: Any) -> TwinHardware:
    """A simulated camera looking at `world`: called with a number it opens as picamera2.Picamera2 does.

    options: fields of TwinHardware (bits, black_dn, bayer, model, fps, latency_frames, fault, pace, rolling_shutter_s,
    packing, stride_align, startup_frames, celsius). Its `fault` may be set at any time. Raises ValueError for an option
    that it cannot have.
    """
    return TwinHardware(world, sensor, seed, **options)


class TwinPicamera2(configuration.Configurations, JobQueue):
    """See the module. The picture of a frame is computed when its buffer is first looked at."""

    def __init__(
        self, camera_num: int = 0, verbose_console: Any = None, tuning: Any = None, allocator: Any = None,
        *, hardware: TwinHardware,
    ) -> None:  # fmt: skip
        del verbose_console, tuning, allocator
        super().__init__(hardware)
        self.is_open = self.started = False
        self.camera_config: dict[str, Any] = {}
        self.request_lock = threading.Lock()
        self._free: list[Buffer] = []
        self.stop_count = self.configure_count = self.frames = 0
        self._max_queue_len = 0
        self._controls: dict[str, Any] = {}
        self._applied: dict[str, Any] = {}
        self._landing: list[tuple[int, str, Any]] = []
        self._last_ns = 0
        self._loop_ended = False
        self._sensor_frame = 0
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
        # As picamera2 does: so a program whose camera hangs does not end by itself.
        atexit.register(self.close)
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
    def fault(self) -> str | None:
        """The hardware's fault, which may be set here, too (no part of picamera2)."""
        return self._hardware.fault

    @fault.setter
    def fault(self, fault: str | None) -> None:
        self._hardware.fault = fault

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
        """End the event loop, stop without it, and give the camera back."""
        atexit.unregister(self.close)
        if not self.is_open:
            return
        self._hardware.block_while("stuck_close")
        self.stop_()
        self.is_open = False
        self.camera_config = {}
        if self._hardware.holder is self:
            self._hardware.holder = None

    def requeue(self, buffer: Buffer) -> None:
        """A released request's buffer goes back to the camera (CompletedRequest.release calls it)."""
        if self.started:
            self._free.append(buffer)
            if self._hardware.fault == "lost":
                raise RuntimeError("Failed to queue request: No such device")

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
            if self._loop_ended or not (self.started and self._hardware.frames_come() and self._free):
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
            try:
                while len(self.completed_requests) > self._max_queue_len:
                    self.completed_requests.pop(0).release()
            except RuntimeError:
                # It ends the thread of picamera2's event loop, which tells nobody.
                self._loop_ended = True
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
