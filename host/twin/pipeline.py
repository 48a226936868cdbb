"""From a scene to cells for the board, on two threads: one decodes and convolves a frame ahead of the other's noise.

    scene -> decode, convolve -> [one frame] -> noise, pool -> [one frame] -> whoever sends

Light behind the mask does not depend on the exposure, so it can be made before the exposure of its frame is known.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from statistics import median

import numpy as np
from numpy.typing import NDArray

from host.twin.channel import Channel
from host.twin.feed import Cells
from host.twin.frame import Frame
from host.twin.scene import Scene
from host.twin.simulation import Camera, behind_mask, cell_volts, exposed, workspace

# A real camera's controls land late; so do these, by this many frames after the last one sent.
EXPOSURE_LATENCY_FRAMES = 3
START_EXPOSURE_US, START_GAIN = 10_000, 1.0


class Stopwatch:
    """Durations of named stages, the last hundred of each; safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._durations_s: dict[str, deque[float]] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measure what happens inside the with block."""
        began_s = time.perf_counter()
        yield
        self.add(name, time.perf_counter() - began_s)

    def add(self, name: str, duration_s: float) -> None:
        """Note one duration."""
        with self._lock:
            self._durations_s.setdefault(name, deque(maxlen=100)).append(duration_s)

    def medians_ms(self) -> dict[str, float]:
        """Running median of every stage so far, in milliseconds."""
        with self._lock:
            return {name: median(durations_s) * 1000 for name, durations_s in self._durations_s.items()}


class DelayedExposure:
    """Exposure and gain by frame number: a command takes effect three frames after the last one sent."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._commands: list[tuple[int, int, float]] = [(0, START_EXPOSURE_US, START_GAIN)]

    def command(self, last_sent: int, exposure_us: int, gain: float) -> None:
        """Ask for another exposure; `last_sent` is the number of the newest frame that the board was given, or -1."""
        with self._lock:
            self._commands.append((last_sent + EXPOSURE_LATENCY_FRAMES, exposure_us, gain))

    def at(self, number: int) -> tuple[int, float]:
        """Exposure (us) and gain of frame `number`; numbers must not go back."""
        with self._lock:
            while len(self._commands) > 1 and self._commands[1][0] <= number:
                self._commands.pop(0)
            _, exposure_us, gain = self._commands[0]
        return exposure_us, gain


class SceneClock:
    """When a frame is due. Fast: always. Realtime: on the scene's clock, which starts with the first measured frame."""

    def __init__(self, realtime: bool, period_s: float) -> None:
        self._realtime, self._period_s = realtime, period_s
        self._began = threading.Event()
        self._stopping = threading.Event()
        self._zero_s = 0.0
        self._first = True
        self.skipped = 0
        self.waited_s = 0.0

    @property
    def running(self) -> bool:
        """Whether the clock has started."""
        return self._began.is_set()

    def start(self, time_s: float) -> None:
        """It is `time_s` now; later calls change nothing."""
        if not self._began.is_set():
            self._zero_s = time.monotonic() - time_s
            self._began.set()

    def stop(self) -> None:
        """Free whoever waits."""
        self._stopping.set()
        self._began.set()

    def wanted(self, _index: int, time_s: float) -> bool:
        """Wait until a frame is due; False when it is late by a whole period, so that the next one is due already."""
        first, self._first = self._first, False
        if not self._realtime or first:
            return not self._stopping.is_set()
        asked_s = time.monotonic()
        self._began.wait()
        due_s = self._zero_s + time_s
        self._stopping.wait(max(0.0, due_s - time.monotonic()))
        now_s = time.monotonic()
        self.waited_s += now_s - asked_s
        late = now_s - due_s >= self._period_s
        self.skipped += late
        return not late and not self._stopping.is_set()


class Pipeline:
    """The two threads. `cells` gives what they make; `failure` says why they stopped, if not at the scene's end."""

    def __init__(
        self, scene: Scene, camera: Camera, rng: np.random.Generator, clock: SceneClock, notify: Callable[[], None]
    ) -> None:
        self.exposure = DelayedExposure()
        self.stopwatch = Stopwatch()
        self.cells: Channel[Cells] = Channel(notify)
        self._irradiance: Channel[tuple[Frame, NDArray[np.float32]]] = Channel()
        self._scene, self._camera, self._rng, self._clock = scene, camera, rng, clock
        self._threads = ThreadPoolExecutor(2, "twin")
        self._work: list[Future[None]] = []

    def start(self) -> None:
        """Begin to make cells."""
        self._work = [self._threads.submit(self._look), self._threads.submit(self._measure)]

    def failure(self) -> BaseException | None:
        """What ended a thread early, once one has ended so."""
        errors = (thread.exception() for thread in self._work if thread.done())
        return next((error for error in errors if error is not None), None)

    def close(self) -> None:
        """Stop both threads and wait for them."""
        self._clock.stop()
        self._irradiance.close()
        self.cells.close()
        self._threads.shutdown()

    def _look(self) -> None:
        try:
            frames = self._scene.frames(self._clock.wanted)
            while True:
                began_s = time.monotonic() - self._clock.waited_s
                frame = next(frames, None)
                if frame is None:
                    return
                self.stopwatch.add("decode", time.monotonic() - self._clock.waited_s - began_s)
                with self.stopwatch.stage("convolve"):
                    irradiance = behind_mask(self._camera, frame.radiance)
                if not self._irradiance.put((frame, irradiance)):
                    return
        finally:
            self._irradiance.end()

    def _measure(self) -> None:
        work, number = workspace(self._camera), 0
        try:
            while (item := self._irradiance.get()) is not None:
                frame, irradiance = item
                exposure_us, gain = self.exposure.at(number)
                with self.stopwatch.stage("noise"):
                    values = exposed(self._camera, irradiance, exposure_us, gain, self._rng, work)
                with self.stopwatch.stage("pool"):
                    volts = cell_volts(self._camera, values)
                if not self.cells.put(Cells(number, frame.index, frame.time_s, exposure_us, gain, volts)):
                    return
                number += 1
        finally:
            self.cells.end()
            self._irradiance.close()
