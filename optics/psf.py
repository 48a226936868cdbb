"""From a mask to its point spread function: cells, light, free space, and the area of the sensor's pixels.

One colour is a `Chain`: everything between the mask's cells and the sensor's pixels that does not depend on the mask's
heights, made once and used for many height maps (design, tolerances). `psf` goes the whole way for the three colours.
How the grid is chosen, and how far the result can be trusted: docs/decisions/0013-from-mask-to-psf.md.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import scipy.fft
import scipy.ndimage
import scipy.sparse
import scipy.special
from numpy.typing import NDArray

from optics.grid import Grid
from optics.mask import Geometry, Mask, Surface, cell_positions_m
from optics.materials import REFERENCE_CELSIUS, Material, refractive_index
from optics.sampling import SamplingError

Floats = NDArray[np.float64]
Complex = NDArray[np.complex128]

# A field of this side takes 600 MB and some 15 s a colour: what is still bearable on a small machine.
LARGEST_WAVE_GRID = 6144
# The grid is wider than stop and window together by this factor: room for a soft edge of the band of frequencies, which
# a hard edge would spread over the window as ripples.
MARGIN = 1.2
# At least so much of the needed reach lies between the last frequency that counts and the finest that the grid carries.
SOFT_EDGE = 1.1
# Share of the samples' bandwidth that the intensity may fill, so that a short kernel integrates it over pixels.
INTENSITY_FILL = 0.9
PIXEL_KERNEL_SAMPLES = 8
# Turns of the incident wave's phase from sample to sample of a stepped surface, whose samples are taken as flat.
FLAT_TURNS = 1 / 8
# Turns of a smooth surface's phase from sample to sample; half a turn is where light aliases.
SMOOTH_TURNS = 0.45
# Samples per cell of a smooth surface: at one, the light from the stop's edge aliases by 3e-3 of the peak, at two 7e-4.
SMOOTH_REPEAT = 2
# Rays that miss the window by this share of the longest way (half of stop and window together) begin to be faded out,
# and are gone at the second: however steep they are, they need no finer grid.
FADE_BEGIN, FADE_END = 0.1, 0.28
# Samples of a block of columns that a core's cache holds (512 KB).
CACHED_SAMPLES = 32_768
# How far two interpolations of a smooth surface may differ, in turns, before its samples do not say what it is. At a
# jump they differ by a fiftieth of it; on the captioning paper's lens, steep and wavy at its rim, by 0.012 at most.
DOUBTFUL_TURNS = 0.02


class Spectrum(NamedTuple):
    """A colour of finite width: wavelengths in metres and the (non-negative) share of the light at each."""

    wavelengths_m: tuple[float, ...]
    weights: tuple[float, ...]


class LightBudget(NamedTuple):
    """Where the light that entered the stop goes, each float64 (3,), shares that sum to one.

    window: onto the pixels of the window. outside: past the mask and elsewhere (stray light that a real sensor, which
    is larger, sees as background). absorbed: by the mask's transmission.
    """

    window: Floats
    outside: Floats
    absorbed: Floats


@dataclass(frozen=True, eq=False)
class Chain:
    """One wavelength's way from mask to sensor.

    repeat: samples per cell side. at: (row, column) of the first mask sample on the wave grid. wave: that grid.
    incident: complex128 (cell rows * repeat, cell columns * repeat), light that falls on the mask, of amplitude one; a
    tilt is not in it but in the frame, which follows the chief ray. columns: int (kept,), the spectrum's columns
    with any light that matters; spread: complex128 (wave rows, kept), free space at them, FFT order; for a stepped
    surface it includes the diffraction at one sample's square (sinc). window: rows and columns of the wave grid that
    the pixels need. pixel_rows, pixel_columns: float64 (psf rows, wave rows) and (psf columns, wave columns), weight of
    each sample in each pixel, so that PSF = pixel_rows @ intensity @ pixel_columns.T / power. power: what enters the
    stop, the sum of its squared amplitude over the wave's samples. surface: that of the masks it is for.
    chief: (y, x) tangents of the direction in which the light travels through the middle of the mask.
    """

    wavelength_m: float
    repeat: int
    at: tuple[int, int]
    wave: Grid
    incident: Complex
    columns: NDArray[np.intp]
    spread: Complex
    window: tuple[slice, slice]
    pixel_rows: Floats
    pixel_columns: Floats
    power: float
    surface: Surface
    chief: tuple[float, float]

    @property
    def transfer(self) -> Complex:
        """Free space for the whole spectrum: complex128 (wave rows, wave columns), FFT order, 0 where not kept."""
        whole = np.zeros(self.wave.shape, dtype=np.complex128)
        whole[:, self.columns] = self.spread
        return whole


def psf(
    mask: Mask,
    celsius: float = REFERENCE_CELSIUS,
    *,
    psf_px: tuple[int, int] | None = None,
    source_distance_m: float | None = None,
    angle_x_rad: float = 0.0,
    angle_y_rad: float = 0.0,
    spectra: Sequence[Spectrum] | None = None,
) -> NDArray[np.float32]:
    """What the mask makes of a point of light: float32 (3, rows, columns), red, green, blue, not negative.

    Sampled at the geometry's pixel pitch in its window; the pixel (rows // 2, columns // 2) is centred on the axis.
    Each colour sums to its throughput: the share of the light entering the stop that reaches the window.

    celsius: changes the material's index, and height and pitch by its expansion. psf_px, source_distance_m: instead of
    the geometry's (a larger window shows the stray light). angle_x_rad, angle_y_rad: direction in which the light
    travels, to the right and downwards; the window then follows the chief ray, through the middle of the mask.
    spectra: three colours of finite width instead of the geometry's wavelengths, see `flat_band`.

    Right to about 1e-3 of the peak (decision 0013). Raises SamplingError where no grid of a bearable size represents
    the field, ValueError for what the material's source does not cover, and for spectra that are none.
    """
    geometry = mask.geometry
    if psf_px is not None:
        geometry = replace(geometry, psf_px=psf_px)
    if source_distance_m is not None:
        geometry = replace(geometry, source_distance_m=source_distance_m)
    seen = warmed(replace(mask, geometry=geometry), celsius)
    if spectra is None:
        spectra = [Spectrum((wavelength_m,), (1.0,)) for wavelength_m in geometry.wavelengths_m]
    if len(spectra) != 3:
        raise ValueError(f"spectra must be three (R, G, B), got {len(spectra)}")
    colours = []
    for spectrum in spectra:
        total = _checked(spectrum)
        colour = np.zeros(geometry.psf_px)
        for wavelength_m, weight in zip(spectrum.wavelengths_m, spectrum.weights, strict=True):
            chain = mask_chain(seen, wavelength_m, celsius, angle_x_rad, angle_y_rad)
            colour += weight / total * chain_psf(chain, mask_samples(seen, chain, celsius), threads=2)
        colours.append(colour)
    return np.stack(colours).astype(np.float32)


def flat_band(centre_m: float, width_m: float, lines: int = 5) -> Spectrum:
    """A colour whose light is spread evenly over `width_m` around `centre_m`, by Gauss and Legendre's quadrature.

    Exact for anything that varies with the wavelength like a polynomial of degree 2 lines - 1. A mask of many waves'
    height needs more lines. Raises ValueError for a width that is negative or reaches down to zero, or no line.
    """
    if lines < 1 or not 0 <= width_m < 2 * centre_m:
        raise ValueError(f"a band of {width_m:g} m around {centre_m:g} m with {lines} lines is none")
    places, weights = np.polynomial.legendre.leggauss(lines)
    return Spectrum(
        tuple(float(centre_m + width_m / 2 * place) for place in places), tuple(float(weight / 2) for weight in weights)
    )


def light_budget(mask: Mask, psf_planes: NDArray[np.floating]) -> LightBudget:
    """Where the light goes that enters the mask's stop. psf_planes: its PSF (3, rows, columns), from `psf`."""
    window = np.asarray(psf_planes, dtype=np.float64).sum(axis=(1, 2))
    passed = float((mask.amplitude**2).sum() / (mask.stop**2).sum())
    return LightBudget(window, passed - window, np.full(len(window), 1 - passed))


