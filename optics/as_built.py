"""A mask as it was built: one copy with its own errors of height, etching, mounting, light and temperature; its PSF.

What is modelled how, and what is left out, is decision 0015 in docs/decisions.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import TypeVar

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from optics.mask import Mask, cell_positions_m
from optics.materials import REFERENCE_CELSIUS, refractive_index
from optics.psf import Chain, mask_chain, mask_samples

Floats = NDArray[np.float64]
Number = TypeVar("Number", np.float64, np.complex64)
# A relief of more levels than this, or of unequal steps, is not made by a stack of binary etches.
MOST_LAYERS = 8
# The series for a tilt is cut where the next term is below this (amplitude, at the worst place in the worst direction).
TILT_REST, MOST_TILT_TERMS = 1e-2, 30


class ToleranceError(ValueError):
    """Deviations that are none, or cannot be computed. The message says what was expected."""


@dataclass(frozen=True, slots=True)
class Deviations:
    """One standard deviation of every parameter. The defaults are assumptions: put in what your maker promises.

    height_rms_m: of every cell's height by itself. height_waviness_m: rms of an error that varies slowly over the mask,
    correlated over waviness_length_m (where its autocorrelation falls to 1/e; not a deviation). depth_share: of all
    heights together, relative (etch depth). overlay_m: along x and along y, of each etch of a multi-level relief
    against the first. shift_m: along x and along y, of the mask against the sensor. distance_m: mask to sensor.
    tilt_rad: of the mask, about x and about y. wavelength_m: of the three colours together. temperature_k: from 20
    degrees Celsius; spacer_expansion_per_k: of what holds mask and sensor apart (aluminium; not a deviation).
    """

    height_rms_m: float = 10e-9
    height_waviness_m: float = 20e-9
    depth_share: float = 0.02
    overlay_m: float = 0.25e-6
    shift_m: float = 10e-6
    distance_m: float = 25e-6
    tilt_rad: float = 0.01
    wavelength_m: float = 3e-9
    temperature_k: float = 10.0
    waviness_length_m: float = 100e-6
    spacer_expansion_per_k: float = 23e-6

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if not (math.isfinite(value) and value >= 0):
                raise ToleranceError(f"{each.name} is a standard deviation, 0 or more, got {value!r}")
        if self.waviness_length_m == 0:
            raise ToleranceError(
                "waviness_length_m must be positive: for an error without correlation use height_rms_m"
            )


# The parameters: what to call them, and the factor and unit in which a person reads them.
PARAMETERS: dict[str, tuple[str, float, str]] = {
    "height_rms_m": ("height of single cells", 1e9, "nm"),
    "height_waviness_m": ("waviness of the height", 1e9, "nm"),
    "depth_share": ("etch depth", 100.0, "%"),
    "overlay_m": ("overlay of the etches", 1e6, "um"),
    "shift_m": ("lateral shift", 1e6, "um"),
    "distance_m": ("distance to the sensor", 1e6, "um"),
    "tilt_rad": ("tilt", 180 / math.pi, "degrees"),
    "wavelength_m": ("wavelength", 1e9, "nm"),
    "temperature_k": ("temperature", 1.0, "K"),
}
OVER_CELLS = ("height_rms_m", "height_waviness_m")
IN_TWO_DIRECTIONS = ("overlay_m", "shift_m", "tilt_rad")


@dataclass(frozen=True, eq=False)
class Copy:
    """One mask as it was made and mounted: actual errors, in the units of their names.

    height_error_m: float64 (cells), added to every height; None: none. overlay_m: float64 (etches - 1, 2), x and y of
    every etch after the first, the coarsest (see `etches`). shift_m: x and y. tilt_rad: about x (the mask's lower edge
    nearer to the sensor) and about y (its right edge nearer). The rest: see Deviations.
    """

    height_error_m: Floats | None = None
    depth_share: float = 0.0
    overlay_m: Floats | None = None
    shift_m: tuple[float, float] = (0.0, 0.0)
    distance_m: float = 0.0
    tilt_rad: tuple[float, float] = (0.0, 0.0)
    wavelength_m: float = 0.0
    temperature_k: float = 0.0
    spacer_expansion_per_k: float = 0.0


def copy_psf(mask: Mask, copy: Copy, threads: int = 2) -> NDArray[np.float32]:
    """PSF of one copy: float32 (3, rows, columns), as `optics.psf.psf` gives the nominal mask's."""
    ways = colour_ways(mask, copy.shift_m)
    layers = etches(mask)
    return np.stack(
        [in_pixels(way, light_of_copy(way, mask, layers, copy, threads), copy.shift_m, threads) for way in ways]
    )


