"""What the sensor looks at and measures with: a twin or a camera that this process starts, or a board on a port."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from host.boundary.client import BoundaryCapture, TwinFault
from host.boundary.errors import BoundaryFailed
from host.capture import Capture, CaptureSource
from host.config import Config
from host.measurement import KernelUse, RehearsedPath
from host.seal.sealing import seal_of
from host.twin.bench import make_bench
from host.twin.board_process import BoardProcess
from host.twin.kernel import KernelError, kernel_use, load_kernel
from host.twin.measured_sensor import read_measured_sensor
from host.twin.player import Twin, TwinError, TwinKernelError
from host.twin.sensor import SensorModel
from optics.archive import BundleError
from optics.bundle import Bundle


@dataclass
class Source:
    """Where measurements come from and what is known about the scene before it.

    `twin`: the simulated camera and board that this process started, on path twin; `boundary`: the boundary process, on
    paths camera and loop; `board`: the simulated board of a rehearsed loop.
    """

    capture: CaptureSource
    description: str
    port: str | None = None
    twin: Twin | None = None
    boundary: BoundaryCapture | None = None
    board: BoardProcess | None = None
    rehearsed: bool = False
    live_scene: bool = False

    @property
    def plays(self) -> bool:
        """Whether frames come from a scene that this process started, so that their numbers go on after a restart."""
        return self.twin is not None or (self.rehearsed and not self.live_scene)

    @property
    def live(self) -> bool:
        """Whether the scene's clock is the wall's."""
        if self.boundary is not None:
            return not self.rehearsed or self.live_scene
        return self.twin is None or self.twin.live

    @property
    def wall_clock(self) -> bool:
        """Whether measurements happen now, even where parts of the sensor are simulated: what looks is a camera."""
        return (self.twin is not None or self.boundary is not None) and self.live

    @property
    def finished(self) -> bool:
        """Whether no further frame will come."""
        if self.boundary is not None:
            return self.boundary.frames is not None
        return self.twin is not None and self.twin.finished

    @property
    def frames(self) -> int | None:
        """How many frames the scene had, once it is finished."""
        if self.boundary is not None:
            return self.boundary.frames
        return self.twin.frames if self.twin is not None and self.twin.finished else None

    @property
    def dropped(self) -> int:
        """Frames that were not measured in time (pace realtime), as last reported; a camera always drops some."""
        if self.boundary is not None:
            return 1
        return self.twin.status.dropped if self.twin is not None else 0

    @property
    def kernel(self) -> KernelUse | None:
        """What is simulated in place of the bundle's kernel, None where nothing is."""
        if self.boundary is not None:
            return self.boundary.kernel
        return self.twin.kernel if self.twin is not None else None

    @property
    def failure(self) -> str | None:
        """Why the scene cannot go on, None while all is well."""
        return self.twin.failure if self.twin is not None else None

    def again_from(self, frame: int) -> None:
        """Ask for the frames from `frame` on once more, after a board lost what it had measured. Raises BoundaryFailed
        where the twin does not answer; it may next time."""
        if self.boundary is not None:
            self.boundary.again_from(frame)
        elif self.twin is not None and self.twin.failure is None:
            try:
                self.twin.rewind(frame)
            except TwinError as error:
                raise BoundaryFailed("twin", str(error)) from error

    def close(self) -> None:
        self.capture.release()
        if self.twin is not None:
            self.twin.close()
        if self.board is not None:
            self.board.close()


def open_source(config: Config, bundle: Bundle, bundle_path: Path, twin_fault: TwinFault | None = None) -> Source:
    """Start the twin, name the board's port, or prepare a boundary process (its first verification starts it).

    twin_fault: of the simulated camera of a rehearsal. Raises SceneError, TwinError, TwinKernelError,
    BoardProgramError or ValueError for what cannot be.
    """
    capture = config.capture
    light = tuple((at_s, factor) for at_s, factor in capture.light)
    if capture.path in ("camera", "loop"):
        return _open_boundary(config, bundle, bundle_path, twin_fault)
    if capture.path == "board" and capture.port is not None:
        return Source(Capture(capture.port, bundle), f"board on {capture.port}", capture.port)
    sensor = SensorModel() if capture.sensor is None else read_measured_sensor(capture.sensor).with_converter
    twin = Twin(
        capture.scene, bundle_path, pace=capture.pace, seed=capture.seed, light=light, kernel=capture.kernel,
        sensor=sensor, board=sealed_twin_board(bundle, capture.seed),
    )  # fmt: skip
    twin.start()
    if twin.pty is None:
        raise TwinError("the twin has no serial port")
    description = f"twin, scene {Path(capture.scene).name}, {capture.pace}"
    return Source(Capture(str(twin.pty), bundle), description, str(twin.pty), twin)


def sealed_twin_board(bundle: Bundle, seed: int) -> dict[str, Any]:
    """How the simulated board of a rehearsal is made where its bundle was sealed on a twin: as `canopic calibrate
    --path twin` made the one of this seed, hidden parameters and serial. {} for any other bundle."""
    try:
        named = seal_of(bundle)
    except BundleError:
        return {}  # the seal's interlock says what is wrong with it
    if named is None or not named["simulated"] or named["board"] is None:
        return {}
    return dict(make_bench("board", seed).board)


def _open_boundary(config: Config, bundle: Bundle, bundle_path: Path, twin_fault: TwinFault | None) -> Source:
    capture, rehearsed = config.capture, config.camera.device == "twin"
    path: RehearsedPath = "loop" if capture.path == "loop" else "camera"
    kernel = None
    if capture.kernel is not None:
        try:
            loaded = load_kernel(capture.kernel, bundle.encoding.filters, (bundle.rows_px, bundle.columns_px))
        except KernelError as error:
            raise TwinKernelError(str(error)) from error
        kernel = kernel_use(loaded, bundle.encoding.kernels)
    sensor = None if capture.sensor is None else read_measured_sensor(capture.sensor)
    board, port = None, capture.port
    if path == "loop" and port is None:
        # Only a rehearsal gets here without a port. Offsets and noise as the twin's (host.twin.spec.TwinSpec).
        plain = {"seed": capture.seed, "offset_volts": 0.001, "noise_volts": 0.0005}
        board = BoardProcess(**(sealed_twin_board(bundle, capture.seed) or plain))
        port = str(board.pty)
    scene = {
        "scene": capture.scene,
        "light": capture.light,
        "kernel": None if capture.kernel is None else str(Path(capture.kernel).resolve()),
        "seed": capture.seed,
        "pace": capture.pace,
        "sensor": None if sensor is None else {"model": asdict(sensor.model), **sensor.camera_options},
    }
    try:
        boundary = BoundaryCapture(
            path,
            bundle,
            bundle_path,
            config.camera,
            config.gpio,
            scene=scene,
            port=port if path == "loop" else None,
            kernel=kernel,
            twin_fault=twin_fault,
        )
    except ValueError:
        if board is not None:
            board.close()
        raise
    what = f"rehearsal of path {path}" if rehearsed else f"camera {config.camera.number}"
    seen = f", scene {Path(capture.scene).name}, {capture.pace}" if rehearsed else ""
    on = f", board on {port}" if path == "loop" else ""
    live_scene = rehearsed and capture.scene.startswith("camera:")
    return Source(
        boundary, f"{what}{seen}{on}", port, boundary=boundary, board=board, rehearsed=rehearsed, live_scene=live_scene
    )
