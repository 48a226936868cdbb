"""The host build of the board, driven over its terminal and sockets with nothing but the protocol's own definition."""

import contextlib
import json
import os
import select
import socket
import struct
import subprocess
import tempfile
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest
from numpy.typing import NDArray

from host.board import protocol
from host.board.framing import cobs_decode, decode_body, encode_frame

FRAME_HEADER = struct.Struct("<IIQIIHHHH")
REPORT = struct.Struct("<B3xII")
ENCODING_ID = bytes(range(16))
DAC_CODES = np.round(np.linspace(0.05, 0.95, 15) * protocol.DAC_FULL_SCALE).astype(np.uint16)
Reply = TypeVar("Reply", bound=protocol.Message)
PATIENCE_S = 10.0


@dataclass
class Board:
    """A running board and the three ends that it offers."""

    process: subprocess.Popen[bytes]
    folder: Path
    terminal: int
    frames: socket.socket
    control_socket: socket.socket
    sequence: int = 0
    received: bytes = b""
    stream: list[protocol.Message] = field(default_factory=list)

    def send(self, message: protocol.Message, sequence: int = 0) -> None:
        assert message.TYPE is not None
        os.write(self.terminal, encode_frame(message.TYPE, sequence, message.pack()))

    def listen(self, wait_s: float) -> list[tuple[int, protocol.Message]]:
        """Replies that arrived, with their sequence; the stream is kept aside."""
        replies = []
        if select.select([self.terminal], [], [], wait_s)[0]:
            *pieces, self.received = (self.received + os.read(self.terminal, 65536)).split(b"\0")
            for piece in pieces:
                body = cobs_decode(piece) if piece else None
                frame = decode_body(body) if body is not None else None
                if frame is None:
                    continue
                kind, sequence, payload = frame
                message = protocol.FROM_BOARD[kind].unpack(payload)
                if kind & protocol.REPLY_BIT:
                    replies.append((sequence, message))
                else:
                    self.stream.append(message)
        return replies

    def ask(self, message: protocol.Message, expected: type[Reply]) -> Reply:
        self.sequence += 1
        self.send(message, self.sequence)
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            for sequence, reply in self.listen(0.1):
                if sequence == self.sequence:
                    assert isinstance(reply, expected), reply
                    return reply
        pytest.fail(f"no reply to {message}")

    def control(self, line: str) -> str:
        self.control_socket.sendall(line.encode() + b"\n")
        return self.control_socket.recv(4096).decode().rstrip("\n")

    def offer(self, frame: int, volts: NDArray[np.float32]) -> None:
        rows, columns, channels = volts.shape
        head = FRAME_HEADER.pack(0x4D524643, frame, frame * 1000, 9000, 1500, rows, columns, channels, 0)
        self.frames.sendall(head + volts.astype("<f4").tobytes())

    def report(self) -> tuple[int, int, int]:
        """The next report on the frames socket: (type, a, b)."""
        data = b""
        while len(data) < REPORT.size:
            data += self.frames.recv(REPORT.size - len(data))
        kind, a, b = REPORT.unpack(data)
        return kind, a, b

    def arm(self, rows: int, columns: int, channels: int) -> None:
        self.ask(protocol.Hello(protocol.SCHEMA_DIGEST), protocol.HelloReply)
        codes = tuple(int(code) for code in DAC_CODES)
        crc = self.ask(protocol.StageThresholds(ENCODING_ID, codes, (0,) * 15), protocol.StageThresholdsReply).crc32
        assert crc == zlib.crc32(DAC_CODES.astype("<u2").tobytes() + bytes(30))
        assert self.ask(protocol.Commit(crc), protocol.CommitReply).crc32 == crc
        self.ask(protocol.Arm(ENCODING_ID, crc, rows, columns, channels, 240), protocol.ArmReply)

    def measurement(self, sequence: int) -> tuple[protocol.MeasurementHeader, NDArray[np.uint8]]:
        """The measurement with this sequence, once all its chunks are there."""
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            self.listen(0.1)
            chunks = {
                part.chunk: part.data
                for part in self.stream
                if isinstance(part, protocol.Measurement) and part.sequence == sequence
            }
            if 0 not in chunks:
                continue
            header = protocol.MeasurementHeader.unpack(chunks[0])
            cells = header.rows * header.columns * header.channels
            packed = b"".join(chunks[number] for number in sorted(chunks) if number > 0)
            if len(packed) == (cells + 1) // 2:
                assert zlib.crc32(packed) == header.cells_crc32
                pairs = np.frombuffer(packed, np.uint8)
                codes = np.stack([pairs & 0xF, pairs >> 4], axis=-1).ravel()[:cells]
                return header, codes.reshape(header.rows, header.columns, header.channels)
        pytest.fail(f"measurement {sequence} did not arrive")

    def fault(self, within_s: float) -> protocol.FaultNotice:
        """The next fault that is announced."""
        self.stream.clear()
        end = time.monotonic() + within_s
        while time.monotonic() < end:
            self.listen(0.05)
            for message in self.stream:
                if isinstance(message, protocol.FaultNotice):
                    return message
        pytest.fail("no fault was announced")


