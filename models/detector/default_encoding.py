"""Chooses the default encoding from data: a Gaussian mask, and thresholds that make every code equally likely in real scenes.

    python -m models.detector.default_encoding --data ../shared/data --out encoding.npz

`--compare` measures other widths and numbers of levels beside it (identity, face or not, a short detector training).
"""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from models.detector.archives import FACES, NON_FACES, DataMissingError, read_crops, read_scenes, validation_part
from models.detector.augment import Material, material
from models.detector.scenes import fitted
from optics.encoding import THRESHOLDS, Encoding, pooled
from optics.exposure import steady_exposure

KERNEL_SIDE_PX = 63
SIGMA_PX = 4.0
LEVELS = 8
# Above sensor noise and comparator offset (1.5 mV of 2.5 V is 0.0006), so that darkness reads 0.
LOWEST = 0.012
# Below full scale, so that code 15 means "at the end of the range" and still leaves room to see by how much it is over.
HIGHEST = 0.9


def gaussian_kernel(sigma_px: float, side_px: int = KERNEL_SIDE_PX) -> NDArray[np.float32]:
    """A Gaussian point spread function that sums to 1: float32 (1, side_px, side_px), `side_px` odd."""
    if side_px % 2 == 0 or sigma_px <= 0:
        raise ValueError(f"the kernel needs an odd side and a positive sigma, got {side_px} and {sigma_px}")
    distance = np.arange(side_px) - side_px // 2
    profile = np.exp(-(distance**2) / (2 * sigma_px**2))
    kernel = np.outer(profile, profile)
    return (kernel / kernel.sum()).astype(np.float32)[None]


