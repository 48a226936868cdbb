"""The wire protocol's messages.

Generated from firmware/protocol.yaml by firmware/generate_protocol.py: do not edit.

Each message is a frozen dataclass of its payload: `pack()` gives the payload's bytes, `unpack(payload)` reads them
back; both raise ProtocolError for a value or size that the protocol does not allow. Framing (COBS, CRC-16) is not
done here.
"""

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar, Self


class ProtocolError(ValueError):
    """A payload or a field does not fit the protocol."""


def _fixed(values: struct.Struct, payload: bytes, name: str, rest: bool) -> tuple[int | bytes, ...]:
    """The fixed part of a payload, unpacked. Raises ProtocolError when the payload has the wrong size."""
    if len(payload) < values.size or (len(payload) > values.size and not rest):
        relation = "at least " if rest else ""
        raise ProtocolError(f"{name}: payload of {len(payload)} bytes, expected {relation}{values.size}")
    fields: tuple[int | bytes, ...] = values.unpack_from(payload)
    return fields


def _packed(values: struct.Struct, name: str, *fields: int | bytes) -> bytes:
    """The fields packed. Raises ProtocolError when a number is out of range."""
    try:
        return values.pack(*fields)
    except struct.error as error:
        raise ProtocolError(f"{name}: {error}") from error


def _sized(value: bytes, size: int, name: str) -> bytes:
    """The value, if it has the size. Raises ProtocolError otherwise: struct would pad or cut it silently."""
    if len(value) != size:
        raise ProtocolError(f"{name}: {len(value)} bytes, expected {size}")
    return value


def _numbers(value: tuple[int, ...], count: int, name: str) -> tuple[int, ...]:
    """The value, if it has the length. Raises ProtocolError otherwise."""
    if len(value) != count:
        raise ProtocolError(f"{name}: {len(value)} numbers, expected {count}")
    return value


def _text(value: str, size: int, name: str) -> bytes:
    """ASCII text padded with zeros. Raises ProtocolError when it is too long or not ASCII."""
    if not value.isascii() or len(value) > size:
        raise ProtocolError(f"{name}: {value!r} is not ASCII text of at most {size} characters")
    return value.encode("ascii").ljust(size, b"\0")


class Message:
    """Base of all messages: `TYPE` is the type byte on the wire (None: travels inside another message)."""

    __slots__ = ()
    TYPE: ClassVar[int | None] = None
    SIZE: ClassVar[int] = 0

    def pack(self) -> bytes:
        """The payload. Raises ProtocolError when a field is out of range."""
        raise NotImplementedError

    @classmethod
    def unpack(cls, payload: bytes) -> Self:
        """The message in a payload. Raises ProtocolError when its size is wrong."""
        raise NotImplementedError


# [bytes] Longest payload of a frame, before COBS.
MAX_PAYLOAD = 512
# [bytes] Type (1), sequence (2) and CRC-16 (2) around the payload, before COBS.
FRAME_OVERHEAD = 5
# A reply has the type of its command with this bit set.
REPLY_BIT = 128
# Comparators, so thresholds, of one cell; codes are 0..15.
COMPARATORS = 15
# DAC channels: one for each comparator's threshold, the last one drives the test cell.
DAC_CHANNELS = 16
# Resolution of the DAC.
DAC_BITS = 16
# DAC code of the reference voltage; also every threshold of the safe table.
DAC_FULL_SCALE = 65535
# [uV] Reference voltage: full scale of thresholds and cells.
REFERENCE_MICROVOLTS = 2500000
# [bytes] Smallest chunk of a measurement.
CHUNK_BYTES_MIN = 32
# [bytes] Largest chunk of a measurement.
CHUNK_BYTES_MAX = 240
# Most chunks of codes in one measurement (chunk 0, the header, comes on top).
CHUNKS_MAX = 255
# [ms] An armed board that hears nothing valid for this long latches heartbeat_lost.
HEARTBEAT_TIMEOUT_MS = 2000
# [ms] A latched fault is announced again after this time, until cleared.
FAULT_REPEAT_MS = 500
# [ms] While armed, one DAC channel is read back and one comparator probed each interval.
CHECK_INTERVAL_MS = 5
# [DAC codes] A DAC channel that reads back further off than this while armed latches readback_drift (0.6 mV).
READBACK_TOLERANCE = 16
# [DAC codes] A comparator must switch this close to its wanted code (75 mV: untrimmed offset and noise together).
COMPARATOR_TOLERANCE = 1966
# [DAC codes] Largest trim of a threshold, either way (50 mV): a comparator that needs more is defective.
TRIM_MAX = 1311
# [us] A DAC channel has settled this long after a write.
DAC_WRITE_MICROSECONDS = 50
# [us] The comparators have settled, and are read, this long after their input has.
COMPARATORS_MICROSECONDS = 2
# Most levels of one SWEEP.
SWEEP_LEVELS_MAX = 64
# [us] Longest SWEEP while armed: frames and checks wait for it.
SWEEP_ARMED_MICROSECONDS = 30000
# Most levels of one CONVERT.
CONVERT_LEVELS_MAX = 240
# [mV] A supply below this latches brown_out.
SUPPLY_MINIMUM_MILLIVOLTS = 3000
# [mV] brown_out can be cleared, and the board armed, from this supply on.
SUPPLY_RECOVERED_MILLIVOLTS = 3100
# fault_channel when a fault concerns no single channel.
NO_CHANNEL = 255
# `version` of the definition, and first 8 bytes of the SHA-256 of its content.
PROTOCOL_VERSION = 2
SCHEMA_DIGEST = bytes.fromhex("a5503dbfc33f853a")


