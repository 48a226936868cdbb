"""What can go wrong between host and board, one type each, in words for the person who meets it."""


class BoardError(Exception):
    """Any failure of the board, its link or its program. Every subclass says what to do about it."""


class DeadlineExceeded(BoardError, TimeoutError):  # noqa: N818 - it reads as what happened, like TimeoutError's siblings
    """An operation did not finish in its time."""

    def __init__(self, operation: str, seconds: float, last_seen: str = "") -> None:
        self.operation = operation
        self.seconds = seconds
        super().__init__(f"timed out after {seconds:g} s while {operation}" + (f" ({last_seen})" if last_seen else ""))


class BoardLost(BoardError):  # noqa: N818
    """The port is gone or the board restarted: what was armed is no longer. `BoardClient.resume` picks it up again."""

    def __init__(self, what: str, *, restarted: bool = False) -> None:
        self.restarted = restarted
        advice = "resume re-arms it" if restarted else "check its cable and power; resume waits for the port"
        super().__init__(f"{what}; {advice}")


class PortUnavailable(BoardError):  # noqa: N818
    """The serial port cannot be opened."""


class PortMissing(PortUnavailable):
    """There is nothing at the serial port's path."""


class PortBusy(PortUnavailable):
    """Another process holds the serial port."""

    def __init__(self, path: str) -> None:
        super().__init__(
            f"{path} is in use by another process; only one program may talk to the board."
            f" Stop the other one (`fuser -v {path}` names it; a running canopic daemon is the usual one) and try again"
        )


class ComparatorDrifted(BoardError):  # noqa: N818
    """A comparator no longer switches where it was calibrated."""


class NotConnected(BoardError):  # noqa: N818
    """An operation needs something that has not been done yet."""


class ProtocolViolation(BoardError):  # noqa: N818
    """The board sent something that passes its CRC and still breaks the protocol."""


class BoardRefused(BoardError):  # noqa: N818
    """The board answered a command with an error."""

    def __init__(self, command: str, code: int, code_name: str, detail: int, advice: str) -> None:
        self.command = command
        self.code = code
        self.code_name = code_name
        self.detail = detail
        super().__init__(f"the board refused {command}: {code_name} (code {code}, detail {detail}); {advice}")


class SchemaMismatch(BoardError):  # noqa: N818
    """Host and firmware were generated from different protocol definitions."""

    def __init__(self, stale_end: str, host: str, board: str, fix: str) -> None:
        self.stale_end = stale_end
        self.fix = fix
        super().__init__(
            f"host and board speak different protocols: the host has {host}, the board has {board}."
            f" The {stale_end} is stale; fix it with: {fix}"
        )


class ThresholdMismatch(BoardError):  # noqa: N818
    """The board's comparators do not have the thresholds that were asked for. `channel` 0..14, or None."""

    def __init__(self, what: str, channel: int | None = None) -> None:
        self.channel = channel
        where = "" if channel is None else f" on channel {channel}"
        super().__init__(
            f"thresholds differ{where}: {what}. No measurement is accepted until they match; provision again, and if it"
            " happens again run `canopic board selftest` and check the DAC's supply and wiring"
        )


class BoardIdentityMismatch(BoardError):  # noqa: N818
    """After a lost port another board answered."""

    def __init__(self, expected: str, found: str, path: str) -> None:
        self.expected = expected
        self.found = found
        super().__init__(
            f"{path} now leads to board {found!r}, expected {expected!r}; plug the expected board back in, or restart"
            " the daemon to accept the new one (its calibration may differ)"
        )


class BoardFault(BoardError):  # noqa: N818
    """The board latched a fault, disarmed itself and drives the safe table.

    `fault` is the fault's number on the wire, `name` its name, `channel` the comparator or DAC channel (None where
    it has none), `recoverable` whether `BoardClient.resume` may clear it without a person.
    """

    def __init__(self, fault: int, name: str, channel: int | None) -> None:
        self.fault = fault
        self.name = name
        self.channel = channel
        reason, advice, self.recoverable = FAULTS.get(
            name, (f"unknown fault {fault}", "update the host: `git pull && make setup`", False)
        )
        where = "" if channel is None else f" (channel {channel})"
        self.reason = reason + where
        self.advice = advice
        super().__init__(f"board fault {name}: {self.reason}; {advice}")


# Fault name on the wire -> (what happened, what to do, cleared without a person).
FAULTS: dict[str, tuple[str, str, bool]] = {
    "heartbeat_lost": (
        "the board heard nothing from the host for its heartbeat time and disarmed itself",
        "resume clears it; if it comes back the host is overloaded or the cable is bad",
        True,
    ),
    "brown_out": (
        "the board's supply voltage fell below its limit",
        "resume clears it once the supply is back; use a stronger supply or a shorter cable if it comes back",
        True,
    ),
    "readback_drift": (
        "a DAC channel no longer reads back the threshold that was written to it",
        "check the DAC's reference and wiring, then run `canopic board selftest` and clear the fault",
        False,
    ),
    "comparator_stuck": (
        "a comparator does not follow its input",
        "check the comparator's supply and wiring, then run `canopic board selftest` and clear the fault",
        False,
    ),
    "dac_write_failed": (
        "the DAC did not take a threshold",
        "check the DAC's SPI wiring and supply, then run `canopic board selftest` and clear the fault",
        False,
    ),
}


class BoardProgramError(BoardError):
    """The host build of the firmware cannot be built, found or started."""
