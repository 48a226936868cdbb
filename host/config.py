"""What an installer may set: the sections of canopic.yaml, their units, limits and defaults."""

import os
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError


class Section(BaseModel):
    """A mapping of the file: unknown keys refused, no silent conversion ("5" is not 5), no NaN or infinity."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class Capture(Section):
    """Where measurements come from."""

    path: Literal["twin", "board", "camera", "loop"] = Field(
        default="twin",
        description="twin: a simulated scene and optics in front of the real firmware; board: a real board; camera: a "
        "camera behind a mask, pooled and quantized inside the boundary process; loop: the same, quantized by a board",
    )
    port: str | None = Field(
        default=None, min_length=1, description="serial port of the board; a stable name such as /dev/serial/by-id/..."
    )
    scene: str = Field(
        default="demo", min_length=1, description="simulated scene: demo, a video file, a folder of images, or camera:0"
    )
    pace: Literal["realtime", "fast"] = Field(
        default="realtime",
        description="twin only: realtime drops late frames; fast measures every frame, as fast as it can",
    )
    seed: int = Field(
        default=0, ge=0, le=2**31 - 1, description="twin only: seed of the scene, the noise and the comparators"
    )

    light: list[Annotated[list[float], Field(min_length=2, max_length=2)]] = Field(
        default=[], description="twin only: steps in light as [seconds, factor], ascending"
    )
    kernel: str | None = Field(
        default=None,
        min_length=1,
        description="twin only: a PSF, a mask or kernels (.npz, .npy) to simulate in place of the bundle's kernel",
    )
    sensor: str | None = Field(
        default=None,
        min_length=1,
        description="twin only: the sensor.json of `canopic calibrate sensor`, a measured sensor to simulate",
    )

    @field_validator("light")
    @classmethod
    def _ascending(cls, light: list[list[float]]) -> list[list[float]]:
        if any(factor < 0 or at < 0 for at, factor in light) or sorted(light) != light:
            raise PydanticCustomError("light", "expected ascending times and factors of 0 or more")
        return light

    @model_validator(mode="after")
    def _board_has_a_port(self) -> Self:
        if self.path == "board" and self.port is None:
            raise PydanticCustomError("port", "expected 'port' beside 'path: board'; `canopic doctor` lists the ports")
        return self

    @model_validator(mode="after")
    def _camera_has_no_board(self) -> Self:
        if self.path == "camera" and self.port is not None:
            raise PydanticCustomError(
                "port",
                "expected no 'port' (--board) beside 'path: camera', whose thresholds are digital; 'path: loop' "
                "quantizes with a board",
            )
        return self

    @model_validator(mode="after")
    def _only_a_twin_has_another_kernel_or_sensor(self) -> Self:
        if self.kernel is not None and self.path == "board":
            raise PydanticCustomError(
                "kernel",
                "expected no 'kernel' (--kernel) beside 'path: {path}': only the twin simulates optics, a board has "
                "the mask that stands in front of it",
                {"path": self.path},
            )
        if self.sensor is not None and self.path == "board":
            raise PydanticCustomError(
                "sensor",
                "expected no 'sensor' (--sensor) beside 'path: board': only the twin simulates a sensor",
            )
        return self


class Camera(Section):
    """The camera of the paths camera and loop."""

    device: Literal["picamera2", "twin"] = Field(
        default="picamera2",
        description="picamera2: a camera of this Raspberry Pi; twin: a simulated one, for rehearsals and tests",
    )
    number: int = Field(default=0, ge=0, le=15, description="which camera, as `rpicam-hello --list-cameras` counts")
    raw_size_px: Annotated[list[int], Field(min_length=2, max_length=2)] | None = Field(
        default=None, description="[width, height] of the raw mode; null: the smallest that covers the bundle's plane"
    )
    bits: Literal[8, 10, 12, 14, 16] | None = Field(
        default=None, description="bit depth of the raw mode; null: the most that the sensor has"
    )
    hflip: bool = Field(default=False, description="mirror the picture on the sensor, left to right")
    vflip: bool = Field(default=False, description="mirror the picture on the sensor, top to bottom")
    capture_timeout_s: float = Field(
        default=5.0, gt=0.1, le=60, description="a frame that takes longer is a hung camera, seconds"
    )


class Mask(Section):
    """What stands in front of the sensor."""

    kind: Literal["printed", "slm"] = Field(default="printed", description="a printed mask, or a phase image on an SLM")
    id: str | None = Field(
        default=None,
        min_length=4,
        description="what is written on the mask: the first digits of its id in the bundle; null: not checked",
    )
    slm_display: str = Field(
        default="/dev/fb0",
        min_length=1,
        description="slm only: framebuffer (/dev/fb0, /dev/fb0@HDMI-A-2) or sdl:NUMBER",
    )
    slm_settle_ms: float = Field(
        default=100.0, ge=0, le=10_000, description="slm only: time until a new phase image stands, milliseconds"
    )


class Mounting(Section):
    """How near people come, to warn when faces are so large that the bundle's codes tell whose they are."""

    nearest_m: float | None = Field(
        default=None, gt=0, le=1000, description="the nearest that people come to the lens, metres; null: no warning"
    )
    focal_length_mm: float | None = Field(
        default=None,
        gt=0,
        le=1000,
        description="focal length of the lens, or distance from mask to sensor, millimetres",
    )
    pixel_pitch_um: float | None = Field(
        default=None,
        gt=0,
        le=1000,
        description="distance of neighbouring pixels of the bundle's plane, micrometres; behind a colour mosaic twice "
        "the sensor's pixel, times its binning",
    )

    @model_validator(mode="after")
    def _nearest_needs_a_lens(self) -> Self:
        missing = [name for name in ("focal_length_mm", "pixel_pitch_um") if getattr(self, name) is None]
        if self.nearest_m is not None and missing:
            raise PydanticCustomError(
                "mounting",
                "expected {missing} beside 'nearest_m': without them nobody knows how large a face is",
                {"missing": " and ".join(f"'{name}'" for name in missing)},
            )
        return self