def warmed(mask: Mask, celsius: float) -> Mask:
    """The mask at a temperature: height and pitch grown by the material's expansion (free, alike in all directions)."""
    growth = 1 + mask.material.expansion_per_k * (celsius - REFERENCE_CELSIUS)
    return mask if growth == 1 else replace(mask, height_m=mask.height_m * growth, pitch_m=mask.pitch_m * growth)


def mask_chain(
    mask: Mask,
    wavelength_m: float,
    celsius: float = REFERENCE_CELSIUS,
    angle_x_rad: float = 0.0,
    angle_y_rad: float = 0.0,
) -> Chain:
    """The chain that this very mask needs: of `make_chain`, but as fine as a smooth surface's slopes ask for.

    Raises SamplingError.
    """
    least = 1
    if mask.surface == "smooth":
        chief = _tangents(angle_x_rad, angle_y_rad)
        turns = _turns_per_m(mask.material, wavelength_m, celsius, chief) * mask.height_m
        rays = _Rays(mask, mask.pitch_m, wavelength_m, chief)
        least = max(SMOOTH_REPEAT, math.ceil(rays.steepest(turns, mask.stop > 0) / SMOOTH_TURNS))
    return make_chain(
        mask.stop, mask.pitch_m, mask.geometry, wavelength_m, mask.surface, angle_x_rad, angle_y_rad, least_repeat=least
    )


