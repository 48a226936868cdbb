"""The golden vectors, replayed in Python: the same file that the C tests replay."""

import dataclasses
import zlib
from pathlib import Path

import pytest

from host.board import protocol
from host.board.framing import cobs_decode, cobs_encode, crc16, decode_body, encode_frame

VECTORS = Path(__file__).resolve().parents[2] / "firmware" / "golden_vectors.txt"


def vectors(*kinds: str) -> list[list[str]]:
    """The words of every vector of these kinds."""
    lines = [line.split() for line in VECTORS.read_text().splitlines() if line and not line.startswith("#")]
    return [words for words in lines if words[0] in kinds]


def octets(text: str) -> bytes:
    return b"" if text == "-" else bytes.fromhex(text)


def as_text(value: object) -> str:
    if isinstance(value, bytes):
        return value.hex()
    return ",".join(str(item) for item in value) if isinstance(value, tuple) else str(value)


def test_every_kind_has_vectors() -> None:
    kinds = ("cobs", "cobs-bad", "crc16", "crc32", "pack", "message", "frame", "frame-bad")
    assert all(len(vectors(kind)) >= 4 for kind in kinds)
    assert len(vectors(*kinds)) == len([w for w in VECTORS.read_text().splitlines() if w and w[0] != "#"])


@pytest.mark.parametrize("words", vectors("cobs"), ids=lambda words: words[1][:16])
def test_cobs(words: list[str]) -> None:
    assert cobs_encode(octets(words[1])) == octets(words[2])
    assert cobs_decode(octets(words[2])) == octets(words[1])


@pytest.mark.parametrize("words", vectors("cobs-bad"), ids=lambda words: words[1])
def test_cobs_refuses(words: list[str]) -> None:
    encoded = octets(words[1])
    # The host splits at delimiters first, so what it decodes never contains one.
    pieces = [piece for piece in encoded.split(b"\0") if piece]
    assert all(len(piece) < len(encoded) or cobs_decode(piece) is None for piece in pieces)


@pytest.mark.parametrize("words", vectors("crc16", "crc32"), ids=lambda words: f"{words[0]} {words[1][:18]}")
def test_crc(words: list[str]) -> None:
    computed = crc16(octets(words[1])) if words[0] == "crc16" else zlib.crc32(octets(words[1]))
    assert computed == int(words[2], 16)


@pytest.mark.parametrize("words", vectors("message"), ids=lambda words: words[1])
def test_messages(words: list[str]) -> None:
    message = getattr(protocol, words[1]).unpack(octets(words[2]))
    fields = {field.name: as_text(getattr(message, field.name)) for field in dataclasses.fields(message)}
    assert [f"{name}={value}" for name, value in fields.items()] == words[3:]
    assert message.pack() == octets(words[2])


def test_every_message_has_a_vector() -> None:
    messages = {*protocol.FROM_HOST.values(), *protocol.FROM_BOARD.values(), protocol.MeasurementHeader}
    assert {message.__name__ for message in messages} <= {words[1] for words in vectors("message")}


@pytest.mark.parametrize("words", vectors("frame"), ids=lambda words: f"{words[1]}-{words[2]}")
def test_frames(words: list[str]) -> None:
    kind, sequence, payload, wire = int(words[1], 16), int(words[2]), octets(words[3]), octets(words[4])
    assert encode_frame(kind, sequence, payload) == wire
    body = cobs_decode(wire[:-1])
    assert body is not None
    assert decode_body(body) == (kind, sequence, payload)


@pytest.mark.parametrize("words", vectors("frame-bad"), ids=lambda words: words[1][:16])
def test_damaged_frames(words: list[str]) -> None:
    wire = octets(words[1])
    assert wire.count(0) == 1
    assert wire.endswith(b"\0")
    body = cobs_decode(wire[:-1])
    frame = None if body is None else decode_body(body)
    assert frame is None or len(frame[2]) > protocol.MAX_PAYLOAD


@pytest.mark.parametrize("words", vectors("pack"), ids=lambda words: words[1])
def test_packed_codes(words: list[str]) -> None:
    packed = octets(words[2])
    codes = [nibble for byte in packed for nibble in (byte & 0xF, byte >> 4)]
    assert codes[: len(words[1])] == [int(digit, 16) for digit in words[1]]
    assert codes[len(words[1]) :] == [0] * (2 * len(packed) - len(words[1]))