class State(IntEnum):
    """What the board is doing; exactly one at a time."""

    # Safe table in the DAC, nothing staged.
    SAFE = 0
    # Thresholds received and checked, safe table still in the DAC.
    STAGED = 1
    # Thresholds written to every DAC channel and read back equal.
    COMMITTED = 2
    # Frames are measured and streamed.
    ARMED = 3
    # A fault is latched; safe table in the DAC; nothing is measured until it is cleared.
    FAULTED = 4


class Fault(IntEnum):
    """Why the board went blind. The first fault stays latched until cleared."""

    # No fault.
    NONE = 0
    # Armed, and the host said nothing valid for HEARTBEAT_TIMEOUT_MS.
    HEARTBEAT_LOST = 1
    # A DAC channel no longer reads back what was committed; fault_channel says which.
    READBACK_DRIFT = 2
    # A comparator does not follow its input, or contradicts the others; fault_channel says which.
    COMPARATOR_STUCK = 3
    # The supply fell below SUPPLY_MINIMUM_MILLIVOLTS.
    BROWN_OUT = 4
    # The DAC did not take a write or did not answer a readback; fault_channel says which channel.
    DAC_WRITE_FAILED = 5


class Approach(IntEnum):
    """Where a SWEEP brings the test cell from before each reading: hysteresis makes a comparator remember it."""

    # From wherever it was: the level before, or dark at the first.
    NONE = 0
    # From DAC code 0.
    BELOW = 1
    # From DAC_FULL_SCALE.
    ABOVE = 2


class Hardware(IntEnum):
    """What the firmware runs on: what may be claimed of a measurement depends on it."""

    # A program or an emulator: comparators and light are simulated.
    SIMULATED = 0
    # A board with real peak detectors, DAC and comparators.
    ANALOG = 1


class ErrorCode(IntEnum):
    """Why a command was refused."""

    # No command has this type; detail is the type.
    UNKNOWN_COMMAND = 1
    # The payload has the wrong size; detail is the size that was received.
    BAD_LENGTH = 2
    # HELLO named another schema digest: only HELLO, STATUS and RESET are served.
    SCHEMA_MISMATCH = 3
    # No HELLO since the board started: only HELLO, STATUS and RESET are served.
    HELLO_REQUIRED = 4
    # The command is not on the allow-list of the present state; detail is the state.
    WRONG_STATE = 5
    # A field is out of range; detail is its index in the message (thresholds: the first that descends; 15 + i: trim i).
    BAD_VALUE = 6
    # The CRC-32 is not that of the staged (COMMIT) or committed (ARM) thresholds.
    CRC_MISMATCH = 7
    # A DAC channel did not read back what was written; detail is the channel.
    DAC_MISMATCH = 8
    # The DAC refused a write or a readback; detail is the channel.
    DAC_WRITE_FAILED = 9
    # ARM names another encoding than the committed one.
    ENCODING_MISMATCH = 10
    # No cells, more cells than max_cells, or more than CHUNKS_MAX chunks; detail is the chunk count, capped.
    BAD_GEOMETRY = 11
    # The supply is below SUPPLY_RECOVERED_MILLIVOLTS; detail is its value in mV.
    SUPPLY_LOW = 12
    # CLEAR_FAULT names another fault than the latched one; detail is the latched fault.
    FAULT_NOT_LATCHED = 13
    # The condition behind the fault is still there; detail is the channel or NO_CHANNEL.
    FAULT_PERSISTS = 14
    # The sensor did not take the exposure.
    NOT_APPLIED = 15


@dataclass(frozen=True, slots=True)
class Hello(Message):
    """Opens a session and empties the reply cache. A digest other than the board's disarms it."""

    TYPE: ClassVar[int | None] = 0x01
    SIZE: ClassVar[int] = 8
    _VALUES: ClassVar[struct.Struct] = struct.Struct("<8s")

    schema_digest: bytes  # First 8 bytes of the SHA-256 of the host's protocol definition.

    def pack(self) -> bytes:
        """The payload. Raises ProtocolError."""
        return _packed(self._VALUES, "Hello", _sized(self.schema_digest, 8, "Hello.schema_digest"))

    @classmethod
    def unpack(cls, payload: bytes) -> Self:
        """The message in a payload. Raises ProtocolError."""
        values = _fixed(cls._VALUES, payload, "Hello", rest=False)
        return cls(bytes(values[0]))


