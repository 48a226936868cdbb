"""canopic score: a scene through the whole camera, then its measurements against the truth."""

import tempfile
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.progress import Progress, TextColumn

from host.commands.common import BLIND, DONE, FAILED, WRONG_INPUT, expected, out, print_json, say
from host.commands.options import overrides
from host.config_file import ConfigError, load_config
from host.daemon import Limits
from host.outputs.claims import kernel_line
from host.outputs.report import About, Event, Reading, Standing, Summary
from host.score import Truth, TruthError, constant_truth, read_truth, score_measurements, score_table
from host.sensor import Settings, run_configured
from host.source import Source
from host.stop import StopRequest, stop_on_signals
from host.storage import StorageError
from host.twin.demo import demo_truth
from host.twin.frame import SceneError
from host.twin.player import TwinError, TwinKernelError


class Tally:
    """An output that keeps frame, occupied and count of every measurement, and shows how far it is on stderr."""

    def __init__(self, progress: Progress) -> None:
        self.measurements: list[tuple[int, bool, int]] = []
        self.wanted = True
        self._progress = progress
        self._task = progress.add_task("starting", total=None)

    def start(self, about: About) -> None:
        self._progress.update(self._task, description=about.source)

    def standing(self, standing: Standing) -> None:
        if standing.state == "blind":
            say(f"blind: {standing.reason}")

    def progress(self, text: str) -> None:
        self._progress.update(self._task, description=text)

    def reading(self, reading: Reading) -> None:
        frame = reading.measurement.provenance.frame
        self.measurements.append((frame, reading.occupied, reading.count))
        if len(self.measurements) % 10 == 0:
            self._progress.update(self._task, completed=len(self.measurements))

    def event(self, event: Event) -> None:
        """Events are not scored: the truth is per frame."""

    def close(self, summary: Summary) -> None:
        self._progress.update(self._task, completed=summary.measurements)


def score_scene(
    scene: str | None,
    *,
    counts: Path | None,
    people: int | None,
    bundle: str | None,
    seed: int | None,
    kernel: Path | None,
    frames: int | None,
    as_json: bool,
) -> int:
    """Measure every frame of the scene, compare, print."""
    with expected(ConfigError, TruthError, ValueError, status=WRONG_INPUT, prefix=""):
        given = overrides(scene=scene, pace="fast", bundle=bundle, seed=seed, kernel=kernel, output_format="none")
        loaded = load_config(None, given)
        if (counts is not None) + (people is not None) > 1:
            raise ValueError("canopic: --counts and --people exclude each other")
        if counts is None and people is None and loaded.config.capture.scene != "demo":
            raise ValueError("canopic: only the demo scene brings its truth; give --counts FILE or --people N")
        truth = read_truth(counts) if counts else None
    sources: list[Source] = []
    stop = StopRequest()
    with (
        tempfile.TemporaryDirectory(prefix="canopic-") as directory,
        stop_on_signals(stop),
        Progress(
            TextColumn("{task.description}"), TextColumn("{task.completed} frames"), console=Console(stderr=True)
        ) as bar,
    ):
        tally = Tally(bar)
        settings = Settings(loaded.config, Path(directory), Limits(frames, stay_blind=False))
        with expected(StorageError, SceneError, TwinError), expected(TwinKernelError, status=WRONG_INPUT):
            summary = run_configured(settings, [tally], stop, sources.append)
    if summary.state == "blind" or summary.failed:
        say(f"canopic: {summary.why_stopped}: {summary.reason or ''}")
        return BLIND if summary.state == "blind" else FAILED
    twin = sources[0].twin if sources else None
    with expected(ValueError):
        truth = truth or _truth(people, tally.measurements)
        scored = score_measurements(tally.measurements, truth, twin.fps if twin else 10.0)
    if as_json:
        used = None if twin is None or twin.kernel is None else asdict(twin.kernel)
        document = {"scene": loaded.config.capture.scene, "kernel": used}
        print_json(document | {"run": summary.to_dict(), "score": scored.to_dict()})
    else:
        if twin is not None and twin.kernel is not None:
            out().print(f"optics: {kernel_line(twin.kernel)}")
        out().print(score_table(scored))
    return DONE


def _truth(people: int | None, measurements: list[tuple[int, bool, int]]) -> Truth:
    if people is not None:
        return constant_truth(people, 1 + max((frame for frame, _, _ in measurements), default=0))
    demo = demo_truth()
    return Truth(demo.people, demo.uncertain)
