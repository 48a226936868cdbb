"""The camera driver on the twin: what it hands out is what was asked for, said rightly, and wiped afterwards."""

import subprocess
import sys
import threading
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from calibration.bayer import planes
from host.board.deadline import Deadline
from host.camera.about import CameraWanted, Exposed
from host.camera.driver import Camera
from host.camera.errors import CameraHung, CameraLost, CameraUnsuitable
from host.twin.picamera import twin_camera
from host.twin.picamera_hardware import TwinHardware
from host.twin.sensor import SensorModel
from tests.host.camera.worlds import COLUMNS, QUIET, ROWS, Changing, flat, ramp

WANTED = CameraWanted(ROWS, COLUMNS)


def _kept(camera: Camera) -> tuple[NDArray[np.uint16], Exposed]:
    return camera.capture(lambda mosaic, about: (mosaic.copy(), about))


def _planes(camera: Camera) -> NDArray[np.floating[Any]]:
    """Colour planes of a capture, as radiance: 1.0 is full scale in 10 ms at gain 1."""
    mosaic, about = _kept(camera)
    return planes(mosaic, about.bayer, about.black_dn, about.white_dn) * 1e4 / (about.exposure_us * about.gain)


@pytest.mark.parametrize("bayer", ["RGGB", "BGGR", "GRBG", "GBRG"])
@pytest.mark.parametrize("flips", [(False, False), (True, False), (False, True), (True, True)])
def test_light_comes_through_in_its_place_and_colour(bayer: str, flips: tuple[bool, bool]) -> None:
    world = ramp()
    wanted = CameraWanted(ROWS, COLUMNS, hflip=flips[0], vflip=flips[1])
    with Camera(twin_camera(world, QUIET, bayer=bayer, bits=12, black_dn=256), wanted) as camera:
        got = _planes(camera)
    expected = world.planes[:, :: -1 if flips[1] else 1, :: -1 if flips[0] else 1]
    # Exposures are whole lines, and the metadata say so: what is left is rounding.
    np.testing.assert_allclose(got, expected, atol=1 / 3800)


@pytest.mark.parametrize(("packing", "name"), [(None, "unpacked"), ("CSI2P", "csi2p"), ("16", "16 bit")])
@pytest.mark.parametrize("stride_align", [32, 200])
@pytest.mark.parametrize("bits", [10, 12])
def test_every_way_of_storing_gives_the_same(packing: str | None, name: str, stride_align: int, bits: int) -> None:
    world = ramp(rows=23, columns=37)
    options: dict[str, Any] = {"bits": bits, "black_dn": 2.0 ** (bits - 4), "stride_align": stride_align}
    with Camera(twin_camera(world, QUIET, packing=packing, **options), CameraWanted(23, 37)) as camera:
        assert (camera.identity.packing, camera.identity.bits) == (name, bits)
        mosaic, about = _kept(camera)
        assert about.white_dn == 2**bits - 1
        assert about.black_dn == (2.0 ** (bits - 4),) * 4
    with Camera(twin_camera(world, QUIET, **options), CameraWanted(23, 37)) as camera:
        np.testing.assert_array_equal(mosaic, _kept(camera)[0])


def test_eight_bits_on_request() -> None:
    with Camera(twin_camera(flat(0.4, 0.4, 0.4), QUIET), CameraWanted(ROWS, COLUMNS, bits=8)) as camera:
        mosaic, about = _kept(camera)
        assert (camera.identity.bits, about.white_dn, about.black_dn) == (8, 255, (16.0,) * 4)
        assert int(np.median(mosaic)) == pytest.approx(16 + 0.4 * 239, abs=1.1)


def test_the_identity_says_what_it_is() -> None:
    with Camera(twin_camera(ramp(), QUIET, model="imx477", bits=12, bayer="BGGR"), WANTED) as camera:
        about = camera.identity
    assert (about.model, about.bayer, about.bits, about.pixel_um) == ("imx477", "BGGR", 12, 1.55)
    assert (about.rows_px, about.columns_px) == (2 * ROWS, 2 * COLUMNS)
    assert about.simulated, "a twin is never called optical"
    assert "imx477" in about.serial
    assert about.name.startswith("imx477 ")


def test_a_mode_that_covers_more_is_given_whole() -> None:
    with Camera(twin_camera(ramp(), QUIET), CameraWanted(10, 10)) as camera:
        assert (camera.identity.rows_px, camera.identity.columns_px) == (ROWS, COLUMNS)
        assert _kept(camera)[0].shape == (ROWS, COLUMNS)


