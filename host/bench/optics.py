"""How fast light travels, beside prysm, poppy, torchoptics and N log N, and a step of design beside autograd.

Everything is measured in one run, in turns and in a new order each round, so that other work on the machine slows all
of it alike; times are medians. The peers are imported here and nowhere else, and one that is missing is left out by
name. All work on the same field in complex128, padded to twice its width, with Fresnel's transfer function, which is
the one that all of them have, on the same number of threads.
"""

import contextlib
import functools
import importlib
import math
import os
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import scipy.fft
from numpy.typing import NDArray
from rich.table import Table

from optics.design.problem import Problem, make_problem
from optics.design.settings import DesignSettings
from optics.grid import Grid
from optics.propagation import apply_transfer, fresnel_transfer_function, padded, propagate
from optics.psf import make_chain
from optics.sources import gaussian_beam

Complex = NDArray[np.complexfloating]
Step = Callable[[], Any]

WAVELENGTH_M, PITCH_M = 550e-9, 4e-6
TASKS = ("angular_spectrum", "propagate", "scaling", "gradient_step")
OURS = "canopic"
INSTALL = {
    "prysm": "pip install prysm 'setuptools<81'",
    "poppy": "pip install poppy",
    "torchoptics": "pip install torchoptics",
    "torch": "pip install 'canopic[train]'",
}
# The sides of a default design: of its target in pixels, of its mask in cells.
TARGET_PX, DESIGN_CELLS = 63, 255
# What `propagate` uses, and so what everyone gets.
THREADS = 2


@dataclass(frozen=True, slots=True)
class Line:
    """One comparison: medians in milliseconds, ratio = peer_ms / ours_ms.

    difference: relative L2 distance between the two results, or gradients; None where there is none to compare.
    """

    task: str
    grid: int
    ours_ms: float
    peer: str
    peer_ms: float
    difference: float | None
    about: dict[str, Any] = field(default_factory=dict)

    @property
    def ratio(self) -> float:
        """How many times as long the peer takes."""
        return self.peer_ms / self.ours_ms

    def as_json(self) -> dict[str, Any]:
        """Plain numbers for `--json`."""
        common = {"task": self.task, "grid": self.grid, "ours_ms": self.ours_ms, "peer": self.peer}
        return {**common, "peer_ms": self.peer_ms, "ratio": self.ratio, "difference": self.difference, **self.about}


def bench_optics(
    grids: Sequence[int] = (512, 1024),
    rounds: int = 15,
    tasks: Sequence[str] = TASKS,
    progress: Callable[[str], None] = lambda _: None,
) -> Iterator[Line]:
    """The lines of each task, as soon as they are measured; the default takes about a minute.

    angular_spectrum: transform, multiply, transform back, with the transfer function ready beforehand (poppy cannot be
    given one and makes it each time). propagate: from field to field with nothing prepared; ours includes its sampling
    checks. scaling: `angular_spectrum` on grids from half the smallest to twice the largest, beside c N^2 log2(N^2).
    gradient_step: see `_gradient_step`. progress: called with what is being measured.
    """
    _check(grids, rounds, tasks)
    for task in tasks:
        if task == "gradient_step":
            progress("gradient_step")
            yield from _gradient_step(rounds)
        elif task == "scaling":
            yield from _scaling(grids, rounds, progress)
        else:
            for grid in grids:
                progress(f"{task} {grid} x {grid}")
                yield from _peers(task, grid, rounds)


def missing_peers() -> list[str]:
    """A line for each peer that is not installed: its name, and how to install it."""
    return [f"{name} is not installed, and left out: {how}" for name, how in INSTALL.items() if _module(name) is None]


def as_table(lines: Sequence[Line]) -> Table:
    """The result for a terminal."""
    table = Table(title="Optics: medians in milliseconds")
    for heading in ("task", "grid", "against"):
        table.add_column(heading)
    for heading in ("ours", "theirs", "times faster", "results differ by"):
        table.add_column(heading, justify="right")
    for before, line in zip([None, *lines], lines, strict=False):
        if before is not None and before.task != line.task:
            table.add_section()
        differ = "" if line.difference is None else f"{line.difference:.0e}"
        table.add_row(
            line.task,
            str(line.grid),
            line.peer,
            f"{line.ours_ms:.2f}",
            f"{line.peer_ms:.2f}",
            f"{line.ratio:.2f}",
            differ,
        )
    first = lines[0].about
    table.caption = (
        f"{first['rounds']} interleaved rounds on {first['threads']} threads, load average "
        f"{first['load_average']:.1f} on {os.cpu_count() or 1} cores; fields in complex128, padded to twice their "
        f"width. angular_spectrum: the transfer function was ready beforehand, but for poppy, which takes none. "
        f"scaling: 1 is exactly N log N."
    )
    return table


