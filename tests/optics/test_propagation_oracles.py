"""Propagation against what is known on paper: Airy, Gauss, Talbot, Arago, the focus of a lens."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from scipy.special import j0, j1

from optics.grid import Grid
from optics.propagation import (
    Method,
    apply_transfer,
    focal_plane,
    fraunhofer,
    padded,
    power,
    propagate,
    transfer_function,
)
from optics.sources import circular_aperture, gaussian_beam, lens, plane_wave, point_source

WAVELENGTH_M = 550e-9


def intensity(field: NDArray[np.complexfloating]) -> NDArray[np.float64]:
    return np.asarray(field.real**2 + field.imag**2)


def share_within(field: NDArray[np.complexfloating], grid: Grid, radius_m: float, of: float) -> float:
    inside = np.hypot(grid.x_m, grid.y_m) <= radius_m
    return float(intensity(field)[inside].sum() * grid.pitch_m**2 / of)


DIAMETER_M, FOCAL_M = 1e-3, 50e-3
F_NUMBER = FOCAL_M / DIAMETER_M
# Zeros of J1 by pi: 1.2197 and 2.2331 times wavelength times f-number.
FIRST_DARK_M, SECOND_DARK_M = 1.2196699 * WAVELENGTH_M * F_NUMBER, 2.2331306 * WAVELENGTH_M * F_NUMBER


@pytest.fixture(scope="module")
def airy() -> tuple[NDArray[np.complexfloating], Grid, float]:
    pupil = Grid(256, 256, 5e-6)
    opening = circular_aperture(pupil, DIAMETER_M, grey_edge=True).astype(np.complex128)
    far, grid = focal_plane(opening, pupil, WAVELENGTH_M, FOCAL_M, padding=6)
    return far, grid, power(opening, pupil)


def test_airy_disc_first_dark_ring(airy: tuple[NDArray[np.complexfloating], Grid, float]) -> None:
    field, grid, _ = airy
    # Along +x the amplitude, rid of the quadratic phase and of 1/i, is real, and changes sign at the ring.
    middle = grid.rows // 2
    x_m = grid.x_m[0, middle : middle + 40]
    amplitude = (
        1j * field[middle, middle : middle + 40] * np.exp(-1j * np.pi * (x_m**2) / WAVELENGTH_M / FOCAL_M)
    ).real
    dark_m = CubicSpline(x_m, amplitude).roots(extrapolate=False)[0]
    # 200 samples across with a grey edge know the diameter to a few 1e-4; the spline adds less.
    assert dark_m == pytest.approx(FIRST_DARK_M, rel=1e-3)


def test_airy_disc_encircled_energy(airy: tuple[NDArray[np.complexfloating], Grid, float]) -> None:
    field, grid, light = airy
    # 83.8 % and 91.0 % (1 - J0^2 - J1^2 at the zeros of J1), to what counting samples 9 to the first ring is good for:
    # the rings are dark, so few in it make little difference.
    for radius_m, share in ((FIRST_DARK_M, 0.8378), (SECOND_DARK_M, 0.9099)):
        argument = np.pi * radius_m / (WAVELENGTH_M * F_NUMBER)
        assert share == pytest.approx(1 - j0(argument) ** 2 - j1(argument) ** 2, abs=1e-4)
        assert share_within(field, grid, radius_m, light) == pytest.approx(share, abs=4e-3)


@pytest.mark.parametrize("method", ["angular_spectrum", "fresnel_impulse"])
def test_lens_focuses_to_an_airy_disc(method: Method) -> None:
    grid = Grid(300, 300, 4e-6)
    behind_lens = lens(grid, WAVELENGTH_M, FOCAL_M) * circular_aperture(grid, DIAMETER_M, grey_edge=True)
    focus = propagate(behind_lens, grid, WAVELENGTH_M, FOCAL_M, method)
    # On the axis the intensity is that of the pupil times (area by wavelength by focal length) squared. Grey samples
    # let through less power than area, which is worth 1 % here; the angular spectrum's band limit costs the rest.
    peak = (np.pi * DIAMETER_M**2 / 4 / (WAVELENGTH_M * FOCAL_M)) ** 2
    assert intensity(focus)[150, 150] == pytest.approx(peak, rel=0.02)
    for radius_m, share in ((FIRST_DARK_M, 0.8378), (SECOND_DARK_M, 0.9099)):
        # 8 samples to the first dark ring.
        assert share_within(focus, grid, radius_m, power(behind_lens, grid)) == pytest.approx(share, abs=0.01)


def test_lens_focuses_at_its_focal_length_and_where_light_comes_from() -> None:
    grid = Grid(300, 300, 4e-6)
    steps_m = FOCAL_M * np.linspace(0.94, 1.06, 13)
    pupil = lens(grid, WAVELENGTH_M, FOCAL_M, DIAMETER_M) * plane_wave(grid, WAVELENGTH_M, 4e-3, -2e-3)
    behind = [intensity(propagate(pupil, grid, WAVELENGTH_M, step_m)) for step_m in steps_m]
    brightest = int(np.argmax([picture.max() for picture in behind]))
    # Fresnel number 9: the focus lies where it should, to a step of 1 % of the focal length.
    assert steps_m[brightest] == pytest.approx(FOCAL_M, rel=0.0101)
    row, column = np.unravel_index(behind[6].argmax(), grid.shape)
    # focal length times slope, to a sample: +x is right, -y is up.
    assert grid.x_m[0, column] == pytest.approx(FOCAL_M * np.tan(4e-3), abs=grid.pitch_m)
    assert grid.y_m[row, 0] == pytest.approx(-FOCAL_M * np.tan(2e-3), abs=grid.pitch_m)


def test_lens_images_a_point_at_finite_distance() -> None:
    # 1/150 mm + 1/75 mm = 1/50 mm, magnification -1/2: a point 0.2 mm to the right is imaged 0.1 mm to the left.
    grid = Grid(300, 300, 4e-6)
    light = point_source(grid, WAVELENGTH_M, 150e-3, x_m=0.2e-3, y_m=-0.1e-3)
    image = propagate(light * lens(grid, WAVELENGTH_M, FOCAL_M, DIAMETER_M), grid, WAVELENGTH_M, 75e-3)
    row, column = np.unravel_index(intensity(image).argmax(), grid.shape)
    assert grid.x_m[0, column] == pytest.approx(-0.1e-3, abs=grid.pitch_m)
    assert grid.y_m[row, 0] == pytest.approx(0.05e-3, abs=grid.pitch_m)


@pytest.mark.parametrize("rayleighs", [-2.0, -0.5, 0.3, 1.0, 3.0])
def test_gaussian_beam(rayleighs: float) -> None:
    waist_m = 60e-6
    grid = Grid(256, 256, 6e-6)
    rayleigh_m = np.pi * waist_m**2 / WAVELENGTH_M
    distance_m = rayleighs * rayleigh_m
    beam = propagate(gaussian_beam(grid, WAVELENGTH_M, waist_m), grid, WAVELENGTH_M, distance_m)
    on_axis = beam[128, 128]
    # The whole field in one number. The beam's angle is 3 mrad: being paraxial costs about that to the fourth.
    expected = gaussian_beam(grid, WAVELENGTH_M, waist_m, distance_m)
    assert np.linalg.norm(beam - expected) / np.linalg.norm(expected) < 1e-4
    # And each property by its own formula. Width: the second moment of the intensity is w / 2.
    light = intensity(beam)
    width_m = 2 * np.sqrt((light * grid.x_m**2).sum() / light.sum())
    assert width_m == pytest.approx(waist_m * np.sqrt(1 + rayleighs**2), rel=1e-3)
    # Gouy: the beam's axial phase falls behind the plane wave's by the arc tangent.
    assert np.angle(on_axis) == pytest.approx(-np.arctan(rayleighs), abs=1e-4)
    # Curvature: phase k r^2 / (2 R) from the axis to the waist radius, with R = z (1 + (zR / z)^2).
    radius_m = distance_m * (1 + 1 / rayleighs**2)
    edge_m = grid.x_m[0, 138]
    bend = np.angle(beam[128, 138] / on_axis)
    assert bend == pytest.approx(np.pi * edge_m**2 / (WAVELENGTH_M * radius_m), abs=1e-3)


PERIOD_M = 128e-6
TALBOT_M = 2 * PERIOD_M**2 / WAVELENGTH_M


def grating(grid: Grid) -> NDArray[np.complex128]:
    """Slits along x, a quarter of the period open, and along y a cosine."""
    slits = (np.arange(grid.columns) % 32 < 8).astype(np.complex128)
    return np.asarray(slits * (1 + 0.5 * np.cos(2 * np.pi * grid.y_m / PERIOD_M)))


def test_talbot_self_image() -> None:
    grid = Grid(64, 128, PERIOD_M / 32)
    field = grating(grid)
    image = propagate(field, grid, WAVELENGTH_M, TALBOT_M, "fresnel_transfer", padding=1)
    # Exact within Fresnel's approximation, for a field that repeats: only rounding.
    assert np.abs(image - field).max() < 1e-9
    half = propagate(field, grid, WAVELENGTH_M, TALBOT_M / 2, "fresnel_transfer", padding=1)
    assert np.abs(half - np.roll(field, (16, 16), axis=(0, 1))).max() < 1e-9
    quarter = propagate(field, grid, WAVELENGTH_M, TALBOT_M / 4, "fresnel_transfer", padding=1)
    assert np.abs(np.abs(quarter) - np.abs(field)).max() > 0.1


def test_talbot_distance_of_the_angular_spectrum() -> None:
    # Without Fresnel's approximation, a cosine grating repeats where its one order has gained a whole wave on the axis:
    # wavelength / (1 - sqrt(1 - (wavelength / period)^2)), Rayleigh 1881.
    period_m = 8e-6
    grid = Grid(1, 64, period_m / 16)
    field = (1 + 0.8 * np.cos(2 * np.pi * grid.x_m / period_m)).astype(np.complex128)
    exact_m = WAVELENGTH_M / (1 - np.sqrt(1 - (WAVELENGTH_M / period_m) ** 2))
    image = propagate(field, grid, WAVELENGTH_M, exact_m, padding=1)
    assert np.abs(image - field).max() < 1e-9
    # The paraxial distance differs by a quarter of (wavelength / period)^2, 0.1 %: seen in the phase.
    assert 2 * period_m**2 / WAVELENGTH_M == pytest.approx(exact_m, rel=2e-3)
    assert 2 * period_m**2 / WAVELENGTH_M != pytest.approx(exact_m, rel=5e-4)


def test_poisson_spot() -> None:
    # Behind an opaque disc, in a Gaussian beam much wider than it, the axis is bright: its field is Fresnel's integral
    # from the disc's edge outwards, known in closed form.
    grid = Grid(800, 800, 4e-6)
    disc_m, beam_m, distance_m = 0.5e-3, 0.8e-3, 0.1
    field = gaussian_beam(grid, WAVELENGTH_M, beam_m) * (1 - circular_aperture(grid, 2 * disc_m, grey_edge=True))
    shadow = propagate(field, grid, WAVELENGTH_M, distance_m)
    decay = 1 / beam_m**2 - 1j * np.pi / (WAVELENGTH_M * distance_m)
    expected = np.pi / (1j * WAVELENGTH_M * distance_m) * np.exp(-(disc_m**2) * decay) / decay
    assert abs(expected) > 0.65
    # The disc's edge is known to a fraction of a sample: 0.23 rad of phase for one sample of 4 um, 2 % of amplitude.
    assert abs(shadow[400, 400]) == pytest.approx(abs(expected), rel=0.005)
    assert np.angle(shadow[400, 400] / expected) == pytest.approx(0, abs=0.03)
    # Its first dark ring is that of J0, 0.3827 wavelength distance / radius, to a sample; then shadow.
    along = intensity(shadow)[400, 400:]
    dark = int(np.flatnonzero(np.diff(along) > 0)[0])
    assert dark * grid.pitch_m == pytest.approx(0.3827 * WAVELENGTH_M * distance_m / disc_m, abs=grid.pitch_m)
    assert along[30:100].mean() < 0.1 * along[0]


def test_parseval() -> None:
    # Light well inside the window before and after: what enters leaves. 1e-6 is what the beam has outside 4 radii.
    grid = Grid(200, 256, 5e-6)
    beam = gaussian_beam(grid, WAVELENGTH_M, 100e-6)
    assert power(beam, grid) == pytest.approx(np.pi * (100e-6) ** 2 / 2, rel=1e-6)
    for distance_m in (1e-3, -20e-3, 60e-3):
        there = propagate(beam, grid, WAVELENGTH_M, distance_m)
        assert power(there, grid) == pytest.approx(power(beam, grid), rel=1e-6)
    far, far_grid = fraunhofer(beam, grid, WAVELENGTH_M, 1.0)
    assert power(far, far_grid) == pytest.approx(power(beam, grid), rel=1e-12)


def summed_directly(
    field: NDArray[np.complexfloating], grid: Grid, distance_m: float, at: list[tuple[int, int]]
) -> NDArray[np.complex128]:
    """Rayleigh and Sommerfeld's first integral as a plain sum over the samples, without any transform."""
    wave_number = 2 * np.pi / WAVELENGTH_M
    values = []
    for row, column in at:
        away_m = np.sqrt((grid.x_m[0, column] - grid.x_m) ** 2 + (grid.y_m[row, 0] - grid.y_m) ** 2 + distance_m**2)
        spread = distance_m / (2 * np.pi * away_m**2) * (1 / away_m - 1j * wave_number)
        values.append((field * spread * np.exp(1j * wave_number * (away_m - distance_m))).sum() * grid.pitch_m**2)
    return np.array(values)


