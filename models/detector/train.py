"""Trains the detector for one encoding, from archives to an int8 ONNX file. Interrupted, it goes on where it stopped.

    python -m models.detector.train --data ../shared/data --out DIR [--encoding encoding.npz] [--from DIR] [--plain]

Writes DIR/detector.onnx (int8), detector_float.onnx, encoding.npz, training.json (settings, data digests, durations,
where it began, what was checked) and checkpoint.pt. Needs torch.
"""

import json
import sys
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console

from models.detector.archives import DataMissingError
from models.detector.cache import default_cache_root
from models.detector.training import Settings
from models.detector.workflow import cached_samples, finished, train_on_cache
from models.encoding_file import read_encoding
from optics.archive import BundleError
from optics.bundle import read_bundle, resolve_bundle
from optics.encoding import Encoding


def encoding_from(text: str) -> Encoding:
    """The encoding in an .npz file, in a bundle file, or in the bundle called "default"."""
    if text.endswith(".npz"):
        return read_encoding(Path(text))
    return read_bundle(resolve_bundle(text)).encoding


def main(
    data: Annotated[Path, typer.Option(help="Folder with the image archives.")],
    out: Annotated[Path, typer.Option(help="Folder to write to, and to go on from.")],
    encoding: Annotated[str, typer.Option(help='A bundle, "default", or an .npz from gaussian_encoding.')] = "default",
    scenes: Annotated[int, typer.Option(help="Training scenes to measure.")] = 12_000,
    steps: Annotated[int, typer.Option(help="Training steps.")] = Settings.steps,
    batch: Annotated[int, typer.Option(help="Windows per step.")] = Settings.batch,
    seed: Annotated[int, typer.Option(help="Of weights and batches.")] = 0,
    cache: Annotated[Path | None, typer.Option(help="Where measured scenes are kept (else CANOPIC_CACHE).")] = None,
    start: Annotated[
        Path | None, typer.Option("--from", help="Begin with the weights in this folder, made by an earlier training.")
    ] = None,
    learning_rate: Annotated[
        float,
        typer.Option(help="Highest learning rate; a third of the default suits a training that begins with --from."),
    ] = Settings.learning_rate,
    plain: Annotated[bool, typer.Option("--plain", help="Train on unencoded pictures instead: the ceiling.")] = False,
) -> None:
    """Train the detector for one encoding."""
    console = Console(stderr=True)
    try:
        chosen = encoding_from(encoding)
        out.mkdir(parents=True, exist_ok=True)
        settings = Settings(steps=steps, batch=batch, seed=seed, learning_rate=learning_rate)
        root = cache or default_cache_root()
        network, done = train_on_cache(data, chosen, settings, scenes, root, out, console, not plain, start)
        samples = cached_samples(data, chosen, scenes, root, console)
        model, small, checks = finished(network, data, chosen, samples, not plain, np.random.default_rng(seed))
    except (DataMissingError, BundleError, OSError, KeyError, TypeError, ValueError) as error:
        console.print(f"[red]{error}")
        sys.exit(1)
    (out / "detector_float.onnx").write_bytes(model)
    (out / "detector.onnx").write_bytes(small)
    np.savez(
        out / "encoding.npz", kernels=chosen.kernels, thresholds=chosen.thresholds, pool=chosen.pool, range=chosen.range
    )
    (out / "training.json").write_text(json.dumps(done | checks, indent=1))
    console.print(json.dumps(checks, indent=1))


if __name__ == "__main__":
    typer.run(main)
