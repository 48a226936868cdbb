"""Light on its way from one plane to the next: transfer functions of free space, and their application.

Time goes as exp(-i w t): light that travels further has more phase. Phases are counted from that of the plane wave
along the axis, so the common factor exp(i k z) is left out. Fields are complex (rows, columns) on a `Grid`; what lies
outside a field's grid is dark. Distances are in metres, of either sign: a negative one asks where the light came from.
"""

import math
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal, get_args

import cv2
import numpy as np
import scipy.fft
from numpy.typing import NDArray

from optics.grid import Grid
from optics.sampling import (
    TOLERATED_SHARE,
    SamplingError,
    advised_grid,
    band_per_m,
    check_resolved,
    describe,
    outer_share,
)

Complex = NDArray[np.complex128]
Field = NDArray[np.complexfloating]
Method = Literal["angular_spectrum", "fresnel_transfer", "fresnel_impulse"]
METHODS: tuple[Method, ...] = get_args(Method)

# Largest phase by which Fresnel's parabola may differ from the sphere, where the choice is left to us.
PARAXIAL_RAD = 0.25
# What is taken as flat in the far field: the phase at the edge of twice the square of the diameter by the wavelength.
FAR_FIELD_RAD = math.pi / 8
# Rows or columns that are transformed together: as many as fit into a core's own cache, within what pays.
CACHE_BYTES = 512 * 1024
SMALLEST_BLOCK, LARGEST_BLOCK = 8, 32
SPARE = 8
# Transforms of fewer samples are done before a second thread is awake.
ONE_THREAD = 256 * 256


@dataclass(frozen=True, slots=True)
class Choice:
    """A method, and a sentence that says why it."""

    method: Method
    reason: str


def propagate(
    field: Field,
    grid: Grid,
    wavelength_m: float,
    distance_m: float,
    method: Method | Literal["auto"] = "auto",
    padding: float = 2,
) -> Field:
    """The field a distance further on: complex (rows, columns) on the same grid, in the field's precision.

    field: complex64 or complex128 (real ones are taken as complex) on `grid`. method: see `choose_method` for "auto",
    and `check_method` for what each asks of a grid. padding: 2 or more, by which factor the transforms are longer than
    the field, so that light that leaves the window does not come back in on the other side; or 1, which means that the
    field repeats beyond its grid (a grating, say), and so does the result.

    Raises SamplingError, which names a grid that would do, where the result would be aliased, and ValueError for a
    field that is not on the grid or lengths that are none.
    """
    samples = _on_grid(field, grid)
    _check_lengths(wavelength_m, distance_m, padding)
    if method == "auto":
        method = choose_method(grid, wavelength_m, distance_m, samples, padding).method
    else:
        check_method(method, grid, wavelength_m, distance_m, samples, padding)
    if distance_m == 0:
        return samples.copy()
    wide = padded(grid, padding)
    if method == "angular_spectrum":
        transfer = transfer_function(wide, wavelength_m, distance_m, band_limited=padding != 1)
    elif method == "fresnel_transfer":
        transfer = fresnel_transfer_function(wide, wavelength_m, distance_m)
    else:
        transfer = fresnel_impulse_transfer(wide, wavelength_m, distance_m)
    return apply_transfer(samples, transfer.astype(samples.dtype, copy=False))


