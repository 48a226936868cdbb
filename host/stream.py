"""Where a measurement stands among those before it: the next one, one seen already, or the first of another stream."""

import json
from dataclasses import asdict, dataclass, replace
from enum import Enum

WRAPPED = 2**31  # frame counters are 32 bits: a fall by more than half of that is a wrap, not a step back


class Place(Enum):
    """What a measurement is with regard to the last one."""

    NEXT = "next"
    SEEN = "seen"
    NEW_STREAM = "new stream"


@dataclass(frozen=True, slots=True)
class Position:
    """The last measurement that was taken into account. `stream` numbers recordings and starts of cameras; frame -1:
    none yet. Stored with the occupancy's state, so that a restarted daemon goes on where the last one stopped."""

    stream: int = 0
    boot_id: int = 0
    frame: int = -1


def follow(position: Position, boot_id: int, frame: int, same_scene: bool) -> tuple[Place, Position]:
    """Place of the measurement `frame` from the board start `boot_id`, and the position after it.

    `same_scene`: whether frames are known to come from the scene that gave the last one (the daemon's own twin, or the
    same start of the board). A restarted board may send its unfinished frame again; where the counter fell further
    than that, another scene or camera has begun.
    """
    after = replace(position, boot_id=boot_id, frame=frame)
    if position.frame < 0 or frame > position.frame or position.frame - frame > WRAPPED:
        return Place.NEXT, after
    if same_scene or boot_id == position.boot_id or frame == position.frame:
        return Place.SEEN, position
    return Place.NEW_STREAM, replace(after, stream=position.stream + 1)


def next_stream(position: Position) -> Position:
    """The position before the first measurement of a scene that has just been started."""
    return position if position.frame < 0 else Position(position.stream + 1)


def position_to_bytes(position: Position) -> bytes:
    return json.dumps(asdict(position)).encode()


def position_from_bytes(data: bytes | None) -> Position:
    """The stored position; the beginning for anything that is none."""
    try:
        values = json.loads(data or b"{}")
        return Position(int(values["stream"]), int(values["boot_id"]), int(values["frame"]))
    except (ValueError, KeyError, TypeError):
        return Position()
