"""The board as the daemon uses it: verified from scratch each time, then read; probed while the sensor is blind."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from host.board.assembly import BoardMeasurement
from host.board.client import BoardClient
from host.board.deadline import Deadline
from host.board.errors import BoardError, BoardIdentityMismatch, SchemaMismatch, ThresholdMismatch
from host.board.protocol import Hardware, State
from host.board.reports import SelfTest
from host.board.stream import latched_fault
from host.board.thresholds import thresholds_digest, thresholds_to_dac_codes
from host.measurement import CapturePath
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
    """The board that was verified. `capture_path` decides every claim that is made about its measurements."""

    board_serial: str
    firmware: str
    boot_id: int
    thresholds_digest: str
    capture_path: CapturePath


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


class Capture:
    """Measurements of one board on one stable path."""

    def __init__(self, port: str, bundle: Bundle) -> None:
        """Raises ValueError when the bundle's thresholds cannot be the board's."""
        encoding = bundle.encoding
        if encoding.range != "fixed":
            raise ValueError(f'the board measures with range "fixed", the bundle has "{encoding.range}"')
        self.port = port
        self.shape = (bundle.rows_px // encoding.pool, bundle.columns_px // encoding.pool, encoding.channels)
        self._encoding_id = encoding.id
        self._dac_codes: NDArray[np.uint16] = thresholds_to_dac_codes(encoding.thresholds)
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
        hello = client.connect(Deadline(CONNECT_S, "connecting to the board"))
        if self._serial is not None and hello.board_serial != self._serial:
            raise BoardIdentityMismatch(self._serial, hello.board_serial, self.port)
        self._serial = hello.board_serial
        _clear_what_mends(client)
        client.disarm()
        tested = client.selftest()
        if not (all(tested.dac_ok) and all(tested.comparators_ok)):
            raise SelfTestFailed(tested)
        digest = client.provision(self._encoding_id, self._dac_codes)
        if digest != thresholds_digest(self._dac_codes):
            raise ThresholdMismatch(f"the board reads back digest {digest}")
        client.set_exposure(exposure_us, gain)
        if before_arming is not None:
            before_arming()
        client.arm(*self.shape)
        # What does not say that it is analog hardware must never be presented as optical.
        path: CapturePath = "board" if hello.hardware == Hardware.ANALOG else "twin"
        return Identity(hello.board_serial, client.firmware, hello.boot_id, digest, path)

    def read(self, timeout_s: float) -> BoardMeasurement | None:
        """The next measurement, None when none came in time. Raises BoardError."""
        return self._client.read_measurement(timeout_s) if self._client is not None else None

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
