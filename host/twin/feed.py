"""The side channel into the board's host build: pooled voltages go in; "measured" and exposure commands come out.

Little endian, as docs/protocol.md describes it. Frame: magic u32, frame u32, capture time u64 (us), exposure u32 (us),
gain u32 (thousandths), rows, columns, channels, reserved u16, then float32 volts. Report: type u8, 3 bytes, a, b u32.
"""

import contextlib
import socket
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

MAGIC = 0x4D524643
HEADER = struct.Struct("<IIQIIHHHH")
REPORT = struct.Struct("<B3xII")
FRAME_FINISHED, EXPOSURE_SET = 1, 2
SEND_TIMEOUT_S = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """Pooled voltages of one frame: `volts` float32 (rows, columns, channels).

    `number` counts the frames that this twin makes, from 0; `index` and `time_s` are the scene's.
    """

    number: int
    index: int
    time_s: float
    exposure_us: int
    gain: float
    volts: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Finished:
    """The board is done with the frame of this index (modulo 2**32), and whether it measured it."""

    index: int
    measured: bool


@dataclass(frozen=True, slots=True)
class ExposureSet:
    """The host asked for another exposure."""

    exposure_us: int
    gain: float


Report = Finished | ExposureSet


def packed(cells: Cells) -> bytes:
    """The bytes that hand `cells` to the board."""
    rows, columns, channels = cells.volts.shape
    capture_us, gain_milli = round(cells.time_s * 1e6), round(cells.gain * 1000)
    head = (MAGIC, cells.index & 0xFFFFFFFF, capture_us, cells.exposure_us, gain_milli, rows, columns, channels, 0)
    return HEADER.pack(*head) + np.ascontiguousarray(cells.volts, "<f4").tobytes()


class BoardFeed:
    """A connection to the frames socket that may be lost and made again at any time; nothing waits for the board."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._socket: socket.socket | None = None
        self._received = b""

    @property
    def descriptor(self) -> int | None:
        """File descriptor to select on; None without a connection."""
        return None if self._socket is None else self._socket.fileno()

    def connect(self) -> bool:
        """Try once to connect; False when nobody listens (now)."""
        self.disconnect()
        made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        made.settimeout(SEND_TIMEOUT_S)
        try:
            made.connect(str(self._path))
        except OSError:
            made.close()
            return False
        self._socket = made
        return True

    def disconnect(self) -> None:
        """Close the connection if there is one."""
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.close()
        self._socket, self._received = None, b""

    def send(self, cells: Cells) -> bool:
        """Hand over a frame; False, and disconnected, when the board is gone or does not take it."""
        if self._socket is None:
            return False
        try:
            self._socket.sendall(packed(cells))
        except OSError:
            self.disconnect()
            return False
        return True

    def reports(self) -> list[Report]:
        """What the board reported; call it when the socket is readable. Disconnects when the board is gone."""
        if self._socket is None:
            return []
        try:
            data = self._socket.recv(65536, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return []
        except OSError:
            data = b""
        if not data:
            self.disconnect()
            return []
        data = self._received + data
        whole = len(data) - len(data) % REPORT.size
        self._received = data[whole:]
        return [
            report for kind, a, b in REPORT.iter_unpack(data[:whole]) if (report := _report(kind, a, b)) is not None
        ]


def _report(kind: int, a: int, b: int) -> Report | None:
    if kind == FRAME_FINISHED:
        return Finished(a, bool(b))
    return ExposureSet(a, b / 1000) if kind == EXPOSURE_SET else None
