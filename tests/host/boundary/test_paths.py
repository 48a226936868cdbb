"""Path camera on a running daemon: the whole scene measured, and each fault blinds it with its reason until mended."""

import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from host.causes import Cause
from host.config import Gpio
from host.daemon import Limits
from host.gpio.interlock import cover_cause
from host.gpio.pins import Pins
from host.outputs.claims import claim
from host.twin.gpio import TwinGpio
from host.twin.scene import open_scene
from optics.bundle import Bundle, default_bundle_path, read_bundle, write_bundle
from optics.encoding import Encoding, encode
from tests.host.sensing import FPS, Memory, Running, make_room

OCCUPANCY = ("arrived", "left")
CAMERA: dict[str, Any] = {"capture.path": "camera", "camera.device": "twin", "camera.capture_timeout_s": 1.0}
REAL: dict[str, Any] = {"capture.path": "camera"}


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_room(tmp_path_factory.mktemp("scene") / "room")


@pytest.fixture(scope="module")
def whole(room: Path, tmp_path_factory: pytest.TempPathFactory) -> Memory:
    with Running(room, tmp_path_factory.mktemp("state"), **CAMERA) as running:
        return running.finish()


def test_the_scene_is_measured_from_its_first_frame_on(whole: Memory) -> None:
    frames = [m["provenance"]["frame"] for m in whole.measurements]
    assert frames[0] == 0
    assert frames == sorted(set(frames))
    # A real camera loses the frames during which a new exposure lands, and so does its twin.
    assert len(frames) > 100
    assert np.allclose([m["time"] for m in whole.measurements], np.array(frames) / FPS)
    assert whole.summary is not None
    assert whole.summary.why_stopped == "end of the scene"
    assert whole.states() == ["verifying", "sensing"]


def test_somebody_arrives_and_leaves_as_through_a_board(whole: Memory) -> None:
    assert [event["event"] for event in whole.events if event["event"] in OCCUPANCY] == ["arrived", "left"]


def test_a_rehearsal_says_what_it_is(whole: Memory) -> None:
    provenance = whole.measurements[-1]["provenance"]
    assert provenance["capture_path"] == "twin"
    assert provenance["rehearsed_path"] == "camera"
    assert set(provenance["steps"].values()) == {"simulated"}
    assert "protects nobody" in claim(provenance["steps"], provenance["rehearsed_path"])
    started = next(event for event in whole.events if event["event"] == "started")
    assert started["capture_path"] == "twin"
    assert started["sandbox"]["seccomp"] or started["sandbox"]["landlock"]
    verified = next(event for event in whole.events if event["event"] == "verified")
    assert verified["camera"].startswith("imx219")
    assert verified["board_serial"] == verified["camera"]


def test_codes_are_the_encoders_but_for_noise(room: Path, whole: Memory) -> None:
    bundle = read_bundle(default_bundle_path())
    with open_scene(str(room)) as scene:
        radiance = next(iter(scene)).radiance
    at = next(m for m in whole.measurements if m["provenance"]["frame"] == 0)["provenance"]
    light = radiance * np.float32(at["exposure_us"] * at["gain"] / 10_000)
    wanted = encode(np.ascontiguousarray(light), bundle.encoding, threads=1)
    got = np.frombuffer(whole.codes[0], np.uint8).reshape(wanted.shape)
    # The maximum of 64 noisy pixels lies above the maximum of their light, by a code at most.
    off = got.astype(int) - wanted
    assert np.mean(off == 0) > 0.8
    assert np.mean(np.abs(off) <= 2) > 0.999


class Fault:
    """One way to break a rehearsal, and to mend it."""

    def __init__(self, name: str, kinds: tuple[str, ...]) -> None:
        self.name, self.kinds = name, kinds


