"""One colour's way from the mask's cells to the samples of the window, with no more transforms than that takes.

`optics.psf.Chain` fills a grid with zeros around the mask, transforms all of it twice and uses the window only. Here
rows that hold nothing are never transformed, nor are frequencies that do not get through, nor samples that lie outside
the window: the same numbers for about half of the work. Forward and adjoint are what design does all day.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from optics.mask import Geometry
from optics.materials import Material, refractive_index
from optics.psf import make_chain

# Frequencies of which free space passes less than this do not count.
DARK = 1e-6

Complex = NDArray[np.complexfloating[Any, Any]]
Real = NDArray[np.floating[Any]]


@dataclass(frozen=True, eq=False)
class Lane:
    """What `forward` and `adjoint` need for one wavelength; complex64 or complex128 as asked for.

    phase_per_m: radians of delay per metre of height. repeat: samples per cell side. cells: (rows, columns).
    incident: complex (rows * repeat, columns * repeat), the light on the mask times the stop's amplitude, and times a
    linear phase that moves the lowest frequency of the band to the first column of the spectrum; behind free space it
    is still there and nobody sees it, because pixels count intensity.
    wave: (rows, columns) of the transforms. transfer: complex (wave rows, columns of the band), turned so that the
    window's first sample comes out first.
    window: (rows, columns) of the samples that pixels cover. pixel_rows (psf rows, window rows), pixel_columns
    (psf columns, window columns): share of each sample in each pixel; the rows' ones are divided by the power.
    """

    wavelength_m: float
    phase_per_m: float
    repeat: int
    cells: tuple[int, int]
    incident: Complex
    wave: tuple[int, int]
    transfer: Complex
    window: tuple[int, int]
    pixel_rows: Real
    pixel_columns: Real


def make_lane(
    stop: NDArray[np.float64],
    pitch_m: float,
    geometry: Geometry,
    material: Material,
    wavelength_m: float,
    double: bool = False,
) -> Lane:
    """The lane for stepped masks with this stop (amplitude, float64 (rows, columns)). Raises as `make_chain` does."""
    chain = make_chain(stop, pitch_m, geometry, wavelength_m, "stepped")
    complex_type, real_type = (np.complex128, np.float64) if double else (np.complex64, np.float32)
    rows, first_row = _covered(chain.pixel_rows)
    columns, first_column = _covered(chain.pixel_columns)
    cycles = np.rint(np.fft.fftfreq(chain.wave.columns) * chain.wave.columns).astype(np.intp)
    inside = np.sort(cycles[np.abs(chain.transfer).max(axis=0) > DARK])
    band = np.arange(inside[0], inside[-1] + 1)
    frequency_y = np.fft.fftfreq(chain.wave.rows)[:, np.newaxis]
    shift_y, shift_x = first_row - chain.at[0], first_column - chain.at[1]
    turn = np.exp(2j * np.pi * (frequency_y * shift_y + band / chain.wave.columns * shift_x))
    transfer = chain.transfer[:, band % chain.wave.columns] * turn
    to_front = np.exp(-2j * np.pi * band[0] / chain.wave.columns * np.arange(chain.incident.shape[1]))
    fine_stop = np.repeat(np.repeat(stop, chain.repeat, axis=0), chain.repeat, axis=1)
    return Lane(
        wavelength_m,
        2 * np.pi / wavelength_m * (refractive_index(material, wavelength_m) - 1),
        chain.repeat,
        (stop.shape[0], stop.shape[1]),
        np.asarray(fine_stop * chain.incident * to_front, dtype=complex_type),
        chain.wave.shape,
        np.asarray(transfer, dtype=complex_type),
        (rows, columns),
        np.asarray(chain.pixel_rows[:, first_row : first_row + rows] / chain.power, dtype=real_type),
        np.asarray(chain.pixel_columns[:, first_column : first_column + columns], dtype=real_type),
    )


def transmitted(lane: Lane, height_m: NDArray[np.float64]) -> Complex:
    """The field right behind the mask, complex (rows * repeat, columns * repeat), for heights (rows, columns)."""
    phase = np.asarray(lane.phase_per_m * height_m, dtype=lane.pixel_rows.dtype)
    cells = np.empty(phase.shape, dtype=lane.incident.dtype)
    cells.real, cells.imag = np.cos(phase), np.sin(phase)
    if lane.repeat > 1:
        cells = np.repeat(np.repeat(cells, lane.repeat, axis=0), lane.repeat, axis=1)
    return np.asarray(cells * lane.incident)


def forward(lane: Lane, field: Complex, threads: int = 1) -> Complex:
    """The field on the window's samples, complex (window rows, window columns), of a field behind the mask."""
    return _through(field, lane.wave, lane.transfer, lane.window, threads)


def adjoint(lane: Lane, field: Complex, threads: int = 1) -> Complex:
    """What `forward` takes back: complex (rows * repeat, columns * repeat), so that <a, forward b> = <adjoint a, b>."""
    return _through(field, lane.wave, lane.transfer.conj(), lane.incident.shape, threads)


def _through(field: Complex, wave: tuple[int, int], transfer: Complex, kept: tuple[int, ...], threads: int) -> Complex:
    """Transform, multiply, transform back; the first `kept` rows and columns."""
    spectrum = scipy.fft.fft(field, n=wave[1], axis=1, workers=threads)[:, : transfer.shape[1]]
    spectrum = scipy.fft.fft(spectrum, n=wave[0], axis=0, workers=threads)
    spectrum *= transfer
    half = scipy.fft.ifft(spectrum, axis=0, overwrite_x=True, workers=threads)[: kept[0]]
    return np.asarray(scipy.fft.ifft(half, n=wave[1], axis=1, workers=threads)[:, : kept[1]])


def in_pixels(lane: Lane, field: Complex) -> Real:
    """PSF (psf rows, psf columns) of the field on the window's samples: its sum is the throughput."""
    return np.asarray(lane.pixel_rows @ (field.real**2 + field.imag**2) @ lane.pixel_columns.T)


def cells_of(lane: Lane, samples: Real) -> Real:
    """Samples (rows * repeat, columns * repeat) added up over each cell: (rows, columns)."""
    if lane.repeat == 1:
        return samples
    rows, columns = lane.cells
    return np.asarray(samples.reshape(rows, lane.repeat, columns, lane.repeat).sum(axis=(1, 3)))


def _covered(pixels: NDArray[np.float64]) -> tuple[int, int]:
    """How many samples lie in any pixel, and which is the first."""
    used = np.flatnonzero(pixels.any(axis=0))
    return int(used[-1] - used[0]) + 1, int(used[0])
