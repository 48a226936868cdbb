"""The host build of the firmware as a child process: built, started, watched and restarted, with its sockets."""

import contextlib
import fcntl
import os
import select
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from typing import IO

from host.board.deadline import Deadline
from host.board.errors import BoardProgramError

EXECUTABLE_VARIABLE = "CANOPIC_BOARD"
_FIRMWARE = Path(__file__).resolve().parents[2] / "firmware"
_BUILT = _FIRMWARE / "build" / "host" / "canopic-board"
_DEBIAN_PACKAGES = "gcc make libc6-dev"
_SOCKET_PATH_LIMIT = 107  # bytes in sockaddr_un.sun_path, less its terminating zero
_FIRST_BACK_OFF_S = 0.02
_LONGEST_BACK_OFF_S = 2.0
_STEADY_S = 5.0  # a process that lived this long starts again without back-off
_READY_S = 10.0
_STOP_S = 2.0
_BUILD_S = 300.0
_PREFIX = "canopic-board-"


def board_executable() -> Path:
    """The host build of the firmware: the file that CANOPIC_BOARD names, or firmware/build/host/canopic-board.

    The latter is built first where it is missing (`make -C firmware host`). Raises BoardProgramError where it is
    neither there nor can be built.
    """
    named = os.environ.get(EXECUTABLE_VARIABLE)
    if named:
        path = Path(named).expanduser().resolve()
        if not os.access(path, os.X_OK) or path.is_dir():
            raise BoardProgramError(
                f"{EXECUTABLE_VARIABLE} names {path}, which is no executable file;"
                f" correct it, or unset it to use the one built by `make -C firmware host`"
            )
        return path
    if not _BUILT.exists():
        _build()
    return _BUILT


def _build() -> None:
    if not (_FIRMWARE / "Makefile").exists():
        raise BoardProgramError(
            f"the firmware's sources are not at {_FIRMWARE}, so its host build cannot be made;"
            f" run from a source checkout, or set {EXECUTABLE_VARIABLE} to a canopic-board executable"
        )
    compiler = os.environ.get("CC", "cc").split()[0]
    missing = [tool for tool in ("make", compiler) if shutil.which(tool) is None]
    if missing:
        raise BoardProgramError(
            f"cannot build the firmware: {' and '.join(missing)} not found;"
            f" install the Debian packages with `sudo apt-get install {_DEBIAN_PACKAGES}` and try again"
        )
    lock_path = _FIRMWARE / "build" / ".lock"
    lock_path.parent.mkdir(exist_ok=True)
    with lock_path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two processes that start together must not build into the same files
        if _BUILT.exists():
            return
        command = ["make", "-C", str(_FIRMWARE), "host"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=_BUILD_S, check=False)
        except subprocess.TimeoutExpired as error:
            raise BoardProgramError(
                f"`{' '.join(command)}` did not finish in {_BUILD_S:g} s; run it by hand"
            ) from error
        if done.returncode != 0 or not _BUILT.exists():
            raise BoardProgramError(
                f"`{' '.join(command)}` failed (exit status {done.returncode}); it needs the Debian packages"
                f" {_DEBIAN_PACKAGES}. Its last words:\n{(done.stdout + done.stderr)[-2000:]}"
            )


