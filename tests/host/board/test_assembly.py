"""Chunks to measurements, without a board: any order, duplicates, losses, forgeries."""

import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from host.board import protocol
from host.board.assembly import Assembler, Geometry, pack_codes, unpack_codes
from host.board.errors import ProtocolViolation, ThresholdMismatch

CRC = 0xDEADBEEF
GEOMETRY = Geometry(6, 11, 3)
WINDOW = 4


def chunks_of(
    sequence: int,
    codes: NDArray[np.uint8],
    chunk_bytes: int = 32,
    thresholds_crc: int = CRC,
    cells_crc32: int | None = None,
) -> list[bytes]:
    """Payloads of every Measurement message of one measurement, header first."""
    packed = pack_codes(codes)
    header = protocol.MeasurementHeader(
        sequence=sequence,
        frame=(100 + sequence) % 2**32,
        capture_time_us=5_000_000_000 + sequence,
        exposure_us=8000,
        gain_milli=1500,
        rows=codes.shape[0],
        columns=codes.shape[1],
        channels=codes.shape[2],
        chunk_bytes=chunk_bytes,
        thresholds_crc=thresholds_crc,
        cells_crc32=zlib.crc32(packed) if cells_crc32 is None else cells_crc32,
    )
    data = [header.pack()] + [packed[at : at + chunk_bytes] for at in range(0, len(packed), chunk_bytes)]
    return [protocol.Measurement(sequence, index, piece).pack() for index, piece in enumerate(data)]


def random_codes(seed: int) -> NDArray[np.uint8]:
    shape = (GEOMETRY.rows, GEOMETRY.columns, GEOMETRY.channels)
    return np.random.default_rng(seed).integers(0, 16, shape, dtype=np.uint8)


