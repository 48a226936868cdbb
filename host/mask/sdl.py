"""A modulator as a screen of a desktop, through SDL (pygame): full screen, no scaling, grey in all three colours."""

import importlib
import os
import time
from pathlib import Path
from typing import Any

import numpy as np

from host.mask.display import Levels, Status, connector_status
from host.mask.errors import SlmOff, SlmUnsuitable


class SdlDisplay:
    """A display (host/mask/display.py) on screen `number`, counted as SDL does. Raises SlmUnsuitable, SlmOff."""

    bits = 8

    def __init__(self, number: int, connector: str | None = None, *, root: Path = Path("/")) -> None:
        os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
        try:
            self._pygame: Any = importlib.import_module("pygame")
        except ImportError as error:
            raise SlmUnsuitable("screens through SDL need pygame: `pip install pygame-ce`") from error
        self._number, self._connector, self._root = number, connector, root
        try:
            self._pygame.display.init()
            sizes = self._pygame.display.get_desktop_sizes()
        except self._pygame.error as error:
            raise SlmUnsuitable(
                f"SDL finds no screen ({error}): without a desktop use the framebuffer, mask.slm_display: /dev/fb0"
            ) from error
        if number >= len(sizes):
            raise SlmOff(f"SDL sees {len(sizes)} screens, number {number} is not there: is the modulator on?")
        flags = self._pygame.FULLSCREEN | self._pygame.NOFRAME
        self._surface: Any = self._pygame.display.set_mode(sizes[number], flags, 32, number)
        self._pygame.mouse.set_visible(False)
        self.columns, self.rows = self._surface.get_size()

    @property
    def name(self) -> str:
        """As the configuration calls it."""
        return f"sdl:{self._number}" + (f"@{self._connector}" if self._connector else "")

    def put(self, levels: Levels) -> None:
        """Show grey levels uint8 (rows, columns)."""
        # SDL counts columns first.
        grey = np.repeat(np.ascontiguousarray(levels.T)[:, :, np.newaxis], 3, axis=2)
        self._pygame.surfarray.blit_array(self._surface, grey)
        self._pygame.display.flip()
        # Without looking at its events a window counts as hung.
        self._pygame.event.pump()

    def shown(self) -> Levels:
        """The surface's own content, read back: uint8 (rows, columns)."""
        return np.asarray(self._pygame.surfarray.array3d(self._surface)[:, :, 1].T, dtype=np.uint8)

    def status(self) -> Status:
        """Off where SDL has lost the screen; else what the kernel's connectors say."""
        if self._number >= self._pygame.display.get_num_displays():
            return "off"
        return connector_status(self._connector, None, self._root)

    def now_s(self) -> float:
        """CLOCK_BOOTTIME, which libcamera's time stamps count on."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def close(self) -> None:
        """Leave the screen."""
        self._pygame.display.quit()
