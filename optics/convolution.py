"""True convolution of a scene with a few kernels, and the maximum over cells, tile by tile on a few threads.

The scene is cut into tiles whose windows overlap by the kernel's size less one (overlap-save: Oppenheim and Schafer,
"Discrete-Time Signal Processing", chapter 8). Each window is transformed, multiplied by every kernel's spectrum and
transformed back while a core's cache still holds it. The tiling depends on the sizes alone, never on the threads, so
neither do the results. Why like this, with measurements: docs/decisions/0003-convolution-by-tiles.md.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.float32]

COLOURS = 3
# Up to this many taps a direct sum is faster than the transforms; with a single tap it is exact, too.
DIRECT_TAPS = 49
# Light beyond this (and kernels whose taps add up to more) could leave the range of float32 inside a transform.
LARGEST_LIGHT = 1e6
# The cost of a tile apart from its size, in points of a transform (a point takes 2.9 ns where this was measured), and
# the window of 1 MB that is not to be exceeded without need: larger ones leave the caches of a small machine.
TILE_OVERHEAD_POINTS = 5_000
CACHED_POINTS = 262_144
UNCACHED_COST = 1.3
MOST_CUTS = 16


@dataclass(frozen=True, slots=True)
class Workspace:
    """Buffers of one thread, float32, each of the size of a transform."""

    window: Plane
    spectrum: Plane
    product: Plane


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything about a convolution that does not depend on the light: made once per kernels, scene size and pool.

    kernels: float32 (filters, h, w) without their empty margins. before, after: how many pixels (vertically,
    horizontally) a kernel reaches from an output pixel towards the origin and away from it. rows, columns: of cells.
    tile_px: (height, width) of a tile. spectra: one per filter, already divided by the number of points; none when the
    sum is taken directly. sums: of the taps of each kernel. workspaces: buffers that no thread is using.
    """

    kernels: Plane
    before: tuple[int, int]
    after: tuple[int, int]
    pool: int
    rows: int
    columns: int
    tile_px: tuple[int, int]
    transform_px: tuple[int, int]
    spectra: tuple[Plane, ...]
    sums: tuple[np.float32, ...]
    workspaces: list[Workspace] = field(default_factory=list)


def make_plan(kernels: Plane, height: int, width: int, pool: int) -> Plan:
    """Plan for scenes of height x width pixels, of which the whole cells of pool x pool pixels are wanted.

    kernels: float32 (filters, h, w); the tap at (h // 2, w // 2) lies on the output pixel. Pool 1 gives every pixel.
    """
    kernels, (row, column) = _trimmed(kernels)
    high, wide = kernels.shape[1:]
    rows, columns = height // pool, width // pool
    before, after = (high - 1 - row, wide - 1 - column), (row, column)
    if high * wide <= DIRECT_TAPS:
        return Plan(kernels, before, after, pool, rows, columns, (rows * pool, columns * pool), (0, 0), (), ())
    tile_px, transform_px = _tiling(rows, columns, pool, high, wide)
    spectra = tuple(_spectrum(kernel, transform_px) for kernel in kernels)
    sums = tuple(kernel.sum(dtype=np.float64).astype(np.float32) for kernel in kernels)
    return Plan(kernels, before, after, pool, rows, columns, tile_px, transform_px, spectra, sums)


def convolve(plan: Plan, scene: Plane, threads: int) -> Plane:
    """Cells of a scene: float32 (height, width, 3) to (filters * 3, rows, columns), channel = filter * 3 + colour.

    Beyond its edges the scene continues with its outermost pixels. Raises ValueError for light that is not finite,
    negative, or above LARGEST_LIGHT.
    """
    scene = np.ascontiguousarray(scene)
    cells = np.empty((len(plan.kernels) * COLOURS, plan.rows, plan.columns), dtype=np.float32)
    if not plan.spectra:
        valid = _is_light(scene.min(), scene.max())
        if valid:
            _sum_directly(plan, scene, cells)
    else:
        tiles = [
            (colour, y, x)
            for y in range(0, plan.rows * plan.pool, plan.tile_px[0])
            for x in range(0, plan.columns * plan.pool, plan.tile_px[1])
            for colour in range(COLOURS)
        ]
        helpers = min(threads, len(tiles)) - 1
        # All threads draw from one iterator: whoever is done takes the next tile.
        shared = iter(tiles)
        if helpers > 0:
            # Threads that live as long as the call: nothing to clean up, and a forked child finds no dead pool.
            with ThreadPoolExecutor(helpers) as executor:
                others = [executor.submit(_convolve_tiles, plan, scene, shared, cells) for _ in range(helpers)]
                valid = _convolve_tiles(plan, scene, shared, cells)
                valid = all(other.result() for other in others) and valid
        else:
            valid = _convolve_tiles(plan, scene, shared, cells)
    if not valid:
        raise ValueError(_invalid_light(scene))
    return cells


