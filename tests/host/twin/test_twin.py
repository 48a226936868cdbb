"""The twin's process on a stand-in board that measures at once or is held: pace, losses, errors, ends."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from host.twin.frame import SceneError
from host.twin.player import Twin, TwinError, TwinKernelError, serve
from host.twin.spec import TwinSpec, spec_from_json, spec_to_json

from .support import until, write_pictures, write_small_bundle

FRAMES = 40


@pytest.fixture(autouse=True)
def _stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "board"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{Path(__file__).parent / "fake_board.py"}" "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("CANOPIC_BOARD", str(program))


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return write_small_bundle(tmp_path)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    return write_pictures(tmp_path, FRAMES)


@pytest.fixture
def twin(pictures: Path, bundle: Path) -> Iterator[Twin]:
    with Twin(str(pictures), bundle) as made:
        yield made


def _measured(twin: Twin) -> list[list]:
    return json.loads(twin.control("frames"))


def _played(twin: Twin) -> list[list]:
    until(lambda: twin.finished or twin.failure)
    assert twin.failure is None
    return _measured(twin)


def test_fast_pace_measures_every_frame_on_the_scenes_clock(twin: Twin) -> None:
    assert twin.frame_count == FRAMES
    assert twin.fps == 10
    assert twin.pty is not None
    assert twin.pty.is_symlink()
    frames = _played(twin)
    assert twin.frames == FRAMES
    assert [frame[0] for frame in frames] == list(range(FRAMES))
    assert [frame[1] for frame in frames] == [index * 100_000 for index in range(FRAMES)]
    assert all(frame[5] == [6, 8, 3] for frame in frames)
    volts = [frame[4] for frame in frames if frame[0] % 10 == 0]
    assert volts == sorted(volts)
    assert 0 < volts[0] < volts[-1] < 2.5
    status = twin.status
    assert (status.measured, status.dropped, status.resent, status.board_restarts) == (FRAMES, 0, 0, 0)
    assert set(status.stages_ms) == {"decode", "convolve", "noise", "pool", "send", "board"}
    assert status.peak_memory_bytes > 10_000_000


def test_fast_pace_waits_for_the_board(pictures: Path, bundle: Path) -> None:
    with Twin(str(pictures), bundle, loop=True) as twin:
        twin.control("hold")
        until(lambda: twin.control("pending") != "none")
        pending = int(twin.control("pending"))
        time.sleep(0.3)
        assert twin.control("pending") == str(pending)
        twin.control("go")
        until(lambda: len(_measured(twin)) > pending + FRAMES)
        frames = [frame[0] for frame in _measured(twin)]
        assert frames == list(range(len(frames)))


def test_fast_pace_offers_a_refused_frame_again(pictures: Path, bundle: Path) -> None:
    with Twin(str(pictures), bundle) as twin:
        twin.control("refuse 3")
        frames = _played(twin)
        assert [frame[0] for frame in frames] == list(range(FRAMES))
        assert twin.status.resent <= 3


def test_a_killed_board_comes_back_and_no_frame_is_skipped(pictures: Path, bundle: Path) -> None:
    with Twin(str(pictures), bundle, loop=True) as twin:
        until(lambda: len(_measured(twin)) > 5)
        twin.control("hold")
        until(lambda: twin.control("pending") != "none")
        pending = int(twin.control("pending"))
        before = _measured(twin)
        assert [frame[0] for frame in before] == list(range(pending))
        killed = twin.status.board_pid
        assert killed is not None
        os.kill(killed, signal.SIGKILL)
        until(lambda: twin.status.board_restarts == 1 and twin.status.board_pid not in (None, killed))
        until(lambda: len(_measured(twin)) > 5)
        after = _measured(twin)
        assert [frame[0] for frame in after] == list(range(pending, pending + len(after)))
        assert twin.status.resent >= 1


def test_rewind_offers_measured_frames_once_more(twin: Twin) -> None:
    first = _played(twin)
    assert twin.rewind(FRAMES - 5) == 5
    until(lambda: twin.finished)
    frames = _measured(twin)
    assert frames[:FRAMES] == first
    assert frames[FRAMES:] == first[-5:]
    assert twin.rewind(FRAMES) == 0
    until(lambda: twin.finished)
    assert twin.frames == FRAMES


def test_rewind_while_a_frame_is_pending_keeps_the_order(pictures: Path, bundle: Path) -> None:
    with Twin(str(pictures), bundle, loop=True) as twin:
        until(lambda: len(_measured(twin)) > 5)
        twin.control("hold")
        until(lambda: twin.control("pending") != "none")
        pending = int(twin.control("pending"))
        assert twin.rewind(pending - 3) == 3
        until(lambda: twin.control("pending") == str(pending - 3))
        twin.control("go")
        until(lambda: len(_measured(twin)) > pending + 10)
        order = [frame[0] for frame in _measured(twin)]
        assert order[:pending] == list(range(pending))
        assert order[pending:] == list(range(pending - 3, pending - 3 + len(order) - pending))


def test_an_exposure_command_lands_three_frames_late_and_stands_in_the_frame(pictures: Path, bundle: Path) -> None:
    with Twin(str(pictures), bundle, loop=True) as twin:
        until(lambda: len(_measured(twin)) > 5)
        twin.control("hold")
        until(lambda: twin.control("pending") != "none")
        pending = int(twin.control("pending"))
        twin.control("expose 5000 1500")
        time.sleep(0.2)
        twin.control("go")
        until(lambda: len(_measured(twin)) > pending + 10)
        settings = {frame[0]: (frame[2], frame[3]) for frame in _measured(twin)}
        assert all(settings[frame] == (10_000, 1000) for frame in range(pending + 3))
        assert all(settings[frame] == (5_000, 1500) for frame in range(pending + 3, pending + 10))


def test_realtime_pace_keeps_the_scenes_clock_and_drops_what_is_late(pictures: Path, bundle: Path) -> None:
    with Twin(str(pictures), bundle, pace="realtime", fps=50) as twin:
        until(lambda: len(_measured(twin)) >= 5)
        twin.control("hold")
        time.sleep(0.2)
        twin.control("go")
        until(lambda: twin.finished)
        assert twin.failure is None
        frames = _measured(twin)
        numbers = [frame[0] for frame in frames]
        assert numbers == sorted(set(numbers))
        assert len(numbers) < FRAMES
        assert twin.frames == FRAMES
        assert twin.status.dropped == FRAMES - len(numbers) == FRAMES - twin.status.measured
        assert [frame[1] for frame in frames] == [number * 20_000 for number in numbers]


def test_realtime_pace_starts_its_clock_with_the_first_measured_frame(pictures: Path, bundle: Path) -> None:
    with Twin(str(pictures), bundle, pace="realtime", fps=20, start_s=1.0) as twin:
        began_s = time.monotonic()
        until(lambda: twin.finished)
        assert time.monotonic() - began_s > 0.8
        numbers = [frame[0] for frame in _measured(twin)]
        assert numbers[0] == 20
        assert set(numbers) <= set(range(20, FRAMES))


def test_seeds_repeat_the_light_and_differ(pictures: Path, bundle: Path) -> None:
    means = []
    for seed in (3, 3, 4):
        with Twin(str(pictures), bundle, seed=seed) as twin:
            means.append([frame[4] for frame in _played(twin)])
    assert means[0] == means[1]
    assert means[0] != means[2]


def test_a_light_schedule_and_a_kernel_reach_the_board(tmp_path: Path, pictures: Path, bundle: Path) -> None:
    np.save(tmp_path / "half.npy", np.array([[0.5]], np.float32))
    with Twin(str(pictures), bundle, light=((2.0, 0.25),)) as twin:
        bright = {frame[0]: frame[4] for frame in _played(twin)}
    with Twin(str(pictures), bundle, kernel=str(tmp_path / "half.npy")) as twin:
        half = {frame[0]: frame[4] for frame in _played(twin)}
        assert twin.kernel is not None
        assert (twin.kernel.file, twin.kernel.light) == ("half.npy", (0.5, 0.5, 0.5))
    with Twin(str(pictures), bundle) as twin:
        plain = {frame[0]: frame[4] for frame in _played(twin)}
        assert twin.kernel is None
    assert bright[10] == plain[10]
    assert bright[30] == pytest.approx(plain[30] / 4, rel=0.1)
    # A single tap does not blur, so its maxima are somewhat more than half of the blurred ones.
    assert 0.5 * plain[30] < half[30] < 0.75 * plain[30]


def test_a_scene_that_stops_being_readable_is_an_error_with_a_clean_end(pictures: Path, bundle: Path) -> None:
    with Twin(str(pictures), bundle, pace="realtime", fps=20) as twin:
        (pictures / f"{FRAMES - 1:04d}.png").unlink()
        until(lambda: twin.failure is not None)
        assert f"{FRAMES - 1:04d}.png is gone" in str(twin.failure)
        assert not twin.finished
        # The board stays, so that what was measured can still be fetched.
        assert _measured(twin)[-1][0] == FRAMES - 2


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"bundle": "no/such.canopic"}, "no such bundle file"),
        ({"kernel": "no/such.npy"}, "no/such.npy is not a readable"),
    ],
)
def test_what_cannot_start_says_why(pictures: Path, bundle: Path, options: dict, says: str) -> None:
    error = TwinKernelError if "kernel" in options else TwinError
    with pytest.raises(error, match=says):
        Twin(str(pictures), **{"bundle": bundle, **options}).start()


def test_a_corrupt_scene_cannot_start(tmp_path: Path, bundle: Path) -> None:
    path = tmp_path / "noise.mp4"
    path.write_bytes(b"no video" * 1000)
    with pytest.raises(TwinError, match=r"noise\.mp4 is not a readable video"):
        Twin(str(path), bundle).start()


def test_a_board_that_does_not_start_says_so(pictures: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CANOPIC_BOARD", str(pictures / "0000.png"))
    with pytest.raises(TwinError, match="CANOPIC_BOARD names"):
        Twin(str(pictures), bundle).start()


def test_impossible_options_are_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(SceneError, match="no scene"):
        Twin(str(tmp_path / "absent.mp4"))
    with pytest.raises(ValueError, match="pace must be"):
        Twin("demo", pace="slow")
    with pytest.raises(ValueError, match="0 or more"):
        Twin("demo", noise_volts=-1.0)
    with pytest.raises(TypeError):
        Twin("demo", colour="red")


def test_a_refused_control_line_says_so(twin: Twin) -> None:
    with pytest.raises(TwinError, match="unknown"):
        twin.control("nonsense")


def test_a_closed_twin_takes_no_commands_and_leaves_nothing(twin: Twin) -> None:
    pid, board, pty = twin.pid, twin.status.board_pid, twin.pty
    assert pid is not None
    assert board is not None
    assert pty is not None
    twin.close()
    twin.close()
    assert twin.pid is None
    assert twin.failure is None
    assert not pty.parent.exists()
    for process in (pid, board):
        with pytest.raises(ProcessLookupError):
            os.kill(process, 0)
    with pytest.raises(TwinError, match="does not run"):
        twin.control("frames")


def test_a_terminated_process_ends_in_order_and_is_reported(twin: Twin) -> None:
    board = twin.status.board_pid
    assert twin.pid is not None
    assert board is not None
    os.kill(twin.pid, signal.SIGTERM)
    until(lambda: twin.failure is not None)
    assert "ended with status 0" in str(twin.failure)
    with pytest.raises(ProcessLookupError):
        os.kill(board, 0)


def test_the_twin_dies_with_its_parent(pictures: Path, bundle: Path) -> None:
    program = (
        "import signal; from host.twin.player import Twin\n"
        f"twin = Twin({str(pictures)!r}, {str(bundle)!r}, loop=True).start()\n"
        "print(twin.pid, twin.status.board_pid, flush=True); signal.pause()"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        parent.kill()
    assert len(pids) == 2
    until(lambda: not any(_runs(pid) for pid in pids))


def _runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_serve_is_a_camera_at_a_path_until_it_is_stopped(tmp_path: Path, pictures: Path, bundle: Path) -> None:
    pty, stop, seen = tmp_path / "port", threading.Event(), []

    def started(twin: Twin) -> None:
        seen.append(twin)
        until(lambda: len(_measured(twin)) > FRAMES)
        stop.set()

    serve(TwinSpec(str(pictures), str(bundle), loop=True, pty=str(pty)), started, stop)
    assert seen[0].pty == pty
    assert seen[0].pid is None


def test_serve_raises_when_the_scene_fails(pictures: Path, bundle: Path) -> None:
    def started(_: Twin) -> None:
        (pictures / "0010.png").unlink()

    with pytest.raises(TwinError, match=r"0010\.png is gone"):
        serve(TwinSpec(str(pictures), str(bundle), pace="realtime", loop=True), started, threading.Event())


def test_a_spec_survives_the_way_to_the_process() -> None:
    spec = TwinSpec("demo", light=((1.0, 0.5), (2.0, 2.0)), fps=5.0, kernel="k.npy", loop=True, seed=7)
    assert spec_from_json(spec_to_json(spec)) == spec


def test_memory_does_not_grow_with_the_scene(pictures: Path, bundle: Path) -> None:
    with Twin(str(pictures), bundle, loop=True) as twin:
        until(lambda: twin.status.measured > 200)
        early = twin.status.peak_memory_bytes
        until(lambda: twin.status.measured > 1500, 60)
        assert twin.status.peak_memory_bytes - early < 8_000_000