def connected(path: str) -> socket.socket:
    end = socket.socket(socket.AF_UNIX)
    end.settimeout(PATIENCE_S)
    end.connect(path)
    return end


@contextlib.contextmanager
def running(executable: Path, *options: str) -> Iterator[Board]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = [str(folder / end) for end in ("tty", "frames", "control")]
        command = [str(executable), "--pty", paths[0], "--frames", paths[1], "--control", paths[2], *options]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            try:
                assert process.stdout is not None
                assert process.stdout.readline() == b"ready\n"
                terminal = os.open(paths[0], os.O_RDWR | os.O_NOCTTY)
                board = Board(process, folder, terminal, connected(paths[1]), connected(paths[2]))
                yield board
                os.close(board.terminal)
                board.frames.close()
                board.control_socket.close()
            finally:
                process.kill()


@pytest.fixture
def board(executable: Path) -> Iterator[Board]:
    with running(executable) as made:
        yield made


def volts_of_every_size(rows: int, columns: int, channels: int, seed: int) -> NDArray[np.float32]:
    return np.random.default_rng(seed).uniform(0.0, 2.5, (rows, columns, channels)).astype(np.float32)


def expected_codes(volts: NDArray[np.float32]) -> NDArray[np.uint8]:
    thresholds = DAC_CODES / protocol.DAC_FULL_SCALE * (protocol.REFERENCE_MICROVOLTS / 1e6)
    codes: NDArray[np.uint8] = (volts.astype(np.float64)[..., None] >= thresholds).sum(axis=-1).astype(np.uint8)
    return codes


@pytest.mark.parametrize("shape", [(60, 80, 3), (1, 1, 1), (7, 11, 3), (60, 80, 12)])
def test_codes_are_the_quantized_voltages(board: Board, shape: tuple[int, int, int]) -> None:
    board.arm(*shape)
    board.send(protocol.Credit(0, 2))
    for sequence in range(2):
        frame = 40 + sequence
        volts = volts_of_every_size(*shape, seed=sequence)
        board.offer(frame, volts)
        header, codes = board.measurement(sequence)
        assert (header.sequence, header.frame, header.capture_time_us) == (sequence, frame, frame * 1000)
        assert (header.exposure_us, header.gain_milli) == (9000, 1500)
        np.testing.assert_array_equal(codes, expected_codes(volts))
        assert board.report() == (1, frame, 1)


def test_hello_names_the_board_and_each_start(executable: Path) -> None:
    boots = set()
    with running(executable, "--serial", "BENCH-7") as board:
        for _ in range(3):
            reply = board.ask(protocol.Hello(protocol.SCHEMA_DIGEST), protocol.HelloReply)
            assert reply.board_serial == "BENCH-7"
            assert reply.schema_digest == protocol.SCHEMA_DIGEST
            assert reply.state == protocol.State.SAFE
            boots.add(reply.boot_id)
            assert board.control("reset") == "ok"
    assert len(boots) == 3


def test_the_reset_command_restarts_with_another_boot_id(board: Board) -> None:
    first = board.ask(protocol.Hello(protocol.SCHEMA_DIGEST), protocol.HelloReply)
    board.ask(protocol.Reset(), protocol.ResetReply)
    assert board.ask(protocol.Heartbeat(), protocol.ErrorReply).code == protocol.ErrorCode.HELLO_REQUIRED
    assert board.ask(protocol.Hello(protocol.SCHEMA_DIGEST), protocol.HelloReply).boot_id != first.boot_id


