"""Pins in the sandbox: their module gets the named pipe and the thread that it needs, and no thread a way to write."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from host.boundary import landlock
from host.boundary.client import BoundaryCapture, BoundarySession
from host.calibrate.sensor import make_procedure
from host.config import Camera, Gpio
from optics.bundle import default_bundle_path, read_bundle
from tests.host.boundary.pretended_pi import pretend_modules

ROOT = Path(__file__).resolve().parents[3]
CHILD = "tests.host.boundary.pins_child"
NO_LANDLOCK = "this kernel has no Landlock (Linux 5.13 or later, CONFIG_SECURITY_LANDLOCK)"


@pytest.fixture(scope="module")
def modules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pretend_modules(tmp_path_factory.mktemp("pi") / "site")


def locked(tmp_path: Path, *arguments: str, **environment: str) -> dict[str, Any]:
    for name in ("tmp", "elsewhere"):
        (tmp_path / name).mkdir()
    environment = {
        **os.environ,
        "TMPDIR": str(tmp_path / "tmp"),
        "ELSEWHERE": str(tmp_path / "elsewhere"),
    } | environment
    command = [sys.executable, "-m", CHILD, *arguments]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout, done.stderr
    # Neither pipe nor folder is left, and nothing else was made.
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["elsewhere", "tmp"]
    said: dict[str, Any] = json.loads(done.stdout)
    assert said["gone"]
    return said


def done(tried: dict[str, str]) -> set[str]:
    return {name for name, came in tried.items() if came == "done"}


@pytest.mark.parametrize("workplace", [None, "/dev/shm", "/nowhere"])
def test_a_module_that_makes_a_pipe_and_a_thread_works_and_nothing_can_be_written(
    tmp_path: Path, modules: Path, workplace: str | None
) -> None:
    chosen = {} if workplace is None else {"LG_WD": workplace}
    said = locked(tmp_path, str(modules), "pins", "landlock seccomp", **chosen)
    assert said["names"] == [".lgd-nfy0"]
    assert done(said["late"]) == done(said["in_its_thread"]) == set()
    assert said["exposed"]


def test_until_the_devices_are_open_pipes_are_made_in_one_folder_and_no_files(tmp_path: Path, modules: Path) -> None:
    if not landlock.version():
        pytest.skip(NO_LANDLOCK)
    said = locked(tmp_path, str(modules), "pins", "landlock seccomp")
    assert done(said["early"]) == {"pipe", "device"}


def test_landlock_alone_says_what_threads_of_libraries_still_can(tmp_path: Path, modules: Path) -> None:
    if not landlock.version():
        pytest.skip(NO_LANDLOCK)
    said = locked(tmp_path, str(modules), "pins", "landlock")
    assert done(said["late"]) == set()
    assert done(said["in_its_thread"]) == {"device"}
    assert any(words.startswith("1 threads of the devices' libraries may still write") for words in said["missing"])


def test_seccomp_alone_holds_every_thread(tmp_path: Path, modules: Path) -> None:
    said = locked(tmp_path, str(modules), "pins", "seccomp")
    assert done(said["late"]) == done(said["in_its_thread"]) == set()


def test_the_real_module_is_imported_in_the_sandbox(tmp_path: Path) -> None:
    if importlib.util.find_spec("lgpio") is None or importlib.util.find_spec("RPi") is None:
        pytest.skip("rpi-lgpio is not installed: pip install rpi-lgpio lgpio")
    # What it would read from a Pi's device tree: a Pi 5.
    said = locked(tmp_path, "", "module", "landlock seccomp", RPI_LGPIO_REVISION="c04170", LG_WD="/dev/shm")
    assert said["names"] == [".lgd-nfy0"]
    assert done(said["late"]) == set()


@pytest.fixture
def on_a_pi(modules: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Boundary processes find the pretended modules."""
    started = subprocess.Popen

    def popen(_command: list[str], **options: Any) -> "subprocess.Popen[bytes]":
        return started([sys.executable, "-m", CHILD, str(modules)], **options, cwd=ROOT)

    monkeypatch.setattr("host.boundary.child.subprocess.Popen", popen)


@pytest.mark.usefixtures("on_a_pi")
def test_measurements_with_a_trigger_pin() -> None:
    path = default_bundle_path()
    scene: dict[str, Any] = {"scene": "demo", "light": [], "kernel": None, "seed": 0, "pace": "fast"}
    camera, gpio = Camera(device="twin"), Gpio(device="rpi", trigger_pin=17)
    capture = BoundaryCapture("camera", read_bundle(path), path, camera, gpio, scene=scene)
    try:
        capture.verify(10_000, 1.0)
        assert all(capture.read(5.0) is not None for _ in range(3))
    finally:
        capture.release()


@pytest.mark.usefixtures("on_a_pi")
def test_a_calibration_with_pins() -> None:
    procedure = make_procedure(read_bundle(default_bundle_path()), quick=True)
    gpio = {"device": "rpi", "source_pin": 5, "cover_pin": 6}
    spec = {"acquire": procedure.acquire, "camera": {}, "gpio": gpio, "mask": {}, "rows_px": 32, "columns_px": 48}
    with BoundarySession("sensor", spec) as session:
        assert session.acquire(procedure.steps[0], {})
        assert session.missing == ()
