"""What lies behind the camera twin's API: sensor, ribbon cable, clock, and what can be wrong with them."""

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from host.twin.bench import World
from host.twin.mosaic import MosaicSensor, pack
from host.twin.picamera_parts import SensorFormat, Transform
from host.twin.sensor import SensorModel

FAULTS = {
    "hang": "frames stop coming; a capture without a time-out never returns",
    "stuck": "a capture never returns, whatever its time-out",
    "stuck_close": "stopping the camera never returns",
    "controls_ignored": "exposure and gain stay what they were when the sensor was switched on",
    "late_controls": "exposure and gain land four times as late",
    "unplugged": "the cable is out: no frames, and no camera for whoever looks for one",
    "lost": "the driver fails while frames are running",
    "busy": "another program has the camera",
    "none": "no camera",
    "wrong_format": "the camera adjusts the raw format to one that it compresses",
    "wrong_size": "the camera adjusts the raw size to another mode",
    "dropped_frames": "two of three frames are lost on the way",
}
_NO_CAMERA, _NO_FRAMES = ("none", "unplugged"), ("hang", "unplugged", "stuck")


@dataclass(frozen=True, slots=True)
class Sensor:
    """A sensor's constants. cell_nm: pitch of its pixels. line_us: time of a row, the step of exposures. gain_of,
    codes: gain of a register's value, and the highest value. thermometer: whether its metadata have a temperature.

    Gains: libcamera's camera helpers, from the sensors' registers (imx219: 256 / (256 - code)).
    """

    cell_nm: int
    line_us: float
    gain_of: Callable[[int], float]
    codes: int
    thermometer: bool

    def quantized_gain(self, gain: float) -> float:
        """The nearest gain at or below `gain` that the sensor has (the lowest where there is none)."""
        best = 0
        low, high = 0, self.codes
        while low <= high:
            middle = (low + high) // 2
            if self.gain_of(middle) <= gain + 1e-9:
                best, low = middle, middle + 1
            else:
                high = middle - 1
        return self.gain_of(best)

    def quantized_exposure_us(self, exposure_us: float) -> int:
        """The exposure in whole rows, at least 4, in whole microseconds as the metadata have it."""
        return int(max(4, math.floor(exposure_us / self.line_us + 1e-9)) * self.line_us)


SENSORS = {
    "imx219": Sensor(1120, 18.904, lambda code: 256 / (256 - code), 232, False),
    "imx477": Sensor(1550, 23.42, lambda code: 1024 / (1024 - code), 978, True),
    "imx708": Sensor(1400, 13.08, lambda code: 1024 / (1024 - 112 - code), 848, True),
    "ov5647": Sensor(1400, 29.58, lambda code: (16 + code) / 16, 1007, False),
}


