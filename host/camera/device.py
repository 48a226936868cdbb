"""Opens a Raspberry Pi camera through picamera2, and says in words why that did not work."""

import importlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from host.camera.errors import CameraBusy, CameraError, CameraLost, CameraMissing

# What opening says when another program has the camera: libcamera's acquire() fails with EBUSY.
_BUSY = ("busy", "in use by another process", "unexpected code: -16", "failed to acquire camera")
_NONE = ("no camera number", "camera(s) not found", "no cameras available", "list index out of range")
_HELD = ("/dev/media", "/dev/video")
# Of all that picamera2 imports only simplejpeg is compiled against numpy's C interface (pidng and libcamera are not);
# Bookworm's 1.6 against numpy 1.24, which numpy 2 refuses (github.com/raspberrypi/picamera2/issues/1211 and 1088).
_NEWER = "'simplejpeg>=1.9'"


def open_picamera2(number: int) -> Any:
    """A Picamera2 for the camera of this number, as `rpicam-hello --list-cameras` counts.

    Raises CameraMissing without picamera2 or without such a camera, CameraBusy where another program has it, CameraLost
    for anything else that opening it says.
    """
    try:
        module = importlib.import_module("picamera2")
    except (ImportError, OSError, ValueError, AttributeError) as error:
        raise CameraMissing(_no_software(error)) from error
    try:
        return module.Picamera2(number)
    except Exception as error:  # picamera2 raises bare RuntimeError and IndexError, libcamera what it likes
        raise explain(error, number) from error


def explain(error: BaseException, number: int) -> CameraError:
    """What an exception of picamera2's constructor means for the person who wanted camera `number`."""
    if isinstance(error, CameraError):
        return error
    said = list(_said(error))
    text = " | ".join(said).lower()
    if any(sign in text for sign in _BUSY):
        return CameraBusy(f"camera {number} is in use by another program: {_who(holders())}")
    if any(sign in text for sign in _NONE):
        return CameraMissing(
            f"there is no camera {number} on this computer. Switch it off, seat the ribbon cable at both ends (contacts"
            " towards the contacts of the socket; a Pi 5 has the narrow sockets CAM/DISP 0 and 1 and needs the narrow"
            " cable), switch it on, and look with `rpicam-hello --list-cameras`. A camera that is not from Raspberry Pi"
            " also needs its dtoverlay in /boot/firmware/config.txt"
        )
    return CameraLost(f"camera {number} could not be opened: {'; '.join(said)}")


def holders(proc: Path = Path("/proc")) -> list[str]:
    """Other processes that have a camera device open, as "name (process 123)"; only those that this user may see.

    Whoever holds /dev/media* comes first: that is what a camera program keeps open, while /dev/video* also are codecs.
    """
    found: list[tuple[bool, int, str]] = []
    for folder in proc.glob("[0-9]*"):
        if int(folder.name) == os.getpid():
            continue
        held = sorted({target for target in _targets(folder / "fd") if target.startswith(_HELD)})
        if held:
            try:
                name = (folder / "comm").read_text(encoding="utf-8", errors="replace").strip()
            except OSError:
                name = "unknown"
            found.append((not held[0].startswith("/dev/media"), int(folder.name), name))
    return [f"{name} (process {number})" for _, number, name in sorted(found)]


def _targets(folder: Path) -> Iterator[str]:
    try:
        names = list(folder.iterdir())
    except OSError:
        return  # another user's process, or gone
    for name in names:
        try:
            yield str(name.readlink())
        except OSError:
            continue


def _who(names: list[str]) -> str:
    if names:
        return f"{', '.join(names)}. Only one program can use it: stop that one, then try again"
    return (
        "none that this user may see. `sudo fuser -v /dev/media*` names it (often another canopic, or a preview); stop"
        " it, then try again"
    )


def _said(error: BaseException | None) -> Iterator[str]:
    """What an exception and those that it came from say: picamera2 hides the reason behind a general sentence."""
    while error is not None:
        yield f"{error}" or type(error).__name__
        error = error.__cause__ or error.__context__


def numpy_mend(said: str) -> str | None:
    """The one command that mends an import of picamera2 which `said` that numpy's size changed; None for any other
    reason. It installs into this environment, whose simplejpeg then comes before the system's; numpy stays as it is."""
    if "numpy" in said and "binary incompatibility" in said:
        return f"{sys.executable} -m pip install {_NEWER}"
    return None


def _no_software(error: BaseException) -> str:
    what = f"{error}"
    mend = numpy_mend(what)
    if mend is not None:
        return (
            f"picamera2 cannot be loaded: {what}. The system's simplejpeg, which it imports, was built for an older"
            f" numpy than this environment has: `{mend}`"
        )
    return (
        f"picamera2 cannot be loaded ({what}). On a Raspberry Pi: `sudo apt install -y python3-picamera2`, and make the"
        " environment with the system's Python so that it sees it: `/usr/bin/python3 -m venv --system-site-packages"
        f" .venv`. This is Python {sys.version_info.major}.{sys.version_info.minor} of {sys.prefix}. picamera2 from pip"
        " alone has no libcamera. On other computers there is no such camera"
    )
