"""The boundary process as the daemon and calibrations see it: measurements of a camera, or steps of a calibration."""

import math
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from host.board.assembly import BoardMeasurement
from host.boundary.child import About, Child
from host.boundary.errors import BoundaryFailed, WireError
from host.boundary.measuring import check_measurable
from host.boundary.wire import (
    Kind,
    arrays_of,
    json_of,
    measurement_of,
    packed_arrays,
    packed_json,
    short,
)
from host.calibrate.procedure import Step, StepData
from host.calibrate.run import SessionError
from host.capture import Identity, Probe, thresholds_of
from host.config import Camera, Gpio
from host.measurement import CapturePath, KernelUse, RehearsedPath
from optics.bundle import Bundle

# Imports, a camera's start and its first settled frames: some seconds on a Pi.
START_S = 60.0
# What a frame may take on top of the camera's own time-out, before the process itself is taken for hung.
GRACE_S = 3.0
# A calibration's step: many frames, HDR brackets of long exposures.
STEP_S = 900.0


@dataclass(frozen=True, slots=True)
class TwinFault:
    """A fault that the simulated camera is given: from a frame on (None: from the start), for so many seconds (None: as
    long as the run lasts)."""

    name: str
    frame: int | None = None
    seconds: float | None = None


def parse_twin_fault(text: str) -> TwinFault:
    """ "hang", "unplugged@40" (from frame 40 on) or "busy@40+5" (mended after 5 s). Raises ValueError."""
    name, at, rest = text.partition("@")
    frame, plus, seconds = rest.partition("+")
    try:
        fault = TwinFault(name, int(frame) if at else None, float(seconds) if plus else None)
    except ValueError:
        fault = TwinFault("")
    if not fault.name or (fault.frame or 0) < 0 or not math.isfinite(fault.seconds or 0) or (fault.seconds or 0) < 0:
        raise ValueError(f"--twin-fault: {text!r} is not valid: expected NAME, NAME@FRAME or NAME@FRAME+SECONDS")
    return fault


