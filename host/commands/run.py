"""canopic run: put a sensor together from a configuration and run it."""

import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from rich.console import Console

from host.board.errors import BoardProgramError
from host.boundary.client import TwinFault, parse_twin_fault
from host.commands.common import BLIND, DONE, FAILED, WRONG_INPUT, expected
from host.commands.options import overrides
from host.config import Config, default_state_directory
from host.config_file import ConfigError, LoadedConfig, load_config
from host.daemon import Limits
from host.outputs.json_lines import JsonLines
from host.outputs.lines import Lines
from host.outputs.live import LiveView, fits
from host.outputs.report import Output, Summary
from host.sensor import Settings, run_configured
from host.stop import StopRequest, stop_on_signals
from host.storage import StorageError
from host.twin.frame import SceneError
from host.twin.picamera_hardware import FAULTS
from host.twin.player import TwinError, TwinKernelError

# A simulated camera that is broken for good is given up after so many tries; a real one may be mended.
REHEARSED_TRIES = 3


def run_sensor(
    config_file: Path | None,
    frames: int | None,
    *,
    scene: str | None,
    as_json: bool,
    pace: str | None,
    board: str | None,
    bundle: str | None,
    seed: int | None,
    light: str | None,
    kernel: Path | None,
    sensor: Path | None,
    state: Path | None,
    path: str | None = None,
    camera: str | None = None,
    twin_fault: str | None = None,
) -> int:
    """Run until the scene ends, `frames` measurements are made, or a signal comes. Status 3: blind at the end."""
    with expected(ConfigError, ValueError, status=WRONG_INPUT, prefix=""):
        given = overrides(
            scene=scene, pace=pace, board=board, bundle=bundle, seed=seed, light=light, kernel=kernel, sensor=sensor,
            state=state, output_format="json" if as_json else None, path=path, camera=camera,
        )  # fmt: skip
        loaded = load_config(config_file, given)
        fault = _camera_fault(twin_fault, loaded.config)
    config, stop = loaded.config, StopRequest()
    # Errors are said after the stack has given the terminal back.
    with (
        expected(StorageError, SceneError, TwinError, BoardProgramError, ValueError),
        expected(TwinKernelError, status=WRONG_INPUT),
        ExitStack() as stack,
    ):
        stack.enter_context(stop_on_signals(stop))
        directory = _state_directory(loaded, stack)
        output = _output(config.output.format)
        if isinstance(output, LiveView):
            stack.callback(output.stop)
        # Somebody can mend a board that is there, or a sensor that runs for good; a demonstration just ends.
        stay = config.capture.path == "board" or config_file is not None
        rehearsed = config.capture.path in ("camera", "loop") and config.camera.device == "twin"
        tries = REHEARSED_TRIES if rehearsed and config_file is None else None
        settings = Settings(config, directory, Limits(frames, stay, tries), fault)
        summary = run_configured(settings, [output], stop)
    return _status(summary)


def _camera_fault(text: str | None, config: Config) -> TwinFault | None:
    """The fault that a rehearsal's camera is to have. Raises ValueError."""
    if text is None:
        return None
    if config.capture.path not in ("camera", "loop") or config.camera.device != "twin":
        raise ValueError("--twin-fault is for a simulated camera: add --path camera --camera twin")
    fault = parse_twin_fault(text)
    if fault.name not in FAULTS:
        known = "\n".join(f"  {name}: {what}" for name, what in FAULTS.items())
        raise ValueError(f"--twin-fault: the camera twin knows no fault {fault.name!r}, but\n{known}")
    return fault


def _state_directory(loaded: LoadedConfig, stack: ExitStack) -> Path:
    """The configured directory; without a configuration a temporary one, so that no scene inherits another's room."""
    if loaded.config.storage.directory is not None:
        return loaded.config.storage.directory
    if loaded.path is not None:
        return default_state_directory()
    return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="canopic-")))


def _output(wanted: str) -> Output:
    match wanted:
        case "json":
            return JsonLines(sys.stdout)
        case "none":
            return Lines(sys.stderr)
        case "lines":
            return Lines(sys.stdout)
        case _:
            console = Console(markup=False, highlight=False)
            return LiveView(console) if fits(console) else Lines(sys.stdout)


def _status(summary: Summary) -> int:
    if summary.state == "blind":
        return BLIND
    return FAILED if summary.failed else DONE
