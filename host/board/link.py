"""Frames over a serial port: cuts the byte stream at its delimiters, drops what is damaged and counts it."""

from dataclasses import dataclass
from pathlib import Path

from host.board.deadline import Deadline
from host.board.framing import WireFrame, cobs_decode, decode_body, encode_frame, longest_encoded_frame
from host.board.transport import DEFAULT_BAUD, SerialTransport, open_when_there

_DRAIN_QUIET_S = 0.01
_DRAIN_AT_MOST_S = 0.2


@dataclass(slots=True)
class LinkCounters:
    """What the link has seen since the client was made; a lost port does not reset it."""

    good_frames: int = 0
    bad_crc: int = 0
    bad_cobs: int = 0
    stale_replies: int = 0
    lost_ports: int = 0
    retransmits: int = 0
    resends: int = 0
    drained_bytes: int = 0

    @property
    def bad_frames(self) -> int:
        """Frames thrown away because they were damaged on the wire."""
        return self.bad_crc + self.bad_cobs


class BoardLink:
    """One open port as a stream of frames. Damaged frames are dropped and counted: whoever waits asks again."""

    def __init__(self, transport: SerialTransport, max_payload: int, counters: LinkCounters) -> None:
        """Frames with up to `max_payload` bytes; `counters` is updated in place."""
        self.transport = transport
        self.counters = counters
        self._longest = longest_encoded_frame(max_payload)
        self._rest = b""

    @classmethod
    def open(
        cls,
        path: str | Path,
        max_payload: int,
        counters: LinkCounters,
        deadline: Deadline,
        *,
        baud: int = DEFAULT_BAUD,
        patient: bool = False,
    ) -> "BoardLink":
        """Open `path`, end whatever frame the board was reading, and throw away what was under way.

        A missing port is waited for until the deadline; with `patient` also one that is busy or not permitted yet.
        Raises PortMissing, PortBusy, PortUnavailable or BoardLost.
        """
        transport = open_when_there(path, baud, deadline, patient=patient)
        try:
            transport.write(b"\x00", deadline)
            drain = Deadline(deadline.at_most_s(_DRAIN_AT_MOST_S), "draining the port")
            counters.drained_bytes += transport.drain(_DRAIN_QUIET_S, drain)
        except BaseException:  # whatever ended it, Ctrl-C too: the port is given back
            transport.close()
            raise
        return cls(transport, max_payload, counters)

    def close(self) -> None:
        """Close the port; safe to call twice."""
        self.transport.close()

    def send(self, kind: int, sequence: int, payload: bytes, deadline: Deadline) -> None:
        """Send one frame. Raises DeadlineExceeded or BoardLost."""
        self.transport.write(encode_frame(kind, sequence, payload), deadline)

    def receive(self, timeout_s: float) -> list[WireFrame]:
        """The whole frames that have arrived, in order; waits up to `timeout_s` seconds for the first byte.

        May be empty although bytes came (part of a frame, or damaged ones). Raises BoardLost where the port is gone.
        """
        data = self.transport.read(timeout_s)
        if not data:
            return []
        pieces = (self._rest + data).split(b"\x00")
        self._rest = pieces.pop()
        counters = self.counters
        if len(self._rest) > self._longest:
            # No frame is that long, so its delimiter was lost: drop it now, memory stays bounded.
            self._rest = b""
            counters.bad_cobs += 1
        frames = []
        for piece in pieces:
            if not piece:
                continue
            body = cobs_decode(piece)
            if body is None:
                counters.bad_cobs += 1
                continue
            frame = decode_body(body)
            if frame is None:
                counters.bad_crc += 1
                continue
            frames.append(frame)
        counters.good_frames += len(frames)
        return frames