def mask_samples(mask: Mask, chain: Chain, celsius: float = REFERENCE_CELSIUS) -> Complex:
    """By what the mask multiplies the light, as `chain_psf` takes it: complex128.

    (rows, columns) for a stepped surface; (rows * repeat, columns * repeat) for a smooth one, whose height is
    interpolated between the cells' centres (six points in each direction; at the stop's edge the surface is continued
    by its own curvature, whatever the array holds outside). A smooth surface so steep that its rays miss the window by
    far is left dark there, softly. Raises SamplingError where the surface's samples do not say what lies between them,
    or the chain's grid is too coarse for its slopes.
    """
    turns = _turns_per_m(mask.material, chain.wavelength_m, celsius, chain.chief) * mask.height_m
    if mask.surface == "stepped":
        return np.asarray(mask.amplitude * np.exp(2j * np.pi * turns))
    repeat = chain.repeat
    amplitude = _parts(mask.amplitude, repeat)
    open_samples = amplitude > 0
    # Inside the stop nothing changes; next to it the slopes become those of the surface, not of its edge.
    whole = _continued(turns, mask.stop > 0)
    turns = _interpolated(whole, repeat, 6)
    rays = _Rays(mask, chain.wave.pitch_m, chain.wavelength_m, chain.chief)
    if repeat > 1:
        doubt = float(np.abs(turns - _interpolated(whole, repeat, 4))[open_samples].max(initial=0))
        if doubt > DOUBTFUL_TURNS:
            raise SamplingError(
                f"the smooth surface is not known between its samples of {mask.pitch_m * 1e6:.3g} um (in doubt by "
                f"{doubt:.2g} wavelengths): sample it at "
                f"{mask.pitch_m * 1e6 * (DOUBTFUL_TURNS / doubt) ** 0.25 * 0.9:.2g} um or finer, or, if it has jumps, "
                'say that its surface is "stepped"'
            )
    amplitude *= rays.fade(turns)
    steepest = rays.steepest(turns, amplitude > 0)
    if steepest > 0.5:
        raise SamplingError(
            f"the surface's phase grows by {steepest:.2g} turns from sample to sample of "
            f"{chain.wave.pitch_m * 1e6:.3g} um, beyond half a turn light aliases: use samples of "
            f"{chain.wave.pitch_m * 1e6 * SMOOTH_TURNS / steepest:.2g} um"
        )
    return np.asarray(amplitude * np.exp(2j * np.pi * turns))