def draw_copy(mask: Mask, deviations: Deviations, rng: np.random.Generator, layers: Sequence[Floats] = ()) -> Copy:
    """One copy with errors drawn from the deviations. layers: `etches(mask)`; none of them is misplaced without."""
    layers = layers or etches(mask)
    normal = rng.standard_normal
    return Copy(
        height_error_m=height_error_of_cells_m(mask, deviations.height_rms_m, deviations, rng)
        + waviness_m(mask, deviations.height_waviness_m, deviations, rng),
        depth_share=deviations.depth_share * float(normal()),
        overlay_m=deviations.overlay_m * normal((max(len(layers) - 1, 0), 2)),
        shift_m=_two(deviations.shift_m * normal(2)),
        distance_m=deviations.distance_m * float(normal()),
        tilt_rad=_two(deviations.tilt_rad * normal(2)),
        wavelength_m=deviations.wavelength_m * float(normal()),
        temperature_k=deviations.temperature_k * float(normal()),
        spacer_expansion_per_k=deviations.spacer_expansion_per_k,
    )


def etches(mask: Mask) -> tuple[Floats, ...]:
    """The binary etches that make a multi-level relief, the coarsest first: heights in metres, float64 (cells) each.

    Their sum is the relief, less its lowest level. Empty for a relief that is smooth, or not made of at most 256 equal
    steps.
    """
    if mask.surface == "smooth":
        return ()
    inside = mask.height_m[mask.stop > 0]
    lowest = float(inside.min())
    levels = np.unique(np.round(inside - lowest, 15))
    if levels.size < 2:
        return ()
    step = float(np.diff(levels).min())
    index = np.where(mask.stop > 0, (mask.height_m - lowest) / step, 0)
    whole = np.round(index)
    if np.abs(index - whole).max() > 1e-3 or whole.max() >= 2**MOST_LAYERS:
        return ()
    bits = int(whole.max()).bit_length()
    # Steps may differ in their last digits: the true step is the range over its number of steps.
    exact = float(np.ptp(inside)) / whole.max()
    return tuple((whole.astype(np.int64) >> bit & 1) * (2**bit * exact) for bit in reversed(range(bits)))


@dataclass(frozen=True, eq=False)
class Way:
    """A chain in single precision, and what of it a copy changes.

    height_m: float64, of the nominal surface: of its cells, or of the wave's samples where it is smooth. passed:
    float32, the mask's amplitude there. amplitude: float32 (wave rows, kept columns), of the nominal free space.
    fy_per_m, fx_per_m: (wave rows, 1), (1, kept). squared_per_m2: sum of their squares. rows, columns: float32, the
    wanted window's part of the chain's pixel matrices. further_m: path of the light from a near source beyond the axial
    one, to every sample of the mask; None for a plane wave. y_m, x_m: positions of these samples, (rows, 1) and (1,
    columns). steepest: sine of the largest angle between the axis and light from the mask to the window. magnification:
    way of the PSF for a way of the mask.
    """

    chain: Chain
    distance_m: float
    height_m: Floats
    passed: NDArray[np.float32]
    amplitude: NDArray[np.float32]
    fy_per_m: Floats
    fx_per_m: Floats
    squared_per_m2: Floats
    rows: NDArray[np.float32]
    columns: NDArray[np.float32]
    further_m: Floats | None
    y_m: Floats
    x_m: Floats
    steepest: float
    magnification: float


