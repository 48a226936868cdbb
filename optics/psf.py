"""From a mask to its point spread function: cells, light, free space, and the area of the sensor's pixels.

One colour is a `Chain`: everything between the mask's cells and the sensor's pixels that does not depend on the mask's
heights, made once and used for many height maps (design, tolerances). `psf` goes the whole way for the three colours.
"""

import math
from dataclasses import dataclass

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from optics.grid import Grid
from optics.mask import Geometry, Mask, Surface, cell_positions_m
from optics.materials import REFERENCE_CELSIUS, refractive_index
from optics.propagation import apply_transfer, transfer_function
from optics.sampling import SamplingError

LARGEST_WAVE_GRID = 4096


@dataclass(frozen=True, eq=False)
class Chain:
    """One wavelength's way from mask to sensor.

    repeat: samples per cell side. at: (row, column) of the first mask sample on the wave grid. wave: that grid.
    incident: complex128 (cell rows * repeat, cell columns * repeat), light that falls on the mask, of amplitude one.
    transfer: complex128 (wave rows, wave columns), FFT order; for a stepped surface it includes the diffraction at one
    sample's square (sinc). pixel_rows, pixel_columns: float64 (psf rows, wave rows) and (psf columns, wave columns),
    share of each sample that lies in each pixel, so that PSF = pixel_rows @ intensity @ pixel_columns.T / power.
    power: what enters the stop, the sum of its squared amplitude over the wave's samples.
    """

    wavelength_m: float
    repeat: int
    at: tuple[int, int]
    wave: Grid
    incident: NDArray[np.complex128]
    transfer: NDArray[np.complex128]
    pixel_rows: NDArray[np.float64]
    pixel_columns: NDArray[np.float64]
    power: float


def psf(mask: Mask, celsius: float = REFERENCE_CELSIUS) -> NDArray[np.float32]:
    """What the mask makes of a point of light: float32 (3, rows, columns), red, green, blue, not negative.

    Sampled at the geometry's pixel pitch in its window; the pixel (rows // 2, columns // 2) is centred on the axis.
    Each colour sums to its throughput: the share of the light entering the stop that reaches the window. Raises
    SamplingError where no grid of a bearable size represents the field.
    """
    colours = []
    for wavelength_m in mask.geometry.wavelengths_m:
        chain = make_chain(mask.stop, mask.pitch_m, mask.geometry, wavelength_m, mask.surface)
        phase = 2 * np.pi / wavelength_m * (refractive_index(mask.material, wavelength_m, celsius) - 1) * mask.height_m
        colours.append(chain_psf(chain, mask.amplitude * np.exp(1j * phase)))
    return np.stack(colours).astype(np.float32)


def chain_psf(chain: Chain, transmitted: NDArray[np.complex128]) -> NDArray[np.float64]:
    """PSF float64 (rows, columns) of a mask whose cells multiply the field by `transmitted`, complex128 (cells)."""
    samples = np.repeat(np.repeat(transmitted, chain.repeat, axis=0), chain.repeat, axis=1) * chain.incident
    field = np.zeros(chain.wave.shape, dtype=np.complex128)
    top, left = chain.at
    field[top : top + samples.shape[0], left : left + samples.shape[1]] = samples
    behind = apply_transfer(field, chain.transfer)
    intensity = behind.real**2 + behind.imag**2
    return np.asarray(chain.pixel_rows @ intensity @ chain.pixel_columns.T / chain.power)


def make_chain(
    stop: NDArray[np.float64], pitch_m: float, geometry: Geometry, wavelength_m: float, surface: Surface
) -> Chain:
    """The chain for masks with this stop (amplitude, float64 (rows, columns)) and cells of `pitch_m`.

    The wave grid is as fine as the steepest light that leads from the stop's edge to the far edge of the window needs,
    and as wide as both together, so that nothing that wraps around reaches the window. Raises SamplingError.
    """
    rows, columns = stop.shape
    half_m = [
        (cells * pitch_m + pixels * geometry.pixel_pitch_m) / 2
        for cells, pixels in zip(stop.shape, geometry.psf_px, strict=True)
    ]
    steepest = max(half / math.hypot(half, geometry.sensor_distance_m) for half in half_m)
    repeat = max(1, math.ceil(pitch_m * 2 * steepest / wavelength_m))
    sample_m = pitch_m / repeat
    sides = [scipy.fft.next_fast_len(math.ceil(2 * half / sample_m) + 2) for half in half_m]
    if max(sides) > LARGEST_WAVE_GRID:
        raise SamplingError(
            f"this mask needs a grid of {max(sides)} samples of {sample_m * 1e6:.3g} um, more than "
            f"{LARGEST_WAVE_GRID}: make the stop or the PSF window smaller, or the distance to the sensor longer"
        )
    wave = Grid(sides[0], sides[1], sample_m)
    at = ((sides[0] - rows * repeat) // 2, (sides[1] - columns * repeat) // 2)
    y_m = cell_positions_m(rows * repeat, sample_m)
    x_m = cell_positions_m(columns * repeat, sample_m)
    transfer = transfer_function(wave, wavelength_m, geometry.sensor_distance_m)
    if surface == "stepped":
        transfer *= np.sinc(wave.fx_per_m * sample_m) * np.sinc(wave.fy_per_m * sample_m)
    incident = _incident(x_m, y_m, geometry.source_distance_m, wavelength_m)
    return Chain(
        wavelength_m,
        repeat,
        at,
        wave,
        incident,
        transfer,
        _pixels(sides[0], y_m[0] - at[0] * sample_m, sample_m, geometry.psf_px[0], geometry.pixel_pitch_m),
        _pixels(sides[1], x_m[0] - at[1] * sample_m, sample_m, geometry.psf_px[1], geometry.pixel_pitch_m),
        float((stop**2).sum() * repeat**2),
    )


def _incident(
    x_m: NDArray[np.float64], y_m: NDArray[np.float64], source_distance_m: float, wavelength_m: float
) -> NDArray[np.complex128]:
    """Light of amplitude one from a point on the axis, complex128 (rows, columns)."""
    if math.isinf(source_distance_m):
        return np.ones((y_m.size, x_m.size), dtype=np.complex128)
    squared = x_m**2 + y_m[:, np.newaxis] ** 2
    # The way beyond the axial one, without the cancellation of a difference of two long distances.
    further = squared / (np.sqrt(squared + source_distance_m**2) + source_distance_m)
    return np.asarray(np.exp(2j * np.pi / wavelength_m * further))


def _pixels(samples: int, first_m: float, sample_m: float, pixels: int, pixel_pitch_m: float) -> NDArray[np.float64]:
    """Share of each sample that lies in each pixel along one direction: float64 (pixels, samples)."""
    centre = (np.arange(pixels) - pixels // 2)[:, np.newaxis] * pixel_pitch_m
    sample = first_m + np.arange(samples) * sample_m
    right = np.minimum(centre + pixel_pitch_m / 2, sample + sample_m / 2)
    left = np.maximum(centre - pixel_pitch_m / 2, sample - sample_m / 2)
    return np.asarray(np.maximum(right - left, 0) / sample_m)
