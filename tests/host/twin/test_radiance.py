"""The sRGB curve and the fit to the sensor plane."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from host.twin.radiance import fit, linear_from_srgb, linear_table, linearize, rgb_from_bgr


def test_curve_has_the_values_of_the_standard() -> None:
    # IEC 61966-2-1: linear below 0.04045, a power of 2.4 above, and 1 stays 1; 0.5 is the well-known 0.21404.
    values = linear_from_srgb(np.array([0.0, 0.04045, 0.5, 1.0]))
    np.testing.assert_allclose(values, [0.0, 0.04045 / 12.92, 0.2140411, 1.0], atol=1e-7)


def test_curve_inverts_the_encoding() -> None:
    linear = np.linspace(0, 1, 1001)
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    np.testing.assert_allclose(linear_from_srgb(encoded), linear, atol=1e-6)


def test_table_is_the_curve_and_cannot_be_changed() -> None:
    np.testing.assert_array_equal(linear_table(), linear_from_srgb(np.arange(256) / 255).astype(np.float32))
    with pytest.raises(ValueError, match="read-only"):
        linear_table()[0] = 1


def test_linearize_keeps_shape_and_order() -> None:
    picture = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3) * 10
    linear = linearize(picture)
    assert linear.dtype == np.float32
    np.testing.assert_array_equal(linear, linear_table()[picture])


def test_bgr_becomes_rgb() -> None:
    np.testing.assert_array_equal(rgb_from_bgr(np.array([[[1, 2, 3]]], np.uint8)), [[[3, 2, 1]]])


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 90), st.integers(1, 90), st.integers(8, 64), st.integers(8, 64))
def test_fit_keeps_aspect_centres_and_leaves_the_rest_black(height: int, width: int, rows: int, columns: int) -> None:
    plane = fit(np.ones((height, width, 3), np.float32), rows, columns)
    assert plane.shape == (rows, columns, 3)
    assert plane.dtype == np.float32
    lit = plane[:, :, 0] > 0.5
    lit_rows, lit_columns = np.flatnonzero(lit.any(axis=1)), np.flatnonzero(lit.any(axis=0))
    # One of the two sides is filled; the other follows the aspect ratio to a pixel; margins differ by one at most.
    scale = min(rows / height, columns / width)
    assert abs(lit_rows.size - max(1, height * scale)) <= 1
    assert abs(lit_columns.size - max(1, width * scale)) <= 1
    assert lit_rows.size == rows or lit_columns.size == columns
    assert abs((rows - 1 - lit_rows[-1]) - lit_rows[0]) <= 1
    assert abs((columns - 1 - lit_columns[-1]) - lit_columns[0]) <= 1
    np.testing.assert_allclose(plane[lit], 1, atol=1e-6)


def test_shrinking_keeps_the_mean_light() -> None:
    rng = np.random.default_rng(0)
    linear = rng.random((96, 128, 3), dtype=np.float32)
    np.testing.assert_allclose(fit(linear, 48, 64).mean(), linear.mean(), rtol=1e-5)
    np.testing.assert_allclose(fit(linear, 48, 64)[0, 0], linear[:2, :2].mean(axis=(0, 1)), rtol=1e-5)


def test_a_picture_of_the_right_size_is_left_alone() -> None:
    linear = np.random.default_rng(0).random((8, 8, 3), dtype=np.float32)
    assert fit(linear, 8, 8) is linear
