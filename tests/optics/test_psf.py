"""From mask to PSF against Airy's pattern, other programs, brute force, and what symmetry and energy demand.

Tolerances: the chain's own numerical error is below 1e-3 of the peak (decision 0013); where a test allows more, the
thing compared with is the less exact one, and the test says why.
"""

import math
from dataclasses import replace

import numpy as np
import pytest
import scipy.special
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

import optics.psf
from optics.mask import Geometry, Mask, cell_positions_m, circular_stop
from optics.materials import FUSED_SILICA, Material, refractive_index
from optics.metrics import energy_radius
from optics.psf import (
    Spectrum,
    chain_psf,
    flat_band,
    light_budget,
    make_chain,
    mask_chain,
    mask_samples,
    psf,
    warmed,
)
from optics.sampling import SamplingError

COLOURS_M = (640e-9, 550e-9, 460e-9)
# An index of 1.5 at all wavelengths: a height of one wavelength is half a turn.
GLASS = Material("glass", "table", (0.4, 1.5, 0.7, 1.5), (0.4, 0.7), 1e-4, 1e-5, "made up for the tests")


def geometry(
    distance_m: float = 5e-3, pitch_m: float = 6e-6, side: int = 31, wavelength_m: float | None = None, **more: float
) -> Geometry:
    wavelengths_m = COLOURS_M if wavelength_m is None else (wavelength_m,) * 3
    return Geometry(distance_m, pitch_m, (side, side), wavelengths_m, **more)


def one_colour(mask: Mask, wavelength_m: float, **tilt: float) -> np.ndarray:
    chain = mask_chain(mask, wavelength_m, **tilt)
    return chain_psf(chain, mask_samples(mask, chain))


def lens(cells: int, pitch_m: float, focus_m: float, wavelength_m: float, wanted: Geometry) -> Mask:
    """Focuses light of one wavelength at the sensor, without aberration."""
    x_m = cell_positions_m(cells, pitch_m)
    way_m = np.sqrt(x_m**2 + x_m[:, np.newaxis] ** 2 + focus_m**2)
    height_m = (way_m.max() - way_m) / (refractive_index(FUSED_SILICA, wavelength_m) - 1)
    return Mask(height_m, pitch_m, FUSED_SILICA, wanted, surface="smooth")


