"""A whole session with the real firmware: connect, provision, arm, measure, leave."""

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from host.board import protocol
from host.board.client import BoardClient
from host.board.deadline import Deadline
from host.board.errors import BoardRefused, DeadlineExceeded, NotConnected, PortBusy, PortMissing, PortUnavailable
from host.board.protocol import State
from host.board.reports import BoardEvent
from host.board.thresholds import thresholds_digest
from host.twin.board_process import BoardProcess


def test_a_session_from_connect_to_close(
    board: BoardProcess,
    client: BoardClient,
    events: list[BoardEvent],
    source: Callable[..., object],
    expected: list[NDArray[np.uint8]],
    dac_codes: NDArray[np.uint16],
    encoding_id: str,
) -> None:
    hello = client.connect()
    assert hello.board_serial == "TEST-0001"
    assert hello.comparators == 15
    assert client.firmware.count(".") == 2
    assert client.status().state == State.SAFE

    assert client.provision(encoding_id, dac_codes) == thresholds_digest(dac_codes)
    status = client.status()
    assert status.state == State.COMMITTED
    assert status.encoding_id.hex() == encoding_id[:32]
    assert f"{status.thresholds_crc:08x}" == thresholds_digest(dac_codes)

    client.arm(60, 80, 3)
    feeding = source()
    for sequence in range(12):
        measurement = client.read_measurement(5)
        assert measurement is not None
        assert measurement.sequence == measurement.frame == sequence
        assert measurement.capture_time_us == sequence * 100_000
        assert (measurement.exposure_us, measurement.gain) == (10_000, 1.0)
        assert measurement.thresholds_digest == thresholds_digest(dac_codes)
        assert measurement.codes.dtype == np.uint8
        np.testing.assert_array_equal(measurement.codes, expected[sequence % 5])

    client.set_exposure(12_345.4, 2.5)
    client.read_measurement(5)
    time.sleep(0.05)
    assert feeding.exposures == [(12_345, 2_500)]  # type: ignore[attr-defined]
    assert client.heartbeat() == State.ARMED
    assert client.counters.bad_frames == 0
    client.disarm()
    assert client.status().state == State.SAFE
    assert client.selftest().passed
    assert client.round_trip_s < 1
    client.close()
    client.close()
    assert [event.kind for event in events] == ["connected", "provisioned", "armed"]
    # A frame that was on its way when the board was disarmed may be cut off: blind means that nothing more is sent.
    assert client.counters.bad_frames <= 1
    assert board.pty.resolve() not in {path.resolve() for path in Path("/proc/self/fd").iterdir()}


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 5, 1), (7, 9, 3), (60, 80, 12)])
@pytest.mark.parametrize("chunk_bytes", [32, 100, 240])
def test_every_geometry_arrives(
    client: BoardClient,
    source: Callable[..., object],
    dac_codes: NDArray[np.uint16],
    encoding_id: str,
    shape: tuple[int, int, int],
    chunk_bytes: int,
) -> None:
    volts = np.random.default_rng(3).uniform(0, 2.5, shape).astype(np.float32)
    levels = dac_codes.astype(np.float64) / 65535 * 2.5
    clear = np.abs(volts[..., None] - levels).min(axis=-1) > 1e-4
    codes = (volts[..., None] >= levels).sum(axis=-1)
    client.connect()
    client.provision(encoding_id, dac_codes)
    client.arm(*shape, chunk_bytes=chunk_bytes)
    source([volts])
    for _ in range(3):
        measurement = client.read_measurement(5)
        assert measurement is not None
        assert measurement.codes.shape == shape
        np.testing.assert_array_equal(measurement.codes[clear], codes[clear])


def test_without_frames_the_board_stays_armed_beyond_its_heartbeat_time(
    client: BoardClient, dac_codes: NDArray[np.uint16], encoding_id: str
) -> None:
    client.connect()
    client.provision(encoding_id, dac_codes)
    client.arm(60, 80, 3)
    end_s = time.monotonic() + protocol.HEARTBEAT_TIMEOUT_MS / 1000 + 0.6
    while time.monotonic() < end_s:
        assert client.read_measurement(0.3) is None
    assert client.status().state == State.ARMED


