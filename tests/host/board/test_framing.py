"""COBS and CRC-16 against independent, slow references and published vectors."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from host.board.framing import (
    cobs_decode,
    cobs_encode,
    crc16,
    decode_body,
    encode_frame,
    longest_encoded_frame,
)


def reference_cobs(data: bytes) -> bytes:
    """Byte by byte, with a phantom zero at the end: the paper's description, written without any shortcut."""
    out, block = bytearray(), bytearray()
    for byte in data + b"\x00":
        if byte:
            block.append(byte)
            if len(block) == 254:
                out += b"\xff" + block
                block = bytearray()
                just_full = True
                continue
        else:
            out += bytes([len(block) + 1]) + block
            block = bytearray()
        just_full = False
    # The phantom zero after a full last block would be coded as 0x01: left out, as nothing follows it.
    ends_full = len(data) >= 254 and 0 not in data[-254:] and _run_of_nonzero(data) % 254 == 0
    assert not just_full
    return bytes(out[:-1]) if ends_full else bytes(out)


def _run_of_nonzero(data: bytes) -> int:
    return len(data) - (data.rfind(b"\x00") + 1)


def reference_crc16(data: bytes) -> int:
    """Bit by bit: polynomial x^16 + x^12 + x^5 + 1, initial value all ones."""
    remainder = 0xFFFF
    for byte in data:
        for bit in range(7, -1, -1):
            top = (remainder >> 15) ^ ((byte >> bit) & 1)
            remainder = ((remainder << 1) & 0xFFFF) ^ (0x1021 if top else 0)
    return remainder


sparse_bytes = st.one_of(
    st.binary(max_size=700),
    st.lists(st.sampled_from([0, 0, 1, 255]), max_size=700).map(bytes),
    st.lists(st.tuples(st.integers(0, 3), st.integers(250, 258)), max_size=4).map(
        lambda runs: b"".join(b"\x00" * zeros + b"\x07" * length for zeros, length in runs)
    ),
)


@pytest.mark.parametrize(
    ("data", "encoded"),
    [
        (b"", "01"),
        (b"\x00", "0101"),
        (b"\x00\x00", "010101"),
        (b"\x00\x11\x00", "01021101"),
        (bytes.fromhex("11220033"), "0311220233"),
        (bytes.fromhex("11223344"), "0511223344"),
        (bytes.fromhex("11000000"), "0211010101"),
        (bytes(range(1, 255)), "ff" + bytes(range(1, 255)).hex()),
        (bytes(range(255)), "01ff" + bytes(range(1, 255)).hex()),
        (bytes(range(1, 256)), "ff" + bytes(range(1, 255)).hex() + "02ff"),
        (bytes(range(2, 256)) + b"\x00", "ff" + bytes(range(2, 256)).hex() + "0101"),
        (bytes(range(3, 256)) + b"\x00\x01", "fe" + bytes(range(3, 256)).hex() + "0201"),
    ],
)
def test_published_cobs_vectors(data: bytes, encoded: str) -> None:
    assert cobs_encode(data).hex() == encoded
    assert cobs_decode(bytes.fromhex(encoded)) == data


@given(sparse_bytes)
def test_cobs_equals_the_reference_and_comes_back(data: bytes) -> None:
    encoded = cobs_encode(data)
    assert encoded == reference_cobs(data)
    assert 0 not in encoded
    assert len(encoded) <= longest_encoded_frame(max(0, len(data) - 5)) or len(data) < 5
    assert cobs_decode(encoded) == data


@given(st.binary(max_size=700))
def test_any_bytes_decode_to_something_or_nothing(data: bytes) -> None:
    decoded = cobs_decode(data)
    assert decoded is None or len(decoded) < len(data)


@pytest.mark.parametrize("damaged", [b"", b"\x00", b"\x05\x01\x02", b"\x02\x01\x00\x01", b"\xff\x01"])
def test_what_is_no_cobs_is_refused(damaged: bytes) -> None:
    assert cobs_decode(damaged) is None


def test_crc16_check_value() -> None:
    assert crc16(b"123456789") == 0x29B1


@given(st.binary(max_size=100))
def test_crc16_equals_the_bitwise_reference(data: bytes) -> None:
    assert crc16(data) == reference_crc16(data)


@given(st.integers(0, 255), st.integers(0, 65535), st.binary(max_size=512))
def test_a_frame_comes_back(kind: int, sequence: int, payload: bytes) -> None:
    encoded = encode_frame(kind, sequence, payload)
    assert encoded.count(0) == 1
    assert encoded.endswith(b"\x00")
    assert len(encoded) - 1 <= longest_encoded_frame(len(payload))
    body = cobs_decode(encoded[:-1])
    assert body is not None
    assert decode_body(body) == (kind, sequence, payload)


@given(st.integers(0, 255), st.integers(0, 65535), st.binary(max_size=64), st.data())
def test_one_or_two_flipped_bits_are_always_noticed(
    kind: int, sequence: int, payload: bytes, data: st.DataObject
) -> None:
    body = cobs_decode(encode_frame(kind, sequence, payload)[:-1])
    assert body is not None
    flips = data.draw(st.lists(st.integers(0, len(body) * 8 - 1), min_size=1, max_size=2, unique=True))
    damaged = bytearray(body)
    for bit in flips:
        damaged[bit // 8] ^= 1 << bit % 8
    assert decode_body(bytes(damaged)) is None


@pytest.mark.parametrize("short", [b"", b"\x01", b"\x01\x02\x03\x04"])
def test_short_bodies_are_refused(short: bytes) -> None:
    assert decode_body(short) is None
