"""Whatever bytes arrive: no crash, no wait beyond the deadline, and the right measurements afterwards."""

import os
import threading
import time
import tty
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from host.board import protocol
from host.board.client import BoardClient
from host.board.conversation import Conversation
from host.board.deadline import Deadline
from host.board.errors import BoardError, DeadlineExceeded
from host.board.framing import encode_frame
from host.board.link import BoardLink, LinkCounters

# One pseudo-terminal or board serves all examples of a test: what one leaves behind, the next has to survive.
SHARED = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

junk = st.one_of(
    st.binary(max_size=300),
    st.lists(st.sampled_from([0, 0, 1, 2, 255]), max_size=300).map(bytes),
    st.integers(1, 3000).map(lambda length: b"\x07" * length),
)
# Frames with a right CRC and a type of the protocol, but whatever payload.
forged = st.lists(
    st.builds(
        encode_frame,
        st.sampled_from([*protocol.FROM_BOARD, *protocol.FROM_HOST, 0x7E]),
        st.integers(0, 65535),
        st.one_of(st.binary(max_size=60), st.binary(max_size=40).map(lambda data: bytes(4) + data)),
    ),
    max_size=6,
).map(b"".join)


@pytest.fixture
def talker() -> Iterator[tuple[int, str]]:
    """The far end of a port on which nobody but the test speaks: (descriptor to write to, path)."""
    master, slave = os.openpty()
    tty.setraw(slave)
    stop = threading.Event()

    def swallow() -> None:
        while not stop.is_set():
            os.read(master, 65536)

    reader = threading.Thread(target=swallow, daemon=True)
    reader.start()
    yield master, os.ttyname(slave)
    stop.set()
    os.write(slave, b"\0")
    reader.join(5)
    os.close(master)
    os.close(slave)


@SHARED
@given(st.one_of(junk, forged))
def test_a_command_ends_at_its_deadline_whatever_is_heard(talker: tuple[int, str], data: bytes) -> None:
    master, path = talker
    link = BoardLink.open(path, protocol.MAX_PAYLOAD, LinkCounters(), Deadline(5, "opening"))
    heard: list[Any] = []
    talk = Conversation(link, lambda kind, payload: heard.append((kind, payload)), heard.append)
    os.write(master, data)
    started_s = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        talk.request(protocol.Status(), Deadline(0.03, "asking"))
    assert time.monotonic() - started_s < 5
    link.close()


@SHARED
@given(junk)
def test_junk_between_the_frames_costs_nothing_but_time(hostile: tuple[Any, BoardClient, Any], data: bytes) -> None:
    relay, client, check = hostile
    relay.inject(data)
    for _ in range(3):
        check(client.read_measurement(5))


@SHARED
@given(forged)
def test_forged_frames_end_in_an_error_at_worst(hostile: tuple[Any, BoardClient, Any], data: bytes) -> None:
    relay, client, check = hostile
    relay.inject(data)
    started_s = time.monotonic()
    try:
        for _ in range(3):
            check(client.read_measurement(5))
    except BoardError:
        client.resume(Deadline(10, "resuming"))
        check(client.read_measurement(5))
    assert time.monotonic() - started_s < 20


@pytest.fixture
def hostile(
    relay: Any,
    source: Callable[..., object],
    dac_codes: NDArray[np.uint16],
    encoding_id: str,
    expected: list[NDArray[np.uint8]],
) -> Iterator[tuple[Any, BoardClient, Callable[[Any], None]]]:
    """An armed client behind a relay that adds bytes; the last is a check of a measurement."""

    def check(measurement: Any) -> None:
        assert measurement is not None
        np.testing.assert_array_equal(measurement.codes, expected[measurement.frame % 5])

    with BoardClient(relay.path) as client:
        client.connect()
        client.provision(encoding_id, dac_codes)
        client.arm(60, 80, 3)
        source()
        yield relay, client, check
