"""Masks from patterns: coded apertures with exact decoders, and contours."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from optics.mask import Geometry, MaskError, cell_positions_m
from optics.masks import (
    aperture_mask,
    contour_mask,
    contour_target,
    cyclic_correlation,
    gradient_noise,
    mls_decoder,
    mls_mask,
    mls_pattern,
    mls_sequence,
    mura_decoder,
    mura_mask,
    mura_pattern,
)
from optics.masks.mls import PRIMITIVE
from optics.materials import refractive_index
from optics.psf import psf


@pytest.mark.parametrize("side", [3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 101])
def test_a_mura_is_decoded_exactly(side):
    pattern = mura_pattern(side)
    wanted = np.zeros((side, side))
    wanted[0, 0] = (side**2 - 1) / 2
    assert pattern.sum() == wanted[0, 0]
    np.testing.assert_allclose(cyclic_correlation(pattern, mura_decoder(side)), wanted, atol=1e-9)


def test_the_smallest_mura_is_the_published_one():
    # Worked out by hand from equation 13 for p = 5: residues are 1 and 4.
    expected = [[0, 0, 0, 0, 0], [1, 1, 0, 0, 1], [1, 0, 1, 1, 0], [1, 0, 1, 1, 0], [1, 1, 0, 0, 1]]
    np.testing.assert_array_equal(mura_pattern(5), expected)


@pytest.mark.parametrize(("side", "named"), [(2, "3 or 5"), (9, "7 or 11"), (15, "13 or 17"), (-1, "3 or 5")])
def test_a_mura_of_another_side_names_the_next_ones(side, named):
    with pytest.raises(MaskError, match=named):
        mura_pattern(side)


@pytest.mark.parametrize("degree", PRIMITIVE)
def test_a_sequence_is_as_long_as_can_be(degree):
    sequence = mls_sequence(degree)
    length = 2**degree - 1
    assert (sequence.size, sequence.sum()) == (length, 1)
    spectrum = np.abs(np.fft.fft(sequence)) ** 2
    wanted = np.full(length, -1.0)
    wanted[0] = length
    np.testing.assert_allclose(np.fft.ifft(spectrum).real, wanted, atol=1e-8)


@pytest.mark.parametrize("degrees", [(2, 2), (3, 5), (6, 4), (7, 7)])
def test_a_separable_pattern_is_decoded_exactly(degrees):
    pattern = mls_pattern(*degrees)
    assert set(np.unique(pattern)) == {0, 1}
    wanted = np.zeros(pattern.shape)
    wanted[0, 0] = 2 ** sum(degrees) / 2
    np.testing.assert_allclose(cyclic_correlation(pattern, mls_decoder(*degrees)), wanted, atol=1e-7)


def test_a_degree_without_a_polynomial_is_refused():
    with pytest.raises(MaskError, match="from 2 to 12"):
        mls_sequence(13)


def test_correlation_shifts_the_way_it_says():
    pattern, decoder = np.zeros((4, 5)), np.zeros((4, 5))
    pattern[1, 1], decoder[3, 0] = 1, 1
    assert np.unravel_index(cyclic_correlation(pattern, decoder).argmax(), (4, 5)) == (2, 4)
    with pytest.raises(MaskError, match="one shape"):
        cyclic_correlation(pattern, decoder.T)


def test_features_and_tiles_become_cells():
    mask = mura_mask(5, feature_cells=3, tiles=2)
    assert mask.height_m.shape == (30, 30)
    assert (mask.stop == 1).all()
    np.testing.assert_array_equal(mask.transmission[::3, ::3], np.tile(mura_pattern(5), (2, 2)))
    assert (mask.transmission**2).mean() == pytest.approx(12 / 25)  # what passes, of the light on the plate
    assert mls_mask(3, 4, feature_cells=2).height_m.shape == (14, 30)
    for wrong in ({"feature_cells": 0}, {"tiles": 1.5}):
        with pytest.raises(MaskError, match="whole number"):
            mura_mask(5, **wrong)
    with pytest.raises(MaskError, match="amplitudes"):
        aperture_mask([[0.0, 1.2]])


def test_close_to_the_sensor_the_psf_is_the_shadow():
    # Fresnel number 10: features of 24 um (4 pixels) 100 um before the sensor, blurred by a pixel or two at their
    # edges. A deliberately asymmetric pattern, so that any flip shows.
    geometry = Geometry(sensor_distance_m=1e-4, psf_px=(20, 24), wavelengths_m=(550e-9,) * 3)
    pattern = np.zeros((5, 6))
    pattern[0, :4] = pattern[1:, 1] = pattern[3, 4] = 1
    mask = aperture_mask(pattern, feature_cells=12, geometry=geometry)
    assert mask.about["fresnel_number"] == pytest.approx(10.47, abs=0.01)
    shadow = np.kron(pattern, np.ones((4, 4)))
    # An even window's pixel n // 2 is on the axis, the mask's middle is between its cells: half a pixel apart.
    blurred = (shadow + np.roll(shadow, 1, 0) + np.roll(shadow, 1, 1) + np.roll(shadow, (1, 1), (0, 1))) / 4
    got = psf(mask)[1]
    assert np.corrcoef(got.ravel(), blurred.ravel())[0, 1] > 0.95
    for flipped in (blurred[::-1], blurred[:, ::-1], blurred[::-1, ::-1]):
        assert np.corrcoef(got.ravel(), flipped.ravel())[0, 1] < 0.5
    assert got.sum() == pytest.approx(pattern.mean(), abs=0.02)


@given(st.integers(0, 2**32 - 1))
def test_noise_is_smooth_bounded_zero_on_the_lattice_and_repeats(seed):
    along, across = np.linspace(3, 5, 401)[:, np.newaxis], np.array([7.0, 7.3, 7.9, 8.0])
    values = gradient_noise(along, across, np.random.default_rng(seed))
    assert np.abs(values).max() <= np.sqrt(0.5) + 1e-9  # Perlin noise in two dimensions
    assert np.abs(values[::200, [0, 3]]).max() < 1e-12
    # The curvature goes on across the lattice's line at sample 200: steps of 0.3 between neighbours (the third
    # derivative is up to 60), where the older blending 3 t^2 - 2 t^3 jumps by up to 12.
    curvature = np.diff(values, 2, axis=0) / 0.005**2
    assert np.abs(np.diff(curvature, axis=0)).max() < 1
    again = gradient_noise(along + 64, across - 64, np.random.default_rng(seed))
    np.testing.assert_allclose(again, values, atol=1e-9)


@pytest.mark.parametrize("shape", [(63, 63), (40, 51)])
def test_a_contour_target_is_sparse_and_sums_to_one(shape):
    target = contour_target(np.random.default_rng(5), shape)
    assert target.shape == shape
    assert target.min() >= 0
    assert target.sum() == pytest.approx(1)
    assert 0.05 < (target > target.max() / 10).mean() < 0.45
    np.testing.assert_array_equal(target, contour_target(np.random.default_rng(5), shape))
    assert not np.array_equal(target, contour_target(np.random.default_rng(6), shape))


def test_contours_have_energy_at_high_frequencies():
    # What the pattern is for: beside a disc of the same width its spectrum does not fall to nothing.
    target = contour_target(np.random.default_rng(5))
    disc = (np.hypot(*np.ogrid[-31:32, -31:32]) <= 31).astype(float)
    high = np.hypot(*np.meshgrid(*[np.fft.fftfreq(63)] * 2, indexing="ij")) > 0.1
    power = [(np.abs(np.fft.fft2(each / each.sum())) ** 2)[high].mean() for each in (target, disc)]
    assert power[0] > 20 * power[1]


@pytest.mark.parametrize("waves", [None, 1])
def test_a_contour_mask_draws_its_target(waves):
    # Measured over seeds 0 to 3: 0.83 to 0.89. Diffraction at strips of a feature's width sets it, not the noise.
    for seed in (0, 1):
        target = contour_target(np.random.default_rng(seed), feature_px=20, line_px=1.5)
        mask = contour_mask(np.random.default_rng(seed), feature_px=20, waves=waves)
        drawn = psf(mask)[1]
        likeness = [np.corrcoef(each.ravel(), drawn.ravel())[0, 1] for each in (target, target[::-1], target[:, ::-1])]
        assert likeness[0] > 0.75
        assert max(likeness[1:]) < 0.5
        assert drawn.sum() > (0.9 if waves is None else 0.7)
    assert mask.surface == ("smooth" if waves is None else "stepped")


def test_a_contour_mask_sends_rays_onto_the_curves():
    # Geometrical optics: a slope turns light by (n - 1) times it. Where it lands, the field of the target is 0.
    seed, feature_px = 3, 20
    mask = contour_mask(np.random.default_rng(seed), feature_px)
    index = refractive_index(mask.material, 550e-9)
    away_m = cell_positions_m(255, 2e-6)
    slopes = np.gradient(mask.height_m, 2e-6)
    landed = [
        (position + 5e-3 * (index - 1) * slope) / (feature_px * 6e-6)
        for position, slope in zip((away_m[:, np.newaxis], away_m), slopes, strict=True)
    ]
    inside = np.hypot(away_m[:, np.newaxis], away_m) < 245e-6
    missed = np.abs(gradient_noise(*landed, np.random.default_rng(seed)))[inside]
    # Between two curves the slope turns over within a cell or two; a cell is 0.01 of a feature.
    assert np.median(missed) < 0.01
    assert (missed < 0.03).mean() > 0.95


def test_a_contour_mask_allows_for_a_near_source():
    near = Geometry(source_distance_m=0.05)
    far_psf = psf(contour_mask(np.random.default_rng(0), feature_px=20))[1]
    near_psf = psf(contour_mask(np.random.default_rng(0), feature_px=20, geometry=near))[1]
    assert np.corrcoef(far_psf.ravel(), near_psf.ravel())[0, 1] > 0.999


def test_contours_that_cannot_be_are_refused():
    with pytest.raises(MaskError, match="at least 4"):
        contour_target(np.random.default_rng(0), feature_px=2)
    with pytest.raises(MaskError, match="at least 4"):
        contour_mask(np.random.default_rng(0), feature_px=2)
