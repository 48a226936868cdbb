"""What a modulator looks like to its driver: a screen that takes grey levels, and whether it is plugged in."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from host.mask.errors import SlmUnsuitable

Status = Literal["on", "off", "unknown"]
Levels = NDArray[np.uint8]


class Display(Protocol):
    """A screen of a modulator. rows, columns: of its pixels. bits: levels that reach the panel are 2**bits, of 256."""

    rows: int
    columns: int
    bits: int

    @property
    def name(self) -> str:
        """What the configuration calls it."""

    def put(self, levels: Levels) -> None:
        """Show grey levels uint8 (rows, columns). Raises SlmError. Returns once they are on their way to the panel."""

    def status(self) -> Status:
        """Whether a panel is plugged in and on; "unknown" where nothing tells."""

    def now_s(self) -> float:
        """The clock of the camera's time stamps (Exposed.time_s)."""

    def close(self) -> None:
        """Give the screen back."""


@dataclass(frozen=True, slots=True)
class Connector:
    """A video output, as the kernel's DRM lists it: name ("HDMI-A-1"), whether a display is plugged in and lit."""

    name: str
    card: str
    connected: bool
    enabled: bool


def connectors(root: Path = Path("/")) -> list[Connector]:
    """Video outputs from /sys/class/drm/*/status (Documentation/gpu/drm-kms: connector attributes)."""
    found = []
    for status in sorted((root / "sys/class/drm").glob("card*-*/status")):
        card, _, name = status.parent.name.partition("-")
        found.append(
            Connector(name, card, _read(status) == "connected", _read(status.parent / "enabled") != "disabled")
        )
    return found


def connector_status(wanted: str | None, card: str | None = None, root: Path = Path("/")) -> Status:
    """Whether the display on a connector is on. wanted: its name; None: any of `card` (None: of any card).

    "unknown" where the kernel lists no connector at all: nothing can tell then. A connector that is named and not there
    is off.
    """
    listed = connectors(root)
    if not listed:
        return "unknown"
    mine = [each for each in listed if (wanted is None or each.name == wanted) and card in (None, each.card)]
    return "on" if any(each.connected and each.enabled for each in mine) else "off"


def open_display(name: str, root: Path = Path("/")) -> Display:
    """The display that the configuration names (`mask.slm_display`).

    "/dev/fb0": a framebuffer; "/dev/fb0@HDMI-A-2": one whose panel hangs on that connector, where several displays are
    plugged in; "sdl:1": screen 1 of a desktop, through SDL. Raises SlmUnsuitable.
    """
    path, _, connector = name.partition("@")
    if re.fullmatch(r"/dev/fb\d+", path):
        from host.mask.framebuffer import Framebuffer

        return Framebuffer(path, connector or None, root=root)
    if match := re.fullmatch(r"sdl:(\d+)", path):
        from host.mask.sdl import SdlDisplay

        return SdlDisplay(int(match[1]), connector or None, root=root)
    raise SlmUnsuitable(
        f"mask.slm_display {name!r} is no display: give a framebuffer such as /dev/fb0, with its connector where "
        "several displays are plugged in (/dev/fb0@HDMI-A-2), or sdl:NUMBER for a screen of a desktop"
    )


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