@dataclass(frozen=True, slots=True)
class HelloReply(Message):
    """Reply to Hello."""

    TYPE: ClassVar[int | None] = 0x81
    SIZE: ClassVar[int] = 47
    _VALUES: ClassVar[struct.Struct] = struct.Struct("<8sH3s16sIBBIIBBBB")

    schema_digest: bytes  # The board's.
    protocol_version: int  # `version` of the board's protocol definition.
    firmware_version: bytes  # Major, minor, patch.
    board_serial: str  # ASCII, padded with zeros.
    boot_id: int  # Changes with every start of the board.
    comparators: int
    dac_bits: int
    reference_microvolts: int  # [uV]
    max_cells: int  # Most cells (rows x columns x channels) that fit a measurement slot.
    measurement_slots: int  # Measurements that the board keeps until acknowledged.
    state: int  # One of State.
    fault: int  # One of Fault.
    hardware: int  # One of Hardware.

    def pack(self) -> bytes:
        """The payload. Raises ProtocolError."""
        return _packed(
            self._VALUES,
            "HelloReply",
            _sized(self.schema_digest, 8, "HelloReply.schema_digest"),
            self.protocol_version,
            _sized(self.firmware_version, 3, "HelloReply.firmware_version"),
            _text(self.board_serial, 16, "HelloReply.board_serial"),
            self.boot_id,
            self.comparators,
            self.dac_bits,
            self.reference_microvolts,
            self.max_cells,
            self.measurement_slots,
            self.state,
            self.fault,
            self.hardware,
        )

    @classmethod
    def unpack(cls, payload: bytes) -> Self:
        """The message in a payload. Raises ProtocolError."""
        values = _fixed(cls._VALUES, payload, "HelloReply", rest=False)
        return cls(
            bytes(values[0]),
            int(values[1]),
            bytes(values[2]),
            bytes(values[3]).rstrip(b"\0").decode("ascii", "replace"),
            int(values[4]),
            int(values[5]),
            int(values[6]),
            int(values[7]),
            int(values[8]),
            int(values[9]),
            int(values[10]),
            int(values[11]),
            int(values[12]),
        )


@dataclass(frozen=True, slots=True)
class Status(Message):
    """Everything worth knowing."""

    TYPE: ClassVar[int | None] = 0x02
    SIZE: ClassVar[int] = 0

    def pack(self) -> bytes:
        """The payload. Raises ProtocolError."""
        return b""

    @classmethod
    def unpack(cls, payload: bytes) -> Self:
        """The message in a payload. Raises ProtocolError."""
        _sized(payload, 0, "Status")
        return cls()


@dataclass(frozen=True, slots=True)
class StatusReply(Message):
    """Reply to Status."""

    TYPE: ClassVar[int | None] = 0x82
    SIZE: ClassVar[int] = 49
    _VALUES: ClassVar[struct.Struct] = struct.Struct("<BBBII16sIIIIIH")

    state: int  # One of State.
    fault: int  # One of Fault.
    fault_channel: int  # DAC channel or comparator, or NO_CHANNEL.
    uptime_ms: int  # [ms] Since the board started; wraps after 49.7 days.
    thresholds_crc: int  # CRC-32 of the committed thresholds, 0 when there are none.
    encoding_id: bytes  # Of the staged, committed or armed encoding; zeros when there is none.
    sequence: int  # Sequence of the next measurement.
    acknowledged: int
    limit: int
    frames_unmeasured: int  # Frames since ARM that gave no measurement.
    rx_bad_frames: int  # Frames received since start with a wrong CRC, COBS code or length.
    supply_millivolts: int  # [mV]

    def pack(self) -> bytes:
        """The payload. Raises ProtocolError."""
        return _packed(
            self._VALUES,
            "StatusReply",
            self.state,
            self.fault,
            self.fault_channel,
            self.uptime_ms,
            self.thresholds_crc,
            _sized(self.encoding_id, 16, "StatusReply.encoding_id"),
            self.sequence,
            self.acknowledged,
            self.limit,
            self.frames_unmeasured,
            self.rx_bad_frames,
            self.supply_millivolts,
        )

    @classmethod
    def unpack(cls, payload: bytes) -> Self:
        """The message in a payload. Raises ProtocolError."""
        values = _fixed(cls._VALUES, payload, "StatusReply", rest=False)
        return cls(
            int(values[0]),
            int(values[1]),
            int(values[2]),
            int(values[3]),
            int(values[4]),
            bytes(values[5]),
            int(values[6]),
            int(values[7]),
            int(values[8]),
            int(values[9]),
            int(values[10]),
            int(values[11]),
        )


@dataclass(frozen=True, slots=True)
class Reset(Message):
    """Safe table, reply, restart."""

    TYPE: ClassVar[int | None] = 0x03
    SIZE: ClassVar[int] = 0

    def pack(self) -> bytes:
        """The payload. Raises ProtocolError."""
        return b""

    @classmethod
    def unpack(cls, payload: bytes) -> Self:
        """The message in a payload. Raises ProtocolError."""
        _sized(payload, 0, "Reset")
        return cls()


@dataclass(frozen=True, slots=True)
class ResetReply(Message):
    """Reply to Reset."""

    TYPE: ClassVar[int | None] = 0x83
    SIZE: ClassVar[int] = 0

    def pack(self) -> bytes:
        """The payload. Raises ProtocolError."""
        return b""

    @classmethod
    def unpack(cls, payload: bytes) -> Self:
        """The message in a payload. Raises ProtocolError."""
        _sized(payload, 0, "ResetReply")
        return cls()


@dataclass(frozen=True, slots=True)
class Disarm(Message):
    """Safe table; staged and committed thresholds and unsent measurements are forgotten. A latched fault stays."""

    TYPE: ClassVar[int | None] = 0x04
    SIZE: ClassVar[int] = 0

    def pack(self) -> bytes:
        """The payload. Raises ProtocolError."""
        return b""

    @classmethod
    def unpack(cls, payload: bytes) -> Self:
        """The message in a payload. Raises ProtocolError."""
        _sized(payload, 0, "Disarm")
        return cls()


@dataclass(frozen=True, slots=True)
class DisarmReply(Message):
    """Reply to Disarm."""

    TYPE: ClassVar[int | None] = 0x84
    SIZE: ClassVar[int] = 0

    def pack(self) -> bytes:
        """The payload. Raises ProtocolError."""
        return b""

    @classmethod
    def unpack(cls, payload: bytes) -> Self:
        """The message in a payload. Raises ProtocolError."""
        _sized(payload, 0, "DisarmReply")
        return cls()


