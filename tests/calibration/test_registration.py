"""Registration finds how a PSF was moved, turned, scaled and flipped, and says what cannot be seen."""

import math

import numpy as np
import pytest
import scipy.ndimage
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from calibration.registration import (
    ORIENTATIONS,
    best_orientation,
    orientation_shows,
    oriented,
    placed,
    register,
    rotation_shows,
    spline,
    transformed,
)
from optics.masks.contour import contour_mask
from optics.metrics import MetricError, moved
from optics.psf import psf as mask_psf

Floats = NDArray[np.float64]


def lopsided(side: int = 31) -> Floats:
    """Three unlike spots given by a formula, (3, side, side): they can be drawn anywhere without interpolation."""
    return drawn(side, (0.0, 0.0), 0.0, 1.0)


def drawn(side: int, shift: tuple[float, float], rotation_rad: float, scale: float, mirror: bool = False) -> Floats:
    """The same spots, moved, turned and scaled exactly."""
    away = np.arange(side, dtype=np.float64) - side // 2
    y, x = (away - shift[0])[:, np.newaxis], (away - shift[1])[np.newaxis]
    cosine, sine = math.cos(rotation_rad) / scale, math.sin(rotation_rad) / scale
    down, right = cosine * y - sine * x, cosine * x + sine * y
    if mirror:
        right = -right
    picture = np.zeros((side, side))
    for row, column, width, light in ((-5, -3, 1.8, 1.0), (4, -2, 2.2, 0.7), (1, 6, 1.6, 0.5)):
        picture += light * np.exp(-((down - row) ** 2 + (right - column) ** 2) / (2 * width**2)) / width**2
    picture /= 2 * math.pi * 2.2 * scale**2
    return np.stack([picture, 0.9 * picture, 0.8 * picture])


@settings(max_examples=15, deadline=None)
@given(st.floats(-2.5, 2.5), st.floats(-2.5, 2.5), st.floats(-8, 8), st.floats(0.93, 1.08), st.floats(0.1, 10))
def test_it_finds_what_was_done_to_a_psf(
    down: float, right: float, rotation_deg: float, scale: float, light: float
) -> None:
    measured = light * drawn(39, (down, right), math.radians(rotation_deg), scale) + 0.001
    found = register(measured, np.full(measured.shape, light * 1e-6), lopsided())
    # The design is only known at its pixels: a cubic spline between them errs by some thousandths of a pixel.
    assert found.shift_px == pytest.approx((down, right), abs=0.01)
    assert found.rotation_rad is not None
    assert math.degrees(found.rotation_rad) == pytest.approx(rotation_deg, abs=0.1)
    assert found.scale == pytest.approx(scale, abs=0.002)
    assert (found.correlation > 0.9995).all()


def test_each_colour_keeps_its_own_shift() -> None:
    """Red, green and blue sites of a quad lie beside each other."""
    measured = np.concatenate([drawn(39, shift, 0.02, 1.0)[:1] for shift in ((-0.25, -0.25), (0.0, 0.0), (0.25, 0.25))])
    found = register(measured, np.full(measured.shape, 1e-6), lopsided())
    assert found.by_colour_px == pytest.approx(np.array([[-0.25, -0.25], [0, 0], [0.25, 0.25]]), abs=0.01)
    assert found.shift_px == pytest.approx((0, 0), abs=0.01)


def test_noise_moves_it_as_much_as_it_says() -> None:
    """Noise alone, so strong that the mask's usual discrepancy does not count: 40 fits, errors over their sigma."""
    rng = np.random.default_rng(3)
    clean = drawn(39, (0.3, -0.2), math.radians(2), 1.01)
    sigma = np.full(clean.shape, 0.15 * clean.max())
    away = []
    for _ in range(40):
        found = register(clean + rng.normal(0, sigma), sigma, lopsided())
        assert found.rotation_rad is not None
        assert found.rotation_sigma_rad is not None
        away.append(
            [
                (found.shift_px[0] - 0.3) / found.shift_sigma_px[0],
                (found.shift_px[1] + 0.2) / found.shift_sigma_px[1],
                (found.rotation_rad - math.radians(2)) / found.rotation_sigma_rad,
                (found.scale - 1.01) / found.scale_sigma,
            ]
        )
    rms = np.sqrt((np.array(away) ** 2).mean(axis=0))
    # Relative standard error of an rms of 40 values: 11 %.
    assert (rms > 0.65).all()
    assert (rms < 1.4).all()


