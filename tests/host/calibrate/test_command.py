"""canopic calibrate, as somebody meets it: what it prints, what it keeps, what it refuses, how it goes on."""

import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from calibration.outcome import Limit, Outcome, judged
from host.calibrate.catalogue import Opened
from host.calibrate.procedure import Procedure, Setup, Step, StepData, scalar
from host.calibrate.results import load_outcome
from host.calibrate.run import SessionError
from host.cli import app
from host.commands import calibrate as command

ROOT = Path(__file__).resolve().parents[3]
STEPS = [Step("one", "the first"), Step("two", "the second", Setup(cover_on=True), "Put the cover on the lens.")]


def _run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["calibrate", *arguments])


class Bench:
    """A calibration of two steps: counts acquisitions, and fails or is interrupted where it is told to."""

    def __init__(self) -> None:
        self.device = "a bench"
        self.acquired: list[str] = []
        self.raises: dict[str, BaseException] = {}
        self.value = 1.0
        self.fault: str | None = None
        self.simulated = False

    def acquire(self, step: Step, before: dict[str, StepData]) -> StepData:  # noqa: ARG002 - the protocol's
        if step.name in self.raises:
            raise self.raises[step.name]
        self.acquired.append(step.name)
        return {"value": scalar(self.value)}

    def conclude(self, data: Mapping[str, StepData]) -> Outcome:
        total = float(sum(float(step["value"]) for step in data.values()))
        limit = Limit("total", total, 2.0, "least", "", "the total")
        return judged("psf", {"total": total}, [limit], summary="two and more", advice="switch the light on")


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    made = Bench()

    def draw(_outcome: Outcome, _data: Mapping[str, StepData], path: Path) -> None:
        path.write_bytes(b"a picture")

    procedure = Procedure("psf", STEPS, "host.boundary.acquire_psf:acquire", made.conclude, draw)

    @contextmanager
    def opened(*arguments: Any) -> Iterator[Opened]:
        *_, made.fault = arguments if len(arguments) == 5 else [None]
        yield Opened(made, {"total": 2.0} if len(arguments) == 5 else None, made.simulated)

    monkeypatch.setattr(command, "procedure_of", lambda *_: procedure)
    monkeypatch.setattr(command, "on_twin", opened)
    monkeypatch.setattr(command, "on_devices", opened)
    return made


def test_json_is_one_object_with_the_truth_of_a_twin(bench: Bench) -> None:
    result = _run("psf", "--path", "twin", "--seed", "3", "--twin-fault", "source_off", "--json")
    assert result.exit_code == 0
    document = json.loads(result.stdout)
    assert list(document) == ["kind", "passed", "reason", "result", "truth"]
    assert (document["kind"], document["passed"], document["truth"]) == ("psf", True, {"total": 2.0})
    assert bench.fault == "source_off"


def test_results_are_kept_where_asked(bench: Bench, tmp_path: Path) -> None:
    result = _run("psf", "--path", "twin", "--out", str(tmp_path / "kept"))
    assert result.exit_code == 0
    assert {path.name for path in (tmp_path / "kept").iterdir()} >= {"psf.json", "psf.npz", "psf.png"}
    assert "simulated" in result.stdout
    assert bench.acquired == ["one", "two"]


