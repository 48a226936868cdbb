"""An encoding without learning: a Gaussian mask, and thresholds that are spread, given, or make codes equally frequent.

    python -m models.detector.gaussian_encoding --out encoding.npz
    python -m models.detector.gaussian_encoding --sigma 4 --levels 8 --data ../shared/data --out frequent.npz
    python -m models.detector.gaussian_encoding --sigma 16 --pool 32 --thresholds 0.05,0.15,0.4,0.9 --out wide.npz

`models.detector.compare_encodings` measures what it is based on.
"""

import math
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
SIGMA_PX = 2.5
LEVELS = 16
POOL_PX = 8
# Above sensor noise and comparator offset (1.5 mV of 2.5 V is 0.0006), so that darkness reads 0.
LOWEST = 0.012
# Below full scale, so that code 15 means "at the end of the range" and still leaves room to see by how much it is over.
HIGHEST = 0.9
# 21 mV of 2.5 V, more than four times the 5 mV of hysteresis that a comparator may have: a board's calibration allows a
# quarter of the smallest step.
LEAST_STEP = 0.0085
# What thresholds as float32 (24 bits) may lose of it.
ROUNDING = 1e-6
# Of full scale: 2.5 mV, to which spread thresholds are rounded.
THOUSAND = 1000


def gaussian_kernel(sigma_px: float, side_px: int = KERNEL_SIDE_PX) -> NDArray[np.float32]:
    """A Gaussian point spread function that sums to 1: float32 (1, side_px, side_px), `side_px` odd."""
    if side_px % 2 == 0 or sigma_px <= 0:
        raise ValueError(f"the kernel needs an odd side and a positive sigma, got {side_px} and {sigma_px}")
    distance = np.arange(side_px) - side_px // 2
    profile = np.exp(-(distance**2) / (2 * sigma_px**2))
    kernel = np.outer(profile, profile)
    return np.asarray(kernel / kernel.sum(), np.float32)[None]


