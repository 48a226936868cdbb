"""The daemon through the real firmware: whole scenes, faults, kills, a bad line; no event is lost or invented."""

import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from host.daemon import Limits
from host.outputs.claims import claim
from host.storage import FILE_NAME, open_storage
from host.twin.player import TwinError
from models.detector.runtime import FaceDetector
from optics.bundle import Bundle, bundle_to_bytes, default_bundle_path, read_bundle
from tests.host.sensing import (
    AFTER_FRAMES,
    EMPTY_FRAMES,
    FPS,
    FRAMES,
    PRESENT_FRAMES,
    Running,
    board_missing,
    make_room,
)

pytestmark = pytest.mark.skipif(bool(board_missing()), reason=f"no board program: {board_missing()}")

OCCUPANCY = ("arrived", "left", "count_changed")


@pytest.fixture(scope="module")
def room(tmp_path_factory) -> Path:
    return make_room(tmp_path_factory.mktemp("scene") / "room")


@pytest.fixture(scope="module")
def whole(room, tmp_path_factory):
    """One uninterrupted run of the whole scene, to compare with."""
    with Running(room, tmp_path_factory.mktemp("state")) as running:
        memory = running.finish()
    assert running.summary is not None
    return memory


def test_every_frame_is_measured_once_in_order(whole):
    assert [m["sequence"] for m in whole.measurements] == list(range(FRAMES))
    assert [m["provenance"]["frame"] for m in whole.measurements] == list(range(FRAMES))
    assert np.allclose([m["time"] for m in whole.measurements], np.arange(FRAMES) / FPS)
    assert whole.summary.why_stopped == "end of the scene"
    assert (whole.summary.measurements, whole.summary.frames, whole.summary.unmeasured) == (FRAMES, FRAMES, 0)


def test_somebody_without_a_face_arrives_and_leaves(whole):
    events = [event for event in whole.events if event["event"] in OCCUPANCY]
    assert [event["event"] for event in events] == ["arrived", "left"]
    arrived, left = events
    # Hold times are 1 s and 3 s; smoothing and evidence take a few frames more.
    came, went = EMPTY_FRAMES / FPS, (EMPTY_FRAMES + PRESENT_FRAMES) / FPS
    assert came + 1.0 <= arrived["time"] <= came + 2.5
    assert went + 3.0 <= left["time"] <= went + AFTER_FRAMES / FPS
    assert not any(m["occupied"] for m in whole.measurements[:EMPTY_FRAMES])
    inside = whole.measurements[EMPTY_FRAMES + FPS : EMPTY_FRAMES + PRESENT_FRAMES]
    assert all(m["occupied"] for m in inside)


def test_provenance_is_complete_and_claims_nothing(whole):
    provenance = whole.measurements[-1]["provenance"]
    bundle = read_bundle(default_bundle_path())
    assert provenance["capture_path"] == "twin"
    assert provenance["encoding_id"] == bundle.encoding.id
    assert provenance["steps"] == dict.fromkeys(("convolution", "pooling", "thresholds"), "simulated")
    assert "protects nobody" in claim(provenance["steps"])
    assert len(provenance["thresholds_digest"]) == 8
    assert provenance["board_serial"].startswith("TWIN")
    started = next(event for event in whole.events if event["event"] == "started")
    assert started["effective_levels"] == bundle.encoding.effective_levels
    assert whole.states() == ["verifying", "sensing"]
    assert all(m["latency_ms"] >= 0 for m in whole.measurements)


def test_events_are_in_the_database_as_told(room, tmp_path):
    with Running(room, tmp_path) as running:
        memory = running.finish()
    with open_storage(tmp_path) as storage:
        stored = storage.events()
    assert [event.kind for event in stored] == [event["event"] for event in memory.events]


def test_a_step_in_light_is_neither_blindness_nor_a_person(room, tmp_path):
    with Running(room, tmp_path, Limits(measurements=EMPTY_FRAMES), **{"capture.light": [[2.5, 0.5]]}) as running:
        memory = running.finish()
    assert memory.kinds(*OCCUPANCY) == []
    assert memory.states() == ["verifying", "sensing"]


def test_a_second_scene_does_not_inherit_frames_or_events(room, tmp_path):
    for _ in range(2):
        with Running(room, tmp_path) as running:
            memory = running.finish()
        assert len(memory.measurements) == FRAMES
        assert memory.kinds(*OCCUPANCY) == ["arrived", "left"]
    with open_storage(tmp_path) as storage:
        assert [e.kind for e in storage.events() if e.kind in OCCUPANCY] == ["arrived", "left"] * 2


