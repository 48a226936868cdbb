"""What a camera was configured to is checked before a frame of it is believed."""

from typing import Any

import pytest

from host.camera.about import CameraWanted
from host.camera.errors import CameraMissing, CameraUnsuitable
from host.camera.modes import RawMode
from host.camera.setup import configuration, identity, layout, limits
from host.camera.unpack import raw_format
from host.twin.picamera import twin_camera
from host.twin.picamera_parts import Transform
from tests.host.camera.worlds import QUIET, ramp

MODE = RawMode((1640, 1232), 10, "SBGGR10", (0, 0, 3280, 2464), 41.85)
WANTED = CameraWanted(600, 800)
RAW = {"format": "SBGGR10", "size": (1640, 1232), "stride": 3328, "framesize": 3328 * 1232}


def _got(**changes: Any) -> dict[str, Any]:
    sensor = {"bit_depth": 10, "output_size": (1640, 1232)}
    return {"raw": RAW, "sensor": sensor, "transform": Transform()} | changes


def test_what_came_back_as_asked_is_accepted() -> None:
    assert layout(MODE, _got(), WANTED) == raw_format("SBGGR10")
    assert layout(MODE, _got(sensor=None), WANTED) == raw_format("SBGGR10"), "older ones do not say"
    packed = RAW | {"format": "SBGGR10_CSI2P", "stride": 2080}
    assert layout(MODE, _got(raw=packed), WANTED).packing == "csi2p"
    wide = layout(MODE, _got(raw=RAW | {"format": "SBGGR16"}), WANTED)
    assert (wide.packing, wide.bits, wide.shift) == ("16 bit", 10, 6)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"raw": None}, "no raw stream"),
        ({"raw": RAW | {"size": (640, 480)}}, "adjusted it to 640 x 480"),
        ({"raw": RAW | {"format": "SBGGR12"}}, "at 12 bit"),
        ({"raw": RAW | {"format": "SBGGR8"}}, "at 8 bit"),
        ({"raw": RAW | {"format": "BGGR_PISP_COMP1"}}, "compresses"),
        ({"raw": RAW | {"stride": 3200}}, "rows of 3200 bytes cannot hold 1640 samples"),
        ({"transform": Transform(hflip=True)}, "does not mirror"),
        ({"raw": RAW | {"format": "SBGGR16"}, "sensor": {"bit_depth": 12}}, "at 12 bit"),
    ],
)
def test_what_was_adjusted_is_refused(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(CameraUnsuitable, match=says):
        layout(MODE, _got(**changes), WANTED)


class _Device:
    """What picamera2 says of a camera."""

    def __init__(self, properties: dict[str, Any], info: list[dict[str, Any]]) -> None:
        self.camera_properties, self.info = properties, info

    def global_camera_info(self) -> list[dict[str, Any]]:
        return self.info


def test_the_pitch_of_the_samples_is_the_sensors_after_binning() -> None:
    device = _Device({"Model": "imx219", "UnitCellSize": (1120, 1120)}, [{"Id": "/base/i2c@1/imx219@10"}])
    about = identity(device, 0, MODE, raw_format("SBGGR10"))
    assert about.pixel_um == pytest.approx(2.24)
    assert (about.rows_px, about.columns_px, about.serial) == (1232, 1640, "/base/i2c@1/imx219@10")
    assert about.simulated, "it is not of picamera2"
    bare = identity(_Device({}, []), 0, MODE, raw_format("SBGGR10"))
    assert (bare.pixel_um, bare.model, bare.serial) == (None, "unknown", "")


def test_only_picamera2_itself_is_called_real() -> None:
    real = type("Picamera2", (_Device,), {"__module__": "picamera2.picamera2"})({}, [])
    about = identity(real, 0, MODE, raw_format("SBGGR10"))
    assert not about.simulated
    assert about.driver.startswith("picamera2")


def test_limits_of_controls() -> None:
    assert limits({"AnalogueGain": (1.0, 10.6, None)}, "AnalogueGain") == (1.0, 10.6)
    assert limits({"ExposureTime": (0, 66_666, 20_000)}, "ExposureTime") == (1.0, 66_666.0)
    assert limits({"ExposureTime": (75, 0, 20_000)}, "ExposureTime") == (75.0, 75.0), "no upper limit is none to trust"
    with pytest.raises(CameraUnsuitable, match="no control ExposureTime"):
        limits({}, "ExposureTime")


def test_a_picamera2_that_is_too_old_is_said_to_be() -> None:
    device = twin_camera(ramp(), QUIET)(0)
    make = device.create_video_configuration

    def old(**options: Any) -> Any:
        if "sensor" in options:
            raise TypeError("create_video_configuration() got an unexpected keyword argument 'sensor'")
        return make(**options)

    device.create_video_configuration = old
    with pytest.raises(CameraMissing, match=r"too old.*'sensor'.*full-upgrade"):
        configuration(device, MODE, WANTED)
    device.capture_request = lambda wait=None: wait
    with pytest.raises(CameraMissing, match=r"too old.*'flush'.*full-upgrade"):
        configuration(device, MODE, WANTED)
    device.close()
