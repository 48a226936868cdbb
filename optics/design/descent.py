"""Gradient descent on the differentiable chain, with the constraints of fabrication inside the loop. Needs PyTorch."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from optics.design.loss import Cost, Progress, cost_and_gradient
from optics.design.problem import Problem, roughness

# Adam's step, first and last: radians of the middle colour for continuous heights, ...
FIRST_STEP_RAD, LAST_STEP_RAD = 0.1, 0.01
# ... and for levels a share of all of them, but not more than so many.
FIRST_STEP_SHARE, LARGEST_STEP_LEVELS, LAST_STEP = 0.1, 0.4, 0.1
# Adam's memory (D. P. Kingma and J. Ba, 2015): of the mean and of the square.
MEAN_KEPT, SQUARE_KEPT = 0.9, 0.99
# Steepness of the staircase between two levels, first and last: from nearly a ramp to nearly a step.
FIRST_STEEPNESS, LAST_STEEPNESS = 0.5, 15.0
# How often the quantized heights themselves are looked at; the best of them is what comes out.
LOOK_EVERY = 20


@dataclass(frozen=True, eq=False)
class Light:
    """A `Lane` (see there) as tensors. transfer, backward: turned over, (columns of the band, wave rows)."""

    phase_per_m: float
    repeat: int
    incident: torch.Tensor
    wave: tuple[int, int]
    transfer: torch.Tensor
    backward: torch.Tensor
    window: tuple[int, int]
    pixel_rows: torch.Tensor
    pixel_columns: torch.Tensor


@dataclass(frozen=True, eq=False)
class Tensors:
    """What `loss_and_gradient` needs: one `Light` per colour, and the problem."""

    lights: tuple[Light, ...]
    problem: Problem


def tensors(problem: Problem) -> Tensors:
    """The problem's fixed part as tensors, in the precision that the problem was made with."""

    def moved(values: NDArray[Any]) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(values))

    lights = [
        Light(
            lane.phase_per_m,
            lane.repeat,
            moved(lane.incident),
            lane.wave,
            moved(lane.transfer.T),
            moved(lane.transfer.conj().T),
            lane.window,
            moved(lane.pixel_rows),
            moved(lane.pixel_columns),
        )
        for lane in problem.lanes
    ]
    return Tensors(tuple(lights), problem)


def loss_and_gradient(height_m: torch.Tensor, fixed: Tensors) -> tuple[Cost, torch.Tensor]:
    """The loss of heights (rows, columns) of cells, and its gradient per metre: real, of the same shape and dtype.

    The loss is that of `optics.design.loss`, mean over the colours, plus the weighted roughness. The gradient is
    written out rather than recorded: see `loss_and_field_gradients`; with t = exp(i k h), dL/dh = k Im(g conj(t)).
    """
    fields = [_phasor(height_m * light.phase_per_m) for light in fixed.lights]
    cost, gradients = loss_and_field_gradients(fields, fixed)
    gradient = torch.zeros_like(height_m)
    for light, field, by_field in zip(fixed.lights, fields, gradients, strict=True):
        gradient.add_(by_field.imag * field.real - by_field.real * field.imag, alpha=light.phase_per_m)
    return _with_roughness(cost, height_m, fixed, gradient)


def loss_and_field_gradients(fields: Sequence[torch.Tensor], fixed: Tensors) -> tuple[Cost, list[torch.Tensor]]:
    """The loss of what the cells make of the light, and its gradients: complex (rows, columns) per colour, both.

    fields: factor on the light of each cell. A gradient g says: the loss grows by Re(sum(conj(g) change of the field)).
    With U = A t behind free space, P the pixels of |U|^2 and L the loss: g = A^H (2 dL/d|U|^2 U). Light goes to the
    window once and the error comes back once, through transforms that leave out the zeros around the mask and all that
    lies outside the window.
    """
    behind, images, gradients = [], [], []
    for light, cells in zip(fixed.lights, fields, strict=True):
        field = cells
        if light.repeat > 1:
            field = field.repeat_interleave(light.repeat, 0).repeat_interleave(light.repeat, 1)
        there = _through(field * light.incident, light.wave, light.transfer, light.window)
        intensity = there.real.square() + there.imag.square()
        behind.append(there)
        images.append((light.pixel_rows @ intensity @ light.pixel_columns.T).numpy().astype(np.float64))
    cost, by_images = cost_and_gradient(fixed.problem.wishes, np.stack(images), fixed.problem.weights)
    for light, cells, there, by_image in zip(fixed.lights, fields, behind, by_images, strict=True):
        error = torch.from_numpy(2 * by_image).to(light.pixel_rows.dtype)
        by_intensity = light.pixel_rows.T @ error @ light.pixel_columns
        rows, columns = light.incident.shape
        back = _through(there * by_intensity, light.wave, light.backward, (rows, columns)) * light.incident.conj()
        if light.repeat > 1:
            back = back.reshape(cells.shape[0], light.repeat, cells.shape[1], light.repeat).sum(dim=(1, 3))
        gradients.append(back)
    return cost, gradients


