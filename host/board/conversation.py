"""Commands and their replies over a link: repeated under the same sequence until answered or out of time."""

import time
from collections.abc import Callable

from host.board import protocol
from host.board.deadline import Deadline
from host.board.errors import BoardLost, BoardRefused, ProtocolViolation
from host.board.link import BoardLink, LinkCounters
from host.board.protocol import ErrorCode, Message

_FIRST_RETRY_S = 0.1  # until a round trip has been measured
_UNKNOWN_ROUND_TRIP_S = 0.001
_SHORTEST_RETRY_S = 0.02
_LONGEST_RETRY_S = 0.25
_RETRY_GROWTH = 1.5
_REMEMBERED = 32

_ADVICE = {
    ErrorCode.UNKNOWN_COMMAND: "the firmware is older than the host: rebuild and flash it",
    ErrorCode.WRONG_STATE: "the board is in a state that does not allow it: connect, provision and arm in this order",
    ErrorCode.BAD_VALUE: "a value is out of the range in docs/protocol.md",
    ErrorCode.CRC_MISMATCH: "the thresholds on the board are not those that were provisioned: provision again",
    ErrorCode.ENCODING_MISMATCH: "the board holds another encoding than the bundle: provision again",
    ErrorCode.BAD_GEOMETRY: "the measurement has more cells or chunks than the board can hold: use a smaller geometry",
    ErrorCode.SUPPLY_LOW: "the supply voltage is too low: use a stronger supply or a shorter cable",
    ErrorCode.FAULT_PERSISTS: "the cause of the fault is still there: remove it first",
    ErrorCode.NOT_APPLIED: "the sensor did not take the exposure: check the sensor's cable",
    ErrorCode.DAC_WRITE_FAILED: "the DAC does not answer: check its wiring and supply",
    ErrorCode.DAC_MISMATCH: "the DAC does not hold what was written: check its wiring and supply",
}


