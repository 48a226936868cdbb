"""Frames on the wire: COBS and CRC-16, as pure functions over bytes.

A frame is COBS(type u8 | sequence u16 | payload | crc16 u16) followed by 0x00, little endian. COBS: Cheshire and Baker,
"Consistent overhead byte stuffing", IEEE/ACM Trans. Networking 7(2), 1999, doi:10.1109/90.769765. The CRC is
CRC-16/CCITT-FALSE (polynomial 0x1021, initial value 0xFFFF, not reflected).
"""

import binascii
import struct

_HEAD = struct.Struct("<BH")
_CRC = struct.Struct("<H")
_LONGEST_BLOCK = 254  # a COBS block holds at most 254 bytes that are not zero; its code is then 255
_ZEROS = b"\x01" * 8
FRAME_OVERHEAD = _HEAD.size + _CRC.size

WireFrame = tuple[int, int, bytes]
"""(type, sequence, payload)."""


def crc16(data: bytes) -> int:
    """CRC-16/CCITT-FALSE of `data` (check value of b"123456789": 0x29B1)."""
    return binascii.crc_hqx(data, 0xFFFF)


def cobs_encode(data: bytes) -> bytes:
    """`data` with its zero bytes coded away; the delimiter is not part of the result."""
    out = bytearray()
    parts = data.split(b"\x00")
    for index, part in enumerate(parts):
        start = 0
        while len(part) - start >= _LONGEST_BLOCK:
            out.append(_LONGEST_BLOCK + 1)
            out += part[start : start + _LONGEST_BLOCK]
            start += _LONGEST_BLOCK
        # After a full block at the very end a code would say nothing: the end of the frame already does.
        if start < len(part) or start == 0 or index < len(parts) - 1:
            out.append(len(part) - start + 1)
            out += part[start:]
    return bytes(out)


def cobs_decode(data: bytes) -> bytes | None:
    """What `cobs_encode` coded into `data` (without delimiter), or None where `data` is no COBS.

    Codes are followed in place and overwritten with the zeros that they stand for, so the cost is one step for each
    zero byte (or run of them) of the result and not one for each byte.
    """
    out = bytearray(data)
    end = len(out)
    position = 0
    full_blocks: list[int] = []
    while position < end:
        code = out[position]
        if code == 0:
            return None
        if code == 1 and data.startswith(_ZEROS, position):
            # A run of zeros (a dark scene) is a run of ones here, all of them codes: taken in one step.
            rest = data[position:]
            run = len(rest) - len(rest.lstrip(b"\x01"))
            out[position : position + run] = bytes(run)
            position += run
            continue
        out[position] = 0
        position += code
        if code == _LONGEST_BLOCK + 1:
            full_blocks.append(position)
    if position != end or end == 0:
        return None
    for following in reversed(full_blocks):
        if following < end:
            del out[following]  # no zero stands after a full block
    return bytes(memoryview(out)[1:])


def encode_frame(kind: int, sequence: int, payload: bytes = b"") -> bytes:
    """One frame, delimiter included. `kind` 0..255, `sequence` 0..65535 (struct.error otherwise)."""
    body = _HEAD.pack(kind, sequence) + payload
    return cobs_encode(body + _CRC.pack(crc16(body))) + b"\x00"


def decode_body(body: bytes) -> WireFrame | None:
    """(type, sequence, payload) of a COBS-decoded frame, or None where it is too short or its CRC is wrong."""
    if len(body) < FRAME_OVERHEAD:
        return None
    end = len(body) - _CRC.size
    if binascii.crc_hqx(memoryview(body)[:end], 0xFFFF) != body[end] | body[end + 1] << 8:
        return None
    return body[0], body[1] | body[2] << 8, body[_HEAD.size : end]


def longest_encoded_frame(max_payload: int) -> int:
    """Most bytes that a frame with `max_payload` bytes takes on the wire, without its delimiter."""
    length = max_payload + FRAME_OVERHEAD
    return length + 1 + (length - 1) // _LONGEST_BLOCK
