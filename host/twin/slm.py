"""A twin of a phase modulator, behind its driver: a display (host/mask/display.py) that light can be asked about.

What is simulated: the phase of each grey level, not linear, and a little different over the panel (a wedge of the cell
gap; doi:10.1364/AO.43.006400); crosstalk, the fringing field that blurs phases over neighbouring pixels
(doi:10.1364/OE.20.022334); the liquid crystal's exponential answer, slower down than up, after the delay of the
display; flicker, a ripple in time in proportion to the phase; the panel's own curvature; a fill factor whose gaps
reflect with phase 0; the angle of the light's polarisation; a panel that is off.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from host.mask.display import Levels, Status
from host.mask.errors import SlmUnsuitable

LEVELS = 256
Map = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Panel:
    """One made example.

    level_phases_rad: float64 (256,), phase of each grey level above that of level 0, averaged over the panel. gain:
    float64 (rows, columns), factor on it from place to place, mean 1. static_rad: float64 (rows, columns), the panel's
    own phase. crosstalk_px: standard deviation of the blur, pixels. rise_s, fall_s: time constants towards more and
    less phase. delay_s: from writing to the first change. flicker: amplitude of the ripple over the phase;
    flicker_hz, flicker_rad: its frequency and its phase at time 0. fill_factor: share of a pixel's area.
    polarisation_rad: angle of the light (and of the analyser) to the director; 0 is right.
    """

    level_phases_rad: Map
    gain: Map
    static_rad: Map
    crosstalk_px: float = 0.0
    rise_s: float = 0.0
    fall_s: float = 0.0
    delay_s: float = 0.0
    flicker: float = 0.0
    flicker_hz: float = 0.0
    flicker_rad: float = 0.0
    fill_factor: float = 1.0
    polarisation_rad: float = 0.0


@dataclass(slots=True)
class _Change:
    start_s: float
    before: Map
    after: Map


@dataclass(eq=False)
class SlmTwin:
    """A display with a panel behind it. clock: the camera's time stamps. off: as if unplugged; it forgets its image.

    `field` is what light meets; the driver sees `put` and `status` alone, as with any display.
    """

    panel: Panel
    clock: Callable[[], float]
    bits: int = 8
    _off: bool = False
    _changes: list[_Change] = field(default_factory=list)

    def __post_init__(self) -> None:
        shape = self.panel.gain.shape
        if len(shape) != 2 or self.panel.static_rad.shape != shape or self.panel.level_phases_rad.shape != (LEVELS,):
            raise ValueError("a panel has (256,) phases and maps of one shape (rows, columns)")
        self.rows, self.columns = shape
        dark = self._phases(np.zeros(shape, np.uint8))
        self._changes = [_Change(-math.inf, dark, dark)]

    @property
    def name(self) -> str:
        """As the configuration calls it."""
        return "twin"

    @property
    def off(self) -> bool:
        """Whether the panel is off."""
        return self._off

    @off.setter
    def off(self, off: bool) -> None:
        self._off = off
        if off:
            dark = self._phases(np.zeros((self.rows, self.columns), np.uint8))
            self._changes = [_Change(-math.inf, dark, dark)]

    def status(self) -> Status:
        """Whether the panel is on."""
        return "off" if self._off else "on"

    def now_s(self) -> float:
        """The camera's clock."""
        return self.clock()

    def close(self) -> None:
        """Nothing to give back; the image stays."""

    def put(self, levels: Levels) -> None:
        """Take grey levels uint8 (rows, columns); a panel that is off takes them, too, and shows nothing."""
        if levels.shape != (self.rows, self.columns):
            raise SlmUnsuitable(f"this panel has {(self.rows, self.columns)} pixels, got {levels.shape}")
        if self._off:
            return
        # The bits of a coarse display are repeated downwards, as scan-out does.
        kept = levels if self.bits == 8 else _coarse(levels, self.bits)
        start_s = max(self.clock() + self.panel.delay_s, self._changes[-1].start_s)
        before = self._answer(self._changes[-1], start_s)
        self._changes = [*self._changes[-3:], _Change(start_s, before, self._phases(kept))]

    def phase_rad(self, time_s: float) -> Map:
        """Phase of each pixel above that of level 0, with what it has not settled and its ripple: float64."""
        change = next(each for each in reversed(self._changes) if each.start_s <= time_s)
        panel = self.panel
        ripple = panel.flicker * math.sin(2 * math.pi * panel.flicker_hz * time_s + panel.flicker_rad)
        return np.asarray(self._answer(change, time_s) * (1 + ripple))

    def field(self, time_s: float) -> NDArray[np.complex128]:
        """What the panel does to the light's amplitude at a moment: complex128 (rows, columns).

        The share F cos^2(angle) of it follows the phase, the rest (gaps; light across the director, which the analyser
        lets through again) does not.
        """
        share = self.panel.fill_factor * math.cos(self.panel.polarisation_rad) ** 2
        return np.asarray(
            (share * np.exp(1j * self.phase_rad(time_s)) + 1 - share) * np.exp(1j * self.panel.static_rad)
        )

    def _phases(self, levels: Levels) -> Map:
        phases = self.panel.level_phases_rad[levels] * self.panel.gain
        if self.panel.crosstalk_px > 0:
            phases = gaussian_filter(phases, self.panel.crosstalk_px, mode="nearest", truncate=5)
        return np.asarray(phases, dtype=np.float64)

    def _answer(self, change: _Change, time_s: float) -> Map:
        passed_s = max(0.0, time_s - change.start_s)
        if not math.isfinite(passed_s):
            return change.after
        left = np.where(
            change.after > change.before, _left(passed_s, self.panel.rise_s), _left(passed_s, self.panel.fall_s)
        )
        return np.asarray(change.after + (change.before - change.after) * left)


def _left(passed_s: float, constant_s: float) -> float:
    """What is left of a step after a time."""
    return math.exp(-passed_s / constant_s) if constant_s > 0 else float(passed_s <= 0)


def _coarse(levels: Levels, bits: int) -> Levels:
    most = 2**bits - 1
    return np.asarray((levels.astype(np.uint16) * most + 127) // 255 * 255 // most, dtype=np.uint8)