@dataclass(frozen=True, slots=True)
class Heartbeat(Message):
    """Keeps an armed board armed, as any valid command or notice does."""

    TYPE: ClassVar[int | None] = 0x05
    SIZE: ClassVar[int] = 0

    def pack(self) -> bytes:
        """The payload. Raises ProtocolError."""
        return b""

    @classmethod
    def unpack(cls, payload: bytes) -> Self:
        """The message in a payload. Raises ProtocolError."""
        _sized(payload, 0, "Heartbeat")
        return cls()


@dataclass(frozen=True, slots=True)
class HeartbeatReply(Message):
    """Reply to Heartbeat."""

    TYPE: ClassVar[int | None] = 0x85
    SIZE: ClassVar[int] = 2
    _VALUES: ClassVar[struct.Struct] = struct.Struct("<BB")

    state: int  # One of State.
    fault: int  # One of Fault.

    def pack(self) -> bytes:
        """The payload. Raises ProtocolError."""
        return _packed(self._VALUES, "HeartbeatReply", self.state, self.fault)

    @classmethod
    def unpack(cls, payload: bytes) -> Self:
        """The message in a payload. Raises ProtocolError."""
        values = _fixed(cls._VALUES, payload, "HeartbeatReply", rest=False)
        return cls(int(values[0]), int(values[1]))


@dataclass(frozen=True, slots=True)
class ClearFault(Message):
    """Tests whether the condition is gone; if so the board is safe again, and thresholds have to be staged anew."""

    TYPE: ClassVar[int | None] = 0x06
    SIZE: ClassVar[int] = 1
    _VALUES: ClassVar[struct.Struct] = struct.Struct("<B")

    fault: int  # The fault that the host has seen. One of Fault.

    def pack(self) -> bytes:
        """The payload. Raises ProtocolError."""
        return _packed(self._VALUES, "ClearFault", self.fault)

    @classmethod
    def unpack(cls, payload: bytes) -> Self:
        """The message in a payload. Raises ProtocolError."""
        values = _fixed(cls._VALUES, payload, "ClearFault", rest=False)
        return cls(int(values[0]))


@dataclass(frozen=True, slots=True)
class ClearFaultReply(Message):
    """Reply to ClearFault."""

    TYPE: ClassVar[int | None] = 0x86
    SIZE: ClassVar[int] = 0

    def pack(self) -> bytes:
        """The payload. Raises ProtocolError."""
        return b""

    @classmethod
    def unpack(cls, payload: bytes) -> Self:
        """The message in a payload. Raises ProtocolError."""
        _sized(payload, 0, "ClearFaultReply")
        return cls()


@dataclass(frozen=True, slots=True)
class StageThresholds(Message):
    """Hands over thresholds; from committed, the safe table is written first."""

    TYPE: ClassVar[int | None] = 0x10
    SIZE: ClassVar[int] = 76
    _VALUES: ClassVar[struct.Struct] = struct.Struct("<16s15H15h")

    encoding_id: bytes  # First 16 bytes of the encoding id.
    dac_codes: tuple[int, ...]  # Where the comparators are wanted to switch: ascending, duplicates allowed.
    # [DAC codes] Added when written, to cancel offsets; at most TRIM_MAX either way, sums within the DAC's range.
    trims: tuple[int, ...]

    def pack(self) -> bytes:
        """The payload. Raises ProtocolError."""
        return _packed(
            self._VALUES,
            "StageThresholds",
            _sized(self.encoding_id, 16, "StageThresholds.encoding_id"),
            *_numbers(self.dac_codes, 15, "StageThresholds.dac_codes"),
            *_numbers(self.trims, 15, "StageThresholds.trims"),
        )

    @classmethod
    def unpack(cls, payload: bytes) -> Self:
        """The message in a payload. Raises ProtocolError."""
        values = _fixed(cls._VALUES, payload, "StageThresholds", rest=False)
        return cls(
            bytes(values[0]),
            tuple(int(value) for value in values[1:16]),
            tuple(int(value) for value in values[16:31]),
        )


@dataclass(frozen=True, slots=True)
class StageThresholdsReply(Message):
    """Reply to StageThresholds."""

    TYPE: ClassVar[int | None] = 0x90
    SIZE: ClassVar[int] = 4
    _VALUES: ClassVar[struct.Struct] = struct.Struct("<I")

    crc32: int  # CRC-32 of the 60 bytes of dac_codes and trims as received.

    def pack(self) -> bytes:
        """The payload. Raises ProtocolError."""
        return _packed(self._VALUES, "StageThresholdsReply", self.crc32)

    @classmethod
    def unpack(cls, payload: bytes) -> Self:
        """The message in a payload. Raises ProtocolError."""
        values = _fixed(cls._VALUES, payload, "StageThresholdsReply", rest=False)
        return cls(int(values[0]))


@dataclass(frozen=True, slots=True)
class Commit(Message):
    """Writes every DAC channel and reads every one back; one that differs leaves the board safe."""

    TYPE: ClassVar[int | None] = 0x11
    SIZE: ClassVar[int] = 4
    _VALUES: ClassVar[struct.Struct] = struct.Struct("<I")

    crc32: int  # Must be that of the staged thresholds.

    def pack(self) -> bytes:
        """The payload. Raises ProtocolError."""
        return _packed(self._VALUES, "Commit", self.crc32)

    @classmethod
    def unpack(cls, payload: bytes) -> Self:
        """The message in a payload. Raises ProtocolError."""
        values = _fixed(cls._VALUES, payload, "Commit", rest=False)
        return cls(int(values[0]))


