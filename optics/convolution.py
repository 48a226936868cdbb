"""True convolution of a scene with a few kernels, and the maximum over cells, tile by tile on a few threads.

The scene is cut into tiles whose windows overlap by the kernel's size less one (overlap-save: Oppenheim and Schafer,
"Discrete-Time Signal Processing", chapter 8). Two windows at a time become the real and the imaginary part of one
transform, which is multiplied by every kernel's spectrum and transformed back while a core's cache still holds it: a
real kernel keeps the parts apart. The tiling depends on the sizes alone, never on the threads, so neither do the
results. Why like this, with measurements: docs/decisions/0003-convolution-by-tiles.md.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.float32]
Cells = NDArray[np.float32] | NDArray[np.float64]
Real = TypeVar("Real", np.float32, np.float64)

COLOURS = 3
# Up to this many taps a direct sum is faster than the transforms; with a single tap it is exact, too.
DIRECT_TAPS = 49
# Light beyond this (and kernels whose taps add up to more) could leave the range of float32 inside a transform.
LARGEST_LIGHT = 1e6
# The cost of a tile apart from its size, in points of a transform (a point takes 2 to 3 ns where this was measured),
# and the transform of 1 MB that is not to be exceeded without need: larger ones leave the caches of a small machine.
TILE_OVERHEAD_POINTS = 5_000
CACHED_POINTS = 131_072
UNCACHED_COST = 1.3
MOST_CUTS = 16
# Starting a thread takes 60 us, as long as 25,000 points: each is to have a few times that to do.
POINTS_PER_THREAD = 100_000


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything about a convolution that does not depend on the light: made once per kernels, scene size and pool.

    kernels: float32 (filters, h, w) without their empty margins, each for all colours; or, where per_colour, float32
    (filters * 3, h, w), that at filter * 3 + colour for that colour only. before, after: how many pixels (vertically,
    horizontally) a kernel reaches from an output pixel towards the origin and away from it. rows, columns: of cells.
    tile_px: (height, width) of a tile; cuts: number of tiles (down, across), which cover all cells. spectra: one per
    kernel, complex64 (height, width, 1), already divided by the number of points; none when the sum is taken directly.
    padded, workspaces: buffers that no thread is using.
    """

    kernels: Plane
    before: tuple[int, int]
    after: tuple[int, int]
    pool: int
    rows: int
    columns: int
    tile_px: tuple[int, int] = (0, 0)
    cuts: tuple[int, int] = (0, 0)
    spectra: tuple[NDArray[np.complex64], ...] = ()
    per_colour: bool = False
    padded: list[Plane] = field(default_factory=list)
    workspaces: list[Plane] = field(default_factory=list)


def make_plan(kernels: Plane, height: int, width: int, pool: int, per_colour: bool = False) -> Plan:
    """Plan for scenes of height x width pixels, of which the whole cells of pool x pool pixels are wanted.

    kernels: float32 (filters, h, w), or (filters * 3, h, w) where per_colour; the tap at (h // 2, w // 2) lies on the
    output pixel. Pool 1 gives every pixel.
    """
    kernels, (row, column) = _trimmed(kernels)
    high, wide = kernels.shape[1:]
    rows, columns = height // pool, width // pool
    before, after = (high - 1 - row, wide - 1 - column), (row, column)
    if high * wide <= DIRECT_TAPS:
        return Plan(kernels, before, after, pool, rows, columns, per_colour=per_colour)
    tile_px, cuts, transform_px = _tiling(rows, columns, pool, high, wide)
    spectra = tuple(_spectrum(kernel, transform_px) for kernel in kernels)
    return Plan(kernels, before, after, pool, rows, columns, tile_px, cuts, spectra, per_colour)


