"""Why the sensor is blind: each error of board or port as a reason, what to do, and whether it mends by itself."""

from collections.abc import Callable
from dataclasses import dataclass

from host.board.errors import (
    BoardError,
    BoardFault,
    BoardIdentityMismatch,
    BoardProgramError,
    ComparatorDrifted,
    SchemaMismatch,
    ThresholdMismatch,
)
from host.boundary.errors import BoundaryFailed
from host.capture import Identity, SelfTestFailed


@dataclass(frozen=True, slots=True)
class Cause:
    """`latched`: stays until an operator acts. Otherwise the daemon tries again by itself, with back-off."""

    kind: str
    reason: str
    latched: bool
    advice: str = ""


# A reason to be blind that lies outside of board and camera (a cover that is on, a seal that does not fit), None while
# there is none. Asked before verifying, after it and with every measurement: it must be quick.
Interlock = Callable[[Identity | None], Cause | None]


def cause_of(error: BoardError | BoundaryFailed | ValueError) -> Cause:
    """The cause behind an error of the board client or the boundary process; ValueError: the board cannot measure what
    the bundle asks for.

    A lost port, a restarted board, a missed heartbeat and a supply that came back mend themselves. Hardware that drifts
    or sticks, and ends that do not belong together, stay blind: trying again could turn a doubtful sensor into one that
    looks healthy.
    """
    kind = type(error).__name__
    match error:
        case BoundaryFailed():
            return Cause(error.kind, error.reason, error.latched, error.advice)
        case BoardFault():
            return Cause(f"board fault {error.name}", error.reason, not error.recoverable, error.advice)
        case ValueError():
            return Cause("bundle and board", str(error), True, "use a bundle that fits the board, then start again")
        case ComparatorDrifted():
            return Cause("comparator drifted", str(error), True)
        case SchemaMismatch() | ThresholdMismatch() | BoardIdentityMismatch() | SelfTestFailed() | BoardProgramError():
            return Cause(kind, str(error), True)
        case _:
            return Cause(kind, str(error), False)
