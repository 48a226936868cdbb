"""Every fault of the camera is met with its own error in bounded time, and a fresh camera works once it is gone."""

import subprocess
import sys
import threading
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from host.camera import driver
from host.camera.about import CameraWanted
from host.camera.driver import Camera
from host.camera.errors import (
    CameraBusy,
    CameraError,
    CameraHung,
    CameraLost,
    CameraMissing,
    CameraUnsuitable,
    ControlsIgnored,
)
from host.twin.picamera import twin_camera
from host.twin.picamera_hardware import FAULTS, TwinHardware
from tests.host.camera.worlds import COLUMNS, QUIET, ROWS, flat, ramp

WANTED = CameraWanted(ROWS, COLUMNS)
AT_OPENING = {
    "unplugged": CameraMissing, "none": CameraMissing, "busy": CameraBusy, "wrong_format": CameraUnsuitable,
    "wrong_size": CameraUnsuitable,
}  # fmt: skip
WHILE_RUNNING = {"hang": CameraHung, "unplugged": CameraHung, "lost": CameraLost, "controls_ignored": ControlsIgnored}
HARMLESS = {"late_controls", "dropped_frames", "busy", "none", "wrong_format", "wrong_size", "stuck_close"}


def _works(hardware: TwinHardware) -> None:
    with Camera(hardware, WANTED) as camera:
        camera.set_exposure(5_000, 2)
        assert camera.capture(lambda mosaic, about: (float(mosaic.mean()) > 64, about.gain)) == (True, 2)
    assert hardware.holder is None


def test_every_fault_is_tested_here() -> None:
    assert set(FAULTS) == set(AT_OPENING) | set(WHILE_RUNNING) | HARMLESS | {"stuck"}


@pytest.mark.parametrize("fault", sorted(AT_OPENING))
def test_faults_at_opening(fault: str) -> None:
    hardware = twin_camera(ramp(), QUIET, fault=fault)
    camera = Camera(hardware, WANTED)
    with pytest.raises(AT_OPENING[fault]):
        camera.open()
    camera.close()
    assert hardware.holder is None, "what was opened on the way is given back"
    hardware.fault = None
    _works(hardware)


@pytest.mark.parametrize("fault", sorted(WHILE_RUNNING))
def test_faults_while_running(fault: str) -> None:
    hardware = twin_camera(ramp(), QUIET)
    with Camera(hardware, WANTED) as camera:
        camera.capture(lambda _mosaic, _about: None)
        hardware.fault = fault
        camera.set_exposure(3_000, 1)
        seen: list[Any] = []
        with pytest.raises(WHILE_RUNNING[fault]):
            camera.capture(lambda mosaic, _about: seen.append(mosaic))
        assert not seen, "nothing is handed out"
        assert not camera._mosaic.any()
    hardware.fault = None
    assert hardware.holder is None
    _works(hardware)


@pytest.mark.parametrize("fault", sorted(HARMLESS))
def test_faults_that_frames_get_through(fault: str) -> None:
    hardware = twin_camera(ramp(), QUIET)
    with Camera(hardware, WANTED) as camera:
        hardware.fault = fault
        camera.set_exposure(3_000, 4)
        about = camera.capture(lambda _mosaic, about: about)
        assert about.gain == pytest.approx(4)
        assert about.exposure_us == pytest.approx(3_000, rel=0.03)
        hardware.fault = None
    _works(hardware)


@pytest.mark.parametrize("fault", ["hang", "lost"])
def test_a_camera_that_was_given_up_stays_so(fault: str) -> None:
    hardware = twin_camera(ramp(), QUIET)
    with Camera(hardware, WANTED) as camera:
        hardware.fault = fault
        with pytest.raises(CameraError) as first:
            camera.capture(lambda _mosaic, _about: None)
        hardware.fault = None
        for call in (lambda: camera.capture(lambda _mosaic, _about: None), lambda: camera.set_exposure(1e4, 1)):
            with pytest.raises(type(first.value), match="new process"):
                call()


