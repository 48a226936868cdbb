"""The stream of measurements while the board is armed: credits, missing chunks, heartbeat, chunk size."""

import contextlib
import time
from collections import deque
from collections.abc import Callable

from host.board import protocol
from host.board.assembly import Assembler, BoardMeasurement, Geometry
from host.board.conversation import Conversation, refusal
from host.board.deadline import Deadline
from host.board.errors import BoardError, BoardFault, BoardLost, DeadlineExceeded
from host.board.protocol import Fault, Message, State

_CREDIT_AGAIN_S = 0.02  # doubles up to the longest while nothing changes
_CREDIT_LONGEST_S = 0.25  # an eighth of the board's heartbeat timeout: several may be lost
_CREDITS_BEFORE_ASKING = 3  # so many in vain, and the next measurement itself may have been lost
_SHORTEST_QUIET_S = 0.004
_LONGEST_QUIET_S = 0.05
_ROUND_TRIPS_QUIET = 8
_PROBE_AFTER_S = 0.3  # without any frame: is the board still there, and still armed?
_SILENT_S = 2.0  # of unanswered probes: the board is lost
_WRITE_S = 1.0
_COPIES = 2  # of the request for a few chunks, on a bad line
_FEW_CHUNKS = 16
_FIRST_WINDOW_FRAMES = 32  # about one measurement
_WINDOW_FRAMES = 128  # over which the share of damaged frames is judged
_CALM_WINDOW_FRAMES = 2048
_SMALL_CHUNKS_FROM = 0.05  # share of damaged frames
# A chunk of 32 bytes is hit five times less often than one of 240: at this share the long ones lose half of the above.
_LARGE_CHUNKS_BELOW = 0.004
_SEQUENCES = 1 << 32


def latched_fault(fault: int, channel: int) -> BoardFault:
    """The error for a fault's number and channel as they come over the wire."""
    try:
        name = Fault(fault).name.lower()
    except ValueError:
        name = f"fault_{fault}"
    return BoardFault(fault, name, None if channel == protocol.NO_CHANNEL else channel)