def test_kill_9_of_the_board_loses_no_frame_and_no_event(room, tmp_path, whole):
    with Running(room, tmp_path) as running:
        running.until(lambda: running.source is not None)
        twin = running.source.twin
        for kill, fraction in enumerate((0.2, 0.5, 0.8)):
            running.until(lambda at=fraction: len(running.memory.measurements) > at * FRAMES)
            running.until(lambda kills=kill: twin.status.board_restarts == kills and twin.status.board_pid is not None)
            os.kill(twin.status.board_pid, signal.SIGKILL)
            running.until(lambda kills=kill: twin.status.board_restarts > kills)
        memory = running.finish()
    assert [m["sequence"] for m in memory.measurements] == list(range(FRAMES))
    assert [m["provenance"]["frame"] for m in memory.measurements] == list(range(FRAMES))
    found, expected = ([e for e in one.events if e["event"] in OCCUPANCY] for one in (memory, whole))
    assert [event["event"] for event in found] == [event["event"] for event in expected]
    # How late the exposure lands differs between runs, and with it the frame in which somebody is seen first.
    assert np.allclose([event["time"] for event in found], [event["time"] for event in expected], atol=0.5)
    assert "blind" in memory.states()
    assert memory.states()[-1] == "sensing"
    assert len({m["provenance"]["boot_id"] for m in memory.measurements}) == 4


def test_one_percent_of_corrupted_bytes_costs_time_and_nothing_else(room, tmp_path):
    frames = 40
    with Running(room, tmp_path, Limits(measurements=frames)) as running:
        running.control("corrupt rx 0.01")
        running.control("corrupt tx 0.01")
        memory = running.finish(120)
    assert [m["provenance"]["frame"] for m in memory.measurements] == list(range(frames))
    assert memory.kinds(*OCCUPANCY) == []
    assert memory.summary.why_stopped == "as many measurements as asked for"


def test_drift_blinds_until_somebody_acts(room, tmp_path):
    from host.commands.board import clear

    with Running(room, tmp_path) as running:
        running.until(lambda: len(running.memory.measurements) > 10)
        running.control("drift 3 0.1")
        running.until(lambda: running.memory.state == "blind")
        standing = running.memory.standings[-1]
        assert "DAC channel" in standing.reason
        assert "channel 3" in standing.reason
        measured = len(running.memory.measurements)
        running.control("clear")  # the cause is gone, but the reason is latched
        time.sleep(2.5)
        assert len(running.memory.measurements) == measured
        assert running.memory.state == "blind"
        assert clear(running.source.port) == 0
        running.until(lambda: running.memory.state == "sensing")
        memory = running.finish()
    assert memory.kinds("operator_acted") == ["operator_acted"]
    assert [m["sequence"] for m in memory.measurements] == list(range(len(memory.measurements)))
    blind = next(e for e in memory.events if e["event"] == "state" and e["to"] == "blind")
    assert blind["latched"] is True


@pytest.mark.parametrize("fault", ["stick 4 high", "drift 2 0.3"])
def test_broken_hardware_ends_a_run_that_nobody_watches(room, tmp_path, fault):
    with Running(room, tmp_path, Limits(stay_blind=False)) as running:
        running.until(lambda: len(running.memory.measurements) > 10)
        running.control(fault)
        memory = running.finish()
    assert memory.summary.state == "blind"
    assert memory.summary.why_stopped == "blind, and nobody here to act"
    assert memory.states()[-1] == "blind"


def test_a_brown_out_mends_itself(room, tmp_path):
    with Running(room, tmp_path) as running:
        running.until(lambda: len(running.memory.measurements) > 10)
        running.control("supply 2500")
        running.until(lambda: running.memory.state == "blind")
        measured = len(running.memory.measurements)
        time.sleep(0.5)
        assert len(running.memory.measurements) == measured
        running.control("supply 3300")
        memory = running.finish()
    assert [m["provenance"]["frame"] for m in memory.measurements] == list(range(FRAMES))
    assert memory.states() == ["verifying", "sensing", "blind", "sensing"]
    assert (
        memory.events[memory.events.index(next(e for e in memory.events if e.get("to") == "blind"))]["latched"] is False
    )


