"""How fast the whole camera is: throughput with every stage busy, and the latency of one frame at a time.

Two measurements, since they answer different questions. Throughput: the daemon plays a scene at pace fast, all stages
working at once, as in `canopic run`; each stage's time is read where it is spent. Latency: one synthetic frame after
the other is handed to the board, and the clock stops when its decision is made and an event is stored. Nothing queues
there, so that is what a frame costs; the camera's own exposure and the hold times come on top.
"""

import os
import resource
import select
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from host.board.thresholds import REFERENCE_VOLTS
from host.capture import Capture
from host.config_file import load_config
from host.daemon import Limits
from host.outputs.report import About, Event, Reading, Standing, Summary
from host.pipeline import Pipeline
from host.sensor import Equipment, Settings, load_equipment, run_configured
from host.source import Source
from host.stop import StopRequest
from host.storage import StoredEvent, open_storage
from host.twin.board_process import BoardProcess
from host.twin.feed import BoardFeed, Cells, Finished
from host.twin.player import TwinStatus

TWIN_STAGES = ("decode", "convolve", "noise", "pool", "send", "board")
TWIN_STATUS_S = 2.0
HOST_STAGES = ("detector", "presence", "occupancy", "exposure")
WARM_UP = 20
PERIOD_S = 0.1
REPLY_S = 5.0
CREDIT_S = 0.002


@dataclass(frozen=True, slots=True)
class PipelineBench:
    """What `bench_pipeline` measured. Stages: median milliseconds per frame. `board_ms`: from handing a frame to the
    board until it has measured it; `link_ms`: from then until the whole measurement is at the host; `frame_to_event_*`:
    from handing it over until the decision and its event are stored. Memory: peak resident bytes of each process.
    """

    scene: str
    pace: str
    frames: int
    frames_per_second: float
    twin_stages_ms: Mapping[str, float]
    host_stages_ms: Mapping[str, float]
    board_ms: float
    link_ms: float
    storage_ms: float
    frame_to_event_p50_ms: float
    frame_to_event_p99_ms: float
    latency_frames: int
    peak_memory_bytes: Mapping[str, int]
    load_average: tuple[float, float, float]
    processors: int

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


class _Collected:
    """An output that keeps stage times and the memory of the processes behind the run."""

    def __init__(self) -> None:
        self.stages_ms: dict[str, list[float]] = {name: [] for name in HOST_STAGES}
        self.times_s: list[float] = []
        self.source: Source | None = None
        self.twin: TwinStatus | None = None
        self.board_bytes = 0
        self.wanted = True

    def start(self, about: About) -> None:
        """Nothing to keep."""

    def standing(self, standing: Standing) -> None:
        """Nothing to keep."""

    def progress(self, text: str) -> None:
        """Nothing to show."""

    def event(self, event: Event) -> None:
        """Nothing to keep."""

    def reading(self, reading: Reading) -> None:
        self.times_s.append(time.monotonic())
        for name, milliseconds in reading.stages_ms.items():
            self.stages_ms[name].append(milliseconds)
        if reading.sequence % 50 == 49:
            self._look()

    def close(self, summary: Summary) -> None:
        if not summary.measurements:
            return
        self._look()
        # The twin tells its times twice a second: a short run may be over before it has said them all.
        deadline_s = time.monotonic() + TWIN_STATUS_S
        while self.twin is not None and not self._stages_told() and time.monotonic() < deadline_s:
            time.sleep(0.05)
            self._look()

    def _stages_told(self) -> bool:
        return self.twin is not None and set(TWIN_STAGES) <= set(self.twin.stages_ms)

    def _look(self) -> None:
        if self.source is not None and self.source.twin is not None:
            self.twin = self.source.twin.status
            self.board_bytes = max(self.board_bytes, _peak_memory_bytes(self.twin.board_pid))


def bench_pipeline(scene: str, frames: int, pace: str, bundle: str, seed: int) -> PipelineBench:
    """Measure throughput over `frames` frames of `scene`, then the latency over as many synthetic ones.

    Raises what the scene, the bundle, the board or the storage raises; ValueError for fewer than two frames.
    """
    if frames < 2:
        raise ValueError(f"a benchmark needs at least two frames, got {frames}")
    given = {"capture.scene": scene, "capture.pace": pace, "capture.seed": seed, "bundle": bundle}
    config = load_config(None, {key: (value, f"--{key}") for key, value in given.items()}).config
    collected = _Collected()

    def opened(source: Source) -> None:
        collected.source = source

    with tempfile.TemporaryDirectory(prefix="canopic-") as directory:
        settings = Settings(config, Path(directory), Limits(frames, stay_blind=False))
        summary = run_configured(settings, [collected], StopRequest(), opened)
        if len(collected.times_s) < 2:
            raise ValueError(f"nothing to measure: {summary.why_stopped}: {summary.reason or ''}")
    equipment = load_equipment(config)
    latency = _latency(equipment, Pipeline(equipment.detector, equipment.bundle.encoding, config), frames, seed)
    twin = collected.twin or TwinStatus()
    spent_s = collected.times_s[-1] - collected.times_s[0]
    return PipelineBench(
        scene=scene,
        pace=pace,
        frames=summary.measurements,
        frames_per_second=round((len(collected.times_s) - 1) / spent_s, 1),
        twin_stages_ms={name: round(twin.stages_ms[name], 2) for name in TWIN_STAGES if name in twin.stages_ms},
        host_stages_ms={name: round(median(times), 2) for name, times in collected.stages_ms.items() if times},
        board_ms=round(latency.board_ms, 2),
        link_ms=round(latency.link_ms, 2),
        storage_ms=round(latency.storage_ms, 2),
        frame_to_event_p50_ms=round(latency.p50_ms, 2),
        frame_to_event_p99_ms=round(latency.p99_ms, 2),
        latency_frames=latency.frames,
        peak_memory_bytes={
            "daemon": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            "twin": twin.peak_memory_bytes,
            "board": collected.board_bytes,
        },
        load_average=os.getloadavg(),
        processors=len(os.sched_getaffinity(0)),
    )


