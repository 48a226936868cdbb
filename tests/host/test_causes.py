"""What blinds the sensor for good, and what mends by itself."""

import pytest

from host.board import errors
from host.board.errors import FAULTS, BoardFault
from host.causes import cause_of

LATCHED = [
    errors.SchemaMismatch("firmware", "protocol 1", "protocol 2", "make -C firmware host"),
    errors.ThresholdMismatch("DAC code 1 was read back, 2 was written", 3),
    errors.BoardIdentityMismatch("A", "B", "port"),
    errors.BoardProgramError("cannot be built"),
    ValueError("more cells than the board holds"),
]
MENDS = [
    errors.BoardLost("the port is gone"),
    errors.DeadlineExceeded("connecting", 5.0),
    errors.PortBusy("port"),
    errors.PortUnavailable("not there"),
    errors.ProtocolViolation("nonsense"),
]


@pytest.mark.parametrize("error", LATCHED, ids=lambda error: type(error).__name__)
def test_ends_that_do_not_belong_together_wait_for_a_person(error):
    cause = cause_of(error)
    assert cause.latched
    assert str(error) in cause.reason


@pytest.mark.parametrize("error", MENDS, ids=lambda error: type(error).__name__)
def test_lost_links_mend_by_themselves(error):
    assert not cause_of(error).latched


@pytest.mark.parametrize("name", sorted(FAULTS))
def test_board_faults(name):
    cause = cause_of(BoardFault(1, name, None))
    assert cause.latched == (name not in ("heartbeat_lost", "brown_out"))
    assert cause.reason
    assert cause.advice


def test_a_fault_that_this_version_does_not_know_is_latched():
    assert cause_of(BoardFault(99, "unknown", None)).latched