Pin = Annotated[int, Field(ge=0, le=27)]


class Gpio(Section):
    """Pins by their BCM numbers. A pin that is null is not used."""

    device: Literal["auto", "rpi", "twin", "none"] = Field(
        default="auto", description="auto: the Pi's pins where a pin is set here; twin: pins that are only recorded"
    )
    trigger_pin: Pin | None = Field(default=None, description="output: high during each exposure that is measured")
    status_pin: Pin | None = Field(default=None, description="output: lit while measurements leave")
    source_pin: Pin | None = Field(default=None, description="output: the point source of `canopic calibrate psf`")
    cover_pin: Pin | None = Field(
        default=None, description="input: closed while the lens cover is on; blinds the sensor"
    )
    cover_closed_is_low: bool = Field(default=True, description="the cover's switch pulls its pin to ground")

    @model_validator(mode="after")
    def _each_pin_once(self) -> Self:
        pins = [self.trigger_pin, self.status_pin, self.source_pin, self.cover_pin]
        used = [pin for pin in pins if pin is not None]
        if len(set(used)) != len(used):
            raise PydanticCustomError("pins", "expected a pin of its own for each use, got {pins}", {"pins": str(used)})
        return self


class Occupancy(Section):
    """When a change of the count becomes an event. Seconds on the scene's clock."""

    smoothing_s: float = Field(
        default=0.5, ge=0, le=0.5, description="a measurement's count and occupied are smoothed over this time, seconds"
    )
    arrived_hold_s: float = Field(
        default=1.0, ge=0, le=3600, description="how long somebody must be seen before 'arrived', seconds"
    )
    left_hold_s: float = Field(
        default=3.0, ge=0, le=86_400, description="how long nobody may be seen before 'left', seconds"
    )
    count_hold_s: float = Field(
        default=2.0, ge=0, le=3600, description="how long another count must last before 'count_changed', seconds"
    )


