"""Codes inside the boundary: equal to the encoder's own arithmetic on the same mosaic, in memory that is zero after."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from calibration.bayer import ORDERS, planes
from host.board.thresholds import DAC_FULL_SCALE, dac_codes_to_volts, thresholds_to_dac_codes
from host.boundary.measuring import Measuring, NotMeasurable, digital, levels_of
from host.camera.about import Exposed
from optics.bundle import Attachment, Bundle
from optics.encoding import Encoding

THRESHOLDS = np.linspace(0.05, 0.95, 15, dtype=np.float32)
BLACK, WHITE = (60.0, 64.0, 66.0, 70.0), 1023


def bundle(
    kernels: NDArray[np.float32] | None = None, gains: list[float] | None = None, range_: str = "fixed"
) -> Bundle:
    taps = np.full((1, 3, 3), 1 / 9, np.float32) if kernels is None else kernels
    calibration = None if gains is None else Attachment({"psf": {"gains": gains}})
    encoding = Encoding(taps, THRESHOLDS, 4, range_)  # type: ignore[arg-type]
    return Bundle(encoding, rows_px=10, columns_px=16, calibration=calibration)


def about(bayer: str = "RGGB") -> Exposed:
    return Exposed(0, 0.0, 10_000, 1.0, BLACK, WHITE, bayer)


def expected(mosaic: NDArray[np.uint16], bayer: str, gains: tuple[float, float, float]) -> NDArray[np.uint8]:
    """Cell by cell, in float64, as the board counts: the number of thresholds (volts of DAC codes) at or below."""
    rgb = planes(mosaic, bayer, BLACK, WHITE, np.float64) * np.array(gains)[:, np.newaxis, np.newaxis]
    top, left = (rgb.shape[1] - 10) // 2, (rgb.shape[2] - 16) // 2
    volts = dac_codes_to_volts(thresholds_to_dac_codes(THRESHOLDS))
    codes = np.zeros((2, 4, 3), np.uint8)
    for row, column, colour in np.ndindex(codes.shape):
        down, right = top + 4 * row, left + 4 * column
        value = rgb[colour, down : down + 4, right : right + 4].max() * 2.5
        codes[row, column, colour] = np.count_nonzero(volts <= value)
    return codes


@given(
    seed=st.integers(0, 2**32 - 1),
    bayer=st.sampled_from(ORDERS),
    extra=st.tuples(st.integers(0, 5), st.integers(0, 5)),
    gains=st.sampled_from([None, [1.0, 1.3, 2.5]]),
)
@settings(deadline=None)
def test_codes_are_those_of_the_definition(
    seed: int, bayer: str, extra: tuple[int, int], gains: list[float] | None
) -> None:
    shape = (2 * (10 + extra[0]), 2 * (16 + extra[1]))
    mosaic = np.random.default_rng(seed).integers(0, WHITE + 1, shape).astype(np.uint16)
    # Mostly dark, so that the maximum of a cell lies anywhere in the range.
    mosaic[np.random.default_rng(seed + 1).random(shape) < 0.9] = 64
    made = bundle(gains=gains)
    measuring = Measuring(made, digital(made))
    codes = measuring.codes(mosaic, about(bayer))
    red, green, blue = gains or (1.0, 1.0, 1.0)
    wanted = expected(mosaic, bayer, (red, green, blue))
    # A value within rounding of a threshold may fall on either side of it.
    assert np.count_nonzero(codes != wanted) <= 1
    assert codes.dtype == np.uint8
    assert measuring.empty


def test_nothing_of_a_frame_is_left_after_an_error_either() -> None:
    made = bundle()
    seen: list[float] = []

    def broken(cells: NDArray[np.float32]) -> NDArray[np.uint8]:
        seen.append(float(cells.max()))
        raise RuntimeError("the board is gone")

    measuring = Measuring(made, broken)
    mosaic = np.full((20, 32), 1000, np.uint16)
    with pytest.raises(RuntimeError, match="the board is gone"):
        measuring.codes(mosaic, about())
    assert seen[0] > 0.9  # there was something to wipe
    assert measuring.empty
    with pytest.raises(NotMeasurable, match="8 x 16 pixels, the bundle needs 10 x 16"):
        measuring.codes(mosaic[:16], about())
    assert measuring.empty


def test_levels_are_codes_of_the_boards_dac() -> None:
    cells = np.array([-0.1, 0.0, 0.5, 1.0, 1.2], np.float32)
    levels = levels_of(cells)
    assert levels.dtype == np.uint16
    assert levels.tolist() == [0, 0, round(0.5 * DAC_FULL_SCALE), DAC_FULL_SCALE, DAC_FULL_SCALE]


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (lambda: bundle(range_="per_frame"), "full scale would tell"),
        (lambda: bundle(np.full((2, 3, 3), 1 / 9, np.float32)), "2 filters, which need as many masks"),
        (lambda: bundle(np.array([[[-0.5, 1.0]]], np.float32)), "cannot take light away"),
        (lambda: bundle(np.array([[[0.9, 0.9]]], np.float32)), "passes more than all light"),
    ],
)
def test_what_one_camera_behind_one_mask_cannot_be_is_refused(made, reason) -> None:  # type: ignore[no-untyped-def]
    refused = made()
    with pytest.raises(NotMeasurable, match=reason):
        Measuring(refused, digital(refused))