class BoardProcess:
    """One running canopic-board with a private directory, started again whenever it dies.

    All processes are started by one thread that lives as long as this object: Linux delivers the parent-death signal
    when the *thread* that forked ends, not the process.
    """

    def __init__(
        self,
        *,
        pty: str | Path | None = None,
        serial: str = "TWIN-0001",
        seed: int = 0,
        offset_volts: float = 0.0,
        noise_volts: float = 0.0,
        hysteresis_volts: float = 0.0,
        gain_error: float = 0.0,
        spread: float = 0.0,
        dac_inl_volts: float = 0.0,
        dac_dnl_lsb: float = 0.0,
        executable: Path | None = None,
        ready_s: float = _READY_S,
    ) -> None:
        """Build if need be, start, and wait up to `ready_s` seconds until the port and both sockets exist.

        `pty` is where the stable symlink to the serial port goes (default: in the private directory). The rest is how
        well the board is made; the same `seed` makes the same board. `offset_volts`, `gain_error` (relative) and
        `noise_volts` are the standard deviations of the comparators' offsets, input gain errors and noise;
        `hysteresis_volts` lies between their rising and their falling transition; each comparator's noise and
        hysteresis differ from these by up to the share `spread`, 0 to 1. No DAC channel bows further than
        `dac_inl_volts` from its straight line, no step between neighbouring codes is wrong by more than `dac_dnl_lsb`
        (below 1). `control("reveal")` answers with what was made, as JSON.
        Raises BoardProgramError where it cannot be built or does not get ready.
        """
        self._executable = executable or board_executable()
        self._directory, self._directory_lock = _private_directory()
        self.pty = Path(pty) if pty is not None else self._directory / "pty"
        self.frames_socket = self._directory / "frames"
        self.control_socket = self._directory / "control"
        self._log = self._directory / "log"
        self._arguments = ["--pty", str(self.pty), "--frames", str(self.frames_socket)]
        self._arguments += ["--control", str(self.control_socket), "--serial", serial, "--seed", str(seed)]
        quality = {
            "offset-volts": offset_volts,
            "noise-volts": noise_volts,
            "hysteresis-volts": hysteresis_volts,
            "gain-error": gain_error,
            "spread": spread,
            "dac-inl-volts": dac_inl_volts,
            "dac-dnl-lsb": dac_dnl_lsb,
        }
        for option, value in quality.items():
            self._arguments += [f"--{option}", repr(float(value))]
        self.restarts = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._ready = threading.Event()
        self._stopping = threading.Event()
        self._first_failure: str | None = None
        self._supervisor = threading.Thread(target=self._supervise, name="board process", daemon=True)
        self._supervisor.start()
        try:
            self.wait_ready(Deadline(ready_s, "waiting for the board process to get ready"))
        except BaseException:  # whatever ended it, Ctrl-C too: no child is left behind
            self.close()
            raise

    def __enter__(self) -> "BoardProcess":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pid(self) -> int | None:
        """Process id of the one that runs now, None between two."""
        process = self._process
        return process.pid if process is not None and process.returncode is None else None

    def wait_ready(self, deadline: Deadline) -> None:
        """Wait until the port and both sockets exist; BoardProgramError at the deadline or on a failed first start."""
        while not self._ready.wait(deadline.at_most_s(0.05)):
            if self._first_failure is not None:
                raise BoardProgramError(self._first_failure)
            if deadline.expired:
                raise BoardProgramError(
                    f"{self._executable} is not ready after {deadline.seconds:g} s{self._last_words()}"
                )

    def control(self, line: str, timeout_s: float = 5.0) -> str:
        """Send one line to the control socket (`stick 3 high`, `reveal`, ...) and return its answer without newline.

        Raises BoardProgramError where the board answers with an error, is not running or does not answer in time.
        """
        deadline = Deadline(timeout_s, f"sending {line!r} to the board's control socket")
        self.wait_ready(deadline)
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
                client.settimeout(deadline.remaining_s() or 0.001)
                client.connect(str(self.control_socket))
                client.sendall(line.strip().encode() + b"\n")
                answer = b""
                while not answer.endswith(b"\n"):
                    client.settimeout(deadline.remaining_s() or 0.001)
                    received = client.recv(4096)
                    if not received:
                        break
                    answer += received
        except OSError as error:
            raise BoardProgramError(f"the board's control socket failed on {line!r}: {error}") from error
        text = answer.decode(errors="replace").strip()
        if not text or text.startswith("error"):
            raise BoardProgramError(f"the board process answered {line!r} with {text or 'nothing'}{self._last_words()}")
        return text

    def kill(self) -> None:
        """End the process with SIGKILL, as a crash would; it is started again. For tests of recovery."""
        process = self._process
        if process is not None:
            self._ready.clear()
            process.kill()

    def close(self) -> None:
        """End the process and remove its directory; safe to call twice."""
        self._stopping.set()
        process = self._process
        if process is not None:
            process.terminate()
        self._supervisor.join(_STOP_S)
        if self._supervisor.is_alive() and self._process is not None:
            self._process.kill()
            self._supervisor.join()
        shutil.rmtree(self._directory, ignore_errors=True)
        self._directory_lock.close()

    def _supervise(self) -> None:
        back_off_s = _FIRST_BACK_OFF_S
        while not self._stopping.is_set():
            started_s = time.monotonic()
            failure = self._run_once()
            self._ready.clear()
            if self._stopping.is_set():
                return
            if failure is not None and self.restarts == 0:
                self._first_failure = failure
                return
            self.restarts += 1
            back_off_s = _FIRST_BACK_OFF_S if time.monotonic() - started_s > _STEADY_S else back_off_s
            self._stopping.wait(back_off_s)
            back_off_s = min(_LONGEST_BACK_OFF_S, back_off_s * 2)

    def _run_once(self) -> str | None:
        """Start one process and stay until it has ended; why it never got ready, or None where it did."""
        try:
            with self._log.open("ab") as log:
                process = subprocess.Popen(
                    [str(self._executable), *self._arguments],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    process_group=0,  # Ctrl-C in the terminal is for the parent, which then closes this one in order
                )
        except OSError as error:
            return f"{self._executable} cannot be started: {error.strerror or error}"
        self._process = process
        try:
            with process.stdout or contextlib.nullcontext() as output:
                ready = output is not None and self._await_ready(output)
                if ready:
                    self._ready.set()
                elif not self._stopping.is_set():
                    process.kill()
                if self._stopping.is_set():
                    process.terminate()
                status = process.wait()
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        return (
            None if ready else f"{self._executable} ended with status {status} before it was ready{self._last_words()}"
        )

    def _await_ready(self, output: IO[bytes]) -> bool:
        end_s = time.monotonic() + _READY_S
        text = b""
        while time.monotonic() < end_s and not self._stopping.is_set():
            if not select.select([output], [], [], 0.05)[0]:
                continue
            received = os.read(output.fileno(), 4096)
            if not received:
                return False
            text += received
            if b"ready" in text.split(b"\n")[:-1]:
                return True
        return False

    def _last_words(self) -> str:
        with contextlib.suppress(OSError):
            words = self._log.read_text(errors="replace").strip()
            if words:
                return f"; its last words: {words[-500:]}"
        return ""


def _private_directory() -> tuple[Path, IO[str]]:
    """A directory that only this user can enter, and the lock that says it is in use.

    A process that was killed could not remove its own, so directories whose lock is free are removed first.
    """
    base = Path(tempfile.gettempdir())
    for left in base.glob(_PREFIX + "*"):
        with contextlib.suppress(OSError):
            if left.stat().st_uid == os.getuid() and _is_abandoned(left):
                shutil.rmtree(left, ignore_errors=True)
    made = Path(tempfile.mkdtemp(prefix="canopic-new-"))
    directory = made.with_name(_PREFIX + made.name.removeprefix("canopic-new-"))
    if len(bytes(directory / "control")) > _SOCKET_PATH_LIMIT:
        made.rmdir()
        raise BoardProgramError(f"{base} is too long a path for a socket; set TMPDIR to a shorter one, such as /tmp")
    lock = (made / "lock").open("w")
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    made.rename(directory)  # under its final name it is locked from the first moment
    return directory, lock


def _is_abandoned(directory: Path) -> bool:
    """Whether nobody holds the directory's lock."""
    try:
        with (directory / "lock").open("r") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
