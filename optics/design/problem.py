"""Everything that stays the same while heights are sought: target, lanes of light, allowed heights, loss."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from optics.design.lane import Lane, forward, in_pixels, make_lane, transmitted
from optics.design.loss import Cost, Weights, Wish, cost_and_gradient, make_wish
from optics.design.settings import DesignSettings, height_range, prepare_target
from optics.mask import Geometry, circular_stop


@dataclass(frozen=True, eq=False)
class Problem:
    """A design's fixed part.

    target: float64 (3, rows, columns), each colour of unit sum. stop: float64 (cells, cells), amplitude. geometry: with
    the target's window. lanes, wishes: one per colour. weights: of the loss. height_range_m: largest height.
    heights_m: float64 (levels,) of the allowed ones, or None. block: side of a feature in cells. clear: bool
    (features, features), blocks that light passes; the others stay at height 0.
    """

    target: NDArray[np.float64]
    stop: NDArray[np.float64]
    geometry: Geometry
    lanes: tuple[Lane, Lane, Lane]
    wishes: tuple[Wish, Wish, Wish]
    weights: Weights
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
    clear = np.asarray(stop.reshape(settings.features, block, settings.features, block).any(axis=(1, 3)))
    return Problem(
        wanted,
        stop,
        geometry,
        (red, green, blue),
        (make_wish(wanted[0]), make_wish(wanted[1]), make_wish(wanted[2])),
        Weights(settings.scenes, settings.light),
        largest_m,
        heights_m,
        block,
        clear,
        settings,
    )


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


def cost(problem: Problem, psf: NDArray[np.float64]) -> Cost:
    """The loss of a PSF (3, rows, columns), mean over the colours, and its parts (without the heights' smoothness)."""
    return cost_and_gradient(problem.wishes, psf, problem.weights)[0]


def roughness(problem: Problem, cells_m: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
    """Weighted mean of the squared phase steps (rad^2, second colour) between neighbouring clear cells, and its
    gradient with respect to the heights, per metre; both zero without a weight."""
    gradient = np.zeros_like(cells_m)
    weight = problem.settings.smoothness
    if not weight:
        return 0.0, gradient
    clear = problem.stop > 0
    scale = problem.lanes[1].phase_per_m
    pairs = [clear[1:] & clear[:-1], clear[:, 1:] & clear[:, :-1]]
    weight /= sum(int(pair.sum()) for pair in pairs)
    total = 0.0
    for axis, pair in enumerate(pairs):
        step = np.where(pair, np.diff(cells_m, axis=axis), 0) * scale
        total += float((step * step).sum())
        step *= 2 * scale * weight
        first, second = (gradient[:-1], gradient[1:]) if axis == 0 else (gradient[:, :-1], gradient[:, 1:])
        second += step
        first -= step
    return weight * total, gradient