@pytest.mark.parametrize(("criticals", "tolerance"), [(1.0, 3e-3), (2.0, 5e-3), (4.0, 1e-3), (16.0, 1e-4)])
def test_against_the_diffraction_integral(criticals: float, tolerance: float) -> None:
    # Measured: 0.6e-3 (angular spectrum), 1e-14 (the same integral as impulse response), 4e-4, 1e-5 (Fresnel's).
    grid = Grid(256, 256, 2e-6)
    field = circular_aperture(grid, 400e-6, grey_edge=True).astype(np.complex128)
    distance_m = criticals * 512 * grid.pitch_m**2 / WAVELENGTH_M
    rng = np.random.default_rng(4)
    at = [(int(row), int(column)) for row, column in rng.integers(0, 256, (60, 2))]
    expected = summed_directly(field, grid, distance_m, at)

    def error(result: NDArray[np.complexfloating]) -> float:
        return float(np.linalg.norm([result[each] for each in at] - expected) / np.linalg.norm(expected))

    assert error(propagate(field, grid, WAVELENGTH_M, distance_m)) < tolerance
    if criticals > 1:
        # Without the choice and without the band limit the light that left would be back.
        wide = padded(grid, 2)
        unlimited = transfer_function(wide, WAVELENGTH_M, distance_m, band_limited=False)
        assert error(apply_transfer(field, unlimited)) > 2 * tolerance
        limited = transfer_function(wide, WAVELENGTH_M, distance_m)
        assert error(apply_transfer(field, limited)) < 0.5 * error(apply_transfer(field, unlimited))


