"""Rigs: the camera, its lights and its mask opened together, and let go of together."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from host.boundary.devices import open_first_pins, wanted_of
from host.boundary.rig import PointLight, Rig
from host.boundary.sandbox import Early
from host.calibrate.procedure import Setup
from host.camera.about import CameraWanted
from host.camera.device import open_picamera2
from host.camera.driver import Camera
from host.camera.errors import CameraUnsuitable
from host.config import Camera as CameraSection
from host.config import Gpio, Mask
from host.mask.display import open_display
from host.mask.slm import Slm
from host.twin.bench import Bench
from host.twin.picamera import twin_camera


@contextmanager
def twin_rig(bench: Bench) -> Iterator[Rig]:
    """The rig of a bench that simulates a camera: the real driver in front of the camera's twin.

    Options of the bench's camera that its driver has to ask for ("hflip", "vflip") are asked for; all others are the
    twin's. Raises ValueError for a bench without light (a board's), CameraError where the twin is told to fail.
    """
    if bench.world is None:
        raise ValueError(f"the bench of `calibrate {bench.kind}` has no camera")
    options = dict(bench.camera_options)
    hflip, vflip = (bool(options.pop(name, False)) for name in ("hflip", "vflip"))
    wanted = CameraWanted(bench.world.rows_px, bench.world.columns_px, hflip=hflip, vflip=vflip)
    with Camera(twin_camera(bench.world, bench.sensor, **options), wanted) as camera:
        yield Rig(camera, bench.light, bench.arrange, slm=bench.slm)


@contextmanager
def real_rig(
    camera: CameraSection, gpio: Gpio, mask: Mask, rows_px: int, columns_px: int, held: Early
) -> Iterator[Rig]:
    """The rig of this computer, from the sections of its configuration; its planes have rows_px x columns_px at least.

    held: what this process may still do (host.boundary.sandbox.before_devices). A person arranges the bench, so
    `arrange` does nothing, and without a pin a person switches the light. Raises CameraError, GpioError or SlmError.
    """
    if camera.device == "twin":
        raise CameraUnsuitable("camera.device is twin: calibrate a twin with --path twin")
    with ExitStack() as stack:
        pins = open_first_pins(gpio, ("source_pin", "cover_pin"), held)
        light: PointLight = _ByHand()
        if pins is not None:
            stack.callback(pins.close)
            light = pins.source if gpio.source_pin is not None else light
        slm = None
        if mask.kind == "slm":
            slm = stack.enter_context(Slm(open_display(mask.slm_display), settle_s=mask.slm_settle_ms / 1000))
        opened = Camera(open_picamera2, wanted_of(camera, rows_px, columns_px), camera.capture_timeout_s)
        yield Rig(
            stack.enter_context(opened),
            light,
            _by_hand,
            cover_is_on=(lambda: None) if pins is None else pins.cover_is_on,
            slm=slm,
        )


class _ByHand:
    """A light without a pin: whoever is at the bench switches it."""

    def set(self, on: bool) -> None:
        """Nothing: the step asks for it."""


def _by_hand(_setup: Setup) -> None:
    """Nothing: the step asks for it."""