def convolve(plan: Plan, scene: Plane, threads: int) -> tuple[Cells, NDArray[np.float64]]:
    """Cells of a scene, float32 (height, width, 3), as (contrast, offset): the value of a cell is their sum.

    contrast: (filters * 3, rows, columns), float32 from transforms, float64 from a direct sum; channel = filter * 3 +
    colour. offset: float64 (filters * 3,), what the scene's usual level gives behind each kernel: apart from it, a
    faint contrast keeps its digits. Beyond its edges the scene continues with its outermost pixels. Raises ValueError
    for light that is not finite, negative, or above LARGEST_LIGHT.
    """
    scene = np.ascontiguousarray(scene)
    darkest, brightest = scene.min(), scene.max()
    # NaN fails every comparison, and the minimum and maximum of values with a NaN are NaN.
    if not (darkest >= 0 and brightest <= LARGEST_LIGHT):
        raise ValueError(_invalid_light(scene))
    sums = np.repeat(plan.kernels.sum(axis=(1, 2), dtype=np.float64), 1 if plan.per_colour else COLOURS)
    shape = (sums.size, plan.rows, plan.columns)
    if darkest == brightest:
        # Without rounding, so that a scene without contrast keeps none.
        return np.zeros(shape, dtype=np.float32), sums * np.float64(darkest)
    if not plan.spectra:
        return _sum_directly(plan, scene), np.zeros_like(sums)
    cells = np.empty(shape, dtype=np.float32)
    # The transforms' rounding grows with the light, so its usual level is taken away; a rough mean will do.
    level = scene[::8, ::8].mean(dtype=np.float32)
    padded = _padded(plan, scene, level)
    pairs = _pairs(plan)
    # All threads draw from one iterator: whoever is done takes the next pair.
    shared = iter(pairs)
    worthwhile = len(pairs) * plan.spectra[0].size // POINTS_PER_THREAD
    helpers = min(threads, len(pairs), worthwhile) - 1
    if helpers > 0:
        # Threads that live as long as the call: nothing to clean up, and a forked child finds no dead pool.
        with ThreadPoolExecutor(helpers) as executor:
            others = [executor.submit(_convolve_pairs, plan, padded, shared, cells) for _ in range(helpers)]
            _convolve_pairs(plan, padded, shared, cells)
            for other in others:
                other.result()
    else:
        _convolve_pairs(plan, padded, shared, cells)
    plan.padded.append(padded)
    return cells, sums * np.float64(level)


def _pairs(plan: Plan) -> list[list[tuple[int, int, int]]]:
    """The windows (colour, y, x) in twos; both of one colour where each colour has kernels of its own."""
    tiles = [
        (y, x)
        for y in range(0, plan.cuts[0] * plan.tile_px[0], plan.tile_px[0])
        for x in range(0, plan.cuts[1] * plan.tile_px[1], plan.tile_px[1])
    ]
    if plan.per_colour:
        series = [[(colour, y, x) for y, x in tiles] for colour in range(COLOURS)]
    else:
        series = [[(colour, y, x) for y, x in tiles for colour in range(COLOURS)]]
    return [windows[start : start + 2] for windows in series for start in range(0, len(windows), 2)]


def maximum_of_cells(planes: NDArray[Real], pool: int) -> NDArray[Real]:
    """Maximum over pool x pool pixels: (rows * pool, columns * pool, n) to (n, rows, columns)."""
    rows, columns, count = planes.shape[0] // pool, planes.shape[1] // pool, planes.shape[2]
    # Down the rows first, where whole lines are compared at once; then an eighth is left, turned to do the same.
    tall = planes.reshape(rows, pool, columns * pool * count).max(axis=1)
    turned = np.ascontiguousarray(tall.reshape(rows * columns, pool, count).transpose(1, 2, 0))
    return np.asarray(turned.max(axis=0).reshape(count, rows, columns))


def _padded(plan: Plan, scene: Plane, level: np.float32) -> Plane:
    """The scene less its level, continued with its outermost pixels as far as the windows reach."""
    height, width = scene.shape[:2]
    shape = tuple(plan.cuts[axis] * plan.tile_px[axis] + plan.before[axis] + plan.after[axis] for axis in (0, 1))
    padded = plan.padded.pop() if plan.padded else np.empty((*shape, COLOURS), dtype=np.float32)
    top, left = plan.before
    # Where a scene is no whole number of cells, its rest may reach beyond the last window: nothing depends on it.
    high, wide = min(height, shape[0] - top), min(width, shape[1] - left)
    edges = (top, shape[0] - top - high, left, shape[1] - left - wide)
    cv2.copyMakeBorder(scene[:high, :wide], *edges, cv2.BORDER_REPLICATE | cv2.BORDER_ISOLATED, dst=padded)
    np.subtract(padded, level, out=padded)
    return padded


