"""Propagation keeps its promises on any field: linear, reversible, shift-invariant, no light made, no wrapping."""

import itertools
from collections.abc import Callable
from typing import get_args

import numpy as np
import pytest
import scipy.fft
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from optics.grid import Grid
from optics.propagation import (
    METHODS,
    Method,
    apply_transfer,
    check_method,
    choose_method,
    critical_distance_m,
    focal_plane,
    fraunhofer,
    fresnel_impulse_transfer,
    fresnel_transfer_function,
    padded,
    power,
    propagate,
    transfer_function,
)
from optics.sources import circular_aperture, gaussian_beam, plane_wave, square_aperture

WAVELENGTH_M = 550e-9
GRID = Grid(48, 64, 4e-6)
seeds = st.integers(0, 2**32 - 1)


def speckle(grid: Grid, seed: int, band: float = 0.3) -> NDArray[np.complex128]:
    """A random field that lies within the middle half of the window and, nearly, within `band` of the frequencies."""
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal(grid.shape) + 1j * rng.standard_normal(grid.shape)
    nyquist = 0.5 / grid.pitch_m
    inside = (np.abs(grid.fx_per_m) < band * nyquist) & (np.abs(grid.fy_per_m) < band * nyquist)
    smooth = np.fft.ifft2(np.fft.fft2(noise) * inside)
    window = np.exp(-((grid.x_m / (0.16 * grid.columns * grid.pitch_m)) ** 2) * 2)
    return np.asarray(smooth * window * np.exp(-((grid.y_m / (0.16 * grid.rows * grid.pitch_m)) ** 2) * 2))


def relative(result: NDArray[np.complexfloating], expected: NDArray[np.complexfloating]) -> float:
    return float(np.linalg.norm(result - expected) / np.linalg.norm(expected))


# Each method at a distance at which it is well sampled on GRID padded twice.
def distance_m(method: Method) -> float:
    critical_m = critical_distance_m(padded(GRID, 2), WAVELENGTH_M)
    near = {"angular_spectrum": 0.5, "fresnel_transfer": 0.5, "fresnel_impulse": 3.0, "impulse_response": 2.0}
    return near[method] * critical_m


@pytest.mark.parametrize("method", METHODS)
@given(seed=seeds, weight=st.complex_numbers(max_magnitude=10, allow_nan=False))
@settings(max_examples=15, deadline=None)
def test_linear(method: Method, seed: int, weight: complex) -> None:
    one, other = speckle(GRID, seed), speckle(GRID, seed + 1)
    far_m = distance_m(method)
    together = propagate(one + weight * other, GRID, WAVELENGTH_M, far_m, method)
    apart = propagate(one, GRID, WAVELENGTH_M, far_m, method) + weight * propagate(
        other, GRID, WAVELENGTH_M, far_m, method
    )
    # Rounding of transforms only.
    assert relative(together, apart) < 1e-12


@given(seed=seeds, factor=st.floats(-0.4, 0.4))
@settings(max_examples=20, deadline=None)
def test_there_and_back(seed: int, factor: float) -> None:
    field = speckle(GRID, seed)
    far_m = factor * critical_distance_m(padded(GRID, 2), WAVELENGTH_M)
    there = propagate(field, GRID, WAVELENGTH_M, far_m, padding=4)
    back = propagate(there, GRID, WAVELENGTH_M, -far_m, padding=4)
    # What the Gaussian window leaves of the field at the edge, and what leaves the window on the way: some 1e-3.
    assert relative(back, field) < 1e-2


@given(seed=seeds, factor=st.floats(-20, 20))
@settings(max_examples=20, deadline=None)
def test_no_light_is_lost_where_the_field_repeats(seed: int, factor: float) -> None:
    field = speckle(GRID, seed)
    far_m = factor * critical_distance_m(GRID, WAVELENGTH_M)
    there = propagate(field, GRID, WAVELENGTH_M, far_m, padding=1)
    # Parseval: the transfer function has magnitude one for every frequency of this field, so only rounding is left.
    assert power(there, GRID) == pytest.approx(power(field, GRID), rel=1e-12)
    assert relative(propagate(there, GRID, WAVELENGTH_M, -far_m, padding=1), field) < 1e-9


