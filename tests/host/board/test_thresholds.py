"""Fractions of full scale to DAC codes and back."""

import re
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from host.board import protocol
from host.board.thresholds import (
    TRIM_MAX,
    BoardThresholds,
    checked_trims,
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
    assert thresholds_crc32(codes) == zlib.crc32(wire + bytes(30))
    assert thresholds_digest(codes) == f"{zlib.crc32(wire + bytes(30)):08x}"
    assert re.fullmatch("[0-9a-f]{8}", thresholds_digest(codes))
    trims = np.arange(15) * 50
    both = wire + b"".join(int(trim).to_bytes(2, "little", signed=True) for trim in trims)
    assert thresholds_digest(codes, trims) == f"{zlib.crc32(both):08x}"
    assert thresholds_digest(codes + trims) != thresholds_digest(codes, trims)  # the same sums, another meaning


@given(
    st.lists(st.integers(2000, 60000), min_size=15, max_size=15).map(sorted),
    st.lists(st.integers(-TRIM_MAX, TRIM_MAX), min_size=15, max_size=15),
)
def test_what_was_read_back_gives_the_wanted_codes_again(codes: list[int], trims: list[int]) -> None:
    added = checked_trims(codes, trims)
    assert added.dtype == np.int16
    assert added.tolist() == trims
    sums = (np.array(codes) + trims).astype(np.uint16)
    found = BoardThresholds(sums, added, thresholds_crc32(codes, trims))
    assert found.dac_codes.tolist() == codes
    assert found.digest == thresholds_digest(found.dac_codes, found.trims)


def test_trims_are_limited_as_on_the_board() -> None:
    assert TRIM_MAX == protocol.TRIM_MAX
    assert checked_trims(np.arange(15), None).tolist() == [0] * 15
    middle = np.full(15, 30000)
    for trims, message in [
        (np.zeros(14, int), r"15 whole trims, not shape \(14,\)"),
        (np.zeros(15), "whole trims"),
        (np.eye(15, dtype=int)[4] * 1312, r"trim 4 is 1312; .* up to 1311 DAC codes either way \(50 mV\)"),
        (np.eye(15, dtype=int)[4] * -1312, "trim 4 is -1312"),
    ]:
        with pytest.raises(ValueError, match=message):
            checked_trims(middle, trims)
    for code, trim in ((100, -101), (65000, 536)):
        codes, trims = np.full(15, code), np.eye(15, dtype=int)[7] * trim
        with pytest.raises(ValueError, match=f"threshold 7 with its trim {trim} is DAC code {code + trim}"):
            checked_trims(codes, trims)
        assert checked_trims(codes, trims - np.sign(trims))[7] == trim - np.sign(trim)


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
