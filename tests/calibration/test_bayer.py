"""Colour planes of a mosaic, against a loop over its samples."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from calibration.bayer import ORDERS, SITE_OFFSET_PX, mosaic_of, planes, quads, sites

BLACK = (60.0, 64.0, 68.0, 72.0)


def _loop(mosaic: NDArray[np.uint16], order: str, black: tuple[float, ...], white: float) -> NDArray[np.float64]:
    """Sample by sample: each is added to the plane of its colour."""
    rows, columns = mosaic.shape
    total = np.zeros((3, rows // 2, columns // 2))
    count = np.zeros_like(total)
    for row in range(rows):
        for column in range(columns):
            site = 2 * (row % 2) + column % 2
            place = "RGB".index(order[site]), row // 2, column // 2
            total[place] += (int(mosaic[row, column]) - black[site]) / (white - black[site])
            count[place] += 1
    return total / count


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_planes_are_those_of_a_loop_over_the_samples(order: str, dtype: type[np.floating]) -> None:
    mosaic = np.random.default_rng(0).integers(0, 1024, (14, 22), dtype=np.uint16)
    got = planes(mosaic, order, BLACK, 1023, dtype)
    assert got.dtype == dtype
    assert got.shape == (3, 7, 11)
    np.testing.assert_allclose(got, _loop(mosaic, order, BLACK, 1023), atol=1e-6)


def test_black_is_0_white_is_1_and_noise_below_black_stays_below_0() -> None:
    mosaic = np.tile(np.array([[60, 64], [68, 72]], np.uint16), (3, 4))
    np.testing.assert_allclose(planes(mosaic, "RGGB", BLACK, 1023), 0, atol=1e-7)
    np.testing.assert_allclose(planes(np.full((6, 8), 1023, np.uint16), "RGGB", BLACK, 1023), 1, atol=1e-6)
    assert (planes(np.zeros((6, 8), np.uint16), "RGGB", BLACK, 1023) < 0).all(), "and it does not wrap around"


def test_averages_of_exposures_are_taken_as_well() -> None:
    mosaic = np.random.default_rng(1).uniform(60, 1000, (6, 8))
    expected = _loop(np.rint(mosaic * 1000).astype(np.uint32), "GBRG", tuple(1000 * value for value in BLACK), 1.023e6)
    np.testing.assert_allclose(planes(mosaic, "GBRG", BLACK, 1023, np.float64), expected, atol=1e-6)


@given(
    order=st.sampled_from(ORDERS), rows=st.integers(1, 6), columns=st.integers(1, 6), seed=st.integers(0, 99)
)  # fmt: skip
def test_no_colour_reaches_another_ones_plane(order: str, rows: int, columns: int, seed: int) -> None:
    rgb = np.random.default_rng(seed).random((3, rows, columns))
    back = planes(mosaic_of(rgb, order), order, (0, 0, 0, 0), 1, np.float64)
    np.testing.assert_allclose(back, rgb, atol=1e-12)
    for colour in range(3):
        alone = np.zeros_like(rgb)
        alone[colour] = rgb[colour]
        parts = planes(mosaic_of(alone, order), order, (0, 0, 0, 0), 1, np.float64)
        assert not np.delete(parts, colour, axis=0).any()


@pytest.mark.parametrize("order", ORDERS)
def test_every_site_of_a_mosaic_has_its_colour(order: str) -> None:
    rgb = np.arange(3, dtype=np.float32)[:, None, None] + np.zeros((3, 2, 3), np.float32)
    mosaic = mosaic_of(rgb, order)
    assert "".join("RGB"[int(value)] for value in mosaic[:2, :2].ravel()) == order
    out = np.full((4, 6), -1, np.float32)
    assert mosaic_of(rgb, order, out) is out
    np.testing.assert_array_equal(out, mosaic)
    flipped = order[2:] + order[:2]
    np.testing.assert_array_equal(mosaic[::-1], mosaic_of(rgb[:, ::-1], flipped))


def test_quads_are_the_four_sites_row_by_row() -> None:
    mosaic = np.arange(24).reshape(4, 6)
    assert quads(mosaic).tolist() == [
        [[0, 2, 4], [12, 14, 16]], [[1, 3, 5], [13, 15, 17]], [[6, 8, 10], [18, 20, 22]], [[7, 9, 11], [19, 21, 23]],
    ]  # fmt: skip
    for site, part in enumerate(quads(mosaic)):
        np.testing.assert_array_equal(part, mosaic[site // 2 :: 2, site % 2 :: 2])


def test_where_the_sites_lie() -> None:
    # Centres of the four pixels of a quad against the quad's, a quad being one plane pixel wide.
    assert [tuple((index - 0.5) / 2 for index in divmod(site, 2)) for site in range(4)] == list(SITE_OFFSET_PX)
    assert sites(np.zeros((2, 2)), "GBRG") == {"R": [2], "G": [0, 3], "B": [1]}


@pytest.mark.parametrize("shape", [(3, 4), (4, 3), (4,)])
def test_odd_mosaics_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="even number"):
        sites(np.zeros(shape), "RGGB")
    with pytest.raises(ValueError, match="even number"):
        planes(np.zeros(shape), "RGGB", BLACK, 1023)
    with pytest.raises(ValueError, match="even number"):
        quads(np.zeros(shape))


def test_no_order_and_no_span_are_refused() -> None:
    for call in (
        lambda: sites(np.zeros((2, 2)), "RGBG"),
        lambda: planes(np.zeros((2, 2)), "rggb", BLACK, 1023),
        lambda: mosaic_of(np.zeros((3, 2, 2)), "RGBG"),
        lambda: mosaic_of(np.zeros((2, 2, 2)), "RGGB"),
    ):
        with pytest.raises(ValueError, match="RGGB"):
            call()
    with pytest.raises(ValueError, match="below white"):
        planes(np.zeros((2, 2)), "RGGB", BLACK, 72)