class StreamReader:
    """Reads the measurements of one ARM, in order and without gaps."""

    def __init__(
        self,
        conversation: Conversation,
        geometry: Geometry,
        thresholds_crc: int,
        slots: int,
        chunk_bytes: int,
        on_event: Callable[[str, str], None],
    ) -> None:
        """For a board that was armed just now and keeps `slots` measurements; `on_event(kind, message)`."""
        self._conversation = conversation
        self._assembler = Assembler(geometry, thresholds_crc, slots)
        self._slots = slots
        self._on_event = on_event
        self._ready: deque[BoardMeasurement] = deque()
        self._trouble: BoardError | None = None
        self._noticed: tuple[int, int] | None = None
        self._credited_s = -float("inf")
        self._credit_again_s = 0.0
        self._credits_in_vain = 0
        self._probed_s = 0.0
        self._unanswered_since_s: float | None = None
        self._small_chunk = geometry.smallest_chunk_bytes()
        self._large_chunk = max(chunk_bytes, self._small_chunk)
        self._chunk_bytes = self._wanted_chunk = self._large_chunk
        self._asked_chunk_s = 0.0
        self._window_start = self._frame_counts()
        self._judged = False

    @property
    def chunk_bytes(self) -> int:
        """Bytes of codes in each chunk that the board was last told to send."""
        return self._chunk_bytes

    def read(self, deadline: Deadline) -> BoardMeasurement | None:
        """The next measurement, or None at the deadline. Keeps the board armed meanwhile.

        Raises BoardLost, BoardFault, ThresholdMismatch, ProtocolViolation.
        """
        wait_s = 0.0
        while True:
            if not self._ready:
                self._conversation.pump(deadline.at_most_s(wait_s))
                self.collect()
            if self._ready:
                measurement = self._ready.popleft()
                self._credits_in_vain = 0
                self._credit_again_s = _CREDIT_AGAIN_S
                self._send_credit(time.monotonic())
                return measurement
            if self._trouble is not None:
                raise self._trouble
            wait_s = self._keep_flowing(time.monotonic())
            if deadline.expired:
                return None

    def collect(self) -> None:
        """Move what is complete to where `read` takes it from."""
        now_s = time.monotonic()
        while (measurement := self._assembler.take(now_s)) is not None:
            self._ready.append(measurement)

    def leftover(self) -> list[BoardMeasurement]:
        """Complete measurements that were not read yet; they are worth delivering after a loss, too."""
        # One that is refused is no longer of interest: after a loss the board starts anew.
        with contextlib.suppress(BoardError):
            self.collect()
        return list(self._ready)

    def prepend(self, measurements: list[BoardMeasurement]) -> None:
        """Deliver these before all others."""
        self._ready.extendleft(reversed(measurements))

    def on_stream(self, kind: int, payload: bytes) -> None:
        """Take one message that is no reply."""
        if kind == protocol.Measurement.TYPE:
            self._assembler.add(payload, self._conversation.heard_s)
        elif kind == protocol.FaultNotice.TYPE and len(payload) == protocol.FaultNotice.SIZE:
            notice = protocol.FaultNotice.unpack(payload)
            seen = (notice.fault, notice.channel)
            # One damaged frame in 65,536 passes its CRC: believe a fault that the board confirms or repeats.
            if self._noticed == seen:
                self._trouble = latched_fault(*seen)
            self._noticed = seen
            self._post(protocol.Status())

    def on_reply(self, reply: Message) -> None:
        """Take the reply to a posted command."""
        if isinstance(reply, protocol.HeartbeatReply):
            if reply.state != State.ARMED:
                self._post(protocol.Status())
        elif isinstance(reply, protocol.StatusReply):
            if reply.state == State.FAULTED:
                self._trouble = latched_fault(reply.fault, reply.fault_channel)
            elif reply.state != State.ARMED:
                self._trouble = BoardLost("the board is no longer armed: it has restarted", restarted=True)
            else:
                self._noticed = None
        elif isinstance(reply, protocol.SetChunkReply):
            self._chunk_bytes = self._wanted_chunk
            self._on_event("chunk_size", f"measurements now come in chunks of {self._chunk_bytes} bytes")
        elif isinstance(reply, protocol.ErrorReply):
            error = refusal("a command", reply)
            if isinstance(error, BoardLost):
                self._trouble = error
            elif reply.command == protocol.SetChunk.TYPE:
                self._wanted_chunk = self._small_chunk = self._large_chunk = self._chunk_bytes
            else:
                self._post(protocol.Status())

    def _keep_flowing(self, now_s: float) -> float:
        """Send what is due; seconds until the next thing is."""
        if now_s - self._credited_s >= self._credit_again_s:
            self._credit_again_s = min(_CREDIT_LONGEST_S, max(_CREDIT_AGAIN_S, 2 * self._credit_again_s))
            self._credits_in_vain += 1
            self._send_credit(now_s)
            if self._credits_in_vain > _CREDITS_BEFORE_ASKING and (ask := self._assembler.ask_for_start()) is not None:
                self._notify(protocol.Resend(*ask))
        quiet_s = min(_LONGEST_QUIET_S, max(_SHORTEST_QUIET_S, _ROUND_TRIPS_QUIET * self._conversation.round_trip_s))
        for sequence, bitmap in self._assembler.missing(now_s, quiet_s):
            self._conversation.counters.resends += 1
            # Where frames are often damaged the last few chunks cost most of the time: each copy brings them once more.
            missing = int.from_bytes(bitmap, "little").bit_count()
            for _ in range(_COPIES if self._wanted_chunk < self._large_chunk and missing <= _FEW_CHUNKS else 1):
                self._notify(protocol.Resend(sequence, bitmap))
        self._probe(now_s)
        self._judge_line()
        if self._wanted_chunk != self._chunk_bytes and now_s - self._asked_chunk_s > 4 * self._conversation.retry_s():
            self._asked_chunk_s = now_s
            self._post(protocol.SetChunk(self._wanted_chunk))
        wait_s = self._credited_s + self._credit_again_s - now_s
        return min(wait_s, quiet_s) if self._assembler.incomplete() else wait_s

    def _send_credit(self, now_s: float) -> None:
        complete = self._assembler.next_sequence
        self._credited_s = now_s
        # Until it is known how good the line is, one measurement at a time: chunks that are too long stay so in the
        # board's slots. Later all slots, but filled only as fast as the caller reads: nothing piles up here.
        self._judge_line()
        slots = self._slots if self._judged and self._wanted_chunk == self._chunk_bytes else 1
        limit = (complete + max(0, slots - len(self._ready))) % _SEQUENCES
        self._notify(protocol.Credit(complete, limit))

    def _probe(self, now_s: float) -> None:
        heard_s = self._conversation.heard_s
        if self._unanswered_since_s is not None and heard_s > self._unanswered_since_s:
            self._unanswered_since_s = None
        if now_s - max(heard_s, self._probed_s) < _PROBE_AFTER_S:
            return
        self._conversation.link.transport.check_path()
        if self._unanswered_since_s is None:
            self._unanswered_since_s = now_s
        elif now_s - self._unanswered_since_s > _SILENT_S:
            raise BoardLost(f"the board has not answered for {_SILENT_S:g} s")
        self._probed_s = now_s
        self._post(protocol.Heartbeat())

    def _frame_counts(self) -> tuple[int, int]:
        return self._conversation.counters.good_frames, self._conversation.counters.bad_frames

    def _judge_line(self) -> None:
        """Small chunks on a line that damages many frames, large ones again once it is calm."""
        good, bad = self._frame_counts()
        good -= self._window_start[0]
        bad -= self._window_start[1]
        small = self._wanted_chunk < self._large_chunk
        window = _CALM_WINDOW_FRAMES if small else _WINDOW_FRAMES if self._judged else _FIRST_WINDOW_FRAMES
        if good + bad < window:
            return
        self._judged = True
        share = bad / (good + bad)
        self._window_start = self._frame_counts()
        if not small and share > _SMALL_CHUNKS_FROM:
            self._wanted_chunk = self._small_chunk
        elif small and share < _LARGE_CHUNKS_BELOW:
            self._wanted_chunk = self._large_chunk

    def _notify(self, notice: Message) -> None:
        self._written(self._conversation.notify, notice)

    def _post(self, command: Message) -> None:
        self._written(self._conversation.post, command)

    def _written(self, send: Callable[[Message, Deadline], None], message: Message) -> None:
        try:
            send(message, Deadline(_WRITE_S, "writing to the board"))
        except DeadlineExceeded as error:
            raise BoardLost(f"the board has not read its port for {_WRITE_S:g} s") from error
