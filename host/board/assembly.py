"""Measurements put together from their chunks: in order, complete, with the right thresholds, or not at all."""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from host.board import protocol
from host.board.errors import ProtocolViolation, ThresholdMismatch

_SEQUENCES = 1 << 32
_CHUNKS = 256
_BITMAP_BYTES = 32
_DATA_AT = protocol.Measurement.SIZE
# A damaged frame passes a CRC-16 once in 65,536 times, so one wrong measurement is asked for again; several in a row
# are no accident.
_TRIES = 4
_PATIENT_AFTER = 6
# Two codes for each packed byte, the first in the low nibble: read as little-endian u2 they lie in order.
_PAIRS = np.arange(256, dtype="<u2")
_PAIRS = (_PAIRS & 0x0F) | (_PAIRS >> 4) << 8


@dataclass(frozen=True, slots=True)
class Geometry:
    """Cells of a measurement: rows x columns x channels."""

    rows: int
    columns: int
    channels: int

    @property
    def cells(self) -> int:
        """Number of codes."""
        return self.rows * self.columns * self.channels

    @property
    def packed_bytes(self) -> int:
        """Bytes on the wire, two codes in each."""
        return (self.cells + 1) // 2

    def smallest_chunk_bytes(self) -> int:
        """Smallest chunk with which a measurement still fits the protocol's number of chunks."""
        return max(protocol.CHUNK_BYTES_MIN, -(-self.packed_bytes // protocol.CHUNKS_MAX))


@dataclass(frozen=True, slots=True, eq=False)
class BoardMeasurement:
    """Codes uint8 (rows, columns, channels), each 0..15, and what the board says about them.

    `sequence` counts measurements since the board was armed, without gaps; `frame` the sensor's frames;
    `capture_time_us` is on the clock of the sensor or of the recorded scene; `received_s` is the host's monotonic clock
    when the last chunk was there; `thresholds_crc` the CRC-32 of the DAC codes it was made with.
    """

    sequence: int
    frame: int
    capture_time_us: int
    exposure_us: int
    gain_milli: int
    thresholds_crc: int
    received_s: float
    codes: NDArray[np.uint8]

    @property
    def gain(self) -> float:
        """Sensor gain, 1 = none."""
        return self.gain_milli / 1000

    @property
    def thresholds_digest(self) -> str:
        """The thresholds' CRC-32 as 8 hexadecimal digits."""
        return f"{self.thresholds_crc:08x}"


def unpack_codes(packed: bytes, geometry: Geometry) -> NDArray[np.uint8]:
    """Codes uint8 (rows, columns, channels) from packed bytes, low nibble first. ValueError where the size is wrong."""
    if len(packed) != geometry.packed_bytes:
        raise ValueError(f"{len(packed)} packed bytes, expected {geometry.packed_bytes} for {geometry}")
    codes = _PAIRS[np.frombuffer(packed, np.uint8)].view(np.uint8)[: geometry.cells]
    return codes.reshape(geometry.rows, geometry.columns, geometry.channels)


def pack_codes(codes: NDArray[np.uint8]) -> bytes:
    """The packed bytes of codes (any shape, C order, each 0..15): what the board sends. Inverse of `unpack_codes`."""
    flat = np.asarray(codes, np.uint8).ravel()
    padded = np.append(flat, np.uint8(0)) if flat.size % 2 else flat
    return (padded[0::2] | padded[1::2] << 4).astype(np.uint8).tobytes()


@dataclass(slots=True)
class _Partial:
    """One measurement on its way. `chunks[0]` stays empty: chunk 0 is the header."""

    header: protocol.MeasurementHeader | None = None
    chunks: list[bytes | None] = field(default_factory=lambda: [None] * _CHUNKS)
    total: int = 0  # data chunks, known with the header
    have: int = 0
    last_of_pass: int = 0  # the highest chunk that is expected in the present pass; 0 = not known
    pass_over: bool = False
    asked: bool = False
    progress_s: float = 0.0
    fruitless: int = 0  # asked without getting anything new

    def complete(self) -> bool:
        return self.header is not None and self.have == self.total


class Assembler:
    """Takes chunks in any order and gives measurements in the order of their sequence. Time is passed in, seconds."""

    def __init__(self, geometry: Geometry, thresholds_crc: int, window: int) -> None:
        """For a board that was just armed; `window` = how many measurements it keeps at once."""
        self.geometry = geometry
        self.thresholds_crc = thresholds_crc
        self.window = window
        self.next_sequence = 0
        self.chunk_bytes: int | None = None  # of the latest header
        self._partials: dict[int, _Partial] = {}
        self._refused = 0

    def add(self, payload: bytes, now_s: float) -> None:
        """Take the payload of one Measurement message; what is no part of an expected measurement is ignored."""
        if len(payload) < _DATA_AT:
            return
        sequence = int.from_bytes(payload[:4], "little")
        if (sequence - self.next_sequence) % _SEQUENCES >= self.window:
            return
        partial = self._partials.get(sequence)
        if partial is None:
            partial = self._partials[sequence] = _Partial()
        index = payload[4]
        if index == 0:
            self._add_header(partial, sequence, payload[_DATA_AT:])
        elif partial.chunks[index] is None and (partial.header is None or index <= partial.total):
            partial.chunks[index] = payload[_DATA_AT:]
            partial.have += 1
        partial.progress_s = now_s
        partial.fruitless = 0
        if index and index == partial.last_of_pass:
            partial.pass_over = True
        if sequence != self.next_sequence:
            # The board sends the oldest measurement first, so nothing of an older one is under way any more: unless it
            # was asked for a moment ago, then the answer may still come behind this.
            oldest = self._partials.get(self.next_sequence)
            if oldest is not None and not oldest.asked:
                oldest.pass_over = True

    def _add_header(self, partial: _Partial, sequence: int, data: bytes) -> None:
        if partial.header is not None or len(data) != protocol.MeasurementHeader.SIZE:
            return
        header = protocol.MeasurementHeader.unpack(data)
        geometry = self.geometry
        same = (header.rows, header.columns, header.channels) == (geometry.rows, geometry.columns, geometry.channels)
        if not same or header.sequence != sequence or not header.chunk_bytes:
            return
        partial.header = header
        partial.total = partial.last_of_pass = -(-geometry.packed_bytes // header.chunk_bytes)
        if partial.have:
            # Chunks that came before the header may have numbers that it rules out.
            partial.chunks[partial.total + 1 :] = [None] * (_CHUNKS - 1 - partial.total)
            partial.have = sum(chunk is not None for chunk in partial.chunks)
        partial.pass_over = partial.chunks[partial.total] is not None
        self.chunk_bytes = header.chunk_bytes

    def take(self, now_s: float) -> BoardMeasurement | None:
        """The next measurement, or None while it is incomplete.

        Raises ThresholdMismatch where it was made with other thresholds than provisioned, ProtocolViolation where its
        CRC-32 is wrong; both only after the board has sent it several times.
        """
        partial = self._partials.get(self.next_sequence)
        if partial is None or not partial.complete():
            return None
        header = partial.header
        if header is None:
            return None
        packed = b"".join([chunk for chunk in partial.chunks[1 : partial.total + 1] if chunk is not None])
        if header.thresholds_crc != self.thresholds_crc:
            self._refuse()
            if self._refused >= _TRIES:
                raise ThresholdMismatch(
                    f"measurement {self.next_sequence} was made with thresholds {header.thresholds_crc:08x},"
                    f" expected {self.thresholds_crc:08x}"
                )
            return None
        if len(packed) != self.geometry.packed_bytes or zlib.crc32(packed) != header.cells_crc32:
            self._refuse()
            if self._refused >= _TRIES:
                raise ProtocolViolation(
                    f"measurement {self.next_sequence} arrived {_TRIES} times with a wrong CRC-32;"
                    " the board's memory or firmware is at fault: reset it, and run `canopic board selftest`"
                )
            return None
        self._refused = 0
        del self._partials[self.next_sequence]
        sequence = self.next_sequence
        self.next_sequence = (sequence + 1) % _SEQUENCES
        return BoardMeasurement(
            sequence=sequence,
            frame=header.frame,
            capture_time_us=header.capture_time_us,
            exposure_us=header.exposure_us,
            gain_milli=header.gain_milli,
            thresholds_crc=header.thresholds_crc,
            received_s=now_s,
            codes=unpack_codes(packed, self.geometry),
        )

    def _refuse(self) -> None:
        """Forget the measurement that was just refused, so that all of it is asked for again."""
        self._refused += 1
        self._partials[self.next_sequence] = _Partial(pass_over=True)

    def incomplete(self) -> bool:
        """Whether part of a measurement has arrived."""
        return bool(self._partials)

    def missing(self, now_s: float, quiet_s: float) -> Iterator[tuple[int, bytes]]:
        """(sequence, bitmap) of what to ask for again now: bit i % 8 of byte i // 8 is chunk i.

        Asked for once the board has gone through all that it had to send, or nothing came for `quiet_s` seconds (up to
        eight times as long after it was asked often in vain: a board that is busy must not be flooded).
        """
        for sequence, partial in self._partials.items():
            if partial.complete():
                continue
            patience = 1 << min(3, max(0, partial.fruitless - _PATIENT_AFTER))
            quiet = now_s - partial.progress_s >= quiet_s * patience
            if not partial.pass_over and not quiet:
                continue
            bits = 1  # without a header the number of chunks is not known: ask for the header alone
            highest = 0
            if partial.header is not None:
                bits = 0
                for index in range(1, partial.total + 1):
                    if partial.chunks[index] is None:
                        bits |= 1 << index
                        highest = index
            partial.last_of_pass = highest
            partial.pass_over = False
            partial.asked = True
            partial.progress_s = now_s
            partial.fruitless += 1
            yield sequence, bits.to_bytes(_BITMAP_BYTES, "little")

    def ask_for_start(self) -> tuple[int, bytes] | None:
        """(sequence, bitmap) that asks for the next measurement's header; None where some of it is here already."""
        if self.next_sequence in self._partials:
            return None
        return self.next_sequence, (1).to_bytes(_BITMAP_BYTES, "little")
