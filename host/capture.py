"""The board as the daemon uses it: verified from scratch each time, then read; probed while the sensor is blind."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from host.board.assembly import BoardMeasurement
from host.board.client import BoardClient
from host.board.deadline import Deadline
from host.board.errors import BoardError, BoardIdentityMismatch, SchemaMismatch, ThresholdMismatch
from host.board.protocol import Hardware, HelloReply, State
from host.board.reports import SelfTest
from host.board.stream import latched_fault
from host.board.thresholds import thresholds_digest, thresholds_to_dac_codes
from host.drift_watch import DriftWatch
from host.measurement import CapturePath, RehearsedPath
from host.seal.sealing import sealed_trims
from optics.bundle import Bundle

CONNECT_S, PROVISION_S = 5.0, 5.0


class SelfTestFailed(BoardError):  # noqa: N818 - reads as what happened, like the other board errors
    """The board's own test found DAC channels or comparators that do not work."""

    def __init__(self, tested: SelfTest) -> None:
        broken = [
            f"{name} {', '.join(str(channel) for channel, works in enumerate(results) if not works)}"
            for name, results in (("DAC channel", tested.dac_ok), ("comparator", tested.comparators_ok))
            if not all(results)
        ]
        super().__init__(
            f"the board's self-test failed at {' and at '.join(broken)}; check supply and wiring,"
            " then run `canopic board clear`"
        )


@dataclass(frozen=True, slots=True)
class Identity:
    """The board or camera that was verified. `capture_path` decides every claim that is made about its measurements.

    board_serial, firmware: of the board; on path camera the camera's name and its driver. boot_id: changes with every
    start of the board, or of the boundary process. camera: its name where there is one. rehearsed_path: whose drivers
    ran where parts of it were simulated. sandbox: what held in the boundary process (host.boundary.sandbox.Sandbox).
    """

    board_serial: str
    firmware: str
    boot_id: int
    thresholds_digest: str
    capture_path: CapturePath
    camera: str | None = None
    rehearsed_path: RehearsedPath | None = None
    sandbox: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Probe:
    """What a blind sensor sees of its board: a change says that somebody has done something. `boot_id` 0: not seen."""

    board_serial: str = ""
    boot_id: int = 0
    fault: int = 0
    speaks_schema: bool = False

    @property
    def answered(self) -> bool:
        """Whether there was a board at all."""
        return self.speaks_schema or self.fault != 0

    @property
    def healthy(self) -> bool:
        """Whether it is worth verifying: the right protocol and no latched fault."""
        return self.speaks_schema and self.fault == 0


class CaptureSource(Protocol):
    """Where the daemon's measurements come from: a board (Capture), or a boundary process with a camera.

    Everything may raise BoardError or host.boundary.errors.BoundaryFailed, and nothing blocks beyond its own deadline.
    """

    def verify(self, exposure_us: int, gain: float, before_arming: Callable[[], None] | None = None) -> Identity:
        """From scratch to measuring with this bundle's thresholds; what measures."""

    def read(self, timeout_s: float) -> BoardMeasurement | None:
        """The next measurement, None when none came in time."""

    def leftover(self) -> Iterator[BoardMeasurement]:
        """What had arrived in whole before it was lost."""

    def set_exposure(self, exposure_us: int, gain: float) -> None:
        """Ask for another exposure."""

    def probe(self) -> Probe:
        """A look while blind: a change says that somebody has acted."""

    def release(self, disarm: bool = False) -> None:
        """Let go of the devices."""


@dataclass(frozen=True, slots=True, eq=False)
class Thresholds:
    """What a bundle wants the comparators to hold: dac_codes uint16 (15,), trims int16 (15,) to add to them (None:
    none); digest: CRC-32 of both."""

    dac_codes: NDArray[np.uint16]
    trims: NDArray[np.int16] | None
    digest: str


def thresholds_of(bundle: Bundle, board: bool = True) -> Thresholds:
    """A bundle's thresholds as DAC codes, with its sealed trims; without a board there is nothing to trim.

    Raises ValueError where they cannot be a board's.
    """
    codes = thresholds_to_dac_codes(bundle.encoding.thresholds)
    trims = sealed_trims(bundle) if board else None
    return Thresholds(codes, trims, thresholds_digest(codes, trims))