class Conversation:
    """Everything said over one open link. Replies that nobody waits for any more are counted and dropped."""

    def __init__(self, link: BoardLink, on_stream: Callable[[int, bytes], None], on_reply: Callable[[Message], None]):
        """`on_stream(type, payload)` gets stream messages, `on_reply(reply)` the replies to posted commands."""
        self.link = link
        self.counters: LinkCounters = link.counters
        self.heard_s = time.monotonic()
        self._on_stream = on_stream
        self._on_reply = on_reply
        # Starts anywhere, so that a reply meant for the program that used the port before matches nothing.
        self._sequence = time.monotonic_ns() // 1000 & 0xFFFF
        self._awaited: tuple[int, int] | None = None  # sequence, type of the command
        self._reply: Message | None = None
        self._posted: dict[int, int] = {}  # sequence -> type of the command
        self._round_trip_s: float | None = None
        self._deviation_s = 0.0

    @property
    def round_trip_s(self) -> float:
        """Smoothed time from a command to its reply, seconds."""
        return _UNKNOWN_ROUND_TRIP_S if self._round_trip_s is None else self._round_trip_s

    def retry_s(self) -> float:
        """How long to wait for a reply before the command is sent again (RFC 6298's estimate, other bounds)."""
        if self._round_trip_s is None:
            return _FIRST_RETRY_S
        return min(_LONGEST_RETRY_S, max(_SHORTEST_RETRY_S, self._round_trip_s + 4 * self._deviation_s))

    def pump(self, timeout_s: float) -> None:
        """Read what has arrived (waiting up to `timeout_s` seconds) and hand it on. Raises BoardLost."""
        frames = self.link.receive(timeout_s)
        if not frames:
            return
        self.heard_s = time.monotonic()
        for kind, sequence, payload in frames:
            if kind & protocol.REPLY_BIT:
                self._take_reply(kind, sequence, payload)
            else:
                self._on_stream(kind, payload)

    def request(self, command: Message, deadline: Deadline) -> Message:
        """Send `command` until it is answered, and return the reply.

        Every repetition has the same sequence, so the board answers from its cache and does not act twice. Raises
        BoardRefused on an error reply, BoardLost where the board has restarted or the port is gone, DeadlineExceeded.
        """
        sequence, kind = self._next(), _type_of(command)
        payload = command.pack()
        name = type(command).__name__
        retry_s = self.retry_s()
        tries = 0
        self._awaited, self._reply = (sequence, kind), None
        try:
            while True:
                deadline.check(f"{name} sent {tries} times without a reply")
                self.link.send(kind, sequence, payload, deadline)
                tries += 1
                sent_s = time.monotonic()
                while (left_s := deadline.at_most_s(sent_s + retry_s - time.monotonic())) > 0:
                    self.pump(left_s)
                    if self._reply is not None:
                        if tries == 1:
                            self._measured(time.monotonic() - sent_s)
                        return self._accepted(name, self._reply)
                self.counters.retransmits += 1
                retry_s = min(_LONGEST_RETRY_S, retry_s * _RETRY_GROWTH)
        finally:
            self._awaited = None

    def post(self, command: Message, deadline: Deadline) -> None:
        """Send `command` once without waiting; its reply, if one comes, goes to `on_reply`. For idempotent commands."""
        sequence, kind = self._next(), _type_of(command)
        self._posted[sequence] = kind
        while len(self._posted) > _REMEMBERED:
            del self._posted[next(iter(self._posted))]
        self.link.send(kind, sequence, command.pack(), deadline)

    def notify(self, notice: Message, deadline: Deadline) -> None:
        """Send a notice, which is never answered."""
        self.link.send(_type_of(notice), self._next(), notice.pack(), deadline)

    def _next(self) -> int:
        self._sequence = (self._sequence + 1) & 0xFFFF
        return self._sequence

    def _take_reply(self, kind: int, sequence: int, payload: bytes) -> None:
        message_type = protocol.FROM_BOARD.get(kind)
        try:
            reply = None if message_type is None else message_type.unpack(payload)
        except protocol.ProtocolError:
            # Only the reply to HELLO may differ in size between versions; all else is damage that passed the CRC.
            reply = _foreign_hello(payload) if kind == protocol.HelloReply.TYPE else None
        if reply is None:
            self.counters.stale_replies += 1
            return
        command = reply.command if isinstance(reply, protocol.ErrorReply) else kind & ~protocol.REPLY_BIT
        if self._awaited == (sequence, command):
            self._reply = reply
        elif self._posted.get(sequence) == command:
            del self._posted[sequence]
            self._on_reply(reply)
        else:
            self.counters.stale_replies += 1

    def _measured(self, round_trip_s: float) -> None:
        if self._round_trip_s is None:
            self._round_trip_s, self._deviation_s = round_trip_s, round_trip_s / 2
            return
        self._deviation_s += (abs(round_trip_s - self._round_trip_s) - self._deviation_s) / 4
        self._round_trip_s += (round_trip_s - self._round_trip_s) / 8

    def _accepted(self, name: str, reply: Message) -> Message:
        if not isinstance(reply, protocol.ErrorReply):
            return reply
        raise refusal(name, reply)


def refusal(name: str, reply: protocol.ErrorReply) -> BoardLost | BoardRefused:
    """The error that an error reply to the command `name` stands for."""
    if reply.code == ErrorCode.HELLO_REQUIRED:
        return BoardLost("the board has restarted", restarted=True)
    try:
        code = ErrorCode(reply.code)
    except ValueError:
        return BoardRefused(
            name, reply.code, "an unknown error", reply.detail, "update the host: `git pull && make setup`"
        )
    advice = _ADVICE.get(code, "this is a fault in the host or the firmware: update both")
    return BoardRefused(name, reply.code, code.name.lower(), reply.detail, advice)


def _foreign_hello(payload: bytes) -> protocol.HelloReply | None:
    """What every version's reply to HELLO begins with, the rest left empty; None where even that is not there."""
    if len(payload) < 13:
        return None
    version = int.from_bytes(payload[8:10], "little")
    return protocol.HelloReply(payload[:8], version, payload[10:13], "", 0, 0, 0, 0, 0, 0, 0, 0, 0)


def _type_of(message: Message) -> int:
    if message.TYPE is None:
        raise ProtocolViolation(f"{type(message).__name__} travels inside another message and cannot be sent alone")
    return message.TYPE
