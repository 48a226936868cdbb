"""The twin as the daemon sees it: a child process that plays a scene into the real firmware, behind one serial port."""

import itertools
import json
import os
import queue
import subprocess
import tempfile
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from host.children import command, environment
from host.measurement import KernelUse
from host.twin.demo import DemoTruth, demo_truth
from host.twin.spec import TwinSpec, spec_to_json

START_S = 120.0  # the firmware's host build may have to be compiled first
STOP_S = 8.0
CONTROL_S = 10.0
# Large arrays come and go with every frame: keep their memory instead of giving it back to the kernel each time, and do
# not let a video decoder write to the terminal.
ENVIRONMENT = {
    "MALLOC_TRIM_THRESHOLD_": "268435456",
    "MALLOC_MMAP_THRESHOLD_": "33554432",
    "OPENCV_LOG_LEVEL": "ERROR",
    "OPENCV_FFMPEG_LOGLEVEL": "-8",
}


class TwinError(Exception):
    """The twin could not start, or stopped. The message says why."""


class TwinKernelError(TwinError):
    """The twin was given a kernel that it cannot use. The message names the file and says what is expected."""


@dataclass(frozen=True, slots=True)
class TwinStatus:
    """How a twin gets on, as last reported (twice a second and at the end).

    `measured` and `dropped` count frames (dropped: not measured in time at realtime pace), `resent` those that the
    board was given again; `stages_ms` are running medians of decode, convolve, noise, pool, send and board (from a
    frame's sending until it is measured); `frames_per_second` is from the first to the last measured frame.
    """

    measured: int = 0
    dropped: int = 0
    resent: int = 0
    board_pid: int | None = None
    board_restarts: int = 0
    frames_per_second: float | None = None
    stages_ms: Mapping[str, float] = field(default_factory=dict)
    peak_memory_bytes: int = 0