def colour_ways(mask: Mask, shift_m: tuple[float, float]) -> list[Way]:
    """One per colour; the wave's grid has room for the shift (x, y) in metres. Raises SamplingError as psf does."""
    geometry = mask.geometry
    magnification = 1 + geometry.sensor_distance_m / geometry.source_distance_m
    room = [math.ceil(abs(each) * magnification / geometry.pixel_pitch_m) for each in reversed(shift_m)]
    # More than half a window of room would help nobody: the PSF has left it.
    room = [min(each, side // 2 + 1) for each, side in zip(room, geometry.psf_px, strict=True)]
    wider = replace(geometry, psf_px=(geometry.psf_px[0] + 2 * room[0], geometry.psf_px[1] + 2 * room[1]))
    half_m = [
        (cells * mask.pitch_m + pixels * geometry.pixel_pitch_m) / 2
        for cells, pixels in zip(mask.stop.shape, geometry.psf_px, strict=True)
    ]
    across_m = math.hypot(*half_m)
    ways = []
    for wavelength_m in geometry.wavelengths_m:
        chain = mask_chain(replace(mask, geometry=wider), wavelength_m)
        y_m, x_m = (cell_positions_m(cells * chain.repeat, chain.wave.pitch_m) for cells in mask.stop.shape)
        squared = x_m**2 + y_m[:, np.newaxis] ** 2
        far_m = geometry.source_distance_m
        fy_per_m, fx_per_m = chain.wave.fy_per_m, chain.wave.fx_per_m[:, chain.columns]
        ways.append(
            Way(
                chain,
                geometry.sensor_distance_m,
                *_surface(mask, chain),
                np.abs(chain.spread).astype(np.float32),
                fy_per_m,
                fx_per_m,
                np.asarray(fx_per_m**2 + fy_per_m**2),
                chain.pixel_rows[room[0] : room[0] + geometry.psf_px[0], chain.window[0]].astype(np.float32),
                chain.pixel_columns[room[1] : room[1] + geometry.psf_px[1], chain.window[1]].astype(np.float32),
                None if math.isinf(far_m) else squared / (np.sqrt(squared + far_m**2) + far_m),
                y_m[:, np.newaxis],
                x_m[np.newaxis, :],
                across_m / math.hypot(across_m, geometry.sensor_distance_m),
                magnification,
            )
        )
    return ways


def _surface(mask: Mask, chain: Chain) -> tuple[Floats, NDArray[np.float32]]:
    """Nominal height in metres and amplitude, of the cells of a stepped surface or of the samples of a smooth one."""
    if mask.surface == "stepped":
        return mask.height_m, mask.amplitude.astype(np.float32)
    mask_samples(mask, chain)  # refuses what its samples do not describe
    # Made so flat that its phase stays within half a turn, the surface between the cells can be read from the light.
    turns_per_m = (refractive_index(mask.material, chain.wavelength_m) - 1) / chain.wavelength_m
    flatter = max(1.0, 4 * turns_per_m * float(np.ptp(mask.height_m)))
    light = mask_samples(replace(mask, height_m=(mask.height_m - mask.height_m.min()) / flatter), chain)
    return np.angle(light) * flatter / (2 * np.pi * turns_per_m), np.abs(light).astype(np.float32)


def _as_samples(cells: NDArray[Number], shape: tuple[int, ...]) -> NDArray[Number]:
    """Every cell's value for all of its samples, if it is not already so."""
    repeat = shape[0] // cells.shape[0]
    return cells if repeat == 1 else np.repeat(np.repeat(cells, repeat, axis=0), repeat, axis=1)


def light_of_copy(way: Way, mask: Mask, layers: Sequence[Floats], copy: Copy, threads: int) -> NDArray[np.complex64]:
    """Spectrum of the copy's field in the plane of the sensor, before any lateral shift: (wave rows, kept columns).

    layers: of `etches`. Raises ToleranceError where a deviation leaves no wavelength or no distance.
    """
    wavelength_m = way.chain.wavelength_m + copy.wavelength_m
    if wavelength_m <= 0:
        raise ToleranceError(f"a wavelength of {way.chain.wavelength_m:g} m cannot change by {copy.wavelength_m:g} m")
    celsius = REFERENCE_CELSIUS + copy.temperature_k
    grown = 1 + mask.material.expansion_per_k * copy.temperature_k
    # A mask that is larger by a factor acts at a distance that is shorter by its square (Fresnel's similarity). That
    # the PSF grows by that factor, too, is left out: for polymers a thousandth in ten degrees, for silica nothing.
    spacer_m = way.distance_m * copy.spacer_expansion_per_k * copy.temperature_k
    distance_m = (way.distance_m + copy.distance_m + spacer_m) / grown**2
    if distance_m <= 0:
        raise ToleranceError(f"a distance of {way.distance_m:g} m cannot become {distance_m:g} m")
    taller = (1 + copy.depth_share) * grown
    per_m = 2 * np.pi * (refractive_index(mask.material, wavelength_m, celsius) - 1) / wavelength_m * taller
    height_m = way.height_m
    if copy.height_error_m is not None:
        height_m = height_m + _as_samples(copy.height_error_m, height_m.shape)
    passed = _unit(per_m * height_m) * way.passed
    if copy.overlay_m is not None and copy.overlay_m.any():
        passed *= _misplaced(layers, copy.overlay_m / mask.pitch_m, per_m)
    light = _as_samples(passed, way.chain.incident.shape)
    if way.further_m is not None:
        light = light * _unit(2 * np.pi / wavelength_m * way.further_m)
    # Along the way, from the axial wave, in cycles per metre: negative.
    along_per_m = np.sqrt(np.maximum(wavelength_m**-2 - way.squared_per_m2, 0)) - 1 / wavelength_m
    spectrum = _transform(way, light, threads)
    if any(copy.tilt_rad):
        nearer_m = copy.tilt_rad[0] * way.y_m + copy.tilt_rad[1] * way.x_m
        spectrum += _tilted(way, light, nearer_m, along_per_m, wavelength_m, threads)
    spectrum *= _unit(2 * np.pi * distance_m * along_per_m) * way.amplitude
    return spectrum


def _tilted(
    way: Way,
    light: NDArray[np.complex64],
    nearer_m: Floats,
    along_per_m: Floats,
    wavelength_m: float,
    threads: int,
) -> NDArray[np.complex64]:
    """What a tilt adds to the spectrum: every sample starts nearer to the sensor by `nearer_m`.

    Light of spatial frequency f then lacks the phase 2 pi along(f) nearer_m. The product of a place and a frequency is
    no transform; its exponential series is a sum of such.
    """
    furthest_m = float(np.abs(nearer_m).max())
    largest = 2 * math.pi / wavelength_m * (1 - math.sqrt(1 - way.steepest**2)) * furthest_m
    rest, orders = largest, 0
    while rest >= TILT_REST or not orders:
        orders += 1
        rest *= largest / (orders + 1)
        if orders > MOST_TILT_TERMS:
            raise ToleranceError(
                f"a tilt that brings an edge of the mask {furthest_m * 1e6:.3g} um nearer to the sensor is beyond this "
                "model: use a smaller tilt_rad"
            )
    result = np.zeros(way.amplitude.shape, dtype=np.complex64)
    # Both factors of a term are kept near one, for single precision.
    place = (nearer_m / furthest_m).astype(np.float32)
    direction = (-2j * np.pi * furthest_m * along_per_m).astype(np.complex64)
    term, factor = light, np.ones((), dtype=np.complex64)
    for order in range(1, orders + 1):
        term, factor = term * place, factor * direction / np.float32(order)
        result += factor * _transform(way, term, threads)
    return result


def _transform(way: Way, light: NDArray[np.complex64], threads: int) -> NDArray[np.complex64]:
    """Spectrum (wave rows, kept columns) of light on the mask; the dark rows around it are not transformed along."""
    chain = way.chain
    top, left = chain.at
    flat = np.zeros((light.shape[0], chain.wave.columns), dtype=np.complex64)
    flat[:, left : left + light.shape[1]] = light
    tall = np.zeros(way.amplitude.shape, dtype=np.complex64)
    tall[top : top + light.shape[0]] = scipy.fft.fft(flat, axis=1, overwrite_x=True, workers=threads)[:, chain.columns]
    return np.asarray(scipy.fft.fft(tall, axis=0, overwrite_x=True, workers=threads))


def in_pixels(
    way: Way, spectrum: NDArray[np.complex64], shift_m: tuple[float, float], threads: int
) -> NDArray[np.float32]:
    """PSF float32 (rows, columns) of one colour with the mask moved by (x, y) metres."""
    chain = way.chain
    # A shift of the mask moves the light of a near source further. The spectrum itself is kept for other shifts.
    x_m, y_m = (each * way.magnification for each in shift_m)
    tall = spectrum * _unit(-2 * np.pi * y_m * way.fy_per_m)
    tall *= _unit(-2 * np.pi * x_m * way.fx_per_m)
    seen = scipy.fft.ifft(tall, axis=0, overwrite_x=True, workers=threads)[chain.window[0]]
    flat = np.zeros((seen.shape[0], chain.wave.columns), dtype=np.complex64)
    flat[:, chain.columns] = seen
    field = scipy.fft.ifft(flat, axis=1, overwrite_x=True, workers=threads)[:, chain.window[1]]
    light = field.real**2 + field.imag**2
    # The weights of a pixel have small negative parts (see optics.psf).
    return np.asarray(np.maximum(way.rows @ light @ way.columns.T, 0) / chain.power, dtype=np.float32)


def _misplaced(layers: Sequence[Floats], overlay_cells: Floats, per_m: float) -> NDArray[np.complex64]:
    """By what the cells' light is multiplied when the etches after the first are moved, x and y in cells.

    A cell of which a strip has a neighbour's etch passes the mean of both, to first order in the strips' widths; two
    etches' strips cross as if they did not know of each other.
    """
    if len(overlay_cells) != len(layers) - 1:
        raise ToleranceError(f"a relief of {len(layers)} etches cannot have {len(overlay_cells)} misplaced ones")
    factor = np.ones(layers[0].shape, dtype=np.complex64)
    for layer, moved in zip(layers[1:], overlay_cells, strict=True):
        whole = [round(float(each)) for each in moved]
        base = _from_before(_from_before(layer, whole[0], 1), whole[1], 0)
        own = _unit(per_m * (base - layer))
        mean = own.copy()
        for each, nearest, axis in zip(moved, whole, (1, 0), strict=True):
            strip = float(each) - nearest
            if strip:
                neighbour = _from_before(base, 1 if strip > 0 else -1, axis)
                mean += np.float32(abs(strip)) * (_unit(per_m * (neighbour - layer)) - own)
        factor *= mean
    return factor


def _from_before(layer: Floats, cells: int, axis: int) -> Floats:
    """The etch moved by whole cells along an axis; beyond its edge it continues with its outermost cells."""
    count = layer.shape[axis]
    return np.asarray(np.take(layer, np.clip(np.arange(count) - cells, 0, count - 1), axis=axis))


def _unit(phase: Floats) -> NDArray[np.complex64]:
    """exp(i phase) in single precision; the phase is reduced to one turn before it loses digits."""
    reduced = np.remainder(phase, 2 * np.pi).astype(np.float32)
    result = np.empty(reduced.shape, dtype=np.complex64)
    np.cos(reduced, out=result.real)
    np.sin(reduced, out=result.imag)
    return result


def height_error_of_cells_m(mask: Mask, rms_m: float, _: Deviations, rng: np.random.Generator) -> Floats:
    """Error of every cell's height by itself, normal, in metres: float64 (rows, columns)."""
    return np.asarray(rms_m * rng.standard_normal(mask.height_m.shape))


def waviness_m(mask: Mask, rms_m: float, deviations: Deviations, rng: np.random.Generator) -> Floats:
    """Error of the height that varies slowly over the mask, of this rms in metres: float64 (rows, columns).

    Noise through a Gaussian of standard deviation s has the autocorrelation exp(-r^2 / (4 s^2)): s is half of where
    it falls to 1/e.
    """
    rows, columns = mask.height_m.shape
    if rms_m == 0:
        return np.zeros((rows, columns))
    sigma = deviations.waviness_length_m / mask.pitch_m / 2
    # The transform makes opposite edges neighbours: they are kept apart by as far as the error is correlated at all.
    sides = [scipy.fft.next_fast_len(side + math.ceil(6 * sigma), real=True) for side in (rows, columns)]
    passed = [np.exp(-2 * (np.pi * sigma * np.fft.fftfreq(side)) ** 2) for side in sides]
    passed = [each / np.sqrt(np.mean(each**2)) for each in passed]
    spectrum = scipy.fft.rfft2(rng.standard_normal(sides))
    spectrum *= passed[0][:, np.newaxis] * passed[1][: spectrum.shape[1]]
    return np.asarray(rms_m * scipy.fft.irfft2(spectrum, sides)[:rows, :columns])


def _two(values: Floats) -> tuple[float, float]:
    return float(values[0]), float(values[1])
