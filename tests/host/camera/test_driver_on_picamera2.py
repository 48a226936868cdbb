"""The driver on picamera2's own code, over a stand-in for libcamera: what the twin claims of picamera2 is so."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from calibration.bayer import planes
from host.camera.about import CameraWanted
from host.camera.device import open_picamera2
from host.camera.driver import Camera
from host.camera.errors import CameraBusy, CameraError, CameraHung, CameraLost, CameraMissing, ControlsIgnored
from host.twin.picamera import twin_camera
from host.twin.picamera_hardware import TwinHardware
from tests.host.camera.libcamera_standin import install
from tests.host.camera.worlds import COLUMNS, QUIET, ROWS, ramp

WANTED = CameraWanted(ROWS, COLUMNS)
pytestmark = pytest.mark.filterwarnings("ignore:setDaemon")


def _hardware(**options: Any) -> TwinHardware:
    return twin_camera(ramp(), QUIET, pace="realtime", **options)


@pytest.fixture
def hardware(request: pytest.FixtureRequest) -> Iterator[TwinHardware]:
    spec = importlib.util.find_spec("picamera2")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("picamera2 is not installed: `pip install --no-deps picamera2` (its Python code is enough)")
    source = Path(next(iter(spec.submodule_search_locations))).parent
    made = _hardware(**getattr(request, "param", {}))
    installed = install(made, source)
    next(installed)
    yield made
    made.fault = None
    next(installed, None)


@pytest.mark.parametrize("hardware", [{}, {"packing": "CSI2P"}, {"packing": "16", "bits": 12}], indirect=True)
def test_mosaics_come_through_picamera2_as_they_do_through_the_twin(hardware: TwinHardware) -> None:
    with Camera(open_picamera2, WANTED) as camera:
        identity = camera.identity
        assert camera.set_exposure(5_000, 2) == (5_000, 2)
        mosaic, about = camera.capture(lambda mosaic, about: (mosaic.copy(), about))
        assert not identity.simulated, "it says picamera2, and picamera2 it is"
    got = planes(mosaic, about.bayer, about.black_dn, about.white_dn) * 1e4 / (about.exposure_us * about.gain)
    np.testing.assert_allclose(got, ramp().planes, atol=1 / 900)
    assert hardware.holder is None
    twin = _hardware(packing=hardware.packing, bits=hardware.bits)
    with Camera(twin, WANTED) as camera:
        for name in ("model", "serial", "rows_px", "columns_px", "bayer", "bits", "packing", "pixel_um"):
            assert getattr(camera.identity, name) == getattr(identity, name), name


def test_flips_and_a_series_of_exposures(hardware: TwinHardware) -> None:
    with Camera(open_picamera2, CameraWanted(ROWS, COLUMNS, hflip=True, vflip=True)) as camera:
        assert camera.identity.bayer == "BGGR"
        for exposure_us, gain in ((2_000, 1.0), (4_000, 2.0), (1_000, 4.0)):
            camera.set_exposure(exposure_us, gain)
            light = camera.capture(
                lambda mosaic, about: (
                    planes(mosaic, about.bayer, about.black_dn, about.white_dn) / (about.exposure_us * about.gain)
                )
            )
            np.testing.assert_allclose(light * 1e4, ramp().planes[:, ::-1, ::-1], atol=1 / 350)
    assert hardware.holder is None


@pytest.mark.parametrize(
    ("fault", "kinds"),
    # An error while a frame is put back reaches whoever did that: the driver, or picamera2's thread, which ends of it.
    [("hang", (CameraHung,)), ("lost", (CameraLost, CameraHung)), ("controls_ignored", (ControlsIgnored,))],
)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_faults_while_running_and_recovery(
    hardware: TwinHardware, fault: str, kinds: tuple[type[CameraError], ...]
) -> None:
    with Camera(open_picamera2, WANTED, capture_timeout_s=1.0) as camera:
        camera.capture(lambda _mosaic, _about: None)
        hardware.fault = fault
        camera.set_exposure(3_000, 4)
        with pytest.raises(kinds):
            camera.capture(lambda _mosaic, _about: None)
        hardware.fault = None
    assert hardware.holder is None
    with Camera(open_picamera2, WANTED) as camera:
        camera.capture(lambda _mosaic, _about: None)


def test_busy_and_missing_are_understood(hardware: TwinHardware) -> None:
    hardware.fault = "busy"
    with pytest.raises(CameraBusy):
        Camera(open_picamera2, WANTED).open()
    hardware.fault = None
    with pytest.raises(CameraMissing):
        Camera(open_picamera2, CameraWanted(ROWS, COLUMNS, number=3)).open()
    with Camera(open_picamera2, WANTED) as camera:
        camera.capture(lambda _mosaic, _about: None)