def test_ignored_controls_are_asked_for_again() -> None:
    hardware = twin_camera(flat(0.2, 0.2, 0.2), QUIET)
    with Camera(hardware, WANTED) as camera:
        hardware.fault = "controls_ignored"
        camera.set_exposure(3_000, 4)
        for _ in range(2):
            with pytest.raises(ControlsIgnored, match=r"3000 us at gain 4\.00 .* still gives 19981 us at gain 2\.00"):
                camera.capture(lambda _mosaic, _about: None)
        hardware.fault = None
        assert camera.capture(lambda _mosaic, about: about.gain) == 4


def test_a_control_that_is_lost_later_is_noticed() -> None:
    hardware = twin_camera(ramp(), QUIET)
    with Camera(hardware, WANTED) as camera:
        camera.capture(lambda _mosaic, _about: None)
        hardware.holder.set_controls({"AnalogueGain": 3.0})  # by somebody else
        gains: list[float] = []

        def run_on() -> None:
            while len(gains) <= hardware.latency_frames:
                gains.append(camera.capture(lambda _mosaic, about: about.gain))

        with pytest.raises(ControlsIgnored, match=r"gain 1\.00 were asked for.* gain 2\.98"):
            run_on()
        assert set(gains) == {1}, "none of them was handed out"
        assert camera.capture(lambda _mosaic, about: about.gain) == 1


def test_long_exposures_that_are_ignored_are_no_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    # With the time for the capture over before SETTLE_FRAMES have come: they did come.
    monkeypatch.setattr(driver, "SETTLE_FRAMES", 10**6)
    hardware = twin_camera(ramp(), QUIET)
    with Camera(hardware, WANTED, capture_timeout_s=0.2) as camera:
        hardware.fault = "controls_ignored"
        camera.set_exposure(3_000, 4)
        with pytest.raises(ControlsIgnored):
            camera.capture(lambda _mosaic, _about: None)


def test_a_call_that_never_comes_back_costs_the_camera_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "GRACE_S", 0.05)
    hardware = twin_camera(ramp(), QUIET)
    camera = Camera(hardware, WANTED, capture_timeout_s=0.05)
    camera.open()
    hardware.fault = "stuck"
    with pytest.raises(CameraHung, match="capturing a frame did not come back"):
        camera.capture(lambda _mosaic, _about: None)
    with pytest.raises(CameraHung):
        camera.capture(lambda _mosaic, _about: None)
    camera.close()
    with pytest.raises(CameraBusy):
        Camera(hardware, WANTED).open()
    # The process that has it ends; the thread that is left behind is no part of the next one.
    hardware.new_process()
    hardware.fault = None
    _works(hardware)


def test_a_call_that_comes_back_late_gives_the_camera_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "GRACE_S", 0.05)
    for close_first in (True, False):
        hardware = twin_camera(ramp(), QUIET)
        camera = Camera(hardware, WANTED, capture_timeout_s=0.05)
        before = set(threading.enumerate())
        camera.open()
        (thread,) = set(threading.enumerate()) - before
        hardware.fault = "stuck"
        with pytest.raises(CameraHung):
            camera.capture(lambda _mosaic, _about: None)
        if close_first:
            camera.close()
        hardware.fault = None
        if not close_first:
            _wait_until_back(camera)
            camera.close()
        thread.join(10)
        assert not thread.is_alive()
        assert hardware.holder is None
        assert not camera._mosaic.any()
        _works(hardware)


def _wait_until_back(camera: Camera) -> None:
    attendant = camera._attendant
    assert attendant is not None
    pause = threading.Event()
    for _ in range(1000):
        if not attendant.stuck:
            return
        pause.wait(0.01)
    raise AssertionError("the call never came back")


