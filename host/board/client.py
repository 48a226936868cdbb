"""The board as the daemon sees it: provision, arm, read measurements, and pick all of it up again after a loss."""

import contextlib
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from host.board import protocol
from host.board.assembly import BoardMeasurement, Geometry
from host.board.bench import ApproachName, codes_of, convert_commands, convert_seconds, sweep_commands, sweep_seconds
from host.board.conversation import Conversation
from host.board.deadline import Deadline
from host.board.errors import (
    BoardError,
    BoardFault,
    BoardIdentityMismatch,
    BoardLost,
    BoardRefused,
    DeadlineExceeded,
    NotConnected,
    PortUnavailable,
    ProtocolViolation,
    ThresholdMismatch,
)
from host.board.identity import check_schema, firmware_text
from host.board.link import BoardLink, LinkCounters
from host.board.plan import Plan
from host.board.protocol import ErrorCode, HelloReply, Message, State, StatusReply
from host.board.reports import BoardEvent, SelfTest
from host.board.stream import StreamReader, latched_fault
from host.board.thresholds import BoardThresholds, checked_trims, dac_codes_to_bytes, thresholds_digest, wire_id
from host.board.transport import DEFAULT_BAUD

OPERATION_S = 5.0
RESUME_S = 30.0
_CLOSE_S = 0.5
_FAULT_AGAIN_S = 0.1
_REOPEN_S = 0.05
_Reply = TypeVar("_Reply", bound=Message)


