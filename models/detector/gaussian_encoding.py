"""An encoding without learning: a Gaussian mask, and thresholds that make the codes of scenes equally frequent.

    python -m models.detector.gaussian_encoding --data ../shared/data --out encoding.npz

`models.detector.compare_encodings` measures what it is based on.
"""

import sys
from pathlib import Path
from typing import Annotated

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
    return np.asarray(kernel / kernel.sum(), np.float32)[None]


def chosen_thresholds(
    values: NDArray[np.float32], levels: int, lowest: float = LOWEST, highest: float = HIGHEST
) -> NDArray[np.float32]:
    """Fifteen thresholds, float32 (15,), with `levels` - 1 distinct values, so that `levels` codes occur.

    values: pooled values under steady exposure, any shape. The lowest and the highest threshold are given; those
    between are quantiles, so that the codes between are equally frequent. Fewer than 15 are repeated evenly.
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


def training_material(data: Path) -> Material:
    """What training scenes are made of: training photographs (less the validation part) and training crops."""
    photographs = [one for one in read_scenes(data, "train") if not validation_part(one.name)]
    return material(photographs, read_crops(data, FACES, "train"), read_crops(data, NON_FACES, "train"))


def main(
    data: Annotated[Path, typer.Option(help="Folder with the image archives.")],
    out: Annotated[Path, typer.Option(help="The .npz file to write.")],
    sigma: Annotated[float, typer.Option(help="Width of the Gaussian mask, px.")] = SIGMA_PX,
    levels: Annotated[int, typer.Option(help="Codes that occur, 3..16.")] = LEVELS,
) -> None:
    """Choose the thresholds from the training scenes and write the encoding."""
    console = Console(stderr=True)
    try:
        encoding = chosen_encoding(data, sigma, levels)
        np.savez(
            out, kernels=encoding.kernels, thresholds=encoding.thresholds, pool=encoding.pool, range=encoding.range
        )
        table = Table("comparator", "threshold")
        for index, threshold in enumerate(encoding.thresholds):
            table.add_row(str(index), f"{threshold:.4f}")
        console.print(table, f"encoding {encoding.id}, {encoding.effective_levels} effective levels")
    except DataMissingError as error:
        console.print(f"[red]{error}")
        sys.exit(1)


if __name__ == "__main__":
    typer.run(main)
