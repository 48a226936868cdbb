"""Gradient descent on the differentiable chain, with the constraints of fabrication inside the loop. Needs PyTorch."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from optics.design.problem import Problem

Progress = Callable[[int, int, dict[str, Any]], None]


@dataclass(frozen=True, eq=False)
class Light:
    """A `Lane` (see there) and its colour's target as tensors.

    direction: the target less its mean, of norm one; flat: the target has no contrast, and its shape is compared as it
    is. backward: the conjugate of transfer.
    """

    phase_per_m: float
    repeat: int
    incident: torch.Tensor
    wave: tuple[int, int]
    transfer: torch.Tensor
    backward: torch.Tensor
    window: tuple[int, int]
    pixel_rows: torch.Tensor
    pixel_columns: torch.Tensor
    direction: torch.Tensor
    flat: bool


@dataclass(frozen=True, eq=False)
class Loss:
    """The loss and its parts: correlations and throughputs per colour."""

    value: float
    correlations: tuple[float, ...]
    throughputs: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class Tensors:
    """What `loss_and_gradient` needs: one `Light` per colour and the weights of `DesignSettings`."""

    lights: tuple[Light, ...]
    light: float
    smoothness: float
    smooth_at: tuple[torch.Tensor, torch.Tensor]


def tensors(problem: Problem, device: str = "cpu") -> Tensors:
    """The problem's fixed part as tensors, in the precision that the problem was made with."""
    lights = []
    for lane, wanted in zip(problem.lanes, problem.target, strict=True):
        centred = wanted - wanted.mean()
        flat = not centred.any()
        direction = wanted if flat else centred
        direction = direction / np.linalg.norm(direction)

        def moved(values: NDArray[Any]) -> torch.Tensor:
            return torch.from_numpy(np.ascontiguousarray(values)).to(device)

        transfer = moved(lane.transfer)
        lights.append(
            Light(
                lane.phase_per_m,
                lane.repeat,
                moved(lane.incident),
                lane.wave,
                transfer,
                transfer.conj().resolve_conj(),
                lane.window,
                moved(lane.pixel_rows),
                moved(lane.pixel_columns),
                moved(direction.astype(lane.pixel_rows.dtype)),
                flat,
            )
        )
    clear = problem.stop > 0
    return Tensors(
        tuple(lights),
        problem.settings.light,
        problem.settings.smoothness,
        (
            torch.from_numpy(clear[1:] & clear[:-1]).to(device),
            torch.from_numpy(clear[:, 1:] & clear[:, :-1]).to(device),
        ),
    )


def loss_and_gradient(height_m: torch.Tensor, problem: Tensors) -> tuple[Loss, torch.Tensor]:
    """Loss, and its gradient with respect to the heights, per metre, real (rows, columns) like height_m.

    loss = mean over colours of (1 - correlation) + light * (1 - throughput), and smoothness * mean squared phase step.

    The gradient is written out rather than recorded: light goes to the window once and the error comes back once per
    colour, through transforms that leave out the zeros around the mask, the frequencies beyond the band limit and all
    that lies outside the window. With U = A t, t = stop * exp(i k h), P = pixels of |U|^2: dL/dh = k Im(g conj(t)), g =
    A^H (2 dL/dI U).
    """
    gradient = torch.zeros_like(height_m)
    correlations, throughputs, value = [], [], 0.0
    colours = len(problem.lights)
    for light in problem.lights:
        phase = height_m * light.phase_per_m
        field = torch.complex(torch.cos(phase), torch.sin(phase))
        if light.repeat > 1:
            field = field.repeat_interleave(light.repeat, 0).repeat_interleave(light.repeat, 1)
        field = field * light.incident
        behind = _through(field, light.wave, light.transfer, light.window)
        intensity = behind.real.square() + behind.imag.square()
        image = light.pixel_rows @ intensity @ light.pixel_columns.T
        throughput = image.sum()
        centred = image if light.flat else image - image.mean()
        norm = torch.linalg.vector_norm(centred)
        correlation = (centred * light.direction).sum() / norm
        by_image = (centred * (correlation / norm) - light.direction) / norm - problem.light
        by_intensity = light.pixel_rows.T @ by_image @ light.pixel_columns
        back = _through(behind * by_intensity, light.wave, light.backward, tuple(light.incident.shape))
        by_height = back.imag * field.real - back.real * field.imag
        if light.repeat > 1:
            rows, columns = height_m.shape
            by_height = by_height.reshape(rows, light.repeat, columns, light.repeat).sum(dim=(1, 3))
        gradient.add_(by_height, alpha=2 * light.phase_per_m / colours)
        correlations.append(float(correlation))
        throughputs.append(float(throughput))
        value += (1 - correlations[-1] + problem.light * (1 - throughputs[-1])) / colours
    if problem.smoothness:
        value += _add_smoothness(height_m, problem, gradient)
    return Loss(value, tuple(correlations), tuple(throughputs)), gradient