@dataclass(frozen=True, slots=True)
class CommitReply(Message):
    """Reply to Commit."""

    TYPE: ClassVar[int | None] = 0x91
    SIZE: ClassVar[int] = 4
    _VALUES: ClassVar[struct.Struct] = struct.Struct("<I")

    crc32: int  # The same: every channel read back as its dac_code plus trim.

    def pack(self) -> bytes:
        """The payload. Raises ProtocolError."""
        return _packed(self._VALUES, "CommitReply", self.crc32)

    @classmethod
    def unpack(cls, payload: bytes) -> Self:
        """The message in a payload. Raises ProtocolError."""
        values = _fixed(cls._VALUES, payload, "CommitReply", rest=False)
        return cls(int(values[0]))


@dataclass(frozen=True, slots=True)
class ReadThresholds(Message):
    """Reads the 15 threshold channels back now."""

    TYPE: ClassVar[int | None] = 0x12
    SIZE: ClassVar[int] = 0

    def pack(self) -> bytes:
        """The payload. Raises ProtocolError."""
        return b""

    @classmethod
    def unpack(cls, payload: bytes) -> Self:
        """The message in a payload. Raises ProtocolError."""
        _sized(payload, 0, "ReadThresholds")
        return cls()


@dataclass(frozen=True, slots=True)
class ReadThresholdsReply(Message):
    """Reply to ReadThresholds."""

    TYPE: ClassVar[int | None] = 0x92
    SIZE: ClassVar[int] = 64
    _VALUES: ClassVar[struct.Struct] = struct.Struct("<15H15hI")

    readback: tuple[int, ...]  # [DAC codes] What the channels hold now: wanted code plus trim.
    trims: tuple[int, ...]  # [DAC codes] Those in what was written last; 0 in the safe table.
    crc32: int  # CRC-32 of the 60 bytes of readback less trims, and trims.

    def pack(self) -> bytes:
        """The payload. Raises ProtocolError."""
        return _packed(
            self._VALUES,
            "ReadThresholdsReply",
            *_numbers(self.readback, 15, "ReadThresholdsReply.readback"),
            *_numbers(self.trims, 15, "ReadThresholdsReply.trims"),
            self.crc32,
        )

    @classmethod
    def unpack(cls, payload: bytes) -> Self:
        """The message in a payload. Raises ProtocolError."""
        values = _fixed(cls._VALUES, payload, "ReadThresholdsReply", rest=False)
        return cls(
            tuple(int(value) for value in values[0:15]),
            tuple(int(value) for value in values[15:30]),
            int(values[30]),
        )


@dataclass(frozen=True, slots=True)
class Arm(Message):
    """Reads every channel back once more and starts measuring. Sequences restart at 0, acknowledged and limit too."""

    TYPE: ClassVar[int | None] = 0x13
    SIZE: ClassVar[int] = 26
    _VALUES: ClassVar[struct.Struct] = struct.Struct("<16sIHHBB")

    encoding_id: bytes  # Must be the committed one.
    thresholds_crc: int  # Must be that of the committed thresholds.
    rows: int
    columns: int
    channels: int
    chunk_bytes: int  # [bytes] CHUNK_BYTES_MIN..CHUNK_BYTES_MAX.

    def pack(self) -> bytes:
        """The payload. Raises ProtocolError."""
        return _packed(
            self._VALUES,
            "Arm",
            _sized(self.encoding_id, 16, "Arm.encoding_id"),
            self.thresholds_crc,
            self.rows,
            self.columns,
            self.channels,
            self.chunk_bytes,
        )

    @classmethod
    def unpack(cls, payload: bytes) -> Self:
        """The message in a payload. Raises ProtocolError."""
        values = _fixed(cls._VALUES, payload, "Arm", rest=False)
        return cls(bytes(values[0]), int(values[1]), int(values[2]), int(values[3]), int(values[4]), int(values[5]))


@dataclass(frozen=True, slots=True)
class ArmReply(Message):
    """Reply to Arm."""

    TYPE: ClassVar[int | None] = 0x93
    SIZE: ClassVar[int] = 0

    def pack(self) -> bytes:
        """The payload. Raises ProtocolError."""
        return b""

    @classmethod
    def unpack(cls, payload: bytes) -> Self:
        """The message in a payload. Raises ProtocolError."""
        _sized(payload, 0, "ArmReply")
        return cls()


@dataclass(frozen=True, slots=True)
class SetExposure(Message):
    """Forwarded to the sensor; takes effect some frames later, the measurement's header says from when on."""

    TYPE: ClassVar[int | None] = 0x14
    SIZE: ClassVar[int] = 8
    _VALUES: ClassVar[struct.Struct] = struct.Struct("<II")

    exposure_us: int  # [us]
    gain_milli: int  # [1/1000]

    def pack(self) -> bytes:
        """The payload. Raises ProtocolError."""
        return _packed(self._VALUES, "SetExposure", self.exposure_us, self.gain_milli)

    @classmethod
    def unpack(cls, payload: bytes) -> Self:
        """The message in a payload. Raises ProtocolError."""
        values = _fixed(cls._VALUES, payload, "SetExposure", rest=False)
        return cls(int(values[0]), int(values[1]))