@pytest.mark.parametrize("method", METHODS)
@given(seed=seeds, rows=st.integers(-5, 5), columns=st.integers(-5, 5))
@settings(max_examples=10, deadline=None)
def test_moving_the_light_moves_the_result(method: Method, seed: int, rows: int, columns: int) -> None:
    # Light in the middle third, so that it can be moved without leaving the window.
    field = np.zeros(GRID.shape, dtype=np.complex128)
    field[16:32, 22:42] = speckle(Grid(16, 20, GRID.pitch_m), seed)
    moved = np.roll(field, (rows, columns), axis=(0, 1))
    far_m = distance_m(method)
    result = propagate(field, GRID, WAVELENGTH_M, far_m, method)[6:-6, 6:-6]
    again = propagate(moved, GRID, WAVELENGTH_M, far_m, method)
    there = again[6 + rows : GRID.rows - 6 + rows, 6 + columns : GRID.columns - 6 + columns]
    assert relative(there, result) < 1e-12


@given(seed=seeds)
@settings(max_examples=10, deadline=None)
def test_methods_agree_where_all_are_good(seed: int) -> None:
    # At the critical distance both of Fresnel's ways are sampled exactly as well as needed, and they are the same.
    grid = Grid(64, 64, 20e-6)
    field = speckle(grid, seed)
    far_m = 2 * 64 * grid.pitch_m**2 / WAVELENGTH_M
    ways = [propagate(field, grid, WAVELENGTH_M, far_m, method) for method in METHODS]
    for one, other in itertools.combinations(ways, 2):
        # What the sampled chirps cut off differently, measured: below 2e-3 for light this far from the edge.
        assert relative(one, other) < 5e-3


def test_padding_keeps_light_from_coming_back_in() -> None:
    # A beam tilted so that it leaves the window to the right: with padding the window stays dark, and if the field is
    # said to repeat, it comes in from the left.
    grid = Grid(64, 64, 2e-6)
    beam = gaussian_beam(grid, WAVELENGTH_M, 12e-6) * plane_wave(grid, WAVELENGTH_M, angle_x_rad=0.08)
    far_m = 1.0e-3  # 80 um sideways, beyond the edge at 64 um
    outside = propagate(beam, grid, WAVELENGTH_M, far_m)
    repeated = propagate(beam, grid, WAVELENGTH_M, far_m, padding=1)
    assert power(outside[:, :32], Grid(64, 32, 2e-6)) < 1e-4 * power(beam, grid)
    assert power(repeated[:, :32], Grid(64, 32, 2e-6)) > 0.9 * power(beam, grid)


@given(
    sides=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    wider=st.tuples(st.integers(0, 45), st.integers(0, 45)),
    seed=seeds,
    threads=st.integers(1, 3),
)
@settings(max_examples=60, deadline=None)
def test_transforms_that_skip_what_is_dark_equal_plain_ones(
    sides: tuple[int, int], wider: tuple[int, int], seed: int, threads: int
) -> None:
    rng = np.random.default_rng(seed)
    large = sides[0] + wider[0], sides[1] + wider[1]
    field = rng.standard_normal(sides) + 1j * rng.standard_normal(sides)
    transfer = rng.standard_normal(large) + 1j * rng.standard_normal(large)
    plain = np.fft.ifft2(np.fft.fft2(field, large) * transfer)[: sides[0], : sides[1]]
    before = field.copy()
    result = apply_transfer(field, transfer, threads)
    assert np.abs(result - plain).max() <= 1e-12 * np.abs(plain).max()
    assert np.array_equal(field, before)


def test_threads_do_not_change_the_result() -> None:
    rng = np.random.default_rng(3)
    field = rng.standard_normal((200, 190)) + 1j * rng.standard_normal((200, 190))
    transfer = rng.standard_normal((400, 384)) + 0j
    plain = scipy.fft.ifft2(scipy.fft.fft2(field, transfer.shape) * transfer)[:200, :190]
    results = [apply_transfer(field, transfer, threads) for threads in (1, 2, 3)]
    assert relative(results[0], plain) < 1e-12
    assert np.array_equal(results[0], results[1])
    assert np.array_equal(results[0], results[2])
    # Nor does the order of its values in memory, or a window of something larger.
    assert np.array_equal(results[0], apply_transfer(field, np.asfortranarray(transfer)))
    assert np.array_equal(results[0], apply_transfer(np.pad(field, 3)[3:-3, 3:-3], transfer))


def test_precision_follows_the_field() -> None:
    field = speckle(GRID, 1)
    single = propagate(field.astype(np.complex64), GRID, WAVELENGTH_M, 2e-3)
    double = propagate(field, GRID, WAVELENGTH_M, 2e-3)
    assert (single.dtype, double.dtype) == (np.complex64, np.complex128)
    assert relative(single, double) < 1e-6
    for way in (fraunhofer, focal_plane):
        assert way(field.astype(np.complex64), GRID, WAVELENGTH_M, 3.0)[0].dtype == np.complex64
    real = circular_aperture(GRID, 100e-6)
    assert propagate(real, GRID, WAVELENGTH_M, 2e-3).dtype == np.complex128