def maximum_of_cells(plane: Plane, pool: int) -> Plane:
    """Maximum over pool x pool pixels: float32 (rows * pool, columns * pool) to (rows, columns)."""
    rows, columns = plane.shape[0] // pool, plane.shape[1] // pool
    # Down the rows first, where whole lines are compared at once; then an eighth is left, turned to do the same.
    tall = plane.reshape(rows, pool, columns * pool).max(axis=1)
    return np.asarray(np.ascontiguousarray(tall.reshape(rows * columns, pool).T).max(axis=0).reshape(rows, columns))


def _convolve_tiles(plan: Plan, scene: Plane, tiles: Iterator[tuple[int, int, int]], cells: Plane) -> bool:
    """Fill the cells of every (colour, y, x) that the iterator still gives; False as soon as light is invalid."""
    workspace = plan.workspaces.pop() if plan.workspaces else _new_workspace(plan.transform_px)
    window, spectrum, product = workspace.window, workspace.spectrum, workspace.product
    pool = plan.pool
    for colour, y, x in tiles:
        height = min(plan.tile_px[0], plan.rows * pool - y)
        width = min(plan.tile_px[1], plan.columns * pool - x)
        level = _fill_window(plan, scene, (colour, y, x), (height, width), window)
        if level is None:
            return False
        cv2.dft(window, dst=spectrum)
        place = np.s_[y // pool : (y + height) // pool, x // pool : (x + width) // pool]
        for number, kernel_spectrum in enumerate(plan.spectra):
            cv2.mulSpectrums(spectrum, kernel_spectrum, 0, product)
            cv2.dft(product, dst=product, flags=cv2.DFT_INVERSE | cv2.DFT_REAL_OUTPUT)
            tile = product[:height, :width]
            tile = tile if pool == 1 else maximum_of_cells(tile, pool)
            np.add(tile, level * plan.sums[number], out=cells[number * COLOURS + colour][place])
    plan.workspaces.append(workspace)
    return True


def _fill_window(
    plan: Plan, scene: Plane, tile: tuple[int, int, int], size: tuple[int, int], window: Plane
) -> np.float32 | None:
    """Copy what a tile's outputs depend on into the window's corner, less its usual level; zeros elsewhere.

    Returns that level, or None for invalid light. The transforms' rounding grows with the light, so the light is made
    small; an evenly lit tile becomes exactly zero, so a scene without contrast keeps none.
    """
    colour, *origin = tile
    starts, stops, inner = [], [], []
    for start, length, before, after, limit in zip(origin, size, plan.before, plan.after, scene.shape, strict=False):
        starts.append(max(start - before, 0))
        stops.append(min(start + length + after, limit))
        inner.append(starts[-1] - (start - before))
    (top, left), (high, wide) = inner, (stops[0] - starts[0], stops[1] - starts[1])
    (bottom, right) = (size[axis] + plan.before[axis] + plan.after[axis] for axis in (0, 1))
    inside = window[top : top + high, left : left + wide]
    cv2.extractChannel(scene[starts[0] : stops[0], starts[1] : stops[1]], colour, inside)
    darkest, brightest = inside.min(), inside.max()
    if not _is_light(darkest, brightest):
        return None
    # Every eighth line is enough for a mean that only has to be near; equal values must give exactly their value.
    level = darkest if darkest == brightest else inside[::8].mean(dtype=np.float32)
    np.subtract(inside, level, out=inside)
    # Replicate padding: columns beside the copied part first, then whole lines above and below.
    lines = window[top : top + high]
    lines[:, :left] = lines[:, left : left + 1]
    lines[:, left + wide : right] = lines[:, left + wide - 1 : left + wide]
    lines[:, right:] = 0
    window[:top] = window[top]
    window[top + high : bottom] = window[top + high - 1]
    window[bottom:] = 0
    return np.float32(level)


def _sum_directly(plan: Plan, scene: Plane, cells: Plane) -> None:
    """Fill the cells by adding up taps: OpenCV correlates, so the kernel is turned around and its anchor with it."""
    for number, kernel in enumerate(plan.kernels):
        turned = np.ascontiguousarray(kernel[::-1, ::-1])
        anchor = (plan.before[1], plan.before[0])
        image = cv2.filter2D(scene, cv2.CV_32F, turned, anchor=anchor, borderType=cv2.BORDER_REPLICATE)
        for colour in range(COLOURS):
            plane = np.asarray(cv2.extractChannel(image, colour), dtype=np.float32)
            whole = plane[: plan.rows * plan.pool, : plan.columns * plan.pool]
            cells[number * COLOURS + colour] = maximum_of_cells(whole, plan.pool)


def _trimmed(kernels: Plane) -> tuple[Plane, tuple[int, int]]:
    """Kernels without margins in which every filter is zero, and where the tap over the output pixel then lies."""
    centre = (kernels.shape[1] // 2, kernels.shape[2] // 2)
    used = np.asarray(kernels.any(axis=0))
    used[centre] = True
    rows, columns = np.flatnonzero(used.any(axis=1)), np.flatnonzero(used.any(axis=0))
    part = kernels[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return part, (centre[0] - int(rows[0]), centre[1] - int(columns[0]))


def _tiling(rows: int, columns: int, pool: int, high: int, wide: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Sizes (height, width) of tile and transform that cost least on two cores, for kernels of high x wide taps."""
    best = (np.inf, (0, 0), (0, 0))
    for cuts_down in range(1, min(rows, MOST_CUTS) + 1):
        for cuts_across in range(1, min(columns, MOST_CUTS) + 1):
            tile = (-(-rows // cuts_down) * pool, -(-columns // cuts_across) * pool)
            transform = (fast_length(tile[0] + high - 1), fast_length(tile[1] + wide - 1))
            points = transform[0] * transform[1]
            rounds = -(-cuts_down * cuts_across * COLOURS // 2)
            cost = rounds * (points * (1 if points <= CACHED_POINTS else UNCACHED_COST) + TILE_OVERHEAD_POINTS)
            if cost < best[0]:
                best = (cost, tile, transform)
    return best[1], best[2]


def fast_length(least: int) -> int:
    """The smallest length from `least` that is a multiple of 16, has no prime factor above 5 and no awkward stride.

    Measured with OpenCV 4.14: lengths with a factor of 7 or above take twice as long, odd multiples of 4 a fifth longer,
    and multiples of 256 from 512 upwards up to twice as long, because lines that far apart compete for cache sets.
    """
    length = -(-least // 16) * 16
    while not _is_fast(length):
        length += 16
    return length


def _is_fast(length: int) -> bool:
    if length >= 512 and length % 256 == 0:
        return False
    for factor in (2, 3, 5):
        while length % factor == 0:
            length //= factor
    return length == 1


def _spectrum(kernel: Plane, transform_px: tuple[int, int]) -> Plane:
    """Packed spectrum of a kernel, turned so that the first valid output lands in the corner, over the point count."""
    padded = np.zeros(transform_px, dtype=np.float64)
    padded[: kernel.shape[0], : kernel.shape[1]] = kernel
    padded = np.roll(padded, (1 - kernel.shape[0], 1 - kernel.shape[1]), axis=(0, 1))
    return np.asarray(cv2.dft(padded / padded.size).astype(np.float32))


def _new_workspace(transform_px: tuple[int, int]) -> Workspace:
    return Workspace(*(np.zeros(transform_px, dtype=np.float32) for _ in range(3)))


def _is_light(low: np.float32, high: np.float32) -> bool:
    # NaN fails every comparison, and the minimum and maximum of values with a NaN are NaN.
    return bool(low >= 0 and high <= LARGEST_LIGHT)


def _invalid_light(scene: Plane) -> str:
    """What is wrong with the values of a scene, how often and where first."""
    for name, wrong in (
        ("NaN or infinity", ~np.isfinite(scene)),
        ("negative light", scene < 0),
        (f"light above {LARGEST_LIGHT:g} times full scale", scene > LARGEST_LIGHT),
    ):
        if wrong.any():
            row, column, colour = (int(index) for index in np.argwhere(wrong)[0])
            return (
                f"scene holds {name} in {np.count_nonzero(wrong)} of its {scene.size} values, first at row {row}, "
                f"column {column}, colour {colour}: expected linear radiance, finite, not negative, full scale = 1.0"
            )
    return "scene changed while it was convolved: do not write to it meanwhile"
