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
    check_resolved,
    describe,
    share_within,
)

Complex = NDArray[np.complex128]
Field = NDArray[np.complexfloating]
Method = Literal["angular_spectrum", "fresnel_transfer", "fresnel_impulse", "impulse_response"]
METHODS: tuple[Method, ...] = get_args(Method)

# Largest phase by which Fresnel's parabola may differ from the sphere, where the choice is left to us.
PARAXIAL_RAD = 0.25
# How far a transfer function that is sampled too coarsely may be off: relative L2 error of the field in the window.
TOLERATED_ERROR = 0.02
# Below this share of the field's power an error is darkness, however little light is in the window.
DARK_SHARE = 1e-6
# Grids are advised for a quarter of the tolerated error, since that is an estimate, good to a factor of two, and for at
# least so many samples within the band limit: light that fills the window is off by 2 % with 64 of them.
ADVISED_ERROR = TOLERATED_ERROR / 4
ADVISED_SAMPLES = 64
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
    field that is not on the grid or not finite, or lengths that are none.
    """
    samples = _on_grid(field, grid)
    _check_lengths(wavelength_m, distance_m, padding)
    if method == "auto":
        method = choose_method(grid, wavelength_m, distance_m, samples, padding).method
    else:
        check_method(method, grid, wavelength_m, distance_m, samples, padding)
    if distance_m == 0:
        return samples.copy()
    return _carried(samples, method, grid, wavelength_m, distance_m, padding)


def choose_method(
    grid: Grid, wavelength_m: float, distance_m: float, field: Field | None = None, padding: float = 2
) -> Choice:
    """Which method `propagate` takes by itself, and why.

    The angular spectrum, which is exact, as far as its transfer function is sampled well, which is up to the distance
    pitch times padded width by wavelength (Voelz and Roggemann 2009). Beyond it an impulse response, which is sampled
    well from there on: Fresnel's, if the light stays so close to the axis that his parabola is good, and else that of
    Rayleigh and Sommerfeld, which is exact and takes longer to make. Raises SamplingError if `field` is given and not
    resolved by its grid: no method helps then.
    """
    _check_lengths(wavelength_m, distance_m, padding)
    if field is not None:
        check_resolved(_on_grid(field, grid), grid)
    if padding == 1:
        return Choice("angular_spectrum", "a field that repeats has exact frequencies: angular spectrum")
    critical_m = critical_distance_m(transfer_grid(grid, wavelength_m, distance_m, padding), wavelength_m)
    away_m = abs(distance_m)
    if away_m <= critical_m:
        return Choice(
            "angular_spectrum",
            f"{away_m:.4g} m is within the {critical_m:.4g} m up to which this grid samples the transfer function "
            f"well: angular spectrum",
        )
    beyond = f"{away_m:.4g} m is beyond the {critical_m:.4g} m up to which this grid samples the transfer function well"
    error_rad = paraxial_error_rad(grid, wavelength_m, distance_m)
    if error_rad > PARAXIAL_RAD:
        return Choice(
            "impulse_response",
            f"{beyond}, and Fresnel's parabola would be off by {error_rad:.2g} rad: Rayleigh and Sommerfeld's impulse "
            f"response",
        )
    return Choice(
        "fresnel_impulse",
        f"{beyond}, and Fresnel's parabola is off by {error_rad:.2g} rad at most: his impulse response",
    )


def check_method(
    method: Method, grid: Grid, wavelength_m: float, distance_m: float, field: Field, padding: float = 2
) -> None:
    """Raise SamplingError if this method would be wrong for this field; the message names a grid that would do.

    All: the field's own phase is resolved (`optics.sampling.check_resolved`). angular_spectrum, fresnel_transfer: the
    distance is one up to which the transfer function is sampled well (`critical_distance_m`), or else the field in the
    window differs by at most 2 % (relative L2) from what an impulse response gives, which is sampled well there
    (Fresnel's for fresnel_transfer, else the one of `choose_method`). Both are computed for that. Fresnel's transfer
    function aliases where it is too coarse. The angular spectrum's is cut at its band limit instead, and what light
    there is at the cut rings over the window. A difference of less than a millionth of the field's power passes: so
    dark is a window that the light has left. fresnel_impulse, impulse_response: far enough for the steepest slope of
    their phase, at the width of the window, to be resolved. What Fresnel's approximation itself costs is not checked.
    Raises ValueError for an unknown method and for a field that is not on the grid or not finite.
    """
    if method not in METHODS:
        raise ValueError(f'method must be "auto", {", ".join(METHODS)}, got {method!r}')
    samples = _on_grid(field, grid)
    check_resolved(samples, grid)
    if method in ("angular_spectrum", "fresnel_transfer"):
        if padding != 1:
            _check_transfer(method, samples, grid, wavelength_m, distance_m, padding)
        return
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


def impulse_response_transfer(grid: Grid, wavelength_m: float, distance_m: float) -> Complex:
    """Transform of free space's impulse response, sampled on `grid` (the padded one): complex128, FFT order.

    Rayleigh and Sommerfeld's first integral without an approximation, z / (2 pi r^2) (1 / r - i k) exp(i k r), times
    the area of a sample; applied by transforms as in Shen and Wang, "Fast-Fourier-transform based numerical integration
    method for the Rayleigh-Sommerfeld diffraction formula", Appl. Opt. 45, 1102 (2006), doi:10.1364/AO.45.001102.
    Backwards it is the complex conjugate. Raises ValueError at a distance of zero.
    """
    if distance_m == 0:
        raise ValueError("distance_m is 0: an impulse response needs a distance")
    forward_m, wave_number = abs(distance_m), 2 * np.pi / wavelength_m
    # Columns together in memory, as apply_transfer likes them: made transposed.
    squared = np.fft.ifftshift(grid.x_m).T ** 2 + np.fft.ifftshift(grid.y_m).T ** 2
    away_m = np.sqrt(squared + forward_m**2)
    # Counted from the axial wave; the difference r - z keeps its digits this way.
    response = np.exp(1j * wave_number * (squared / (away_m + forward_m)))
    response *= grid.pitch_m**2 * forward_m / (2 * np.pi * away_m**2) * (1 / away_m - 1j * wave_number)
    if distance_m < 0:
        response = response.conj()
    return np.asarray(scipy.fft.fft2(response, overwrite_x=True).T)


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


def transfer_grid(grid: Grid, wavelength_m: float, distance_m: float, padding: float) -> Grid:
    """The padded grid of transfer functions over this distance, whose shorter side may be padded more.

    Along the shorter side of a window transfer functions are sampled well less far. It is padded up to the longer one
    if that helps; where it does not, both directions are beyond, and impulse responses are sampled well.
    """
    wide = padded(grid, padding)
    enough = math.ceil(wavelength_m * abs(distance_m) / grid.pitch_m**2)
    if padding == 1 or enough > max(wide.shape):
        return wide
    rows, columns = (max(count, scipy.fft.next_fast_len(max(enough, 1), real=True)) for count in wide.shape)
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


def _carried(
    samples: Field, method: Method, grid: Grid, wavelength_m: float, distance_m: float, padding: float
) -> Field:
    """The field a distance further on, by this method and without a check."""
    wide = transfer_grid(grid, wavelength_m, distance_m, padding)
    if method == "angular_spectrum":
        transfer = transfer_function(wide, wavelength_m, distance_m, band_limited=padding != 1)
    elif method == "fresnel_transfer":
        transfer = fresnel_transfer_function(wide, wavelength_m, distance_m)
    elif method == "fresnel_impulse":
        transfer = fresnel_impulse_transfer(wide, wavelength_m, distance_m)
    else:
        transfer = impulse_response_transfer(wide, wavelength_m, distance_m)
    return apply_transfer(samples, transfer.astype(samples.dtype, copy=False))


def _check_transfer(
    method: Method, samples: Field, grid: Grid, wavelength_m: float, distance_m: float, padding: float
) -> None:
    critical_m = critical_distance_m(transfer_grid(grid, wavelength_m, distance_m, padding), wavelength_m)
    if abs(distance_m) <= critical_m:
        return
    choice = choose_method(grid, wavelength_m, distance_m, padding=padding).method
    # Whoever asks for Fresnel's approximation by name gets it; only its sampling is checked.
    good: Method = "fresnel_impulse" if method == "fresnel_transfer" else choice
    expected, result = (_carried(samples, each, grid, wavelength_m, distance_m, padding) for each in (good, method))
    wrong, light = power(result - expected, grid), power(expected, grid)
    if wrong <= max(TOLERATED_ERROR**2 * light, DARK_SHARE * power(samples, grid)):
        return
    advice = _wider_grid(method, samples, grid, wavelength_m, distance_m, padding)
    off = f"by {math.sqrt(wrong / light):.1%}" if wrong < light else "by as much light as arrives there, or more,"
    raise SamplingError(
        f"{abs(distance_m):.4g} m is beyond the {critical_m:.4g} m up to which this grid samples the transfer function "
        f"well, and {method} would be off {off} for this field, where {TOLERATED_ERROR:.0%} is tolerated. Method "
        f'"auto" ({choice}) is right on this grid; for {method} the same light in a wider window, {describe(advice)} '
        f"would do",
        advice,
    )


def _wider_grid(
    method: Method, samples: Field, grid: Grid, wavelength_m: float, distance_m: float, padding: float
) -> Grid:
    """A wider window of the same pitch on which a transfer function is good enough for this field, by estimate.

    Light at a frequency f travels sideways by wavelength distance f, so the field's spectrum says what lands in the
    window. What is beyond the limit aliases (Fresnel); or what is at the limit rings (angular spectrum): a sharp cut at
    f_c adds U(f_c) / (2 pi (x - x_c)) to the field, where x_c, a whole width from the axis, is where f_c lands. Its
    square, integrated over the window, is |U(f_c)|^2 / (3 pi^2 width) for each of the four cuts.
    """
    inner = [share_within(samples, axis, grid) for axis in (0, 1)]
    scale = wavelength_m * abs(distance_m)
    factor = 1.0
    while True:
        factor *= 1.1
        rows, columns = (scipy.fft.next_fast_len(math.ceil(factor * count)) for count in grid.shape)
        wider = Grid(rows, columns, grid.pitch_m)
        wide = padded(wider, padding)
        if abs(distance_m) <= critical_distance_m(wide, wavelength_m):
            return wider
        error, light = 0.0, 1.0
        for within, count, full in zip(inner, wider.shape, wide.shape, strict=True):
            limit_per_m = full * grid.pitch_m / (2 * scale)
            if method == "fresnel_transfer":
                error += 1 - within(limit_per_m)
            else:
                density_m = (within(1.1 * limit_per_m) - within(0.9 * limit_per_m)) / (0.4 * limit_per_m)
                error += 2 * density_m / (3 * math.pi**2 * count * grid.pitch_m)
            light *= within(count * grid.pitch_m / (2 * scale))
        samples_within = min(wide.shape) ** 2 * grid.pitch_m**2 / scale
        if error <= ADVISED_ERROR**2 * light and samples_within >= ADVISED_SAMPLES:
            return wider


def _check_impulse(grid: Grid, wavelength_m: float, distance_m: float) -> None:
    def far_enough(on: Grid) -> bool:
        # The distance may have been computed as just this one, and rounded.
        return abs(distance_m) >= impulse_from_m(on, wavelength_m) * (1 - 1e-12)

    if far_enough(grid):
        return
    shortest_m = impulse_from_m(grid, wavelength_m)
    what = (
        f"{abs(distance_m):.4g} m is too near for an impulse response on this grid, whose samples resolve its phase "
        f"from {shortest_m:.4g} m on"
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
    # The sum is quick, and not finite if one of them is not; the rest is counted only then.
    with np.errstate(over="ignore", invalid="ignore"):
        total = samples.sum()
    if not np.isfinite(total):
        wrong = samples.size - np.count_nonzero(np.isfinite(samples))
        if wrong:
            raise ValueError(
                f"field has {wrong} of {samples.size} samples that are not finite (NaN or infinity): every sample must "
                f"be a finite amplitude, 0 where it is dark"
            )
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
