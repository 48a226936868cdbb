"""Measurements over a line that damages or loses bytes in both directions: all of them, equal, in order."""

import numpy as np
import pytest
from numpy.typing import NDArray

from host.board.client import BoardClient
from host.board.deadline import Deadline
from host.board.reports import BoardEvent
from host.board.thresholds import thresholds_digest
from host.twin.board_process import BoardProcess


def read_all(client: BoardClient, expected: list[NDArray[np.uint8]], first: int, count: int) -> None:
    for number in range(first, first + count):
        measurement = client.read_measurement(30)
        assert measurement is not None
        assert measurement.sequence == measurement.frame == number
        np.testing.assert_array_equal(measurement.codes, expected[number % 5])


@pytest.mark.parametrize("spoiled", ["corrupt", "drop"])
@pytest.mark.parametrize("share", [0.01, 0.001])
def test_every_measurement_arrives_over_a_bad_line(
    board: BoardProcess,
    armed: BoardClient,
    events: list[BoardEvent],
    expected: list[NDArray[np.uint8]],
    spoiled: str,
    share: float,
) -> None:
    board.control(f"{spoiled} tx {share}")
    board.control(f"{spoiled} rx {share}")
    read_all(armed, expected, 0, 60)
    assert armed.counters.bad_frames > 0
    assert armed.counters.resends > 0
    assert any("chunks of 32 bytes" in event.message for event in events)


def test_chunks_grow_again_once_the_line_is_calm(
    board: BoardProcess, armed: BoardClient, events: list[BoardEvent], expected: list[NDArray[np.uint8]]
) -> None:
    board.control("corrupt tx 0.005")
    read_all(armed, expected, 0, 20)
    board.control("clear")
    read_all(armed, expected, 20, 60)
    sizes = [event.message for event in events if event.kind == "chunk_size"]
    assert sizes == [f"measurements now come in chunks of {size} bytes" for size in (32, 240)]


def test_commands_get_through_a_bad_line(
    board: BoardProcess, client: BoardClient, dac_codes: NDArray[np.uint16], encoding_id: str
) -> None:
    for direction in ("rx", "tx"):
        board.control(f"corrupt {direction} 0.01")
        board.control(f"drop {direction} 0.005")
    for _ in range(5):
        client.connect(Deadline(20, "connecting"))
        assert client.provision(encoding_id, dac_codes, deadline=Deadline(20, "provisioning")) == thresholds_digest(
            dac_codes
        )
        client.arm(60, 80, 3, deadline=Deadline(20, "arming"))
        client.set_exposure(5000, 1, Deadline(20, "setting the exposure"))
        client.disarm(Deadline(20, "disarming"))
    assert client.counters.retransmits > 0


def test_resume_works_over_a_bad_line(
    board: BoardProcess, armed: BoardClient, expected: list[NDArray[np.uint8]]
) -> None:
    read_all(armed, expected, 0, 5)
    board.control("reset")
    for direction in ("rx", "tx"):
        board.control(f"corrupt {direction} 0.01")
    armed.resume(Deadline(30, "resuming"))
    last = 4
    for _ in range(20):
        measurement = armed.read_measurement(30)
        assert measurement is not None
        assert measurement.frame > last
        last = measurement.frame
        np.testing.assert_array_equal(measurement.codes, expected[last % 5])
