"""What keeps frames inside the boundary process: no file to write, no socket, no child, no core dump, no swap.

Two calls: `before_devices` first of all, while the process has one thread, and `lock_down` once its devices are open.
What the kernel or the user's rights do not offer is said, not hidden; with neither seccomp nor Landlock it is refused.
"""

import ctypes
import os
import resource
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from host.boundary import landlock
from host.boundary.seccomp import SeccompUnavailable, restrict_calls

_PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 4, 38
_MCL_CURRENT, _MCL_FUTURE, _MCL_ONFAULT = 1, 2, 4
_CAP_IPC_LOCK = 14
DEVICES = Path("/dev")


class SandboxRefused(Exception):  # noqa: N818 - reads as what happened
    """This computer offers nothing that would keep a frame inside. The message says what is missing."""


@dataclass(frozen=True, slots=True)
class Sandbox:
    """What holds. seccomp: system calls are filtered; landlock: version of the interface, 0 without it; memory:
    "locked", "no swap" or "not locked"; missing: what does not hold, and what to do, one sentence each."""

    seccomp: bool
    landlock: int
    memory: str
    missing: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Early:
    """What held before the devices were opened: version of Landlock's interface (0: none), and what did not.

    pipes: an empty folder of this process alone, where it may make named pipes and nothing else, for modules that
    cannot be imported without (host.gpio.software); None where there is no place for it.
    """

    landlock: int
    missing: tuple[str, ...] = ()
    pipes: Path | None = None

    def close_pipes(self) -> None:
        """Remove the folder and the names in it: from then on no thread can make any. Pipes that are open stay so.

        Can be called again; where it fails, `lock_down` says so.
        """
        if self.pipes is not None:
            with suppress(OSError):
                for path in self.pipes.iterdir():
                    path.unlink()
                self.pipes.rmdir()


def before_devices() -> Early:
    """First of all: no core dump, nobody may look into this process, files are read only, devices may be opened.

    Named pipes may be made in a folder that is there for this alone. Whoever calls this calls `close_pipes` before a
    camera is opened, so that the folder is gone before there is a frame.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    older = _threads() - 1
    pipes = None
    with suppress(OSError):
        pipes = Path(tempfile.mkdtemp(prefix="canopic-pipes-"))
    try:
        version = landlock.restrict(writable=(DEVICES,), pipes=pipes)
    except OSError as error:
        return Early(0, (str(error),), pipes)
    if not version:
        return Early(0, ("the kernel has no Landlock (Linux 5.13 has): files are guarded by seccomp alone",), pipes)
    if older:
        return Early(version, (f"Landlock does not hold for {older} threads that ran already, seccomp does",), pipes)
    return Early(version, (), pipes)


def lock_down(early: Early, restrict: Callable[[], None] = restrict_calls) -> Sandbox:
    """Once the devices are open: nothing can be opened for writing any more, and no socket, child or name be made.

    early: what `before_devices` returned. restrict: loads the filter. Raises SandboxRefused where neither seccomp nor
    Landlock holds.
    """
    missing = list(early.missing)
    early.close_pipes()
    if early.pipes is not None and early.pipes.exists():
        missing.append(f"{early.pipes} cannot be removed: threads of libraries could make named pipes in it")
    between = _threads() - 1
    memory, complaint = _lock_memory()
    if complaint:
        missing.append(complaint)
    version = early.landlock
    if version:
        try:
            landlock.restrict()
        except OSError as error:
            missing.append(str(error))
    # Pipes and devices have no size: this is about files alone.
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    try:
        restrict()
    except SeccompUnavailable as error:
        if not version:
            raise SandboxRefused(
                f"nothing would keep frames inside this process: {error}; {'; '.join(missing)}"
            ) from error
        if between:
            missing.append(
                f"{between} threads of the devices' libraries may still write to devices, files they may not"
            )
        return Sandbox(False, version, memory, (*missing, str(error)))
    return Sandbox(True, version, memory, tuple(missing))


def _threads() -> int:
    return len(os.listdir("/proc/self/task"))  # noqa: PTH208 - names are enough


def _lock_memory() -> tuple[str, str]:
    """Keep this process out of swap: what holds, and what to do where it does not."""
    # Locking what is to come fails an allocation where the limit is small; so only without a limit.
    unlimited = resource.getrlimit(resource.RLIMIT_MEMLOCK)[0] == resource.RLIM_INFINITY
    if unlimited or _has_capability(_CAP_IPC_LOCK):
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.mlockall(_MCL_CURRENT | _MCL_FUTURE | _MCL_ONFAULT) == 0:
            return "locked", ""
    try:
        swaps = Path("/proc/swaps").read_text().splitlines()[1:]
    except OSError:
        swaps = ["unknown"]
    if not swaps:
        return "no swap", ""
    return (
        "not locked",
        "frames may reach the swap: give the service LimitMEMLOCK=infinity, or switch swap off (sudo swapoff -a)",
    )


def _has_capability(number: int) -> bool:
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return False
    effective = next((line.split()[1] for line in status.splitlines() if line.startswith("CapEff")), "0")
    return bool(int(effective, 16) >> number & 1)
