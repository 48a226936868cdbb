"""The camera twin behaves as picamera2 does, also where that is awkward: each of these has hung or misled somebody."""

import threading
from concurrent.futures import CancelledError
from typing import Any

import numpy as np
import pytest

from host.twin.picamera import TwinPicamera2, twin_camera
from host.twin.picamera_hardware import SENSORS, TwinHardware
from host.twin.picamera_parts import CompletedRequest, MappedArray, SensorFormat, Transform
from tests.host.camera.worlds import COLUMNS, QUIET, ROWS, Changing, flat, ramp

SIZE = (2 * COLUMNS, 2 * ROWS)


def _open(hardware: TwinHardware) -> TwinPicamera2:
    device: TwinPicamera2 = hardware(0)
    return device


def _started(hardware: TwinHardware, queue: bool = False, **controls: Any) -> TwinPicamera2:
    device = _open(hardware)
    raw = {"format": device.sensor_format, "size": SIZE}
    device.configure(device.create_video_configuration(raw=raw, buffer_count=4, queue=queue, controls=controls))
    device.start()
    return device


def test_no_camera_and_a_busy_one_are_said_as_picamera2_says_it() -> None:
    hardware = twin_camera(ramp(), QUIET)
    with pytest.raises(RuntimeError, match="No camera number 1 found"):
        hardware(1)
    first = _open(hardware)
    with pytest.raises(RuntimeError, match="__init__ sequence did not complete") as caught:
        _open(hardware)
    assert "Device or resource busy" in f"{caught.value.__cause__}"
    first.close()
    with _open(hardware) as second:
        assert second.is_open
    assert not second.is_open
    assert second.camera_properties == {}


def test_modes_are_found_by_configuring_each() -> None:
    device = _open(twin_camera(ramp(), QUIET))
    modes = device.sensor_modes
    assert device.configure_count == len(modes) == 4
    assert {(mode["size"], mode["bit_depth"]) for mode in modes} == {
        (size, bits) for size in (SIZE, (COLUMNS, ROWS)) for bits in (8, 10)
    }
    assert isinstance(modes[-1]["format"], SensorFormat)
    assert modes[-1]["unpacked"] == "SRGGB10"
    device.start()
    with pytest.raises(RuntimeError, match="must be stopped before configuring"):
        _ = device.sensor_modes


def test_a_configuration_is_adjusted_not_refused() -> None:
    device = _open(twin_camera(ramp(), QUIET, stride_align=64))
    asked = device.create_still_configuration(
        raw={"format": "SGBRG10", "size": (78, 46)}, transform=Transform(hflip=True)
    )
    device.configure(asked)
    got = device.camera_configuration()["raw"]
    assert got == {"format": "SGRBG10", "size": SIZE, "stride": 192, "framesize": 192 * SIZE[1]}
    assert asked["raw"]["size"] == (78, 46), "the caller's own is left alone"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"raw": {"format": "YUV420", "size": (8, 8)}}, "Unrecognised raw format"),
        ({"raw": {"format": "SRGGB10", "size": [8, 8]}}, r"should be \(width, height\)"),
        ({"raw": {"format": "SRGGB10", "size": (7, 8)}}, "should be even"),
        ({"raw": {"format": "SRGGB10"}}, "size not found"),
        ({"main": {"format": "SRGGB10", "size": (8, 8)}}, "Bad format"), ({"transform": None}, "Transform"),
        ({"sensor": {"bits": 10}}, "Unexpected keys"), ({"raw": 3}, "should be a dictionary"),
    ],
)  # fmt: skip
def test_wrong_configurations_are_refused_in_picamera2s_words(change: dict[str, Any], says: str) -> None:
    device = _open(twin_camera(ramp(), QUIET))
    with pytest.raises(RuntimeError, match=says):
        device.configure(device.create_video_configuration() | change)
    with pytest.raises(ValueError, match="Bad key 'width'"):
        device.create_video_configuration(raw={"width": 8})
    with pytest.raises(TypeError, match="Invalid type"):
        device.configure(7)


def test_controls_land_late_the_gain_first() -> None:
    device = _started(
        twin_camera(ramp(), QUIET, latency_frames=3, startup_frames=0), ExposureTime=10_000, AnalogueGain=1.0
    )
    device.capture_metadata()
    device.set_controls({"ExposureTime": 5_000, "AnalogueGain": 4.0})
    seen = [device.capture_metadata() for _ in range(5)]
    assert [round(one["ExposureTime"], -2) for one in seen] == [10_000, 10_000, 10_000, 5_000, 5_000]
    assert [one["AnalogueGain"] for one in seen] == [1, 1, 4, 4, 4]
    with pytest.raises(RuntimeError, match="Control Exposure is not advertised"):
        device.set_controls({"Exposure": 3})


