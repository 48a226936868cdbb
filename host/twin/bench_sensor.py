"""A twin's bench for the sensor's calibration: a hidden sensor under an even lamp, and ways to set it up wrongly."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from host.calibrate.procedure import Setup
from host.twin.bench import Bench
from host.twin.sensor import SensorModel

FAULTS = {
    "light_off": "the lamp does not burn; only stray light reaches the sensor",
    "light_unstable": "the lamp flickers, or its light falls while it warms up",
    "light_uneven": "the lamp stands too close: its light differs over the sensor",
    "too_bright": "the lamp saturates the sensor at its shortest exposure",
    "too_dim": "the lamp is too weak to saturate the sensor",
    "cover_on": "the lens cover is on while the lamp should light the sensor",
    "cover_off": "the lens cover is off, or leaks, while the sensor should be dark",
    "controls_ignored": "the camera does not take the exposure that it is given",
}
# Quads of the mosaic: 64 x 96 pixels, enough for a gain to 0.2 %.
ROWS_PX, COLUMNS_PX = 32, 48
# What a right bench may have of unevenness, of flicker and of drift: well inside the standard's conditions.
FAIR_TILT, FAIR_FLICKER = 0.008, 0.0005
# A lamp that just saturates the sensor, and one that does so at once; what a good cover lets through, and a bad one.
FAIR_LEVELS = (0.05, 2.0)
FAIR_LEAKS, BAD_LEAKS = (1e-6, 1e-4), (0.002, 0.5)


@dataclass(eq=False)
class EvenLight:
    """The lamp's light on the sensor, as irradiance (1.0 fills the scale in 10 ms).

    level: of the brightest colour; colours: of R, G, B, relative to it. shape: float (rows_px, columns_px), mean 1.
    stray: what is left with the lamp off. leak: part of the light that passes the cover. left_on: the lamp burns on
    though it should be off. flicker: amplitude, at
    flicker_hz. drift_per_s: relative fall of the light in a second. stuck_cover: the cover stays on.
    """

    level: float
    colours: NDArray[np.float64]
    shape: NDArray[np.float64]
    stray: float = 0.0
    leak: float = 0.0
    left_on: bool = False
    flicker: float = 0.0
    flicker_hz: float = 1.0
    drift_per_s: float = 0.0
    burns: bool = True
    stuck_cover: bool = False
    on: bool = field(default=False, init=False)
    covered: bool = field(default=False, init=False)
    rows_px: int = ROWS_PX
    columns_px: int = COLUMNS_PX
    _began_s: float | None = field(default=None, init=False, repr=False)

    def set(self, on: bool) -> None:
        """Switch the lamp."""
        self.on = on

    def arrange(self, setup: Setup) -> None:
        """Put the cover on or take it off; the lamp shines where the field is to be flat."""
        self.covered = setup.cover_on
        self.on = setup.field == "flat"

    def irradiance(self, time_s: float) -> NDArray[np.float32]:
        """float32 (3, rows_px, columns_px) at this moment."""
        lit = self.level if (self.on or self.left_on) and self.burns else self.stray
        if self.covered or self.stuck_cover:
            lit *= self.leak
        lit *= 1 + self.flicker * np.sin(2 * np.pi * self.flicker_hz * time_s)
        self._began_s = time_s if self._began_s is None else self._began_s
        lit *= np.exp(-self.drift_per_s * max(time_s - self._began_s, 0.0))
        return np.asarray(lit * self.colours[:, np.newaxis, np.newaxis] * self.shape, dtype=np.float32)


def make(seed: int, fault: str | None = None) -> Bench:
    """The bench of a seed, with one thing wrong where `fault` says so."""
    rng = np.random.default_rng([seed, 1288])
    bits = int(rng.choice([10, 12]))
    # A black level is a voltage: it need not lie on a whole number.
    black_dn = {10: 64, 12: 256}[bits] + float(rng.choice([0.0, rng.uniform(-0.5, 0.5)]))
    span_dn = 2**bits - 1 - black_dn
    full_well_e = float(rng.uniform(3_000, 12_000))
    gain_dn_per_e = span_dn / full_well_e
    # Down to 0.15 DN: below 0.5 rounding hides it, and only an upper limit can be known (EMVA 1288).
    read_noise_e = float(rng.uniform(2.0, 8.0))
    sensor = SensorModel(
        full_well_electrons=full_well_e,
        read_noise_electrons=read_noise_e,
        # Up to that of a warm sensor.
        dark_current_electrons_per_s=float(np.exp(rng.uniform(np.log(5), np.log(2_000)))),
        prnu_percent=float(rng.uniform(0.5, 2.0)),
        dsnu_electrons=float(rng.uniform(0.3, 1.2) * read_noise_e),
    )
    tilt = rng.uniform(-1, 1, 2)
    tilt *= FAIR_TILT / np.abs(tilt).sum()
    world = EvenLight(
        level=float(np.exp(rng.uniform(*np.log(FAIR_LEVELS)))),
        colours=np.array([rng.uniform(0.6, 1.0), 1.0, rng.uniform(0.5, 1.0)]),
        shape=_tilted(tilt),
        stray=float(np.exp(rng.uniform(np.log(5e-5), np.log(3e-4)))),
        flicker=float(rng.uniform(0, FAIR_FLICKER)),
        flicker_hz=float(rng.uniform(0.3, 5)),
        leak=float(np.exp(rng.uniform(*np.log(FAIR_LEAKS)))),
    )
    options: dict[str, object] = {"bits": bits, "black_dn": black_dn, "seed": seed}
    _spoil(world, options, fault, rng)
    truth = {
        "bits": bits,
        "black_level_dn": float(black_dn),
        "system_gain_dn_per_e": gain_dn_per_e,
        "read_noise_e": read_noise_e,
        "full_well_e": full_well_e,
        "saturation_capacity_e": saturation_capacity_e(sensor),
        "dark_current_e_per_s": sensor.dark_current_electrons_per_s,
        "prnu_percent": sensor.prnu_percent,
        "dsnu_e": sensor.dsnu_electrons,
        "linearity_error_percent": 0.0,
    }
    return Bench("sensor", world, sensor, world, world.arrange, truth, options)


def saturation_capacity_e(sensor: SensorModel) -> float:
    """Electrons at the peak of the temporal variance: where clipping at the full well begins to take noise away.

    The mean over the pixels' responses and offsets of the variance of a normal distribution that is cut at the full
    well; section 6.6 of EMVA Standard 1288 defines saturation by this peak.
    """
    well = sensor.full_well_electrons
    points, weights = np.polynomial.hermite_e.hermegauss(31)
    weights = weights / weights.sum()
    reached = np.linspace(0.8, 1.1, 1501)[:, np.newaxis] * well
    spread = np.hypot(reached * sensor.prnu_percent / 100, sensor.dsnu_electrons)
    mean = reached + spread * points
    noise = np.sqrt(mean + sensor.read_noise_electrons**2)
    edge = (well - mean) / noise
    below, density = norm.cdf(edge), norm.pdf(edge)
    first = below * mean - noise * density + (1 - below) * well
    second = below * (mean**2 + noise**2) - noise * density * (mean + well) + (1 - below) * well**2
    variance = ((second - first**2) * weights).sum(axis=1)
    return float((first * weights).sum(axis=1)[np.argmax(variance)])


def _tilted(tilt: NDArray[np.float64]) -> NDArray[np.float64]:
    y, x = np.meshgrid(np.linspace(-1, 1, ROWS_PX), np.linspace(-1, 1, COLUMNS_PX), indexing="ij")
    return np.asarray(1 + tilt[0] * x + tilt[1] * y)


def _spoil(world: EvenLight, options: dict[str, object], fault: str | None, rng: np.random.Generator) -> None:
    """Make the one thing wrong."""
    if fault == "light_off":
        world.burns = False
    elif fault == "light_unstable" and rng.random() < 0.5:
        world.flicker = float(rng.uniform(0.05, 0.3))
    elif fault == "light_unstable":
        world.drift_per_s = float(rng.uniform(0.01, 0.03))
    elif fault == "light_uneven":
        direction = rng.uniform(0, 2 * np.pi)
        world.shape = _tilted(rng.uniform(0.05, 0.3) * np.array([np.cos(direction), np.sin(direction)]))
    elif fault == "too_bright":
        world.level *= float(rng.uniform(400, 5_000)) / world.level
    elif fault == "too_dim":
        world.level = float(np.exp(rng.uniform(np.log(0.006), np.log(0.025))))
    elif fault == "cover_on":
        world.stuck_cover = True
    elif fault == "cover_off":
        world.leak = float(rng.choice([1.0, np.exp(rng.uniform(*np.log(BAD_LEAKS)))]))
        world.left_on = bool(rng.random() < 0.5)
    elif fault == "controls_ignored":
        options["fault"] = "controls_ignored"
