"""Rigs: the camera, its lights and its mask opened together, and let go of together."""

from collections.abc import Iterator
from contextlib import contextmanager

from host.boundary.rig import Rig
from host.camera.about import CameraWanted
from host.camera.driver import Camera
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
    asked = {name: bool(options.pop(name)) for name in ("hflip", "vflip") if name in options}
    wanted = CameraWanted(bench.world.rows_px, bench.world.columns_px, **asked)
    with Camera(twin_camera(bench.world, bench.sensor, **options), wanted) as camera:
        yield Rig(camera, bench.light, bench.arrange, slm=bench.slm)
