"""A process that locks itself down as the boundary does, then tries what it must not and what it has to; JSON out."""
# ruff: noqa: PTH101, PTH102, PTH104, PTH108, PTH208, PTH211, SIM115 (the system calls themselves are tried)

import ctypes
import errno
import json
import mmap
import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

from host.boundary.sandbox import Early, SandboxRefused, before_devices, lock_down
from host.boundary.seccomp import restrict_calls


def outcome(attempt: Callable[[], object]) -> str:
    """ "done", or the name of what came back."""
    try:
        attempt()
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, str(error))
    except (RuntimeError, ValueError, subprocess.SubprocessError) as error:
        return type(error).__name__
    return "done"


def call(number_of: dict[str, int], *arguments: object) -> Callable[[], None]:
    """A raw system call by its number on this architecture."""

    def attempt() -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.syscall(number_of[os.uname().machine], *arguments) < 0:
            raise OSError(ctypes.get_errno(), "refused")

    return attempt


def fork() -> None:
    if os.fork() == 0:
        os._exit(0)


def thread() -> None:
    seen: list[int] = []
    started = threading.Thread(target=lambda: seen.append(1))
    started.start()
    started.join()
    if not seen:
        raise OSError(errno.EIO, "the thread did not run")


def main() -> None:
    folder, layers, parent = Path(sys.argv[1]), sys.argv[2], os.getppid()
    (folder / "there").write_text("kept")
    # Opened before, as devices are.
    kept_open = os.open("/dev/null", os.O_RDWR)
    writable_file = os.open(folder / "open", os.O_RDWR | os.O_CREAT)
    held = before_devices() if "landlock" in layers else Early(0, ("left out",))
    opened = os.open("/dev/zero", os.O_RDWR)
    early = {"early_create": outcome(lambda: (folder / "early").write_text("x")), "early_device": "done"}
    library = "libseccomp.so.2" if "seccomp" in layers else "libnothing.so"
    try:
        sandbox = lock_down(held, lambda: restrict_calls(library))
    except SandboxRefused as error:
        print(json.dumps({"refused": str(error)}))  # noqa: T201
        return
    libc = ctypes.CDLL(None, use_errno=True)

    def ptrace() -> None:
        libc.ptrace.restype = ctypes.c_long
        if libc.ptrace(16, parent, 0, 0) < 0:
            raise OSError(ctypes.get_errno(), "refused")

    def dumpable() -> None:
        if libc.prctl(4, 1, 0, 0, 0) < 0:
            raise OSError(ctypes.get_errno(), "refused")

    forbidden: dict[str, Callable[[], object]] = {
        "inet_socket": lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM),
        "datagram_socket": lambda: socket.socket(socket.AF_INET6, socket.SOCK_DGRAM),
        "unix_socket": lambda: socket.socket(socket.AF_UNIX, socket.SOCK_STREAM),
        "socketpair": socket.socketpair,
        "create": lambda: os.open(folder / "new", os.O_WRONLY | os.O_CREAT),
        "open_for_writing": lambda: os.open(folder / "there", os.O_WRONLY),
        "open_for_both": lambda: os.open(folder / "there", os.O_RDWR),
        "append": lambda: os.open(folder / "there", os.O_WRONLY | os.O_APPEND),
        "device_for_writing": lambda: os.open("/dev/null", os.O_WRONLY),
        "own_memory": lambda: os.open("/proc/self/mem", os.O_RDWR),
        "temporary_file": lambda: tempfile.TemporaryFile(dir=folder),
        "write_to_open_file": lambda: os.write(writable_file, b"x"),
        "truncate": lambda: os.truncate(folder / "there", 0),
        "unlink": lambda: os.unlink(folder / "there"),
        "rename": lambda: os.rename(folder / "there", folder / "elsewhere"),
        "mkdir": lambda: os.mkdir(folder / "made"),
        "symlink": lambda: os.symlink("x", folder / "link"),
        "fifo": lambda: os.mkfifo(folder / "fifo"),
        "chmod": lambda: os.chmod(folder / "there", 0o600),
        "utime": lambda: os.utime(folder / "there"),
        "xattr": lambda: os.setxattr(folder / "there", "user.x", b"x"),
        "fork": fork,
        "exec": lambda: os.execv("/bin/true", ["true"]),
        "spawn": lambda: subprocess.run(["/bin/true"], check=True),
        "kill_parent": lambda: os.kill(parent, 0),
        "stop_parent": lambda: os.kill(parent, signal.SIGCONT),
        "ptrace_parent": ptrace,
        "memfd": lambda: os.memfd_create("x"),
        "io_uring": call({"x86_64": 425, "aarch64": 425}, 1, 0),
        "userfaultfd": call({"x86_64": 323, "aarch64": 282}, 0),
        "shared_memory": call({"x86_64": 29, "aarch64": 194}, 0, 4096, 0o1600),
        "read_parents_memory": call({"x86_64": 310, "aarch64": 270}, parent, 0, 0, 0, 0, 0),
        "message_queue": call({"x86_64": 240, "aarch64": 180}, b"/x", os.O_CREAT | os.O_RDWR, 0o600, 0),
        "keyring": call({"x86_64": 248, "aarch64": 217}, b"user", b"x", b"y", 1, -3),
        "clone3": call({"x86_64": 435, "aarch64": 435}, 0, 0),
        "raise_a_limit": lambda: resource.setrlimit(resource.RLIMIT_CORE, (1, 1)),
        "be_dumpable": dumpable,
        "hostname": lambda: socket.sethostname("x"),
    }
    needed: dict[str, Callable[[], object]] = {
        "read_file": lambda: Path(__file__).read_bytes(),
        "list_folder": lambda: os.listdir(folder),
        "import": lambda: __import__("colorsys"),
        "thread": thread,
        "write_open_device": lambda: os.write(kept_open, b"x"),
        "read_open_device": lambda: os.read(opened, 8),
        "map_open_device": lambda: mmap.mmap(opened, 4096),
        "memory": lambda: bytes(50_000_000),
        "write_pipe": lambda: os.write(1, b""),
        "signal_to_itself": lambda: signal.raise_signal(signal.SIGCONT),
    }
    report = {
        "forbidden": {name: outcome(attempt) for name, attempt in forbidden.items()},
        "needed": {name: outcome(attempt) for name, attempt in needed.items()},
        "early": early,
        "sandbox": [sandbox.seccomp, sandbox.landlock, sandbox.memory, list(sandbox.missing)],
        "core_limit": resource.getrlimit(resource.RLIMIT_CORE),
        "status": Path("/proc/self/status").read_text(),
    }
    print(json.dumps(report), flush=True)  # noqa: T201
    if "abort" in layers:
        os.abort()


if __name__ == "__main__":
    main()
