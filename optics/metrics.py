"""How good a PSF is, in numbers: likeness to another, where its light lands, how much contrast it leaves.

A PSF is (rows, columns) for one colour or (3, rows, columns), never negative, each colour summing to its throughput;
the pixel (rows // 2, columns // 2) is centred on the optical axis. Any real dtype is taken, sums are float64.

Correlation means Pearson's coefficient over the pixels of the window (zero-mean normalised cross-correlation): neither
the brightness nor a constant background of either one counts. Why not the cosine: see decision 0013 in docs/decisions.
"""

import math
from typing import Any, Literal

import numpy as np
import scipy.fft
from numpy.typing import ArrayLike, NDArray
from skimage.metrics import structural_similarity

Floats = NDArray[np.float64]
Direction = Literal["radial", "x", "y"]
Centre = Literal["axis", "centroid"]

# Directions over half a turn that the radial MTF averages (the other half mirrors it).
MTF_DIRECTIONS = 36
# A pixel counts into a circle by its parts: a pixel is cut into so many by so many.
PARTS_PER_PIXEL = 5
# Steps of a pixel in which the best shift is found.
SHIFT_STEPS_PER_PIXEL = 50


class MetricError(ValueError):
    """A figure that has no value for these arrays; the message says why."""


def correlation(first: ArrayLike, second: ArrayLike) -> float:
    """Pearson correlation in [-1, 1] over the window; of (3, rows, columns) the mean of the three colours'.

    Either may be (rows, columns) while the other has three colours: it is then compared with each. Raises MetricError
    for other shapes, for NaN or infinity, and where one is constant (nothing to correlate).
    """
    return float(per_colour_correlation(first, second).mean())


def per_colour_correlation(first: ArrayLike, second: ArrayLike) -> Floats:
    """Pearson correlation of each colour: float64 (3,), or (1,) where both are (rows, columns). Raises MetricError."""
    one, other = _pair(first, second)
    return _pearson(one, other)


def aligned_correlation(
    first: ArrayLike, second: ArrayLike, reach_px: float | None = None
) -> tuple[float, tuple[float, float]]:
    """Correlation after the best shift: (correlation, (rows, columns) by which `second` lies beside `first`).

    One shift for all colours, found to 1/50 pixel within `reach_px` (default: a quarter of the window), positive
    downwards and to the right. Where moving it back uncovers the window's edge, `second` is continued with zero.
    Coarse maximum by fast cross-correlation, fine one by a local transform: Guizar-Sicairos, Thurman and Fienup,
    Opt. Lett. 33, 156 (2008), doi:10.1364/OL.33.000156. Raises MetricError as `correlation` does.
    """
    one, other = _pair(first, second)
    per_colour = _pearson(one, other)
    reach = min(one.shape[1:]) / 4 if reach_px is None else reach_px
    shape = tuple(scipy.fft.next_fast_len(2 * side) for side in one.shape[1:])
    # Each colour counts alike, whatever its brightness; the window's mean must not act as a box that has a maximum of
    # its own. Outside the window is zero.
    centred = one - one.mean(axis=(1, 2), keepdims=True)
    centred /= np.linalg.norm(centred, axis=(1, 2), keepdims=True)
    scaled = other / np.linalg.norm(other - other.mean(axis=(1, 2), keepdims=True), axis=(1, 2), keepdims=True)
    cross = (np.conj(scipy.fft.fft2(centred, shape)) * scipy.fft.fft2(scaled, shape)).sum(axis=0)
    frequencies = [np.fft.fftfreq(side) for side in shape]
    likeness = scipy.fft.ifft2(cross).real
    lags = [np.abs(each * side) for each, side in zip(frequencies, shape, strict=True)]
    likeness[~((lags[0] <= reach)[:, np.newaxis] & (lags[1] <= reach))] = -np.inf
    row, column = np.unravel_index(int(np.argmax(likeness)), likeness.shape)
    rows = round(float(frequencies[0][row]) * shape[0]) + _fine_steps()
    columns = round(float(frequencies[1][column]) * shape[1]) + _fine_steps()
    near = (
        np.exp(2j * np.pi * np.outer(rows, frequencies[0]))
        @ cross
        @ np.exp(2j * np.pi * np.outer(frequencies[1], columns))
    )
    fine_row, fine_column = np.unravel_index(int(np.argmax(near.real)), near.shape)
    shift = (float(rows[fine_row]), float(columns[fine_column]))
    aligned = _pearson(one, moved(other, (-shift[0], -shift[1])))
    if aligned.mean() <= per_colour.mean():
        return float(per_colour.mean()), (0.0, 0.0)
    return float(aligned.mean()), shift


