"""From data to a detector that ships: measure scenes, train, choose a score threshold, quantize, check. Needs torch."""

import hashlib
import json
import platform
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from models.detector.archives import FACES, NON_FACES, SCENES, archive_path, file_digest
from models.detector.batches import random_batch
from models.detector.cache import Light, Samples, build, cache_folder
from models.detector.evaluate import (
    Answer,
    average_precision_of,
    counting_threshold,
    inputs_of,
    onnx_answer,
    torch_answer,
    validation_scenes,
)
from models.detector.export import export_float, quantized
from models.detector.gaussian_encoding import training_material
from models.detector.network import FaceNetwork
from models.detector.training import Settings, train
from optics.encoding import Encoding

CALIBRATION_SCENES = 200
SCENE_SEED = 0
SCENE_THREADS = 2


def data_digests(data: Path) -> dict[str, str]:
    """SHA-256 of every archive that training reads."""
    return {name: file_digest(archive_path(data, name)) for name in (SCENES, FACES, NON_FACES)}


def progress_bar(console: Console) -> Progress:
    """A progress bar with counts, the last loss and the time left."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console)


def cached_samples(
    data: Path, encoding: Encoding, scenes: int, cache: Path, console: Console, light: Light = "linear"
) -> Samples:
    """`scenes` measured training scenes from the cache, made where they are missing."""
    folder = cache_folder(cache, encoding, data_digests(data), SCENE_SEED, light)
    with progress_bar(console) as bar:
        task = bar.add_task("scenes", total=scenes)
        source = training_material(data)

        def report(done: int) -> None:
            bar.update(task, completed=done)

        return build(folder, source, encoding, scenes, SCENE_SEED, report, light, threads=SCENE_THREADS)


def train_on_cache(
    data: Path,
    encoding: Encoding,
    settings: Settings,
    scenes: int,
    cache: Path,
    out: Path,
    console: Console,
    encoded: bool = True,
    start: Path | None = None,
) -> tuple[FaceNetwork, dict[str, Any]]:
    """Trains a network on codes (or, with `encoded` False, on unencoded pictures), going on from `out`/checkpoint.pt.

    start: a folder made by `train` whose weights it begins with. Returns the network and what was done, as a JSON
    object. Raises ValueError for a start without weights, or weights that do not fit.
    """
    begun = None if start is None else weights_in(start)
    # OpenCV's own threads would wait for each other on small pictures and take the other cores from everybody else.
    cv2.setNumThreads(1)
    started = time.monotonic()
    samples = cached_samples(data, encoding, scenes, cache, console)
    measured_s = time.monotonic() - started
    losses: list[tuple[int, float]] = []
    with progress_bar(console) as bar:
        task = bar.add_task("training", total=settings.steps)

        def report(step: int, loss: float) -> None:
            losses.append((step, round(loss, 4)))
            bar.update(task, completed=step, description=f"training, loss {loss:.2f}")

        network = train(
            lambda rng: random_batch(samples, encoding, rng, settings.batch, encoded=encoded),
            settings,
            out / "checkpoint.pt",
            encoding.channels if encoded else 3,
            report=report,
            start=begun,
        )
    done = {
        "settings": asdict(settings),
        "steps_done": settings.steps,
        "scenes": len(samples),
        "scene_seed": SCENE_SEED,
        "encoded": encoded,
        "encoding_id": encoding.id,
        "started_from": None if begun is None else {"checkpoint_sha256": file_digest(begun), **_about_start(begun)},
        "data_sha256": data_digests(data),
        "parameters": sum(weight.numel() for weight in network.parameters()),
        "measuring_s": round(measured_s, 1),
        "training_s": round(time.monotonic() - started - measured_s, 1),
        "losses_of_this_run": losses,
        "torch": torch.__version__,
        "onnxruntime": onnxruntime.__version__,
        "machine": platform.machine(),
    }
    return network, done


def weights_in(folder: Path) -> Path:
    """The checkpoint in a folder made by `train`. Raises ValueError where there is none."""
    path = folder / "checkpoint.pt"
    if not path.is_file():
        raise ValueError(f"{path} is missing: give a folder that `python -m models.detector.train` wrote")
    return path


def _about_start(checkpoint: Path) -> dict[str, Any]:
    """What is known of the training that the weights come from."""
    about = checkpoint.with_name("training.json")
    if not about.is_file():
        return {}
    known = json.loads(about.read_text())
    return {name: known[name] for name in ("encoding_id", "encoded", "steps_done", "started_from") if name in known}


def finished(
    network: FaceNetwork, data: Path, encoding: Encoding, samples: Samples, encoded: bool, rng: np.random.Generator
) -> tuple[bytes, bytes, dict[str, Any]]:
    """The float and the int8 ONNX model, and what was measured: parity, AP before and after, score threshold.

    Calibration uses training scenes, the threshold and the comparison the validation part.
    """
    full_scale = 15.0 if encoded else 255.0
    calibration = inputs_of(samples, encoding, rng, encoded, limit=CALIBRATION_SCENES)
    channels = encoding.channels if encoded else 3
    shape = (*(samples.cells if encoded else samples.plain).shape[1:3], channels)
    model = export_float(network, shape, full_scale)
    small = quantized(model, calibration)
    checked = validation_scenes(data, encoding)
    codes = inputs_of(checked, encoding, rng, encoded)
    noise = rng.integers(0, int(full_scale) + 1, (8, *shape)).astype(np.uint8)
    ways: dict[str, Answer] = {
        "torch": torch_answer(network, full_scale),
        "onnx_float": onnx_answer(model),
        "onnx_int8": onnx_answer(small),
    }
    parity: dict[str, Any] = {}
    reference = ways["torch"]
    for name in ("onnx_float", "onnx_int8"):
        for kind, inputs in (("random", noise), ("scenes", codes)):
            gaps = [_gap(reference(one), ways[name](one)) for one in inputs]
            parity[f"{name}_{kind}"] = {"heat_largest_difference": max(gaps)}
    ap = {name: average_precision_of(way, codes, checked, encoded) for name, way in ways.items()}
    threshold, count_error = counting_threshold(ways["onnx_int8"], codes, checked, encoded)
    return (
        model,
        small,
        {
            "parity": parity,
            "validation_ap": ap,
            "validation_scenes": len(checked),
            "score_threshold": threshold,
            "validation_count_error": count_error,
            "sha256": hashlib.sha256(small).hexdigest(),
            "bytes": len(small),
        },
    )


def _gap(one: tuple[Any, Any], other: tuple[Any, Any]) -> float:
    return float(np.abs(one[0] - other[0]).max())