def test_a_board_that_fails_its_self_test_never_measures(room, tmp_path):
    with Running(room, tmp_path, Limits(measurements=5)) as running:
        running.until(lambda: running.source is not None)
        running.control("stick 6 low")
        if running.memory.state != "blind":
            running.control("reset")
        running.until(lambda: running.memory.state == "blind" and running.memory.standings[-1].reason)
        measured = len(running.memory.measurements)
        running.until(lambda: "6" in (running.memory.standings[-1].reason or ""))
        running.control("clear")
        time.sleep(0.3)
        assert len(running.memory.measurements) == measured


def test_a_damaged_bundle_blinds_from_the_start(room, tmp_path):
    content = bytearray(default_bundle_path().read_bytes())
    content[len(content) // 2] ^= 0xFF
    damaged = tmp_path / "damaged.canopic"
    damaged.write_bytes(content)
    with Running(room, tmp_path / "state", Limits(stay_blind=False), bundle=str(damaged)) as running:
        memory = running.finish()
    assert memory.measurements == []
    assert memory.summary.state == "blind"
    assert "damaged" in memory.summary.reason
    assert memory.states() == ["blind"]


def test_a_detector_for_another_sensor_blinds_from_the_start(room, tmp_path):
    bundle = read_bundle(default_bundle_path())
    other = Bundle(bundle.encoding, 240, 320, bundle.models, bundle.metadata)
    path = tmp_path / "other.canopic"
    path.write_bytes(bundle_to_bytes(other))
    with Running(room, tmp_path / "state", Limits(stay_blind=False), bundle=str(path)) as running:
        memory = running.finish()
    assert memory.measurements == []
    assert "detector takes codes of shape (60, 80, 3)" in memory.summary.reason


def test_unusable_measurements_do_not_end_the_daemon(room, tmp_path, monkeypatch):
    calls = [0]
    real = FaceDetector.detect

    def sometimes(self, codes):
        calls[0] += 1
        if calls[0] in (5, 6, 7) or 20 <= calls[0] < 32:
            raise ValueError("injected")
        return real(self, codes)

    monkeypatch.setattr(FaceDetector, "detect", sometimes)
    with Running(room, tmp_path, Limits(measurements=40)) as running:
        memory = running.finish()
    assert [m["sequence"] for m in memory.measurements] == list(range(40))
    assert memory.kinds("bad_measurement")[0] == "bad_measurement"
    assert "blind" in memory.states()
    assert memory.states()[-1] == "sensing"


def test_counting_goes_on_without_a_disk(room, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    with Running(room, blocked / "state", Limits(measurements=30)) as running:
        memory = running.finish()
    assert len(memory.measurements) == 30
    assert any(standing.storage_problem for standing in memory.standings)
    assert "storage" in memory.kinds("storage")


def test_a_damaged_database_is_moved_aside_and_said(room, tmp_path):
    (tmp_path / FILE_NAME).write_bytes(b"not a database at all" * 300)
    with Running(room, tmp_path, Limits(measurements=5)) as running:
        memory = running.finish()
    (event,) = [event for event in memory.events if event["event"] == "storage"]
    assert "moved to canopic.sqlite3.corrupt-" in event["message"]
    assert len(memory.measurements) == 5


def test_a_port_that_does_not_exist_yet_is_waited_for(room, tmp_path):
    port = str(tmp_path / "port")
    overrides = {"capture.path": "board", "capture.port": port}
    with Running(room, tmp_path / "state", Limits(measurements=5), **overrides) as running:
        running.until(lambda: running.memory.state == "blind")
        from host.twin.player import Twin

        with Twin(str(room), pace="fast", pty=port):
            memory = running.finish()
    assert len(memory.measurements) == 5
    # A simulated board on a port is still simulated.
    assert memory.measurements[0]["provenance"]["capture_path"] == "twin"
    assert memory.states() == ["verifying", "blind", "sensing"]


def test_a_twin_that_does_not_answer_blinds_and_is_asked_again(room, tmp_path):
    with Running(room, tmp_path) as running:
        running.until(lambda: len(running.memory.measurements) > 10)
        twin = running.source.twin
        rewind, refused = twin.rewind, []

        def once_deaf(index, timeout_s=10.0):
            if not refused:
                refused.append(index)
                raise TwinError("the twin did not answer")
            return rewind(index, timeout_s)

        twin.rewind = once_deaf
        os.kill(twin.status.board_pid, signal.SIGKILL)
        memory = running.finish()
    assert refused
    assert [m["provenance"]["frame"] for m in memory.measurements] == list(range(FRAMES))
    assert any(event.get("kind") == "twin" for event in memory.events)
