"""How the camera twin makes, checks and adjusts configurations, as picamera2 and libcamera do."""

from typing import Any

from host.twin.picamera_hardware import TwinHardware
from host.twin.picamera_parts import SensorFormat, Transform

# Defaults of picamera2's create_*_configuration: nothing in particular, upright. They are copied, never changed.
_ANY: dict[str, Any] = {}
_UPRIGHT = Transform()
_IGNORED = ("bit_depth", "crop_limits", "exposure_limits", "fps", "unpacked")
_STREAM_KEYS = ("format", "size", "stride", "preserve_ar")
_COLOURS = {"YUV420", "YVU420", "NV12", "NV21", "YUYV", "RGB888", "BGR888", "XBGR8888", "XRGB8888"}
_BYTES = {"RGB888": 3, "BGR888": 3, "XBGR8888": 4, "XRGB8888": 4, "YUYV": 2}


def stream(start: dict[str, Any], updates: dict[str, Any] | None, ignored: tuple[str, ...] = ()) -> Any:
    """A stream's configuration from its defaults and what the caller wants; ValueError for a key that is none."""
    if updates is None:
        return None
    made = dict(start)
    for key, value in updates.items():
        if key in _STREAM_KEYS:
            made[key] = str(value) if isinstance(value, SensorFormat) else value
        elif key not in ignored:
            raise ValueError(f"Bad key {key!r}: valid stream configuration keys are {_STREAM_KEYS}")
    return made


def raw_stream(start: dict[str, Any], updates: dict[str, Any] | None) -> Any:
    """The same for the raw stream, which may be given an entry of sensor_modes."""
    return stream(start, updates, _IGNORED)


def align(config: dict[str, Any], optimal: bool = True) -> None:
    """Picamera2.align_stream: make a stream's width a multiple of 32 bytes, its height even; in place."""
    step = 2
    if optimal:
        step = {"YUV420": 64, "YVU420": 64, "XBGR8888": 16, "XRGB8888": 16}.get(config["format"], 32)
    width, height = config["size"]
    config["size"] = (width - width % step, height - height % 2)


def check(config: dict[str, Any]) -> None:
    """What picamera2 checks before libcamera sees a configuration; RuntimeError in its words."""
    for key in ("colour_space", "transform", "main", "lores", "raw"):
        if key not in config:
            raise RuntimeError(f"{key!r} key expected in camera configuration")
    if not isinstance(config["transform"], Transform):
        raise RuntimeError("Transform has incorrect type")
    bad = set(config.get("sensor") or {}) - {"bit_depth", "output_size"}
    if bad:
        raise RuntimeError(f"Unexpected keys {bad} in sensor configuration")
    for name in ("main", "raw"):
        made = config[name]
        if made is None and name == "raw":
            continue
        if type(made) is not dict:
            raise RuntimeError(name + " stream should be a dictionary")
        for key in ("format", "size"):
            if key not in made:
                raise RuntimeError(f"{key} not found in {name} stream")
        if name == "raw" and not _is_raw(made["format"]):
            raise RuntimeError("Unrecognised raw format " + made["format"])
        if name == "main" and made["format"] not in _COLOURS:
            raise RuntimeError("Bad format " + made["format"] + " in stream main")
        size = made["size"]
        if type(size) is not tuple or len(size) != 2:
            raise RuntimeError("size in " + name + " stream should be (width, height)")
        if size[0] % 2 or size[1] % 2:
            raise RuntimeError("width and height should be even")


def _is_raw(name: str) -> bool:
    try:
        SensorFormat(name)
    except AttributeError:
        return False
    return True