def test_no_distance_is_no_change() -> None:
    field = speckle(GRID, 1)
    result = propagate(field, GRID, WAVELENGTH_M, 0.0)
    assert np.array_equal(result, field)
    assert result is not field


@pytest.mark.parametrize("function", [transfer_function, fresnel_transfer_function])
def test_two_short_ways_are_a_long_one(function: object) -> None:
    assert callable(function)
    once, twice = (function(GRID, WAVELENGTH_M, far_m) for far_m in (1e-4, 2e-4))
    assert np.allclose(once * once, twice, atol=1e-12)
    assert np.allclose(function(GRID, WAVELENGTH_M, -1e-4), np.conj(once), atol=1e-12)


def test_a_transfer_function_keeps_its_phase_over_long_distances() -> None:
    # 1 m is two million waves; counted from the axial wave, the phase at the first frequency keeps its digits.
    grid = Grid(1, 1000, 10e-6)
    phase = np.angle(transfer_function(grid, 500e-9, 1.0)[0, 1])
    frequency = 1 / (1000 * 10e-6)
    exact = -np.pi * 500e-9 * frequency**2 * (1 + (500e-9 * frequency) ** 2 / 4)
    assert phase == pytest.approx(exact, rel=1e-12)


def test_impulse_response_passes_all_light() -> None:
    # Its transform at frequency zero is the integral of the response, one; the sampled chirp's ends leave a ripple.
    grid = Grid(1024, 1024, 10e-6)
    transfer = fresnel_impulse_transfer(grid, WAVELENGTH_M, critical_distance_m(grid, WAVELENGTH_M))
    assert abs(transfer[0, 0]) == pytest.approx(1, abs=0.1)


def test_evanescent_waves_do_not_travel() -> None:
    grid = Grid(64, 64, 0.2e-6)
    transfer = transfer_function(grid, WAVELENGTH_M, 1e-6, band_limited=False)
    evanescent = grid.fx_per_m**2 + grid.fy_per_m**2 > 1 / WAVELENGTH_M**2
    assert evanescent.any()
    assert not transfer[evanescent].any()
    assert np.allclose(np.abs(transfer[~evanescent]), 1)


def test_fraunhofer_conserves_power_and_points_the_right_way() -> None:
    # Light tilted to the right (+x) and down (+y) arrives right of and below the axis, at distance times slope.
    field = square_aperture(GRID, 80e-6) * plane_wave(GRID, WAVELENGTH_M, angle_x_rad=0.02, angle_y_rad=0.01)
    for pattern, far in (fraunhofer(field, GRID, WAVELENGTH_M, 0.5), focal_plane(field, GRID, WAVELENGTH_M, 0.5)):
        assert power(pattern, far) == pytest.approx(power(field, GRID), rel=1e-12)
        row, column = np.unravel_index(np.abs(pattern).argmax(), pattern.shape)
        # To half a sample of the far grid.
        assert far.x_m[0, column] == pytest.approx(0.5 * 0.02, abs=0.6 * far.pitch_m)
        assert far.y_m[row, 0] == pytest.approx(0.5 * 0.01, abs=0.6 * far.pitch_m)


def test_fraunhofer_meets_the_impulse_response() -> None:
    # The same far field on Fresnel's grid and on Fraunhofer's, phases included.
    near = Grid(256, 256, 40e-6)
    field = circular_aperture(near, 400e-6, grey_edge=True).astype(np.complex128)
    distance = 2.0
    pattern, far = fraunhofer(field, near, WAVELENGTH_M, distance)
    full = propagate(field, near, WAVELENGTH_M, distance, "fresnel_impulse")
    # On the axis; the curvature that the far field leaves out is, averaged over the disc, pi radius^2 / (2 wavelength
    # distance) = 0.06 rad. The pitches differ, so the first lobe is compared by interpolation.
    assert full[128, 128] == pytest.approx(pattern[256, 256], rel=0.07)
    lobe = np.interp(near.x_m[0, 128:170], far.x_m[0], np.abs(pattern[256]))
    assert np.abs(full[128, 128:170]) == pytest.approx(lobe, abs=0.05 * abs(pattern[256, 256]))


