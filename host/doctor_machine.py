"""The machine that the doctor looks at: its files, packages, user and programs, each of which a test can give."""

import ctypes
import getpass
import grp
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from host.camera.device import holders
from host.gpio.software import board_model, sees_system_packages

Verdict = Literal["ok", "missing", "wrong", "optional"]

ASK_PICAMERA2 = """
import json, importlib.metadata
from picamera2 import Picamera2
found = [each.get("Model", "unknown") for each in Picamera2.global_camera_info()]
try:
    version = importlib.metadata.version("picamera2")
except importlib.metadata.PackageNotFoundError:
    version = "unknown version"
print("ANSWER " + json.dumps({"version": version, "cameras": found}))
"""
ASK_S = 30


@dataclass(frozen=True)
class Check:
    """One part: `found` says what and which version, `fix` is the one command that mends it ("" where it is ok)."""

    part: str
    verdict: Verdict
    found: str
    fix: str = ""


@dataclass(frozen=True)
class Cameras:
    """What picamera2 says of itself. problem: why it cannot be asked, "" where it could."""

    version: str = ""
    models: tuple[str, ...] = ()
    problem: str = ""


def ask_picamera2(python: str = sys.executable) -> Cameras:
    """picamera2's version and cameras, asked in a process of its own: importing it takes seconds and may abort."""
    try:
        done = subprocess.run(
            [python, "-c", ASK_PICAMERA2], capture_output=True, text=True, timeout=ASK_S, check=False
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return Cameras(problem=f"picamera2 does not answer within {ASK_S} s")
    except OSError as error:
        return Cameras(problem=str(error))
    answer = next((line for line in done.stdout.splitlines() if line.startswith("ANSWER ")), None)
    if answer is None:
        said = [line for line in done.stderr.splitlines() if line.strip()]
        return Cameras(problem=said[-1].strip() if said else f"exit status {done.returncode}")
    content = json.loads(answer.removeprefix("ANSWER "))
    return Cameras(str(content["version"]), tuple(str(each) for each in content["cameras"]))


def clock_is_set(root: Path = Path("/")) -> bool | None:
    """Whether the wall clock is synchronised, as systemd-timesyncd or chrony's state says; None where nothing tells."""
    if (root / "run/systemd/timesync/synchronized").exists():
        return True
    if (root / "run/systemd/timesync").is_dir():
        return False
    if root != Path("/") or shutil.which("timedatectl") is None:
        return None
    done = subprocess.run(
        ["timedatectl", "show", "--property=NTPSynchronized", "--value"],
        capture_output=True, text=True, timeout=10, check=False,
    )  # fmt: skip
    return {"yes": True, "no": False}.get(done.stdout.strip())


def own_groups() -> frozenset[str]:
    """Names of the groups that this process belongs to now."""
    names = set()
    for number in {os.getgid(), *os.getgroups()}:
        try:
            names.add(grp.getgrgid(number).gr_name)
        except KeyError:
            continue
    return frozenset(names)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "$USER"


def _may_open(path: Path) -> bool:
    return os.access(path, os.R_OK | os.W_OK)


@dataclass(frozen=True)
class Machine:
    """Where to look. root: of the file system. architecture: as `uname -m`. search: folders of Python packages, None:
    sys.path. sees_system: whether this Python sees what apt installs. may_open: whether a device may be read and
    written. cameras, clock_is_set, held_by, has_libseccomp, landlock_version: asked of programs and the system."""

    root: Path = Path("/")
    architecture: str = field(default_factory=platform.machine)
    user: str = field(default_factory=_user)
    groups: frozenset[str] = field(default_factory=own_groups)
    is_root: bool = field(default_factory=lambda: os.geteuid() == 0)
    search: Sequence[str] | None = None
    sees_system: bool = field(default_factory=sees_system_packages)
    may_open: Callable[[Path], bool] = _may_open
    cameras: Callable[[], Cameras] = ask_picamera2
    clock_is_set: Callable[[], bool | None] = clock_is_set
    held_by: Callable[[], list[str]] = holders
    has_libseccomp: Callable[[], bool] = field(default_factory=lambda: _has_libseccomp)
    landlock_version: Callable[[], int] = field(default_factory=lambda: _landlock)

    @property
    def model(self) -> str | None:
        """Which Raspberry Pi it is, None for none."""
        return board_model(self.root)

    def devices(self, pattern: str) -> list[Path]:
        """Device files, sorted; `pattern` below /dev."""
        return sorted((self.root / "dev").glob(pattern))

    def named(self, device: Path) -> str:
        """A device as a person calls it."""
        return "/" + str(device.relative_to(self.root))

    def read(self, path: str) -> str:
        """Content of a text file below the root, "" where there is none."""
        try:
            return (self.root / path).read_text(errors="replace").strip("\0\n ")
        except OSError:
            return ""


def _has_libseccomp() -> bool:
    from host.boundary.seccomp import LIBRARY

    try:
        ctypes.CDLL(LIBRARY)
    except OSError:
        return False
    return True


def _landlock() -> int:
    from host.boundary.landlock import version

    return version()
