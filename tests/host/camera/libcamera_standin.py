"""A stand-in for libcamera's Python module, so that picamera2's own code runs where there is no camera.

Only what picamera2 needs for raw streams; sensor and light are the camera twin's. Frames come on the real clock, from a
thread, through a file descriptor, as libcamera's do.
"""

import contextlib
import enum
import mmap
import os
import sys
import threading
import time
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from host.twin.picamera_configuration import adjust
from host.twin.picamera_hardware import TwinHardware
from host.twin.picamera_parts import SensorFormat, Transform

PERIOD_S = 0.004
LATENCY_FRAMES = 3


class _Id:
    def __init__(self, name: str, kind: Any = None) -> None:
        self.name, self.type = name, kind


class _Bag:
    """Attributes, whatever they are called."""

    def __init__(self, **values: Any) -> None:
        self.__dict__.update(values)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)


class _Size:
    def __init__(self, width: int = 0, height: int = 0) -> None:
        self.width, self.height = width, height

    def to_tuple(self) -> tuple[int, int]:
        return self.width, self.height


class _Rectangle(_Size):
    def __init__(self, x: int = 0, y: int = 0, width: int = 0, height: int = 0) -> None:
        super().__init__(width, height)
        self.x, self.y = x, y

    def to_tuple(self) -> Any:
        return self.x, self.y, self.width, self.height


class _ColorSpace:
    YcbcrEncoding, Range = _Bag(Null=0), _Bag(Full=1)

    def __init__(self, other: Any = None) -> None:
        self.primaries = self.transferFunction = getattr(other, "primaries", 0)
        self.ycbcrEncoding = self.range = 0

    def __hash__(self) -> int:
        return hash(self.primaries)

    def __str__(self) -> str:
        return f"colour space {self.primaries}"


def _space(number: int) -> Any:
    def make() -> _ColorSpace:
        made = _ColorSpace()
        made.primaries = made.transferFunction = number
        return made

    return staticmethod(make)


for _number, _name in enumerate(("Raw", "Sycc", "Smpte170m", "Rec709")):
    setattr(_ColorSpace, _name, _space(_number))


class _Transform(Transform):
    def __hash__(self) -> int:
        return hash((self.hflip, self.vflip, self.transpose))

    def __str__(self) -> str:
        return f"transform {self.hflip} {self.vflip}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Transform) and hash(self) == hash(_copy(other))

    def __init__(self, other: Any = 0, hflip: bool = False, vflip: bool = False, transpose: bool = False) -> None:
        if isinstance(other, Transform):
            hflip, vflip, transpose = other.hflip, other.vflip, other.transpose
        super().__init__(0, bool(hflip), bool(vflip), bool(transpose))


def _copy(other: Transform) -> "_Transform":
    return _Transform(0, other.hflip, other.vflip, other.transpose)


class _Request:
    Status = enum.Enum("Status", "Pending Complete Cancelled")

    def __init__(self, cookie: int) -> None:
        self.cookie, self.buffers, self.metadata = cookie, {}, {}  # type: ignore[var-annotated]
        self.controls: dict[_Id, Any] = {}
        self.status = self.Status.Pending

    def add_buffer(self, stream: Any, buffer: Any) -> None:
        self.buffers[stream] = buffer

    def reuse(self) -> None:
        self.controls, self.status = {}, self.Status.Pending

    def set_control(self, name: _Id, value: Any) -> None:
        self.controls[name] = value


class _Configuration:
    Status = enum.Enum("Status", "Valid Adjusted Invalid")

    def __init__(self, camera: "StandinCamera", count: int) -> None:
        self._camera = camera
        self._streams: list[Any] = [
            _Bag(stream=_Bag(), formats=camera, size=None, pixel_format="", stride=0, frame_size=0, color_space=None,
                 buffer_count=0)
            for _ in range(count)
        ]  # fmt: skip
        self.orientation: Any = None
        self.sensor_config: Any = None

    def __iter__(self) -> Iterator[Any]:
        return iter(self._streams)

    def at(self, index: int) -> Any:
        return self._streams[index]

    def validate(self) -> Any:
        wanted = self.sensor_config
        names = ("main", "raw")[: len(self._streams)]
        config: dict[str, Any] = {
            name: {"format": str(one.pixel_format), "size": one.size.to_tuple()}
            for name, one in zip(names, self._streams, strict=True)
        }
        config |= {
            "raw": config.get("raw"), "transform": self._camera.transform_of(self.orientation),
            "sensor": {"bit_depth": wanted.bit_depth, "output_size": wanted.output_size.to_tuple()},
        }  # fmt: skip
        adjust(config, self._camera.hardware)
        for name, one in zip(names, self._streams, strict=True):
            one.pixel_format, one.size = config[name]["format"], _Size(*config[name]["size"])
            one.stride, one.frame_size = config[name]["stride"], config[name]["framesize"]
        sensor = config["sensor"]
        self.sensor_config = _Bag(bit_depth=sensor["bit_depth"], output_size=_Size(*sensor["output_size"]))
        self._camera.config = config
        return self.Status.Adjusted