def test_a_device_s_results_are_kept_among_the_sensor_s_state(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    result = _run("psf", "--path", "camera", "--yes", "--json")
    assert result.exit_code == 0
    assert "truth" not in json.loads(result.stdout)
    assert (tmp_path / "canopic" / "calibration" / "psf.json").exists()
    assert bench.acquired == ["one", "two"]


def test_a_limit_that_is_not_kept_fails_and_says_what_to_do(bench: Bench) -> None:
    bench.value = 0.5
    result = _run("psf", "--path", "twin")
    assert result.exit_code == 1
    assert "FAILED: the total is 1, at least 2 is asked for: switch the light on" in result.stdout
    assert "NOT KEPT" in result.stdout


def test_an_interrupted_run_goes_on_and_a_fresh_one_does_not(bench: Bench, tmp_path: Path) -> None:
    arguments = ("psf", "--path", "twin", "--out", str(tmp_path), "--json")
    bench.raises["two"] = KeyboardInterrupt()
    stopped = _run(*arguments)
    assert (stopped.exit_code, stopped.stdout) == (130, "")
    assert "run the same command again to go on" in stopped.stderr
    bench.raises.clear()
    assert _run(*arguments).exit_code == 0
    assert bench.acquired == ["one", "two"]
    # What is concluded is not taken up again.
    assert _run(*arguments).exit_code == 0
    assert bench.acquired == ["one", "two"] * 2
    bench.raises["two"] = KeyboardInterrupt()
    assert _run(*arguments).exit_code == 130
    bench.raises.clear()
    assert _run(*arguments, "--fresh").exit_code == 0
    assert bench.acquired == [*["one", "two"] * 2, "one", "one", "two"]


def test_a_device_that_fails_is_named_and_what_was_acquired_is_kept(bench: Bench, tmp_path: Path) -> None:
    arguments = ("psf", "--path", "twin", "--out", str(tmp_path), "--json")
    bench.raises["two"] = SessionError("no frame in 5 s: check the ribbon cable", "camera_hung")
    document = json.loads(_run(*arguments).stdout)
    assert document["passed"] is False
    assert document["reason"] == "camera_hung: no frame in 5 s: check the ribbon cable"
    assert document["result"]["wrong_setup"] == "camera_hung"
    bench.raises.clear()
    assert json.loads(_run(*arguments).stdout)["passed"] is True
    assert bench.acquired == ["one", "two"]


def test_results_that_cannot_be_written_lose_no_step(bench: Bench, tmp_path: Path) -> None:
    arguments = ("psf", "--path", "twin", "--out", str(tmp_path), "--json")
    (tmp_path / "psf.json").mkdir()
    stopped = _run(*arguments)
    assert stopped.exit_code == 1
    assert "psf.json" in stopped.stderr
    (tmp_path / "psf.json").rmdir()
    assert json.loads(_run(*arguments).stdout)["passed"] is True
    assert bench.acquired == ["one", "two"]


def test_a_figure_that_cannot_be_drawn_is_said_beside_the_result(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def draw(_outcome: Outcome, _data: Mapping[str, StepData], path: Path) -> None:
        path.write_bytes(b"a picture")

    procedure = Procedure("psf", STEPS, "host.boundary.acquire_psf:acquire", bench.conclude, draw)
    monkeypatch.setattr(command, "procedure_of", lambda *_: procedure)
    result = _run("psf", "--path", "twin", "--figure", str(tmp_path / "nowhere" / "x.png"), "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["passed"] is True
    assert "the figure cannot be written" in result.stderr


def test_a_set_up_that_was_wrong_does_not_replace_what_was_measured(bench: Bench, tmp_path: Path) -> None:
    arguments = ("psf", "--path", "twin", "--out", str(tmp_path))
    assert _run(*arguments).exit_code == 0
    before = (tmp_path / "psf.json").read_bytes()
    bench.raises["one"] = SessionError("no camera: look at the cable", "no_camera")
    failed = _run(*arguments)
    assert failed.exit_code == 1
    assert "no_camera" in failed.stdout
    assert "the earlier result" in failed.stderr
    assert (tmp_path / "psf.json").read_bytes() == before
    # A limit that is not kept is a measurement, and replaces the one before.
    bench.raises.clear()
    bench.value = 0.5
    assert _run(*arguments).exit_code == 1
    assert load_outcome(tmp_path, "psf").outcome.passed is False


@pytest.mark.parametrize("simulated", [False, True])
def test_a_twin_behind_a_real_port_is_marked_as_one(bench: Bench, tmp_path: Path, simulated: bool) -> None:
    bench.simulated = simulated
    assert _run("psf", "--path", "camera", "--yes", "--out", str(tmp_path)).exit_code == 0
    assert load_outcome(tmp_path, "psf").simulated is simulated


def test_a_point_source_without_a_pin_is_refused_before_anything_starts() -> None:
    result = _run("psf", "--path", "camera", "--yes")
    assert result.exit_code == 2
    assert "gpio.source_pin" in result.stderr


def test_hands_are_asked_for_in_a_terminal_only(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = _run("psf", "--path", "camera")
    assert asked.exit_code == 2
    assert "--yes" in asked.stderr
    assert bench.acquired == ["one"]

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    answers = Terminal("\n")
    monkeypatch.setattr("sys.stdin", answers)
    command.calibrate(command.Wanted("psf", path="camera"))
    assert answers.read() == ""  # Enter was waited for


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("psf", "--path", "moon"), "none of twin, camera, loop, board"),
        (("psf", "--path", "camera", "--seed", "1"), "add --path twin"),
        (("psf", "--path", "camera", "--twin-fault", "source_off"), "add --path twin"),
        (("board", "--path", "twin", "--board", "/dev/ttyACM0"), "give one of them"),
        (("board", "--path", "board"), "canopic doctor"),
        (("psf", "--path", "twin", "--twin-fault", "gremlins"), "it knows"),
        (("psf", "--path", "twin", "--bundle", "nowhere.canopic"), "no such bundle"),
        (("psf", "--config", "nowhere.yaml"), "nowhere.yaml"),
    ],
)
def test_what_cannot_be_done_is_said_without_a_traceback(arguments: tuple[str, ...], words: str) -> None:
    result = _run(*arguments)
    assert result.exit_code == 2
    assert words in result.stderr.replace("\n", " ")
    assert "Traceback" not in result.output
    assert result.stdout == ""


def test_every_wrong_setup_is_listed_with_what_is_wrong() -> None:
    document = json.loads(_run("faults", "--json").stdout)
    assert list(document) == ["psf", "board", "sensor", "slm", "range"]
    expected = {"source_off", "too_bright", "moving", "two_sources", "mask_flipped", "mask_missing"}
    assert expected <= set(document["psf"])
    assert all(len(meaning) > 10 for names in document.values() for meaning in names.values())
    table = _run("faults").stdout
    assert all(name in table for names in document.values() for name in names)


def test_a_run_that_is_terminated_keeps_its_steps_and_leaves_nothing_behind(tmp_path: Path) -> None:
    folder = Path(tempfile.mkdtemp(prefix="c-"))
    arguments = ["calibrate", "sensor", "--path", "twin", "--seed", "1", "--out", str(tmp_path), "--json"]
    command = [sys.executable, "-c", "from host.cli import main; main()", *arguments]
    environment = {**os.environ, "TMPDIR": str(folder), "OMP_NUM_THREADS": "1"}
    try:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        end_s = time.monotonic() + 60
        while not list(tmp_path.rglob("*.npz")):
            assert process.poll() is None
            assert time.monotonic() < end_s
            time.sleep(0.01)
        process.terminate()
        out, errors = process.communicate(timeout=60)
        assert (process.returncode, out) == (130, b"")
        assert b"run the same command again to go on" in errors
        assert list(folder.iterdir()) == []
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, timeout=120, check=False)
        assert json.loads(done.stdout)["passed"] is True
        assert list(folder.iterdir()) == []
    finally:
        shutil.rmtree(folder, ignore_errors=True)