def indices(bitmap: bytes) -> list[int]:
    return [index for index in range(256) if bitmap[index // 8] >> index % 8 & 1]


@given(st.integers(1, 5), st.integers(1, 9), st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_packing_comes_back(rows: int, columns: int, channels: int, seed: int) -> None:
    codes = np.random.default_rng(seed).integers(0, 16, (rows, columns, channels), dtype=np.uint8)
    packed = pack_codes(codes)
    assert len(packed) == (codes.size + 1) // 2
    assert packed[0] & 15 == codes.ravel()[0]
    np.testing.assert_array_equal(unpack_codes(packed, Geometry(rows, columns, channels)), codes)
    with pytest.raises(ValueError, match="packed bytes, expected"):
        unpack_codes(packed + b"\0", Geometry(rows, columns, channels))


def test_packing_equals_the_firmwares_golden_vectors() -> None:
    lines = (Path(__file__).parents[3] / "firmware" / "golden_vectors.txt").read_text().splitlines()
    vectors = [line.split() for line in lines if line.startswith("pack ")]
    assert vectors
    for _, digits, packed in vectors:
        codes = np.array([int(digit, 16) for digit in digits], np.uint8)
        assert pack_codes(codes).hex() == packed
        assert unpack_codes(bytes.fromhex(packed), Geometry(1, 1, codes.size)).ravel().tolist() == codes.tolist()


@given(st.data())
def test_any_order_with_losses_and_duplicates_ends_in_order(data: st.DataObject) -> None:
    wanted = [random_codes(seed) for seed in range(3)]
    every = {number: chunks_of(number, codes) for number, codes in enumerate(wanted)}
    sent = [payload for payloads in every.values() for payload in payloads]
    arriving = data.draw(st.lists(st.sampled_from(sent), max_size=3 * len(sent)))
    assembler = Assembler(GEOMETRY, CRC, WINDOW)
    got = []
    now_s = 0.0
    for round_number in range(20):
        for payload in arriving:
            assembler.add(payload, now_s)
        while (measurement := assembler.take(now_s)) is not None:
            got.append(measurement)
        if len(got) == len(wanted):
            break
        # What is asked for is what is missing, and all of it is sent: so every round brings it closer.
        now_s += 1.0
        asked = list(assembler.missing(now_s, 0.01))
        if (start := assembler.ask_for_start()) is not None:
            asked.append(start)
        arriving = [every[number][index] for number, bitmap in asked for index in indices(bitmap) if number in every]
        assert arriving, round_number
    assert [measurement.sequence for measurement in got] == [0, 1, 2]
    for measurement, codes in zip(got, wanted, strict=True):
        np.testing.assert_array_equal(measurement.codes, codes)
        assert measurement.frame == 100 + measurement.sequence
        assert measurement.gain == 1.5


@given(st.lists(st.binary(max_size=60), max_size=40))
def test_any_payload_is_survived(payloads: list[bytes]) -> None:
    assembler = Assembler(GEOMETRY, CRC, WINDOW)
    for payload in payloads:
        assembler.add(payload, 0.0)
        assembler.add((0).to_bytes(4, "little") + payload, 0.0)
        assert assembler.take(0.0) is None
        list(assembler.missing(1.0, 0.01))


def test_only_the_missing_chunks_are_asked_for() -> None:
    assembler = Assembler(GEOMETRY, CRC, WINDOW)
    payloads = chunks_of(0, random_codes(1))
    for index, payload in enumerate(payloads):
        if index not in (2, 3):
            assembler.add(payload, 0.0)
    [(sequence, bitmap)] = assembler.missing(0.0, 0.01)  # at once: the last chunk was there, so the pass is over
    assert (sequence, indices(bitmap)) == (0, [2, 3])
    assert not list(assembler.missing(0.005, 0.01))
    assert [indices(bitmap) for _, bitmap in assembler.missing(0.02, 0.01)] == [[2, 3]]


def test_measurements_outside_the_window_are_ignored() -> None:
    assembler = Assembler(GEOMETRY, CRC, WINDOW)
    for payload in chunks_of(WINDOW, random_codes(1)) + chunks_of(2**32 - 1, random_codes(1)):
        assembler.add(payload, 0.0)
    assert not assembler.incomplete()


@pytest.mark.parametrize(
    ("forged", "error", "message"),
    [
        ({"thresholds_crc": CRC ^ 1}, ThresholdMismatch, "made with thresholds deadbeee, expected deadbeef"),
        ({"cells_crc32": 1}, ProtocolViolation, "4 times with a wrong CRC-32"),
    ],
)
def test_a_wrong_measurement_is_asked_for_again_and_then_refused(
    forged: dict[str, int], error: type[Exception], message: str
) -> None:
    assembler = Assembler(GEOMETRY, CRC, WINDOW)
    payloads = chunks_of(0, random_codes(1), **forged)
    for _ in range(3):
        for payload in payloads:
            assembler.add(payload, 0.0)
        assert assembler.take(0.0) is None
        assert list(assembler.missing(1.0, 0.01))
    for payload in payloads:
        assembler.add(payload, 0.0)
    with pytest.raises(error, match=message):
        assembler.take(0.0)


def test_one_wrong_copy_does_no_harm() -> None:
    assembler = Assembler(GEOMETRY, CRC, WINDOW)
    codes = random_codes(1)
    for payload in chunks_of(0, codes, thresholds_crc=CRC ^ 1):
        assembler.add(payload, 0.0)
    assert assembler.take(0.0) is None
    for payload in chunks_of(0, codes):
        assembler.add(payload, 0.0)
    measurement = assembler.take(0.0)
    assert measurement is not None
    np.testing.assert_array_equal(measurement.codes, codes)


def test_geometry_knows_its_smallest_chunk() -> None:
    assert Geometry(60, 80, 3).smallest_chunk_bytes() == 32
    assert Geometry(60, 80, 12).smallest_chunk_bytes() == 113
    assert -(-Geometry(60, 80, 12).packed_bytes // 113) <= protocol.CHUNKS_MAX