def chosen_thresholds(
    values: NDArray[np.float32], levels: int, lowest: float = LOWEST, highest: float = HIGHEST
) -> NDArray[np.float32]:
    """Fifteen thresholds, float32 (15,), with `levels` - 1 distinct values, so that `levels` codes occur.

    values: pooled values under steady exposure, any shape. The lowest and the highest threshold are given; those between
    are quantiles, so that the codes between are equally frequent. Fewer than 15 are repeated as evenly as possible.
    Raises ValueError unless 3 <= levels <= 16.
    """
    if not 3 <= levels <= THRESHOLDS + 1:
        raise ValueError(f"levels must be 3..16, got {levels}")
    between = values[(values > lowest) & (values < highest)]
    inner = np.quantile(between, np.arange(1, levels - 2) / (levels - 2)) if levels > 3 else np.zeros(0)
    distinct = np.concatenate([[lowest], inner, [highest]])
    return np.asarray(distinct[np.arange(THRESHOLDS) * len(distinct) // THRESHOLDS], np.float32)


def exposed_values(data: Path, kernel: NDArray[np.float32]) -> NDArray[np.float32]:
    """Pooled values of every training scene, fitted as the twin fits it, under its steady exposure: float32 (n,).

    Cells on the black surroundings of a fitted photograph are left out.
    """
    # Steady exposure depends on the highest threshold alone, which is given.
    encoding = Encoding(kernel, np.full(THRESHOLDS, HIGHEST, np.float32))
    found = []
    for photograph in read_scenes(data, "train"):
        if validation_part(photograph.name):
            continue
        cells = pooled(fitted(photograph).radiance, encoding, threads=1)
        found.append(cells.ravel() * np.float32(steady_exposure(cells, encoding.thresholds)))
    values = np.concatenate(found)
    return values[values > 1e-4]


def chosen_encoding(data: Path, sigma_px: float = SIGMA_PX, levels: int = LEVELS) -> Encoding:
    """The encoding that this module chooses from the training scenes in folder `data`."""
    kernel = gaussian_kernel(sigma_px)
    return Encoding(kernel, chosen_thresholds(exposed_values(data, kernel), levels))


def read_encoding(path: Path) -> Encoding:
    """An encoding from an .npz file with `kernels`, `thresholds` and, where they differ from the default, `pool`, `range`."""
    with np.load(path) as arrays:
        pool = int(arrays["pool"]) if "pool" in arrays else 8
        kind = "per_frame" if "range" in arrays and str(arrays["range"]) == "per_frame" else "fixed"
        return Encoding(arrays["kernels"], arrays["thresholds"], pool, kind)  # type: ignore[arg-type]


def training_material(data: Path) -> Material:
    """What training scenes are made of: training photographs (less the validation part) and training crops."""
    photographs = [one for one in read_scenes(data, "train") if not validation_part(one.name)]
    return material(photographs, read_crops(data, FACES, "train"), read_crops(data, NON_FACES, "train"))


def compare(
    data: Path, sigmas: list[float], levels: list[int], cache: Path, steps: int, scenes: int, console: Console
) -> list[dict[str, Any]]:
    """Measures every pair of sigma and levels: attackers on crops, and a short detector training judged on the
    validation part. One JSON object per pair. Needs torch."""
    from models.attackers.audit import attack, face_parts, identity_parts
    from models.attackers.classifier import AttackSettings
    from models.attackers.views import codes_view, pooled_crops
    from models.detector.evaluate import found_in, inputs_of, matches_of, torch_answer, validation_scenes
    from models.detector.metrics import average_precision, bootstrap_interval
    from models.detector.training import Settings
    from models.detector.workflow import train_on_cache

    train, test, people = identity_parts(data)
    face_train, face_test = face_parts(data, np.random.default_rng(0))
    found = []
    for sigma_px in sigmas:
        kernel = gaussian_kernel(sigma_px)
        values = exposed_values(data, kernel)
        for count in levels:
            encoding = Encoding(kernel, chosen_thresholds(values, count))

            def view(crops: NDArray[np.uint8], encoding: Encoding = encoding) -> Any:
                return codes_view(pooled_crops(crops, encoding), encoding)

            rng = np.random.default_rng(0)
            row: dict[str, Any] = {"sigma_px": sigma_px, "levels": count, "thresholds": encoding.thresholds.tolist()}
            row["identity"] = attack(view, train, test, len(people), AttackSettings(), rng)
            row["face"] = attack(view, face_train, face_test, 2, AttackSettings(epochs=15), rng)
            if steps:
                settings = Settings(steps=steps)
                folder = cache / "compare" / encoding.id[:16]
                network, _ = train_on_cache(data, encoding, settings, scenes, cache, folder, console)
                seen = validation_scenes(data, encoding)
                matches = matches_of(found_in(torch_answer(network), inputs_of(seen, encoding, rng)), seen)
                row["detector"] = {
                    "ap": average_precision(matches),
                    "ap_95": list(bootstrap_interval(matches, average_precision, rng)),
                    "faces": sum(one.faces for one in matches),
                    "steps": steps,
                }
            found.append(row)
            console.print(_line(row))
    return found


def _line(row: dict[str, Any]) -> str:
    parts = [f"sigma {row['sigma_px']:g} px, {row['levels']} levels"]
    parts += [f"{name} {100 * row[name]['per_class']:.1f} %" for name in ("identity", "face")]
    if "detector" in row:
        parts.append(f"AP {row['detector']['ap']:.3f}")
    return ", ".join(parts)


def main(
    data: Annotated[Path, typer.Option(help="Folder with the image archives.")],
    out: Annotated[Path, typer.Option(help="The .npz file to write.")],
    sigma: Annotated[float, typer.Option(help="Width of the Gaussian mask, px.")] = SIGMA_PX,
    levels: Annotated[int, typer.Option(help="Codes that occur, 3..16.")] = LEVELS,
    comparison: Annotated[Path | None, typer.Option("--compare", help="JSON file for a comparison of others.")] = None,
    sigmas: Annotated[str, typer.Option(help="Widths to compare.")] = "4,8",
    level_counts: Annotated[str, typer.Option(help="Numbers of levels to compare.")] = "4,6,8,16",
    steps: Annotated[int, typer.Option(help="Detector training steps in the comparison; 0: no detector.")] = 2000,
    scenes: Annotated[int, typer.Option(help="Training scenes in the comparison.")] = 4000,
    cache: Annotated[Path | None, typer.Option(help="Where measured scenes are kept.")] = None,
) -> None:
    """Choose the default encoding from the training scenes and write it."""
    from models.detector.cache import default_cache_root

    console = Console(stderr=True)
    try:
        encoding = chosen_encoding(data, sigma, levels)
        np.savez(out, kernels=encoding.kernels, thresholds=encoding.thresholds, pool=encoding.pool, range=encoding.range)
        table = Table("comparator", "threshold")
        for index, threshold in enumerate(encoding.thresholds):
            table.add_row(str(index), f"{threshold:.4f}")
        console.print(table, f"encoding {encoding.id}, {encoding.effective_levels} effective levels")
        if comparison is not None:
            pairs = [float(text) for text in sigmas.split(",")], [int(text) for text in level_counts.split(",")]
            found = compare(data, *pairs, cache or default_cache_root(), steps, scenes, console)
            comparison.write_text(json.dumps(found, indent=1))
    except DataMissingError as error:
        console.print(f"[red]{error}")
        sys.exit(1)


if __name__ == "__main__":
    typer.run(main)