def test_closing_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "CLOSE_S", 0.05)
    hardware = twin_camera(ramp(), QUIET)
    camera = Camera(hardware, WANTED)
    camera.open()
    hardware.fault = "stuck_close"
    camera.close()
    assert hardware.holder is not None
    hardware.new_process()
    hardware.fault = None
    _works(hardware)


def test_opening_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "OPEN_S", 0.05)
    hardware, hold = twin_camera(ramp(), QUIET), threading.Event()

    def slow(number: int) -> Any:
        hold.wait()
        return hardware(number)

    camera = Camera(slow, WANTED)
    before = set(threading.enumerate())
    with pytest.raises(CameraHung, match="opening camera 0 did not come back"):
        camera.open()
    (thread,) = set(threading.enumerate()) - before
    camera.close()
    hold.set()
    thread.join(10)
    assert hardware.opened == 1
    assert hardware.holder is None, "what was opened too late is closed again"
    monkeypatch.undo()
    _works(hardware)


@pytest.mark.parametrize("fault", ["hang", "unplugged"])
def test_hangs_on_the_real_clock(fault: str) -> None:
    hardware = twin_camera(ramp(), QUIET, fps=200, pace="realtime")
    with Camera(hardware, WANTED, capture_timeout_s=0.2) as camera:
        camera.capture(lambda _mosaic, _about: None)
        hardware.fault = fault
        with pytest.raises(CameraHung):
            camera.capture(lambda _mosaic, _about: None)
    hardware.fault = None
    _works(hardware)


def test_the_job_of_a_capture_that_timed_out_is_taken_out_of_the_queue() -> None:
    hardware = twin_camera(ramp(), QUIET)
    with Camera(hardware, WANTED) as camera:
        hardware.fault = "hang"
        device = hardware.holder
        with pytest.raises(CameraHung):
            camera.capture(lambda _mosaic, _about: None)
        assert device._jobs == []


def test_a_program_whose_camera_hangs_can_end() -> None:
    code = """
from host.camera.driver import Camera
from host.camera.about import CameraWanted
from host.camera.errors import CameraHung
from host.twin.picamera import twin_camera
from tests.host.camera.worlds import QUIET, ramp
hardware = twin_camera(ramp(), QUIET)
camera = Camera(hardware, CameraWanted(4, 4), capture_timeout_s=0.05)
camera.open()
hardware.fault = "stuck"
try:
    camera.capture(lambda mosaic, about: None)
except CameraHung as error:
    print("hung")
camera.close()
hardware.fault = "stuck_close"
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "hung\n"


def test_latched_errors_are_those_that_a_person_has_to_mend() -> None:
    assert {kind.__name__ for kind in CameraError.__subclasses__() if kind.latched} == {
        "CameraMissing", "CameraUnsuitable"
    }  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from([None, *sorted(set(FAULTS) - {"stuck", "stuck_close"})]),
            st.sampled_from([1_000, 10_000, 60_000]),
            st.sampled_from([1.0, 2.0, 8.0]),
        ),
        max_size=12,
    )
)
def test_whatever_happens_a_frame_is_right_or_there_is_an_error(steps: list[tuple[str | None, int, float]]) -> None:
    light = 0.05
    hardware = twin_camera(flat(light, light, light), QUIET)
    camera = Camera(hardware, WANTED)
    for fault, exposure_us, gain in steps:
        hardware.fault = fault
        try:
            camera.open()
            camera.set_exposure(exposure_us, gain)
            mean, about = camera.capture(lambda mosaic, about: (float(mosaic.mean()), about))
        except CameraError:
            camera.close()
            camera = Camera(hardware, WANTED)
        else:
            assert (about.exposure_us, about.gain) == pytest.approx((exposure_us, gain), rel=0.04)
            assert mean == pytest.approx(64 + 959 * min(1, light * about.exposure_us * about.gain / 1e4), abs=0.6)
        assert not np.any(camera._mosaic)
    camera.close()
    hardware.fault = None
    assert hardware.holder is None
    _works(hardware)