def choose_method(
    grid: Grid, wavelength_m: float, distance_m: float, field: Field | None = None, padding: float = 2
) -> Choice:
    """Which method `propagate` takes by itself, and why.

    The angular spectrum, which is exact, as far as its transfer function is sampled well, which is up to the distance
    pitch times padded width by wavelength (Voelz and Roggemann 2009). Beyond it Fresnel's impulse response, if the
    light stays so close to the axis that his parabola is good; and else the angular spectrum again, whose band limit
    (Matsushima and Shimobaba 2009) then cuts what would not have met the window. Raises SamplingError if `field` is
    given and not resolved by its grid: no method helps then.
    """
    _check_lengths(wavelength_m, distance_m, padding)
    if field is not None:
        check_resolved(_on_grid(field, grid), grid)
    if padding == 1:
        return Choice("angular_spectrum", "a field that repeats has exact frequencies: angular spectrum")
    critical_m = critical_distance_m(padded(grid, padding), wavelength_m)
    away_m = abs(distance_m)
    if away_m <= critical_m:
        return Choice(
            "angular_spectrum",
            f"{away_m:.4g} m is within the {critical_m:.4g} m up to which this grid samples the transfer function "
            f"well: angular spectrum",
        )
    beyond = f"{away_m:.4g} m is beyond the {critical_m:.4g} m up to which this grid samples the transfer function well"
    error_rad = paraxial_error_rad(grid, wavelength_m, distance_m)
    if away_m < impulse_from_m(grid, wavelength_m):
        why = "but its longer side is not yet sampled well by the impulse response"
    elif error_rad > PARAXIAL_RAD:
        why = f"but Fresnel's parabola would be off by {error_rad:.2g} rad"
    else:
        return Choice(
            "fresnel_impulse",
            f"{beyond}, and Fresnel's parabola is off by {error_rad:.2g} rad at most: his impulse response",
        )
    return Choice(
        "angular_spectrum",
        f"{beyond}, {why}: angular spectrum, whose band limit cuts only what misses the window",
    )


def check_method(
    method: Method, grid: Grid, wavelength_m: float, distance_m: float, field: Field, padding: float = 2
) -> None:
    """Raise SamplingError if this method would alias for this field; the message names a grid that would do.

    All: the field's own phase is resolved (`optics.sampling.check_resolved`). angular_spectrum: nothing else, its band
    limit keeps it from aliasing. fresnel_transfer: at most 1 % of the field's energy lies at frequencies that travel
    sideways by more than half the padded width, where the phase of the transfer function steps by more than half a
    cycle. fresnel_impulse: far enough for the steepest slope of its phase, at the width of the window, to be resolved.
    Raises ValueError for an unknown method.
    """
    if method not in METHODS:
        raise ValueError(f'method must be "auto", {", ".join(METHODS)}, got {method!r}')
    check_resolved(field, grid)
    if method == "fresnel_transfer" and padding != 1:
        _check_transfer(field, grid, wavelength_m, distance_m, padding)
    if method == "fresnel_impulse":
        if padding == 1:
            raise ValueError("padding=1 (a field that repeats) goes with transfer functions: use angular_spectrum")
        _check_impulse(grid, wavelength_m, distance_m)


def transfer_function(grid: Grid, wavelength_m: float, distance_m: float, band_limited: bool = True) -> Complex:
    """Band-limited angular spectrum: complex128 (rows, columns) in the order of `scipy.fft`.

    Free space over `distance_m` (metres, either sign) for a field on `grid`, the padded one. Frequencies beyond the
    limit of Matsushima and Shimobaba, "Band-Limited Angular Spectrum Method for Numerical Simulation of Free-Space
    Propagation in Far and Near Fields", Opt. Express 17, 19662 (2009), doi:10.1364/OE.17.019662, equation 20, and
    evanescent waves are zero. band_limited: False leaves the limit out, for fields that repeat with the grid.
    """
    squared = 1 / wavelength_m**2 - grid.fx_per_m**2 - grid.fy_per_m**2
    # Taken from the axial wave, so that the phase keeps its digits over long distances.
    along = -(grid.fx_per_m**2 + grid.fy_per_m**2) / (np.sqrt(np.maximum(squared, 0)) + 1 / wavelength_m)
    inside = squared > 0
    if band_limited:
        for frequency, count in ((grid.fx_per_m, grid.columns), (grid.fy_per_m, grid.rows)):
            limit = 1 / (wavelength_m * np.hypot(2 * distance_m / (count * grid.pitch_m), 1))
            inside = inside & (np.abs(frequency) <= limit)
    return np.asfortranarray(np.where(inside, np.exp(2j * np.pi * along * distance_m), 0))


def fresnel_transfer_function(grid: Grid, wavelength_m: float, distance_m: float) -> Complex:
    """Fresnel's transfer function exp(-i pi wavelength distance f^2): complex128 (rows, columns), FFT order.

    Goodman, Introduction to Fourier Optics, equation 4-21. For a field on `grid`, the padded one.
    """
    along_x, along_y = (
        np.exp(-1j * np.pi * wavelength_m * distance_m * frequency**2) for frequency in (grid.fx_per_m, grid.fy_per_m)
    )
    return np.asarray(np.multiply(along_y, along_x, order="F"))