class Presence(Section):
    """Presence from change against the learned empty room: a person seen from behind has no face."""

    enabled: bool = Field(default=True, description="false: only faces count as people")
    absorb_s: float = Field(
        default=900.0, ge=10, le=86_400, description="calm time after which a moved chair belongs to the room, seconds"
    )
    dark_hold_s: float = Field(
        default=30.0, ge=0, le=3600, description="how long presence is held while it is too dark or too bright, seconds"
    )


class Exposure(Section):
    """Exposure and gain of the sensor."""

    mode: Literal["auto", "manual"] = Field(default="auto", description="auto steers from the codes alone")
    exposure_us: int = Field(
        default=10_000, ge=100, le=33_000, description="exposure time, microseconds; auto starts here"
    )
    gain: float = Field(default=1.0, ge=1, le=16, description="analog gain, a factor; auto starts here")
    mains_hz: Literal[0, 50, 60] = Field(
        default=50, description="mains frequency: auto keeps to whole half-periods, so lamps do not flicker; 0: any"
    )


class Storage(Section):
    """Events, counts by the minute and the learned room, in one SQLite file."""

    directory: Annotated[Path, Field(strict=False)] | None = Field(
        default=None, description="null: $STATE_DIRECTORY, else $XDG_STATE_HOME/canopic, else ~/.local/state/canopic"
    )
    retention_days: int = Field(default=30, ge=1, le=3650, description="events and counts older than this are deleted")


class Detector(Section):
    """The model that finds faces in codes."""

    score_threshold: float | None = Field(default=None, gt=0, lt=1, description="null: the bundle's own threshold")
    threads: int = Field(default=1, ge=1, le=16, description="processor threads for the model")


class Output(Section):
    """What `canopic run` prints."""

    format: Literal["auto", "live", "lines", "json", "none"] = Field(
        default="auto", description="auto: live on a terminal, else a line a second"
    )


class Config(Section):
    """The whole file. Every section and every key is optional."""

    capture: Capture = Capture()
    camera: Camera = Camera()
    mask: Mask = Mask()
    mounting: Mounting = Mounting()
    gpio: Gpio = Gpio()
    bundle: str = Field(default="default", min_length=1, description="a bundle file, or the name of a shipped one")
    occupancy: Occupancy = Occupancy()
    presence: Presence = Presence()
    exposure: Exposure = Exposure()
    storage: Storage = Storage()
    detector: Detector = Detector()
    output: Output = Output()

    @model_validator(mode="after")
    def _path_has_its_devices(self) -> Self:
        path, simulated = self.capture.path, self.camera.device == "twin"
        if path == "loop" and self.capture.port is None and not simulated:
            raise PydanticCustomError(
                "port",
                "expected 'port' in 'capture' beside 'path: loop'; `canopic doctor` lists the ports, and 'device: twin'"
                " in 'camera' (--camera twin) rehearses without a board",
            )
        if path in ("camera", "loop") and self.capture.kernel is not None and not simulated:
            raise PydanticCustomError(
                "kernel",
                "expected no 'kernel' (--kernel) beside 'path: {path}' with a real camera: the mask that stands in "
                "front of it is its optics; 'device: twin' in 'camera' simulates one",
                {"path": path},
            )
        if path in ("camera", "loop") and self.capture.sensor is not None and not simulated:
            raise PydanticCustomError(
                "sensor",
                "expected no 'sensor' (--sensor) beside 'path: {path}' with a real camera, which is its own sensor; "
                "'device: twin' in 'camera' simulates one",
                {"path": path},
            )
        return self


def default_state_directory() -> Path:
    """Where state lives if the configuration names no directory (systemd sets STATE_DIRECTORY; else the XDG base
    directory specification, version 0.8)."""
    if systemd := os.environ.get("STATE_DIRECTORY"):
        return Path(systemd.split(":")[0])
    if xdg := os.environ.get("XDG_STATE_HOME"):
        return Path(xdg) / "canopic"
    return Path.home() / ".local" / "state" / "canopic"


def json_schema() -> dict[str, Any]:
    """JSON schema (draft 2020-12) of the file, for editors that complete and check YAML."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "canopic.yaml"} | {
        key: value for key, value in Config.model_json_schema().items() if key != "title"
    }