def chain_psf(chain: Chain, transmitted: Complex, threads: int = 1) -> Floats:
    """PSF float64 (rows, columns), not negative, of a mask that multiplies the field by `transmitted`.

    transmitted: complex128, one value per cell, or one per sample (rows * repeat, columns * repeat) as `mask_samples`
    gives for smooth surfaces. Raises ValueError for other shapes.
    """
    rows, columns = chain.incident.shape
    if transmitted.shape == chain.incident.shape:
        samples = transmitted
    elif (transmitted.shape[0] * chain.repeat, transmitted.shape[1] * chain.repeat) == (rows, columns):
        samples = np.repeat(np.repeat(transmitted, chain.repeat, axis=0), chain.repeat, axis=1)
    else:
        raise ValueError(
            f"transmitted has the shape {transmitted.shape}, the chain was made for "
            f"{rows // chain.repeat} x {columns // chain.repeat} cells"
        )
    # The rows around the mask are dark, so they are not transformed along; frequencies and samples that do not count
    # are left out as soon as they are known, and columns are done a few at a time, while they are in cache.
    top, left = chain.at
    high, wide = chain.window
    flat = np.zeros((rows, chain.wave.columns), dtype=np.complex128)
    np.multiply(samples, chain.incident, out=flat[:, left : left + columns])
    spectrum = scipy.fft.fft(flat, axis=1, overwrite_x=True, workers=threads)[:, chain.columns]
    flat = np.zeros((high.stop - high.start, chain.wave.columns), dtype=np.complex128)
    block = max(8, CACHED_SAMPLES * threads // chain.wave.rows)
    for start in range(0, chain.columns.size, block):
        some = slice(start, start + block)
        tall = np.zeros((chain.wave.rows, chain.columns[some].size), dtype=np.complex128)
        tall[top : top + rows] = spectrum[:, some]
        tall = scipy.fft.fft(tall, axis=0, overwrite_x=True, workers=threads)
        tall *= chain.spread[:, some]
        flat[:, chain.columns[some]] = scipy.fft.ifft(tall, axis=0, overwrite_x=True, workers=threads)[high]
    behind = scipy.fft.ifft(flat, axis=1, overwrite_x=True, workers=threads)[:, wide]
    intensity = behind.real**2 + behind.imag**2
    planes = chain.pixel_rows[:, high] @ intensity @ chain.pixel_columns[:, wide].T
    # The kernel that integrates over a pixel has negative parts; beside bright pixels they leave -1e-5 or so.
    return np.asarray(np.maximum(planes, 0) / chain.power)


def make_chain(
    stop: Floats,
    pitch_m: float,
    geometry: Geometry,
    wavelength_m: float,
    surface: Surface,
    angle_x_rad: float = 0.0,
    angle_y_rad: float = 0.0,
    *,
    least_repeat: int = 1,
) -> Chain:
    """The chain for masks with this stop (amplitude, float64 (rows, columns)) and cells of `pitch_m`.

    The wave grid is as fine as the steepest light that leads from the stop's edge to the far edge of the window needs,
    as fine as the interference of light from opposite edges of the stop needs, and wider than stop and window together,
    so that nothing that wraps around reaches the window. Light that misses the window is faded out. The grid has at
    least `least_repeat` samples per cell. Raises SamplingError.
    """
    rows, columns = stop.shape
    distance_m = geometry.sensor_distance_m
    chief = _tangents(angle_x_rad, angle_y_rad)
    stop_m = [cells * pitch_m for cells in stop.shape]
    reach_m = [
        (open_m + pixels * geometry.pixel_pitch_m) / 2 for open_m, pixels in zip(stop_m, geometry.psf_px, strict=True)
    ]
    finest = 0.0
    for axis in (0, 1):
        low, high = _band(chief, axis, reach_m[axis] * SOFT_EDGE / distance_m)
        finest = max(finest, 2 * max(-low, high))
        low, high = _band(chief, axis, stop_m[axis] / 2 / distance_m)
        finest = max(finest, 2 * (high - low) / INTENSITY_FILL)
    y_m, x_m = (cell_positions_m(cells, pitch_m) for cells in stop.shape)
    least = max(least_repeat, math.ceil(pitch_m * finest / wavelength_m - 1e-9))
    if not math.isinf(geometry.source_distance_m):
        allowed = FLAT_TURNS if surface == "stepped" else SMOOTH_TURNS
        turns = _incident_way_m(x_m, y_m, geometry.source_distance_m, chief) / wavelength_m
        least = max(least, math.ceil(_steepest_turns(turns) / allowed))
    repeat = max(1, least)
    sample_m = pitch_m / repeat
    room = 2 * PIXEL_KERNEL_SAMPLES
    sides = [
        # No prime factor above 5: the transforms that `apply_transfer` uses are slow with 7 and 11.
        scipy.fft.next_fast_len(math.ceil(max(2 * half * MARGIN / sample_m, 2 * half / sample_m + 2 * room)), real=True)
        for half in reach_m
    ]
    if max(sides) > LARGEST_WAVE_GRID:
        raise SamplingError(
            f"this mask needs a grid of {max(sides)} samples of {sample_m * 1e6:.3g} um at {wavelength_m * 1e9:.0f} nm,"
            f" more than {LARGEST_WAVE_GRID}: make the stop or the PSF window smaller, the distance to the sensor "
            "longer, or the surface less steep"
        )
    wave = Grid(sides[0], sides[1], sample_m)
    at = ((sides[0] - rows * repeat) // 2, (sides[1] - columns * repeat) // 2)
    y_m, x_m = cell_positions_m(rows * repeat, sample_m), cell_positions_m(columns * repeat, sample_m)
    spread = _free_space(wave, wavelength_m, distance_m, chief, (reach_m[0], reach_m[1]))
    if surface == "stepped":
        spread *= np.sinc(wave.fx_per_m * sample_m) * np.sinc(wave.fy_per_m * sample_m)
    kept = np.flatnonzero(spread.any(axis=0))
    if math.isinf(geometry.source_distance_m):
        incident = np.ones((y_m.size, x_m.size), dtype=np.complex128)
    else:
        incident = np.exp(2j * np.pi / wavelength_m * _incident_way_m(x_m, y_m, geometry.source_distance_m, chief))
    pixel_rows, pixel_columns = (
        _pixels(side, first - before * sample_m, sample_m, pixels, geometry.pixel_pitch_m)
        for side, first, before, pixels in zip(sides, (y_m[0], x_m[0]), at, geometry.psf_px, strict=True)
    )
    return Chain(
        wavelength_m,
        repeat,
        at,
        wave,
        incident,
        kept,
        spread if kept.size == wave.columns else np.ascontiguousarray(spread[:, kept]),
        (_used(pixel_rows), _used(pixel_columns)),
        pixel_rows,
        pixel_columns,
        float((stop**2).sum() * repeat**2),
        surface,
        chief,
    )


def _tangents(angle_x_rad: float, angle_y_rad: float) -> tuple[float, float]:
    """(y, x) tangents of a direction. Raises SamplingError from 80 degrees on."""
    for angle in (angle_x_rad, angle_y_rad):
        if not abs(angle) < math.radians(80):
            raise SamplingError(f"light at {math.degrees(angle):g} degrees to the axis: choose less than 80 degrees")
    return math.tan(angle_y_rad), math.tan(angle_x_rad)


def _band(chief: tuple[float, float], axis: int, spread: float) -> tuple[float, float]:
    """Lowest and highest direction sine, relative to the chief ray's, within tangents of +-spread along an axis."""
    along, across = chief[axis], chief[1 - axis]
    sines = [tangent / math.sqrt(1 + tangent**2 + across**2) for tangent in (along - spread, along, along + spread)]
    return sines[0] - sines[1], sines[2] - sines[1]


def _free_space(
    wave: Grid, wavelength_m: float, distance_m: float, chief: tuple[float, float], reach_m: tuple[float, float]
) -> Complex:
    """Angular spectrum in the frame of the chief ray: complex128 (rows, columns), FFT order.

    Plane waves around the chief ray's, whose own phase and sideways way are taken out (Matsushima, "Shifted angular
    spectrum method for off-axis numerical propagation", Opt. Express 18, 18453 (2010), doi:10.1364/OE.18.018453). A
    wave moves sideways by the derivative of its phase: all of those that move by at most `reach_m` (rows, columns) are
    kept, those that would come back around the grid into the window are zero, with a soft edge in between.
    """
    slope = math.sqrt(1 + chief[0] ** 2 + chief[1] ** 2)
    own = [tangent / slope / wavelength_m for tangent in chief]
    # Along an axis without tilt, frequencies of either sign behave alike: each is worked out once.
    once = [side // 2 + 1 if tangent == 0 else side for side, tangent in zip(wave.shape, chief, strict=True)]
    fy, fx = wave.fy_per_m[: once[0]], wave.fx_per_m[:, : once[1]]
    axial = 1 / wavelength_m / slope
    squared = 1 / wavelength_m**2 - (fy + own[0]) ** 2 - (fx + own[1]) ** 2
    along = np.sqrt(np.maximum(squared, (1e-3 / wavelength_m) ** 2))
    # The difference of the two roots without its cancellation, so that the phase keeps its digits over long distances.
    further = (axial**2 - along**2) / (axial + along)
    kept = np.exp(2j * np.pi * distance_m * (fy * chief[0] + fx * chief[1] - further))
    kept[squared <= (1e-3 / wavelength_m) ** 2] = 0
    for axis, frequency in enumerate((fy, fx)):
        moved_m = np.abs(distance_m * ((frequency + own[axis]) / along - chief[axis]))
        # What the grid's finest frequencies reach, where it has not room for more.
        room_m = (wave.shape[axis] - PIXEL_KERNEL_SAMPLES) * wave.pitch_m - reach_m[axis]
        last_m = min(room_m, float(moved_m.max(axis=axis).min()))
        kept *= np.cos(np.pi / 2 * np.clip((moved_m - reach_m[axis]) / (last_m - reach_m[axis]), 0, 1)) ** 2
    for axis, side in enumerate(wave.shape):
        if once[axis] < side:
            kept = np.take(kept, np.minimum(np.arange(side), side - np.arange(side)), axis=axis)
    return np.asarray(kept)


def _incident_way_m(x_m: Floats, y_m: Floats, source_distance_m: float, chief: tuple[float, float]) -> Floats:
    """Way of light from a point at `source_distance_m`, beyond the chief ray's and without its tilt: metres.

    float64 (rows, columns). The differences of long ways are taken without cancellation.
    """
    slope = math.sqrt(1 + chief[0] ** 2 + chief[1] ** 2)
    longest_m = source_distance_m * slope
    sideways = x_m * chief[1] + y_m[:, np.newaxis] * chief[0]
    squared = x_m**2 + y_m[:, np.newaxis] ** 2
    more = squared + 2 * source_distance_m * sideways
    further = more / (np.sqrt(longest_m**2 + more) + longest_m)
    return np.asarray(further - sideways / slope)


def _turns_per_m(material: Material, wavelength_m: float, celsius: float, chief: tuple[float, float]) -> float:
    """Delay of light by a metre of the material instead of air, in wavelengths; light crosses a plate obliquely."""
    index = refractive_index(material, wavelength_m, celsius)
    tilt = chief[0] ** 2 + chief[1] ** 2
    return (math.sqrt(index**2 - tilt / (1 + tilt)) - 1 / math.sqrt(1 + tilt)) / wavelength_m


class _Rays:
    """Where the light of a smooth surface goes, sample by sample, in the frame of the chief ray."""

    def __init__(self, mask: Mask, sample_m: float, wavelength_m: float, chief: tuple[float, float]) -> None:
        geometry = mask.geometry
        rows, columns = (round(cells * mask.pitch_m / sample_m) for cells in mask.height_m.shape)
        self.places_m = cell_positions_m(rows, sample_m)[:, np.newaxis], cell_positions_m(columns, sample_m)
        self.half_m = [pixels * geometry.pixel_pitch_m / 2 for pixels in geometry.psf_px]
        stop_m = [cells * mask.pitch_m / 2 for cells in mask.height_m.shape]
        self.begin_m, self.end_m = (
            [half + share * (half + open_m) for half, open_m in zip(self.half_m, stop_m, strict=True)]
            for share in (FADE_BEGIN, FADE_END)
        )
        self.turn = wavelength_m / sample_m
        self.distance_m, self.chief = geometry.sensor_distance_m, chief
        self.slope = math.sqrt(1 + chief[0] ** 2 + chief[1] ** 2)
        self.incident: Floats | float = 0.0
        if not math.isinf(geometry.source_distance_m):
            y_m, x_m = self.places_m
            self.incident = _incident_way_m(x_m, y_m.ravel(), geometry.source_distance_m, chief) / wavelength_m

    def steepest(self, turns: Floats, lit: NDArray[np.bool_]) -> float:
        """Largest difference of the phase (turns, the incident wave's included) between lit neighbours whose light
        comes near the window."""
        total = turns + self.incident
        steepest = 0.0
        for axis in (0, 1):
            low, high = _neighbours(total, axis)
            step = high - low
            low_m, high_m = _neighbours(np.broadcast_to(self.places_m[axis], total.shape), axis)
            counts = np.logical_and(*_neighbours(lit, axis)) & (
                np.abs((low_m + high_m) / 2 + self._moved_m(step, axis)) <= self.end_m[axis]
            )
            steepest = max(steepest, float(np.abs(step[counts]).max(initial=0)))
        return steepest

    def fade(self, turns: Floats) -> Floats:
        """Factor on the amplitude, float64 (rows, columns): 1 where light comes near the window, 0 where not."""
        total = turns + self.incident
        factor = np.ones(total.shape)
        for axis in (0, 1):
            if total.shape[axis] < 2:
                continue
            lands_m = np.abs(self.places_m[axis] + self._moved_m(np.gradient(total, axis=axis), axis))
            begin_m, end_m = self.begin_m[axis], self.end_m[axis]
            factor *= np.cos(np.pi / 2 * np.clip((lands_m - begin_m) / (end_m - begin_m), 0, 1)) ** 2
        # A cosine of a right angle is not quite zero.
        factor[factor < 1e-20] = 0
        return factor

    def _moved_m(self, step: Floats, axis: int) -> Floats:
        """Sideways way to the sensor, from that of the chief ray, of light whose phase grows by `step` turns."""
        sine = step * self.turn + self.chief[axis] / self.slope
        across = self.chief[1 - axis] / self.slope
        rest = 1 - sine**2 - across**2
        tangent = np.where(rest > 1e-6, sine / np.sqrt(np.maximum(rest, 1e-6)), np.copysign(1e3, sine))
        return np.asarray(self.distance_m * (tangent - self.chief[axis]))


def _steepest_turns(turns: Floats) -> float:
    """Largest difference between neighbours."""
    return max(float(np.abs(np.diff(turns, axis=axis)).max(initial=0)) for axis in (0, 1))


def _parts(cells: Floats, repeat: int) -> Floats:
    """Each cell as `repeat` x `repeat` equal samples."""
    return np.repeat(np.repeat(cells, repeat, axis=0), repeat, axis=1)


def _neighbours(array: NDArray[Any], axis: int) -> tuple[NDArray[Any], NDArray[Any]]:
    return (array[:-1], array[1:]) if axis == 0 else (array[:, :-1], array[:, 1:])


def _continued(surface: Floats, inside: NDArray[np.bool_]) -> Floats:
    """The surface with what lies outside replaced: three cells by its own curvature, further ones by the nearest."""
    nearest = scipy.ndimage.distance_transform_edt(~inside, return_distances=False, return_indices=True)
    filled = surface[tuple(nearest)]
    known = inside.copy()
    for _ in range(3):
        total, count = np.zeros(surface.shape), np.zeros(surface.shape)
        for step in ((0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (1, -1), (-1, 1), (-1, -1)):
            one, two, three = ((_from(filled, step, far), _from(known, step, far)) for far in (1, 2, 3))
            run = one[1] & two[1] & three[1]
            total += np.where(run, 3 * one[0] - 3 * two[0] + three[0], 0)
            count += run
        new = (count > 0) & ~known
        filled = np.where(new, total / np.maximum(count, 1), filled)
        known |= new
    return np.asarray(filled)


def _from(array: NDArray[Any], step: tuple[int, int], far: int) -> NDArray[Any]:
    """At each cell the value `far` steps away; zero (False) from beyond the array."""
    moved = np.zeros_like(array)
    shifts = [each * far for each in step]
    if all(abs(shift) < size for shift, size in zip(shifts, array.shape, strict=True)):
        to, origin = (
            tuple(
                slice(max(0, sign * shift), size - max(0, -sign * shift))
                for shift, size in zip(shifts, array.shape, strict=True)
            )
            for sign in (-1, 1)
        )
        moved[to] = array[origin]
    return moved


def _interpolated(surface: Floats, repeat: int, points: int) -> Floats:
    """Values at the middles of `repeat` x `repeat` parts of each cell, by Lagrange's polynomials over `points` cells.

    At the array's edge they use the cells that there are.
    """
    for axis in (0, 1):
        weights = _lagrange(surface.shape[axis], repeat, points)
        surface = np.asarray(weights @ surface if axis == 0 else surface @ weights.T)
    return surface


def _lagrange(cells: int, repeat: int, points: int) -> scipy.sparse.csr_array:
    """Weights (cells * repeat, cells) of the cells' centres."""
    points = min(points, cells)
    at = (np.arange(cells * repeat) + 0.5) / repeat - 0.5
    first = np.clip(np.floor(at).astype(int) - (points // 2 - 1), 0, cells - points)
    nodes = first[:, np.newaxis] + np.arange(points)
    weights = np.ones((at.size, points))
    for own in range(points):
        for other in range(points):
            if other != own:
                weights[:, own] *= (at - nodes[:, other]) / (own - other)
    rows = np.repeat(np.arange(at.size), points)
    return scipy.sparse.csr_array((weights.ravel(), (rows, nodes.ravel())), shape=(at.size, cells))


def _pixels(samples: int, first_m: float, sample_m: float, pixels: int, pixel_pitch_m: float) -> Floats:
    """Weight of each sample in each pixel along one direction: float64 (pixels, samples).

    A pixel's integral over the intensity that the samples belong to: over their sinc functions, cut off softly
    PIXEL_KERNEL_SAMPLES beyond the pixel. The weights of a pixel sum to its size in samples.
    """
    centre_m = (np.arange(pixels) - pixels // 2)[:, np.newaxis] * pixel_pitch_m
    away = (centre_m - (first_m + np.arange(samples) * sample_m)) / sample_m
    half = pixel_pitch_m / 2 / sample_m
    beyond = np.maximum(np.abs(away) - half, 0) / PIXEL_KERNEL_SAMPLES
    weights = (scipy.special.sici(np.pi * (away + half))[0] - scipy.special.sici(np.pi * (away - half))[0]) / np.pi
    weights *= np.where(beyond < 1, np.cos(np.pi / 2 * beyond) ** 2, 0)
    return np.asarray(weights * (2 * half / weights.sum(axis=1, keepdims=True)))


def _used(weights: Floats) -> slice:
    """The samples that any pixel needs."""
    used = np.flatnonzero(weights.any(axis=0))
    return slice(int(used[0]), int(used[-1]) + 1)


def _checked(spectrum: Spectrum) -> float:
    total = math.fsum(spectrum.weights)
    if len(spectrum.wavelengths_m) != len(spectrum.weights) or min(spectrum.weights, default=-1) < 0 or not total > 0:
        raise ValueError(f"a spectrum needs wavelengths and as many weights, none negative, not all zero: {spectrum}")
    return total