def test_an_armed_board_is_disarmed_on_close_and_by_the_next_provisioning(
    board: BoardProcess, armed: BoardClient, dac_codes: NDArray[np.uint16], encoding_id: str
) -> None:
    assert armed.read_measurement(5) is not None
    armed.provision(encoding_id, np.sort(dac_codes // 2))
    armed.arm(60, 80, 3)
    armed.close()
    with BoardClient(board.pty) as other:
        assert other.connect().state == State.SAFE


def test_a_second_client_is_told_who_holds_the_port(board: BoardProcess, client: BoardClient) -> None:
    client.connect()
    with pytest.raises(PortBusy, match=r"in use by another process.*Stop the other one.*fuser"):
        BoardClient(board.pty).connect(Deadline(5, "connecting"))
    client.close()
    with BoardClient(board.pty) as other:
        other.connect()


def test_a_port_that_is_missing_or_no_port_says_so(tmp_path: Path) -> None:
    with pytest.raises(PortMissing, match="nothing is not there; plug the board in"):
        BoardClient(tmp_path / "nothing").connect(Deadline(0.1, "connecting"))
    plain = tmp_path / "file"
    plain.write_text("no port")
    with pytest.raises(PortUnavailable, match="cannot be opened as a serial port"):
        BoardClient(plain).connect(Deadline(1, "connecting"))


def test_a_port_that_appears_later_is_waited_for(board: BoardProcess, tmp_path: Path) -> None:
    link = tmp_path / "pty"
    with BoardClient(link) as client:
        threading.Timer(0.3, link.symlink_to, (board.pty.resolve(),)).start()
        client.connect(Deadline(5, "connecting"))


def test_a_silent_port_ends_at_the_deadline() -> None:
    master, slave = os.openpty()
    try:
        started_s = time.monotonic()
        with pytest.raises(DeadlineExceeded, match=r"timed out after 0.4 s while connecting \(Hello sent \d+ times"):
            BoardClient(os.ttyname(slave)).connect(Deadline(0.4, "connecting"))
        assert time.monotonic() - started_s < 2
    finally:
        os.close(master)
        os.close(slave)


def test_operations_out_of_order_say_what_comes_first(
    client: BoardClient, dac_codes: NDArray[np.uint16], encoding_id: str
) -> None:
    with pytest.raises(NotConnected, match="call connect"):
        client.status()
    with pytest.raises(NotConnected, match="call connect first"):
        _ = client.identity
    client.connect()
    with pytest.raises(NotConnected, match="call provision first"):
        client.arm(60, 80, 3)
    with pytest.raises(NotConnected, match="call arm"):
        client.read_measurement(0)
    with pytest.raises(NotConnected, match="never provisioned"):
        client.resume()
    client.provision(encoding_id, dac_codes)
    for rows, columns, channels, chunk_bytes in [(1000, 1000, 3, 240), (0, 80, 3, 240), (60, 80, 3, 241)]:
        with pytest.raises(ValueError, match=r"measures 1 to \d+ cells"):
            client.arm(rows, columns, channels, chunk_bytes=chunk_bytes)
    with pytest.raises(ValueError, match="cannot be armed"):
        client.arm(1, 1, 300)
    client.provision(encoding_id, dac_codes)
    client.arm(3, 5, 1, chunk_bytes=10)
    with pytest.raises(BoardRefused, match=r"refused SelfTest: wrong_state .* provision and arm in this order"):
        client.selftest()


@pytest.mark.parametrize("encoding", ["xyz", "5a5a"])
def test_an_encoding_id_must_be_one(client: BoardClient, dac_codes: NDArray[np.uint16], encoding: str) -> None:
    client.connect()
    with pytest.raises(ValueError, match="hexadecimal digits"):
        client.provision(encoding, dac_codes)


@pytest.mark.parametrize(("exposure_us", "gain"), [(0, 1), (-5, 1), (1000, 0), (1e10, 1), (float("nan"), 1)])
def test_an_exposure_must_be_positive(client: BoardClient, exposure_us: float, gain: float) -> None:
    with pytest.raises(ValueError, match="must be positive"):
        client.set_exposure(exposure_us, gain)