def moved(psf: ArrayLike, shift_px: tuple[float, float]) -> Floats:
    """The PSF moved by (rows, columns) pixels, positive downwards and to the right: float64, the shape it had.

    Whole pixels exactly; parts of a pixel by band-limited (Fourier) interpolation, which keeps the sum but can leave
    small negative values beside sharp edges. What leaves the window is lost, what enters is zero.
    """
    array = np.asarray(psf, dtype=np.float64)
    height, width = array.shape[-2:]
    shape = (scipy.fft.next_fast_len(2 * height), scipy.fft.next_fast_len(2 * width))
    ramp = np.exp(-2j * np.pi * np.fft.fftfreq(shape[0]) * shift_px[0])[:, np.newaxis] * np.exp(
        -2j * np.pi * np.fft.fftfreq(shape[1]) * shift_px[1]
    )
    return np.asarray(scipy.fft.ifft2(scipy.fft.fft2(array, shape) * ramp).real[..., :height, :width])


def throughput(psf: ArrayLike) -> Floats:
    """Share of the light that entered the stop and lands in the window: float64 (3,), or (1,) for one colour."""
    return np.asarray(_colours(psf).sum(axis=(1, 2)))


def share_on(psf: ArrayLike, target: ArrayLike, above: float = 0.01) -> Floats:
    """Energy efficiency: share of the light that entered the stop and lands where the target wants any, float64 (3,).

    target: (rows, columns) or (3, rows, columns); its support is where it exceeds `above` times its maximum (per
    colour). Raises MetricError for shapes that do not fit, or a target without a positive value.
    """
    one, wanted = _windows(psf, target)
    most = wanted.max(axis=(1, 2), keepdims=True)
    if not (most > 0).all():
        raise MetricError("the target must be positive somewhere in every colour: light is wanted nowhere")
    return np.asarray(np.where(wanted > above * most, one, 0).sum(axis=(1, 2)))


