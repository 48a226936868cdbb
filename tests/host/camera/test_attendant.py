"""A call into a camera comes back by its deadline, whatever the camera does."""

import threading

import pytest

from host.board.deadline import Deadline
from host.camera.attendant import Attendant, Stuck


def _fail() -> None:
    raise OSError("the cable")


def test_results_and_errors_come_back_to_the_caller() -> None:
    attendant = Attendant("test")
    assert attendant.call(lambda: 7, Deadline(10, "counting")) == 7
    assert attendant.call(threading.get_ident, Deadline(10, "asking")) != threading.get_ident()
    with pytest.raises(OSError, match="the cable"):
        attendant.call(_fail, Deadline(10, "failing"))
    assert attendant.call(lambda: 8, Deadline(10, "counting on")) == 8
    attendant.dismiss()


def test_a_call_that_does_not_come_back_is_left_behind() -> None:
    attendant, hold, tidied = Attendant("test"), threading.Event(), threading.Event()
    with pytest.raises(Stuck, match="waiting did not come back within"):
        attendant.call(hold.wait, Deadline(0.01, "waiting"), late=tidied.set)
    assert attendant.stuck == "waiting"
    with pytest.raises(Stuck, match="still waiting"):
        attendant.call(lambda: 1, Deadline(10, "counting"))
    assert not tidied.is_set()
    hold.set()
    assert tidied.wait(10), "what it brought is put away once it does come back"
    attendant.dismiss()


def test_a_late_call_that_fails_is_put_away_as_well() -> None:
    attendant, hold, tidied = Attendant("test"), threading.Event(), threading.Event()

    def late() -> None:
        hold.wait()
        _fail()

    with pytest.raises(Stuck):
        attendant.call(late, Deadline(0, "failing"), late=tidied.set)
    hold.set()
    assert tidied.wait(10)
    attendant.dismiss()


def test_the_thread_ends_when_it_is_dismissed() -> None:
    attendant = Attendant("test")
    thread = attendant.call(threading.current_thread, Deadline(10, "asking"))
    attendant.dismiss()
    thread.join(10)
    assert not thread.is_alive()
    assert thread.daemon, "and the program never waits for it"
