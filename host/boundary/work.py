"""What the boundary process does: measure frame after frame until the daemon goes, or acquire a calibration's steps."""

import os
import select
import threading
from collections.abc import Mapping
from contextlib import ExitStack, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn

import cv2
import numpy as np
from numpy.typing import NDArray

from host.board.assembly import BoardMeasurement
from host.board.client import BoardClient
from host.board.errors import BoardError
from host.board.protocol import Hardware
from host.boundary.calibrating import calibrate
from host.boundary.devices import Opened, open_camera, open_first_pins
from host.boundary.measuring import Measuring, NotMeasurable, check_measurable, digital, levels_of
from host.boundary.sandbox import Early, Sandbox, SandboxRefused, lock_down
from host.boundary.wire import (
    INWARDS,
    Kind,
    Record,
    Records,
    json_of,
    packed_json,
    packed_measurement,
    short,
)
from host.camera.about import Exposed
from host.camera.errors import CameraError, CameraMissing
from host.capture import prepare, thresholds_of
from host.causes import cause_of
from host.config import Camera as CameraSection
from host.config import Gpio
from host.drift_watch import DriftWatch
from host.gpio.errors import GpioError
from host.mask.errors import SlmError
from host.twin.frame import SceneError
from host.twin.kernel import KernelError
from optics.archive import BundleError
from optics.bundle import Bundle, read_bundle

HEARTBEAT_S = 0.4
_SAID_IN_FULL = (SceneError, KernelError, BundleError, NotMeasurable)


class DaemonGone(Exception):  # noqa: N818 - reads as what happened
    """The other end of standard input was closed."""


class Line:
    """Both directions of the pipes to the daemon."""

    def __init__(self, incoming: int, outgoing: int) -> None:
        self._in, self._out = incoming, outgoing
        self._records = Records(INWARDS)

    def send(self, data: bytes) -> None:
        """Write a record. Raises DaemonGone."""
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._out, view) :]
        except BrokenPipeError as error:
            raise DaemonGone from error

    def take(self, wait: bool) -> Record | None:
        """The next record; without `wait` None where none has arrived. Raises DaemonGone."""
        while (record := self._records.take()) is None:
            if not wait and not select.select([self._in], [], [], 0)[0]:
                return None
            data = os.read(self._in, 1 << 20)
            if not data:
                raise DaemonGone
            self._records.add(data)
        return record


def serve(incoming: int, outgoing: int, held: Early) -> int:
    """Do what the first record asks for; returns the exit status."""
    cv2.setNumThreads(1)
    line = Line(incoming, outgoing)
    calibrating = False
    try:
        record = line.take(wait=True)
        spec = json_of(record) if record is not None else {}
        calibrating = spec.get("task") == "calibrate"
        if calibrating:
            calibrate(spec, line, held)
        else:
            measure(spec, line, held)
    except DaemonGone:
        return 0
    except Exception as error:  # noqa: BLE001 - whatever it is, the daemon has to go blind
        held.close_pipes()  # who hears of a failure ends this process
        try:
            line.send(packed_json(Kind.FAILURE, failure_of(error, calibrating)))
        except DaemonGone:
            return 0
        return 1
    finally:
        held.close_pipes()
    return 0


def failure_of(error: Exception, calibrating: bool = False) -> dict[str, Any]:
    """An error as a cause that may cross: {"kind", "reason", "latched", "advice"}. calibrating: whether it met a
    calibration, which is rehearsed in another way."""
    kind, reason, latched, advice = type(error).__name__, str(error), True, ""
    if isinstance(error, CameraError | GpioError | SlmError):
        kind, latched = error.name, error.latched
        if isinstance(error, CameraMissing):
            rehearsed = "--path twin" if calibrating else "--camera twin (camera.device: twin)"
            advice = f"to rehearse without a camera: {rehearsed}"
    elif isinstance(error, SandboxRefused):
        kind, advice = "no_sandbox", "use a system with seccomp or Landlock; every Raspberry Pi OS has them"
    elif isinstance(error, BoardError):
        cause = cause_of(error)
        kind, reason, latched, advice = cause.kind, cause.reason, cause.latched, cause.advice
    elif isinstance(error, ImportError):
        advice = "install canopic again in a fresh environment"
    elif not isinstance(error, _SAID_IN_FULL):
        kind, latched = "boundary_error", False
        reason = f"the boundary process failed with {type(error).__name__} at {_place(error)}"
    return {"kind": short(kind), "reason": short(reason), "latched": latched, "advice": short(advice)}


def _place(error: Exception) -> str:
    trace, place = error.__traceback__, "an unknown place"
    while trace is not None:
        place = f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}"
        trace = trace.tb_next
    return place