def _convolve_pairs(plan: Plan, padded: Plane, pairs: Iterator[list[tuple[int, int, int]]], cells: Plane) -> None:
    """Fill the cells of every pair of (colour, y, x) that the iterator still gives."""
    pool, (height, width) = plan.pool, plan.tile_px
    buffers = plan.workspaces.pop() if plan.workspaces else np.empty((2, *plan.spectra[0].shape[:2], 2), np.float32)
    window, spectrum = buffers
    high, wide = (plan.tile_px[axis] + plan.before[axis] + plan.after[axis] for axis in (0, 1))
    for pair in pairs:
        # The product is put into the window below, so what lies beside this window is not zero any more.
        window[high:], window[:, wide:] = 0, 0
        sources = [padded[y : y + high, x : x + wide] for _, y, x in pair]
        # From (a channel of the first or the second source) to (a part of the window); -1 stands for zeros.
        routes = [pair[0][0], 0, COLOURS + pair[1][0] if len(pair) == 2 else -1, 1]
        cv2.mixChannels(sources, [window[:high, :wide]], routes)
        cv2.dft(window, dst=spectrum)
        # Of kernels for one colour each, those of this pair's colour; otherwise all.
        mine = range(pair[0][0], len(plan.spectra), COLOURS) if plan.per_colour else range(len(plan.spectra))
        for number in mine:
            kernel_spectrum = plan.spectra[number]
            # A third of the time that cv2.mulSpectrums takes.
            np.multiply(spectrum.view(np.complex64), kernel_spectrum, out=window.view(np.complex64))
            cv2.dft(window, dst=window, flags=cv2.DFT_INVERSE)
            tiles = maximum_of_cells(window[:height, :width], pool)
            for tile, (colour, y, x) in zip(tiles, pair, strict=False):
                channel = number if plan.per_colour else number * COLOURS + colour
                place = cells[channel, y // pool :, x // pool :][: tile.shape[0], : tile.shape[1]]
                place[...] = tile[: place.shape[0], : place.shape[1]]
    plan.workspaces.append(buffers)


def _sum_directly(plan: Plan, scene: Plane) -> NDArray[np.float64]:
    """The cells by adding up taps: OpenCV correlates, so the kernel is turned around and its anchor with it."""
    light = scene.astype(np.float64)
    cells = []
    for number, kernel in enumerate(plan.kernels):
        turned = kernel[::-1, ::-1].astype(np.float64)
        anchor = (plan.before[1], plan.before[0])
        colours = light[:, :, number % COLOURS, np.newaxis] if plan.per_colour else light
        filtered = cv2.filter2D(colours, cv2.CV_64F, turned, anchor=anchor, borderType=cv2.BORDER_REPLICATE)
        image = np.asarray(filtered, dtype=np.float64).reshape(colours.shape)
        cells.append(maximum_of_cells(image[: plan.rows * plan.pool, : plan.columns * plan.pool], plan.pool))
    return np.concatenate(cells)


def _trimmed(kernels: Plane) -> tuple[Plane, tuple[int, int]]:
    """Kernels without margins in which every filter is zero, and where the tap over the output pixel then lies."""
    centre = (kernels.shape[1] // 2, kernels.shape[2] // 2)
    used = np.asarray(kernels.any(axis=0))
    used[centre] = True
    rows, columns = np.flatnonzero(used.any(axis=1)), np.flatnonzero(used.any(axis=0))
    part = kernels[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return part, (centre[0] - int(rows[0]), centre[1] - int(columns[0]))


def _tiling(
    rows: int, columns: int, pool: int, high: int, wide: int
) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
    """Tile size, number of tiles and transform size (each down, across) that cost least on two cores.

    high, wide: size of the kernel. A tile is a whole number of cells.
    """
    least = np.inf
    for tile_rows in sorted({-(-rows // cuts) for cuts in range(1, MOST_CUTS + 1)}):
        for tile_columns in sorted({-(-columns // cuts) for cuts in range(1, MOST_CUTS + 1)}):
            down, across = -(-rows // tile_rows), -(-columns // tile_columns)
            tile = (tile_rows * pool, tile_columns * pool)
            transform = (fast_length(tile[0] + high - 1), fast_length(tile[1] + wide - 1))
            points = transform[0] * transform[1]
            pairs = -(-down * across * COLOURS // 2)
            cost = -(-pairs // 2) * (points * (1 if points <= CACHED_POINTS else UNCACHED_COST) + TILE_OVERHEAD_POINTS)
            if cost < least:
                least, best = cost, (tile, (down, across), transform)
    return best


def fast_length(least: int) -> int:
    """The smallest length from `least` that is a multiple of 16, has no prime factor above 5 and no awkward stride.

    Measured with OpenCV 4.14: lengths with a factor of 7 or above take twice as long, odd multiples of 4 a fifth
    longer, and multiples of 256 from 512 upwards up to twice as long: lines that far apart compete for cache sets.
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


def _spectrum(kernel: Plane, transform_px: tuple[int, int]) -> NDArray[np.complex64]:
    """Spectrum of a kernel, turned so that the first valid output lands in the corner, over the number of points."""
    padded = np.zeros(transform_px, dtype=np.float64)
    padded[: kernel.shape[0], : kernel.shape[1]] = kernel
    padded = np.roll(padded, (1 - kernel.shape[0], 1 - kernel.shape[1]), axis=(0, 1))
    spectrum = np.asarray(cv2.dft(padded / padded.size, flags=cv2.DFT_COMPLEX_OUTPUT), dtype=np.float32)
    return spectrum.view(np.complex64)


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
