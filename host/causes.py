"""Why the sensor is blind: each error of board or port as a reason, what to do, and whether it mends by itself."""

from dataclasses import dataclass

from host.board.errors import (
    BoardError,
    BoardFault,
    BoardIdentityMismatch,
    BoardProgramError,
    SchemaMismatch,
    ThresholdMismatch,
)
from host.capture import SelfTestFailed


@dataclass(frozen=True, slots=True)
class Cause:
    """`latched`: stays until an operator acts. Otherwise the daemon tries again by itself, with back-off."""

    kind: str
    reason: str
    latched: bool
    advice: str = ""


def cause_of(error: BoardError | ValueError) -> Cause:
    """The cause behind an error of the board client; ValueError: the board cannot measure what the bundle asks for.

    A lost port, a restarted board, a missed heartbeat and a supply that came back mend themselves. Hardware that drifts
    or sticks, and ends that do not belong together, stay blind: trying again could turn a doubtful sensor into one that
    looks healthy.
    """
    kind = type(error).__name__
    match error:
        case BoardFault():
            return Cause(f"board fault {error.name}", error.reason, not error.recoverable, error.advice)
        case ValueError():
            return Cause("bundle and board", str(error), True, "use a bundle that fits the board, then start again")
        case SchemaMismatch() | ThresholdMismatch() | BoardIdentityMismatch() | SelfTestFailed() | BoardProgramError():
            return Cause(kind, str(error), True)
        case _:
            return Cause(kind, str(error), False)
