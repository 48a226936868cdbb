"""What crosses the boundary: whole records come through, and whatever else comes is refused, not believed."""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from host.board.assembly import BoardMeasurement
from host.boundary.errors import WireError
from host.boundary.wire import (
    HEAD,
    OUTWARDS,
    Kind,
    Record,
    Records,
    arrays_of,
    json_of,
    measurement_of,
    packed,
    packed_arrays,
    packed_json,
    packed_measurement,
    short,
)

SHAPE = (3, 5, 3)
CRC = 0x1234ABCD


def measurement(codes: np.ndarray) -> BoardMeasurement:
    return BoardMeasurement(7, 8, 9_000_000, 10_000, 1500, CRC, 0.0, codes)


def taken(data: bytes, pieces: int = 3) -> list[Record]:
    records, found = Records(OUTWARDS), []
    for start in range(0, len(data), pieces):
        records.add(data[start : start + pieces])
        while (record := records.take()) is not None:
            found.append(record)
    return found


@given(codes=arrays.arrays(np.uint8, SHAPE, elements=st.integers(0, 15)), pieces=st.integers(1, 200))
def test_a_measurement_comes_through_in_any_pieces(codes: np.ndarray, pieces: int) -> None:
    data = packed_json(Kind.ABOUT, {"a": 1}) + packed_measurement(measurement(codes))
    about, record = taken(data, pieces)
    assert json_of(about) == {"a": 1}
    got = measurement_of(record, SHAPE, CRC, 5.0)
    assert np.array_equal(got.codes, codes)
    assert (got.sequence, got.frame, got.capture_time_us, got.exposure_us, got.gain) == (7, 8, 9_000_000, 10_000, 1.5)
    assert got.received_s == 5.0


@given(st.binary(max_size=64))
def test_noise_is_refused_or_waited_for_and_never_crashes(data: bytes) -> None:
    records = Records(OUTWARDS)
    records.add(data)
    try:
        while (record := records.take()) is not None:
            json_of(record)
    except WireError:
        return


def test_what_goes_in_may_not_come_out() -> None:
    with pytest.raises(WireError, match="type 64 may not come out here"):
        taken(packed(Kind.SPEC, b"{}"))
    for length in (1 << 20) + 1, 2**32 - 1:
        with pytest.raises(WireError, match="longer than"):
            taken(HEAD.pack(Kind.MEASUREMENT, length))
    measuring = Records(frozenset({Kind.MEASUREMENT}))
    measuring.add(packed_arrays({"frame": np.zeros((480, 640))}))
    with pytest.raises(WireError, match="may not come out here"):
        measuring.take()


@pytest.mark.parametrize("extra", [b"\0", b"x" * 4096])
def test_a_measurement_of_another_size_is_refused(extra: bytes) -> None:
    (record,) = taken(packed_measurement(measurement(np.zeros(SHAPE, np.uint8))), 4096)
    with pytest.raises(WireError, match="bytes, expected"):
        measurement_of(Record(Kind.MEASUREMENT, record.content + extra), SHAPE, CRC, 0.0)
    with pytest.raises(WireError, match="bytes, expected"):
        measurement_of(record, (480, 640, 3), CRC, 0.0)
    with pytest.raises(WireError, match="made with thresholds"):
        measurement_of(record, SHAPE, CRC + 1, 0.0)


def test_a_record_of_a_measurement_holds_four_bits_a_cell_and_no_more() -> None:
    plain = packed_measurement(measurement(np.full(SHAPE, 9, np.uint8)))
    cells = int(np.prod(SHAPE))
    assert len(plain) - HEAD.size <= 28 + (cells + 1) // 2


def test_arrays_come_through_and_only_numbers_do() -> None:
    sent = {"psf": np.arange(12, dtype=np.float32).reshape(3, 2, 2), "count": np.array(3), "bad": np.array([True])}
    head, got = arrays_of(taken(packed_arrays(sent, head={"step": "dark"}), 4096)[0])
    assert head == {"step": "dark"}
    assert set(got) == set(sent)
    assert all(np.array_equal(got[name], sent[name]) and got[name].dtype == sent[name].dtype for name in sent)
    with pytest.raises(WireError, match="not of numbers"):
        arrays_of(taken(packed_arrays({"words": np.array(["a picture"])}), 4096)[0])
    file = io.BytesIO()
    np.savez(file, thing=np.array([{"a": 1}], dtype=object))
    with pytest.raises(WireError, match="no arrays"):
        arrays_of(Record(Kind.STEP, b"\2\0\0\0{}" + file.getvalue()))
    with pytest.raises(WireError, match="no arrays"):
        arrays_of(Record(Kind.STEP, b"\2\0\0\0{}not a zip"))


@given(st.text(max_size=3000))
def test_messages_are_printable_and_short(text: str) -> None:
    said = short(text)
    assert len(said) <= 1000
    assert said.isprintable()
