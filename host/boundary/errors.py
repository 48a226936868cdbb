"""What goes wrong at the boundary, as the daemon hears of it: a cause in words, never what was seen."""


class BoundaryFailed(Exception):  # noqa: N818 - reads as what happened, like the board's errors
    """The boundary process could not start, failed, hung or died.

    kind: short name of the fault (a camera error's `name`, "boundary hung", ...); reason: what was seen, advice: what
    to do; latched: stays until an operator acts.
    """

    def __init__(self, kind: str, reason: str, latched: bool = False, advice: str = "") -> None:
        super().__init__(reason)
        self.kind, self.reason, self.latched, self.advice = kind, reason, latched, advice


class WireError(Exception):
    """The bytes on the pipe are not what the boundary may say: the process at its other end must not be believed."""