def _check(grids: Sequence[int], rounds: int, tasks: Sequence[str]) -> None:
    for grid in grids:
        if (
            grid < 16
            or grid % 4
            or scipy.fft.next_fast_len(2 * grid) != 2 * grid
            or scipy.fft.next_fast_len(grid) != grid
        ):
            raise ValueError(
                f"grid {grid}: expected a multiple of 4 from 16 on whose only prime factors are 2, 3, 5, 7 and 11 (the "
                f"peers pad to exactly twice the grid, and other lengths transform slowly)"
            )
    if rounds < 1:
        raise ValueError(f"rounds must be at least 1, got {rounds}")
    for task in tasks:
        if task not in TASKS:
            raise ValueError(f'task "{task}" is unknown: expected {", ".join(TASKS)}')


def _measure(steps: dict[str, Step], rounds: int) -> dict[str, float]:
    """Median time of each step in milliseconds, in turns."""
    order = np.random.default_rng(0)
    times_ms: dict[str, list[float]] = {name: [] for name in steps}
    for step in steps.values():
        step()
    for _ in range(rounds):
        for name in order.permutation(list(steps)):
            start = time.perf_counter()
            steps[name]()
            times_ms[name].append((time.perf_counter() - start) * 1e3)
    return {name: float(np.median(times)) for name, times in times_ms.items()}


def _about(rounds: int) -> dict[str, Any]:
    return {"rounds": rounds, "threads": THREADS, "load_average": os.getloadavg()[0]}


def _peers(task: str, side: int, rounds: int) -> Iterator[Line]:
    """Lines of one task on one grid, one for each peer that is there."""
    grid = Grid(side, side, PITCH_M)
    light = _light(grid)
    wide = padded(grid, 2)
    distance_m = _distance_m(wide)
    transfer = fresnel_transfer_function(wide, WAVELENGTH_M, distance_m)
    ours: Step = (
        (lambda: apply_transfer(light, transfer, THREADS))
        if task == "angular_spectrum"
        else (lambda: propagate(light, grid, WAVELENGTH_M, distance_m, "fresnel_transfer"))
    )
    steps = {OURS: ours}
    with contextlib.ExitStack() as settings:
        for make in (_plain, _prysm, _poppy, _torchoptics):
            steps |= make(task, light, transfer, distance_m, settings)
        times_ms = _measure(steps, rounds)
        reference = ours()
        for name, peer_ms in times_ms.items():
            if name != OURS:
                result = np.asarray(steps[name]())
                # torchoptics keeps the phase of the axial wave, which is left out by all others.
                result = result * np.exp(-1j * np.angle(np.vdot(reference, result)))
                difference = float(np.linalg.norm(result - reference) / np.linalg.norm(reference))
                yield Line(task, side, times_ms[OURS], name, peer_ms, difference, _about(rounds))


def _light(grid: Grid) -> Complex:
    """A beam without symmetry that fills the middle of the grid."""
    beam = gaussian_beam(grid, WAVELENGTH_M, grid.columns * grid.pitch_m / 8)
    tilt = np.exp(2j * np.pi * (3 * grid.x_m - 2 * grid.y_m) / (grid.columns * grid.pitch_m))
    return np.asarray(beam * tilt * (1 + 0.5 * np.cos(2 * np.pi * grid.x_m * 5 / (grid.columns * grid.pitch_m))))


def _distance_m(wide: Grid) -> float:
    """Within what the padded grid samples well."""
    return 0.4 * wide.rows * wide.pitch_m**2 / WAVELENGTH_M


def _window(wide: Complex) -> Complex:
    quarter = wide.shape[0] // 4
    return wide[quarter:-quarter, quarter:-quarter]


def _plain(
    task: str, light: Complex, transfer: Complex, _distance_m: float, _settings: contextlib.ExitStack
) -> dict[str, Step]:
    """What one would write with scipy.fft alone."""
    if task != "angular_spectrum":
        return {}
    rows, columns = light.shape

    def step() -> Complex:
        spectrum = scipy.fft.fft2(light, transfer.shape, workers=THREADS)
        spectrum *= transfer
        return np.asarray(scipy.fft.ifft2(spectrum, overwrite_x=True, workers=THREADS)[:rows, :columns])

    return {"scipy.fft": step}