@dataclass(eq=False)
class TwinHardware:
    """A simulated camera on its cable: called with a camera's number, it is what opens one, as picamera2.Picamera2 is.

    fault: one of FAULTS or None, and may be changed at any time. `holder` is the object that has the camera acquired;
    `new_process()` is what the end of that object's process would do.
    """

    world: World
    sensor: SensorModel
    seed: int = 0
    bits: int = 10
    black_dn: float = 64
    bayer: str = "RGGB"
    model: str = "imx219"
    fps: float = 30
    latency_frames: int = 3
    fault: str | None = None
    pace: str = "fast"
    rolling_shutter_s: float = 0.0
    packing: str | None = None
    stride_align: int = 64
    startup_frames: int = 2
    celsius: float = 41.0
    holder: Any = None
    opened: int = 0
    now_ns: int = 10_000_000_000
    light: MosaicSensor = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.model not in SENSORS:
            raise ValueError(f"the camera twin knows the sensors {', '.join(SENSORS)}, not {self.model!r}")
        if self.pace not in ("fast", "realtime") or self.packing not in (None, "CSI2P", "16"):
            raise ValueError(
                f"pace is fast or realtime, packing None, CSI2P or 16; got {self.pace!r}, {self.packing!r}"
            )
        if self.fault is not None and self.fault not in FAULTS:
            raise ValueError(f"the camera twin knows the faults {', '.join(FAULTS)}, not {self.fault!r}")
        rng = np.random.default_rng(self.seed)
        self.light = MosaicSensor(
            self.world, self.sensor, rng, self.bits, self.black_dn, self.bayer, self.rolling_shutter_s
        )
        self._mosaic = np.empty(self.light.size_px[::-1], np.uint16)
        self._lock = threading.Lock()

    def __call__(self, number: int = 0) -> Any:
        """Open the camera, as picamera2.Picamera2(number) does; RuntimeError where that raises it."""
        from host.twin.picamera import TwinPicamera2

        return TwinPicamera2(number, hardware=self)

    @property
    def chip(self) -> Sensor:
        """The sensor's constants."""
        return SENSORS[self.model]

    def camera_info(self) -> list[dict[str, Any]]:
        """Picamera2.global_camera_info()."""
        if self.fault in _NO_CAMERA:
            return []
        name = f"/base/soc/i2c0mux/i2c@1/{self.model}@10"
        return [{"Model": self.model, "Location": 2, "Rotation": 180, "Id": name, "Num": 0}]

    def acquire(self, who: object) -> None:
        """Take the camera; RuntimeError as libcamera's acquire() where another one has it."""
        if self.fault == "busy" or self.holder is not None:
            raise RuntimeError("Failed to acquire camera: Device or resource busy")
        self.holder = who
        self.opened += 1

    def new_process(self) -> None:
        """The process that had the camera has ended: the kernel takes back what it held."""
        self.holder = None

    def clock_ns(self) -> int:
        """Now, on the sensor's clock."""
        return time.monotonic_ns() if self.pace == "realtime" else self.now_ns

    def frames_come(self) -> bool:
        """Whether the sensor's frames arrive."""
        return self.fault not in _NO_FRAMES

    def block_while(self, fault: str) -> None:
        """Not to return for as long as this fault is there."""
        while self.fault == fault:
            time.sleep(0.002)

    def modes(self) -> list[dict[str, Any]]:
        """Size, bit depth and the part that is seen of every raw mode: all of the sensor, or the middle half."""
        width, height = self.light.size_px
        whole = {"size": (width, height), "crop_limits": (0, 0, width, height)}
        found = []
        if width % 8 == 0 and height % 8 == 0:
            half = (width // 2, height // 2)
            found.append({"size": half, "crop_limits": (width // 4, height // 4, *half)})
        found.append(whole)
        return [{**mode, "bit_depth": bits} for bits in sorted({8, self.bits}) for mode in found]

    def draw(
        self, config: dict[str, Any], stamp_ns: int, exposure_us: float, gain: float, dark: bool, out: dict[str, Any]
    ) -> None:
        """Expose a frame into the bytes of the raw and the main stream."""
        raw, transform = config["raw"], config["transform"]
        with self._lock:
            if dark:
                self._mosaic.fill(round(self.black_dn))
            else:
                self.light.take(stamp_ns / 1e9 - exposure_us / 1e6, exposure_us, gain, self._mosaic)
            mosaic = _seen(self._mosaic, config["sensor"]["output_size"], transform)
            if raw is not None:
                form, depth = SensorFormat(raw["format"]), config["sensor"]["bit_depth"]
                pack(
                    mosaic >> (self.bits - depth), form.bit_depth, form.packing or "", raw["stride"], out["raw"], depth
                )
            self._draw_main(mosaic, config["main"], out["main"])

    def _draw_main(self, mosaic: NDArray[np.uint16], main: dict[str, Any], out: NDArray[np.uint8]) -> None:
        """A small grey picture: brightness of one green site, colour neutral."""
        columns, rows = main["size"]
        out.fill(128)
        y = np.linspace(0, mosaic.shape[0] // 2 - 1, rows).astype(int) * 2
        x = np.linspace(0, mosaic.shape[1] // 2 - 1, columns).astype(int) * 2 + 1
        lines = out[: rows * main["stride"]].reshape(rows, main["stride"])
        if main["format"].endswith("420"):
            lines[:, :columns] = mosaic[np.ix_(y, x)] >> (self.bits - 8)


def _seen(mosaic: NDArray[np.uint16], size: tuple[int, int], transform: Transform) -> NDArray[np.uint16]:
    """The middle of the sensor that a mode sees, mirrored: a view."""
    width, height = size
    top, left = (mosaic.shape[0] - height) // 2, (mosaic.shape[1] - width) // 2
    part = mosaic[top : top + height, left : left + width]
    part = part[:, ::-1] if transform.hflip else part
    return part[::-1] if transform.vflip else part