@dataclass(frozen=True, slots=True)
class SetExposureReply(Message):
    """Reply to SetExposure."""

    TYPE: ClassVar[int | None] = 0x94
    SIZE: ClassVar[int] = 0

    def pack(self) -> bytes:
        """The payload. Raises ProtocolError."""
        return b""

    @classmethod
    def unpack(cls, payload: bytes) -> Self:
        """The message in a payload. Raises ProtocolError."""
        _sized(payload, 0, "SetExposureReply")
        return cls()


@dataclass(frozen=True, slots=True)
class SelfTest(Message):
    """Tests every DAC channel and every comparator; ends with the safe table, so committed becomes staged."""

    TYPE: ClassVar[int | None] = 0x15
    SIZE: ClassVar[int] = 0

    def pack(self) -> bytes:
        """The payload. Raises ProtocolError."""
        return b""

    @classmethod
    def unpack(cls, payload: bytes) -> Self:
        """The message in a payload. Raises ProtocolError."""
        _sized(payload, 0, "SelfTest")
        return cls()


@dataclass(frozen=True, slots=True)
class SelfTestReply(Message):
    """Reply to SelfTest."""

    TYPE: ClassVar[int | None] = 0x95
    SIZE: ClassVar[int] = 6
    _VALUES: ClassVar[struct.Struct] = struct.Struct("<HHH")

    dac_ok: int  # Bit i: DAC channel i wrote and read back two patterns.
    comparators_ok: int  # Bit i: comparator i was low below and high above its threshold.
    supply_millivolts: int  # [mV]

    def pack(self) -> bytes:
        """The payload. Raises ProtocolError."""
        return _packed(self._VALUES, "SelfTestReply", self.dac_ok, self.comparators_ok, self.supply_millivolts)

    @classmethod
    def unpack(cls, payload: bytes) -> Self:
        """The message in a payload. Raises ProtocolError."""
        values = _fixed(cls._VALUES, payload, "SelfTestReply", rest=False)
        return cls(int(values[0]), int(values[1]), int(values[2]))


@dataclass(frozen=True, slots=True)
class SetChunk(Message):
    """Chunk size of the measurements produced from now on; those in the slots keep theirs."""

    TYPE: ClassVar[int | None] = 0x16
    SIZE: ClassVar[int] = 1
    _VALUES: ClassVar[struct.Struct] = struct.Struct("<B")

    chunk_bytes: int  # [bytes] CHUNK_BYTES_MIN..CHUNK_BYTES_MAX.

    def pack(self) -> bytes:
        """The payload. Raises ProtocolError."""
        return _packed(self._VALUES, "SetChunk", self.chunk_bytes)

    @classmethod
    def unpack(cls, payload: bytes) -> Self:
        """The message in a payload. Raises ProtocolError."""
        values = _fixed(cls._VALUES, payload, "SetChunk", rest=False)
        return cls(int(values[0]))


@dataclass(frozen=True, slots=True)
class SetChunkReply(Message):
    """Reply to SetChunk."""

    TYPE: ClassVar[int | None] = 0x96
    SIZE: ClassVar[int] = 0

    def pack(self) -> bytes:
        """The payload. Raises ProtocolError."""
        return b""

    @classmethod
    def unpack(cls, payload: bytes) -> Self:
        """The message in a payload. Raises ProtocolError."""
        _sized(payload, 0, "SetChunkReply")
        return cls()


@dataclass(frozen=True, slots=True)
class Sweep(Message):
    """Drives the test cell through levels and counts in how many readings of each a comparator is high. Ends dark."""

    TYPE: ClassVar[int | None] = 0x17
    SIZE: ClassVar[int] = 8
    _VALUES: ClassVar[struct.Struct] = struct.Struct("<BHhBBB")

    comparator: int  # 0..14.
    start: int  # [DAC codes] First level.
    step: int  # [DAC codes] From each level to the next; none may lie beyond the DAC's ends.
    count: int  # Levels, 1..SWEEP_LEVELS_MAX; fewer where armed and too long otherwise.
    reads: int  # Readings of each level, 1 or more.
    approach: int  # One of Approach.

    def pack(self) -> bytes:
        """The payload. Raises ProtocolError."""
        return _packed(
            self._VALUES,
            "Sweep",
            self.comparator,
            self.start,
            self.step,
            self.count,
            self.reads,
            self.approach,
        )

    @classmethod
    def unpack(cls, payload: bytes) -> Self:
        """The message in a payload. Raises ProtocolError."""
        values = _fixed(cls._VALUES, payload, "Sweep", rest=False)
        return cls(int(values[0]), int(values[1]), int(values[2]), int(values[3]), int(values[4]), int(values[5]))


@dataclass(frozen=True, slots=True)
class SweepReply(Message):
    """Reply to Sweep."""

    TYPE: ClassVar[int | None] = 0x97
    SIZE: ClassVar[int] = 64
    _VALUES: ClassVar[struct.Struct] = struct.Struct("<64s")

    counts: bytes  # Of each level; 0 beyond the last.

    def pack(self) -> bytes:
        """The payload. Raises ProtocolError."""
        return _packed(self._VALUES, "SweepReply", _sized(self.counts, 64, "SweepReply.counts"))

    @classmethod
    def unpack(cls, payload: bytes) -> Self:
        """The message in a payload. Raises ProtocolError."""
        values = _fixed(cls._VALUES, payload, "SweepReply", rest=False)
        return cls(bytes(values[0]))


