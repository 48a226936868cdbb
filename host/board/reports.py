"""What the board client reports: events for the log, and the outcome of a self-test."""

from dataclasses import dataclass

from host.board import protocol


@dataclass(frozen=True, slots=True)
class BoardEvent:
    """Something for the operator's log. `kind` is connected, provisioned, armed, lost, fault_cleared, resumed or
    chunk_size; `message` says it in words; `time_s` is on the monotonic clock.
    """

    kind: str
    message: str
    time_s: float


@dataclass(frozen=True, slots=True)
class SelfTest:
    """What the board found: one truth for each of its 16 DAC channels and 15 comparators, and its supply in volts."""

    dac_ok: tuple[bool, ...]
    comparators_ok: tuple[bool, ...]
    supply_volts: float

    @classmethod
    def from_reply(cls, reply: protocol.SelfTestReply) -> "SelfTest":
        """What a board answered."""
        dac = tuple(bool(reply.dac_ok >> channel & 1) for channel in range(protocol.DAC_CHANNELS))
        comparators = tuple(bool(reply.comparators_ok >> channel & 1) for channel in range(protocol.COMPARATORS))
        return cls(dac, comparators, reply.supply_millivolts / 1000)

    @property
    def passed(self) -> bool:
        """Whether everything works and the supply is high enough to arm."""
        supplied = self.supply_volts * 1000 >= protocol.SUPPLY_RECOVERED_MILLIVOLTS
        return all(self.dac_ok) and all(self.comparators_ok) and supplied