def _prysm(
    task: str, light: Complex, transfer: Complex, distance_m: float, settings: contextlib.ExitStack
) -> dict[str, Step]:
    """prysm with the threads of scipy.fft, which it uses, and on arrays that are padded already."""
    peer = _module("prysm.propagation")
    if peer is None:
        return {}
    settings.enter_context(scipy.fft.set_workers(THREADS))
    wavelength_um, pitch_mm, distance_mm = WAVELENGTH_M * 1e6, PITCH_M * 1e3, distance_m * 1e3
    if task == "angular_spectrum":
        centred = np.pad(light, light.shape[0] // 2)
        ready = peer.angular_spectrum_transfer_function(transfer.shape, wavelength_um, pitch_mm, distance_mm)
        return {"prysm": lambda: _window(peer.angular_spectrum(centred, None, None, None, tf=ready))}
    return {"prysm": lambda: _window(peer.angular_spectrum(light, wavelength_um, pitch_mm, distance_mm, Q=2))}


def _poppy(
    task: str, light: Complex, _transfer: Complex, distance_m: float, _settings: contextlib.ExitStack
) -> dict[str, Step]:
    """poppy, plane to plane. It makes its transfer function each time, and numpy.fft, which it uses, has one thread."""
    peer = _module("poppy")
    units = _module("astropy.units")
    if peer is None or units is None:
        return {}
    side = light.shape[0]
    wave = peer.FresnelWavefront(
        beam_radius=side * PITCH_M / 2 * units.m, wavelength=WAVELENGTH_M * units.m, npix=side, oversample=2
    )
    centred = np.pad(light, side // 2)
    start, way = wave.z, distance_m * units.m

    def step() -> Complex:
        wave.wavefront = centred if task == "angular_spectrum" else np.pad(light, side // 2)
        wave.z = start
        wave.propagate_fresnel(way)
        return _window(wave.wavefront)

    return {"poppy": step}


def _torchoptics(
    task: str, light: Complex, _transfer: Complex, distance_m: float, settings: contextlib.ExitStack
) -> dict[str, Step]:
    """torchoptics without recording gradients, in double precision; it pads in either case."""
    peer, torch = _module("torchoptics"), _module("torch")
    if peer is None or torch is None:
        return {}
    method = _module("torchoptics.propagation.angular_spectrum_method")
    settings.enter_context(_torch_settings(torch, torch.float64))
    settings.enter_context(torch.no_grad())
    pad = torch.tensor([side // 2 for side in light.shape])
    wave = peer.Field(torch.from_numpy(light), wavelength=WAVELENGTH_M, spacing=PITCH_M)
    if task == "angular_spectrum" and method is not None:
        ready = method.calculate_transfer_function(wave, torch.tensor(distance_m), pad, "ASM_FRESNEL")
        return {"torchoptics": lambda: _window(method.apply_transfer_function(ready, wave, pad).numpy())}
    return {
        "torchoptics": lambda: wave.propagate_to_z(
            distance_m, propagation_method="ASM_FRESNEL", asm_pad=pad.tolist()
        ).data.numpy()
    }


@contextlib.contextmanager
def _torch_settings(torch: Any, precision: Any) -> Iterator[None]:
    before = torch.get_num_threads(), torch.get_default_dtype()
    torch.set_num_threads(THREADS)
    torch.set_default_dtype(precision)
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        torch.set_default_dtype(before[1])


def _scaling(grids: Sequence[int], rounds: int, progress: Callable[[str], None]) -> Iterator[Line]:
    """The same task on a ladder of grids, against c N^2 log2(N^2), c from the geometric mean over the ladder."""
    sides = [min(grids) // 2]
    while sides[-1] < 2 * max(grids):
        sides.append(sides[-1] * 2)
    progress(f"scaling {sides[0]} to {sides[-1]}")
    steps: dict[str, Step] = {}
    for side in sides:
        grid = Grid(side, side, PITCH_M)
        wide = padded(grid, 2)
        transfer = fresnel_transfer_function(wide, WAVELENGTH_M, _distance_m(wide))
        steps[str(side)] = functools.partial(apply_transfer, _light(grid), transfer, THREADS)
    times_ms = _measure(steps, rounds)
    work = {str(side): (2 * side) ** 2 * math.log2((2 * side) ** 2) for side in sides}
    per_work = math.exp(float(np.mean([math.log(times_ms[name] / work[name]) for name in steps])))
    for side in sides:
        name = str(side)
        yield Line(
            "scaling",
            side,
            times_ms[name],
            "N log N",
            per_work * work[name],
            None,
            {**_about(rounds), "ns_per_n_log2_n": times_ms[name] / work[name] * 1e6},
        )


def _gradient_step(rounds: int, cells: int = DESIGN_CELLS) -> Iterator[Line]:
    """Loss and gradient of a design's default mask in three colours: ours against autograd of the naive chain.

    Both in complex64, as design uses it. Naive is what a newcomer writes: field in the middle of a padded array,
    fftshift around each transform, pixels by two products, correlation, backward(). "no shifts" leaves the shifts out.
    """
    torch = _module("torch")
    if torch is None:
        return
    from optics.design import descent

    half = TARGET_PX // 2
    around = np.hypot(*np.mgrid[-half : half + 1, -half : half + 1])
    problem = make_problem(
        np.exp(-(((around - half / 2) / 3) ** 2)), DesignSettings(smoothness=0.0, scenes=0.0, cells=cells)
    )
    fixed = descent.tensors(problem)
    heights = np.random.default_rng(0).random(problem.stop.shape) * problem.height_range_m
    leaf = torch.from_numpy(heights.astype(np.float32))
    with contextlib.ExitStack() as settings:
        settings.enter_context(_torch_settings(torch, torch.float32))
        steps: dict[str, Step] = {
            OURS: lambda: descent.loss_and_gradient(leaf, fixed)[1],
            "torch autograd, naive": _autograd(torch, problem, leaf, shifts=True),
            "torch autograd, no shifts": _autograd(torch, problem, leaf, shifts=False),
        }
        times_ms = _measure(steps, rounds)
        reference = steps[OURS]().numpy()
        for name, peer_ms in times_ms.items():
            if name != OURS:
                difference = float(np.linalg.norm(steps[name]().numpy() - reference) / np.linalg.norm(reference))
                side = problem.lanes[0].wave[0]
                yield Line("gradient_step", side, times_ms[OURS], name, peer_ms, difference, _about(rounds))


def _autograd(torch: Any, problem: Problem, leaf: Any, shifts: bool) -> Step:
    """One step of the naive chain: heights to loss, and back by autograd."""
    lights = []
    for lane, wanted in zip(problem.lanes, problem.target, strict=True):
        geometry = problem.geometry
        chain = make_chain(problem.stop, problem.settings.pitch_m, geometry, lane.wavelength_m, "stepped")
        fine = np.repeat(np.repeat(problem.stop, chain.repeat, axis=0), chain.repeat, axis=1) * chain.incident
        transfer = np.fft.fftshift(chain.transfer) if shifts else chain.transfer
        centred = wanted - wanted.mean()
        rest = [large - small - at for large, small, at in zip(chain.wave.shape, fine.shape, chain.at, strict=True)]
        lights.append(
            (
                lane.phase_per_m,
                chain.repeat,
                torch.from_numpy(fine.astype(np.complex64)),
                (chain.at[1], rest[1], chain.at[0], rest[0]),
                torch.from_numpy(transfer.astype(np.complex64)),
                torch.from_numpy((chain.pixel_rows / chain.power).astype(np.float32)),
                torch.from_numpy(chain.pixel_columns.astype(np.float32)),
                torch.from_numpy((centred / np.linalg.norm(centred)).astype(np.float32)),
            )
        )
    fft = torch.fft

    def step() -> Any:
        heights = leaf.clone().requires_grad_()
        loss = 0.0
        for phase_per_m, repeat, light, around, transfer, pixel_rows, pixel_columns, wanted in lights:
            phase = (heights * phase_per_m).repeat_interleave(repeat, 0).repeat_interleave(repeat, 1)
            field = torch.nn.functional.pad(light * torch.exp(1j * phase), around)
            if shifts:
                spectrum = fft.fftshift(fft.fft2(fft.ifftshift(field)))
                behind = fft.fftshift(fft.ifft2(fft.ifftshift(spectrum * transfer)))
            else:
                behind = fft.ifft2(fft.fft2(field) * transfer)
            image = pixel_rows @ behind.abs().square() @ pixel_columns.T
            centred = image - image.mean()
            correlation = (centred * wanted).sum() / torch.linalg.vector_norm(centred)
            loss = loss + (1 - correlation + problem.settings.light * (1 - image.sum())) / len(lights)
        loss.backward()  # type: ignore[attr-defined]  # a tensor from the first colour on
        return heights.grad

    return step


def _module(name: str) -> Any:
    """An optional module, or None; what it says while it is imported is about itself."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return importlib.import_module(name)
    except ImportError:
        return None
