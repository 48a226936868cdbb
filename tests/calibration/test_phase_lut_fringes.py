"""Fringes: carrier and phases of a picture that was drawn with known ones, noise as it should be, planes taken out."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from calibration.phase_lut_fringes import (
    GRID,
    complex_of,
    find_carrier,
    fixed_pattern,
    halves,
    reduce_picture,
    region_mean,
    undrawn,
    without_plane,
)

SHAPE = (96, 144)
Y, X = np.mgrid[: SHAPE[0], : SHAPE[1]].astype(float)


def picture(carrier, phase=0.0, visibility=0.8, light=0.5):
    return light * (1 + visibility * np.cos(phase - 2 * np.pi * (carrier[0] * Y + carrier[1] * X)))


@settings(max_examples=40, deadline=None)
@given(fy=st.floats(-0.08, 0.08), fx=st.floats(0.12, 0.36), phase=st.floats(-3, 3))
def test_carrier_and_phase(fy, fx, phase):
    found = find_carrier(picture((fy, fx), phase))
    assert abs(found[0] - fy) < 0.05 / SHAPE[0]
    assert abs(found[1] - fx) < 0.05 / SHAPE[1]
    reduced = reduce_picture(picture((fy, fx), phase), (fy, fx))
    off = np.angle(reduced.phasors * np.exp(-1j * phase))
    # What the window lets through of the background and the mirrored carrier.
    assert np.abs(off).max() < 2e-3
    assert np.allclose(np.abs(reduced.phasors), 0.5 * 0.8 / 2, rtol=3e-3)
    assert np.allclose(reduced.background, 0.5, rtol=3e-3)


def test_shifts_are_exact_to_a_thousandth_where_the_carrier_is_only_nearly_known():
    carrier, guess = (0.01, 0.2), (0.0105, 0.2003)
    zero = reduce_picture(picture(carrier), guess).phasors
    for shift in np.linspace(-3, 3, 13):
        moved = reduce_picture(picture(carrier, shift), guess).phasors
        assert np.abs(np.angle(moved * np.conj(zero) * np.exp(-1j * shift))).max() < 2e-3


def test_phases_of_regions_are_their_own():
    phases = np.linspace(-1.5, 1.5, 16)
    # Columns 66 to 77 of 144 are left out: they belong to no region.
    each = np.repeat(np.repeat(phases.reshape(GRID), 24, axis=0), [33, 39, 39, 33], axis=1)
    found = reduce_picture(picture((0.0, 0.2), each), (0.0, 0.2))
    assert np.abs(np.angle(found.phasors * np.exp(-1j * phases))).max() < 3e-3
    assert np.allclose(region_mean(each), phases)
    assert halves().sum() == 8
    assert halves().reshape(GRID)[:, :2].all()


def test_noise_is_as_the_window_says():
    rng = np.random.default_rng(1)
    sigma, carrier = 0.01, (0.0, 0.2)
    clean = picture(carrier)
    found = [reduce_picture(clean + sigma * rng.standard_normal(SHAPE), carrier, floor=True) for _ in range(300)]
    phases = np.angle([each.phasors for each in found])
    # Variance of a weighted sum of white noise over its modulus: sum w^2 sigma^2 / 2 for each quadrature.
    rows, columns = (np.blackman(n + 2)[1:-1] for n in (24, 33))
    squares = (rows**2).sum() / rows.sum() ** 2 * (columns**2).sum() / columns.sum() ** 2
    expected = sigma * np.sqrt(squares / 2) / (0.5 * 0.8 / 2)
    assert phases.std(axis=0).mean() == pytest.approx(expected, rel=0.05)
    # The floor holds the same noise and no fringes.
    floor = np.stack([each.floor for each in found])
    assert np.sqrt((np.abs(floor - floor.mean(axis=0)) ** 2).mean() / 2) == pytest.approx(
        sigma * np.sqrt(squares / 2), rel=0.05
    )


def test_pictures_that_are_too_small():
    with pytest.raises(ValueError, match="at least 32 x 36"):
        reduce_picture(np.zeros((31, 40)), (0.0, 0.2))


def test_planes_are_taken_out_and_bends_stay():
    y, x = np.meshgrid(np.arange(4.0), np.array([0.5, 1.5, 2.5 + 4 / 11, 3.5 + 4 / 11]), indexing="ij")
    bend = 0.3 * (x - x.mean()) ** 2
    steep = np.angle(np.exp(1j * (bend + 1.9 * x - 1.1 * y + 0.4)))
    flat = without_plane(steep.ravel()).reshape(4, 4)
    assert np.allclose(flat, bend - bend.mean(), atol=1e-9)
    assert np.allclose(without_plane((2 * x - y).ravel()), 0, atol=1e-9)


def test_a_beam_that_is_not_even_is_allowed_for():
    carrier = (0.0, 0.2)
    u, v = (Y + 0.5) / SHAPE[0] - 0.5, (X + 0.5) / SHAPE[1] - 0.5
    bend = 3.0 * (u**2 + v**2)
    beam = np.exp(-2.5 * ((u + 0.05) ** 2 + (v - 0.04) ** 2))
    seen = reduce_picture(beam * picture(carrier, bend), carrier).phasors
    true = without_plane(region_mean(bend))
    plain = without_plane(np.angle(seen))
    corrected, unsure = fixed_pattern(seen)
    before, after = np.std(plain - true), np.std(corrected - true)
    assert after < before / 4
    assert after < 2 * unsure
    gains = 1 + 0.05 * region_mean(v)
    drawn, _ = undrawn(gains, np.ones(16))
    assert np.allclose(drawn, gains)


def test_the_border_between_the_halves_does_not_count():
    """A half that blurs into the other: seen to be the full step."""
    carrier, step = (0.0, 0.2), 2.0
    blurred = np.where(SHAPE[1] / 2 > X, step, 0.0)
    blurred = gaussian_filter(blurred, (0, 2.4), mode="nearest")
    zero = reduce_picture(picture(carrier), carrier).phasors
    seen = np.angle(reduce_picture(picture(carrier, blurred), carrier).phasors * np.conj(zero))
    assert np.allclose(seen, np.where(halves(), step, 0), atol=5e-4)


def test_complex_arrays():
    values = {"a_re": np.array([1.0]), "a_im": np.array([-2.0])}
    assert complex_of(values, "a")[0] == 1 - 2j
    with pytest.raises(KeyError):
        complex_of(values, "b")
