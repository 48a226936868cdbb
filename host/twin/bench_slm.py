"""A twin's bench for `calibrate slm`: a modulator in a Michelson interferometer that the camera's twin looks into.

The panel is imaged onto the sensor, left to right either way. The reference beam is tilted, so fringes cross it.
What the light meets is the modulator's twin at the moment of each exposure, behind the real driver.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from calibration.phase_lut_fringes import region_mean, without_plane
from calibration.phase_lut_settling import STANDING
from host.calibrate.slm import SOME_LEVELS
from host.mask.slm import Slm
from host.twin.bench import Bench
from host.twin.sensor import SensorModel
from host.twin.slm import LEVELS, Panel, SlmTwin

FAULTS = {
    "slm_off": "the modulator is unplugged, or its panel has no power",
    "no_fringes": "the laser is off, or the interferometer's arms are not aligned",
    "vibrating": "the table shakes: fringes move from picture to picture",
    "too_bright": "the laser saturates the camera at its shortest exposure",
    "wrong_polarisation": "the light is polarised across the panel's director: amplitude changes in place of phase",
    "not_settled": "the panel is cold: its phase still moves long after a new image",
}
# Pixels of the panel, and how many pixels of a colour plane each of them covers.
PANEL_ROWS, PANEL_COLUMNS, MAGNIFICATION = 32, 48, 3
# A green laser through the sensor's red, green and blue filters.
FILTERS = np.array([0.06, 1.0, 0.11])
SETTLE_S = 0.3


@dataclass(eq=False)
class Fringes:
    """The light in the picture (World in host/twin/bench.py).

    light: of the brightest fringe. visibility: of the fringes. carrier: (down, right), cycles per pixel. mirrored: the
    camera sees the panel's left on its right. shakes: (amplitude in radians, frequency in hertz, phase) of each motion.
    """

    light: float
    visibility: float
    carrier: tuple[float, float]
    mirrored: bool
    shakes: tuple[tuple[float, float, float], ...]
    on: bool = False
    now_s: float = 0.0
    slm: SlmTwin | None = None
    rows_px: int = PANEL_ROWS * MAGNIFICATION
    columns_px: int = PANEL_COLUMNS * MAGNIFICATION
    _tilt: NDArray[np.complex128] = field(init=False, repr=False)
    _beam: NDArray[np.float64] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        y, x = np.mgrid[: self.rows_px, : self.columns_px].astype(float)
        self._tilt = np.exp(-2j * np.pi * (self.carrier[0] * y + self.carrier[1] * x))
        off_axis = ((y / self.rows_px - 0.48) ** 2 + (x / self.columns_px - 0.53) ** 2) / 0.9**2
        self._beam = np.exp(-2 * off_axis)

    def irradiance(self, time_s: float) -> NDArray[np.float32]:
        """float32 (3, rows_px, columns_px): two beams, the one from the panel with what it does to the light."""
        self.now_s = max(self.now_s, time_s)
        if not self.on or self.slm is None:
            return np.zeros((3, self.rows_px, self.columns_px), np.float32)
        answer = self.slm.field(time_s)
        seen = np.repeat(np.repeat(answer[:, ::-1] if self.mirrored else answer, MAGNIFICATION, 0), MAGNIFICATION, 1)
        shaken = sum(size * math.sin(2 * math.pi * hertz * time_s + start) for size, hertz, start in self.shakes)
        fringe = (seen * self._tilt).real * math.cos(shaken) + (seen * self._tilt).imag * math.sin(shaken)
        light = self._beam * (1 + np.abs(seen) ** 2 + 2 * self.visibility * fringe) * (self.light / 4)
        return (FILTERS[:, None, None] * np.maximum(light, 0)).astype(np.float32)


@dataclass(eq=False)
class Laser:
    """The laser's switch (PointLight in host/boundary/rig.py). dead: it does not shine."""

    fringes: Fringes
    dead: bool = False

    def set(self, on: bool) -> None:
        """Switch it."""
        self.fringes.on = on and not self.dead


def make(seed: int, fault: str | None = None) -> Bench:
    """The bench of a seed. The same seed has the same panel with and without a fault."""
    rng = np.random.default_rng([seed, 0x51A4])
    clock: Callable[[], float]
    reach_rad = float(rng.uniform(2.06, 2.5)) * np.pi
    bend, knee = float(rng.uniform(1.0, 1.5)), float(rng.uniform(0.0, 0.35))
    gain, static_rad = _wedge(rng), _bow(rng)
    rise_s, fall_s = float(rng.uniform(0.012, 0.022)), float(rng.uniform(0.018, 0.035))
    delay_s = float(rng.uniform(0.006, 0.017))
    flicker = float(rng.uniform(0.002, 0.012))
    panel = Panel(
        _curve(reach_rad, bend, knee), gain, static_rad, float(rng.uniform(0.3, 0.8)), rise_s, fall_s, delay_s, flicker,
        # Never near a multiple of the frame rate: a ripple that beats slowly with it cannot be told from drift.
        30 * int(rng.integers(2, 8)) + float(rng.uniform(6, 12)), float(rng.uniform(0, 2 * np.pi)),
    )  # fmt: skip
    fringes = Fringes(
        float(rng.uniform(4, 12)),
        float(rng.uniform(0.6, 0.9)),
        # From one fringe to two of the panel's pixels, which mirror it (1/6), to where the procedure asks for.
        (float(rng.uniform(-0.03, 0.03)), float(rng.uniform(0.15, 0.27))),
        bool(rng.random() < 0.5),
        _shakes(rng, float(rng.uniform(0.01, 0.06))),
    )
    clock = lambda: fringes.now_s  # noqa: E731 - the modulator's clock is the camera's
    twin = SlmTwin(panel, clock)
    laser = Laser(fringes)
    # What differs in a wrong set-up is drawn last, so that everything else stays as it is without it.
    _apply(fault, rng, fringes, laser, twin)
    fringes.slm = twin
    sensor = SensorModel(full_well_electrons=float(rng.uniform(8_000, 12_000)), prnu_percent=0.6)
    return Bench(
        "slm", fringes, sensor, laser, lambda _setup: None, _truth(twin.panel, fringes),
        {"bayer": str(rng.choice(["RGGB", "GBRG"])), "black_dn": float(rng.integers(48, 80))},
        slm=Slm(twin, settle_s=SETTLE_S),
    )  # fmt: skip


