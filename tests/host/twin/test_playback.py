"""Winding back: a board that holds a later frame is given the earlier one first, and has let go before the answer."""

import os
import select
from collections import deque
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from host.twin.feed import Cells, Finished
from host.twin.pipeline import SceneClock, Stopwatch
from host.twin.playback import Playback


def cells(number: int) -> Cells:
    return Cells(number, number, number / 10, 10_000, 1.0, np.zeros((2, 2, 3), np.float32))


class Board:
    """A connection to a board that is not armed: it holds the frame that came last, and says which it let go of.

    Its report comes only when somebody waits for it, as that of a process of its own does.
    """

    def __init__(self) -> None:
        self.descriptor, self._waker = os.pipe()
        self.held: list[int] = []
        self._said: deque[Finished] = deque()
        self.waited = False

    def send(self, frame: Cells) -> bool:
        if self.held:
            self._said.append(Finished(self.held[-1], False))
            os.write(self._waker, b"\0")
        self.held.append(frame.index)
        return True

    def reports(self) -> list[Finished]:
        if not select.select([self.descriptor], [], [], 0)[0]:
            return []
        os.read(self.descriptor, 64)
        self.waited = True
        said, self._said = list(self._said), deque()
        return said

    def connect(self) -> bool:
        return True


@pytest.fixture
def played() -> tuple[Any, Board]:
    """A playback whose new board holds frame 5, while frames 3 and 4 were measured by the one before and lost."""
    pipeline = SimpleNamespace(
        stopwatch=Stopwatch(), cells=SimpleNamespace(poll=lambda: None, ended=False), exposure=SimpleNamespace()
    )
    board: Any = SimpleNamespace(frames_socket="nowhere")
    playback: Any = Playback(pipeline, board, SceneClock(False, 0.1), False, None, None)  # type: ignore[arg-type]
    playback._feed = fake = Board()
    playback._kept.extend(cells(number) for number in range(5))
    playback._measured = 5
    playback._current = cells(5)
    playback._advance()
    assert fake.held == [5]
    return playback, fake


def test_the_later_frame_is_let_go_before_the_host_arms(played: tuple[Any, Board]) -> None:
    playback, board = played
    assert playback._rewind(3) == 2
    # By now the host arms the board: what it holds is measured first.
    assert board.held[-1] == 3
    assert board.waited
    assert playback._current.index == 3
    assert [frame.index for frame in playback._again] == [4, 5]


def test_without_anything_to_offer_again_the_frame_stays(played: tuple[Any, Board]) -> None:
    playback, board = played
    assert playback._rewind(5) == 0
    assert board.held == [5]
    assert playback._current.index == 5


def test_a_board_that_says_nothing_is_not_waited_for_without_end(
    played: tuple[Any, Board], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("host.twin.playback.LET_GO_S", 0.05)
    playback, board = played
    monkeypatch.setattr(board, "send", lambda frame: bool(board.held.append(frame.index) or True))
    assert playback._rewind(3) == 2
    assert board.held[-1] == 3