def test_a_smooth_error_of_the_mask_is_within_the_uncertainty() -> None:
    """Hardly any noise: what pulls is the mask's own error, which the uncertainty has to cover."""
    rng = np.random.default_rng(9)
    away = []
    for _ in range(40):
        field = scipy.ndimage.gaussian_filter(rng.standard_normal((99, 99)), 6.0)[30:69, 30:69]
        measured = drawn(39, (0.1, 0.2), 0.0, 1.0) * (1 + 0.03 * field / 0.047)
        found = register(measured, np.full(measured.shape, 1e-5 * measured.max()), lopsided())
        away += [
            (found.shift_px[0] - 0.1) / found.shift_sigma_px[0],
            (found.shift_px[1] - 0.2) / found.shift_sigma_px[1],
        ]
    rms = float(np.sqrt(np.mean(np.square(away))))
    assert 0.4 < rms < 1.6


def test_rotation_is_said_to_be_unseen_where_the_design_is_round() -> None:
    away = np.arange(31) - 15
    gaussian = np.repeat(np.exp(-(away[:, np.newaxis] ** 2 + away**2) / 18.0)[np.newaxis], 3, axis=0)
    assert not rotation_shows(gaussian)
    assert not orientation_shows(gaussian, "mirrored")
    found = register(placed(gaussian, (39, 39)), np.full((3, 39, 39), 1e-3), gaussian)
    assert found.rotation_rad is None
    assert found.rotation_sigma_rad is None
    assert rotation_shows(lopsided())
    assert orientation_shows(lopsided(), "mirrored")
    assert orientation_shows(lopsided(), "turned by 180 degrees")


@pytest.mark.parametrize("turned_deg", [-4.0, 0.0, 5.0])
def test_the_way_round_is_told(turned_deg: float) -> None:
    mirrored = drawn(39, (1.2, -0.7), math.radians(turned_deg), 1.03, mirror=True)
    scores = best_orientation(mirrored, lopsided())
    assert max(scores, key=lambda each: scores[each]) == "mirrored"
    assert scores["mirrored"] > scores["as designed"] + 0.1
    half_turn = drawn(39, (1.2, -0.7), math.pi + math.radians(turned_deg), 1.0)
    scores = best_orientation(half_turn, lopsided())
    assert max(scores, key=lambda each: scores[each]) == "turned by 180 degrees"


def test_on_the_psf_of_a_mask_from_physics() -> None:
    """A contour mask's PSF, moved by Fourier interpolation: another method than the fit's own."""
    design = mask_psf(contour_mask(np.random.default_rng(2))).astype(np.float64)
    assert rotation_shows(design)
    measured = moved(placed(design, (79, 79)), (0.4, -0.3))
    found = register(measured, np.full(measured.shape, 1e-3 * design.max()), design)
    assert found.shift_px == pytest.approx((0.4, -0.3), abs=0.03)
    assert found.rotation_rad == pytest.approx(0.0, abs=math.radians(0.1))
    assert found.scale == pytest.approx(1.0, abs=0.002)
    scores = best_orientation(measured[:, :, ::-1], design)
    assert max(scores, key=lambda each: scores[each]) == "mirrored"


@pytest.mark.parametrize("side", [30, 31])
def test_the_axis_stays_where_it_is(side: int) -> None:
    """The pixel n // 2 of any window, flipped or placed in another one."""
    point = np.zeros((3, side, side))
    point[:, side // 2, side // 2] = 1
    for way in ORIENTATIONS:
        flipped = oriented(point, way)
        assert flipped[0, flipped.shape[1] // 2, flipped.shape[2] // 2] == 1
    for other in (20, 21, 40, 41):
        assert placed(point, (other, other))[0, other // 2, other // 2] == 1


def test_scaling_keeps_the_light() -> None:
    shown = transformed(spline(lopsided()), (61, 61), np.zeros((3, 2)), 0.1, 1.2)
    assert shown.sum(axis=(1, 2)) == pytest.approx(lopsided().sum(axis=(1, 2)), rel=2e-3)


def test_pixels_of_unknown_light_do_not_count() -> None:
    measured = drawn(39, (0.3, 0.1), 0.0, 1.0)
    sigma = np.full(measured.shape, 1e-5)
    measured[:, 10:13, 15:18] = 5 * measured.max()
    sigma[:, 10:13, 15:18] = np.inf
    assert register(measured, sigma, lopsided()).shift_px == pytest.approx((0.3, 0.1), abs=0.05)


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(MetricError, match="expected"):
        register(lopsided(), lopsided()[:, :-1], lopsided())