def descend(
    problem: Problem, start_m: NDArray[np.float64], iterations: int, progress: Progress | None = None
) -> tuple[NDArray[np.float64], list[dict[str, float]]]:
    """Heights float64 (features, features) that keep the constraints exactly, and the history of the iterations.

    start_m: heights (features, features) within the range. Features, range and levels are built into the variables.
    Between two levels a feature's light is a mixture of what both levels make of it (a chord, where the height's own
    way would be an arc: between two levels half a wave apart only the chord leads straight from one to the other), and
    a staircase whose steps grow steeper makes each one choose. Of the quantized maps along the way, the best is kept.

    PyTorch's number of threads, which is global, is that of the settings meanwhile, and restored.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(problem.settings.threads)
    try:
        return _descend(problem, start_m, iterations, progress)
    finally:
        torch.set_num_threads(before)


def _descend(
    problem: Problem, start_m: NDArray[np.float64], iterations: int, progress: Progress | None
) -> tuple[NDArray[np.float64], list[dict[str, float]]]:
    fixed = tensors(problem)
    variables = _Heights(problem, fixed) if problem.heights_m is None else _Levels(problem, fixed)
    values = torch.from_numpy(start_m / variables.unit_m).to(fixed.lights[0].pixel_rows.dtype)
    mean, square = torch.zeros_like(values), torch.zeros_like(values)
    best, least = values, float("inf")
    history = []
    for iteration in range(iterations):
        done = iteration / max(1, iterations - 1)
        if variables.last_steepness and iteration % LOOK_EVERY == 0:
            best, least = _better(best, least, values.round(), variables)
        cost, gradient = variables.loss(values, done)
        mean.lerp_(gradient, 1 - MEAN_KEPT)
        square.lerp_(gradient.square(), 1 - SQUARE_KEPT)
        mean_now = mean / (1 - MEAN_KEPT ** (iteration + 1))
        square_now = square / (1 - SQUARE_KEPT ** (iteration + 1))
        size = variables.first_step * (variables.last_step / variables.first_step) ** done
        values = (values - size * mean_now / (square_now.sqrt() + 1e-20)).clamp(0, variables.highest)
        state = cost.as_state()
        history.append(state)
        if progress is not None:
            progress(iteration + 1, iterations, state)
    best, _ = _better(best, least, values.round() if variables.last_steepness else values, variables)
    return best.numpy().astype(np.float64) * variables.unit_m, history


class _Heights:
    """Continuous heights, in units of one radian of the middle colour."""

    last_steepness = 0.0

    def __init__(self, problem: Problem, fixed: Tensors) -> None:
        self.fixed = fixed
        self.unit_m = 1 / sorted(light.phase_per_m for light in fixed.lights)[1]
        self.highest = problem.height_range_m / self.unit_m
        self.first_step, self.last_step = FIRST_STEP_RAD, LAST_STEP_RAD
        self.clear = torch.from_numpy(problem.clear)

    def loss(self, values: torch.Tensor, _done: float) -> tuple[Cost, torch.Tensor]:
        block = self.fixed.problem.block
        cells = _to_cells(torch.where(self.clear, values, 0), block) * self.unit_m
        cost, gradient = loss_and_gradient(cells, self.fixed)
        return cost, _to_blocks(gradient, block) * self.unit_m

    def allowed_loss(self, values: torch.Tensor) -> Cost:
        return self.loss(values, 1.0)[0]


class _Levels:
    """Levels: 0 is the lowest, one unit a step."""

    def __init__(self, problem: Problem, fixed: Tensors) -> None:
        if problem.heights_m is None:
            raise ValueError("levels need allowed heights")
        self.fixed = fixed
        self.unit_m = float(problem.heights_m[1])
        self.highest = problem.heights_m.size - 1
        self.first_step = min(FIRST_STEP_SHARE * self.highest, LARGEST_STEP_LEVELS)
        self.last_step = self.first_step * LAST_STEP
        self.last_steepness = LAST_STEEPNESS
        self.clear = torch.from_numpy(problem.clear)
        kind = fixed.lights[0].incident.dtype
        self.phasors = [
            torch.from_numpy(np.exp(1j * light.phase_per_m * problem.heights_m)).to(kind) for light in fixed.lights
        ]
        self.chords = [phasor.diff() for phasor in self.phasors]

    def loss(self, values: torch.Tensor, done: float) -> tuple[Cost, torch.Tensor]:
        steepness = FIRST_STEEPNESS * (self.last_steepness / FIRST_STEEPNESS) ** done
        block = self.fixed.problem.block
        shown = torch.where(self.clear, values, 0)
        below = shown.floor().clamp(max=self.highest - 1)
        rise = torch.tanh(steepness * (shown - below - 0.5))
        top = float(np.tanh(steepness / 2))
        above = 0.5 + rise / (2 * top)
        slope = (1 - rise.square()) * (steepness / (2 * top))
        index = below.long()
        chords = [chord[index] for chord in self.chords]
        fields = [
            _to_cells(phasor[index] + above * chord, block) for phasor, chord in zip(self.phasors, chords, strict=True)
        ]
        cost, by_field = loss_and_field_gradients(fields, self.fixed)
        gradient = torch.zeros_like(values)
        for one, chord in zip(by_field, chords, strict=True):
            summed = _to_blocks(one, block)
            gradient += summed.real * chord.real + summed.imag * chord.imag
        heights = _to_cells((below + above) * self.unit_m, block)
        cost, rough = _with_roughness(cost, heights, self.fixed, torch.zeros_like(heights))
        gradient += _to_blocks(rough, block) * self.unit_m
        return cost, torch.where(self.clear, gradient * slope, 0)

    def allowed_loss(self, values: torch.Tensor) -> Cost:
        cells = _to_cells(torch.where(self.clear, values, 0), self.fixed.problem.block)
        cost, _ = loss_and_field_gradients([phasor[cells.long()] for phasor in self.phasors], self.fixed)
        return _with_roughness(cost, cells * self.unit_m, self.fixed, torch.zeros_like(cells))[0]


def _better(
    best: torch.Tensor, least: float, candidate: torch.Tensor, variables: _Heights | _Levels
) -> tuple[torch.Tensor, float]:
    value = variables.allowed_loss(candidate).value
    return (candidate, value) if value < least else (best, least)


def _with_roughness(
    cost: Cost, height_m: torch.Tensor, fixed: Tensors, gradient: torch.Tensor
) -> tuple[Cost, torch.Tensor]:
    if not fixed.problem.settings.smoothness:
        return cost, gradient
    rough, by_height = roughness(fixed.problem, height_m.numpy().astype(np.float64))
    gradient += torch.from_numpy(by_height).to(gradient.dtype)
    return replace(cost, value=cost.value + rough), gradient


def _phasor(phase: torch.Tensor) -> torch.Tensor:
    return torch.complex(torch.cos(phase), torch.sin(phase))


def _through(field: torch.Tensor, wave: tuple[int, int], transfer: torch.Tensor, kept: tuple[int, int]) -> torch.Tensor:
    """Transform, multiply, transform back; the first `kept` rows and columns: as in `optics.design.lane`.

    Arrays are turned over in between: transforms along memory are several times faster here than those across it.
    """
    spectrum = torch.fft.fft(field, n=wave[1], dim=1)[:, : transfer.shape[0]]
    spectrum = torch.fft.fft(spectrum.T.contiguous(), n=wave[0], dim=1)
    spectrum *= transfer
    half = torch.fft.ifft(spectrum, dim=1)[:, : kept[0]]
    there: torch.Tensor = torch.fft.ifft(half.T.contiguous(), n=wave[1], dim=1)
    return there[:, : kept[1]]


def _to_cells(blocks: torch.Tensor, block: int) -> torch.Tensor:
    return blocks if block == 1 else blocks.repeat_interleave(block, 0).repeat_interleave(block, 1)


def _to_blocks(cells: torch.Tensor, block: int) -> torch.Tensor:
    if block == 1:
        return cells
    rows, columns = cells.shape[0] // block, cells.shape[1] // block
    return cells.reshape(rows, block, columns, block).sum(dim=(1, 3))