def adjust(config: dict[str, Any], hardware: TwinHardware) -> None:
    """What libcamera makes of a checked configuration: the nearest mode, its format, strides; in place."""
    wanted = config.get("sensor") or {}
    raw = config["raw"]
    bits = wanted.get("bit_depth") or (SensorFormat(raw["format"]).bit_depth if raw else hardware.bits)
    size = wanted.get("output_size") or (raw or config["main"])["size"]
    modes = hardware.modes()
    if hardware.fault == "wrong_size":
        modes = [mode for mode in modes if mode["size"] != size] or modes
    mode = min(modes, key=lambda one: _distance(one, bits, size))
    config["sensor"] = {"bit_depth": mode["bit_depth"], "output_size": mode["size"]}
    main = config["main"]
    bytes_px = _BYTES.get(main["format"], 1)
    main["stride"] = _up(main["size"][0] * bytes_px, hardware.stride_align)
    planes = 1.5 if main["format"].endswith("420") else 1
    main["framesize"] = int(main["stride"] * main["size"][1] * planes)
    if raw is None:
        return
    asked = SensorFormat(raw["format"])
    order = SensorFormat(f"S{hardware.bayer}{mode['bit_depth']}")
    order.transform(config["transform"])
    depth, packing = mode["bit_depth"], asked.packing
    if hardware.packing == "16" and depth > 8:
        depth, packing = 16, None
    elif hardware.packing == "CSI2P":
        packing = "CSI2P"
    packing = packing if depth in (10, 12) and packing == "CSI2P" else None
    used = mode["size"][0] if depth == 8 else 2 * mode["size"][0]
    if packing:
        per = 4 if depth == 10 else 2
        used = -(-mode["size"][0] // per) * (per + 1)
    raw["format"] = f"S{order.bayer_order}{depth}{'_CSI2P' if packing else ''}"
    if hardware.fault == "wrong_format":
        raw["format"], used = f"{order.bayer_order}_PISP_COMP1", mode["size"][0]
    raw["size"] = mode["size"]
    raw["stride"] = _up(used, hardware.stride_align)
    raw["framesize"] = raw["stride"] * mode["size"][1]


def _distance(mode: dict[str, Any], bits: int, size: tuple[int, int]) -> float:
    """How libcamera's Raspberry Pi pipeline scores a mode against what is wanted: the lower, the better."""

    def off(wanted: float, actual: float) -> float:
        return (actual - wanted) / 4 if actual > wanted else 2 * (wanted - actual)

    width, height = mode["size"]
    shape = 1500 * off(size[0] / size[1], width / height)
    return off(size[0], width) + off(size[1], height) + shape + 500 * abs(bits - int(mode["bit_depth"]))


def _up(value: int, step: int) -> int:
    return -(-value // step) * step


class Configurations:
    """The part of Picamera2 that makes configurations: plain dictionaries, not checked before `configure`."""

    is_open: bool
    sensor_resolution: tuple[int, int]
    sensor_format: str

    def create_preview_configuration(
        self, main: Any = _ANY, lores: Any = None, raw: Any = _ANY, transform: Any = _UPRIGHT,
        colour_space: Any = "sYCC", buffer_count: int = 4, controls: Any = _ANY, display: Any = "main",
        encode: Any = "main", queue: bool = True, sensor: Any = _ANY, use_case: str = "preview",
    ) -> dict[str, Any]:  # fmt: skip
        """A configuration for looking at."""
        start = {"format": "XBGR8888", "size": (640, 480), "preserve_ar": True}
        rate = {"NoiseReductionMode": 3, "FrameDurationLimits": (100, 83_333)}
        return self._made(start, main, lores, raw, transform, colour_space, buffer_count, rate | controls, display,
                          encode, queue, sensor, use_case)  # fmt: skip

    def create_still_configuration(
        self, main: Any = _ANY, lores: Any = None, raw: Any = _ANY, transform: Any = _UPRIGHT,
        colour_space: Any = "sYCC", buffer_count: int = 1, controls: Any = _ANY, display: Any = None,
        encode: Any = None, queue: bool = True, sensor: Any = _ANY, use_case: str = "still",
    ) -> dict[str, Any]:  # fmt: skip
        """A configuration for single pictures."""
        start = {"format": "BGR888", "size": self.sensor_resolution, "preserve_ar": True}
        rate = {"NoiseReductionMode": 2, "FrameDurationLimits": (100, 1_000_000_000)}
        return self._made(start, main, lores, raw, transform, colour_space, buffer_count, rate | controls, display,
                          encode, queue, sensor, use_case)  # fmt: skip

    def create_video_configuration(
        self, main: Any = _ANY, lores: Any = None, raw: Any = _ANY, transform: Any = _UPRIGHT,
        colour_space: Any = None, buffer_count: int = 6, controls: Any = _ANY, display: Any = "main",
        encode: Any = "main", queue: bool = True, sensor: Any = _ANY, use_case: str = "video",
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
        main = stream(start, main)
        align(main, optimal=False)
        raw = raw_stream({"format": self.sensor_format, "size": main["size"]}, raw)
        made = {
            "use_case": use_case, "transform": transform, "colour_space": colour_space, "buffer_count": buffer_count,
            "queue": queue, "main": main, "lores": None, "raw": raw, "controls": controls, "sensor": sensor,
        }  # fmt: skip
        for use, named in (("Display", display), ("Encode", encode)):
            if named is not None and made.get(named) is None:
                raise RuntimeError(f"{use} stream {named} was not defined")
        return made | {"display": display, "encode": encode}

    @staticmethod
    def align_stream(stream_config: dict[str, Any], optimal: bool = True) -> None:
        """Make the width of a stream one that the hardware likes; in place."""
        align(stream_config, optimal)

    @staticmethod
    def align_configuration(config: dict[str, Any], optimal: bool = True) -> None:
        """The same for the streams of a configuration but the raw one; in place."""
        align(config["main"], optimal)