class BoundaryCapture:
    """Measurements of a camera behind its boundary (paths camera and loop); stands in for host.capture.Capture.

    After `verify`: `about` is what the process said of itself; `pid` its process id. A rehearsal's camera can be given
    faults (`fault`); they stay until mended, also over restarts of the process.
    """

    def __init__(
        self,
        path: RehearsedPath,
        bundle: Bundle,
        bundle_path: Path,
        camera: Camera,
        gpio: Gpio,
        *,
        scene: Mapping[str, Any],
        port: str | None = None,
        kernel: KernelUse | None = None,
        twin_fault: TwinFault | None = None,
    ) -> None:
        """scene: {"scene", "light", "kernel", "seed", "pace", "sensor"} for a rehearsal. port: of the board, on path
        loop. kernel: what the scene's kernel file was found to be, None where it has none.

        Raises NotMeasurable (a ValueError) where a camera cannot measure this bundle.
        """
        check_measurable(bundle)
        encoding = bundle.encoding
        self.path: RehearsedPath = path
        self.shape = (bundle.rows_px // encoding.pool, bundle.columns_px // encoding.pool, encoding.channels)
        self.kernel = kernel
        self.frames: int | None = None
        self.first = 0
        self._twin = camera.device == "twin"
        self._read_s = camera.capture_timeout_s + GRACE_S
        self._spec = {
            "task": "measure",
            "path": path,
            "bundle": str(bundle_path.resolve()),
            "bundle_id": bundle.id,
            "camera": camera.model_dump(),
            "gpio": gpio.model_dump(),
            "port": port,
        }
        self._scene = dict(scene)
        self._wanted_digest = thresholds_of(bundle, board=path == "loop").digest
        self._child: Child | None = None
        self._camera: str | None = None
        self._crc = 0
        self._first: BoardMeasurement | None = None
        self._heard_s = 0.0
        self._seen: str | None = None
        self._fault: str | None = None
        self._planned = twin_fault
        self._mend_s = math.inf
        if twin_fault is not None and twin_fault.frame is None:
            self._planned = TwinFault(twin_fault.name, 0, twin_fault.seconds)

    @property
    def pid(self) -> int | None:
        """Process id of the boundary process, None while none runs."""
        return None if self._child is None else self._child.pid

    def fault(self, name: str | None) -> None:
        """Give the simulated camera a fault, None: mend it."""
        self._fault = name
        if self._child is not None:
            with suppress(BoundaryFailed):
                self._child.send(packed_json(Kind.FAULT, {"fault": name}))

    def again_from(self, frame: int) -> None:
        """Have the next process begin a rehearsal's scene at this frame."""
        self.first, self.frames = max(0, frame), None

    def verify(self, exposure_us: int, gain: float, before_arming: Callable[[], None] | None = None) -> Identity:
        """Start a new process, and wait until it is locked down, its camera the same as before and settled.

        Raises BoundaryFailed.
        """
        self.release()
        if before_arming is not None:
            before_arming()
        self._follow_plan(None)
        self._seen = self._look()
        scene = {**self._scene, "first": self.first, "fault": self._fault}
        child = self._child = Child(
            {**self._spec, "scene": scene, "exposure": [exposure_us, gain]},
            frozenset({Kind.ABOUT, Kind.MEASUREMENT, Kind.END, Kind.FAILURE}),
        )
        try:
            identity = self._settled(child, time.monotonic() + START_S)
        except BoundaryFailed:
            self.release()
            raise
        return identity

    def _settled(self, child: Child, end_s: float) -> Identity:
        record = child.take(end_s - time.monotonic())
        if record is None:
            raise BoundaryFailed("boundary_hung", f"the boundary process did not start within {START_S:g} s")
        about = About.read(record)
        if self._camera is not None and about.camera.name != self._camera:
            raise BoundaryFailed(
                "camera_changed",
                f"this is camera {about.camera.name!r}, until now it was {self._camera!r}",
                True,
                "connect the camera that was there, or start the sensor again for this one",
            )
        if about.digest != self._wanted_digest:
            raise BoundaryFailed("thresholds", f"thresholds {about.digest} are in use, not {self._wanted_digest}", True)
        if self._twin and about.kernel != self.kernel:
            raise BoundaryFailed(
                "kernel_changed", "the kernel's file has changed since the sensor was started", True, "start it again"
            )
        self._camera, self._crc = about.camera.name, int(about.digest, 16)
        while self._first is None and self.frames is None:
            self._first = self._next(child, max(0.0, end_s - time.monotonic()))
            if self._first is None and self.frames is None and time.monotonic() >= end_s:
                raise BoundaryFailed("boundary_hung", f"no frame has settled within {START_S:g} s")
        simulated = about.camera.simulated or about.board_simulated
        capture_path: CapturePath = "twin" if simulated else self.path
        return Identity(
            board_serial=about.board_serial or about.camera.name,
            firmware=about.board_firmware or about.camera.driver,
            boot_id=1 + secrets.randbelow(2**31 - 1),
            thresholds_digest=about.digest,
            capture_path=capture_path,
            camera=about.camera.name,
            rehearsed_path=self.path if simulated else None,
            sandbox=about.sandbox,
        )

    def read(self, timeout_s: float) -> BoardMeasurement | None:
        """The next measurement, None when none came in time. Raises BoundaryFailed."""
        child = self._child
        if child is None:
            return None
        measured, self._first = self._first, None
        if measured is None:
            measured = self._next(child, timeout_s)
        if measured is not None:
            self._follow_plan(measured.frame)
        elif self.frames is None and time.monotonic() - self._heard_s > self._read_s:
            self.release()
            raise BoundaryFailed(
                "boundary_hung",
                f"the boundary process has said nothing for {self._read_s:g} s: a hung camera driver; it is ended and "
                "started again",
            )
        return measured

    def _next(self, child: Child, timeout_s: float) -> BoardMeasurement | None:
        record = child.take(timeout_s)
        if record is None:
            return None
        self._heard_s = time.monotonic()
        if record.kind is Kind.MEASUREMENT:
            try:
                return measurement_of(record, self.shape, self._crc, self._heard_s)
            except WireError as error:
                self.release()
                raise BoundaryFailed(
                    "boundary_untrusted", f"an impossible measurement: {short(error)}", True
                ) from error
        if record.kind is Kind.END:
            frames = json_of(record).get("frames")
            self.frames = frames if isinstance(frames, int) else 0
        return None

    def leftover(self) -> Iterator[BoardMeasurement]:
        """Nothing: what a lost camera measured last is measured again or gone."""
        return iter(())

    def set_exposure(self, exposure_us: int, gain: float) -> None:
        """Ask for another exposure. Raises BoundaryFailed."""
        if self._child is not None:
            self._child.send(packed_json(Kind.EXPOSURE, {"exposure_us": exposure_us, "gain": gain}))

    def probe(self) -> Probe:
        """What can be seen of a camera without opening it: its software and its devices; faults of a rehearsal.

        The first one after a verification tells what there was before that: whoever acted in between is not missed.
        """
        self.release()
        self._follow_plan(None)
        seen, self._seen = self._seen or self._look(), None
        return Probe(seen, 1, 0, True)

    def _look(self) -> str:
        if self._twin:
            return f"twin {self._fault or 'without fault'}"
        nodes = sorted(str(path) for kind in ("media*", "video*") for path in Path("/dev").glob(kind))
        return f"picamera2 {bool(find_spec('picamera2'))} {' '.join(nodes)}"

    def release(self, disarm: bool = False) -> None:
        """End the process; `disarm`: in order, so that a board is disarmed at once and not by its heartbeat."""
        child, self._child, self._first = self._child, None, None
        if child is not None:
            if disarm:
                child.close()
            else:
                child.kill()

    def _follow_plan(self, frame: int | None) -> None:
        """Give or mend the fault that was planned, once its frame or its time has come."""
        if self._planned is not None and (self.first if frame is None else frame) >= (self._planned.frame or 0):
            self._mend_s = time.monotonic() + (math.inf if self._planned.seconds is None else self._planned.seconds)
            self.fault(self._planned.name)
            self._planned = None
        if time.monotonic() >= self._mend_s:
            self._mend_s = math.inf
            self.fault(None)


class BoundarySession:
    """A calibration's steps, acquired in a boundary process (host.calibrate.run.Session). A context manager.

    The process is started with the first step, and again for the next one after a failure.
    """

    def __init__(self, kind: str, spec: Mapping[str, Any]) -> None:
        """spec: {"acquire": "module:function", "twin": {"seed", "fault"}} or, with a real camera, "camera", "gpio" and
        "mask" (sections of the configuration), "rows_px" and "columns_px"."""
        self._spec = {"task": "calibrate", "kind": kind, **spec}
        self._child: Child | None = None
        self._about: About | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    @property
    def device(self) -> str:
        """Name of the camera; a twin says its seed and fault, too. Raises SessionError where it cannot be opened."""
        twin = self._spec.get("twin")
        words = "" if twin is None else f" twin {twin['seed']} {twin['fault'] or ''}"
        return f"{self._said().camera.name}{words}".strip()

    @property
    def simulated(self) -> bool:
        """Whether the camera is a simulated one, by its own account. Raises SessionError where it cannot be opened."""
        return self._said().camera.simulated

    @property
    def sandbox(self) -> Mapping[str, Any]:
        """What holds in the boundary process (host.boundary.sandbox.Sandbox). Raises SessionError where the camera
        cannot be opened."""
        return self._said().sandbox

    @property
    def missing(self) -> tuple[str, ...]:
        """What the sandbox lacks on this computer, one printable sentence each (at most 8 of 1000 characters). Raises
        SessionError where the camera cannot be opened."""
        return tuple(self.sandbox["missing"])

    def acquire(self, step: Step, before: dict[str, StepData]) -> StepData:
        """One step. Raises SessionError with the device's own words and the fault's name."""
        child = self._started()
        arrays = {f"{name}/{key}": array for name, data in before.items() for key, array in data.items()}
        try:
            child.send(packed_arrays(arrays, Kind.ACQUIRE, {"step": asdict(step), "before": sorted(before)}))
            record = child.take(STEP_S)
            if record is None:
                raise BoundaryFailed("boundary_hung", f"step {step.name} took longer than {STEP_S:g} s")
            return arrays_of(record)[1]
        except (BoundaryFailed, WireError) as error:
            self.close()
            raise _told(error) from error

    def close(self) -> None:
        """End the process."""
        child, self._child = self._child, None
        if child is not None:
            child.close()

    def _started(self) -> Child:
        if self._child is None:
            self._child = child = Child(self._spec, frozenset({Kind.ABOUT, Kind.STEP, Kind.FAILURE}))
            try:
                record = child.take(START_S)
                if record is None:
                    raise BoundaryFailed("boundary_hung", f"the boundary process did not start within {START_S:g} s")
                self._about = About.read(record)
            except BoundaryFailed as error:
                self.close()
                raise _told(error) from error
        return self._child

    def _said(self) -> About:
        """What the process that runs said of itself; one is started where none does."""
        self._started()
        if self._about is None:
            raise SessionError("the boundary process has not said what it is", "boundary_untrusted")
        return self._about


def _told(error: BoundaryFailed | WireError) -> SessionError:
    """A failure for the person at the bench: what was seen, and what to do."""
    if isinstance(error, WireError):
        return SessionError(str(error), "boundary_untrusted")
    return SessionError(f"{error}; {error.advice}" if error.advice else str(error), error.kind)
