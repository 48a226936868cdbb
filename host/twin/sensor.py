"""The sensor's noise, at full resolution: what happens to the light of one exposure before anything is pooled.

The terms are those of the linear camera model of EMVA Standard 1288 (release 4.0 Linear, European Machine Vision
Association, 2021, section 2): photons become electrons, electrons have shot noise, the pixel adds dark electrons and
read noise, pixels differ in response (PRNU), and a pixel holds no more than its full well. Light is measured here by
the electrons that it frees, so quantum efficiency and pixel area are inside `radiance`.

Normal samples are costly: 640 x 480 x 3 of them take longer than everything else that the twin does to a frame. They
are drawn once, several frames' worth, and every exposure reads a run of them from a random place, in either direction.
Within one exposure all samples are independent; two exposures share samples, but at different pixels.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Exposure and gain at which radiance 1.0 fills the scale: 10 ms at gain 1.
REFERENCE_EXPOSURE_US = 10_000.0
# Frames' worth of normal samples kept: 3.7 MB each at 640 x 480 x 3.
BANK_FRAMES = 4
# Small sensors draw their samples afresh: a bank of a few thousand has a variance of its own, and whoever measures
# noise to a part in a thousand finds the bank's.
FRESH_SAMPLES = 2**16


@dataclass(frozen=True, slots=True)
class SensorModel:
    """A sensor; the defaults are typical of the small rolling-shutter sensors in Raspberry Pi cameras.

    full_well_electrons: electrons at full scale at gain 1, where a pixel saturates.
    read_noise_electrons: standard deviation of the temporal dark noise of a pixel, referred to its input.
    dark_current_electrons_per_s: mean dark signal rate.
    prnu_percent: standard deviation of the pixels' response, percent of the mean response.
    quantum_efficiency: electrons freed by a photon, 0 to 1. Radiance 1.0 brings as many photons to a pixel in 10 ms as
        its full well holds electrons, so that it fills the scale where every photon counts.
    dsnu_electrons: standard deviation of the pixels' dark signal: offsets that do not change, referred to the input.
    bits: None for an analog output (the mean black level is 0 V); 8 to 16 for a converter, which adds black_level_dn
        digital numbers, rounds, clips, and has its black level subtracted again.
    black_level_dn: digital number of no light at all (only with bits).
    """

    full_well_electrons: float = 10_000.0
    read_noise_electrons: float = 3.0
    dark_current_electrons_per_s: float = 5.0
    prnu_percent: float = 1.0
    quantum_efficiency: float = 1.0
    dsnu_electrons: float = 0.0
    bits: int | None = None
    black_level_dn: int = 0

    def __post_init__(self) -> None:
        noise = (
            self.read_noise_electrons, self.dark_current_electrons_per_s, self.prnu_percent, self.dsnu_electrons
        )  # fmt: skip
        if not all(math.isfinite(value) and value >= 0 for value in noise) or not self.full_well_electrons > 0:
            raise ValueError(f"a sensor has a full well above 0 and noise of 0 or more, got {self}")
        if not 0 < self.quantum_efficiency <= 1:
            raise ValueError(f"a sensor's quantum efficiency is above 0 and at most 1, got {self.quantum_efficiency}")
        if self.bits is not None and not 8 <= self.bits <= 16:
            raise ValueError(f"bits must be None (analog) or 8 to 16, got {self.bits}")
        if self.bits is None and self.black_level_dn:
            raise ValueError("a black level in digital numbers needs bits: an analog output has none")
        if self.bits is not None and not 0 <= self.black_level_dn < 2**self.bits // 2:
            raise ValueError(f"black level must be in the lower half of {self.bits} bits, got {self.black_level_dn}")


IDEAL = SensorModel(full_well_electrons=1e12, read_noise_electrons=0, dark_current_electrons_per_s=0, prnu_percent=0)


@dataclass(frozen=True, slots=True, eq=False)
class Sensor:
    """One made example of a model: `response` float32 (planes, rows, columns), mean 1, fixed for its life; `normal`
    float32 (n,), the standard normal samples that its exposures read from; `offset` float32, of the shape of
    `response`: electrons that each pixel adds in every exposure, None for none. `make_sensor` makes one."""

    model: SensorModel
    response: NDArray[np.float32]
    normal: NDArray[np.float32]
    offset: NDArray[np.float32] | None = None


def make_sensor(model: SensorModel, shape: tuple[int, int, int], rng: np.random.Generator) -> Sensor:
    """A sensor of `shape` (planes, rows, columns) pixels; its fixed pattern and its samples come from `rng`."""
    response = rng.standard_normal(shape, dtype=np.float32)
    response *= model.prnu_percent / 100
    response += 1
    np.maximum(response, 0, out=response)
    normal = rng.standard_normal(BANK_FRAMES * response.size, dtype=np.float32)
    if not model.dsnu_electrons:
        return Sensor(model, response, normal)
    offset = rng.standard_normal(shape, dtype=np.float32)
    offset *= np.float32(model.dsnu_electrons)
    return Sensor(model, response, normal, offset)


def expose(
    irradiance: NDArray[np.float32],
    exposure_us: float,
    gain: float,
    sensor: Sensor,
    rng: np.random.Generator,
    out: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """What the sensor gives for one exposure, in fractions of full scale: float32 of the shape of `irradiance`.

    irradiance: radiance behind the mask, float32 (planes, rows, columns), 0 or more; 1.0 at REFERENCE_EXPOSURE_US and
    gain 1 is full scale. Values are at most 1.0 (saturation); noise around black may be below 0. Below a full well the
    mean is irradiance * quantum_efficiency * exposure_us * gain / 10_000 (plus the dark signal) and the variance is
    mean * gain / full_well + (gain * read_noise / full_well)^2, plus 1/12 DN^2 with a converter.

    out: float32 (2, planes, rows, columns) to work in; the result is out[0]. A fresh one is used where it is None.
    Raises ValueError for a shape other than the sensor's, or for an exposure or gain that is not above 0.
    """
    model = sensor.model
    if irradiance.shape != sensor.response.shape or irradiance.dtype != np.float32:
        expected, got = sensor.response.shape, irradiance.shape
        raise ValueError(f"irradiance must be float32 {expected}, got {irradiance.dtype} {got}")
    if not (exposure_us > 0 and gain > 0):
        raise ValueError(f"exposure and gain must be above 0, got {exposure_us} us and {gain}")
    dark_electrons = model.dark_current_electrons_per_s * exposure_us / 1e6
    full_scale = np.float32(gain / model.full_well_electrons)

    work = np.empty((2, *irradiance.shape), np.float32) if out is None else out
    values: NDArray[np.float32] = work[0]
    noise: NDArray[np.float32] = work[1]
    np.multiply(irradiance, sensor.response, out=values)
    values *= np.float32(model.full_well_electrons * model.quantum_efficiency * exposure_us / REFERENCE_EXPOSURE_US)
    values += np.float32(dark_electrons)
    np.add(values, np.float32(model.read_noise_electrons**2), out=noise)
    # A convolution by transforms leaves light of a few 1e-7 below 0 where there is none.
    np.maximum(noise, 0, out=noise)
    np.sqrt(noise, out=noise)
    noise *= _samples(sensor, rng)
    values += noise
    if sensor.offset is not None:
        values += sensor.offset
    values *= full_scale
    # The well is full at `gain` of full scale: below gain 1 that comes before the amplifier's own end.
    np.minimum(values, np.float32(min(1.0, gain)), out=values)
    if model.bits is not None:
        _convert(values, 2**model.bits - 1, model.black_level_dn)
    return values


def _samples(sensor: Sensor, rng: np.random.Generator) -> NDArray[np.float32]:
    """Standard normal samples for one exposure, of the sensor's shape: a view on a random run of those kept."""
    count = sensor.response.size
    if count <= FRESH_SAMPLES:
        return rng.standard_normal(sensor.response.shape, dtype=np.float32)
    start = int(rng.integers(0, sensor.normal.size - count + 1))
    run = sensor.normal[start : start + count]
    return np.reshape(run[::-1] if rng.random() < 0.5 else run, sensor.response.shape)


def _convert(values: NDArray[np.float32], white_dn: int, black_dn: int) -> None:
    """Through a converter with a black level, and that level subtracted again: in place, in fractions of full scale."""
    span_dn = np.float32(white_dn - black_dn)
    values *= span_dn
    values += np.float32(black_dn)
    np.rint(values, out=values)
    np.clip(values, 0, white_dn, out=values)
    values -= np.float32(black_dn)
    values /= span_dn
