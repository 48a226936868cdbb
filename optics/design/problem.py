"""Everything that stays the same while heights are sought: target, lanes of light, allowed heights, loss."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from optics.design.lane import Lane, forward, in_pixels, make_lane, transmitted
from optics.design.settings import DesignSettings, height_range, prepare_target
from optics.mask import Geometry, circular_stop


@dataclass(frozen=True, eq=False)
class Problem:
    """A design's fixed part.

    target: float64 (3, rows, columns), each colour of unit sum. stop: float64 (cells, cells), amplitude. geometry: with
    the target's window. lanes: one per colour. height_range_m: largest height. heights_m: float64 (levels,) of the
    allowed ones, or None. block: side of a feature in cells. clear: bool (features, features), blocks that light
    passes; the others stay at height 0.
    """

    target: NDArray[np.float64]
    stop: NDArray[np.float64]
    geometry: Geometry
    lanes: tuple[Lane, Lane, Lane]
    height_range_m: float
    heights_m: NDArray[np.float64] | None
    block: int
    clear: NDArray[np.bool_]
    settings: DesignSettings


def make_problem(target: NDArray[np.float64], settings: DesignSettings, double: bool = False) -> Problem:
    """Check and prepare. double: complex128 all the way, for checks. Raises DesignError and SamplingError."""
    wanted, geometry = prepare_target(target, settings)
    block = settings.feature_cells
    side = settings.features * block
    stop = circular_stop((side, side), settings.pitch_m)
    red, green, blue = (
        make_lane(stop, settings.pitch_m, geometry, settings.material, wavelength_m, double)
        for wavelength_m in geometry.wavelengths_m
    )
    largest_m = height_range(settings)
    heights_m = None if settings.levels is None else np.linspace(0, largest_m, settings.levels)
    clear = stop.reshape(settings.features, block, settings.features, block).any(axis=(1, 3))
    return Problem(wanted, stop, geometry, (red, green, blue), largest_m, heights_m, block, clear, settings)


def to_cells(problem: Problem, blocks_m: NDArray[np.float64]) -> NDArray[np.float64]:
    """Heights of blocks (features, features) as heights of cells (cells, cells); 0 where no light passes."""
    shown = np.where(problem.clear, blocks_m, 0)
    return np.asarray(np.repeat(np.repeat(shown, problem.block, axis=0), problem.block, axis=1))


def to_blocks(problem: Problem, cells: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sum of cells (cells, cells) over each block: (features, features)."""
    if problem.block == 1:
        return cells
    side = problem.settings.features
    return np.asarray(cells.reshape(side, problem.block, side, problem.block).sum(axis=(1, 3)))


def psf_of(problem: Problem, blocks_m: NDArray[np.float64]) -> NDArray[np.float64]:
    """PSF float64 (3, rows, columns) for heights of blocks."""
    cells = to_cells(problem, blocks_m)
    threads = problem.settings.threads
    planes = [in_pixels(lane, forward(lane, transmitted(lane, cells), threads)) for lane in problem.lanes]
    return np.stack(planes).astype(np.float64)


def quality(problem: Problem, psf: NDArray[np.float64]) -> tuple[list[float], list[float]]:
    """Correlation with the target (Pearson's, over the window) and throughput of each colour of (3, rows, columns)."""
    correlations = []
    for plane, wanted in zip(psf, problem.target, strict=True):
        a, b = plane - plane.mean(), wanted - wanted.mean()
        # A target of one value throughout has no contrast to correlate with; then the shapes are compared as they are.
        if not b.any():
            a, b = plane, wanted
        norms = float(np.sqrt((a * a).sum() * (b * b).sum()))
        correlations.append(float((a * b).sum()) / norms if norms else 0.0)
    return correlations, [float(plane.sum()) for plane in psf]
