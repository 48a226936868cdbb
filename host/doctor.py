"""What this machine has of what the sensor needs, and the one command that mends each thing it lacks."""

import importlib
import importlib.metadata
import os
import platform
import shutil
import sqlite3
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from serial.tools import list_ports

from host.config import default_state_directory
from host.config_file import ConfigError, load_config
from host.doctor_machine import Check, Machine
from host.doctor_pi import examine_pi
from host.mounting import mounting_text, mounting_warning_of
from optics.archive import BundleError
from optics.bundle import NAMES, read_bundle, resolve_bundle, shipped_bundles

NEEDED_PACKAGES = (
    ("numpy", "numpy"), ("cv2", "opencv-python-headless"), ("onnxruntime", "onnxruntime"),
    ("pydantic", "pydantic"), ("ruamel.yaml", "ruamel.yaml"), ("typer", "typer"), ("rich", "rich"),
    ("serial", "pyserial"), ("matplotlib", "matplotlib"), ("skimage", "scikit-image"),
)  # fmt: skip
USUAL_CONFIG = Path("/etc/canopic/canopic.yaml")
OLDEST_SQLITE = (3, 37, 0)  # STRICT tables
SOURCE_ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Ability:
    """Something that this machine can do, or why it cannot."""

    what: str
    possible: bool
    why: str = ""


def examine(machine: Machine | None = None, config_file: Path | None = None) -> list[Check]:
    """Look at every part, change nothing. machine: where, None: here. config_file: the sensor's configuration; None:
    the usual one, where there is one."""
    looked_at = Machine() if machine is None else machine
    return [
        *_python(), *_packages(), *_firmware(), *_bundles(), _sqlite(), _state(), *_serial(), *_webcam(), *_extras(),
        *_configuration(config_file), *examine_pi(looked_at),
    ]  # fmt: skip


def abilities(checks: list[Check]) -> list[Ability]:
    """What the machine can run, from what was found."""
    bad = {check.part: check for check in checks if check.verdict in ("missing", "wrong")}
    there = {check.part for check in checks if check.verdict == "ok"}
    base = [part for part in bad if part.startswith(("Python", "package", "default bundle", "SQLite"))]

    def lacking(*parts: str) -> str:
        """Of these parts, those that are in the way: broken ones, and ones that are not there at all."""
        broken = [*base, *(part for part in parts if part in bad)]
        if broken:
            return f"see {', '.join(broken)}"
        absent = [part for part in parts if part not in there and part != "board program"]
        return f"no {', no '.join(absent)}" if absent else ""

    board = [check for check in checks if check.part.startswith("serial port")]
    usable = any(check.verdict == "ok" for check in board)
    no_board = "" if usable else "no usable serial port: connect a board" if not board else "see serial port"
    library = ("libseccomp",) if "libseccomp" in bad else ()
    twin = lacking("board program")
    on_board = lacking() or no_board
    camera = lacking("Raspberry Pi", "picamera2", "camera", "seccomp", *library)
    rehearsal = lacking("seccomp", *library)
    screen = camera or lacking("modulator's display")
    return [
        Ability("the twin, `canopic run`: the whole camera without hardware", not twin, twin),
        Ability("a board, `canopic run --board PORT`", not on_board, on_board),
        Ability("a camera of this Pi, `canopic run --path camera`", not camera, camera),
        Ability("camera and board, `canopic run --path loop`", not (camera or no_board), camera or no_board),
        Ability(
            "rehearsals: every calibration on a twin, `canopic calibrate psf --path twin`", not rehearsal, rehearsal
        ),
        Ability("calibrations with a camera: psf, sensor, range", not camera, camera),
        Ability("calibration of a board", not on_board, on_board),
        Ability("calibration of a modulator: slm", not screen, screen),
    ]


def _python() -> Iterator[Check]:
    version = platform.python_version()
    ok = sys.version_info >= (3, 11)
    yield Check("Python", "ok" if ok else "wrong", f"{version} on {platform.machine()} {platform.system()}",
                "" if ok else "sudo apt-get install python3.11")  # fmt: skip
    yield Check("canopic", "ok", _version("canopic"))


def _packages() -> Iterator[Check]:
    for module, distribution in NEEDED_PACKAGES:
        try:
            importlib.import_module(module)
        except (ImportError, OSError) as error:  # OSError: a shared library that the package needs
            yield Check(f"package {distribution}", "missing", str(error), "make setup")
        else:
            yield Check(f"package {distribution}", "ok", _version(distribution))


