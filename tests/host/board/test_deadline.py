"""One deadline bounds every wait of an operation."""

import math

import pytest

from host.board.deadline import Deadline
from host.board.errors import BoardError, DeadlineExceeded


def test_waits_never_exceed_what_is_left() -> None:
    deadline = Deadline(0.2, "testing")
    assert 0 < deadline.remaining_s() <= 0.2
    assert deadline.at_most_s(10) <= 0.2
    assert deadline.at_most_s(0.001) == 0.001
    assert not deadline.expired
    deadline.check()


def test_an_expired_deadline_says_what_it_was_for() -> None:
    deadline = Deadline(0, "waiting for the board")
    assert deadline.expired
    assert deadline.remaining_s() == 0
    with pytest.raises(DeadlineExceeded, match=r"timed out after 0 s while waiting for the board.*last heard"):
        deadline.check("last heard: nothing")
    with pytest.raises(TimeoutError):
        deadline.pause(1)
    assert issubclass(DeadlineExceeded, BoardError)


def test_a_pause_ends_with_the_deadline() -> None:
    deadline = Deadline(0.02, "pausing")
    deadline.pause(60)
    assert deadline.expired


@pytest.mark.parametrize("seconds", [-1, -math.inf, math.nan])
def test_a_deadline_needs_a_time(seconds: float) -> None:
    with pytest.raises(ValueError, match="seconds >= 0"):
        Deadline(seconds, "testing")