def test_the_first_frames_are_dark_or_of_before() -> None:
    device = _started(twin_camera(flat(0.5, 0.5, 0.5), QUIET, startup_frames=2), ExposureTime=10_000, AnalogueGain=1.0)
    frames = []
    for _ in range(3):
        with device.captured_request() as request:
            mosaic = request.make_array("raw")[:, : 2 * SIZE[0]].view(np.uint16)
            frames.append((request.get_metadata()["ExposureTime"], float(mosaic.mean())))
    assert frames[0] == (9_981, 64.0), "no light, and metadata that hide it"
    assert frames[1][0] == 19_981, "awake, and not told yet"
    assert frames[2][0] == 9_981
    assert frames[2][1] == pytest.approx(64 + 959 * 0.49905, abs=0.6)


@pytest.mark.parametrize("model", sorted(SENSORS))
def test_exposures_are_whole_lines_and_gains_codes(model: str) -> None:
    chip = SENSORS[model]
    codes = np.array([chip.gain_of(code) for code in range(chip.codes + 1)])
    assert (np.diff(codes) > 0).all()
    for gain in np.geomspace(1.2, 9, 23):
        quantized = chip.quantized_gain(float(gain))
        assert quantized == codes[codes <= gain + 1e-9].max()
    for exposure_us in (500, 1_000, 33_333):
        assert exposure_us - chip.line_us - 1 <= chip.quantized_exposure_us(exposure_us) <= exposure_us
    assert SENSORS["imx219"].quantized_gain(2) == 2, "256 / (256 - 128)"


def test_raw_arrays_are_bytes_with_padding() -> None:
    device = _started(twin_camera(ramp(), QUIET, stride_align=256))
    array = device.capture_array("raw")
    assert array.dtype == np.uint8
    assert array.shape == (SIZE[1], 256)
    assert device.capture_buffer("raw").shape == (SIZE[1] * 256,)
    assert device.capture_array("main").shape == (720, 1280, 4)
    with pytest.raises(RuntimeError, match="'lores' is not defined"):
        device.capture_array("lores")


def test_a_mapped_array_is_the_cameras_memory() -> None:
    device = _started(twin_camera(ramp(), QUIET))
    with device.captured_request() as request:
        with MappedArray(request, "raw") as mapped:
            assert mapped.array is not None
            assert mapped.array.any()
            mapped.array.fill(0)
        assert mapped.array is None
        assert not request.make_buffer("raw").any()


def test_a_released_request_is_gone() -> None:
    device = _started(twin_camera(ramp(), QUIET))
    request = device.capture_request()
    request.acquire()
    request.release()
    assert request.get_metadata()
    request.release()
    with pytest.raises(AttributeError):
        request.get_metadata()
    with pytest.raises(RuntimeError, match="negative ref_count"):
        request.release()
    with pytest.raises(RuntimeError):
        request.make_buffer("raw")


def test_nothing_comes_once_all_buffers_are_held() -> None:
    device = _started(twin_camera(ramp(), QUIET))
    held: list[CompletedRequest] = [device.capture_request() for _ in range(4)]
    with pytest.raises(TimeoutError):
        device.capture_request(wait=1.0)
    device.cancel_all_and_flush()
    held.pop().release()
    device.capture_request(wait=1.0).release()


def test_a_capture_that_timed_out_swallows_the_next_frame() -> None:
    hardware = twin_camera(ramp(), QUIET)
    device = _started(hardware)
    hardware.fault = "hang"
    with pytest.raises(TimeoutError):
        device.capture_request(wait=0.5)
    hardware.fault = None
    for _ in range(3):
        device.capture_metadata()
    assert len(device._free) == 3, "one buffer is lost to the job that nobody waits for"


def test_a_wait_of_zero_does_not_wait_but_gives_a_job() -> None:
    device = _started(twin_camera(ramp(), QUIET))
    job = device.capture_request(wait=0)
    assert not isinstance(job, CompletedRequest)
    device.wait(job, timeout=1.0).release()
    done: list[Any] = []
    job = device.capture_metadata(signal_function=done.append)
    assert job.get_result()["SensorTimestamp"] > 0
    assert done == [job]