def prepare(client: BoardClient, bundle: Bundle, expected_serial: str | None) -> tuple[HelloReply, str]:
    """Connect, test the board, give it the bundle's thresholds, compare what it reads back; ready to be armed.

    expected_serial: of the board that was there before, None: any. A fault that mends itself is cleared; any other
    raises BoardFault. Returns what the board says it is, and the digest of the thresholds. Raises BoardError.
    """
    hello = client.connect(Deadline(CONNECT_S, "connecting to the board"))
    if expected_serial is not None and hello.board_serial != expected_serial:
        raise BoardIdentityMismatch(expected_serial, hello.board_serial, client.path)
    _clear_what_mends(client)
    client.disarm()
    tested = client.selftest()
    if not (all(tested.dac_ok) and all(tested.comparators_ok)):
        raise SelfTestFailed(tested)
    wanted = thresholds_of(bundle)
    digest = client.provision(bundle.encoding.id, wanted.dac_codes, wanted.trims)
    if digest != wanted.digest:
        raise ThresholdMismatch(f"the board reads back digest {digest}")
    return hello, digest


class Capture:
    """Measurements of one board on one stable path."""

    def __init__(self, port: str, bundle: Bundle) -> None:
        """Raises ValueError when the bundle's thresholds cannot be the board's."""
        encoding = bundle.encoding
        if encoding.range != "fixed":
            raise ValueError(f'the board measures with range "fixed", the bundle has "{encoding.range}"')
        self.port = port
        self.shape = (bundle.rows_px // encoding.pool, bundle.columns_px // encoding.pool, encoding.channels)
        self._bundle = bundle
        thresholds_of(bundle)
        self._watch = DriftWatch(bundle)
        self._client: BoardClient | None = None
        self._serial: str | None = None

    def verify(self, exposure_us: int, gain: float, before_arming: Callable[[], None] | None = None) -> Identity:
        """Connect, test the board, give it the thresholds, compare what it reads back, set the exposure, arm.

        `before_arming` is called when the board is sure not to measure until it is armed: the moment to wind a scene
        back. A fault that mends itself is cleared; any other raises BoardFault. Raises BoardError, or ValueError where
        the board cannot measure so many cells.
        """
        self.release()
        client = self._client = BoardClient(self.port)
        hello, digest = prepare(client, self._bundle, self._serial)
        self._serial = hello.board_serial
        client.set_exposure(exposure_us, gain)
        if before_arming is not None:
            before_arming()
        client.arm(*self.shape)
        # What does not say that it is analog hardware must never be presented as optical.
        path: CapturePath = "board" if hello.hardware == Hardware.ANALOG else "twin"
        return Identity(hello.board_serial, client.firmware, hello.boot_id, digest, path)

    def read(self, timeout_s: float) -> BoardMeasurement | None:
        """The next measurement, None when none came in time. Raises BoardError, ComparatorDrifted among them."""
        if self._client is None:
            return None
        self._watch.look(self._client)
        return self._client.read_measurement(timeout_s)

    def leftover(self) -> Iterator[BoardMeasurement]:
        """What had arrived in whole before the board was lost."""
        while self._client is not None:
            try:
                measured = self._client.read_measurement(0.0)
            except BoardError:
                return
            if measured is None:
                return
            yield measured

    def set_exposure(self, exposure_us: int, gain: float) -> None:
        """Ask for another exposure. Raises BoardError."""
        if self._client is not None:
            self._client.set_exposure(exposure_us, gain)

    def probe(self) -> Probe:
        """Look at the board without arming it, and let the port go again, so that an operator's command can have it."""
        self.release()
        client = BoardClient(self.port)
        try:
            hello = client.connect(Deadline(CONNECT_S, "looking at the board"))
            status = client.status()
            return Probe(hello.board_serial, hello.boot_id, int(status.fault), True)
        except SchemaMismatch:
            return Probe(boot_id=0, speaks_schema=False)
        except BoardError:
            return Probe()
        finally:
            client.close()

    def release(self, disarm: bool = False) -> None:
        """Close the port; `disarm` puts the board in its safe state first, if it still answers."""
        client, self._client = self._client, None
        if client is None:
            return
        try:
            if disarm:
                client.disarm()
        except BoardError:
            return  # Without a host the board disarms itself within its heartbeat time.
        finally:
            client.close()


def _clear_what_mends(client: BoardClient) -> None:
    status = client.status()
    if status.state == State.FAULTED:
        fault = latched_fault(status.fault, status.fault_channel)
        if not fault.recoverable:
            raise fault
        client.clear_fault()