def test_a_frame_waits_for_credit_and_survives_a_reset(board: Board) -> None:
    volts = volts_of_every_size(6, 8, 3, seed=5)
    board.arm(6, 8, 3)
    board.offer(1, volts)
    time.sleep(0.05)
    assert "frame_pending=1" in board.control("stats")
    board.control("reset")
    board.arm(6, 8, 3)
    board.send(protocol.Credit(0, 1))
    header, codes = board.measurement(0)
    assert header.frame == 1
    np.testing.assert_array_equal(codes, expected_codes(volts))


def test_a_newer_frame_replaces_one_that_waits(board: Board) -> None:
    board.arm(6, 8, 3)
    board.offer(1, volts_of_every_size(6, 8, 3, seed=1))
    board.offer(2, volts_of_every_size(6, 8, 3, seed=2))
    assert board.report() == (1, 1, 0)
    board.send(protocol.Credit(0, 1))
    assert board.measurement(0)[0].frame == 2


def test_another_geometry_is_reported_unmeasured(board: Board) -> None:
    board.arm(6, 8, 3)
    board.send(protocol.Credit(0, 1))
    board.offer(9, volts_of_every_size(6, 9, 3, seed=1))
    assert board.report() == (1, 9, 0)
    assert board.ask(protocol.Status(), protocol.StatusReply).frames_unmeasured == 1


def test_exposure_reaches_the_twin(board: Board) -> None:
    board.arm(6, 8, 3)
    board.ask(protocol.SetExposure(12_000, 2_500), protocol.SetExposureReply)
    assert board.report() == (2, 12_000, 2_500)
    assert board.ask(protocol.SetExposure(0, 1000), protocol.ErrorReply).code == protocol.ErrorCode.NOT_APPLIED


@pytest.mark.parametrize(
    ("line", "fault", "channel"),
    [
        ("stick 3 high", protocol.Fault.COMPARATOR_STUCK, 3),
        ("stick 11 low", protocol.Fault.COMPARATOR_STUCK, 11),
        ("drift 4 0.001", protocol.Fault.READBACK_DRIFT, 4),
        ("offset 7 -0.2", protocol.Fault.COMPARATOR_STUCK, 7),
        ("supply 2500", protocol.Fault.BROWN_OUT, protocol.NO_CHANNEL),
        ("mute 15 7", protocol.Fault.DAC_WRITE_FAILED, 15),
        ("mute 9", protocol.Fault.DAC_WRITE_FAILED, 9),
    ],
)
def test_injected_faults_blind_the_board_until_cleared(
    board: Board, line: str, fault: protocol.Fault, channel: int
) -> None:
    board.arm(6, 8, 3)
    assert board.control(line) == "ok"
    notice = board.fault(within_s=2.0)
    assert (notice.fault, notice.channel, notice.state) == (fault, channel, protocol.State.FAULTED)
    refused = board.ask(protocol.ClearFault(int(fault)), protocol.ErrorReply)
    assert (refused.code, refused.detail) == (protocol.ErrorCode.FAULT_PERSISTS, channel)
    assert board.control("clear") == "ok"
    board.ask(protocol.ClearFault(int(fault)), protocol.ClearFaultReply)
    board.arm(6, 8, 3)
    volts = volts_of_every_size(6, 8, 3, seed=1)
    board.send(protocol.Credit(0, 1))
    board.offer(1, volts)
    np.testing.assert_array_equal(board.measurement(0)[1], expected_codes(volts))


def test_a_silent_host_is_noticed(board: Board) -> None:
    board.arm(6, 8, 3)
    assert board.fault(within_s=PATIENCE_S).fault == protocol.Fault.HEARTBEAT_LOST


def test_damaged_bytes_are_counted_and_survived(board: Board) -> None:
    board.ask(protocol.Hello(protocol.SCHEMA_DIGEST), protocol.HelloReply)
    board.control("corrupt rx 1")
    board.send(protocol.Status(), 500)
    assert board.listen(0.2) == []
    board.control("clear")
    os.write(board.terminal, b"\0")
    assert board.ask(protocol.Status(), protocol.StatusReply).rx_bad_frames >= 1
    board.control("drop tx 1")
    board.send(protocol.Status(), 501)
    assert board.listen(0.2) == []
    board.control("clear")
    board.ask(protocol.Status(), protocol.StatusReply)