@pytest.mark.parametrize("latency", [0, 1, 3, 8])
@pytest.mark.parametrize("startup", [0, 2])
def test_frames_have_what_was_asked_for_however_late_it_lands(latency: int, startup: int) -> None:
    hardware = twin_camera(flat(0.1, 0.1, 0.1), QUIET, latency_frames=latency, startup_frames=startup)
    with Camera(hardware, WANTED) as camera:
        for exposure_us, gain in ((10_000, 1.0), (40_000, 1.0), (500, 8.0), (5_000, 1.0), (5_000, 4.0)):
            asked = camera.set_exposure(exposure_us, gain)
            assert asked == (exposure_us, gain)
            mosaic, about = _kept(camera)
            assert about.exposure_us == pytest.approx(exposure_us, rel=0.04)
            assert about.gain == pytest.approx(gain, rel=0.04)
            expected = 64 + 959 * min(1.0, 0.1 * about.exposure_us * about.gain / 1e4)
            assert float(mosaic.mean()) == pytest.approx(expected, abs=0.6), "the light is of the same frame"


def test_what_a_sensor_cannot_do_is_clamped() -> None:
    with Camera(twin_camera(ramp(), QUIET), WANTED) as camera:
        (shortest, longest), (lowest, highest) = camera.exposure_limits
        assert camera.set_exposure(1, 0.01) == (shortest, lowest)
        assert camera.set_exposure(1e12, 1e6) == (longest, highest)
        assert camera.capture(lambda _mosaic, about: about.gain) == pytest.approx(highest)


@pytest.mark.parametrize("wrong", [(0, 1), (1000, 0), (float("nan"), 1), (1000, float("inf")), (-5, 1)])
def test_impossible_exposures_are_refused(wrong: tuple[float, float]) -> None:
    with Camera(twin_camera(ramp(), QUIET), WANTED) as camera:
        with pytest.raises(ValueError, match="above 0"):
            camera.set_exposure(*wrong)
        _kept(camera)


@pytest.mark.parametrize("exposure_us", [1_000, 33_000, 200_000])
def test_a_frame_that_had_begun_before_is_not_given(exposure_us: int) -> None:
    hardware = twin_camera(Changing(lambda time_s: 1e-4 * time_s), QUIET, bits=16, black_dn=4096)
    with Camera(hardware, WANTED) as camera:
        camera.set_exposure(exposure_us, 1)
        for _ in range(6):
            asked_s = hardware.clock_ns() / 1e9
            mosaic, about = _kept(camera)
            assert about.time_s >= asked_s
            middle_s = about.time_s + about.exposure_us / 2e6
            expected = 4096 + (65535 - 4096) * 1e-4 * middle_s * about.exposure_us / 1e4
            assert float(mosaic.mean()) == pytest.approx(expected, abs=1)


def test_long_exposures_have_the_time_that_they_take() -> None:
    with Camera(twin_camera(flat(0.001, 0.001, 0.001), QUIET), WANTED, capture_timeout_s=0.5) as camera:
        camera.set_exposure(2e6, 1)
        for _ in range(3):
            assert camera.capture(lambda _mosaic, about: about.exposure_us) == pytest.approx(2e6, rel=1e-3)
        camera.set_exposure(1e4, 1)
        assert camera.capture(lambda _mosaic, about: about.exposure_us) == pytest.approx(1e4, rel=0.01)


def test_of_a_scene_that_is_only_watched_no_frame_is_left_out() -> None:
    hardware = twin_camera(ramp(), QUIET)
    with Camera(hardware, WANTED) as camera:
        camera.set_exposure(33_000, 1)
        camera.capture(lambda _mosaic, _about: None)
        for begun_after, step in ((True, 2), (False, 1)):
            numbers = [camera.capture(lambda _mosaic, about: about.frame, begun_after=begun_after) for _ in range(5)]
            assert np.diff(numbers).tolist() == [step] * 4


def test_frames_are_counted_by_the_sensors_clock() -> None:
    hardware = twin_camera(ramp(), QUIET)
    with Camera(hardware, WANTED) as camera:
        numbers = [camera.capture(lambda _mosaic, about: about.frame) for _ in range(5)]
        assert np.diff(numbers).tolist() == [1] * 4
        hardware.fault = "dropped_frames"
        numbers = [camera.capture(lambda _mosaic, about: about.frame) for _ in range(6)]
        assert np.diff(numbers).tolist() == [3] * 5, "lost frames are counted"


def test_the_temperature_is_told_where_there_is_one() -> None:
    for model, celsius in (("imx477", 52.5), ("imx219", None)):
        with Camera(twin_camera(ramp(), QUIET, model=model, celsius=52.5), WANTED) as camera:
            assert camera.capture(lambda _mosaic, about: about.celsius) == celsius


