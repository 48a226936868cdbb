"""Fractions of full scale to DAC codes and back."""

import re
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from host.board.thresholds import (
    dac_codes_to_bytes,
    dac_codes_to_fractions,
    dac_codes_to_volts,
    effective_levels,
    thresholds_crc32,
    thresholds_digest,
    thresholds_to_dac_codes,
)

ascending = (
    st.lists(st.floats(0, 1, width=32), min_size=15, max_size=15)
    .map(sorted)
    .map(lambda x: np.array(x, dtype=np.float32))
)


@given(ascending)
def test_codes_ascend_and_lie_within_half_a_step(thresholds: NDArray[np.float32]) -> None:
    codes = thresholds_to_dac_codes(thresholds)
    assert codes.dtype == np.uint16
    assert codes.shape == (15,)
    assert (np.diff(codes.astype(int)) >= 0).all()
    assert np.abs(codes / 65535 - thresholds.astype(np.float64)).max() <= 0.5 / 65535
    assert 2 <= effective_levels(codes) <= len(np.unique(thresholds)) + 1


@given(st.lists(st.integers(0, 65535), min_size=15, max_size=15).map(sorted))
def test_fractions_give_the_same_codes_back(codes: list[int]) -> None:
    fractions = dac_codes_to_fractions(np.array(codes, dtype=np.uint16))
    assert fractions.dtype == np.float32
    assert thresholds_to_dac_codes(fractions).tolist() == codes


def test_ends_of_the_scale() -> None:
    codes = thresholds_to_dac_codes([0.0] * 7 + [0.5] + [1.0] * 7)
    assert codes.tolist() == [0] * 7 + [32768] + [65535] * 7
    assert dac_codes_to_volts([0, 65535]).tolist() == [0.0, 2.5]
    assert effective_levels(codes) == 4


def test_thresholds_closer_than_a_step_collapse() -> None:
    thresholds = np.full(15, 0.5) + np.arange(15) * 1e-7
    assert effective_levels(thresholds_to_dac_codes(thresholds)) == 2


def test_digest_is_the_crc_of_the_wire_bytes() -> None:
    codes = np.arange(15, dtype=np.uint16) * 4000
    wire = b"".join(int(code).to_bytes(2, "little") for code in codes)
    assert dac_codes_to_bytes(codes) == wire
    assert thresholds_crc32(codes) == zlib.crc32(wire)
    assert thresholds_digest(codes) == f"{zlib.crc32(wire):08x}"
    assert re.fullmatch("[0-9a-f]{8}", thresholds_digest(codes))


@pytest.mark.parametrize(
    ("thresholds", "message"),
    [
        (np.linspace(0, 1, 14), r"shape \(15,\), not \(14,\)"),
        (np.linspace(0, 1, 15)[::-1], "threshold 1 .* is below threshold 0 .* ascend"),
        (np.linspace(0, 1.5, 15), "threshold 10 is 1.07143; .* divide volts by 2.5"),
        (np.linspace(-0.1, 1, 15), "threshold 0 is -0.1"),
        (np.full(15, np.nan), "threshold 0 is nan"),
    ],
)
def test_bad_thresholds_say_what_to_do(thresholds: NDArray[np.float64], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        thresholds_to_dac_codes(thresholds)


@pytest.mark.parametrize("codes", [np.zeros(15), np.zeros(14, int), np.full(15, 65536), np.full(15, -1)])
def test_bad_codes_are_refused(codes: NDArray[np.int64]) -> None:
    with pytest.raises(ValueError, match="DAC codes"):
        dac_codes_to_bytes(codes)