@dataclass(frozen=True, slots=True)
class Convert(Message):
    """Drives the test cell to each level and reads the comparators as they are read for a cell. Ends dark."""

    TYPE: ClassVar[int | None] = 0x18
    SIZE: ClassVar[int] = 481
    _VALUES: ClassVar[struct.Struct] = struct.Struct("<B240H")

    count: int  # Levels, 1..CONVERT_LEVELS_MAX.
    levels: tuple[int, ...]  # [DAC codes] Those beyond count are ignored.

    def pack(self) -> bytes:
        """The payload. Raises ProtocolError."""
        return _packed(self._VALUES, "Convert", self.count, *_numbers(self.levels, 240, "Convert.levels"))

    @classmethod
    def unpack(cls, payload: bytes) -> Self:
        """The message in a payload. Raises ProtocolError."""
        values = _fixed(cls._VALUES, payload, "Convert", rest=False)
        return cls(int(values[0]), tuple(int(value) for value in values[1:241]))


@dataclass(frozen=True, slots=True)
class ConvertReply(Message):
    """Reply to Convert."""

    TYPE: ClassVar[int | None] = 0x98
    SIZE: ClassVar[int] = 120
    _VALUES: ClassVar[struct.Struct] = struct.Struct("<120s")

    codes: bytes  # Packed as in a measurement, the first in the low half; 0 beyond the last.

    def pack(self) -> bytes:
        """The payload. Raises ProtocolError."""
        return _packed(self._VALUES, "ConvertReply", _sized(self.codes, 120, "ConvertReply.codes"))

    @classmethod
    def unpack(cls, payload: bytes) -> Self:
        """The message in a payload. Raises ProtocolError."""
        values = _fixed(cls._VALUES, payload, "ConvertReply", rest=False)
        return cls(bytes(values[0]))


@dataclass(frozen=True, slots=True)
class Credit(Message):
    """Cumulative and idempotent: send it as often as you like, a lost one costs nothing."""

    TYPE: ClassVar[int | None] = 0x20
    SIZE: ClassVar[int] = 8
    _VALUES: ClassVar[struct.Struct] = struct.Struct("<II")

    acknowledged: int  # Measurements with a lower sequence are done; their slots are free.
    limit: int  # The board may produce sequences below this.

    def pack(self) -> bytes:
        """The payload. Raises ProtocolError."""
        return _packed(self._VALUES, "Credit", self.acknowledged, self.limit)

    @classmethod
    def unpack(cls, payload: bytes) -> Self:
        """The message in a payload. Raises ProtocolError."""
        values = _fixed(cls._VALUES, payload, "Credit", rest=False)
        return cls(int(values[0]), int(values[1]))


@dataclass(frozen=True, slots=True)
class Resend(Message):
    """Asks for chunks of a measurement again; bits beyond its chunks, and sequences not held, are ignored."""

    TYPE: ClassVar[int | None] = 0x21
    SIZE: ClassVar[int] = 36
    _VALUES: ClassVar[struct.Struct] = struct.Struct("<I32s")

    sequence: int
    bitmap: bytes  # Bit i % 8 of byte i // 8: chunk i is missing.

    def pack(self) -> bytes:
        """The payload. Raises ProtocolError."""
        return _packed(self._VALUES, "Resend", self.sequence, _sized(self.bitmap, 32, "Resend.bitmap"))

    @classmethod
    def unpack(cls, payload: bytes) -> Self:
        """The message in a payload. Raises ProtocolError."""
        values = _fixed(cls._VALUES, payload, "Resend", rest=False)
        return cls(int(values[0]), bytes(values[1]))


@dataclass(frozen=True, slots=True)
class Measurement(Message):
    """A chunk of a measurement: 0 is its MeasurementHeader, i holds packed codes from (i - 1) * chunk_bytes on."""

    TYPE: ClassVar[int | None] = 0x40
    SIZE: ClassVar[int] = 5
    _VALUES: ClassVar[struct.Struct] = struct.Struct("<IB")

    sequence: int
    chunk: int
    data: bytes

    def pack(self) -> bytes:
        """The payload. Raises ProtocolError."""
        return _packed(self._VALUES, "Measurement", self.sequence, self.chunk) + self.data

    @classmethod
    def unpack(cls, payload: bytes) -> Self:
        """The message in a payload. Raises ProtocolError."""
        values = _fixed(cls._VALUES, payload, "Measurement", rest=True)
        return cls(int(values[0]), int(values[1]), bytes(payload[5:]))


@dataclass(frozen=True, slots=True)
class FaultNotice(Message):
    """Sent when a fault is latched and every FAULT_REPEAT_MS until it is cleared."""

    TYPE: ClassVar[int | None] = 0x41
    SIZE: ClassVar[int] = 3
    _VALUES: ClassVar[struct.Struct] = struct.Struct("<BBB")

    fault: int  # One of Fault.
    channel: int
    state: int  # One of State.

    def pack(self) -> bytes:
        """The payload. Raises ProtocolError."""
        return _packed(self._VALUES, "FaultNotice", self.fault, self.channel, self.state)

    @classmethod
    def unpack(cls, payload: bytes) -> Self:
        """The message in a payload. Raises ProtocolError."""
        values = _fixed(cls._VALUES, payload, "FaultNotice", rest=False)
        return cls(int(values[0]), int(values[1]), int(values[2]))


