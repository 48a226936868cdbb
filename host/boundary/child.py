"""One boundary process and the pipes to it: started, listened to with distrust, and ended when in doubt."""

import os
import select
import signal
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, fields
from typing import IO, Any, Self

from host.boundary.errors import BoundaryFailed, WireError
from host.boundary.wire import Kind, Record, Records, json_of, packed_json, short
from host.camera.about import CameraIdentity
from host.children import command, environment
from host.measurement import KernelUse

END_S = 2.0
_NAME_CHARACTERS = 200
# More things than this do not go missing in one sandbox.
_MISSING_AT_MOST = 8
_ENVIRONMENT = {
    # One thread of arithmetic: more would have been started before Landlock holds.
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
    "OPENCV_LOG_LEVEL": "ERROR",
    "OPENCV_FFMPEG_LOGLEVEL": "-8",
    # Memory that is freed is kept, since giving it back and forth takes as long as everything else, and the C library
    # overwrites it at once (mallopt(3), M_PERTURB): no picture stays in the heap, whoever made a copy.
    "MALLOC_TRIM_THRESHOLD_": "268435456",
    "MALLOC_MMAP_THRESHOLD_": "33554432",
    "MALLOC_PERTURB_": "165",
}


class Child:
    """One boundary process and the pipes to it."""

    def __init__(self, spec: Mapping[str, Any], allowed: frozenset[Kind]) -> None:
        """Start it. allowed: types of records that it may send. Raises BoundaryFailed."""
        self._records = Records(allowed)
        self._process = subprocess.Popen(
            command("host.boundary.process"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            env=environment(os.environ, **_ENVIRONMENT),
            process_group=0,  # Ctrl-C in the terminal is for the daemon, which then ends this one
        )
        try:
            self.send(packed_json(Kind.SPEC, spec))
        except BaseException:  # whatever ended it, Ctrl-C too: no child is left behind
            self.kill()
            raise

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    def send(self, data: bytes) -> None:
        """Write a record. Raises BoundaryFailed where the process is gone or does not read."""
        pipe = _there(self._process.stdin)
        view, end_s = memoryview(data), time.monotonic() + END_S
        os.set_blocking(pipe.fileno(), False)
        while view:
            if not select.select([], [pipe], [], max(0.0, end_s - time.monotonic()))[1]:
                raise BoundaryFailed("boundary_hung", f"the boundary process has not read its input for {END_S:g} s")
            try:
                view = view[os.write(pipe.fileno(), view) :]
            except BlockingIOError:
                continue
            except OSError as error:
                raise self._died() from error
            end_s = time.monotonic() + END_S

    def take(self, timeout_s: float) -> Record | None:
        """The next record, None where none came in time.

        Raises BoundaryFailed for a failure that it reports, for its death, and where it says what it may not.
        """
        end_s = time.monotonic() + timeout_s
        pipe = _there(self._process.stdout)
        try:
            while (record := self._records.take()) is None:
                if not select.select([pipe], [], [], max(0.0, end_s - time.monotonic()))[0]:
                    return None
                data = os.read(pipe.fileno(), 1 << 20)
                if not data:
                    raise self._died()
                self._records.add(data)
            if record.kind is Kind.FAILURE:
                raise _reported(json_of(record))
        except WireError as error:
            self.kill()
            raise BoundaryFailed(
                "boundary_untrusted",
                f"the boundary process sent what it may not: {short(error)}",
                True,
                "install canopic again; if it happens again, report it",
            ) from error
        return record

    def kill(self) -> None:
        """End it now; the kernel takes its memory back with all that was in it."""
        self._process.kill()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(END_S)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()

    def close(self) -> None:
        """End it in order: it lets go of its devices. Killed where that takes too long; can be called again."""
        stdin = self._process.stdin
        if stdin is not None and not stdin.closed:
            with suppress(OSError):
                stdin.close()
        # What it still has to say would keep it from noticing.
        stdout = self._process.stdout
        end_s = time.monotonic() + END_S
        while stdout is not None and not stdout.closed and self._process.poll() is None:
            if not select.select([stdout], [], [], max(0.0, end_s - time.monotonic()))[0]:
                break
            if not os.read(stdout.fileno(), 1 << 20):
                break
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(max(0.05, end_s - time.monotonic()))
        self.kill()

    def _died(self) -> BoundaryFailed:
        try:
            status = self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            return BoundaryFailed("boundary_lost", "the boundary process closed its output")
        how = f"status {status}" if status >= 0 else f"signal {signal.Signals(-status).name}"
        return BoundaryFailed("boundary_died", f"the boundary process ended with {how}; it is started again")


@dataclass(frozen=True, slots=True)
class About:
    """What a boundary process says of itself, checked field by field."""

    camera: CameraIdentity
    sandbox: Mapping[str, Any]
    digest: str
    board_serial: str | None
    board_firmware: str | None
    board_simulated: bool
    kernel: KernelUse | None

    @classmethod
    def read(cls, record: Record) -> Self:
        """Raises BoundaryFailed."""
        try:
            if record.kind is not Kind.ABOUT:
                raise WireError(f"a record {record.kind.name} before the process said what it is")
            said = json_of(record)
            camera = CameraIdentity(**said["camera"])
            for field in fields(camera):
                _bounded(getattr(camera, field.name))
            board, kernel = said.get("board"), said.get("kernel")
            used = None if kernel is None else KernelUse(**{**kernel, "light": tuple(kernel["light"])})
            return cls(
                camera,
                _sandbox(said["sandbox"]),
                _bounded(said.get("thresholds_digest", "")),
                None if board is None else _bounded(board["serial"]),
                None if board is None else _bounded(board["firmware"]),
                board is not None and bool(board["simulated"]),
                used,
            )
        except (WireError, KeyError, TypeError, ValueError) as error:
            raise BoundaryFailed("boundary_untrusted", f"the boundary process says nonsense: {short(error)}") from error


def _sandbox(said: Mapping[str, Any]) -> dict[str, Any]:
    """What host.boundary.sandbox.Sandbox holds, each field of its own type, its sentences printable and bounded."""
    missing = said["missing"]
    if not isinstance(missing, list) or len(missing) > _MISSING_AT_MOST:
        raise WireError("what its sandbox lacks is no short list")
    return {
        "seccomp": said["seccomp"] is True,
        "landlock": int(said["landlock"]),
        "memory": short(_bounded(said["memory"])),
        "missing": [short(sentence) for sentence in missing],
    }


def _bounded(value: Any) -> Any:
    if isinstance(value, str) and len(value) > _NAME_CHARACTERS:
        raise WireError(f"a name of {len(value)} characters")
    return value


def _reported(said: Mapping[str, Any]) -> BoundaryFailed:
    kind, reason, advice = (short(said.get(name, "")) for name in ("kind", "reason", "advice"))
    return BoundaryFailed(kind, reason, said.get("latched") is not False, advice)


def _there(pipe: IO[bytes] | None) -> IO[bytes]:
    if pipe is None or pipe.closed:
        raise BoundaryFailed("boundary_lost", "the boundary process is not running")
    return pipe