def test_offsets_and_noise_move_codes_by_little(executable: Path) -> None:
    with running(executable, "--seed", "3", "--offset-volts", "0.005", "--noise-volts", "0.002") as board:
        board.arm(60, 80, 3)
        board.send(protocol.Credit(0, 2))
        volts = volts_of_every_size(60, 80, 3, seed=3)
        codes = []
        for sequence in range(2):
            board.offer(sequence, volts)
            codes.append(board.measurement(sequence)[1])
            assert board.report() == (1, sequence, 1)
        off = np.abs(codes[0].astype(int) - expected_codes(volts))
        assert off.max() <= 1
        assert 0.005 < float((off > 0).mean()) < 0.1
        assert 0 < np.count_nonzero(codes[0] != codes[1]) < codes[0].size / 20  # noise is new for every reading


QUALITY = {
    "--offset-volts": "0.006",
    "--gain-error": "0.002",
    "--noise-volts": "0.001",
    "--hysteresis-volts": "0.004",
    "--spread": "0.5",
    "--dac-inl-volts": "0.001",
    "--dac-dnl-lsb": "0.8",
}


def test_what_was_made_is_revealed(executable: Path) -> None:
    options = [word for pair in QUALITY.items() for word in pair]
    truths = []
    for seed in ("5", "5", "6"):
        with running(executable, "--seed", seed, *options) as board:
            board.arm(6, 8, 3)
            truths.append({key: np.array(value) for key, value in json.loads(board.control("reveal")).items()})
            straight = np.arange(0, 65536, 8191) / 65535 * 2.5
            bent = [float(board.control(f"output 15 {code}").split()[1]) for code in range(0, 65536, 8191)]
            assert 0 < np.abs(bent - straight).max() <= 0.001 + 0.4 * 2.5 / 65535
    truth = truths[0]
    assert all((truth[key] == truths[1][key]).all() for key in truth)
    assert not (truth["offset_volts"] == truths[2]["offset_volts"]).any()
    assert truth["dac_bow_volts"].shape == (16,)
    assert all(value.shape == (15,) for key, value in truth.items() if not key.startswith("dac"))
    np.testing.assert_allclose(truth["threshold_volts"], DAC_CODES / 65535 * 2.5, atol=0.00102)
    assert (np.abs(truth["hysteresis_volts"] / 0.004 - 1) <= 0.5).all()
    assert (np.abs(truth["noise_volts"] / 0.001 - 1) <= 0.5).all()
    gain = 1 + truth["gain_error"]
    np.testing.assert_allclose(
        truth["rising_volts"] - truth["falling_volts"], truth["hysteresis_volts"] / gain, rtol=1e-5
    )
    middle = (truth["rising_volts"] + truth["falling_volts"]) / 2
    np.testing.assert_allclose(middle * gain + truth["offset_volts"], truth["threshold_volts"], atol=1e-8)


@pytest.mark.parametrize("garbage", [b"x" * 32, FRAME_HEADER.pack(0x4D524643, 0, 0, 0, 0, 65535, 65535, 3, 0)])
def test_garbage_on_the_frames_socket_drops_that_client(board: Board, garbage: bytes) -> None:
    board.frames.sendall(garbage)
    assert board.frames.recv(1) == b""
    board.frames.close()
    board.frames = connected(str(board.folder / "frames"))
    board.arm(6, 8, 3)
    board.send(protocol.Credit(0, 1))
    board.offer(1, volts_of_every_size(6, 8, 3, seed=1))
    assert board.report() == (1, 1, 1)


def test_a_new_client_takes_the_place_of_the_old(board: Board) -> None:
    with connected(str(board.folder / "control")) as second:
        second.sendall(b"stats\n")
        assert second.recv(4096).startswith(b"ok ")
        assert board.control_socket.recv(1) == b""


def test_unknown_control_lines_say_what_there_is(board: Board) -> None:
    assert board.control("explode").startswith("error: unknown command; there are: stick")
    assert board.control("stick 15 high") == "error: the comparator must be 0..14"


def test_the_terminal_can_be_left_and_taken_again(board: Board) -> None:
    for _ in range(3):
        board.ask(protocol.Hello(protocol.SCHEMA_DIGEST), protocol.HelloReply)
        os.close(board.terminal)
        board.terminal = os.open(board.folder / "tty", os.O_RDWR | os.O_NOCTTY)
    assert board.process.poll() is None


def test_it_waits_without_spinning(board: Board) -> None:
    board.arm(6, 8, 3)
    board.fault(within_s=PATIENCE_S)  # the heartbeat, after two seconds of waiting for a frame
    fields = Path(f"/proc/{board.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    ticks = int(fields[11]) + int(fields[12])
    assert ticks / os.sysconf("SC_CLK_TCK") < 0.5
