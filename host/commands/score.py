"""canopic score: a scene through the whole camera, then its measurements against the truth."""

import hashlib
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress, TextColumn

from host.commands.common import BLIND, DONE, FAILED, WRONG_INPUT, expected, out, print_json, say
from host.commands.options import overrides
from host.config import Config
from host.config_file import ConfigError, load_config
from host.daemon import Limits
from host.outputs.claims import kernel_line
from host.outputs.report import About, Event, Reading, Standing, Summary
from host.score import Truth, TruthError, constant_truth, read_truth, score_measurements, score_table
from host.sensor import DETECTOR, Settings, run_configured
from host.source import Source
from host.stop import StopRequest, stop_on_signals
from host.storage import StorageError
from host.twin.demo import demo_truth
from host.twin.frame import SceneError
from host.twin.player import TwinError, TwinKernelError
from models.presence import VERSION
from optics.archive import BundleError
from optics.bundle import read_bundle, resolve_bundle

DEMO = "demo"


class Tally:
    """An output that keeps frame, occupied and count of every measurement, and shows how far it is on stderr."""

    def __init__(self, progress: Progress) -> None:
        self.measurements: list[tuple[int, bool, int]] = []
        self.about: About | None = None
        self.wanted = True
        self._progress = progress
        self._task = progress.add_task("starting", total=None)

    def start(self, about: About) -> None:
        self.about = about
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
        if counts is None and people is None and loaded.config.capture.scene != DEMO:
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
        with expected(BundleError, OSError):
            document = scored_what(loaded.config, tally.about, counts, people, frames)
        document |= {"truth_frames": len(truth.people), "kernel": used}
        print_json(document | {"run": summary.to_dict(), "score": scored.to_dict()})
    else:
        if twin is not None and twin.kernel is not None:
            out().print(f"optics: {kernel_line(twin.kernel)}")
        out().print(score_table(scored))
    return DONE


def scored_what(
    config: Config, about: About | None, counts: Path | None, people: int | None, frames: int | None
) -> dict[str, Any]:
    """What a score is of, so that it stands for nothing else: docs/bundle.md ("presence") says what each key means.

    Files by their names alone, and by their digests: what the folders of this machine are called is nobody's business.
    Raises BundleError where the bundle's file is no longer the one that measured, OSError.
    """
    bundle = read_bundle(resolve_bundle(config.bundle))
    if about is None or about.bundle_id != bundle.id:
        raise BundleError(f"{config.bundle} changed while the scene was measured: score it again")
    built_in, scene = config.capture.scene == DEMO, Path(config.capture.scene)
    # What happens to be called as the built-in scene is not taken for it.
    name = f"./{DEMO}" if scene.name == DEMO and not built_in else scene.name
    used = [path for path in (None if built_in else scene, counts) if path is not None and path.is_file()]
    truth = "built in" if counts is None else f"counts {counts.name}"
    return {
        "scene": name,
        "truth": truth if people is None else f"always {people}",
        "data_sha256": {path.name: _digest(path) for path in used},
        "bundle_id": bundle.id,
        "encoding_id": bundle.encoding.id,
        "model_sha256": hashlib.sha256(bundle.models[DETECTOR]).hexdigest(),
        "presence_version": VERSION,
        "capture_path": about.capture_path,
        "seed": config.capture.seed,
        "light": config.capture.light,
        "frames": frames,
    }


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _truth(people: int | None, measurements: list[tuple[int, bool, int]]) -> Truth:
    if people is not None:
        return constant_truth(people, 1 + max((frame for frame, _, _ in measurements), default=0))
    demo = demo_truth()
    return Truth(demo.people, demo.uncertain)