def test_the_choice_says_why() -> None:
    wide = padded(GRID, 2)
    critical_m = critical_distance_m(wide, WAVELENGTH_M)
    near = choose_method(GRID, WAVELENGTH_M, 0.5 * critical_m)
    far = choose_method(GRID, WAVELENGTH_M, -8 * critical_m)
    # Steep light a little beyond the critical distance, where Fresnel's parabola is bad.
    steep = choose_method(Grid(1024, 1024, 1e-6), WAVELENGTH_M, 1.2 * 2048e-12 / WAVELENGTH_M)
    assert near.method == "angular_spectrum"
    assert "samples the transfer function" in near.reason
    assert far.method == "fresnel_impulse"
    assert "parabola" in far.reason
    assert steep.method == "impulse_response"
    assert "Rayleigh" in steep.reason
    assert choose_method(GRID, WAVELENGTH_M, 1.0, padding=1).method == "angular_spectrum"
    assert set(METHODS) == set(get_args(Method))


@given(
    rows=st.integers(4, 300),
    columns=st.integers(4, 300),
    pitch_um=st.floats(0.5, 20),
    log_distance=st.floats(-5, 1),
    padding=st.sampled_from([1, 2, 3]),
)
@settings(max_examples=200, deadline=None)
def test_what_is_chosen_is_never_refused(
    rows: int, columns: int, pitch_um: float, log_distance: float, padding: int
) -> None:
    grid = Grid(rows, columns, pitch_um * 1e-6)
    field = np.exp(-((grid.x_m / (columns * grid.pitch_m / 3)) ** 2)) * np.ones((rows, 1), complex)
    method = choose_method(grid, WAVELENGTH_M, 10**log_distance, field, padding).method
    check_method(method, grid, WAVELENGTH_M, 10**log_distance, field, padding)


def test_auto_takes_the_choice() -> None:
    field = speckle(GRID, 5)
    for far_m in (1e-3, 0.05):
        method = choose_method(GRID, WAVELENGTH_M, far_m, field).method
        auto = propagate(field, GRID, WAVELENGTH_M, far_m)
        assert np.array_equal(auto, propagate(field, GRID, WAVELENGTH_M, far_m, method))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"field": np.ones((4, 4))}, r"shape \(4, 4\), its grid \(48, 64\)"),
        ({"field": np.full(GRID.shape, np.nan)}, "3072 of 3072 samples that are not finite"),
        ({"field": np.where(np.arange(64) == 5, -np.inf, 1) * np.ones((48, 1))}, "48 of 3072 samples .* must be a fin"),
        ({"wavelength_m": 0.0}, "wavelength_m must be a positive"),
        ({"distance_m": np.inf}, "distance_m must be a number"),
        ({"padding": 1.5}, "light come back in"),
        ({"method": "guess"}, "method must be"),
        ({"method": "fresnel_impulse", "padding": 1}, "use angular_spectrum"),
    ],
)
def test_wrong_input_is_named(change: dict[str, object], words: str) -> None:
    arguments = {"field": speckle(GRID, 1), "grid": GRID, "wavelength_m": WAVELENGTH_M, "distance_m": 1e-3} | change
    with pytest.raises(ValueError, match=words):
        propagate(**arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "call",
    [
        lambda field: fraunhofer(field, GRID, WAVELENGTH_M, 3.0),
        lambda field: focal_plane(field, GRID, WAVELENGTH_M, 3.0),
        lambda field: choose_method(GRID, WAVELENGTH_M, 1e-3, field),
        lambda field: check_method("angular_spectrum", GRID, WAVELENGTH_M, 1e-3, field),
        lambda field: propagate(field, GRID, WAVELENGTH_M, 0.0),
    ],
)
@pytest.mark.parametrize("wrong", [np.nan, np.inf, 1j * np.inf])
def test_one_sample_that_is_not_finite_is_named(call: Callable[[object], object], wrong: complex) -> None:
    field = speckle(GRID, 1)
    call(field)
    field[3, 4] = wrong
    with pytest.raises(ValueError, match="1 of 3072 samples that are not finite"):
        call(field)


def test_large_amplitudes_are_finite() -> None:
    # Their sum is not, and is no reason to refuse them.
    field = np.full((2, 2), 1e308)
    assert np.array_equal(propagate(field, Grid(2, 2, 1e-6), WAVELENGTH_M, 0.0), field)


def test_a_small_transfer_function_is_refused() -> None:
    with pytest.raises(ValueError, match="smaller than the field"):
        apply_transfer(np.ones((8, 8), complex), np.ones((8, 4), complex))