def _apply(fault: str | None, rng: np.random.Generator, fringes: Fringes, laser: Laser, twin: SlmTwin) -> None:
    variant = float(rng.random())
    match fault:
        case "slm_off" if variant < 0.5:
            twin.off = True
        case "slm_off":
            # Plugged in, and without power: the connector says nothing of it.
            twin.panel = replace(twin.panel, level_phases_rad=np.zeros(LEVELS))
        case "no_fringes" if variant < 0.5:
            laser.dead = True
        case "no_fringes":
            fringes.visibility = 0.03 * variant
        case "vibrating":
            fringes.shakes = _shakes(rng, 1.0 + variant)
        case "too_bright":
            fringes.light *= 1000
        case "wrong_polarisation":
            twin.panel = replace(twin.panel, polarisation_rad=math.radians(52 + 12 * variant))
        case "not_settled":
            slow = 15 + 15 * variant
            panel = twin.panel
            twin.panel = replace(panel, rise_s=panel.rise_s * slow, fall_s=panel.fall_s * slow)


def _curve(reach_rad: float, bend: float, knee: float) -> NDArray[np.float64]:
    """Phase of each level: steeper upwards, and with a knee where the liquid crystal starts to turn."""
    share = np.arange(LEVELS) / (LEVELS - 1)
    return np.asarray(reach_rad * ((1 - knee) * share**bend + knee * share**2 * (3 - 2 * share)))


def _wedge(rng: np.random.Generator) -> NDArray[np.float64]:
    """The cell's gap grows from one edge to the other by a few per cent."""
    y, x = np.linspace(-1, 1, PANEL_ROWS), np.linspace(-1, 1, PANEL_COLUMNS)
    return np.asarray(1 + float(rng.uniform(-0.02, 0.02)) * y[:, None] + float(rng.uniform(-0.03, 0.03)) * x)


def _bow(rng: np.random.Generator) -> NDArray[np.float64]:
    """The backplane is bent like a saddle or a bowl."""
    y, x = np.linspace(-1, 1, PANEL_ROWS)[:, None], np.linspace(-1, 1, PANEL_COLUMNS)
    bowl, saddle, twist = rng.uniform(-1.2, 1.2), rng.uniform(-0.8, 0.8), rng.uniform(-0.6, 0.6)
    return np.asarray(bowl * (x**2 + y**2) + saddle * (x**2 - y**2) + twist * x * y)


def _shakes(rng: np.random.Generator, rms_rad: float) -> tuple[tuple[float, float, float], ...]:
    """Three motions that together have this rms. As the ripple, none is near a multiple of the frame rate."""
    size = rms_rad * math.sqrt(2 / 3)
    drawn = [(float(rng.uniform(0, 3)), float(rng.uniform(0, 2 * np.pi))) for _ in range(3)]
    return tuple((size, 30 * math.floor(band) + 6 + 18 * (band % 1), start) for band, start in drawn)


def _truth(panel: Panel, fringes: Fringes) -> dict[str, object]:
    """Hidden parameters under the result's names; under `hidden` what no result has (there as an array, or not)."""
    curve = panel.level_phases_rad
    square = np.ones((MAGNIFICATION, MAGNIFICATION))
    seen_gain, seen_static = (
        region_mean(np.asarray(np.kron(each[:, ::-1] if fringes.mirrored else each, square), dtype=np.float64))
        for each in (panel.gain, panel.static_rad)
    )
    constants = {"rise": panel.rise_s, "fall": panel.fall_s}
    return {
        "phase_range_rad": float(curve[-1]),
        "some_phases_rad": [float(curve[level]) for level in SOME_LEVELS],
        "level_of_turn": float(np.interp(2 * np.pi, curve, np.arange(LEVELS))),
        "rise_constant_ms": 1e3 * panel.rise_s,
        "fall_constant_ms": 1e3 * panel.fall_s,
        "settle_ms": 1e3 * (panel.delay_s + max(constants.values()) * math.log(1 / STANDING)),
        "flicker_percent": 100 * panel.flicker / math.sqrt(2),
        "fixed_pattern_rms_rad": float(np.sqrt((without_plane(seen_static) ** 2).mean())),
        "response_spread_percent": 100 * float(np.std(seen_gain)),
        "vibration_rms_rad": math.sqrt(sum(size**2 / 2 for size, _, _ in fringes.shakes)),
        "hidden": {"crosstalk_px": panel.crosstalk_px, "phase_rad": [float(value) for value in curve]},
    }