def _through(
    field: torch.Tensor, wave: tuple[int, int], transfer: torch.Tensor, kept: tuple[int, ...]
) -> torch.Tensor:
    """Transform, multiply, transform back; the first `kept` rows and columns: as in `optics.design.lane`."""
    spectrum = torch.fft.fft(field, n=wave[1], dim=1)[:, : transfer.shape[1]]
    spectrum = torch.fft.fft(spectrum, n=wave[0], dim=0)
    spectrum *= transfer
    half = torch.fft.ifft(spectrum, dim=0)[: kept[0]]
    return torch.fft.ifft(half, n=wave[1], dim=1)[:, : kept[1]]


def _add_smoothness(height_m: torch.Tensor, problem: Tensors, gradient: torch.Tensor) -> float:
    """Weighted mean of the squared steps between neighbours, in radians of the second colour; adds its gradient."""
    scale = problem.lights[1].phase_per_m
    total = 0.0
    count = sum(int(where.sum()) for where in problem.smooth_at)
    for axis, where in enumerate(problem.smooth_at):
        step = torch.where(where, height_m.diff(dim=axis), 0) * scale
        total += float(step.square().sum())
        step *= 2 * scale * problem.smoothness / count
        if axis == 0:
            gradient[1:] += step
            gradient[:-1] -= step
        else:
            gradient[:, 1:] += step
            gradient[:, :-1] -= step
    return problem.smoothness * total / count


# Adam's step in radians of the middle colour, first and last.
FIRST_STEP_RAD, LAST_STEP_RAD = 0.1, 0.02
# Steepness of the staircase between two levels, first and last: from nearly a ramp to nearly a step.
FIRST_STEEPNESS, LAST_STEEPNESS = 0.5, 40.0


def descend(
    problem: Problem, start_m: NDArray[np.float64], iterations: int, progress: Progress | None = None
) -> tuple[NDArray[np.float64], list[dict[str, Any]]]:
    """Heights float64 (features, features) that keep the constraints, and the history of the iterations.

    start_m: allowed or any heights (features, features) within the range.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(problem.settings.threads)
    try:
        return _descend(problem, start_m, iterations, progress)
    finally:
        torch.set_num_threads(before)


def _descend(
    problem: Problem, start_m: NDArray[np.float64], iterations: int, progress: Progress | None
) -> tuple[NDArray[np.float64], list[dict[str, Any]]]:
    fixed = tensors(problem)
    real = fixed.lights[0].pixel_rows.dtype
    largest = problem.height_range_m
    step = None if problem.heights_m is None else float(problem.heights_m[1])
    latent = torch.from_numpy(start_m).to(real)
    clear = torch.from_numpy(problem.clear)
    mean, square = torch.zeros_like(latent), torch.zeros_like(latent)
    per_rad = 1 / fixed.lights[1].phase_per_m
    history = []
    best, best_value = start_m, np.inf
    for iteration in range(iterations):
        done = iteration / max(1, iterations - 1)
        if step is None:
            heights, slope = latent, None
        else:
            heights, slope = _staircase(
                latent / step, FIRST_STEEPNESS * (LAST_STEEPNESS / FIRST_STEEPNESS) ** done
            )
            heights = heights * step
        cells = _to_cells(heights, clear, problem.block)
        loss, gradient = loss_and_gradient(cells, fixed)
        gradient = _to_blocks(gradient, problem.block)
        if slope is not None:
            gradient = gradient * slope
        mean.lerp_(gradient, 0.1)
        square.lerp_(gradient.square(), 0.01)
        size = FIRST_STEP_RAD * (LAST_STEP_RAD / FIRST_STEP_RAD) ** done * per_rad
        latent = latent - size * (mean / (1 - 0.9 ** (iteration + 1))) / (
            (square / (1 - 0.99 ** (iteration + 1))).sqrt() + 1e-12
        )
        latent = latent.clamp(0, largest)
        if iteration % 20 == 19 or iteration == iterations - 1:
            made = latent if step is None else (latent / step).round() * step
            at, _ = loss_and_gradient(_to_cells(made, clear, problem.block), fixed)
            if at.value < best_value:
                best, best_value = made.numpy().astype(np.float64), at.value
        state = {
            "loss": loss.value,
            "correlation": float(np.mean(loss.correlations)),
            "throughput": float(np.mean(loss.throughputs)),
        }
        history.append(state)
        if progress is not None:
            progress(iteration + 1, iterations, state)
    return best, history


def _staircase(level: torch.Tensor, steepness: float) -> tuple[torch.Tensor, torch.Tensor]:
    below = level.floor()
    rise = torch.tanh(steepness * (level - below - 0.5))
    top = float(np.tanh(steepness / 2))
    return below + 0.5 + rise / (2 * top), steepness / (2 * top) * (1 - rise.square())


def _to_cells(heights: torch.Tensor, clear: torch.Tensor, block: int) -> torch.Tensor:
    shown = torch.where(clear, heights, 0)
    return shown if block == 1 else shown.repeat_interleave(block, 0).repeat_interleave(block, 1)


def _to_blocks(cells: torch.Tensor, block: int) -> torch.Tensor:
    if block == 1:
        return cells
    rows, columns = cells.shape[0] // block, cells.shape[1] // block
    return cells.reshape(rows, block, columns, block).sum(dim=(1, 3))
