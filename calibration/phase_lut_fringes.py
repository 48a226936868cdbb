"""Phases from one picture of fringes: the carrier, and around it one complex number for each region of the picture.

The interferometer's tilt makes a carrier, fringes cos(phase - 2 pi f x). Windowed and shifted down by f, the picture
gives background / 2 times visibility times exp(i phase) in each region (Fourier-transform method of Takeda, Ina and
Kobayashi, doi:10.1364/JOSA.72.000156). A Blackman window keeps the background out: -58 dB from three fringes on.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Regions, rows x columns. The left half of the columns lies on one half of the modulator, the right half on the other.
GRID = (4, 4)
# Share of the picture's width that is left out on either side of the middle: there the two halves of the modulator blur
# into each other (fringing field), which would take some thousandths off every phase.
GUARD = 1 / 24
# Middles of the columns of regions, in widths of a region.
_MIDDLES = np.array([0.5, 1.5, 2.5, 3.5]) + np.array([0, 0, 1, 1]) * 2 * GUARD / ((0.5 - GUARD) / 2)
# Fewer fringes in a region, and the background reaches the carrier through the window; more than 0.4 a pixel alias.
LEAST_FRINGES, MOST_PER_PX = 3.5, 0.42
Phasors = NDArray[np.complex128]
Places = tuple[NDArray[np.int64], NDArray[np.int64]]


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """One picture of fringes, reduced.

    phasors: complex128 (regions,), row by row of GRID, units of the picture. background: float64 (regions,), the mean
    light. floor: complex128 (other frequencies, regions): the same at frequencies where no fringes are, which is noise
    and what does not belong to the fringes; no frequencies unless asked for.
    """

    phasors: Phasors
    background: NDArray[np.float64]
    floor: Phasors


def find_carrier(plane: NDArray[np.float64]) -> tuple[float, float]:
    """Frequency of the strongest fringes of a picture, float64 (rows, columns): (down, right), cycles per pixel.

    `right` is not negative (of the two that a real picture has, fx > 0; for fx = 0, fy > 0). Found to a few hundredths
    of 1 / picture by a parabola through the logarithm of the peak. A picture without fringes gives that of its noise.
    """
    rows, columns = plane.shape
    window = np.outer(np.blackman(rows), np.blackman(columns))
    mean = float((plane * window).sum() / window.sum())
    size = np.abs(np.fft.fft2((plane - mean) * window))
    down, right = np.fft.fftfreq(rows), np.fft.fftfreq(columns)
    per_region = np.hypot(down[:, None] * rows / GRID[0], right * columns / GRID[1])
    allowed = (per_region >= LEAST_FRINGES) & (np.abs(down)[:, None] <= MOST_PER_PX) & (np.abs(right) <= MOST_PER_PX)
    allowed &= (right > 0) | ((right == 0) & (down[:, None] > 0))
    row, column = divmod(int(np.argmax(np.where(allowed, size, -1))), columns)
    fy = down[row] + _vertex(size[np.arange(row - 1, row + 2) % rows, column]) / rows
    fx = right[column] + _vertex(size[row, np.arange(column - 1, column + 2) % columns]) / columns
    return float(fy), float(fx)


def reduce_picture(plane: NDArray[np.float64], carrier: tuple[float, float], floor: bool = False) -> Picture:
    """Phasors, background and, where asked for, floor of every region of a picture, float64 (rows, columns).

    Raises ValueError for a picture with less than 8 pixels a region and side.
    """
    places = _places(plane.shape)
    if min(places[0].shape[1], places[1].shape[1]) < 8:
        raise ValueError(f"a picture of fringes has at least 32 x 36 pixels, got {plane.shape}")
    cells = _cells(plane, places)
    sides = places[0].shape[1], places[1].shape[1]
    frequencies = [carrier, (0.0, 0.0), *(_elsewhere(carrier, *sides) if floor else [])]
    found = np.stack([_shifted_down(cells, places, frequency) for frequency in frequencies])
    background = found[1].real.copy()
    # What the window lets through of an even background is known, and taken out.
    even = np.stack([_even(places, frequency) for frequency in frequencies])
    found -= even * background
    return Picture(found[0], background, found[2:])


def region_mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean of a map, float64 (rows, columns), over each region with the weights of its window: float64 (regions,)."""
    places = _places(values.shape)
    return np.asarray(_shifted_down(_cells(values, places), places, (0.0, 0.0)).real)