class LoopBoard:
    """The comparators of path loop: pooled values driven through the board's own DAC, codes read from its comparators.

    A thread tells the board between two frames that its host lives; whatever goes wrong there is raised by the next
    `codes`.
    """

    def __init__(self, port: str, bundle: Bundle) -> None:
        """Opened, tested, provisioned and armed. Raises BoardError, or ValueError for more cells than it has."""
        self._client = BoardClient(port)
        self._watch = DriftWatch(bundle)
        self._lock = threading.Lock()
        self._trouble: BoardError | None = None
        self._stop = threading.Event()
        self.hello, self.digest = prepare(self._client, bundle, None)
        rows, columns = bundle.rows_px // bundle.encoding.pool, bundle.columns_px // bundle.encoding.pool
        self._client.arm(rows, columns, bundle.encoding.channels)
        self._thread = threading.Thread(target=self._keep_alive, name="board heartbeat", daemon=True)
        self._thread.start()

    @property
    def firmware(self) -> str:
        return self._client.firmware

    def codes(self, cells: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Codes of pooled values in fractions of full scale. Raises BoardError."""
        levels = levels_of(cells)
        try:
            with self._lock:
                if self._trouble is not None:
                    raise self._trouble
                self._watch.look(self._client)
                return self._client.convert(levels.ravel()).reshape(levels.shape)
        finally:
            levels.fill(0)

    def close(self) -> None:
        """Disarm the board, if it still listens."""
        self._stop.set()
        self._thread.join(1.0)
        with self._lock:
            self._client.close()

    def _keep_alive(self) -> None:
        while not self._stop.wait(HEARTBEAT_S):
            with self._lock:
                try:
                    self._client.heartbeat()
                except BoardError as error:
                    self._trouble = error
                    return


def measure(spec: Mapping[str, Any], line: Line, held: Early) -> NoReturn:
    """Measure frame after frame until the daemon goes; raises DaemonGone then, or what ends it before."""
    bundle = read_bundle(spec["bundle"])
    if bundle.id != spec["bundle_id"]:
        raise BundleError(f"{spec['bundle']} has changed since the sensor was started: start it again")
    check_measurable(bundle)
    with ExitStack() as stack:
        pins = open_first_pins(Gpio(**spec["gpio"]), ("trigger_pin",), held)
        if pins is not None:
            stack.callback(pins.close)
        opened = open_camera(CameraSection(**spec["camera"]), bundle, spec["scene"], stack)
        opened.camera.set_exposure(*spec["exposure"])
        board = None
        if spec["path"] == "loop":
            board = LoopBoard(spec["port"], bundle)
            stack.callback(board.close)
        measuring = Measuring(bundle, digital(bundle) if board is None else board.codes)
        digest = thresholds_of(bundle, board=False).digest if board is None else board.digest
        sandbox = lock_down(held)
        line.send(packed_json(Kind.ABOUT, _about(opened, board, digest, sandbox)))
        taker = _Taker(opened, measuring, int(digest, 16))
        while True:
            while (record := line.take(wait=taker.over)) is not None:
                _obey(record, opened)
            with pins.exposing() if pins is not None else nullcontext():
                measured = opened.camera.capture(taker.take, begun_after=False)
            if measured is not None:
                line.send(packed_measurement(measured))
            elif taker.over and opened.stage is not None:
                if opened.stage.world.failure is not None:
                    raise opened.stage.world.failure
                line.send(packed_json(Kind.END, {"frames": opened.stage.world.frames}))


def _obey(record: Record, opened: Opened) -> None:
    asked = json_of(record)
    if record.kind is Kind.EXPOSURE:
        opened.camera.set_exposure(float(asked["exposure_us"]), float(asked["gain"]))
    elif record.kind is Kind.FAULT and opened.stage is not None:
        opened.stage.fail(asked["fault"])


class _Taker:
    """Turns mosaics into measurements, and knows where in its scene a rehearsal is."""

    def __init__(self, opened: Opened, measuring: Measuring, thresholds_crc: int) -> None:
        self._stage, self._measuring, self._crc = opened.stage, measuring, thresholds_crc
        self._sequence = 0
        self._last = -1
        self.over = False

    def take(self, mosaic: NDArray[np.uint16], about: Exposed) -> BoardMeasurement | None:
        """The measurement of one mosaic; None where a rehearsal's scene is over, or its frame was measured already."""
        frame, time_s = about.frame, about.time_s
        if self._stage is not None:
            world = self._stage.world
            world.begin(about.time_s)
            frame = world.index_at(about.time_s)
            if world.over(frame):
                self.over = True
                return None
            if frame <= self._last:
                return None
            time_s = world.scene_time_s(frame)
        self._last = frame
        codes = self._measuring.codes(mosaic, about)
        self._sequence += 1
        return BoardMeasurement(
            sequence=self._sequence - 1,
            frame=frame,
            capture_time_us=round(time_s * 1e6),
            exposure_us=round(about.exposure_us),
            gain_milli=round(about.gain * 1000),
            thresholds_crc=self._crc,
            received_s=0.0,
            codes=codes,
        )


def _about(opened: Opened, board: LoopBoard | None, digest: str, sandbox: Sandbox) -> dict[str, Any]:
    stage = opened.stage
    kernel = None if stage is None else stage.world.kernel
    return {
        "camera": asdict(opened.camera.identity),
        "sandbox": asdict(sandbox),
        "thresholds_digest": digest,
        "board": None
        if board is None
        else {
            "serial": board.hello.board_serial,
            "firmware": board.firmware,
            "simulated": board.hello.hardware != Hardware.ANALOG,
        },
        "scene": None if stage is None else {"live": stage.live, "fps": stage.fps, "frame_count": stage.frame_count},
        "kernel": None if kernel is None else asdict(kernel),
    }
