"""A protocol that differs: which end is stale, and the command that fixes it."""

import numpy as np
import pytest
from numpy.typing import NDArray

from host.board import protocol
from host.board.client import BoardClient
from host.board.conversation import Conversation
from host.board.deadline import Deadline
from host.board.errors import BoardRefused, NotConnected, SchemaMismatch
from host.board.link import BoardLink, LinkCounters
from host.twin.board_process import BoardProcess


@pytest.mark.parametrize(
    ("host_version", "stale_end", "fix"),
    [(protocol.PROTOCOL_VERSION + 1, "firmware", "make -C firmware"), (0, "host", "git pull && make setup")],
)
def test_the_stale_end_is_named(
    client: BoardClient, monkeypatch: pytest.MonkeyPatch, host_version: int, stale_end: str, fix: str
) -> None:
    monkeypatch.setattr(protocol, "SCHEMA_DIGEST", bytes(range(8)))
    monkeypatch.setattr(protocol, "PROTOCOL_VERSION", host_version)
    with pytest.raises(SchemaMismatch, match=f"The {stale_end} is stale; fix it with: .*{fix}") as caught:
        client.connect()
    assert caught.value.stale_end == stale_end
    assert "0001020304050607" in str(caught.value)
    with pytest.raises(NotConnected):
        client.status()


def test_an_edit_without_a_new_version_means_rebuild(client: BoardClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "SCHEMA_DIGEST", bytes(8))
    with pytest.raises(SchemaMismatch, match="make -C firmware protocol host"):
        client.connect()


def test_resume_finds_a_schema_that_changed(
    board: BoardProcess, armed: BoardClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    board.control("reset")
    monkeypatch.setattr(protocol, "SCHEMA_DIGEST", bytes(8))
    with pytest.raises(SchemaMismatch):
        armed.resume(Deadline(10, "resuming"))


def test_the_board_serves_next_to_nothing_after_a_foreign_hello(
    board: BoardProcess, dac_codes: NDArray[np.uint16]
) -> None:
    link = BoardLink.open(board.pty, protocol.MAX_PAYLOAD, LinkCounters(), Deadline(5, "opening"))
    talk = Conversation(link, lambda *_: None, lambda _: None)
    talk.request(protocol.Hello(bytes(8)), Deadline(5, "hello"))
    talk.request(protocol.Status(), Deadline(5, "status"))
    stage = protocol.StageThresholds(bytes(16), tuple(int(code) for code in dac_codes), (0,) * 15)
    with pytest.raises(BoardRefused, match="schema_mismatch"):
        talk.request(stage, Deadline(5, "staging"))
    link.close()