FAULTS = [
    Fault("hang", ("camera_hung",)),
    Fault("unplugged", ("camera_hung", "camera_lost", "no_camera")),
    Fault("lost", ("camera_lost",)),
    Fault("controls_ignored", ("controls_ignored",)),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_blinds_and_mending_it_brings_the_sensor_back(fault: Fault, room: Path, tmp_path: Path) -> None:
    with Running(room, tmp_path, **{**CAMERA, "capture.pace": "realtime"}) as running:
        memory = running.memory
        running.until(lambda: len(memory.measurements) > 3)
        running.boundary.fault(fault.name)
        if fault.name == "controls_ignored":
            running.boundary.set_exposure(1000, 1.0)
        running.until(lambda: "blind" in memory.states())
        before = len(memory.measurements)
        cause = next(event for event in memory.events if event.get("to") == "blind")
        assert cause["kind"] in fault.kinds, cause
        assert cause["reason"]
        # It is tried again meanwhile, and measures nothing.
        time.sleep(0.5)
        assert len(memory.measurements) == before
        running.boundary.fault(None)
        running.until(lambda: memory.state == "sensing", 40)
        running.until(lambda: len(memory.measurements) > before + 3)
        frames = [m["provenance"]["frame"] for m in memory.measurements]
    assert frames == sorted(set(frames))  # no frame is measured twice, and none out of order
    assert len({m["provenance"]["boot_id"] for m in memory.measurements}) == 2


def test_a_killed_boundary_process_is_started_again(room: Path, tmp_path: Path) -> None:
    with Running(room, tmp_path, **CAMERA) as running:
        memory = running.memory
        running.until(lambda: len(memory.measurements) > 10)
        pid = running.boundary.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        running.until(lambda: "blind" in memory.states())
        cause = next(event for event in memory.events if event.get("to") == "blind")
        assert cause["kind"] == "boundary_died"
        assert "SIGKILL" in cause["reason"]
        assert not cause["latched"]
        finished = running.finish()
    frames = [m["provenance"]["frame"] for m in finished.measurements]
    assert frames == sorted(set(frames))
    assert finished.summary is not None
    assert finished.summary.why_stopped == "end of the scene"


def test_a_boundary_process_that_hangs_is_ended(room: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("host.boundary.client.GRACE_S", 0.5)
    with Running(room, tmp_path, **CAMERA) as running:
        memory = running.memory
        running.until(lambda: len(memory.measurements) > 10)
        pid = running.boundary.pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        running.until(lambda: "blind" in memory.states())
        cause = next(event for event in memory.events if event.get("to") == "blind")
        assert cause["kind"] == "boundary_hung"
        running.until(lambda: memory.state == "sensing")
        assert running.boundary.pid != pid
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_a_cover_blinds_at_once_and_taking_it_off_mends(room: Path, tmp_path: Path) -> None:
    gpio = TwinGpio()
    pins = Pins(gpio, Gpio(device="twin", cover_pin=17))
    gpio.drive(17, True)

    def cover(_identity: Any) -> Cause | None:
        return cover_cause(pins)

    with pins, Running(room, tmp_path, interlocks=[cover], **{**CAMERA, "capture.pace": "realtime"}) as running:
        memory = running.memory
        running.until(lambda: len(memory.measurements) > 3)
        gpio.drive(17, False)
        running.until(lambda: "blind" in memory.states())
        held = len(memory.measurements)
        assert memory.standings[-1].reason == "the lens cover is on"
        assert running.boundary.pid is None  # no process holds the camera, so nothing is measured
        gpio.drive(17, True)
        running.until(lambda: memory.state == "sensing")
        running.until(lambda: len(memory.measurements) > held + 2)


def test_another_bundle_at_the_same_place_is_refused(room: Path, tmp_path: Path) -> None:
    path = tmp_path / "own.canopic"
    bundle = read_bundle(default_bundle_path())
    write_bundle(bundle, path)
    with Running(room, tmp_path / "state", bundle=str(path), **CAMERA) as running:
        memory = running.memory
        running.until(lambda: len(memory.measurements) > 5)
        changed = Bundle(
            bundle.encoding, bundle.rows_px, bundle.columns_px, bundle.models, bundle.metadata, {"note": "another"}
        )
        write_bundle(changed, path)
        pid = running.boundary.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        running.until(lambda: any("has changed since" in str(standing.reason) for standing in memory.standings))
        assert memory.state == "blind"


def test_an_encoding_that_no_camera_can_be_is_refused_with_the_reason(
    room: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from host import sensor

    bundle = read_bundle(default_bundle_path())
    signed = Encoding(np.array([[[-0.2, 1.0]]], np.float32), bundle.encoding.thresholds)
    equipment = sensor.Equipment(default_bundle_path(), Bundle(signed), None)  # type: ignore[arg-type]
    monkeypatch.setattr(sensor, "load_equipment", lambda _config: equipment)
    with Running(room, tmp_path, Limits(stay_blind=False), **CAMERA) as running:
        memory = running.finish()
    assert memory.summary is not None
    assert memory.summary.state == "blind"
    assert "cannot take light away" in str(memory.summary.reason)


def test_without_picamera2_the_sensor_says_what_to_install(room: Path, tmp_path: Path) -> None:
    with Running(room, tmp_path, Limits(stay_blind=False), **REAL) as running:
        memory = running.finish()
    assert not memory.measurements
    cause = next(event for event in memory.events if event.get("to") == "blind")
    assert cause["kind"] == "no_camera"
    assert "python3-picamera2" in cause["reason"]
    assert "--camera twin" in cause["advice"]
