"""Bytes to and from a serial port: exclusive, read in whole blocks, every wait bounded."""

import errno
import math
import os
import select
import stat
import time
from pathlib import Path

import serial

from host.board.deadline import Deadline
from host.board.errors import BoardLost, PortBusy, PortMissing, PortUnavailable

DEFAULT_BAUD = 921_600  # USB and PTY ports ignore it
_BLOCK_BYTES = 65_536
_GONE = {errno.EIO, errno.ENXIO, errno.ENODEV, errno.EBADF, errno.ENOENT}


class SerialTransport:
    """One open serial port. pyserial sets it up; reads and writes then go to the descriptor itself."""

    def __init__(self, path: str | Path, baud: int = DEFAULT_BAUD) -> None:
        """Open `path` (a device, or a stable symlink to one), raw and exclusively locked.

        Raises PortBusy where another process holds it, PortUnavailable where it is missing, not permitted or no
        serial port.
        """
        self.path = str(path)
        try:
            self._port = serial.Serial(self.path, baud, timeout=0, write_timeout=0, exclusive=True)
        except serial.SerialException as error:
            raise _cannot_open(self.path, error) from error
        except OSError as error:
            raise PortUnavailable(f"{self.path} cannot be opened: {error.strerror or error}") from error
        self._fd = self._port.fileno()
        self._poll = select.poll()
        self._poll.register(self._fd, select.POLLIN)
        self._writable = select.poll()
        self._writable.register(self._fd, select.POLLOUT)
        self._device = os.fstat(self._fd).st_rdev

    def close(self) -> None:
        """Close the port; safe to call twice."""
        self._port.close()

    def read(self, timeout_s: float) -> bytes:
        """Everything that has arrived, waiting up to `timeout_s` seconds for the first byte; b"" where nothing came.

        Raises BoardLost where the port is gone.
        """
        try:
            # Rounded up: a wait of a fraction of a millisecond must not become a busy loop.
            if not self._poll.poll(math.ceil(timeout_s * 1000)):
                return b""
            data = os.read(self._fd, _BLOCK_BYTES)
        except BlockingIOError:
            return b""
        except OSError as error:
            raise self._lost(error) from error
        if not data:
            raise BoardLost(f"{self.path} was closed at the other end")
        return data

    def write(self, data: bytes, deadline: Deadline) -> None:
        """Write all of `data`. Raises DeadlineExceeded where the port does not take it, BoardLost where it is gone."""
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(self._fd, view) :]
            except BlockingIOError:
                deadline.check(f"{self.path} takes no more bytes: the board does not read")
                self._writable.poll(deadline.remaining_s() * 1000)
            except OSError as error:
                raise self._lost(error) from error

    def check_path(self) -> None:
        """Raise BoardLost where the path leads to another device by now, or nowhere: a symlink that was replaced."""
        try:
            found = os.stat(self.path)  # noqa: PTH116 - Path.stat on every idle check costs three times as much
        except OSError as error:
            raise BoardLost(f"{self.path} has disappeared") from error
        if not stat.S_ISCHR(found.st_mode) or found.st_rdev != self._device:
            raise BoardLost(f"{self.path} now leads to another device")

    def drain(self, quiet_s: float, deadline: Deadline) -> int:
        """Throw away what is under way until the line has been quiet for `quiet_s` seconds; the number of bytes.

        Stops at `deadline` all the same, since a board that still streams is never quiet.
        """
        dropped = 0
        while data := self.read(deadline.at_most_s(quiet_s)):
            dropped += len(data)
            if deadline.expired:
                break
        return dropped

    def _lost(self, error: OSError) -> BoardLost:
        if error.errno in _GONE:
            return BoardLost(f"{self.path} is gone")
        return BoardLost(f"{self.path} failed: {error.strerror or error}")


def open_when_there(path: str | Path, baud: int, deadline: Deadline, *, patient: bool) -> SerialTransport:
    """Open `path`, waiting until it appears and, where `patient`, until it is free and permitted as well.

    Raises the last PortUnavailable at the deadline.
    """
    wait_s = 0.005
    while True:
        try:
            return SerialTransport(path, baud)
        except PortMissing:
            if deadline.expired:
                raise
        except PortUnavailable:
            if deadline.expired or not patient:
                raise
        time.sleep(deadline.at_most_s(wait_s))
        wait_s = min(0.1, wait_s * 1.5)


def _cannot_open(path: str, error: serial.SerialException) -> PortUnavailable:
    if error.errno == errno.EWOULDBLOCK:
        return PortBusy(path)
    if error.errno == errno.EACCES:
        return PortUnavailable(
            f"no permission to open {path}; add yourself to the group that owns it"
            " (`sudo usermod -aG dialout $USER`) and log in again"
        )
    if error.errno in (errno.ENOENT, errno.ENXIO, errno.EIO, errno.ENODEV):
        return PortMissing(
            f"{path} is not there; plug the board in (`ls /dev/serial/by-id/` names what is), or start the twin"
        )
    return PortUnavailable(f"{path} cannot be opened as a serial port: {error}")