class Twin:
    """A simulated camera with the real firmware. `Twin(scene=...)`, then `start()`; a context manager does both ends.

    After `start`: `pty` is the serial port's stable path, `frame_count` how many frames the scene has (None: no end),
    `fps` its nominal rate, `live` whether it is a camera, `kernel` what it simulates in place of the bundle's.
    `finished` turns true once the scene has ended and its last frame was measured; the board stays so that its last
    measurements can be fetched. `failure` says what went wrong while playing (a file that stopped being readable, a
    camera that was unplugged), None while all is well.
    """

    def __init__(self, scene: str, bundle: str | Path = "default", **options: Any) -> None:
        """`options` are the other fields of TwinSpec. Raises SceneError, ValueError or TypeError for what cannot be."""
        self.spec = TwinSpec(scene=scene, bundle=str(bundle), **options)
        self.pty: Path | None = None
        self.frame_count: int | None = None
        self.fps = 0.0
        self.live = False
        self.status = TwinStatus()
        self.kernel: KernelUse | None = None
        self.failure: str | None = None
        self._wrong_kernel = False
        self._frames = 0
        self._ended = False
        self._process: subprocess.Popen[bytes] | None = None
        self._settled = threading.Event()
        self._answers: dict[int, queue.SimpleQueue[tuple[str, bool]]] = {}
        self._numbers = itertools.count()
        self._commands_lock = threading.Lock()
        self._closing = False
        # The thread that starts the process also outlives it: Linux sends the parent-death signal when the starting
        # thread ends.
        self._reader = threading.Thread(target=self._live, name="twin", daemon=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def start(self, timeout_s: float = START_S) -> Self:
        """Start the process and its board and wait until the serial port exists. Raises TwinError, TwinKernelError."""
        self._reader.start()
        if not self._settled.wait(timeout_s):
            self.close()
            raise TwinError(f"the twin did not start within {timeout_s:g} s")
        if self.failure is not None:
            self.close()
            raise (TwinKernelError if self._wrong_kernel else TwinError)(self.failure)
        return self

    @property
    def finished(self) -> bool:
        """The scene has ended, and its last frame was measured (or, at realtime pace, dropped)."""
        return self._ended

    @property
    def frames(self) -> int:
        """Number of frames that the scene had, measured and dropped; 0 until it is finished."""
        return self._frames

    @property
    def truth(self) -> DemoTruth | None:
        """Ground truth of the built-in scene, None for any other."""
        return demo_truth() if self.spec.scene == "demo" else None

    @property
    def pid(self) -> int | None:
        """Process id of the twin, None when it does not run."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

    def control(self, line: str, timeout_s: float = CONTROL_S) -> str:
        """Inject a fault into the board (`stick 3 high`, `corrupt tx 0.01`, `clear`, ...); its answer.

        Raises TwinError when the board refuses it or the twin does not run.
        """
        return self._asked({"control": line}, timeout_s)

    def rewind(self, index: int, timeout_s: float = CONTROL_S) -> int:
        """Have the frames from `index` on measured once more, as they were, then go on; how many they are.

        For a host whose board died or disarmed: what it had measured but not delivered is lost. Read what was delivered
        first, then rewind to the frame after the last one, then arm again: so no frame is missed and none comes twice.
        The last 32 measured frames are at hand. Raises TwinError when the twin does not run.
        """
        return int(self._asked({"rewind": index}, timeout_s))

    def close(self) -> None:
        """End the process and its board; can be called again."""
        self._closing = True
        process = self._process
        if process is not None:
            if process.stdin is not None and not process.stdin.closed:
                with self._commands_lock:
                    process.stdin.close()
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if self._reader.is_alive():
            self._reader.join(STOP_S)

    def _asked(self, command: dict[str, Any], timeout_s: float) -> str:
        number = next(self._numbers)
        answers = self._answers[number] = queue.SimpleQueue()
        try:
            self._send({**command, "id": number})
            answer, failed = answers.get(timeout=timeout_s)
        except queue.Empty:
            raise TwinError(f"the twin did not answer {command} within {timeout_s:g} s") from None
        finally:
            del self._answers[number]
        if failed:
            raise TwinError(answer)
        return answer

    def _send(self, command: dict[str, Any]) -> None:
        process = self._process
        if process is None or process.stdin is None or process.poll() is not None or self._closing:
            raise TwinError(f"the twin does not run: {self.failure or 'it was not started, or was closed'}")
        with self._commands_lock:
            try:
                process.stdin.write(json.dumps(command).encode() + b"\n")
            except (BrokenPipeError, ValueError) as error:
                raise TwinError("the twin has just ended") from error

    def _live(self) -> None:
        """Start the process, follow what it reports, and say why it ended."""
        with tempfile.TemporaryFile() as stray:
            process = subprocess.Popen(
                command("host.twin.process"),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stray,
                bufsize=0,
                env=environment(os.environ, **ENVIRONMENT),
                process_group=0,
            )
            self._process = process
            if process.stdin is not None and process.stdout is not None:
                process.stdin.write(spec_to_json(self.spec).encode() + b"\n")
                self._follow(process.stdout)
            status = process.wait()
            if not self._closing and self.failure is None:
                stray.seek(0)
                words = stray.read().decode(errors="replace").strip()
                self.failure = f"the twin's process ended with status {status}" + (f": {words[-500:]}" if words else "")
            self._settled.set()

    def _follow(self, output: IO[bytes]) -> None:
        with output:
            for line in iter(output.readline, b""):
                self._note(json.loads(line))

    def _note(self, report: dict[str, Any]) -> None:
        event = report.pop("event")
        if event == "started":
            self.pty = Path(report["pty"])
            self.frame_count, self.fps, self.live = report["frame_count"], report["fps"], report["live"]
            if (kernel := report["kernel"]) is not None:
                self.kernel = KernelUse(**{**kernel, "light": tuple(kernel["light"])})
            self.status = replace(self.status, board_pid=report["board_pid"])
            self._settled.set()
        elif event == "progress":
            self.status = TwinStatus(**report)
        elif event == "end":
            self._frames, self._ended = report["frames"], True
        elif event == "error":
            self._wrong_kernel = report.get("kernel", False)
            self.failure = report["message"]
        elif event == "answer" and (answers := self._answers.get(report["id"])) is not None:
            self._ended &= not report.get("rewound", False)
            answers.put((report["answer"], report["failed"]))


def serve(spec: TwinSpec, started: Callable[[Twin], None], stop: threading.Event) -> None:
    """Be a camera at `spec.pty` that a daemon can attach to like to a real board, until `stop` is set.

    `started` is called once the port exists. Without a daemon the scene waits (pace "fast") or passes by unmeasured.
    Raises TwinError when the twin cannot start or stops by itself.
    """
    twin = Twin(**{name: getattr(spec, name) for name in spec.__dataclass_fields__})
    with twin:
        started(twin)
        while not stop.wait(0.2):
            if twin.failure is not None:
                raise TwinError(twin.failure)
