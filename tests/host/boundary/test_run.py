"""canopic run on the paths with a camera: what it prints, how it ends, and what is refused before anything starts."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.host.boundary.canary import descendants
from tests.host.sensing import make_room

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_room(tmp_path_factory.mktemp("scene") / "room", frames=40)


def canopic(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", "from host.cli import main; main()", "run", *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False)


def test_a_rehearsal_with_a_fault_that_is_mended(room: Path) -> None:
    options = ("--path", "camera", "--camera", "twin", "--scene", str(room), "--pace", "fast", "--json")
    done = canopic(*options, "--twin-fault", "lost@10+1")
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    blind = [line for line in lines if line.get("to") == "blind"]
    assert {line["kind"] for line in blind} == {"camera_lost"}
    assert lines[-1]["event"] == "stopped"
    assert lines[-1]["why_stopped"] == "end of the scene"
    frames = [line["provenance"]["frame"] for line in lines if line["type"] == "measurement"]
    # Frames during which another exposure lands are lost, as a real camera's are; none comes twice.
    assert frames[0] == 0
    assert frames == sorted(set(frames))
    assert max(frames) > 30
    # Between going blind and sensing again no measurement is told.
    kinds = [line.get("to", line["type"]) for line in lines]
    first, again = kinds.index("blind"), len(kinds) - 1 - kinds[::-1].index("sensing")
    assert "measurement" not in kinds[first:again]


def test_a_rehearsal_whose_camera_is_never_mended_ends_blind(room: Path) -> None:
    options = ("--path", "camera", "--camera", "twin", "--scene", str(room), "--pace", "fast", "--json")
    done = canopic(*options, "--twin-fault", "lost@5")
    assert done.returncode == 3, done.stderr
    last = json.loads(done.stdout.splitlines()[-1])
    assert last["state"] == "blind"
    assert last["why_stopped"] == "still blind after 3 tries, and nobody here to act"
    assert 0 < last["measurements"] < 40


def test_without_a_camera_it_ends_blind_with_what_to_do() -> None:
    done = canopic("--path", "camera", "--json")
    assert done.returncode == 3
    last = json.loads(done.stdout.splitlines()[-1])
    assert last["state"] == "blind"
    assert "python3-picamera2" in last["reason"]
    assert "--camera twin" in done.stdout


def test_a_daemon_that_is_killed_takes_the_boundary_process_with_it(room: Path) -> None:
    arguments = ["--path", "camera", "--camera", "twin", "--scene", str(room), "--json"]
    command = [sys.executable, "-c", "from host.cli import main; main()", "run", *arguments]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as daemon:
        assert daemon.stdout is not None
        for line in daemon.stdout:
            if b'"measurement"' in line:
                break
        (boundary,) = descendants(daemon.pid)
        daemon.kill()
    end_s = time.monotonic() + 10
    while Path(f"/proc/{boundary}").exists():
        assert time.monotonic() < end_s
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--path", "loop"), "--camera twin"),
        (("--path", "camera", "--board", "/dev/ttyACM0"), "whose thresholds are digital"),
        (("--path", "sideways"), "sideways"),
        (("--camera", "webcam"), "webcam"),
        (("--twin-fault", "hang"), "add --path camera --camera twin"),
        (("--path", "camera", "--camera", "twin", "--twin-fault", "gremlins"), "controls_ignored"),
        (("--path", "camera", "--camera", "twin", "--twin-fault", "hang@x"), "expected NAME, NAME@FRAME"),
        (("--path", "camera", "--camera", "twin", "--scene", "/nowhere.mp4"), "/nowhere.mp4"),
        (("--path", "camera", "--camera", "twin", "--kernel", "/nowhere.npz"), "/nowhere.npz"),
    ],
)
def test_what_cannot_be_is_refused_in_words(arguments: tuple[str, ...], said: str) -> None:
    done = canopic(*arguments)
    assert done.returncode in (1, 2)
    assert said in done.stderr
    assert "Traceback" not in done.stderr