def halves() -> NDArray[np.bool_]:
    """Which regions lie on the left half of the picture: bool (regions,)."""
    return np.tile(np.arange(GRID[1]) < GRID[1] // 2, GRID[0])


def without_plane(phase_rad: NDArray[np.float64]) -> NDArray[np.float64]:
    """Phases of the regions, float64 (regions,), unwrapped from neighbour to neighbour, less their best plane.

    A plane is what the interferometer's tilt adds, and only moves what the mask makes. Neighbours must differ by less
    than pi.
    """
    return _less_plane(np.unwrap(np.unwrap(phase_rad.reshape(GRID), axis=0), axis=1).ravel())


def undrawn(values: NDArray[np.float64], amplitude: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """Values in the middle of each region, from means over a beam that is brighter on one side: float64 (regions,).

    A window of variance v whose light has the gradient g of its logarithm has its middle at v g, and a value with
    the gradient h there is v g h off; both gradients are those of quadratics through all regions. amplitude: float64
    (regions,), of the fringes. Also gives a third of the rms that was taken out: what bends more is not known.
    """
    place = (np.arange(1, 201) - 100.5) / 200
    weights = np.blackman(202)[1:-1]
    variance = float((weights * place**2).sum() / weights.sum())
    light = _gradients(np.log(np.maximum(amplitude, 1e-12)))
    drawn = variance * sum(a * b for a, b in zip(light, _gradients(values), strict=True))
    return np.asarray(values - drawn), float(np.std(drawn)) / 3


def fixed_pattern(phasors: Phasors) -> tuple[NDArray[np.float64], float]:
    """The panel's own phase in the middle of each region, less its plane, from phasors of level 0: float64 (regions,),
    radians; and what is unsure of it for the beam's sake (`undrawn`)."""
    flat = without_plane(np.angle(phasors))
    values, unsure = undrawn(flat, np.abs(phasors))
    return _less_plane(values), unsure


def _gradients(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(down, right) gradients of the quadratic through the regions, for each region."""
    y, x = (each.ravel() for each in np.meshgrid(np.arange(GRID[0]) + 0.5, _MIDDLES, indexing="ij"))
    design = np.column_stack([np.ones(y.size), y, x, y * y, y * x, x * x])
    _, ay, ax, ayy, ayx, axx = np.linalg.lstsq(design, values, rcond=None)[0]
    return np.asarray(ay + 2 * ayy * y + ayx * x), np.asarray(ax + ayx * y + 2 * axx * x)


def _less_plane(unwrapped: NDArray[np.float64]) -> NDArray[np.float64]:
    y, x = (each.ravel() for each in np.meshgrid(np.arange(GRID[0]) + 0.5, _MIDDLES, indexing="ij"))
    design = np.column_stack([np.ones(y.size), y, x])
    return np.asarray(unwrapped - design @ np.linalg.lstsq(design, unwrapped, rcond=None)[0])


def complex_of(data: Mapping[str, NDArray[Any]], name: str) -> Phasors:
    """A complex array from its two real parts NAME_re and NAME_im. Raises KeyError, ValueError for other shapes."""
    return np.asarray(data[f"{name}_re"] + 1j * data[f"{name}_im"], dtype=np.complex128)


def _places(shape: tuple[int, ...]) -> Places:
    """Rows and columns of the picture in each region: (rows of regions, rows), (columns of regions, columns)."""
    rows, guard = shape[0] // GRID[0], round(shape[1] * GUARD)
    columns = (shape[1] // 2 - guard) // 2
    left = np.arange(2 * columns).reshape(2, columns)
    return np.arange(GRID[0] * rows).reshape(GRID[0], rows), np.concatenate([left, left + shape[1] - 2 * columns])


def _cells(plane: NDArray[np.float64], places: Places) -> NDArray[np.float64]:
    """The regions of a picture: (rows of regions, rows, columns of regions, columns)."""
    return plane[places[0][:, :, None, None], places[1]]


def _shifted_down(
    cells: NDArray[np.float64],
    places: Places,
    frequency: tuple[float, float],
) -> Phasors:
    """Windowed mean of each region times exp(2 pi i f x): complex128 (regions,)."""
    down, right = _waves(places, frequency)
    lines = np.einsum("ahbw,bw->ahb", cells, right)
    return np.asarray(np.einsum("ahb,ah->ab", lines, down).ravel())


def _even(places: Places, frequency: tuple[float, float]) -> Phasors:
    """The same of light 1 everywhere."""
    down, right = _waves(places, frequency)
    return np.asarray(np.outer(down.sum(axis=1), right.sum(axis=1)).ravel())


def _waves(places: Places, frequency: tuple[float, float]) -> tuple[Phasors, Phasors]:
    """Window times exp(2 pi i f x), for rows and columns of the regions."""
    down, right = (
        _window(each.shape[1]) * np.exp(2j * np.pi * f * each) for f, each in zip(frequency, places, strict=True)
    )
    return down, right


@cache
def _window(count: int) -> NDArray[np.float64]:
    """Blackman's, without its two zeros, sum 1."""
    weights = np.blackman(count + 2)[1:-1]
    weights /= weights.sum()
    weights.flags.writeable = False
    return np.asarray(weights)


def _elsewhere(carrier: tuple[float, float], rows: int, columns: int) -> list[tuple[float, float]]:
    """Frequencies at least three fringes a region away from the carrier, its mirror image and the background."""
    taken = [carrier, (-carrier[0], -carrier[1]), (0.0, 0.0)]
    found = []
    for fy in np.arange(-0.4, 0.41, 0.1):
        for fx in np.arange(0.1, 0.41, 0.1):
            away = min(np.hypot((fy - y) * rows, (fx - x) * columns) for y, x in taken)
            if away >= LEAST_FRINGES:
                found.append((float(fy), float(fx)))
    return found[:: max(1, len(found) // 8)]


def _vertex(three: NDArray[np.float64]) -> float:
    """Where the maximum of a parabola through the logarithms of three values lies, from the middle one."""
    low, mid, high = np.log(np.maximum(three, 1e-300))
    bend = low - 2 * mid + high
    return float(np.clip((low - high) / (2 * bend), -0.5, 0.5)) if bend < 0 else 0.0
