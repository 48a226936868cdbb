"""From data to a detector that ships: measure scenes, train, choose a score threshold, quantize, check. Needs torch."""

import hashlib
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
from models.detector.cache import Samples, build, cache_folder
from models.detector.default_encoding import training_material
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
from models.detector.network import FaceNetwork
from models.detector.scenes import COLUMNS, ROWS
from models.detector.training import Settings, train
from optics.encoding import Encoding

CALIBRATION_SCENES = 200
SCENE_SEED = 0


def data_digests(data: Path) -> dict[str, str]:
    """SHA-256 of every archive that training reads."""
    return {name: file_digest(archive_path(data, name)) for name in (SCENES, FACES, NON_FACES)}


def progress_bar(console: Console) -> Progress:
    """A progress bar with counts, the last loss and the time left."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console)


def cached_samples(data: Path, encoding: Encoding, scenes: int, cache: Path, console: Console) -> Samples:
    """`scenes` measured training scenes from the cache, made where they are missing."""
    folder = cache_folder(cache, encoding, data_digests(data), SCENE_SEED)
    with progress_bar(console) as bar:
        task = bar.add_task("scenes", total=scenes)
        source = training_material(data)
        return build(folder, source, encoding, scenes, SCENE_SEED, lambda done: bar.update(task, completed=done))


def train_on_cache(
    data: Path,
    encoding: Encoding,
    settings: Settings,
    scenes: int,
    cache: Path,
    out: Path,
    console: Console,
    encoded: bool = True,
) -> tuple[FaceNetwork, dict[str, Any]]:
    """Trains a network on codes (or, with `encoded` False, on unencoded pictures), going on from `out`/checkpoint.pt.

    Returns the network and what was done, as a JSON object.
    """
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
        )
    done = {
        "settings": asdict(settings),
        "steps_done": settings.steps,
        "scenes": len(samples),
        "scene_seed": SCENE_SEED,
        "encoded": encoded,
        "encoding_id": encoding.id,
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


def finished(
    network: FaceNetwork, data: Path, encoding: Encoding, samples: Samples, encoded: bool, rng: np.random.Generator
) -> tuple[bytes, bytes, dict[str, Any]]:
    """The float and the int8 ONNX model, and what was measured: parity, AP before and after, score threshold.

    Calibration uses training scenes, the threshold and the comparison the validation part.
    """
    full_scale = 15.0 if encoded else 255.0
    calibration = inputs_of(samples, encoding, rng, encoded, limit=CALIBRATION_SCENES)
    channels = encoding.channels if encoded else 3
    model = export_float(network, (ROWS, COLUMNS, channels), full_scale)
    small = quantized(model, calibration)
    checked = validation_scenes(data, encoding)
    codes = inputs_of(checked, encoding, rng, encoded)
    noise = rng.integers(0, int(full_scale) + 1, (8, ROWS, COLUMNS, channels)).astype(np.uint8)
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
    ap = {name: average_precision_of(way, codes, checked) for name, way in ways.items()}
    threshold, count_error = counting_threshold(ways["onnx_int8"], codes, checked)
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
