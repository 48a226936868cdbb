"""What the daemon's tests share: a small scene with known events, an output that remembers, a daemon on a thread."""

import json
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from host.board.errors import BoardProgramError
from host.boundary.client import BoundaryCapture
from host.causes import Interlock
from host.config_file import load_config
from host.daemon import Limits
from host.outputs.json_lines import event_object, measurement_object
from host.outputs.report import About, Event, Reading, Standing, Summary
from host.sensor import Settings, run_configured
from host.source import Source
from host.stop import StopRequest
from host.twin.board_process import board_executable

FPS = 10
EMPTY_FRAMES, PRESENT_FRAMES, AFTER_FRAMES = 40, 40, 60
FRAMES = EMPTY_FRAMES + PRESENT_FRAMES + AFTER_FRAMES


def board_missing() -> str:
    """Why there is no board program to test with, "" if there is one."""
    try:
        board_executable()
    except BoardProgramError as error:
        return str(error).splitlines()[0]
    return ""


def make_room(folder: Path, frames: int = FRAMES) -> Path:
    """A folder of pictures: an empty room for 4 s, somebody without a face who walks in, stands and walks out again for
    4 s, and the empty room for 6 s."""
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(3)
    room = cv2.resize(rng.uniform(40, 150, (12, 16, 3)).astype(np.uint8), (320, 240), interpolation=cv2.INTER_CUBIC)
    clothes = rng.choice([20, 60, 200, 240], (10, 4, 3)).astype(np.uint8)
    somebody = cv2.resize(clothes, (64, 160), interpolation=cv2.INTER_NEAREST)
    for index in range(frames):
        picture = room.copy()
        step = index - EMPTY_FRAMES
        if 0 <= step < PRESENT_FRAMES:
            walked = min(step + 1, PRESENT_FRAMES - step, 12)
            left = 14 * walked - 64 + 2 * (step % 2)
            picture[70:230, max(left, 0) : left + 64] = somebody[:, max(-left, 0) :]
        cv2.imwrite(str(folder / f"{index:04d}.png"), picture)
    return folder


class Memory:
    """An output that keeps everything, as the JSON objects that `--json` prints."""

    def __init__(self) -> None:
        self.measurements: list[dict[str, Any]] = []
        self.events: list[dict[str, Any]] = []
        self.standings: list[Standing] = []
        self.codes: list[bytes] = []
        self.about: About | None = None
        self.summary: Summary | None = None
        self.wanted = True

    def start(self, about: About) -> None:
        self.about = about

    def standing(self, standing: Standing) -> None:
        self.standings.append(standing)

    def progress(self, text: str) -> None:
        pass

    def reading(self, reading: Reading) -> None:
        self.measurements.append(json.loads(json.dumps(measurement_object(reading))))
        self.codes.append(reading.measurement.codes.tobytes())

    def event(self, event: Event) -> None:
        self.events.append(json.loads(json.dumps(event_object(event))))

    def close(self, summary: Summary) -> None:
        self.summary = summary

    def kinds(self, *wanted: str) -> list[str]:
        return [event["event"] for event in self.events if event["event"] in wanted]

    def states(self) -> list[str]:
        return [event["to"] for event in self.events if event["event"] == "state"]

    @property
    def state(self) -> str:
        return self.standings[-1].state if self.standings else "starting"


class Running:
    """A daemon on a thread, with its source and its output at hand; a context manager that stops it."""

    def __init__(
        self,
        scene: Path | str,
        directory: Path,
        limits: Limits | None = None,
        interlocks: Sequence[Interlock] = (),
        **overrides: Any,
    ) -> None:
        given = {"capture.pace": "fast", "capture.scene": str(scene), **overrides}
        config = load_config(None, {key: (value, "test") for key, value in given.items()}).config
        self.memory = Memory()
        self.stop = StopRequest()
        self.source: Source | None = None
        self.summary: Summary | None = None
        self._opened = threading.Event()
        self._settings = Settings(config, directory, limits or Limits(), interlocks=interlocks)
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        def opened(source: Source) -> None:
            self.source = source
            self._opened.set()

        self.summary = run_configured(self._settings, [self.memory], self.stop, opened)

    def __enter__(self) -> "Running":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.ask("test over")
        self._thread.join(30)

    def control(self, line: str) -> str:
        """Inject a fault into the twin's board."""
        assert self._opened.wait(30)
        assert self.source is not None
        assert self.source.twin is not None
        return self.source.twin.control(line)

    @property
    def boundary(self) -> BoundaryCapture:
        """The boundary process of paths camera and loop."""
        assert self._opened.wait(30)
        assert self.source is not None
        assert self.source.boundary is not None
        return self.source.boundary

    def until(self, condition: Callable[[], object], seconds: float = 30.0) -> None:
        """Wait for something to become true."""
        end_s = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end_s, f"did not happen in {seconds} s; {self.memory.events[-3:]}"
            assert self._thread.is_alive() or condition(), f"the daemon ended: {self.summary}"
            time.sleep(0.01)

    def finish(self, seconds: float = 60.0) -> Memory:
        """Wait for the run to end by itself."""
        self._thread.join(seconds)
        assert not self._thread.is_alive(), self.memory.events[-3:]
        return self.memory
