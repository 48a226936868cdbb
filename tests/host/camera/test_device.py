"""What opening a camera says when it does not work."""

import os
import subprocess
import sys
import types
from pathlib import Path

import pytest

from host.camera.device import explain, holders, numpy_mend, open_picamera2
from host.camera.errors import CameraBusy, CameraError, CameraLost, CameraMissing


def _chained(outer: str, inner: Exception) -> RuntimeError:
    error = RuntimeError(outer)
    error.__cause__ = inner
    return error


ROOT = Path(__file__).resolve().parents[3]
DID_NOT = "Camera __init__ sequence did not complete."


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (RuntimeError('No camera number 0 found - use "rpicam-hello --list-cameras" to check'), CameraMissing),
        (
            _chained(DID_NOT, RuntimeError("Camera(s) not found (Do not forget to disable legacy camera)")),
            CameraMissing,
        ),
        (_chained(DID_NOT, IndexError("list index out of range")), CameraMissing),
        (_chained(DID_NOT, RuntimeError("Failed to acquire camera: Device or resource busy")), CameraBusy),
        (_chained(DID_NOT, RuntimeError("camera.acquire() returned unexpected code: -16")), CameraBusy),
        (_chained(DID_NOT, RuntimeError("Failed to acquire camera")), CameraBusy),
        (_chained(DID_NOT, RuntimeError("Tuning file not found")), CameraLost),
    ],
)
def test_what_picamera2_says_becomes_what_to_do(error: Exception, kind: type[CameraError]) -> None:
    told = explain(error, 0)
    assert type(told) is kind
    if kind is CameraMissing:
        assert "ribbon cable" in f"{told}"
        assert "rpicam-hello --list-cameras" in f"{told}"
    if kind is CameraLost:
        assert "Tuning file not found" in f"{told}", "the reason, not the general sentence alone"


def test_an_error_of_ours_stays_what_it_is() -> None:
    error = CameraBusy("as it was")
    assert explain(error, 3) is error


def _process(proc: Path, number: int, name: str, targets: list[str]) -> None:
    fds = proc / f"{number}" / "fd"
    fds.mkdir(parents=True)
    (proc / f"{number}" / "comm").write_text(f"{name}\n")
    for place, target in enumerate(targets):
        (fds / f"{place}").symlink_to(target)


def test_holders_are_named_whoever_has_the_media_device_first(tmp_path: Path) -> None:
    _process(tmp_path, 40, "browser", ["/dev/null", "/dev/video10"])
    _process(tmp_path, 900, "rpicam-vid", ["/dev/video0", "/dev/media3", "/dev/media3"])
    _process(tmp_path, 7, "bash", ["/dev/pts/0"])
    _process(tmp_path, os.getpid(), "this one", ["/dev/media3"])
    (tmp_path / "meminfo").write_text("")
    assert holders(tmp_path) == ["rpicam-vid (process 900)", "browser (process 40)"]


def test_what_may_not_be_seen_is_left_out(tmp_path: Path) -> None:
    _process(tmp_path, 12, "hidden", ["/dev/media0"])
    (tmp_path / "12" / "fd").rename(tmp_path / "12" / "elsewhere")
    assert holders(tmp_path) == []
    assert all("(process" in name for name in holders()), "the real one can be read, whoever asks"


def test_a_busy_camera_names_its_holder_or_how_to_find_it(monkeypatch: pytest.MonkeyPatch) -> None:
    error = RuntimeError("Device or resource busy")
    monkeypatch.setattr("host.camera.device.holders", lambda: ["rpicam-vid (process 900)"])
    assert "rpicam-vid (process 900)" in f"{explain(error, 0)}"
    monkeypatch.setattr("host.camera.device.holders", list)
    assert "sudo fuser -v /dev/media*" in f"{explain(error, 0)}"


def _install(monkeypatch: pytest.MonkeyPatch, camera: object) -> None:
    module = types.ModuleType("picamera2")
    module.Picamera2 = camera  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "picamera2", module)


def test_without_picamera2_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "picamera2", None)
    with pytest.raises(CameraMissing) as caught:
        open_picamera2(0)
    for part in ("sudo apt install -y python3-picamera2", "--system-site-packages", "no such camera", sys.prefix):
        assert part in f"{caught.value}"


def test_a_numpy_that_hides_the_systems_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(_name: str) -> object:
        raise ValueError("numpy.dtype size changed, may indicate binary incompatibility. Expected 96, got 88")

    monkeypatch.setattr("host.camera.device.importlib.import_module", load)
    with pytest.raises(CameraMissing) as caught:
        open_picamera2(0)
    assert f"`{sys.executable} -m pip install 'simplejpeg>=1.9'`" in f"{caught.value}"
    assert "uninstall" not in f"{caught.value}"  # without its numpy canopic does not run
    assert numpy_mend("No module named 'numpy'") is None


@pytest.mark.parametrize("there", [True, False])
def test_make_brings_a_simplejpeg_where_the_systems_does_not_load(tmp_path: Path, there: bool) -> None:
    binaries = tmp_path / "bin"
    binaries.mkdir()
    python = binaries / "python"
    python.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\n[ "$1" != -c ] || exit {0 if there else 1}\n')
    python.chmod(0o755)
    command = ["make", f"VENV={tmp_path}", "SYSTEM_SITE=--system-site-packages", f"{tmp_path}/.base"]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    calls = (tmp_path / "calls").read_text().splitlines()
    assert calls[1] == "-c import simplejpeg"
    assert [call.split()[-1] for call in calls[2:]] == ([] if there else ["simplejpeg>=1.9"])


def test_picamera2_is_opened_with_the_number(monkeypatch: pytest.MonkeyPatch) -> None:
    _install(monkeypatch, lambda number: f"camera {number}")
    assert open_picamera2(1) == "camera 1"


def test_its_constructor_failing_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_number: int) -> object:
        raise RuntimeError('No camera number 1 found - use "rpicam-hello --list-cameras" to check connected cameras')

    _install(monkeypatch, fail)
    with pytest.raises(CameraMissing, match="no camera 1"):
        open_picamera2(1)