def fresnel_impulse_transfer(grid: Grid, wavelength_m: float, distance_m: float) -> Complex:
    """Transform of Fresnel's impulse response, sampled on `grid` (the padded one): complex128, FFT order.

    exp(i pi r^2 / (wavelength distance)) / (i wavelength distance), Goodman, Introduction to Fourier Optics, equation
    4-16, times the area of a sample. Raises ValueError at a distance of zero.
    """
    if distance_m == 0:
        raise ValueError("distance_m is 0: Fresnel's impulse response needs a distance")
    along_x, along_y = (
        scipy.fft.fft(np.fft.ifftshift(np.exp(1j * np.pi * position**2 / (wavelength_m * distance_m))))
        for position in (grid.x_m.ravel(), grid.y_m.ravel())
    )
    along_y = along_y * (grid.pitch_m**2 / (1j * wavelength_m * distance_m))
    return np.asarray(np.multiply(along_y[:, np.newaxis], along_x, order="F"))


def apply_transfer(field: Field, transfer: Field, threads: int = 2) -> Field:
    """The field behind the space that `transfer` describes: complex (rows, columns), in the field's precision.

    transfer: complex, FFT order, as large as the field (which then repeats) or larger (the field is then surrounded by
    darkness up to that size, and only its own window comes back). Work is spent on what is neither known to be dark nor
    thrown away: rows that hold light are transformed, then columns, a few at a time, there and back while they are in
    cache, then rows that are wanted. Transfer functions whose columns lie together in memory, as those above, are
    fastest. The result does not depend on `threads`. Raises ValueError if the transfer function is smaller than the
    field.
    """
    rows, columns = field.shape
    wide_rows, wide_columns = transfer.shape
    if wide_rows < rows or wide_columns < columns:
        raise ValueError(f"a transfer function of {transfer.shape} is smaller than the field, {field.shape}")
    single = field.dtype in (np.complex64, np.float32)
    # Rows a power of two apart would share a few places of the cache; a few samples more keep columns from colliding.
    roomy: Field = np.zeros((rows, wide_columns + SPARE), dtype=np.complex64 if single else np.complex128)
    spectrum = roomy[:, :wide_columns]
    spectrum[:, :columns] = field

    def row_block(start: int, stop: int) -> None:
        _transform_rows(spectrum[start:stop])

    def column_block(start: int, stop: int) -> None:
        lines: Field = np.zeros((stop - start, wide_rows), dtype=spectrum.dtype)
        lines[:, :rows] = spectrum[:, start:stop].T
        _transform_rows(lines)
        lines *= np.ascontiguousarray(transfer[:, start:stop].T)
        _transform_rows(lines, back=True)
        spectrum[:, start:stop] = lines[:, :rows].T

    def row_block_back(start: int, stop: int) -> None:
        _transform_rows(spectrum[start:stop], back=True)

    threads = 1 if transfer.size < ONE_THREAD else threads
    with ThreadPoolExecutor(max(1, threads - 1)) as executor:
        for work, count, length in (
            (row_block, rows, wide_columns),
            (column_block, wide_columns, wide_rows),
            (row_block_back, rows, wide_columns),
        ):
            block = min(LARGEST_BLOCK, max(SMALLEST_BLOCK, CACHE_BYTES // (length * spectrum.itemsize)))
            _share(work, count, block, threads - 1, executor)
    return spectrum[:, :columns]


def _share(
    work: Callable[[int, int], None], count: int, block: int, helpers: int, executor: ThreadPoolExecutor
) -> None:
    """Call work(start, stop) for blocks of `count`, here and on helpers.

    Whoever is free takes the next block, so that a core that is busy with something else holds nobody up.
    """
    starts = deque(range(0, count, block))

    def take() -> None:
        while starts:
            try:
                start = starts.popleft()
            except IndexError:  # another thread took the last one
                return
            work(start, min(start + block, count))

    others = [executor.submit(take) for _ in range(helpers)]
    take()
    for other in others:
        other.result()


def _transform_rows(lines: Field, back: bool = False) -> None:
    """Fourier transform of each row, in place: complex64 or complex128 (rows, columns), rows without gaps."""
    pairs = lines.view(lines.real.dtype).reshape(*lines.shape, 2)
    cv2.dft(pairs, pairs, cv2.DFT_ROWS | (cv2.DFT_INVERSE | cv2.DFT_SCALE if back else 0))


def fraunhofer(
    field: Field, grid: Grid, wavelength_m: float, distance_m: float, padding: float = 2
) -> tuple[Field, Grid]:
    """The field far away, and the grid it lies on: padded samples, wavelength distance / padded width apart.

    Goodman, Introduction to Fourier Optics, equation 4-25, with the quadratic phase in front. padding: how much finer
    than needed for the field the result is sampled; 2 resolves its intensity. Power is conserved. Raises SamplingError
    if the field is not resolved, or if the distance is not far: then no grid helps, and the message names a distance.
    """
    samples = _on_grid(field, grid)
    _check_lengths(wavelength_m, distance_m, max(padding, 1))
    needed_m = far_field_m(samples, grid, wavelength_m)
    if abs(distance_m) < needed_m:
        raise SamplingError(
            f"{abs(distance_m):.4g} m is too near for Fraunhofer's approximation, which needs {needed_m:.4g} m for "
            f"light this wide, and on no grid less: use propagate(), or focal_plane() for the focus of a lens"
        )
    return focal_plane(samples, grid, wavelength_m, distance_m, padding)


def focal_plane(
    field: Field, grid: Grid, wavelength_m: float, focal_length_m: float, padding: float = 2
) -> tuple[Field, Grid]:
    """The field in the focal plane of an ideal thin lens that `field` falls on, and the grid it lies on.

    Goodman, Introduction to Fourier Optics, equation 5-14; the lens is not in `field`. Otherwise as `fraunhofer`.
    """
    samples = _on_grid(field, grid)
    _check_lengths(wavelength_m, focal_length_m, max(padding, 1))
    check_resolved(samples, grid)
    wide = padded(grid, padding)
    if wide.rows != wide.columns:
        # One pitch for both directions: the shorter side is padded to the longer.
        side = max(wide.shape)
        wide = Grid(side, side, grid.pitch_m)
    scale = wavelength_m * focal_length_m
    far = Grid(wide.rows, wide.columns, abs(scale) / (wide.rows * grid.pitch_m))
    centred = np.zeros(wide.shape, dtype=samples.dtype)
    top, left = (large // 2 - small // 2 for large, small in zip(wide.shape, grid.shape, strict=True))
    centred[top : top + grid.rows, left : left + grid.columns] = samples
    turned = np.fft.ifftshift(centred)
    spectrum = scipy.fft.fft2(turned) if focal_length_m > 0 else scipy.fft.ifft2(turned, norm="forward")
    pattern = np.asarray(np.fft.fftshift(spectrum))
    front = np.exp(1j * np.pi / scale * far.y_m**2) * np.exp(1j * np.pi / scale * far.x_m**2)
    pattern *= (grid.pitch_m**2 / (1j * scale) * front).astype(samples.dtype)
    return pattern, far


def power(field: Field, grid: Grid) -> float:
    """Power of a field: its squared amplitude, integrated over the grid (amplitude squared times square metres)."""
    return float((np.abs(field) ** 2).sum(dtype=np.float64) * grid.pitch_m**2)


def padded(grid: Grid, padding: float) -> Grid:
    """A grid of the same pitch, at least `padding` times as wide, with numbers of samples that transform fast.

    padding: 1 leaves the grid as it is.
    """
    if padding == 1:
        return grid
    rows, columns = (scipy.fft.next_fast_len(math.ceil(padding * count), real=True) for count in grid.shape)
    return Grid(rows, columns, grid.pitch_m)


def critical_distance_m(grid: Grid, wavelength_m: float) -> float:
    """Up to where transfer functions are sampled well, metres: pitch times width by wavelength, for the shorter side.

    Voelz and Roggemann (2009), table 1. `grid`: the padded one.
    """
    return min(grid.shape) * grid.pitch_m**2 / wavelength_m


def impulse_from_m(grid: Grid, wavelength_m: float) -> float:
    """From where on impulse responses are sampled well, metres; for the longer side of the field's own grid.

    Voelz and Roggemann (2009), table 1: for displacements up to the width of the window, which is half of the padded.
    """
    return 2 * max(grid.shape) * grid.pitch_m**2 / wavelength_m


def paraxial_error_rad(grid: Grid, wavelength_m: float, distance_m: float) -> float:
    """By how much phase Fresnel's parabola differs from the sphere between opposite corners of the window, radians.

    The next term of the square root, pi r^4 / (4 wavelength distance^3): Goodman, section 4.2.2.
    """
    corner_m = math.hypot(grid.rows, grid.columns) * grid.pitch_m
    return math.pi * corner_m**4 / (4 * wavelength_m * abs(distance_m) ** 3)


def far_field_m(field: Field, grid: Grid, wavelength_m: float) -> float:
    """The distance from which on the light of `field` is in its far field: 2 diameter^2 / wavelength, metres."""
    light = np.abs(field)
    lit = light > math.sqrt(TOLERATED_SHARE) * light.max(initial=0)
    radius_m = float(np.hypot(grid.y_m, grid.x_m)[lit].max(initial=0)) + grid.pitch_m / 2
    return math.pi * radius_m**2 / (wavelength_m * FAR_FIELD_RAD)


def _check_transfer(field: Field, grid: Grid, wavelength_m: float, distance_m: float, padding: float) -> None:
    if distance_m == 0:
        return
    wide = padded(grid, padding)
    sideways = 2 * wavelength_m * abs(distance_m)
    shares = [outer_share(field, axis, count * grid.pitch_m / sideways, grid) for axis, count in enumerate(wide.shape)]
    if max(shares) <= TOLERATED_SHARE:
        return
    widest_m = max(band_per_m(field, axis, grid, TOLERATED_SHARE / 2) for axis in (0, 1)) * sideways
    side = scipy.fft.next_fast_len(math.ceil(widest_m / (padding * grid.pitch_m)) + 2)
    advice = Grid(max(side, grid.rows), max(side, grid.columns), grid.pitch_m)
    raise SamplingError(
        f"over {abs(distance_m):.4g} m Fresnel's transfer function aliases on this grid for {max(shares):.1%} of the "
        f"field's energy, which travels sideways by more than half the padded width: {describe(advice)} would do, and "
        f"so would method angular_spectrum on this one",
        advice,
    )


def _check_impulse(grid: Grid, wavelength_m: float, distance_m: float) -> None:
    def far_enough(on: Grid) -> bool:
        return abs(distance_m) >= impulse_from_m(on, wavelength_m)

    if far_enough(grid):
        return
    shortest_m = impulse_from_m(grid, wavelength_m)
    what = (
        f"{abs(distance_m):.4g} m is too near for Fresnel's impulse response on this grid, whose samples resolve its "
        f"phase from {shortest_m:.4g} m on"
    )
    if distance_m == 0:
        raise SamplingError(f"{what}: use method angular_spectrum")
    advice = advised_grid(grid, wavelength_m * abs(distance_m) / (2 * max(grid.shape) * grid.pitch_m), far_enough)
    raise SamplingError(
        f"{what}: {describe(advice)} would do, and so would method angular_spectrum on this one", advice
    )


def _on_grid(field: Field, grid: Grid) -> Field:
    samples = np.asarray(field)
    if samples.shape != grid.shape:
        raise ValueError(f"field has the shape {samples.shape}, its grid {grid.shape}")
    single = samples.dtype in (np.complex64, np.float32)
    return np.asarray(samples, dtype=np.complex64 if single else np.complex128)


def _check_lengths(wavelength_m: float, distance_m: float, padding: float) -> None:
    if not (math.isfinite(wavelength_m) and wavelength_m > 0):
        raise ValueError(f"wavelength_m must be a positive number of metres, got {wavelength_m!r}")
    if not math.isfinite(distance_m):
        raise ValueError(f"distance_m must be a number of metres, got {distance_m!r}")
    if not (padding == 1 or (math.isfinite(padding) and padding >= 2)):
        raise ValueError(
            f"padding must be at least 2 (darkness around the field) or 1 (the field repeats), got {padding!r}: "
            f"anything between lets light come back in on the other side"
        )
