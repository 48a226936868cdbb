"""A modulator on a Linux framebuffer: its memory is mapped, and grey levels are written into each colour's bits.

Structures and request numbers: linux/fb.h (Linux 6.1). The console has to be kept off that screen (`fbcon=map:1` in the
kernel's command line, or `vt.global_cursor_default=0 consoleblank=0`), or its text becomes part of the mask.
"""

import contextlib
import fcntl
import mmap
import os
import re
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from host.mask.display import Levels, Status, connector_status
from host.mask.errors import SlmError, SlmUnsuitable

FBIOGET_VSCREENINFO, FBIOGET_FSCREENINFO, FBIOBLANK = 0x4600, 0x4602, 0x4611
FB_BLANK_UNBLANK = 0
# fb_var_screeninfo: xres, yres, virtual x and y, offset x and y, bits, grayscale, four bitfields of (offset, length,
# msb_right), then 16 more words. fb_fix_screeninfo: id, smem_start, smem_len, type, type_aux, visual, three steps,
# line_length, mmio_start, mmio_len, accel, capabilities, reserved; native sizes and alignment.
VARIABLE = struct.Struct("40I")
FIXED = struct.Struct("@16sLIIIIHHHILIIH2H0L")
LARGEST_BYTES = 2**28


@dataclass(frozen=True, slots=True)
class Screen:
    """Layout of a framebuffer. first_byte: of the part that is shown. channels: (offset, length) in bits of red, green
    and blue within a pixel of bits_per_pixel."""

    name: str
    rows: int
    columns: int
    stride_bytes: int
    first_byte: int
    bits_per_pixel: int
    channels: tuple[tuple[int, int], tuple[int, int], tuple[int, int]]

    @property
    def bits(self) -> int:
        """Bits of grey that all three channels can carry."""
        return min(8, *(length for _, length in self.channels))

    @property
    def bytes(self) -> int:
        """Memory up to the end of the part that is shown."""
        return self.first_byte + self.rows * self.stride_bytes


def screen_of(variable: bytes, fixed: bytes) -> Screen:
    """The layout in the answers to FBIOGET_VSCREENINFO and FBIOGET_FSCREENINFO. Raises SlmUnsuitable."""
    words = VARIABLE.unpack_from(variable)
    columns, rows, _, _, x_px, y_px, depth = words[:7]
    channels = tuple((words[8 + 3 * index], words[9 + 3 * index]) for index in range(3))
    facts = FIXED.unpack_from(fixed)
    stride_bytes = facts[9]
    name = facts[0].split(b"\0")[0].decode(errors="replace")
    fitting = all(1 <= length <= 8 and offset + length <= depth for offset, length in channels)
    if depth not in (16, 24, 32) or not fitting:
        raise SlmUnsuitable(
            f"the framebuffer {name} has {depth} bits a pixel with channels {channels}: 16, 24 or 32 are known here; "
            "choose another mode with `video=` in the kernel's command line"
        )
    if not (rows and columns) or stride_bytes < (x_px + columns) * depth // 8:
        raise SlmUnsuitable(f"the framebuffer {name} says {columns} x {rows} pixels in {stride_bytes} bytes a line")
    first_byte = y_px * stride_bytes + x_px * depth // 8
    return Screen(name, rows, columns, stride_bytes, first_byte, depth, channels)  # type: ignore[arg-type]  # three


def query_screen(descriptor: int) -> Screen:
    """Ask the kernel for a framebuffer's layout. Raises SlmUnsuitable, OSError where it is no framebuffer."""
    variable = fcntl.ioctl(descriptor, FBIOGET_VSCREENINFO, bytes(VARIABLE.size))
    fixed = fcntl.ioctl(descriptor, FBIOGET_FSCREENINFO, bytes(FIXED.size))
    return screen_of(variable, fixed)


def pixels_of(levels: Levels, screen: Screen) -> NDArray[np.uint8]:
    """Grey levels (rows, columns) as the bytes of a framebuffer's lines: uint8 (rows, columns * bytes a pixel).

    A level goes to each channel, rounded to the bits that the channel has.
    """
    pixel = np.zeros(levels.shape, np.uint32)
    for offset, length in screen.channels:
        most = 2**length - 1
        scaled = (levels.astype(np.uint32) * most + 127) // 255
        pixel |= scaled << np.uint32(offset)
    size = screen.bits_per_pixel // 8
    in_bytes = pixel.astype("<u4").view(np.uint8).reshape(*levels.shape, 4)[..., :size]
    return np.ascontiguousarray(in_bytes).reshape(levels.shape[0], -1)


class Framebuffer:
    """A display (host/mask/display.py) on /dev/fbN. connector: its video output, None: any of the same card."""

    def __init__(
        self,
        path: str,
        connector: str | None = None,
        *,
        query: Callable[[int], Screen] = query_screen,
        root: Path = Path("/"),
    ) -> None:
        """Open and map it. Raises SlmUnsuitable: no such device, no permission, no known layout."""
        self._path = path
        self._connector = connector
        self._root = root
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except PermissionError as error:
            user = os.environ.get("USER") or "$USER"
            raise SlmUnsuitable(
                f"{path} may not be opened: `sudo usermod -aG video {user}`, then log in again"
            ) from error
        except OSError as error:
            raise SlmUnsuitable(
                f"{path} cannot be opened ({error.strerror}): plug the modulator in before the Pi starts, or add "
                "`hdmi_force_hotplug=1` to /boot/firmware/config.txt"
            ) from error
        try:
            self.screen = query(self._descriptor)
            if self.screen.bytes > LARGEST_BYTES:
                raise SlmUnsuitable(f"{path} says that it has {self.screen.bytes} bytes, more than any display")
            self._memory = mmap.mmap(self._descriptor, self.screen.bytes)
        except (OSError, ValueError) as error:
            os.close(self._descriptor)
            raise SlmUnsuitable(f"{path} is no framebuffer that can be mapped: {error}") from error
        except SlmError:
            os.close(self._descriptor)
            raise
        self.rows, self.columns, self.bits = self.screen.rows, self.screen.columns, self.screen.bits
        # A screen that was blanked to save power shows nothing; not every driver knows the request.
        with contextlib.suppress(OSError):
            fcntl.ioctl(self._descriptor, FBIOBLANK, FB_BLANK_UNBLANK)

    @property
    def name(self) -> str:
        """As the configuration calls it."""
        return self._path + (f"@{self._connector}" if self._connector else "")

    def put(self, levels: Levels) -> None:
        """Write grey levels uint8 (rows, columns). Raises SlmError after `close`."""
        if self._memory.closed:
            raise SlmError(f"{self.name} was closed")
        lines = pixels_of(levels, self.screen)
        for row, line in enumerate(lines):
            start = self.screen.first_byte + row * self.screen.stride_bytes
            self._memory[start : start + line.size] = line.tobytes()

    def status(self) -> Status:
        """What the connectors of its card say."""
        return connector_status(self._connector, self._card(), self._root)

    def now_s(self) -> float:
        """CLOCK_BOOTTIME, which libcamera's time stamps count on."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def close(self) -> None:
        """Unmap. What is shown stays."""
        if not self._memory.closed:
            self._memory.close()
            os.close(self._descriptor)

    def _card(self) -> str | None:
        listed = (self._root / "sys/class/graphics" / Path(self._path).name / "device/drm").glob("card*")
        return next((each.name for each in sorted(listed) if re.fullmatch(r"card\d+", each.name)), None)