def encircled_energy(psf: ArrayLike, pitch_m: float, centre: Centre = "axis") -> tuple[Floats, Floats]:
    """Light inside a circle against its radius: (radius_m float64 (n,), share float64 (3, n), or (n,) for one colour).

    share counts from the light that entered the stop, so it ends at the throughput (divide by that for the share of
    what the window holds). Radii in steps of half a pixel, from 0 to the window's far corner, around the optical axis
    or around the light's centroid (each colour's own). A pixel's light is spread evenly over it; it counts in 5 x 5
    parts.
    """
    colours = _colours(psf)
    _check_pitch(pitch_m)
    _, rows, columns = colours.shape
    parts = PARTS_PER_PIXEL
    within = (np.arange(parts) + 0.5) / parts - 0.5
    steps = math.ceil(2 * math.hypot(rows, columns)) + 2
    share = np.zeros((len(colours), steps))
    for index, colour in enumerate(colours):
        middle = _centroid(colour) if centre == "centroid" else (rows // 2, columns // 2)
        y, x = (
            (np.arange(side)[:, np.newaxis] + within).ravel() - at
            for side, at in zip((rows, columns), middle, strict=True)
        )
        # Twice the radius in pixels, rounded up: the first circle that holds this part of the pixel.
        ring = np.maximum(np.ceil(2 * np.hypot(y[:, np.newaxis], x)), 1).astype(np.intp)
        light = np.repeat(np.repeat(colour, parts, axis=0), parts, axis=1) / parts**2
        share[index] = np.bincount(ring.ravel(), light.ravel(), minlength=steps)[:steps].cumsum()
    radius = np.arange(steps) * pitch_m / 2
    return radius, share if np.asarray(psf).ndim == 3 else share[0]


def energy_radius(psf: ArrayLike, pitch_m: float, share: float = 0.5, centre: Centre = "centroid") -> Floats:
    """Radius in metres of the circle that holds `share` of the light in the window: float64 (3,), or (1,).

    Raises MetricError for a share outside (0, 1) or a colour without light.
    """
    if not 0 < share < 1:
        raise MetricError(f"share must lie between 0 and 1, got {share}")
    radius, energy = encircled_energy(_colours(psf), pitch_m, centre)
    if not (energy[:, -1] > 0).all():
        raise MetricError("a colour has no light in the window: it has no energy radius")
    return np.array([np.interp(share * each[-1], each, radius) for each in energy])


def mtf(psf: ArrayLike, pitch_m: float, direction: Direction = "radial") -> tuple[Floats, Floats]:
    """Modulation transfer function: (frequency_per_m float64 (n,), contrast float64 (3, n), or (n,) for one colour).

    The modulus of the PSF's Fourier transform over its value at zero, so it is 1 at frequency 0 and what a grating of
    that frequency keeps of its contrast; from 0 to half the sampling rate in cycles per metre on the sensor, n =
    max(rows, columns) // 2 + 1. direction: along x, along y, or the mean over directions ("radial"). The transform is
    evaluated at these very frequencies, without interpolation. A PSF integrated over pixels includes their sinc.
    Raises MetricError for a colour without light.
    """
    colours = _colours(psf)
    _check_pitch(pitch_m)
    total = colours.sum(axis=(1, 2))
    if not (total > 0).all():
        raise MetricError("a colour has no light in the window: it has no MTF")
    _, rows, columns = colours.shape
    cycles = np.linspace(0, 0.5, max(rows, columns) // 2 + 1)
    if direction == "radial":
        angles = np.arange(MTF_DIRECTIONS) * np.pi / MTF_DIRECTIONS
    else:
        angles = np.array([0.0 if direction == "x" else np.pi / 2])
    fy, fx = np.outer(cycles, np.sin(angles)).ravel(), np.outer(cycles, np.cos(angles)).ravel()
    along_y = np.exp(-2j * np.pi * np.outer(fy, np.arange(rows) - rows // 2))
    along_x = np.exp(-2j * np.pi * np.outer(fx, np.arange(columns) - columns // 2))
    contrast = np.empty((len(colours), cycles.size))
    for index, colour in enumerate(colours):
        transform = ((along_y @ colour) * along_x).sum(axis=1)
        contrast[index] = np.abs(transform).reshape(cycles.size, angles.size).mean(axis=1) / total[index]
    return cycles / pitch_m, contrast if np.asarray(psf).ndim == 3 else contrast[0]


def similarity(image: ArrayLike, reference: ArrayLike, gaussian: bool = True, data_range: float = 1.0) -> float:
    """Structural similarity (SSIM) of two pictures in [0, data_range], (rows, columns) or (rows, columns, 3).

    Colours are averaged. gaussian: the settings of Wang, Bovik, Sheikh and Simoncelli, IEEE Trans. Image Process. 13,
    600 (2004), doi:10.1109/TIP.2003.819861 (Gaussian window of 1.5 pixels, population covariance); otherwise
    scikit-image's default, a flat 7 x 7 window with sample covariance. Raises MetricError for unequal shapes.
    """
    one, other = np.asarray(image, dtype=np.float64), np.asarray(reference, dtype=np.float64)
    if one.shape != other.shape or one.ndim not in (2, 3):
        raise MetricError(f"two pictures of one shape are needed, got {one.shape} and {other.shape}")
    settings: dict[str, Any] = (
        {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False} if gaussian else {}
    )
    axis = 2 if one.ndim == 3 else None
    measured = structural_similarity(  # type: ignore[no-untyped-call]
        one, other, data_range=data_range, channel_axis=axis, **settings
    )
    return float(measured)


def _pearson(one: Floats, other: Floats) -> Floats:
    one = one - one.mean(axis=(1, 2), keepdims=True)
    other = other - other.mean(axis=(1, 2), keepdims=True)
    sizes = np.linalg.norm(one, axis=(1, 2)) * np.linalg.norm(other, axis=(1, 2))
    return np.asarray(np.clip((one * other).sum(axis=(1, 2)) / sizes, -1, 1))


def _fine_steps() -> Floats:
    return np.arange(-SHIFT_STEPS_PER_PIXEL, SHIFT_STEPS_PER_PIXEL + 1) / SHIFT_STEPS_PER_PIXEL


def _pair(first: ArrayLike, second: ArrayLike) -> tuple[Floats, Floats]:
    """Two windows of one shape, neither of them constant: what can be correlated."""
    one, other = _windows(first, second)
    for name, array in (("first", one), ("second", other)):
        spread = np.ptp(array, axis=(1, 2))
        if not (spread > 1e-12 * np.abs(array).max()).all():
            raise MetricError(f"the {name} array is constant in a colour: it correlates with nothing")
    return one, other


def _windows(first: ArrayLike, second: ArrayLike) -> tuple[Floats, Floats]:
    one, other = _colours(first), _colours(second)
    if one.shape[1:] != other.shape[1:] or (one.shape[0] != other.shape[0] and 1 not in (one.shape[0], other.shape[0])):
        raise MetricError(f"windows of {one.shape[1:]} and {other.shape[1:]} pixels cannot be compared: use one window")
    one, other = np.broadcast_arrays(one, other)
    for name, array in (("first", one), ("second", other)):
        if not np.isfinite(array).all():
            raise MetricError(f"the {name} array holds NaN or infinity")
    return one, other


def _colours(psf: ArrayLike) -> Floats:
    array = np.asarray(psf, dtype=np.float64)
    if array.ndim == 2:
        array = array[np.newaxis]
    if array.ndim != 3 or 0 in array.shape:
        raise MetricError(f"expected (rows, columns) or (3, rows, columns), got {np.shape(psf)}")
    return array


def _check_pitch(pitch_m: float) -> None:
    if not (math.isfinite(pitch_m) and pitch_m > 0):
        raise MetricError(f"pitch_m must be a positive number of metres, got {pitch_m!r}")


def _centroid(colour: Floats) -> tuple[float, float]:
    total = colour.sum()
    if not total > 0:
        return colour.shape[0] // 2, colour.shape[1] // 2
    return (
        float((colour.sum(axis=1) * np.arange(colour.shape[0])).sum() / total),
        float((colour.sum(axis=0) * np.arange(colour.shape[1])).sum() / total),
    )
