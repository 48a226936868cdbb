"""A light is on when the frames say so: it is switched, and frames are taken until they have come to rest."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from host.board.deadline import Deadline
from host.gpio.errors import LightUnsteady

# Frames that may have been exposed before the switching and are still on their way: the camera's own queue.
IN_FLIGHT_FRAMES = 6
# So many frames in a row have to agree.
STEADY_FRAMES = 3


class Switched(Protocol):
    """A light that can be switched."""

    def set(self, on: bool) -> None:
        """Switch it."""


@dataclass(frozen=True, slots=True)
class Settled:
    """What switching did. before, after: mean level of the sensor (any unit, as `observe` gives it); frames: captured
    for it. changed: whether the levels differ by more than the tolerance: a dead light changes nothing."""

    before: float
    after: float
    frames: int
    changed: bool


def switch_and_settle(
    light: Switched,
    on: bool,
    observe: Callable[[], tuple[int, float]],
    deadline: Deadline,
    tolerance: float,
    in_flight: int = IN_FLIGHT_FRAMES,
) -> Settled:
    """Switch a light and return once frames exposed after that agree. No time is slept: frames pass.

    observe: captures one frame and gives its number (Exposed.frame) and its mean level. Frames within `in_flight` of
    the last one before the switching are not counted. tolerance: levels that differ by less are equal; a few times the
    noise of a mean. Raises LightUnsteady where the deadline passes first, and what `observe` and the light raise.
    """
    last, before = observe()
    light.set(on)
    frames = 1
    levels: list[float] = []
    while True:
        number, level = observe()
        frames += 1
        if number > last + in_flight:
            levels = [*levels[1 - STEADY_FRAMES :], level]
        if len(levels) == STEADY_FRAMES and max(levels) - min(levels) <= tolerance:
            after = math.fsum(levels) / STEADY_FRAMES
            return Settled(before, after, frames, abs(after - before) > tolerance)
        if deadline.expired:
            spread = f"{max(levels) - min(levels):.3g}" if levels else "unknown"
            raise LightUnsteady(
                f"the light was switched {'on' if on else 'off'}, and after {frames} frames levels still differ by "
                f"{spread}, more than {tolerance:.3g}: look for other lamps, and whether the source's current is steady"
            )