def airy(mask: Mask, focus_m: float, wavelength_m: float, parts: int = 31) -> np.ndarray:
    """Airy's pattern of a disc with the stop's area, integrated over pixels: its sum is the light in the window."""
    diameter_m = 2 * math.sqrt(mask.stop.sum() / np.pi) * mask.pitch_m
    side, pixel_m = mask.geometry.psf_px[0], mask.geometry.pixel_pitch_m
    at_m = ((np.arange(side * parts) + 0.5) / parts - 0.5 - side // 2) * pixel_m
    v = np.pi * diameter_m / (wavelength_m * focus_m) * np.hypot(at_m, at_m[:, np.newaxis]) + 1e-12
    fine = (2 * scipy.special.j1(v) / v) ** 2 * np.pi * (diameter_m / 2 / (wavelength_m * focus_m)) ** 2
    return fine.reshape(side, parts, side, parts).mean(axis=(1, 3)) * pixel_m**2


def contour(cells: int = 255, seed: int = 0, levels: int | None = 16, height_m: float = 1.2e-6) -> np.ndarray:
    """A random, smooth-ish surface; in steps if levels are given."""
    rough = gaussian_filter(np.random.default_rng(seed).normal(size=(cells, cells)), cells / 20)
    rough = (rough - rough.min()) / np.ptp(rough)
    return rough * height_m if levels is None else np.round(rough * (levels - 1)) / (levels - 1) * height_m


def beside(first: np.ndarray, second: np.ndarray) -> float:
    """Largest difference, in shares of the peak."""
    return float(np.abs(first - second).max() / second.max())


def brute_force(
    field: np.ndarray, sample_m: float, wanted: Geometry, wavelength_m: float, centre_m: tuple[float, float] = (0, 0)
) -> np.ndarray:
    """Unnormalised light per pixel of a field around the axis, by the plain angular spectrum and sums over samples.

    Nothing of the program under test: no band limit, no kernel, no frame that moves; samples (odd number, the middle
    one on the axis) are far finer than pixels, and each is spread over its square.
    """
    side = field.shape[0]
    frequency = np.fft.fftfreq(side, sample_m)
    squared = 1 / wavelength_m**2 - frequency**2 - frequency[:, np.newaxis] ** 2
    free = np.where(squared > 0, np.exp(2j * np.pi * wanted.sensor_distance_m * np.sqrt(np.maximum(squared, 0))), 0)
    intensity = np.abs(np.fft.ifft2(np.fft.fft2(field) * free)) ** 2
    at_m = (np.arange(side) - side // 2) * sample_m
    along = []
    for pixels, middle_m in zip(wanted.psf_px, centre_m, strict=True):
        place_m = (np.arange(pixels)[:, np.newaxis] - pixels // 2) * wanted.pixel_pitch_m + middle_m - at_m
        overlap_m = (wanted.pixel_pitch_m + sample_m) / 2 - np.abs(place_m)
        along.append(np.clip(overlap_m / sample_m, 0, 1))
    return np.asarray(along[0] @ intensity @ along[1].T)


def in_the_middle(cells: np.ndarray, repeat: int, side: int) -> np.ndarray:
    """Cells as repeat x repeat samples each, in the middle of a dark grid."""
    fine = np.repeat(np.repeat(cells, repeat, axis=0), repeat, axis=1)
    field = np.zeros((side, side), dtype=np.complex128)
    first = (side - fine.shape[0]) // 2
    field[first : first + fine.shape[0], first : first + fine.shape[1]] = fine
    return field


@pytest.mark.parametrize(("focus_m", "tolerance"), [(5e-3, 2.5e-3), (20e-3, 1e-3)])
def test_a_lens_makes_airys_pattern(focus_m: float, tolerance: float) -> None:
    """The formula is paraxial: it is off by about half the numerical aperture squared (0.051 and 0.013), 1e-3 and 1e-4;
    the smooth surface's edge by up to 1e-3."""
    wavelength_m = 550e-9
    mask = lens(255, 2e-6, focus_m, wavelength_m, geometry(focus_m, wavelength_m=wavelength_m))
    seen, expected = one_colour(mask, wavelength_m), airy(mask, focus_m, wavelength_m)
    assert beside(seen, expected) < tolerance
    assert seen.sum() == pytest.approx(expected.sum(), abs=1e-3)


def test_the_trap_of_the_trials() -> None:
    """3 mm at 25 mm on 6 um cells at 460 nm: point samples alias and spread the light over far more than it is."""
    wavelength_m, focus_m, pitch_m, cells = 460e-9, 25e-3, 6e-6, 501
    mask = lens(cells, pitch_m, focus_m, wavelength_m, geometry(focus_m, side=63, wavelength_m=wavelength_m))
    expected = airy(mask, focus_m, wavelength_m)
    radius_m = energy_radius(expected, 6e-6, 0.8)[0]
    phase = 2 * np.pi / wavelength_m * (refractive_index(FUSED_SILICA, wavelength_m) - 1) * mask.height_m
    naive = brute_force(in_the_middle(mask.stop * np.exp(1j * phase), 1, 625), pitch_m, mask.geometry, wavelength_m)
    assert naive.sum() / mask.stop.sum() < 0.9 * expected.sum()
    seen = one_colour(mask, wavelength_m)
    assert energy_radius(seen, 6e-6, 0.8)[0] == pytest.approx(radius_m, rel=0.01)
    assert beside(seen, expected) < 3e-3  # numerical aperture 0.06
    with pytest.raises(SamplingError, match=r"stop|window|longer"):
        one_colour(replace(mask, pitch_m=60e-6), wavelength_m)
    coarse = make_chain(mask.stop, pitch_m, replace(mask.geometry, sensor_distance_m=0.2), wavelength_m, "smooth")
    with pytest.raises(SamplingError, match=r"use samples of 3\.\d um"):
        mask_samples(mask, coarse)


@pytest.mark.parametrize(("seed", "pixel_m"), [(1, 6e-6), (2, 4.1e-6)])
def test_stepped_cells_equal_brute_force(seed: int, pixel_m: float) -> None:
    """Against a grid eight times finer, on which some of the light goes around and comes back."""
    cells, pitch_m, repeat, wavelength_m = 51, 2e-6, 8, 460e-9
    wanted = geometry(0.5e-3, pixel_m, 15)
    mask = Mask(contour(cells, seed, 4), pitch_m, geometry=wanted)
    field = mask.stop * np.exp(
        2j * np.pi / wavelength_m * (refractive_index(FUSED_SILICA, wavelength_m) - 1) * mask.height_m
    )
    # An even number of samples per cell puts the axis between two samples: a window moved by half a sample.
    expected = brute_force(
        in_the_middle(field, repeat, 2048), pitch_m / repeat, wanted, wavelength_m, (-pitch_m / repeat / 2,) * 2
    )
    expected /= mask.stop.sum() * repeat**2
    assert beside(one_colour(mask, wavelength_m), expected) < 3e-3
    assert one_colour(mask, wavelength_m).sum() == pytest.approx(expected.sum(), rel=5e-3)


@pytest.mark.parametrize("surface", ["stepped", "smooth"])
@pytest.mark.parametrize("wanted", [Geometry(), Geometry(psf_px=(31, 41)), Geometry(pixel_pitch_m=3.45e-6)])
def test_a_finer_and_wider_grid_changes_nothing(
    surface: str, wanted: Geometry, monkeypatch: pytest.MonkeyPatch
) -> None:
    heights_m = contour(129, 3, 16 if surface == "stepped" else None)
    mask = Mask(heights_m, 3e-6, geometry=wanted, surface=surface)  # type: ignore[arg-type]
    wavelength_m = 460e-9
    seen = one_colour(mask, wavelength_m)
    monkeypatch.setattr(optics.psf, "MARGIN", 2.0)
    repeat = mask_chain(mask, wavelength_m).repeat * 2
    chain = make_chain(mask.stop, mask.pitch_m, wanted, wavelength_m, mask.surface, least_repeat=repeat)
    assert chain.repeat == repeat
    assert beside(seen, chain_psf(chain, mask_samples(mask, chain))) < (1e-3 if surface == "stepped" else 2e-3)


def test_cells_at_random_are_the_hardest_and_still_right(monkeypatch: pytest.MonkeyPatch) -> None:
    heights_m = np.random.default_rng(4).integers(0, 16, (127, 127)) * 1e-7
    mask = Mask(heights_m, 2e-6, geometry=Geometry(2.5e-3, psf_px=(31, 31)))
    seen = one_colour(mask, 550e-9)
    monkeypatch.setattr(optics.psf, "MARGIN", 2.5)
    chain = make_chain(mask.stop, mask.pitch_m, mask.geometry, 550e-9, "stepped", least_repeat=4)
    assert beside(seen, chain_psf(chain, mask_samples(mask, chain))) < 2e-3


def test_a_smooth_surface_is_the_limit_of_fine_steps() -> None:
    wavelength_m, focus_m = 640e-9, 2e-3
    wanted = geometry(focus_m, side=21, wavelength_m=wavelength_m)
    smooth = lens(75, 3e-6, focus_m, wavelength_m, wanted)
    fine = lens(75 * 6, 0.5e-6, focus_m, wavelength_m, wanted)
    stop = np.repeat(np.repeat(smooth.stop, 6, axis=0), 6, axis=1)
    stepped = Mask(fine.height_m, 0.5e-6, geometry=wanted, stop=stop)
    # Steps of 0.5 um scatter some light of a lens of 0.056: 1 - sinc(0.056 * 0.5 / 0.64)^4, 0.6 % at its rim.
    assert beside(one_colour(smooth, wavelength_m), one_colour(stepped, wavelength_m)) < 4e-3


def test_what_a_smooth_array_holds_outside_the_stop_does_not_matter() -> None:
    heights_m = contour(101, 5, None, 5e-6)
    stop = circular_stop((101, 101), 3e-6, 250e-6)
    mask = Mask(heights_m, 3e-6, geometry=geometry(4e-3), stop=stop, surface="smooth")
    beyond = Mask(np.where(stop > 0, heights_m, 0), 3e-6, geometry=geometry(4e-3), stop=stop, surface="smooth")
    np.testing.assert_allclose(psf(beyond), psf(mask), atol=1e-7)


def test_a_surface_with_jumps_is_not_smooth() -> None:
    height_m = np.zeros((65, 65))
    height_m[:, 30:] = 1e-6
    mask = Mask(height_m, 2e-6, geometry=geometry(), surface="smooth")
    with pytest.raises(SamplingError, match="stepped"):
        psf(mask)
    assert psf(replace(mask, surface="stepped")).sum() > 0


def test_light_that_misses_the_window_by_far_needs_no_finer_grid() -> None:
    """A rim as steep as 45 degrees: its rays land millimetres away, so the lens is as good as stopped down."""
    cells, pitch_m, wavelength_m, focus_m = 151, 3e-6, 550e-9, 3e-3
    wanted = geometry(focus_m, side=31, wavelength_m=wavelength_m)
    plain = lens(cells, pitch_m, focus_m, wavelength_m, wanted)
    away_m = np.hypot(cell_positions_m(cells, pitch_m)[:, np.newaxis], cell_positions_m(cells, pitch_m))
    rim_m = np.maximum(away_m - 150e-6, 0)
    steep = replace(plain, height_m=plain.height_m + rim_m**3 / (75e-6) ** 2 * 1.5)
    seen = one_colour(steep, wavelength_m)
    stopped = one_colour(replace(plain, stop=np.where(away_m < 158e-6, plain.stop, 0)), wavelength_m)
    # Where exactly the rim begins to send its light away is soft: some percent of the stop's area.
    assert seen.sum() == pytest.approx(stopped.sum() * (away_m < 158e-6).sum() / plain.stop.sum(), rel=0.05)
    assert mask_chain(steep, wavelength_m).repeat <= 3


def test_energy_is_kept() -> None:
    mask = Mask(contour(), 2e-6, geometry=Geometry(psf_px=(255, 255)))
    wide = psf(mask)
    narrow = psf(mask, psf_px=(63, 63))
    assert narrow.shape == (3, 63, 63)
    whole = wide.sum(axis=(1, 2), dtype=np.float64)
    # What 16 square steps diffract beyond 0.77 mm is missing.
    assert (whole < 1 + 1e-4).all()
    assert (whole > 0.97).all()
    np.testing.assert_allclose(wide[:, 96:159, 96:159], narrow, atol=1e-3 * narrow.max())
    assert wide.dtype == np.float32
    assert wide.min() >= 0
    budget = light_budget(mask, narrow)
    np.testing.assert_allclose(budget.window + budget.outside + budget.absorbed, 1)
    np.testing.assert_allclose(budget.window, narrow.sum(axis=(1, 2)), rtol=1e-6)
    half = np.where(np.arange(255) % 2, 1.0, 0.5) * np.ones((255, 1))
    coded = replace(mask, transmission=half)
    np.testing.assert_allclose(light_budget(coded, psf(coded)).absorbed, 0.375, atol=0.002)


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), rows=st.integers(1, 24), columns=st.integers(1, 24), smooth=st.booleans())
def test_symmetries(seed: int, rows: int, columns: int, smooth: bool) -> None:
    """Piston does nothing; a turned, mirrored or transposed mask has a turned, mirrored or transposed PSF."""
    rng = np.random.default_rng(seed)
    height_m = rng.random((rows, columns)) * (2e-9 if smooth else 1e-6)
    stop = rng.random((rows, columns))
    wanted = Geometry(1e-3, 5e-6, (9, 11), (550e-9,) * 3)
    mask = Mask(height_m, 3e-6, GLASS, wanted, stop, surface="smooth" if smooth else "stepped")
    seen = psf(mask)
    assert seen.min() >= 0
    assert seen.sum(axis=(1, 2)).max() <= 1 + 1e-5
    # An even grid has no mirrored partner for its last frequency.
    close = {"rtol": 0, "atol": float(seen.max()) * 1e-3}
    np.testing.assert_allclose(psf(replace(mask, height_m=height_m + 7.7e-6)), seen, **close)
    mirrored = replace(mask, height_m=height_m[::-1, ::-1], stop=stop[::-1, ::-1])
    np.testing.assert_allclose(psf(mirrored), seen[:, ::-1, ::-1], **close)
    turned = Mask(height_m.T, 3e-6, GLASS, replace(wanted, psf_px=(11, 9)), stop.T, surface=mask.surface)
    np.testing.assert_allclose(psf(turned), seen.transpose(0, 2, 1), **close)


def test_axes_and_signs() -> None:
    """Light comes out in front of an opening, and turns towards the thicker side of a wedge."""
    stop = np.zeros((61, 61))
    stop[5:15, 40:55] = 1
    opening = Mask(np.zeros((61, 61)), 6e-6, GLASS, geometry(1e-3, side=91), stop)
    seen = psf(opening)
    for colour in seen:
        row, column = (float((colour.sum(axis=axis) * (np.arange(91) - 15)).sum() / colour.sum()) for axis in (1, 0))
        assert (row, column) == pytest.approx((9.5, 47), abs=0.1)
    x_m = cell_positions_m(101, 2e-6)
    for slope in ((0.0, 0.04), (0.04, 0.0)):
        height_m = x_m[:, np.newaxis] * slope[0] + x_m * slope[1] + 101e-6 * 0.04
        wedge = Mask(height_m, 2e-6, GLASS, geometry(2e-3, side=81), surface="smooth")
        colour = one_colour(wedge, 550e-9)
        found = [float((colour.sum(axis=axis) * (np.arange(81) - 40)).sum() / colour.sum()) for axis in (1, 0)]
        # An index of 1.5 deflects by half the slope.
        assert found == pytest.approx([each / 2 * 2e-3 / 6e-6 for each in slope], abs=0.15)


def test_a_near_source_magnifies_the_shadow() -> None:
    stop = np.zeros((61, 61))
    stop[25:36, 45:56] = 1
    mask = Mask(np.zeros((61, 61)), 6e-6, GLASS, geometry(1e-3, 6e-6, 91), stop)
    for distance_m in (math.inf, 20e-3, 4e-3):
        colour = one_colour(replace(mask, geometry=replace(mask.geometry, source_distance_m=distance_m)), 550e-9)
        column = float((colour.sum(axis=0) * (np.arange(91) - 45)).sum() / colour.sum())
        assert column == pytest.approx(20 * (1 + 1e-3 / distance_m), abs=0.15)


@pytest.mark.parametrize("source_m", [math.inf, 30e-3])
def test_oblique_light_equals_brute_force(source_m: float) -> None:
    """The frame that moves with the chief ray, against a fixed one in which the tilt is a wave of its own."""
    cells, pitch_m, repeat, wavelength_m, angle = 51, 2e-6, 8, 550e-9, math.radians(6)
    wanted = geometry(1e-3, 6e-6, 15, source_distance_m=source_m)
    mask = Mask(contour(cells, 6, 4, 12e-6), pitch_m, GLASS, wanted)
    inside = math.asin(math.sin(angle) / 1.5)
    # What a plate delays oblique light by, in wavelengths: Snell.
    turns = mask.height_m / wavelength_m * (1.5 * math.cos(inside) - math.cos(angle))
    side, sample_m = 2048, pitch_m / repeat
    at_m = (np.arange(side) - side // 2 + 0.5) * sample_m
    if math.isinf(source_m):
        way_m = at_m * math.sin(angle) * np.ones((side, 1))
    else:
        way_m = np.sqrt((at_m + source_m * math.tan(angle)) ** 2 + at_m[:, np.newaxis] ** 2 + source_m**2) - source_m
    field = in_the_middle(mask.stop * np.exp(2j * np.pi * turns), repeat, side)
    field *= np.exp(2j * np.pi * way_m / wavelength_m)
    chief_m = (-sample_m / 2, 1e-3 * math.tan(angle) - sample_m / 2)
    expected = brute_force(field, sample_m, wanted, wavelength_m, chief_m) / (mask.stop.sum() * repeat**2)
    # Light that goes around the fine grid and comes back: 3e-3.
    assert beside(one_colour(mask, wavelength_m, angle_x_rad=angle), expected) < 5e-3
    transposed = replace(mask, height_m=mask.height_m.T)
    assert beside(one_colour(transposed, wavelength_m, angle_y_rad=angle), expected.T) < 5e-3


def test_light_from_the_side_is_refused_with_a_reason() -> None:
    with pytest.raises(SamplingError, match="80 degrees"):
        psf(Mask(np.zeros((9, 9)), 2e-6), angle_x_rad=1.5)


def test_temperature_changes_index_and_size() -> None:
    mask = Mask(contour(63, 7), 2e-6, GLASS, geometry(1e-3))
    warm = psf(mask, celsius=70)
    by_hand = Material("glass", "table", (0.4, 1.505, 0.7, 1.505), (0.4, 0.7), 0, 0, "50 K more")
    expected = replace(mask, height_m=mask.height_m * 1.0005, pitch_m=mask.pitch_m * 1.0005, material=by_hand)
    np.testing.assert_allclose(warm, psf(expected), atol=1e-6)
    assert beside(warm, psf(mask)) > 1e-3
    assert warmed(mask, 20.0) is mask


def test_a_band_is_the_mean_over_its_lines() -> None:
    band = flat_band(550e-9, 40e-9, 3)
    assert math.fsum(band.weights) == pytest.approx(1)
    places = np.array(band.wavelengths_m)
    assert (places**5 * band.weights).sum() == pytest.approx((570e-9**6 - 530e-9**6) / 6 / 40e-9, rel=1e-12)
    mask = Mask(contour(63, 8), 2e-6, geometry=geometry(1e-3))
    seen = psf(mask, spectra=[band, Spectrum((550e-9,), (3.0,)), Spectrum((500e-9, 600e-9), (1.0, 0.0))])
    each = [one_colour(mask, wavelength_m) for wavelength_m in (*band.wavelengths_m, 550e-9, 500e-9)]
    np.testing.assert_allclose(seen[0], np.tensordot(band.weights, each[:3], 1), atol=1e-7)
    np.testing.assert_allclose(seen[1:], each[3:], atol=1e-7)
    # Five lines of a mask two wavelengths high are as good as eleven.
    five, eleven = (psf(mask, spectra=[flat_band(550e-9, 60e-9, lines)] * 3)[0] for lines in (5, 11))
    assert beside(five, eleven) < 1e-3


@pytest.mark.parametrize("spectra", [[], [Spectrum((5e-7,), ())] * 3, [Spectrum((5e-7,), (-1.0,))] * 3])
def test_spectra_that_are_none(spectra: list[Spectrum]) -> None:
    with pytest.raises(ValueError, match=r"spectr"):
        psf(Mask(np.zeros((9, 9)), 2e-6), spectra=spectra)
    with pytest.raises(ValueError, match="band"):
        flat_band(5e-7, 1.1e-6)


def test_a_chain_takes_cells_or_samples_and_nothing_else() -> None:
    mask = Mask(contour(31, 9), 2e-6, geometry=geometry(1e-3, side=15))
    chain = make_chain(mask.stop, 2e-6, mask.geometry, 550e-9, "stepped", least_repeat=2)
    cells = mask_samples(mask, chain)
    samples = np.repeat(np.repeat(cells, 2, axis=0), 2, axis=1)
    np.testing.assert_array_equal(chain_psf(chain, cells), chain_psf(chain, samples))
    with pytest.raises(ValueError, match="31 x 31 cells"):
        chain_psf(chain, cells[1:])
    assert chain.transfer.shape == chain.wave.shape
    np.testing.assert_array_equal(chain.transfer[:, chain.columns], chain.spread)