class StandinCamera:
    """libcamera.Camera over a TwinHardware."""

    def __init__(self, hardware: TwinHardware, ids: Any, manager: "_Manager") -> None:
        self.hardware, self._ids, self._manager = hardware, ids, manager
        self.id = hardware.camera_info()[0]["Id"]
        self.config: dict[str, Any] = {}
        self._queue: list[_Request] = []
        self._landing: list[tuple[int, str, Any]] = []
        self._applied = {"ExposureTime": 20_000, "AnalogueGain": 2.0}
        self._frame = 0
        self._lock = threading.Lock()
        self._running = False

    @property
    def properties(self) -> dict[_Id, Any]:
        cell = self.hardware.chip.cell_nm
        values = {"Model": self.hardware.model, "UnitCellSize": _Size(cell, cell), "ColorFilterArrangement": 0}
        return {_Id(name): value for name, value in values.items()}

    @property
    def controls(self) -> dict[_Id, Any]:
        whole = _Rectangle(0, 0, *self.hardware.light.size_px)
        limits = {
            "AeEnable": (False, True, True), "AwbEnable": (False, True, None), "ExposureTime": (75, 11_766_829, 20_000),
            "AnalogueGain": (1.0, 10.666667, 1.0), "FrameDurationLimits": (4_000, 11_767_556, 33_333),
            "NoiseReductionMode": (0, 4, 0), "ScalerCrop": (whole, whole, whole),
        }  # fmt: skip
        return {
            getattr(self._ids, name): _Bag(min=low, max=high, default=usual)
            for name, (low, high, usual) in limits.items()
        }

    @property
    def pixel_formats(self) -> list[str]:
        return [f"S{self.hardware.bayer}{bits}" for bits in (8, self.hardware.bits)]

    def sizes(self, name: str) -> list[_Size]:
        depth = SensorFormat(name).bit_depth
        return [_Size(*mode["size"]) for mode in self.hardware.modes() if mode["bit_depth"] == depth]

    def transform_of(self, orientation: Any) -> Transform:
        flips = {"Rotate0Mirror": (1, 0), "Rotate180Mirror": (0, 1), "Rotate180": (1, 1)}.get(orientation.name, (0, 0))
        return Transform(0, bool(flips[0]), bool(flips[1]))

    def acquire(self) -> None:
        self.hardware.acquire(self)

    def release(self) -> None:
        self.hardware.holder = None

    def generate_configuration(self, roles: list[Any]) -> _Configuration:
        return _Configuration(self, len(roles))

    def configure(self, config: _Configuration) -> int:
        del config
        return 0

    def create_request(self, cookie: int) -> _Request:
        return _Request(cookie)

    def queue_request(self, request: _Request) -> None:
        if self.hardware.fault == "lost":
            raise RuntimeError("Failed to queue request: No such device")
        with self._lock:
            self._queue.append(request)
            for name, value in request.controls.items():
                self._landing.append((self._frame + LATENCY_FRAMES, name.name, value))

    def start(self, controls: dict[_Id, Any]) -> None:
        self._landing = [(2, name.name, value) for name, value in controls.items()]
        self._frame, self._running = 0, True
        self._thread = threading.Thread(target=self._expose, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self.hardware.block_while("stuck_close")
        self._running = False
        self._thread.join()
        self._queue.clear()

    def _expose(self) -> None:
        while self._running:
            time.sleep(PERIOD_S)
            with self._lock:
                self._frame += 1
                if self.hardware.fault != "controls_ignored":
                    self._applied |= {name: value for at, name, value in self._landing if at <= self._frame}
                if not self._queue or not self.hardware.frames_come():
                    continue
                self._complete(self._queue.pop(0))

    def _complete(self, request: _Request) -> None:
        chip = self.hardware.chip
        exposure_us = chip.quantized_exposure_us(self._applied["ExposureTime"])
        gain = chip.quantized_gain(self._applied["AnalogueGain"])
        stamp_ns = time.monotonic_ns()
        out = {
            name: np.frombuffer(buffer.memory, np.uint8)
            for name, buffer in zip(("main", "raw"), request.buffers.values(), strict=True)
        }
        self.hardware.draw(self.config, stamp_ns, exposure_us, gain, False, out)
        black = round(self.hardware.black_dn * 2 ** (16 - self.hardware.bits))
        metadata = {
            "SensorTimestamp": stamp_ns, "ExposureTime": exposure_us, "AnalogueGain": gain, "DigitalGain": 1.002,
            "FrameDuration": int(PERIOD_S * 1e6), "SensorBlackLevels": (black,) * 4,
        }  # fmt: skip
        request.metadata = {_Id(name): value for name, value in metadata.items()}
        request.status = _Request.Status.Complete
        self._manager.ready.append(request)
        os.write(self._manager.write_fd, b"\0")


class _Manager:
    def __init__(self, hardware: TwinHardware, ids: Any) -> None:
        self.event_fd, self.write_fd = os.pipe2(os.O_NONBLOCK)
        self.ready: list[_Request] = []
        self._camera = StandinCamera(hardware, ids, self) if hardware.camera_info() else None

    @property
    def cameras(self) -> list[StandinCamera]:
        return [self._camera] if self._camera is not None else []

    def get_ready_requests(self) -> list[_Request]:
        with contextlib.suppress(BlockingIOError):
            os.read(self.event_fd, 4096)
        ready, self.ready = self.ready, []
        return ready


class _Buffer:
    def __init__(self, size: int, number: int) -> None:
        self.memory = mmap.mmap(-1, size)
        self.planes = [_Bag(fd=number)]
        self.metadata = _Bag(status="Success")


class Allocator:
    """picamera2's allocator interface over plain memory."""

    def __init__(self) -> None:
        self._buffers: dict[Any, list[_Buffer]] = {}

    class sync:  # noqa: N801 - picamera2's name
        """Mapping of a buffer."""

        def __init__(self, allocator: Any, buffer: _Buffer, write: bool) -> None:
            del allocator, write
            self._buffer = buffer

        def __enter__(self) -> mmap.mmap:
            return self._buffer.memory

        def __exit__(self, *_: object) -> None:
            pass

    def allocate(self, config: _Configuration, use_case: Any) -> None:
        """Make the buffers of a configuration."""
        del use_case
        self._buffers = {
            one.stream: [_Buffer(one.frame_size, number) for number in range(one.buffer_count)] for one in config
        }

    def buffers(self, stream: Any) -> list[_Buffer]:
        """Those of a stream."""
        return self._buffers[stream]

    def acquire(self, buffers: Any) -> None:
        """Nothing to do."""

    def release(self, buffers: Any) -> None:
        """Nothing to do."""


def _libcamera(hardware: TwinHardware) -> Any:
    module: Any = types.ModuleType("libcamera")
    ids = _Bag(draft=_Bag(NoiseReductionModeEnum=_Bag(Minimal=3, HighQuality=2, Fast=1)))
    kinds: Any = enum.Enum("kinds", "Null Rectangle Size")
    for name in ("AeEnable", "AwbEnable", "ExposureTime", "AnalogueGain", "ExposureTimeMode", "AnalogueGainMode",
                 "FrameDurationLimits", "NoiseReductionMode", "ScalerCrop"):  # fmt: skip
        setattr(ids, name, _Id(name, kinds.Rectangle if name == "ScalerCrop" else kinds.Null))
    manager = _Manager(hardware, ids)
    turns = "Rotate0 Rotate0Mirror Rotate180 Rotate180Mirror Rotate90 Rotate90Mirror Rotate270 Rotate270Mirror"
    module.__dict__.update(
        Transform=_Transform, ColorSpace=_ColorSpace, Size=_Size, Rectangle=_Rectangle, PixelFormat=str,
        ControlType=kinds, StreamRole=enum.Enum("StreamRole", "Raw StillCapture VideoRecording Viewfinder"),
        Orientation=enum.Enum("Orientation", turns), CameraConfiguration=_Configuration, Request=_Request,
        SensorConfiguration=_Bag, FrameMetadata=_Bag(Status=_Bag(Success="Success")), Camera=StandinCamera,
        CameraManager=_Bag(singleton=lambda: manager), controls=ids,
        properties=_Bag(draft=_Bag(ColorFilterArrangementEnum=_Bag(MONO=4))),
        _libcamera=_Bag(ColorSpace=_ColorSpace, Transform=_Transform),
    )  # fmt: skip
    return module


def install(hardware: TwinHardware, source: Path) -> Iterator[Any]:
    """Import picamera2 from `source` over this libcamera; a generator for a fixture, which takes it out again."""
    absent = [
        "videodev2", "piexif", "simplejpeg", "pidng", "pidng.camdefs", "pidng.core", "picamera2.encoders",
        "picamera2.outputs", "picamera2.remote", "picamera2.dma_heap", "picamera2.previews.drm_preview",
        "picamera2.previews.qt_previews",
    ]  # fmt: skip
    stubs: dict[str, Any] = {name: mock.MagicMock(name=name) for name in absent}
    libcamera = _libcamera(hardware)
    stubs |= {"libcamera": libcamera, "libcamera.controls": libcamera.controls}
    before = {name for name in sys.modules if name.split(".")[0] == "picamera2"}
    with mock.patch.dict(sys.modules, stubs), mock.patch.object(sys, "path", [str(source), *sys.path]):
        import picamera2.picamera2 as module  # type: ignore[import-not-found]

        with mock.patch.object(module, "DmaAllocator", Allocator):
            yield module
    for name in [name for name in sys.modules if name.split(".")[0] == "picamera2" and name not in before]:
        del sys.modules[name]