@pytest.mark.parametrize("criticals", [-4.0, 1.1, 2.0, 4.0])
@pytest.mark.parametrize("shape", [(200, 200), (40, 240)])
def test_steep_and_diffuse_light_against_the_diffraction_integral(criticals: float, shape: tuple[int, int]) -> None:
    # Rough light on samples of 1 um, which leaves the window on all sides. The band limit cuts what misses the window,
    # but sharply, and the cut rings: light like this is off by 13 % at four critical distances.
    grid = Grid(*shape, 1e-6)
    rng = np.random.default_rng(6)
    rough = np.exp(2j * np.pi * rng.random(shape))
    low = (np.abs(grid.fx_per_m) < 0.15e6) & (np.abs(grid.fy_per_m) < 0.15e6)
    field = np.fft.ifft2(np.fft.fft2(rough) * low) * circular_aperture(grid, 0.6e-6 * min(shape), grey_edge=True)
    distance_m = criticals * 2 * max(shape) * grid.pitch_m**2 / WAVELENGTH_M
    at = [(int(row), int(column)) for row, column in rng.integers(0, shape, (40, 2))]
    # Backwards is the complex conjugate of forwards.
    forwards = field if criticals > 0 else field.conj()
    expected = summed_directly(forwards, grid, abs(distance_m), at)
    result = propagate(field, grid, WAVELENGTH_M, distance_m)
    found = np.array([result[each] for each in at])
    assert np.linalg.norm((found if criticals > 0 else found.conj()) - expected) / np.linalg.norm(expected) < 1e-2


def test_a_point_dims_with_distance() -> None:
    # The field of a point is 1/r; where it is 100 um to the side of a point 300 um away, r is 1.054 times longer.
    grid = Grid(1, 201, 0.5e-6)
    wave = point_source(grid, WAVELENGTH_M, 300e-6, x_m=-50e-6)
    assert abs(wave[0, 0]) == pytest.approx(1)
    assert abs(wave[0, 200]) == pytest.approx(1 / np.hypot(1, 1 / 3), rel=1e-9)
    phase = 2 * np.pi / WAVELENGTH_M * (np.hypot(300e-6, 10e-6) - 300e-6)
    assert np.exp(1j * phase) == pytest.approx(wave[0, 20] / abs(wave[0, 20]), abs=1e-6)
