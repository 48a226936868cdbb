"""Fixtures: the real firmware as a process, a client on its port, and frames whose codes are known."""

import contextlib
import os
import queue
import select
import socket
import struct
import threading
import time
import tty
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from host.board.client import BoardClient
from host.board.errors import BoardProgramError
from host.board.reports import BoardEvent
from host.board.thresholds import dac_codes_to_volts, thresholds_to_dac_codes
from host.twin.board_process import BoardProcess, board_executable

ENCODING_ID = "5a" * 32
SHAPE = (60, 80, 3)
_HEADER = struct.Struct("<IIQIIHHHH")
_EVENT = struct.Struct("<B3xII")
_MAGIC = 0x4D524643


@pytest.fixture(scope="session", autouse=True)
def _built() -> None:
    try:
        board_executable()
    except BoardProgramError as error:
        pytest.skip(f"the firmware's host build is not available: {error}")


@pytest.fixture
def board() -> Iterator[BoardProcess]:
    with BoardProcess(serial="TEST-0001") as process:
        yield process


@pytest.fixture
def events() -> list[BoardEvent]:
    return []


@pytest.fixture
def client(board: BoardProcess, events: list[BoardEvent]) -> Iterator[BoardClient]:
    with BoardClient(board.pty, on_event=events.append) as made:
        yield made


@pytest.fixture(scope="session")
def encoding_id() -> str:
    return ENCODING_ID


@pytest.fixture(scope="session")
def dac_codes() -> NDArray[np.uint16]:
    return thresholds_to_dac_codes(np.linspace(0.05, 0.92, 15))


@pytest.fixture(scope="session")
def frames(dac_codes: NDArray[np.uint16]) -> list[NDArray[np.float32]]:
    """Five frames of random volts, none of which lies within 1 mV of a threshold: no code is a close call."""
    rng = np.random.default_rng(7)
    levels = dac_codes_to_volts(dac_codes)
    made = []
    for _ in range(5):
        volts = rng.uniform(0, 2.5, SHAPE)
        nearest = levels[np.abs(volts[..., None] - levels).argmin(axis=-1)]
        close = np.abs(volts - nearest) < 1e-3
        made.append(np.where(close, nearest + 4e-3, volts).astype(np.float32))
    return made


@pytest.fixture(scope="session")
def expected(frames: list[NDArray[np.float32]], dac_codes: NDArray[np.uint16]) -> list[NDArray[np.uint8]]:
    """Codes by the slow, obvious rule: for each cell, how many thresholds are at or below its voltage."""
    levels = dac_codes_to_volts(dac_codes)
    return [(volts[..., None] >= levels).sum(axis=-1).astype(np.uint8) for volts in frames]


class FrameSource:
    """Feeds frames to the board's side channel, each until it was measured; reconnects after a restart of the board.

    Frame n holds `volts[n % len(volts)]`. `exposures` collects what the board told the sensor.
    """

    def __init__(self, path: Path, volts: list[NDArray[np.float32]], interval_s: float = 0.0) -> None:
        self._path = path
        self._volts = volts
        self._interval_s = interval_s
        self._frame = 0
        self._stop = threading.Event()
        self.exposures: list[tuple[int, int]] = []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._thread.join(5)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
                    link.connect(str(self._path))
                    self._serve(link)
            except OSError:
                time.sleep(0.01)

    def _serve(self, link: socket.socket) -> None:
        buffer = b""
        sent = False
        while not self._stop.is_set():
            if not sent:
                volts = self._volts[self._frame % len(self._volts)]
                header = (_MAGIC, self._frame, self._frame * 100_000, 10_000, 1_000, *volts.shape, 0)
                link.settimeout(5)
                link.sendall(_HEADER.pack(*header) + volts.tobytes())
                sent = True
            link.settimeout(0.05)
            try:
                received = link.recv(65536)
            except TimeoutError:
                continue
            if not received:
                return
            buffer += received
            while len(buffer) >= _EVENT.size:
                kind, first, second = _EVENT.unpack_from(buffer)
                buffer = buffer[_EVENT.size :]
                if kind == 2:
                    self.exposures.append((first, second))
                elif first == self._frame:
                    sent = False
                    self._frame += second
                    self._stop.wait(self._interval_s)


@pytest.fixture
def source(board: BoardProcess, frames: list[NDArray[np.float32]]) -> Iterator[Callable[..., FrameSource]]:
    """Call it to start feeding the frames to the board (or other ones, with `volts`)."""
    made: list[FrameSource] = []

    def start(volts: list[NDArray[np.float32]] | None = None, interval_s: float = 0.0) -> FrameSource:
        made.append(FrameSource(board.frames_socket, volts or frames, interval_s))
        return made[-1]

    yield start
    for each in made:
        each.close()


@pytest.fixture
def feeding(source: Callable[..., FrameSource]) -> FrameSource:
    """The frames of `frames`, one after the other."""
    return source()


@pytest.fixture
def armed(client: BoardClient, feeding: FrameSource, dac_codes: NDArray[np.uint16]) -> BoardClient:
    """A client that is connected, provisioned and armed, with frames coming."""
    assert not feeding.exposures
    client.connect()
    client.provision(ENCODING_ID, dac_codes)
    client.arm(*SHAPE)
    return client


class Relay:
    """A pseudo-terminal in front of the board's port: passes everything on, and lets a test add bytes of its own."""

    def __init__(self, board_port: Path, directory: Path) -> None:
        self._board = os.open(board_port, os.O_RDWR | os.O_NOCTTY)
        tty.setraw(self._board)
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        self.path = directory / "relay"
        self.path.symlink_to(os.ttyname(self._slave))
        self._injected: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def inject(self, data: bytes) -> None:
        """Make the client read `data`, somewhere among what the board sends."""
        self._injected.put(data)

    def close(self) -> None:
        self._stop.set()
        self._thread.join(5)
        for descriptor in (self._board, self._master, self._slave):
            os.close(descriptor)

    def _run(self) -> None:
        for descriptor in (self._board, self._master):
            os.set_blocking(descriptor, False)
        other = {self._board: self._master, self._master: self._board}
        waiting = {self._board: b"", self._master: b""}  # to be written to this descriptor
        while not self._stop.is_set():
            with contextlib.suppress(queue.Empty):
                waiting[self._master] += self._injected.get_nowait()
            # Not read while the other side is full: what the client does not take, the board must keep.
            sources = [descriptor for descriptor in other if len(waiting[other[descriptor]]) < 4096]
            readable, writable, _ = select.select(sources, [end for end in other if waiting[end]], [], 0.01)
            with contextlib.suppress(BlockingIOError):
                for descriptor in readable:
                    waiting[other[descriptor]] += os.read(descriptor, 4096)
                for descriptor in writable:
                    waiting[descriptor] = waiting[descriptor][os.write(descriptor, waiting[descriptor]) :]


@pytest.fixture
def relay(board: BoardProcess, tmp_path: Path) -> Iterator[Relay]:
    made = Relay(board.pty, tmp_path)
    yield made
    made.close()