def _firmware() -> Iterator[Check]:
    named = os.environ.get("CANOPIC_BOARD")
    program = Path(named) if named else SOURCE_ROOT / "firmware" / "build" / "host" / "canopic-board"
    tools = [tool for tool in ("gcc", "make") if shutil.which(tool) is None]
    if os.access(program, os.X_OK) and program.is_file():
        yield Check("board program", "ok", f"{program}{' (CANOPIC_BOARD)' if named else ''}")
    elif named:
        yield Check(
            "board program", "wrong", f"CANOPIC_BOARD names {named}, which cannot be run", "unset CANOPIC_BOARD"
        )
    elif tools:
        yield Check("board program", "missing", f"not built; {' and '.join(tools)} not found",
                    f"sudo apt-get install {' '.join(tools)} libc6-dev")  # fmt: skip
    elif not (SOURCE_ROOT / "firmware" / "Makefile").exists():
        yield Check("board program", "missing", "not built, and its sources are not here",
                    "export CANOPIC_BOARD=/path/to/canopic-board")  # fmt: skip
    else:
        yield Check("board program", "optional", "not built yet; the first run builds it", "make firmware")


def _bundles() -> Iterator[Check]:
    for name in dict.fromkeys((NAMES[0], *shipped_bundles())):
        part = f"{name} bundle"
        try:
            bundle = read_bundle(resolve_bundle(name))
        except BundleError as error:
            yield Check(part, "wrong", str(error), "pip install --force-reinstall canopic")
        else:
            models = ", ".join(bundle.models) or "no model"
            yield Check(part, "ok", f"{bundle.id[:12]}, encoding {bundle.encoding.id[:12]}, {models}")


def _configuration(file: Path | None) -> Iterator[Check]:
    """The configuration's mounting: whether people come too near for the bundle."""
    chosen = file if file is not None else USUAL_CONFIG
    if file is None and not chosen.is_file():
        return
    try:
        config = load_config(chosen).config
    except ConfigError as error:
        yield Check("configuration", "wrong", error.problems[0], f"canopic config check {chosen}")
        return
    yield Check("configuration", "ok", str(chosen))
    if (warning := mounting_warning_of(config)) is not None:
        yield Check("mounting", "wrong", warning, f"canopic config show -c {chosen}")
    elif (well := mounting_text(config)) is not None:
        yield Check("mounting", "ok", well)


def _sqlite() -> Check:
    ok = sqlite3.sqlite_version_info >= OLDEST_SQLITE
    return Check(
        "SQLite", "ok" if ok else "wrong", sqlite3.sqlite_version, "" if ok else "sudo apt-get upgrade libsqlite3-0"
    )


def _state() -> Check:
    directory = default_state_directory()
    existing = next(path for path in (directory, *directory.parents) if path.exists())
    if os.access(existing, os.W_OK | os.X_OK) and existing.is_dir():
        free = shutil.disk_usage(existing).free / 1e6
        return Check("state directory", "ok", f"{directory}, {free:,.0f} MB free")
    return Check("state directory", "wrong", f"{existing} cannot be written by this user",
                 f"sudo install -d -o {_user()} {directory}")  # fmt: skip


def _serial() -> Iterator[Check]:
    by_id = {path.resolve(): path for path in Path("/dev/serial/by-id").glob("*")}
    # Legacy ports (ttyS) exist on every PC and mean no hardware.
    ports = [port for port in list_ports.comports() if port.vid is not None or "ttyAMA" in port.device]
    if not ports:
        yield Check("serial board", "optional", "no USB serial port found", "connect the board, then run this again")
    for port in ports:
        stable = by_id.get(Path(port.device).resolve(), Path(port.device))
        allowed = os.access(port.device, os.R_OK | os.W_OK)
        found = f"{stable} ({port.description})"
        if allowed:
            yield Check("serial port", "ok", found)
        else:
            yield Check("serial port", "wrong", f"{found}: no permission", f"sudo usermod -aG dialout {_user()}")


def _webcam() -> Iterator[Check]:
    devices = sorted(Path("/dev").glob("video[0-9]*"))
    for device in devices[:1]:
        allowed = os.access(device, os.R_OK | os.W_OK)
        yield Check("webcam", "ok" if allowed else "wrong", f"{device}{'' if allowed else ': no permission'}",
                    "" if allowed else f"sudo usermod -aG video {_user()}")  # fmt: skip
    if not devices:
        yield Check("webcam", "optional", "none (only needed for --scene camera:0)", "connect one")


def _extras() -> Iterator[Check]:
    for module, why in (("torch", "training and audits"), ("onnx", "training")):
        version = _version(module)
        yield Check(f"extra {module}", "ok" if version else "optional", version or f"not installed (only for {why})",
                    "" if version else "pip install 'canopic[train]'")  # fmt: skip


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _user() -> str:
    return os.environ.get("USER") or "$USER"
