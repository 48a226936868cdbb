"""Heights by alternating projections in three colours, started from where geometrical optics would send each ray.

R. W. Gerchberg and W. O. Saxton, "A practical algorithm for the determination of phase from image and diffraction plane
pictures", Optik 35, 237 (1972). The quantization that grows step by step is F. Wyrowski's, "Diffractive optical
elements: iterative calculation of quantized, blazed phase structures", J. Opt. Soc. Am. A 7, 961 (1990),
doi:10.1364/JOSAA.7.000961.
"""

import math

import numpy as np
from numpy.typing import NDArray

from optics.design.lane import adjoint, cells_of, forward, in_pixels, transmitted
from optics.design.loss import Progress
from optics.design.problem import Problem, cost, to_blocks, to_cells
from optics.mask import cell_positions_m

# Blur of the transport plan, as a share of the window's side: smaller follows the target more closely.
TRANSPORT_BLUR = 0.04
TRANSPORT_ROUNDS = 60
TRANSPORT_SIDE = 64
# Share of the iterations after which heights are drawn to the levels.
FREE_SHARE = 0.4
# No pixel is asked to change its amplitude by more than this factor at once.
LARGEST_STEP = 3.0


def transport_start(problem: Problem) -> NDArray[np.float64]:
    """Heights float64 (features, features), unbounded, of the smooth surface that refracts the stop's light into the
    target: for rays, the gradient of the potential that moves one distribution to the other at least cost.

    Entropic optimal transport (M. Cuturi, NIPS 2013) with a separable kernel. A ray at x that is to land at T(x) needs
    the delay -f(x) / distance, f the dual potential of the squared distance: T(x) = x - grad f.
    """
    settings, geometry = problem.settings, problem.geometry
    wanted = problem.target.mean(axis=0)
    window = [(np.arange(n) - n // 2) * geometry.pixel_pitch_m for n in wanted.shape]
    side_m = settings.features * problem.block * settings.pitch_m
    coarse = min(settings.features, TRANSPORT_SIDE)
    source = cell_positions_m(coarse, side_m / coarse)
    light = (np.hypot(source[:, np.newaxis], source) <= side_m / 2).astype(np.float64)
    light /= light.sum()
    blur_m = TRANSPORT_BLUR * max(wanted.shape) * geometry.pixel_pitch_m
    kernels = [_gaussian(source, positions, blur_m) for positions in window]
    tiny = np.finfo(np.float64).tiny
    after = np.ones(wanted.shape)
    for _ in range(TRANSPORT_ROUNDS):
        before = light / np.maximum(kernels[0] @ after @ kernels[1].T, tiny)
        after = wanted / np.maximum(kernels[0].T @ before @ kernels[1], tiny)
    fine = cell_positions_m(settings.features, problem.block * settings.pitch_m)
    reached = _gaussian(fine, window[0], blur_m) @ after @ _gaussian(fine, window[1], blur_m).T
    delay_m = blur_m**2 * np.log(np.maximum(reached, tiny)) / geometry.sensor_distance_m
    if math.isfinite(geometry.source_distance_m):
        delay_m -= (fine[:, np.newaxis] ** 2 + fine**2) / (2 * geometry.source_distance_m)
    return _delaying(problem, delay_m)


def focusing(problem: Problem) -> NDArray[np.float64]:
    """Heights float64 (features, features), unbounded, of the lens that makes a point of light a point: for
    comparison."""
    settings, geometry = problem.settings, problem.geometry
    place_m = cell_positions_m(settings.features, problem.block * settings.pitch_m)
    vergence_per_m = 1 / geometry.sensor_distance_m + 1 / geometry.source_distance_m
    return _delaying(problem, -(place_m[:, np.newaxis] ** 2 + place_m**2) / 2 * vergence_per_m)


def _delaying(problem: Problem, delay_m: NDArray[np.float64]) -> NDArray[np.float64]:
    """Heights, from zero upwards, for an optical path (metres of air) at the middle colour."""
    middle = sorted(problem.lanes, key=lambda lane: lane.wavelength_m)[1]
    height_m = delay_m * (2 * np.pi / middle.wavelength_m) / middle.phase_per_m
    return np.asarray(height_m - height_m[problem.clear].min())


def gerchberg_saxton(
    problem: Problem, start_m: NDArray[np.float64], iterations: int, progress: Progress | None = None
) -> tuple[NDArray[np.float64], list[dict[str, float]]]:
    """Heights float64 (features, features) whose PSF comes near the target, and the history of the iterations.

    start_m: heights to begin with, unbounded. Each iteration lets every colour's light go to the window, gives each
    pixel the amplitude that the target asks for and leaves the phase and all that lies outside as they are, goes back,
    and moves each height by what the three colours' phases ask for on average. After FREE_SHARE of the iterations the
    heights are drawn to the allowed ones, more and more; the result is not yet quantized (`project` does that).
    """
    heights = fold(problem, start_m)
    free = int(iterations * FREE_SHARE)
    history = []
    threads = problem.settings.threads
    for iteration in range(iterations):
        cells = to_cells(problem, heights)
        asked, weight = np.zeros_like(heights), np.zeros_like(heights)
        planes = []
        for lane, wanted in zip(problem.lanes, problem.target, strict=True):
            field = transmitted(lane, cells)
            behind = forward(lane, field, threads)
            pixels = in_pixels(lane, behind)
            planes.append(pixels.astype(np.float64))
            share = np.sqrt(wanted * pixels.sum() / np.maximum(pixels, 1e-12 * pixels.max()))
            change = np.minimum(share, LARGEST_STEP).astype(pixels.dtype) - 1
            # Shares of samples in pixels carry 1 / power in the rows: scaled so that a whole sample counts one.
            rows = lane.pixel_rows / lane.pixel_rows.max()
            back = field + adjoint(lane, behind * (rows.T @ change @ lane.pixel_columns), threads)
            turn = back * field.conj()
            asked += to_blocks(problem, cells_of(lane, turn.imag).astype(np.float64)) / lane.phase_per_m
            weight += to_blocks(problem, cells_of(lane, np.abs(turn)).astype(np.float64))
        heights = heights + np.where(problem.clear, asked / np.maximum(weight, 1e-12), 0)
        if iteration >= free and problem.heights_m is not None:
            share_drawn = (iteration + 1 - free) / (iterations - free)
            nearest = project(problem, heights)
            # Wyrowski's: heights near a level, a growing band, are set to it; the others are left to move.
            step = problem.heights_m[1] - problem.heights_m[0]
            folded = fold(problem, heights)
            near = np.abs(folded - nearest) <= share_drawn * step / 2
            heights = np.where(near, nearest, folded)
        else:
            heights = fold(problem, heights)
        state = cost(problem, np.stack(planes)).as_state()
        history.append(state)
        if progress is not None:
            progress(iteration + 1, iterations, state)
    return heights, history


def fold(problem: Problem, heights_m: NDArray[np.float64]) -> NDArray[np.float64]:
    """Heights outside the range brought into it by whole waves of the middle colour, or to its nearer end."""
    middle = sorted(problem.lanes, key=lambda lane: lane.wavelength_m)[1]
    wave_m = 2 * np.pi / middle.phase_per_m
    largest_m = problem.height_range_m
    # The room that is left beside whole waves is shared by both ends: what is closer to 0 than to the top goes to 0.
    period_m = max(wave_m, wave_m * math.ceil(largest_m / wave_m - 1e-9))
    gap_m = period_m - largest_m
    folded = np.mod(heights_m + gap_m / 2, period_m) - gap_m / 2
    # What lies in the range stays: a top that is a whole wave above the bottom is that for one colour only.
    inside = (heights_m >= 0) & (heights_m <= largest_m)
    return np.asarray(np.where(inside, heights_m, np.clip(folded, 0, largest_m)))


def project(problem: Problem, heights_m: NDArray[np.float64]) -> NDArray[np.float64]:
    """The nearest allowed heights, exactly."""
    folded = fold(problem, heights_m)
    if problem.heights_m is None:
        return folded
    step = problem.heights_m[1]
    return np.asarray(problem.heights_m[np.rint(folded / step).astype(np.intp)])


def _gaussian(a_m: NDArray[np.float64], b_m: NDArray[np.float64], blur_m: float) -> NDArray[np.float64]:
    return np.asarray(np.exp(-((a_m[:, np.newaxis] - b_m) ** 2) / (2 * blur_m**2)))