def _blocked(call: Any, release: Any) -> BaseException | None:
    """Start a call that is to block, see that it does, then release it; what it raised."""
    raised: list[BaseException | None] = []

    def run() -> None:
        try:
            call()
        except BaseException as error:  # noqa: BLE001 - it is what is asked for
            raised.append(error)
        else:
            raised.append(None)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(0.1)
    assert thread.is_alive(), "it was to block"
    release()
    thread.join(10)
    assert not thread.is_alive()
    return raised[0]


def test_without_a_time_out_a_capture_of_a_hung_camera_never_returns() -> None:
    hardware = twin_camera(ramp(), QUIET)
    device = _started(hardware)
    hardware.fault = "hang"
    error = _blocked(device.capture_request, device.cancel_all_and_flush)
    assert isinstance(error, CancelledError)
    device.close()


def test_stop_waits_behind_a_job_that_waits_for_a_frame() -> None:
    hardware = twin_camera(ramp(), QUIET)
    device = _started(hardware)
    hardware.fault = "hang"
    with pytest.raises(TimeoutError):
        device.capture_request(wait=0.5)
    assert isinstance(_blocked(device.stop, device.cancel_all_and_flush), CancelledError)
    device.close()
    assert hardware.holder is None


def test_a_queued_frame_is_an_old_one_and_flush_is_the_remedy() -> None:
    hardware = twin_camera(ramp(), QUIET)
    device = _started(hardware, queue=True)
    for _ in range(4):
        device.capture_metadata()
    device._turn()
    now_ns = hardware.clock_ns()
    assert device.capture_metadata()["SensorTimestamp"] < now_ns
    device._turn()
    with device.captured_request(flush=True) as request:
        metadata = request.get_metadata()
        assert metadata["SensorTimestamp"] - 1000 * metadata["ExposureTime"] >= now_ns


def test_drop_frames_and_long_exposures_take_their_time() -> None:
    hardware = twin_camera(ramp(), QUIET, startup_frames=0)
    limits = (33_333, 2_000_000)
    device = _started(hardware, ExposureTime=1_000_000, AnalogueGain=1.0, FrameDurationLimits=limits)
    start_ns = hardware.clock_ns()
    device.drop_frames(2)
    # Whoever dropped two waits for the third.
    assert hardware.clock_ns() - start_ns == pytest.approx(3e9, rel=0.2)


def test_light_is_that_of_the_exposure_row_by_row_with_a_rolling_shutter() -> None:
    step_s = 0.01
    hardware = twin_camera(
        Changing(lambda time_s: 0.5 * (time_s - 10), rows=32), QUIET, bits=16, black_dn=0, rolling_shutter_s=step_s
    )
    device = _open(hardware)
    raw = {"format": "SRGGB16", "size": (2 * COLUMNS, 64)}
    controls = {"ExposureTime": 10_000, "AnalogueGain": 1.0}
    device.configure(device.create_video_configuration(raw=raw, controls=controls))
    device.start()
    device.drop_frames(3)
    with device.captured_request() as request:
        rows = request.make_array("raw")[:, : 4 * COLUMNS].view(np.uint16).mean(axis=1)
        metadata = request.get_metadata()
    exposure_s = metadata["ExposureTime"] / 1e6
    start_s = metadata["SensorTimestamp"] / 1e9 - exposure_s
    when_s = start_s + exposure_s / 2 + step_s * (np.arange(64) + 0.5) / 64
    expected = 65535 * 0.5 * (when_s - 10) * metadata["ExposureTime"] / 1e4
    # Bands of four rows: within half a band's time, and a step of the converter.
    tolerance = 65535 * 0.5 * step_s * 2 / 64 + 1
    np.testing.assert_allclose(rows, expected, atol=tolerance)
    assert rows[-1] - rows[0] > 200


@pytest.mark.parametrize(
    "wrong",
    [{"model": "imx999"}, {"pace": "slow"}, {"fault": "gremlins"}, {"packing": "10"}, {"bayer": "RGBG"}, {"bits": 7},
     {"black_dn": 600}],
)  # fmt: skip
def test_an_impossible_camera_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"camera|mosaic|pace"):
        twin_camera(ramp(), QUIET, **wrong)


def test_a_seed_repeats_everything() -> None:
    from host.twin.sensor import SensorModel

    def frames(seed: int) -> np.ndarray:
        device = _started(twin_camera(ramp(), SensorModel(), seed))
        return np.stack([device.capture_array("raw") for _ in range(4)])

    np.testing.assert_array_equal(frames(3), frames(3))
    assert (frames(3) != frames(4)).any()