def test_mosaic_and_buffer_are_wiped() -> None:
    hardware = twin_camera(ramp(), QUIET)
    with Camera(hardware, WANTED) as camera:
        kept = camera.capture(lambda mosaic, _about: mosaic)
        assert not kept.any(), "also for who kept it"

        def stumble(mosaic: NDArray[np.uint16], _about: Exposed) -> None:
            assert mosaic.any()
            stumbled.append(mosaic)
            raise KeyError("in the middle")

        stumbled: list[NDArray[np.uint16]] = []
        with pytest.raises(KeyError, match="in the middle"):
            camera.capture(stumble)
        assert not stumbled[0].any()
        buffers = hardware.holder._free
        assert len(buffers) == 4, "every buffer is back with the camera"
        assert not any(stream.any() for buffer in buffers for stream in buffer.bytes.values())
        assert _kept(camera)[0].any(), "and it goes on"


def test_many_captures_hold_no_buffer() -> None:
    hardware = twin_camera(ramp(), QUIET)
    with Camera(hardware, WANTED) as camera:
        for _ in range(50):
            camera.capture(lambda _mosaic, _about: None)
        assert len(hardware.holder._free) == 4


def test_one_capture_at_a_time() -> None:
    with Camera(twin_camera(ramp(), QUIET), WANTED) as camera:
        with pytest.raises(RuntimeError, match="one frame at a time"):
            camera.capture(lambda _mosaic, _about: camera.capture(lambda _m, _a: None))
        _kept(camera)


def test_closing_gives_the_camera_back_and_can_be_repeated() -> None:
    hardware = twin_camera(ramp(), QUIET)
    camera = Camera(hardware, WANTED)
    camera.close()
    camera.open()
    assert camera.open() == camera.identity, "opening twice changes nothing"
    camera.close()
    camera.close()
    assert hardware.holder is None
    with pytest.raises(CameraLost, match="no camera is open"):
        camera.capture(lambda _mosaic, _about: None)
    with pytest.raises(CameraLost, match="no camera is open"):
        _ = camera.identity
    with Camera(hardware, WANTED) as again:
        _kept(again)


def test_threads_end_with_the_camera() -> None:
    before = set(threading.enumerate())
    with Camera(twin_camera(ramp(), QUIET), WANTED) as camera:
        _kept(camera)
        (mine,) = set(threading.enumerate()) - before
    mine.join(10)
    assert not mine.is_alive()


def test_the_callers_deadline_holds_where_it_is_shorter() -> None:
    hardware = twin_camera(ramp(), QUIET)
    with Camera(hardware, WANTED, capture_timeout_s=60) as camera:
        camera.capture(lambda _mosaic, _about: None, Deadline(30, "stacking"))
        with pytest.raises(CameraHung, match="within the 0 s for stacking"):
            camera.capture(lambda _mosaic, _about: None, Deadline(0, "stacking"))
        hardware.fault = "hang"
        with pytest.raises(CameraHung, match="for stacking"):
            camera.capture(lambda _mosaic, _about: None, Deadline(0.2, "stacking"))
        hardware.fault = None
        _kept(camera)
        assert len(hardware.holder._free) == 4, "and the capture that was given up keeps no buffer"


def test_on_the_real_clock_too() -> None:
    hardware = twin_camera(ramp(), SensorModel(), fps=120, pace="realtime")
    with Camera(hardware, WANTED) as camera:
        camera.set_exposure(2_000, 2)
        first, second = (_kept(camera)[1] for _ in range(2))
        assert second.time_s > first.time_s
        assert second.gain == 2


def test_a_sensor_that_cannot_mirror_is_unsuitable(monkeypatch: pytest.MonkeyPatch) -> None:
    from host.twin import picamera_configuration as configuration

    adjust = configuration.adjust

    def upright(config: dict[str, Any], hardware: TwinHardware) -> None:
        config["transform"] = type(config["transform"])()
        adjust(config, hardware)

    monkeypatch.setattr(configuration, "adjust", upright)
    with (
        pytest.raises(CameraUnsuitable, match="does not mirror"),
        Camera(twin_camera(ramp(), QUIET), CameraWanted(ROWS, COLUMNS, hflip=True)),
    ):
        pass


def test_the_driver_knows_nothing_of_the_twin() -> None:
    code = (
        "import sys; import host.camera.driver, host.camera.device;"
        "print(sorted(name for name in sys.modules if name.startswith(('host.twin', 'picamera2', 'libcamera'))))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
