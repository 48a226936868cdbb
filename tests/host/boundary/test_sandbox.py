"""The sandbox, by trying: each forbidden thing fails inside a locked process, and each needed one still works."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from host.boundary import landlock

ROOT = Path(__file__).resolve().parents[3]
NO_LANDLOCK = "this kernel has no Landlock (Linux 5.13 or later, CONFIG_SECURITY_LANDLOCK)"
CHANGES_FILES = (
    "create", "open_for_writing", "open_for_both", "append", "temporary_file", "unlink", "rename", "mkdir", "symlink",
    "fifo",
)  # fmt: skip


def tried(folder: Path, layers: str) -> tuple[dict[str, Any], int]:
    command = [sys.executable, "-m", "tests.host.boundary.locked_child", str(folder), layers]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout, done.stderr
    return json.loads(done.stdout), done.returncode


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("locked")


@pytest.fixture(scope="module")
def locked(folder: Path) -> tuple[dict[str, Any], int]:
    return tried(folder, "landlock seccomp abort")


def test_nothing_that_could_carry_a_frame_away_works(locked: tuple[dict[str, Any], int], folder: Path) -> None:
    report, _ = locked
    allowed = {name: came for name, came in report["forbidden"].items() if came == "done"}
    assert not allowed
    assert len(report["forbidden"]) > 30
    assert report["forbidden"]["clone3"] == "ENOSYS"  # else the C library would give up on threads
    assert sorted(path.name for path in folder.iterdir()) == ["open", "there"]
    assert (folder / "there").read_text() == "kept"
    assert (folder / "open").read_bytes() == b""


def test_what_the_process_needs_still_works(locked: tuple[dict[str, Any], int]) -> None:
    report, _ = locked
    assert set(report["needed"].values()) == {"done"}, report["needed"]


def test_a_crash_leaves_no_core_and_nobody_looks_in(locked: tuple[dict[str, Any], int], folder: Path) -> None:
    report, status = locked
    assert status < 0  # it ended by abort()
    assert report["core_limit"] == [0, 0]
    assert not list(folder.glob("*core*"))
    assert "NoNewPrivs:\t1" in report["status"]
    assert "Seccomp:\t2" in report["status"]


def test_before_the_devices_are_open_files_are_read_only_already(locked: tuple[dict[str, Any], int]) -> None:
    report, _ = locked
    if not report["sandbox"][1]:
        pytest.skip(NO_LANDLOCK)
    assert report["early"] == {"early_create": "EACCES", "early_device": "done"}


def test_landlock_alone_keeps_files_as_they_are(folder: Path) -> None:
    if not landlock.version():
        pytest.skip(NO_LANDLOCK)
    report, _ = tried(folder, "landlock")
    came = report["forbidden"]
    assert {name: came[name] for name in CHANGES_FILES if came[name] == "done"} == {}
    assert came["device_for_writing"] == came["exec"] == "EACCES"
    assert set(report["needed"].values()) == {"done"}
    seccomp, version, _, missing = report["sandbox"]
    assert not seccomp
    assert version == landlock.version()
    assert any("apt-get install libseccomp2" in words for words in missing)


def test_seccomp_alone_keeps_everything(folder: Path) -> None:
    report, _ = tried(folder, "seccomp")
    assert {name for name, came in report["forbidden"].items() if came == "done"} == set()
    assert report["sandbox"][:2] == [True, 0]
    assert "left out" in report["sandbox"][3]


def test_with_neither_it_is_refused(folder: Path) -> None:
    report, _ = tried(folder, "nothing")
    assert "nothing would keep frames inside" in report["refused"]
    assert "libseccomp2" in report["refused"]