class BoardClient:
    """One board behind one stable path. Not thread-safe, and without threads: everything happens in the caller's calls.

    While armed, `read_measurement` has to be called at least once a second: it is the heartbeat too, and a host that
    hangs must blind the board. Every operation takes one Deadline (or its own default) and may raise DeadlineExceeded,
    BoardLost, BoardFault, BoardRefused or NotConnected; after BoardLost and recoverable faults call `resume`.
    """

    def __init__(
        self, path: str | Path, *, on_event: Callable[[BoardEvent], None] | None = None, baud: int = DEFAULT_BAUD
    ) -> None:
        """Nothing is opened yet. `path` is a stable one (/dev/serial/by-id/..., or the twin's symlink)."""
        self.path = str(path)
        self.counters = LinkCounters()
        self._on_event = on_event
        self._baud = baud
        self._conversation: Conversation | None = None
        self._hello: HelloReply | None = None
        self._plan: Plan | None = None
        self._committed = False
        self._stream: StreamReader | None = None
        self._leftover: list[BoardMeasurement] = []

    def __enter__(self) -> "BoardClient":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def identity(self) -> HelloReply:
        """What the board said about itself when it was last connected. NotConnected before that."""
        if self._hello is None:
            raise NotConnected(f"no board has answered at {self.path} yet: call connect first")
        return self._hello

    @property
    def firmware(self) -> str:
        """The board's firmware version, such as "0.1.0"."""
        return firmware_text(self.identity)

    @property
    def round_trip_s(self) -> float:
        """Smoothed time from a command to its reply, seconds."""
        return self._talk().round_trip_s

    def connect(self, deadline: Deadline | None = None) -> HelloReply:
        """Open the port (waiting for it to appear) and shake hands.

        Raises PortUnavailable (PortMissing, PortBusy), SchemaMismatch, DeadlineExceeded.
        """
        deadline = deadline or Deadline(OPERATION_S, f"connecting to the board at {self.path}")
        self._drop()
        hello = self._open(deadline, patient=False)
        self._tell("connected", f"board {hello.board_serial}, firmware {self.firmware}, at {self.path}")
        return hello

    def status(self, deadline: Deadline | None = None) -> StatusReply:
        """The board's own account: state, fault, thresholds, counters, supply."""
        return self._command(protocol.Status(), StatusReply, deadline)

    def heartbeat(self, deadline: Deadline | None = None) -> State:
        """Tell the board that the host lives, and get its state. `read_measurement` does this by itself."""
        return State(self._command(protocol.Heartbeat(), protocol.HeartbeatReply, deadline).state)

    def provision(
        self, encoding_id: str, dac_codes: ArrayLike, trims: ArrayLike | None = None, deadline: Deadline | None = None
    ) -> str:
        """Bring thresholds, uint16 (15,) DAC codes, onto the board and verify each as read back; returns their digest.

        `encoding_id` is the encoding's hexadecimal id; its first 16 bytes go to the board. `trims`, int16 (15,), cancel
        the comparators' offsets: the board writes code + trim, and the digest covers both. An armed board is disarmed
        first, and a fault that needs no person is cleared. Raises ThresholdMismatch, BoardFault, ValueError.
        """
        deadline = deadline or Deadline(OPERATION_S, "provisioning thresholds")
        wanted = tuple(memoryview(dac_codes_to_bytes(dac_codes)).cast("H"))
        added = tuple(checked_trims(wanted, trims).tolist())
        plan = Plan(encoding_id, wanted, added, exposure=self._plan.exposure if self._plan else None)
        self._provision(plan, deadline)
        self._plan = plan
        digest = thresholds_digest(wanted, added)
        self._tell("provisioned", f"thresholds {digest} verified on every channel")
        return digest

    def read_thresholds(self, deadline: Deadline | None = None) -> BoardThresholds:
        """What the board reads back from its threshold channels now, and the trims in it; changes nothing."""
        reply = self._command(protocol.ReadThresholds(), protocol.ReadThresholdsReply, deadline)
        return BoardThresholds(np.array(reply.readback, np.uint16), np.array(reply.trims, np.int16), reply.crc32)

    def arm(
        self,
        rows: int,
        columns: int,
        channels: int,
        *,
        chunk_bytes: int = protocol.CHUNK_BYTES_MAX,
        deadline: Deadline | None = None,
    ) -> None:
        """Start measuring frames of rows x columns x channels cells. `provision` comes first.

        `chunk_bytes` (32..240) is how measurements are cut on the wire; it falls to 32 by itself while the line is bad.
        Raises NotConnected, ValueError (more cells than the board holds), ThresholdMismatch, BoardRefused (supply).
        """
        if self._plan is None or not self._committed:
            raise NotConnected("the board holds no verified thresholds: call provision first")
        geometry = Geometry(rows, columns, channels)
        plan = replace(self._plan, geometry=geometry, chunk_bytes=chunk_bytes)
        self._arm(plan, geometry, deadline or Deadline(OPERATION_S, "arming the board"))
        self._plan = plan
        self._tell("armed", f"measuring {rows} x {columns} x {channels} cells")

    def set_exposure(self, exposure_us: float, gain: float, deadline: Deadline | None = None) -> None:
        """Hand exposure (microseconds) and gain (1 = none) to the sensor; measurements say from when on they hold."""
        if not 0 < exposure_us < 2**32 or not 0 < gain * 1000 < 2**32:
            raise ValueError(f"exposure_us and gain must be positive, not {exposure_us!r} and {gain!r}")
        self._command(protocol.SetExposure(round(exposure_us), round(gain * 1000)), protocol.SetExposureReply, deadline)
        if self._plan is not None:
            self._plan = replace(self._plan, exposure=(exposure_us, gain))

    def read_measurement(self, timeout_s: float = 1.0) -> BoardMeasurement | None:
        """The next measurement in order, or None where none was complete after `timeout_s` seconds.

        Raises BoardLost (port gone, board restarted), BoardFault (latched), ThresholdMismatch (made with other
        thresholds than provisioned), ProtocolViolation, NotConnected.
        """
        deadline = Deadline(timeout_s, "reading a measurement")
        if self._stream is None:
            if self._leftover:
                return self._leftover.pop(0)
            raise NotConnected("the board is not armed: call arm, or resume after a loss")
        try:
            return self._stream.read(deadline)
        except BoardLost as error:
            self._lost(error)
            raise
        except BoardError:
            self._stop_stream()
            raise

    def disarm(self, deadline: Deadline | None = None) -> None:
        """Stop measuring; the board drives the safe table and has to be provisioned again."""
        self._committed = False
        self._stream = None
        self._leftover = []
        self._command(protocol.Disarm(), protocol.DisarmReply, deadline)

    def selftest(self, deadline: Deadline | None = None) -> SelfTest:
        """Let the board test its DAC channels and comparators. Not while armed; provision again afterwards."""
        self._committed = False
        return SelfTest.from_reply(self._command(protocol.SelfTest(), protocol.SelfTestReply, deadline))

    def sweep(
        self,
        comparator: int,
        start: int,
        step: int,
        count: int,
        reads: int = 16,
        approach: ApproachName = "below",
        deadline: Deadline | None = None,
    ) -> NDArray[np.uint16]:
        """In how many of `reads` readings a comparator was high at each level of its test cell: uint16 (count,).

        Level i is the DAC code start + i * step. Before each reading the cell is brought to DAC code 0 ("below") or
        65535 ("above"), or left at the level before ("none": at most 64 levels, from dark): hysteresis shows between
        the two. Needs committed or armed thresholds; measurements go on meanwhile, and the cell is dark afterwards.
        Raises ValueError (a level beyond the DAC's ends), BoardFault (the DAC failed), BoardRefused (wrong state).
        """
        deadline = deadline or Deadline(OPERATION_S + 4 * sweep_seconds(count, reads), "sweeping a comparator")
        commands = sweep_commands(comparator, start, step, count, reads, approach, self._stream is not None)
        counts = np.zeros(count, np.uint16)
        for first, command in commands:
            reply = self._command(command, protocol.SweepReply, deadline)
            counts[first : first + command.count] += np.frombuffer(reply.counts, np.uint8, command.count)
        return counts

    def convert(self, levels: ArrayLike, deadline: Deadline | None = None) -> NDArray[np.uint8]:
        """Codes uint8 (n,), 0..15, that the board's comparators give for its test cell at `levels`, DAC codes (n,).

        Each level is driven and read as a cell of a frame is, with the same watch over the comparators. Needs an armed
        board; measurements go on meanwhile. Raises ValueError (a level is no DAC code), BoardFault, BoardRefused (wrong
        state).
        """
        commands = convert_commands(levels)
        deadline = deadline or Deadline(OPERATION_S + 4 * convert_seconds(commands), "converting levels")
        codes = [codes_of(command, self._command(command, protocol.ConvertReply, deadline)) for command in commands]
        return np.concatenate([np.empty(0, np.uint8), *codes])

    def clear_fault(self, deadline: Deadline | None = None) -> None:
        """Clear the latched fault, if there is one. Raises BoardFault while its cause is still there."""
        deadline = deadline or Deadline(OPERATION_S, "clearing the board's fault")
        status = self.status(deadline)
        if status.state != State.FAULTED:
            return
        self._stop_stream()
        fault = latched_fault(status.fault, status.fault_channel)
        try:
            self._command(protocol.ClearFault(status.fault), protocol.ClearFaultReply, deadline)
        except BoardRefused as error:
            if error.code == ErrorCode.FAULT_PERSISTS:
                raise fault from error
            raise
        self._tell("fault_cleared", f"fault {fault.name} cleared: {fault.reason}")

    def reset(self, deadline: Deadline | None = None) -> None:
        """Restart the board. Afterwards `connect` (or `resume`) again."""
        self._command(protocol.Reset(), protocol.ResetReply, deadline)
        self._drop()

    def close(self) -> None:
        """Disarm the board, if it still listens, and close the port; safe to call twice."""
        if self._stream is not None and self._conversation is not None:
            with contextlib.suppress(BoardError):
                self.disarm(Deadline(_CLOSE_S, "disarming the board"))
        self._drop()
        self._leftover = []

    def resume(self, deadline: Deadline | None = None) -> HelloReply:
        """After BoardLost or a recoverable BoardFault: make the board again what it was, and go on.

        Waits for the port to come back, shakes hands, insists on the same board, clears heartbeat_lost and brown_out
        (the latter once the supply is back), provisions and verifies every threshold, restores the exposure and arms.
        The board's sequence starts again at 0. Raises BoardFault for any other fault (it needs a person),
        BoardIdentityMismatch, SchemaMismatch, ThresholdMismatch; at the deadline what was in the way last.
        """
        deadline = deadline or Deadline(RESUME_S, f"resuming the board at {self.path}")
        before = self.identity
        if self._plan is None:
            raise NotConnected("nothing to resume: the board was never provisioned")
        started_s = time.monotonic()
        while True:
            try:
                hello = self._resume_once(before, self._plan, deadline)
                break
            except (BoardLost, PortUnavailable):
                # It may well be lost again while it starts: only the deadline ends the attempts.
                self._drop()
                if deadline.expired:
                    raise
            except BoardRefused as error:
                if error.code != ErrorCode.SUPPLY_LOW or deadline.expired:
                    raise
            time.sleep(deadline.at_most_s(_REOPEN_S))
        how = "without a restart" if hello.boot_id == before.boot_id else "after a restart"
        took_s = time.monotonic() - started_s
        self._tell("resumed", f"board {hello.board_serial} provisioned and armed again {how}, in {took_s:.2f} s")
        return hello

    def _resume_once(self, before: HelloReply, plan: Plan, deadline: Deadline) -> HelloReply:
        self._stop_stream()
        self._drop()
        hello = self._open(deadline, patient=True, expected_serial=before.board_serial)
        self._provision(plan, deadline)
        if plan.exposure is not None:
            self.set_exposure(*plan.exposure, deadline)
        if plan.geometry is not None:
            self._arm(plan, plan.geometry, deadline)
        return hello

    def _open(self, deadline: Deadline, *, patient: bool, expected_serial: str | None = None) -> HelloReply:
        link = BoardLink.open(
            self.path, protocol.MAX_PAYLOAD, self.counters, deadline, baud=self._baud, patient=patient
        )
        self._conversation = Conversation(link, self._on_stream, self._on_reply)
        try:
            hello = self._command(protocol.Hello(protocol.SCHEMA_DIGEST), HelloReply, deadline)
            check_schema(hello)
            if expected_serial is not None and hello.board_serial != expected_serial:
                raise BoardIdentityMismatch(expected_serial, hello.board_serial, self.path)
        except BaseException:  # whatever ended it, Ctrl-C too: the port is given back
            self._drop()
            raise
        self._hello = hello
        return hello

    def _provision(self, plan: Plan, deadline: Deadline) -> None:
        encoding_id = wire_id(plan.encoding_id)
        self._settle(deadline)
        stage = protocol.StageThresholds(encoding_id, plan.dac_codes, plan.trims)
        staged = self._command(stage, protocol.StageThresholdsReply, deadline)
        plan.require_crc("received", staged.crc32)
        committed = self._command(protocol.Commit(plan.thresholds_crc), protocol.CommitReply, deadline)
        plan.require_readback(self._command(protocol.ReadThresholds(), protocol.ReadThresholdsReply, deadline))
        plan.require_crc("committed", committed.crc32)
        self._committed = True

    def _settle(self, deadline: Deadline) -> None:
        """Bring the board where thresholds can be staged: no fault latched, not armed."""
        self._stop_stream()
        status = self.status(deadline)
        while status.state == State.FAULTED:
            fault = latched_fault(status.fault, status.fault_channel)
            if not fault.recoverable:
                raise fault
            try:
                self.clear_fault(deadline)
            except BoardFault as still:
                # A brown-out lasts as long as it lasts; nothing but waiting helps.
                time.sleep(deadline.at_most_s(_FAULT_AGAIN_S))
                if deadline.expired or not still.recoverable:
                    raise
            except DeadlineExceeded as error:
                raise fault from error
            status = self.status(deadline)
        if status.state == State.ARMED:
            self._command(protocol.Disarm(), protocol.DisarmReply, deadline)

    def _arm(self, plan: Plan, geometry: Geometry, deadline: Deadline) -> None:
        command = plan.arm_command(geometry, self.identity.max_cells)
        self._stop_stream()
        self._command(command, protocol.ArmReply, deadline)
        slots = max(1, self.identity.measurement_slots)
        self._stream = StreamReader(
            self._talk(), geometry, command.thresholds_crc, slots, command.chunk_bytes, self._tell
        )
        self._stream.prepend(self._leftover)
        self._leftover = []

    def _command(self, command: Message, reply_type: type[_Reply], deadline: Deadline | None) -> _Reply:
        name = type(command).__name__
        deadline = deadline or Deadline(OPERATION_S, f"waiting for the board's reply to {name}")
        try:
            reply = self._talk().request(command, deadline)
        except BoardLost as error:
            self._lost(error)
            raise
        except BoardRefused as error:
            raise self._explained(error, deadline) from error
        if not isinstance(reply, reply_type):
            raise ProtocolViolation(f"the board answered {name} with {type(reply).__name__}: update host and firmware")
        return reply

    def _explained(self, error: BoardRefused, deadline: Deadline) -> BoardError:
        """What is behind a refusal: a latched fault or a DAC channel, where it is one of these."""
        if error.code == ErrorCode.DAC_MISMATCH:
            return ThresholdMismatch("the DAC does not read back what was written", error.detail)
        faulted = error.code == ErrorCode.WRONG_STATE and error.detail == State.FAULTED
        if faulted or error.code == ErrorCode.DAC_WRITE_FAILED:
            status = self.status(deadline)
            if status.state == State.FAULTED:
                self._stop_stream()
                return latched_fault(status.fault, status.fault_channel)
        return error

    def _talk(self) -> Conversation:
        if self._conversation is None:
            raise NotConnected(f"the port {self.path} is not open: call connect, or resume after a loss")
        return self._conversation

    def _on_stream(self, kind: int, payload: bytes) -> None:
        if self._stream is not None:
            self._stream.on_stream(kind, payload)

    def _on_reply(self, reply: Message) -> None:
        if self._stream is not None:
            self._stream.on_reply(reply)

    def _lost(self, error: BoardLost) -> None:
        self.counters.lost_ports += 1
        self._tell("lost", str(error))
        self._drop()

    def _stop_stream(self) -> None:
        """The board no longer measures: keep what is complete, forget the rest."""
        self._committed = False
        if self._stream is not None:
            self._leftover += self._stream.leftover()
            self._stream = None

    def _drop(self) -> None:
        self._stop_stream()
        if self._conversation is not None:
            self._conversation.link.close()
            self._conversation = None

    def _tell(self, kind: str, message: str) -> None:
        if self._on_event is not None:
            self._on_event(BoardEvent(kind, message, time.monotonic()))