@dataclass(frozen=True, slots=True)
class ErrorReply(Message):
    """Refuses a command; carries its sequence."""

    TYPE: ClassVar[int | None] = 0xFF
    SIZE: ClassVar[int] = 4
    _VALUES: ClassVar[struct.Struct] = struct.Struct("<BBH")

    command: int  # Type of the refused command.
    code: int  # One of ErrorCode.
    detail: int

    def pack(self) -> bytes:
        """The payload. Raises ProtocolError."""
        return _packed(self._VALUES, "ErrorReply", self.command, self.code, self.detail)

    @classmethod
    def unpack(cls, payload: bytes) -> Self:
        """The message in a payload. Raises ProtocolError."""
        values = _fixed(cls._VALUES, payload, "ErrorReply", rest=False)
        return cls(int(values[0]), int(values[1]), int(values[2]))


@dataclass(frozen=True, slots=True)
class MeasurementHeader(Message):
    """Data of chunk 0 of a measurement."""

    TYPE: ClassVar[int | None] = None
    SIZE: ClassVar[int] = 38
    _VALUES: ClassVar[struct.Struct] = struct.Struct("<IIQIIHHBBII")

    sequence: int
    frame: int  # The sensor's frame counter; a gap is a frame that was not measured.
    capture_time_us: int  # [us] On the clock of the sensor or the recorded scene.
    exposure_us: int  # [us]
    gain_milli: int  # [1/1000]
    rows: int
    columns: int
    channels: int
    chunk_bytes: int  # [bytes]
    thresholds_crc: int  # Of the thresholds that were committed when this was measured.
    cells_crc32: int  # CRC-32 of all packed codes.

    def pack(self) -> bytes:
        """The payload. Raises ProtocolError."""
        return _packed(
            self._VALUES,
            "MeasurementHeader",
            self.sequence,
            self.frame,
            self.capture_time_us,
            self.exposure_us,
            self.gain_milli,
            self.rows,
            self.columns,
            self.channels,
            self.chunk_bytes,
            self.thresholds_crc,
            self.cells_crc32,
        )

    @classmethod
    def unpack(cls, payload: bytes) -> Self:
        """The message in a payload. Raises ProtocolError."""
        values = _fixed(cls._VALUES, payload, "MeasurementHeader", rest=False)
        return cls(
            int(values[0]),
            int(values[1]),
            int(values[2]),
            int(values[3]),
            int(values[4]),
            int(values[5]),
            int(values[6]),
            int(values[7]),
            int(values[8]),
            int(values[9]),
            int(values[10]),
        )


# Every message that the board sends, by type byte.
FROM_BOARD: dict[int, type[Message]] = {
    0x81: HelloReply,
    0x82: StatusReply,
    0x83: ResetReply,
    0x84: DisarmReply,
    0x85: HeartbeatReply,
    0x86: ClearFaultReply,
    0x90: StageThresholdsReply,
    0x91: CommitReply,
    0x92: ReadThresholdsReply,
    0x93: ArmReply,
    0x94: SetExposureReply,
    0x95: SelfTestReply,
    0x96: SetChunkReply,
    0x97: SweepReply,
    0x98: ConvertReply,
    0x40: Measurement,
    0x41: FaultNotice,
    0xFF: ErrorReply,
}

# Every message that the host sends, by type byte.
FROM_HOST: dict[int, type[Message]] = {
    0x01: Hello,
    0x02: Status,
    0x03: Reset,
    0x04: Disarm,
    0x05: Heartbeat,
    0x06: ClearFault,
    0x10: StageThresholds,
    0x11: Commit,
    0x12: ReadThresholds,
    0x13: Arm,
    0x14: SetExposure,
    0x15: SelfTest,
    0x16: SetChunk,
    0x17: Sweep,
    0x18: Convert,
    0x20: Credit,
    0x21: Resend,
}

# States in which each command or notice is served: the allow-list.
SERVED_IN: dict[int, frozenset[State]] = {
    0x01: frozenset({State.SAFE, State.STAGED, State.COMMITTED, State.ARMED, State.FAULTED}),
    0x02: frozenset({State.SAFE, State.STAGED, State.COMMITTED, State.ARMED, State.FAULTED}),
    0x03: frozenset({State.SAFE, State.STAGED, State.COMMITTED, State.ARMED, State.FAULTED}),
    0x04: frozenset({State.SAFE, State.STAGED, State.COMMITTED, State.ARMED, State.FAULTED}),
    0x05: frozenset({State.SAFE, State.STAGED, State.COMMITTED, State.ARMED, State.FAULTED}),
    0x06: frozenset({State.FAULTED}),
    0x10: frozenset({State.SAFE, State.STAGED, State.COMMITTED}),
    0x11: frozenset({State.STAGED}),
    0x12: frozenset({State.SAFE, State.STAGED, State.COMMITTED, State.ARMED, State.FAULTED}),
    0x13: frozenset({State.COMMITTED}),
    0x14: frozenset({State.SAFE, State.STAGED, State.COMMITTED, State.ARMED}),
    0x15: frozenset({State.SAFE, State.STAGED, State.COMMITTED, State.FAULTED}),
    0x16: frozenset({State.ARMED}),
    0x17: frozenset({State.COMMITTED, State.ARMED}),
    0x18: frozenset({State.ARMED}),
    0x20: frozenset({State.ARMED}),
    0x21: frozenset({State.ARMED}),
}

# Commands that are served before a HELLO with the right schema digest.
BEFORE_HELLO = frozenset({0x01, 0x02, 0x03})
