"""One deadline per operation: made once where the operation starts, handed down to every wait inside it."""

import time

from host.board.errors import DeadlineExceeded


class Deadline:
    """A moment on the monotonic clock by which `operation` must have finished.

    Every wait inside the operation is bounded by `remaining_s`, so nested waits cannot add up to more than that.
    """

    __slots__ = ("_end_s", "operation", "seconds")

    def __init__(self, seconds: float, operation: str) -> None:
        """Start now; `seconds` >= 0 (else ValueError, NaN included). `operation` completes "timed out while ..."."""
        if not seconds >= 0:
            raise ValueError(f"a deadline needs a number of seconds >= 0, not {seconds!r}")
        self.seconds = float(seconds)
        self.operation = operation
        self._end_s = time.monotonic() + self.seconds

    def __repr__(self) -> str:
        return f"Deadline({self.seconds:g} s, {self.operation!r}, {self.remaining_s():.3f} s left)"

    @property
    def expired(self) -> bool:
        """Whether the time is used up."""
        return time.monotonic() >= self._end_s

    def remaining_s(self) -> float:
        """Seconds left, never negative."""
        return max(0.0, self._end_s - time.monotonic())

    def at_most_s(self, seconds: float) -> float:
        """`seconds`, or what is left where that is less: the length of one wait inside the operation."""
        return min(seconds, self.remaining_s())

    def check(self, last_seen: str = "") -> None:
        """Raise DeadlineExceeded once the time is used up; `last_seen` says what was last heard, if that helps."""
        if self.expired:
            raise DeadlineExceeded(self.operation, self.seconds, last_seen)

    def pause(self, seconds: float) -> None:
        """Sleep for `seconds`, but not beyond the deadline; raises DeadlineExceeded once there is no time left."""
        self.check()
        time.sleep(self.at_most_s(seconds))
