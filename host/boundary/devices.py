"""The devices of a capture path, opened inside the boundary process while it may still open any."""

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from host.boundary.sandbox import Early
from host.boundary.scene_world import SceneWorld
from host.camera.about import CameraWanted
from host.camera.device import open_picamera2
from host.camera.driver import Camera
from host.config import Camera as CameraSection
from host.config import Gpio
from host.gpio.pins import Pins
from host.gpio.software import load_module
from host.interlocks import open_pins
from host.twin.picamera import twin_camera
from host.twin.picamera_hardware import TwinHardware
from host.twin.scene import open_scene, parse_scene
from host.twin.sensor import SensorModel
from optics.bundle import Bundle

# A Pi's camera modes give 30 frames a second and more; a scene that runs faster is not sampled faster.
MOST_FPS = 60.0


@dataclass(frozen=True)
class TwinStage:
    """What only a rehearsal has: the scene in front of the simulated camera, and that camera for its faults."""

    world: SceneWorld
    live: bool
    fps: float
    frame_count: int | None
    hardware: TwinHardware

    def fail(self, fault: str | None) -> None:
        """Let the simulated camera have a fault from now on, None: no longer."""
        self.hardware.fault = fault


@dataclass(frozen=True)
class Opened:
    """An opened camera; `stage` is None for a real one."""

    camera: Camera
    stage: TwinStage | None


def wanted_of(section: CameraSection, rows_px: int, columns_px: int) -> CameraWanted:
    """What a path needs of a camera: planes of at least rows_px x columns_px, and what the configuration insists on."""
    size = section.raw_size_px
    return CameraWanted(
        rows_px,
        columns_px,
        number=section.number,
        raw_size_px=None if size is None else (size[0], size[1]),
        bits=section.bits,
        hflip=section.hflip,
        vflip=section.vflip,
    )


def open_first_pins(gpio: Gpio, used: tuple[str, ...], held: Early) -> Pins | None:
    """The pins named in `used`, opened; None where none is set. To be called before a camera is opened: their module
    makes a named pipe (host.gpio.software), and the folder for it is gone before there is a frame. Raises GpioError."""
    try:
        return open_pins(gpio, used, lambda: load_module(pipes=held.pipes))
    finally:
        held.close_pipes()


def open_camera(section: CameraSection, bundle: Bundle, scene: Mapping[str, Any], stack: ExitStack) -> Opened:
    """The camera of the configuration, or its twin in front of a scene; `stack` closes both.

    scene: {"scene", "light", "kernel", "seed", "pace", "first", "fault", "sensor"} for the twin. Raises CameraError,
    SceneError or KernelError.
    """
    wanted = wanted_of(section, bundle.rows_px, bundle.columns_px)
    if section.device == "picamera2":
        camera = Camera(open_picamera2, wanted, section.capture_timeout_s)
        return Opened(stack.enter_context(camera), None)
    light = tuple((at_s, factor) for at_s, factor in scene["light"])
    opened = stack.enter_context(
        open_scene(parse_scene(scene["scene"], light=light), bundle.rows_px, bundle.columns_px)
    )
    world = SceneWorld(opened, bundle, scene["kernel"], scene["first"])
    options = dict(scene.get("sensor") or {})
    model = SensorModel(**options.pop("model", {}))
    hardware = twin_camera(
        world,
        model,
        scene["seed"],
        fps=min(MOST_FPS, opened.fps),
        pace=scene["pace"],
        fault=scene["fault"],
        **options,
    )
    twin = Camera(hardware, wanted, section.capture_timeout_s)
    stage = TwinStage(world, opened.live, opened.fps, opened.frame_count, hardware)
    return Opened(stack.enter_context(twin), stage)
