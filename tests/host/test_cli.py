"""The command as a user or a program meets it: exit codes, JSON, pipes, signals, kills, errors without traceback."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from host.storage import FILE_NAME
from optics.bundle import default_bundle_path, read_bundle
from tests.host.sensing import FRAMES, board_missing, make_room

ROOT = Path(__file__).resolve().parents[2]
needs_board = pytest.mark.skipif(bool(board_missing()), reason=f"no board program: {board_missing()}")
OCCUPANCY = ("arrived", "left", "count_changed")


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-c", "from host.cli import main; main()", *arguments]


def canopic(*arguments: str, timeout: float = 60, **options) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments), capture_output=True, text=True, timeout=timeout, cwd=ROOT, check=False, **options
    )


@pytest.fixture(scope="module")
def room(tmp_path_factory) -> Path:
    return make_room(tmp_path_factory.mktemp("scene") / "room")


def test_help_names_every_command():
    text = canopic("--help").stdout
    for name in ("run", "twin", "doctor", "score", "version", "config", "board", "bundle", "bench", "optics"):
        assert name in text


@needs_board
def test_json_is_one_object_a_line_and_nothing_else(room):
    done = canopic("run", "--scene", str(room), "--frames", "30", "--json", "--pace", "fast")
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    measurements = [line for line in lines if line["type"] == "measurement"]
    assert [m["sequence"] for m in measurements] == list(range(30))
    assert set(measurements[0]) == {
        "type", "sequence", "time", "count", "occupied", "state", "latency_ms", "provenance"
    }  # fmt: skip
    assert {"capture_path", "encoding_id", "thresholds_digest"} < set(measurements[0]["provenance"])
    assert {line["type"] for line in lines} == {"measurement", "event"}
    assert lines[-1]["event"] == "stopped"
    assert "Traceback" not in done.stderr


@needs_board
def test_a_reader_that_leaves_ends_the_run_quietly(room):
    run = subprocess.Popen(
        command("run", "--scene", str(room), "--json", "--pace", "fast"),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT,
    )  # fmt: skip
    assert run.stdout is not None
    json.loads(run.stdout.readline())
    run.stdout.close()
    assert run.wait(30) == 0
    assert run.stderr is not None
    errors = run.stderr.read()
    assert "Traceback" not in errors
    assert "BrokenPipe" not in errors


@needs_board
def test_without_a_terminal_there_is_a_line_a_second(room):
    done = canopic("run", "--scene", str(room), "--frames", "10", "--pace", "fast")
    assert done.returncode == 0
    assert "\x1b" not in done.stdout
    assert "nobody" in done.stdout
    assert "10 measurements" in done.stdout


@needs_board
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_in_order(room, tmp_path, number):
    run = subprocess.Popen(
        command("run", "--scene", str(room), "--json", "--state", str(tmp_path)),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT,
    )  # fmt: skip
    assert run.stdout is not None
    while '"measurement"' not in run.stdout.readline():
        pass
    run.send_signal(number)
    rest = run.stdout.read().splitlines()
    assert run.wait(20) == 0
    last = json.loads(rest[-1])
    assert last["event"] == "stopped"
    assert last["why_stopped"] == f"stopped by {number.name}"
    database = sqlite3.connect(tmp_path / FILE_NAME)
    assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert database.execute("SELECT kind FROM events ORDER BY id DESC LIMIT 1").fetchone() == ("stopped",)


def occupancy_events(directory: Path) -> list[tuple[str, float]]:
    database = sqlite3.connect(directory / FILE_NAME)
    rows = database.execute("SELECT kind, time_s FROM events ORDER BY id").fetchall()
    return [(kind, time_s) for kind, time_s in rows if kind in OCCUPANCY]


@needs_board
def test_kill_9_of_the_daemon_loses_no_event_and_invents_none(room, tmp_path):
    """Three daemons in turn on one board, two of them killed: their events together are those of a single run."""
    whole = tmp_path / "whole"
    assert canopic("run", "--scene", str(room), "--json", "--pace", "fast", "--state", str(whole)).returncode == 0
    expected = occupancy_events(whole)
    assert [kind for kind, _ in expected] == ["arrived", "left"]

    port, parts = tmp_path / "port", tmp_path / "parts"
    twin = subprocess.Popen(
        command("twin", "--scene", str(room), "--pace", "fast", "--pty", str(port)), stderr=subprocess.PIPE, cwd=ROOT
    )
    try:
        assert twin.stderr is not None
        assert b"attach with" in twin.stderr.readline()
        # Killed while somebody is about to arrive, and again while the room is about to be empty.
        for last_frame in (48, 95, FRAMES - 1):
            run = subprocess.Popen(
                command("run", "--board", str(port), "--json", "--state", str(parts)),
                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=ROOT,
            )  # fmt: skip
            assert run.stdout is not None
            seen = -1
            for line in run.stdout:
                told = json.loads(line)
                if told["type"] == "measurement":
                    assert told["provenance"]["frame"] > seen
                    seen = told["provenance"]["frame"]
                if seen >= last_frame:
                    break
            assert seen >= last_frame
            run.send_signal(signal.SIGTERM if last_frame == FRAMES - 1 else signal.SIGKILL)
            run.stdout.close()
            run.wait(20)
    finally:
        twin.terminate()
        twin.wait(20)
        twin.stderr.close()
    found = occupancy_events(parts)
    assert [kind for kind, _ in found] == [kind for kind, _ in expected]
    # Frames that were on their way when a daemon was killed are lost with it: a few tenths of a second.
    assert np.allclose([time_s for _, time_s in found], [time_s for _, time_s in expected], atol=1.0)
    assert not port.exists()


@needs_board
def test_the_twin_runs_with_a_masks_simulated_psf_and_says_so(room, tmp_path):
    from optics.mask import Geometry, Mask, write_mask
    from optics.psf import psf

    height_m = np.random.default_rng(0).random((63, 63)) * 1e-6
    mask = Mask(height_m, 8e-6, geometry=Geometry(psf_px=(31, 31)))
    write_mask(mask, tmp_path / "mask.npz")
    light = psf(mask).sum(axis=(1, 2))
    options = ("--scene", str(room), "--frames", "20", "--json", "--pace", "fast")
    done = canopic("run", "--kernel", str(tmp_path / "mask.npz"), *options)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    measurements = [line for line in lines if line["type"] == "measurement"]
    assert len(measurements) == 20
    started = next(line for line in lines if line.get("event") == "started")
    assert started["kernel"]["file"] == "mask.npz"
    assert started["kernel"]["light"] == pytest.approx(light.tolist(), abs=1e-5)
    assert "protects nobody" in started["claim"]
    named = {line["provenance"]["simulated_kernel"] for line in measurements}
    assert named == {f"mask.npz:{started['kernel']['digest']}"}
    # Part of the light misses the window, so automatic exposure has asked for more of it than without the mask.
    plain = [json.loads(line) for line in canopic("run", *options).stdout.splitlines()]
    plain = [line["provenance"] for line in plain if line["type"] == "measurement"]
    assert plain[-1]["simulated_kernel"] is None
    with_mask = measurements[-1]["provenance"]
    assert with_mask["exposure_us"] * with_mask["gain"] > 1.1 * plain[-1]["exposure_us"] * plain[-1]["gain"]


@needs_board
def test_a_blind_sensor_has_its_own_exit_status(room, tmp_path):
    damaged = tmp_path / "damaged.canopic"
    damaged.write_bytes(default_bundle_path().read_bytes()[:-100])
    done = canopic("run", "--scene", str(room), "--bundle", str(damaged), "--json")
    assert done.returncode == 3
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert lines[0]["to"] == "blind"
    assert all(line["type"] == "event" for line in lines)


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (("run", "--scene", "absent.mp4"), 1, "absent.mp4"),
        (("run", "--pace", "slow"), 2, "expected 'realtime' or 'fast'"),
        (("run", "--light", "now"), 2, "SECONDS:FACTOR"),
        (("run", "--config", "absent.yaml"), 2, "cannot be read"),
        (("run", "--kernel", "absent.npz", "--json"), 2, "absent.npz is not a readable"),
        (("score", "--kernel", "absent.npz"), 2, "absent.npz is not a readable"),
        (("run", "--kernel", "absent.npz", "--board", "/dev/absent"), 2, "only the twin simulates optics"),
        (("bundle", "show", "absent.canopic"), 2, "no such bundle file"),
        (("bundle", "show", "defualt"), 2, 'did you mean "default"?'),
        (("config", "check", "absent.yaml"), 2, "cannot be read"),
        (("board", "info", "--board", "absent"), 1, "absent"),
        (("nonsense",), 2, "No such command"),
    ],
)
def test_expected_errors_are_one_message(arguments, status, message):
    if {"--scene", "--kernel"} & set(arguments) and board_missing():
        pytest.skip(f"no board program: {board_missing()}")
    done = canopic(*arguments)
    assert done.returncode == status
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_config_commands(tmp_path):
    file = tmp_path / "canopic.yaml"
    file.write_text("exposure:\n  mode: manual\n  exposure_us: 5000\n")
    assert canopic("config", "check", str(file)).returncode == 0
    shown = json.loads(canopic("config", "show", "--config", str(file), "--json").stdout)
    assert shown["exposure.exposure_us"] == {"value": 5000, "origin": f"{file}:3"}
    assert shown["exposure.gain"]["origin"] == "default"
    assert json.loads(canopic("config", "schema").stdout)["title"] == "canopic.yaml"
    file.write_text("exposure:\n  exposre_us: 5000\n")
    done = canopic("config", "check", str(file))
    assert done.returncode == 2
    assert done.stderr.strip() == (f"{file}:2: unknown key 'exposre_us' in 'exposure'; did you mean 'exposure_us'?")


def test_bundle_commands(tmp_path):
    shown = json.loads(canopic("bundle", "show", "--json").stdout)
    bundle = read_bundle(default_bundle_path())
    assert shown["id"] == bundle.id
    assert "effective level" in (text := canopic("bundle", "show").stdout)
    assert "one mask" in text or "a pair of masks" in text
    target = tmp_path / "encoding.npz"
    assert canopic("bundle", "export", str(target)).returncode == 0
    with np.load(target) as arrays:
        assert set(arrays) == {"kernels", "thresholds", "pool", "range"}
        assert np.array_equal(arrays["kernels"], bundle.encoding.kernels)
    other = tmp_path / "other.npz"
    assert canopic("bundle", "export", "default", str(other)).returncode == 0
    assert other.read_bytes()


@needs_board
def test_board_commands():
    info = json.loads(canopic("board", "info", "--json").stdout)
    assert info["comparators"] == 15
    assert info["state"] == "safe"
    assert json.loads(canopic("board", "selftest", "--json").stdout)["passed"] is True
    thresholds = json.loads(canopic("board", "thresholds", "--json").stdout)
    assert thresholds["same"] is True
    assert len(thresholds["board"]["dac_codes"]) == 15
    assert canopic("board", "clear").returncode == 0


def test_a_failing_program_is_not_a_hang():
    environment = {**os.environ, "CANOPIC_BOARD": "/bin/false"}
    began = time.monotonic()
    done = canopic("board", "info", env=environment)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert time.monotonic() - began < 50
