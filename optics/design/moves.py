"""The last step of a quantized design: features move by one level, those that promise most, as long as it helps.

Direct search among the levels (M. A. Seldowitz, J. P. Allebach and D. W. Sweeney, "Synthesis of digital holograms by
direct binary search", Appl. Opt. 26, 2788 (1987), doi:10.1364/AO.26.002788), many features at a time: what each move
would bring is known for all of them from one gradient.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from optics.design.lane import adjoint, cells_of, forward, in_pixels, transmitted
from optics.design.loss import Cost, Progress, cost_and_gradient
from optics.design.problem import Problem, roughness, to_blocks, to_cells

# Share of the features that move at once: at first, and the factors by which success and failure change it.
FIRST_SHARE, GROWTH, CUT = 0.02, 1.2, 0.6


def last_moves(
    problem: Problem, heights_m: NDArray[np.float64], rounds: int, rng: np.random.Generator, progress: Progress | None
) -> tuple[NDArray[np.float64], list[dict[str, float]]]:
    """Allowed heights float64 (features, features), no worse than heights_m (allowed ones), and the history.

    A move of a feature changes its field by a finite step, not along the gradient of its phase: between two levels half
    a wave apart the two are at right angles. So moves are judged by the gradient with respect to the field. Half of the
    features, drawn anew each round, are looked at; else two that undo each other would move for ever.
    """
    levels = problem.heights_m
    if levels is None or not rounds:
        return heights_m, []
    at = np.rint(heights_m / levels[1]).astype(np.intp)
    count = int(problem.clear.sum())
    share = FIRST_SHARE
    cost, gains, steps = _look(problem, at, levels)
    history = []
    for done in range(rounds):
        promised = np.where(rng.random(at.shape) < 0.5, gains, 0).ravel()
        number = max(1, round(share * count))
        chosen = np.argpartition(promised, promised.size - number)[-number:]
        chosen = chosen[promised[chosen] > 0]
        moved = at.copy()
        moved.flat[chosen] += steps.flat[chosen]
        then = _look(problem, moved, levels)
        if then[0].value < cost.value:
            at, (cost, gains, steps) = moved, then
            share = min(share * GROWTH, 0.5)
        else:
            share *= CUT
        state = cost.as_state()
        history.append(state)
        if progress is not None:
            progress(done + 1, rounds, state)
        if share * count < 0.5:
            break
    return np.asarray(levels[at]), history


def _look(
    problem: Problem, at: NDArray[np.intp], levels: NDArray[np.float64]
) -> tuple[Cost, NDArray[np.float64], NDArray[np.intp]]:
    """The loss at these levels, what the better move of each feature promises, and which (-1 or 1)."""
    heights = np.where(problem.clear, levels[at], 0)
    cells = to_cells(problem, heights)
    up, down = np.zeros(at.shape), np.zeros(at.shape)
    threads = problem.settings.threads
    fields = [transmitted(lane, cells) for lane in problem.lanes]
    behind = [forward(lane, field, threads) for lane, field in zip(problem.lanes, fields, strict=True)]
    images = [in_pixels(lane, there).astype(np.float64) for lane, there in zip(problem.lanes, behind, strict=True)]
    cost, by_images = cost_and_gradient(problem.wishes, np.stack(images), problem.weights)
    for lane, field, there, by_image in zip(problem.lanes, fields, behind, by_images, strict=True):
        by_intensity = lane.pixel_rows.T @ by_image.astype(lane.pixel_rows.dtype) @ lane.pixel_columns
        back = adjoint(lane, there * by_intensity, threads)
        # A step turns the field of a feature by a phase that is the same for all of its cells.
        product = back.conj() * field
        turned = 2 * to_blocks(problem, cells_of(lane, product.real).astype(np.float64))
        across = 2 * to_blocks(problem, cells_of(lane, product.imag).astype(np.float64))
        phase = lane.phase_per_m * levels[1]
        cosine, sine = float(np.cos(phase)) - 1, float(np.sin(phase))
        up -= turned * cosine - across * sine
        down -= turned * cosine + across * sine
    rough, by_height = roughness(problem, cells)
    slope = to_blocks(problem, by_height) * levels[1]
    up[at == levels.size - 1] = -np.inf
    down[at == 0] = -np.inf
    gains = np.where(problem.clear, np.maximum(up - slope, down + slope), 0)
    cost = replace(cost, value=cost.value + rough)
    return cost, gains, np.where(up - slope >= down + slope, 1, -1).astype(np.intp)