def chosen_thresholds(
    values: NDArray[np.float32],
    levels: int,
    lowest: float = LOWEST,
    highest: float = HIGHEST,
    least_step: float = LEAST_STEP,
) -> NDArray[np.float32]:
    """Fifteen thresholds, float32 (15,), with `levels` - 1 distinct values, so that `levels` codes occur.

    values: pooled values under steady exposure, any shape. The lowest and the highest threshold are given; those
    between are quantiles, so that the codes between are equally frequent, moved as far as neighbours must be apart:
    `least_step`, in shares of full scale as all of these. Fewer than 15 are repeated evenly. Raises ValueError unless
    3 <= levels <= 16 and so many steps fit between the lowest and the highest.
    """
    if not 3 <= levels <= THRESHOLDS + 1:
        raise ValueError(f"levels must be 3..16, got {levels}")
    between = values[(values > lowest) & (values < highest)]
    inner = np.quantile(between, np.arange(1, levels - 2) / (levels - 2)) if levels > 3 else np.zeros(0)
    if (levels - 2) * least_step > highest - lowest:
        raise ValueError(
            f"{levels - 1} thresholds {least_step:g} apart do not fit between {lowest:g} and {highest:g}: "
            "ask for fewer levels or a smaller step"
        )
    distinct = np.concatenate([[lowest], inner, [highest]])
    steps = np.arange(len(distinct)) * least_step
    # Pushed up from the lowest, then down from the highest: distances from an even ladder may only grow.
    distinct = np.maximum.accumulate(distinct - steps)
    distinct = np.minimum(distinct, highest - steps[-1]) + steps
    return np.asarray(distinct[np.arange(THRESHOLDS) * len(distinct) // THRESHOLDS], np.float32)


def spread_thresholds(levels: int) -> NDArray[np.float64]:
    """Distinct thresholds, each the same factor above the one below: float64 (levels - 1,), from darkness to `HIGHEST`.

    A face far darker than what meters its scene still changes codes (docs/decisions/0043).
    """
    return np.geomspace(LOWEST, HIGHEST, levels)[1:]


def spread_encoding(sigma_px: float = SIGMA_PX, levels: int = LEVELS, pool: int = POOL_PX) -> Encoding:
    """A Gaussian mask and a ladder of `levels` - 1 thresholds in whole thousandths of full scale.

    Rises are those of `spread_thresholds`, each at least `LEAST_STEP`: what that takes from the others they give up in
    proportion to what they have beyond it. Raises ValueError unless 2 <= levels <= 16.
    """
    if not 2 <= levels <= THRESHOLDS + 1:
        raise ValueError(f"levels must be 2..{THRESHOLDS + 1}, got {levels}")
    rises = np.diff(spread_thresholds(levels), prepend=LOWEST)
    least = np.full(levels - 1, LEAST_STEP)
    least[0] = 0
    beyond = np.maximum(rises - least, 0)
    ladder = LOWEST + np.cumsum(least + (rises.sum() - least.sum()) * beyond / beyond.sum())
    found: list[int] = []
    for one in ladder:
        found.append(max(round(one * THOUSAND), found[-1] + math.ceil(LEAST_STEP * THOUSAND) if found else 0))
    return Encoding(gaussian_kernel(sigma_px), given_thresholds([one / THOUSAND for one in found]), pool)


def given_thresholds(distinct: list[float]) -> NDArray[np.float32]:
    """Fifteen thresholds, float32 (15,), of 1 to 15 given ones, ascending shares of full scale; repeated evenly.

    Raises ValueError for others than that, or for two that lie closer than `LEAST_STEP`.
    """
    values = np.asarray(distinct, np.float64)
    if not (1 <= len(values) <= THRESHOLDS and values[0] > 0 and values[-1] <= 1 and (np.diff(values) > 0).all()):
        raise ValueError(
            f"expected 1 to {THRESHOLDS} ascending thresholds in 0..1, got {', '.join(map(str, distinct))}"
        )
    if len(values) > 1 and np.diff(values).min() < LEAST_STEP - ROUNDING:
        raise ValueError(
            f"thresholds must lie {LEAST_STEP:g} of full scale apart, two are {np.diff(values).min():.4g}: "
            "ask for fewer, or for others"
        )
    return np.asarray(values[np.arange(THRESHOLDS) * len(values) // THRESHOLDS], np.float32)


def options_of(encoding: Encoding) -> str | None:
    """The options with which this module makes an encoding again, bit for bit; None where it cannot.

    Thresholds are always named: how they were found cannot be seen in them.
    """
    kernel = encoding.kernels
    if encoding.range != "fixed" or len(kernel) != 1 or kernel.shape[1:] != (KERNEL_SIDE_PX, KERNEL_SIDE_PX):
        return None
    middle = KERNEL_SIDE_PX // 2
    fall = float(kernel[0, middle, middle]) / max(float(kernel[0, middle, middle + 1]), 1e-30)
    if not 1 < fall < np.inf:
        return None
    sigma_px = round(float(np.sqrt(0.5 / np.log(fall))), 2)
    # As few digits as make the same float32 again.
    distinct = [np.format_float_positional(one, trim="-") for one in np.unique(encoding.thresholds)]
    try:
        again = Encoding(gaussian_kernel(sigma_px), given_thresholds([float(one) for one in distinct]), encoding.pool)
    except ValueError:
        return None
    if again != encoding:
        return None
    return f"--sigma {sigma_px:g} --pool {encoding.pool} --thresholds {','.join(distinct)}"


def exposed_values(data: Path, kernel: NDArray[np.float32], pool: int = POOL_PX) -> NDArray[np.float32]:
    """Pooled values of every training scene, fitted as the twin fits it, under its steady exposure: float32 (n,).

    Cells on the black surroundings of a fitted photograph are left out.
    """
    # Steady exposure depends on the highest threshold alone, which is given.
    encoding = Encoding(kernel, np.full(THRESHOLDS, HIGHEST, np.float32), pool)
    found = []
    for photograph in read_scenes(data, "train"):
        if validation_part(photograph.name):
            continue
        cells = pooled(fitted(photograph).radiance, encoding, threads=1)
        found.append(cells.ravel() * np.float32(steady_exposure(cells, encoding.thresholds)))
    values = np.concatenate(found)
    return values[values > 1e-4]


def chosen_encoding(data: Path, sigma_px: float = SIGMA_PX, levels: int = LEVELS, pool: int = POOL_PX) -> Encoding:
    """The encoding that this module chooses from the training scenes in folder `data`."""
    kernel = gaussian_kernel(sigma_px)
    return Encoding(kernel, chosen_thresholds(exposed_values(data, kernel, pool), levels), pool)


def training_material(data: Path) -> Material:
    """What training scenes are made of: training photographs (less the validation part) and training crops."""
    photographs = [one for one in read_scenes(data, "train") if not validation_part(one.name)]
    return material(photographs, read_crops(data, FACES, "train"), read_crops(data, NON_FACES, "train"))


def main(
    out: Annotated[Path, typer.Option(help="The .npz file to write.")],
    data: Annotated[
        Path | None,
        typer.Option(help="Folder with the image archives: thresholds then make codes of its scenes equally frequent."),
    ] = None,
    sigma: Annotated[float, typer.Option(help="Width of the Gaussian mask, px.")] = SIGMA_PX,
    levels: Annotated[int, typer.Option(help="Codes that occur, 2..16 (chosen from images: 3..16).")] = LEVELS,
    pool: Annotated[int, typer.Option(help="Side of a cell, px.")] = POOL_PX,
    thresholds: Annotated[
        str | None, typer.Option(help="Given ones: shares of full scale, as 0.05,0.15,0.4,0.9.")
    ] = None,
) -> None:
    """Write an encoding. Unless given or chosen from images, each threshold is the same factor above the one below."""
    console = Console(stderr=True)
    try:
        if thresholds is not None:
            given = [float(part) for part in thresholds.split(",")]
            encoding = Encoding(gaussian_kernel(sigma), given_thresholds(given), pool)
        elif data is not None:
            encoding = chosen_encoding(data, sigma, levels, pool)
        else:
            encoding = spread_encoding(sigma, levels, pool)
        np.savez(
            out, kernels=encoding.kernels, thresholds=encoding.thresholds, pool=encoding.pool, range=encoding.range
        )
        table = Table("comparator", "threshold")
        for index, threshold in enumerate(encoding.thresholds):
            table.add_row(str(index), f"{threshold:.4f}")
        console.print(table, f"encoding {encoding.id}, {encoding.effective_levels} effective levels")
    except (DataMissingError, ValueError) as error:
        console.print(f"[red]{error}")
        sys.exit(1)


if __name__ == "__main__":
    typer.run(main)
