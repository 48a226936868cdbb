"""Masks from heights: maps and pictures of one's own, Zernike surfaces, diffusers, Fresnel lenses."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from optics.mask import Geometry, MaskError, cell_positions_m, read_mask, write_mask
from optics.masks import (
    diffuser_mask,
    fresnel_lens_mask,
    height_map_mask,
    picture_heights,
    wave_height_m,
    wrap_heights,
    zernike_mask,
)
from optics.materials import FUSED_SILICA, N_BK7, refractive_index
from optics.psf import psf
from optics.zernike import fit_zernike

maps = arrays(np.float64, st.tuples(st.integers(1, 12), st.integers(1, 12)), elements=st.floats(-1e-5, 1e-5))


@given(maps)
def test_a_height_map_keeps_its_shape_and_starts_at_zero(heights_m):
    mask = height_map_mask(heights_m, 2e-6)
    inside = mask.stop > 0
    assert mask.height_m[inside].min() == 0
    assert (mask.height_m[~inside] == 0).all()
    np.testing.assert_allclose(mask.height_m[inside], (heights_m - heights_m[inside].min())[inside], atol=1e-20)


def test_a_height_map_that_is_none_is_refused():
    with pytest.raises(MaskError, match="1 values that are no numbers"):
        height_map_mask([[1e-6, np.nan]], 2e-6)
    with pytest.raises(MaskError, match=r"rows, columns"):
        height_map_mask(np.zeros(5), 2e-6)


@pytest.mark.parametrize(("kind", "top"), [(np.uint8, 255), (np.uint16, 65535)])
def test_a_pictures_grey_values_span_the_heights(kind, top):
    heights = picture_heights(np.array([[0, top], [1, top // 5]], dtype=kind), 2e-6, 1e-6)
    np.testing.assert_allclose(heights, [[1e-6, 2e-6], [1e-6 + 1e-6 / top, 1.2e-6]], rtol=1e-12)


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        (np.zeros((4, 4)), "8 or 16 bits"),
        (np.zeros((4, 4), np.int32), "8 or 16 bits"),
        (np.zeros((4, 4, 3), np.uint8), "one channel"),
    ],
)
def test_a_picture_without_a_scale_is_refused(picture, message):
    with pytest.raises(MaskError, match=message):
        picture_heights(picture, 1e-6)
    with pytest.raises(MaskError, match="above"):
        picture_heights(np.zeros((4, 4), np.uint8), 1e-6, 1e-6)


@given(maps, st.integers(1, 3), st.one_of(st.none(), st.integers(2, 64)))
def test_wrapping_leaves_the_phase_as_it_was(heights_m, waves, levels):
    wave_m = wave_height_m(FUSED_SILICA, 550e-9)
    wrapped = wrap_heights(heights_m, wave_m, waves, levels)
    assert wrapped.min() >= 0
    assert wrapped.max() <= waves * wave_m
    off = np.abs(np.angle(np.exp(2j * np.pi * (wrapped - heights_m) / wave_m)))
    step = 0 if levels is None else np.pi * waves / levels
    assert off.max() <= min(step, np.pi) + 1e-6
    if levels is not None:
        assert np.unique(np.rint(wrapped / (waves * wave_m / levels))).size <= levels


def test_one_wave_of_glass_delays_by_one_wave():
    height_m = wave_height_m(N_BK7, 640e-9)
    assert (refractive_index(N_BK7, 640e-9) - 1) * height_m == pytest.approx(640e-9)
    with pytest.raises(MaskError, match="levels"):
        wrap_heights([[0.0]], height_m, 1, 1)


def test_a_zernike_mask_has_the_surface_that_was_asked_for(tmp_path):
    coefficients_m = np.random.default_rng(3).normal(size=36) * 1e-7
    mask = zernike_mask(coefficients_m, cells=101)
    fitted = fit_zernike(mask.height_m, 36)
    np.testing.assert_allclose(fitted[1:], coefficients_m[1:], atol=1e-18)
    assert mask.surface == "smooth"
    np.testing.assert_array_equal(mask.stop > 0, np.hypot(*np.ogrid[-50:51, -50:51]) <= 50.5)
    inner = zernike_mask(coefficients_m, cells=101, disc_cells=61)
    np.testing.assert_array_equal(inner.stop > 0, np.hypot(*np.ogrid[-50:51, -50:51]) <= 30.5)
    np.testing.assert_allclose(fit_zernike(inner.height_m, 36, 61)[1:], coefficients_m[1:], atol=1e-18)
    rms_m = mask.height_m[mask.stop > 0].std()
    assert rms_m == pytest.approx(np.linalg.norm(coefficients_m[1:]), rel=0.02)  # 8,000 cells in place of a disc
    write_mask(mask, tmp_path / "mask.npz")
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.npz").height_m, mask.height_m)
    with pytest.raises(MaskError, match="finite"):
        zernike_mask([np.nan])


def test_zernike_tilt_moves_the_light_to_larger_columns():
    # Slope 2 a / radius along x: thicker towards larger x delays there, so light turns towards larger x.
    geometry = Geometry(psf_px=(31, 31))
    radius_m, shift_px = 101 * 1e-6, 4
    slope = shift_px * 6e-6 / 5e-3 / (refractive_index(FUSED_SILICA, 550e-9) - 1)
    tilted = psf(zernike_mask([0, slope * radius_m / 2], cells=101, geometry=geometry))[1]
    straight = psf(zernike_mask([0.0], cells=101, geometry=geometry))[1]
    np.testing.assert_allclose(tilted[:, 8:27], straight[:, 4:23], atol=2e-4)


def test_a_diffuser_has_its_roughness_and_its_grain():
    # One surface holds about 2,000 grains of 10 cells: 5 % in its correlation is two standard errors.
    rms_m, grain_m = 0.6e-6, 10e-6
    mask = diffuser_mask(rms_m, grain_m, np.random.default_rng(7))
    inside = mask.stop > 0
    assert mask.height_m[inside].std() == pytest.approx(rms_m, rel=1e-9)
    heights = np.where(inside, mask.height_m - mask.height_m[inside].mean(), np.nan) / rms_m
    for cells in (2, 5, 8, 20):
        for product in (heights[cells:] * heights[:-cells], heights[:, cells:] * heights[:, :-cells]):
            assert np.nanmean(product) == pytest.approx(np.exp(-((cells * 2e-6 / grain_m) ** 2)), abs=0.08)
    skew = np.nanmean(heights**3)
    kurtosis = np.nanmean(heights**4)
    assert abs(skew) < 0.2
    assert kurtosis == pytest.approx(3, abs=0.4)  # a Gaussian surface


def test_a_diffusers_light_spreads_with_its_slope():
    # Phase is rough (7 rad), so the directions are those of the surface's normals: a Gaussian with the rms slope times
    # (n - 1), beside the shadow of the stop (a quarter of its diameter along one direction).
    rms_m, grain_m = 1.35e-6, 40e-6
    geometry = Geometry(psf_px=(127, 127))
    total = np.zeros(127)
    for seed in range(2):
        mask = diffuser_mask(rms_m, grain_m, np.random.default_rng(seed), geometry=geometry)
        total += psf(mask)[1].sum(axis=0)
    away_m = (np.arange(127) - 63) * 6e-6
    measured_m = np.sqrt((total * away_m**2).sum() / total.sum())
    slope = np.sqrt(2) * rms_m / grain_m * (refractive_index(FUSED_SILICA, 550e-9) - 1)
    expected_m = np.hypot(slope * 5e-3, 255 * 2e-6 / 4)
    assert measured_m == pytest.approx(expected_m, rel=0.12)  # two surfaces of 130 grains each


def test_a_diffuser_comes_back_from_its_seed():
    first, again, other = (diffuser_mask(1e-6, 2e-5, np.random.default_rng(seed), cells=64) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.height_m, again.height_m)
    assert not np.array_equal(first.height_m, other.height_m)
    with pytest.raises(MaskError, match="two cells"):
        diffuser_mask(1e-6, 3e-6, np.random.default_rng(0))
    with pytest.raises(MaskError, match="rms_height_m"):
        diffuser_mask(0.0, 2e-5, np.random.default_rng(0))


FAR = Geometry(sensor_distance_m=20e-3, pixel_pitch_m=2e-6, psf_px=(63, 63))


def test_a_fresnel_lens_focuses_at_its_focal_length():
    here = psf(fresnel_lens_mask(20e-3, geometry=FAR))[1]
    near = Geometry(sensor_distance_m=12e-3, pixel_pitch_m=2e-6, psf_px=(63, 63))
    assert np.unravel_index(here.argmax(), here.shape) == (31, 31)
    assert here.max() > 4 * psf(fresnel_lens_mask(20e-3, geometry=near))[1].max()
    # Airy: the peak of a circle of diameter D is pi D^2 / 4 / (wavelength f)^2, here the mean over a pixel of 2 um,
    # a tenth of the disc's width, and the zones are 22 cells or more wide: 1 % for both together.
    peak = np.pi * (255 * 2e-6) ** 2 / 4 / (550e-9 * 20e-3) ** 2 * 2e-6**2
    assert here.max() == pytest.approx(peak, rel=0.02)


@pytest.mark.parametrize("levels", [2, 4, 8, 16])
def test_steps_cost_what_the_theory_says(levels):
    stepped = psf(fresnel_lens_mask(20e-3, levels=levels, geometry=FAR))[1].max()
    smooth = psf(fresnel_lens_mask(20e-3, geometry=FAR))[1].max()
    # The formula is for many zones; this lens has six.
    assert stepped / smooth == pytest.approx(np.sinc(1 / levels) ** 2, rel=0.02)


def test_a_fresnel_lens_of_more_waves_is_higher_and_images_a_near_point():
    one, three = (fresnel_lens_mask(20e-3, waves=waves, geometry=FAR) for waves in (1, 3))
    wave_m = wave_height_m(FUSED_SILICA, 550e-9)
    assert one.height_m.max() < wave_m < three.height_m.max() < 3 * wave_m
    assert fresnel_lens_mask(20e-3, levels=4, geometry=FAR).levels == 4
    near = Geometry(sensor_distance_m=20e-3, pixel_pitch_m=2e-6, psf_px=(63, 63), source_distance_m=60e-3)
    imaged = psf(fresnel_lens_mask(geometry=near))[1].max()
    assert imaged > 2 * psf(fresnel_lens_mask(20e-3, geometry=near))[1].max()


def test_a_lens_that_its_cells_do_not_resolve_is_refused():
    with pytest.raises(MaskError, match="less than two cells"):
        fresnel_lens_mask(1e-3, cells=501)
    with pytest.raises(MaskError, match="positive"):
        fresnel_lens_mask(-5e-3)


def test_heights_are_symmetric_where_the_mask_is():
    for mask in (fresnel_lens_mask(levels=8), zernike_mask([0, 0, 0, 1e-6])):
        np.testing.assert_allclose(mask.height_m, mask.height_m.T, atol=1e-20)
        np.testing.assert_allclose(mask.height_m, mask.height_m[::-1], atol=1e-20)
    assert cell_positions_m(4, 1.0).tolist() == [-1.5, -0.5, 0.5, 1.5]