@dataclass(frozen=True, slots=True)
class _Latency:
    board_ms: float
    link_ms: float
    storage_ms: float
    p50_ms: float
    p99_ms: float
    frames: int


def _latency(equipment: Equipment, pipeline: Pipeline, frames: int, seed: int) -> _Latency:
    """One frame at a time through the real firmware, serial link, models and storage."""
    rng = np.random.default_rng(seed)
    spans: list[tuple[float, float, float, float]] = []
    with (
        BoardProcess(seed=seed) as board,
        tempfile.TemporaryDirectory(prefix="canopic-") as directory,
        open_storage(Path(directory)) as storage,
    ):
        capture = Capture(str(board.pty), equipment.bundle)
        capture.verify(*pipeline.exposure)
        feed = BoardFeed(board.frames_socket)
        feed.connect()
        background = rng.uniform(0.05, 0.8, capture.shape).astype(np.float32) * np.float32(REFERENCE_VOLTS)
        for number in range(frames + WARM_UP):
            cells = Cells(number, number, number * PERIOD_S, 10_000, 1.0, _volts(background, number, rng))
            capture.read(CREDIT_S)  # lets the board measure: the client gives credit while it reads
            began_s = time.perf_counter()
            feed.send(cells)
            _await_finished(feed, number)
            measured_s = time.perf_counter()
            measurement = capture.read(REPLY_S)
            if measurement is None:
                raise ValueError(f"frame {number} gave no measurement within {REPLY_S:g} s")
            received_s = time.perf_counter()
            pipeline.decide(measurement, cells.time_s)
            decided_s = time.perf_counter()
            # Every frame stores an event here, the most expensive case; in a room events are rare.
            event = StoredEvent(str(number), "count_changed", cells.time_s, time.time(), {"count": number})
            storage.commit([event], pipeline.small_state())
            stored_s = time.perf_counter()
            spans.append((measured_s - began_s, received_s - measured_s, stored_s - decided_s, stored_s - began_s))
        feed.disconnect()
        capture.release(disarm=True)
    board_s, link_s, storage_s, whole_s = np.array(spans[WARM_UP:]).T
    p50, p99 = np.percentile(whole_s, [50, 99]) * 1000
    board_ms, link_ms, storage_ms = (float(np.median(span)) * 1000 for span in (board_s, link_s, storage_s))
    return _Latency(board_ms, link_ms, storage_ms, float(p50), float(p99), len(whole_s))


def _volts(background: NDArray[np.float32], number: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Pooled voltages of a still room in which something moves: float32 (rows, columns, channels)."""
    volts = background + rng.normal(0, 0.005, background.shape).astype(np.float32)
    left = number * 2 % max(1, background.shape[1] - 12)
    volts[10:40, left : left + 12] = 1.2
    return volts


def _await_finished(feed: BoardFeed, number: int) -> None:
    until_s = time.monotonic() + REPLY_S
    while feed.descriptor is not None and time.monotonic() < until_s:
        select.select([feed.descriptor], [], [], 0.1)
        for report in feed.reports():
            if isinstance(report, Finished) and report.index == number and report.measured:
                return
    raise ValueError(f"the board did not measure frame {number} within {REPLY_S:g} s")


def _peak_memory_bytes(pid: int | None) -> int:
    """Peak resident memory of another process (Linux), 0 where that is not known."""
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        return 0
    return 0


def as_table(result: PipelineBench) -> Table:
    """The result for a terminal."""
    title = f"{result.scene}, {result.pace}: {result.frames_per_second:.1f} frames/s over {result.frames} frames"
    table = Table("stage", "where", "median ms a frame", title=title, title_justify="left")
    for name, milliseconds in result.twin_stages_ms.items():
        if name != "board":
            table.add_row(name, "twin", f"{milliseconds:.2f}")
    table.add_row("board", "firmware, host build", f"{result.board_ms:.2f}")
    table.add_row("link", "serial protocol", f"{result.link_ms:.2f}")
    for name, milliseconds in result.host_stages_ms.items():
        table.add_row(name, "daemon", f"{milliseconds:.2f}")
    table.add_row("storage, an event", "daemon", f"{result.storage_ms:.2f}")
    p50, p99 = result.frame_to_event_p50_ms, result.frame_to_event_p99_ms
    memory = ", ".join(f"{name} {peak / 1e6:.0f} MB" for name, peak in result.peak_memory_bytes.items())
    table.caption = (
        f"frame to stored event, one at a time, {result.latency_frames} frames: {p50:.1f} ms median, {p99:.1f} ms p99\n"
        f"peak memory: {memory}\n"
        f"load average {result.load_average[0]:.1f} on {result.processors} processors"
    )
    return table
