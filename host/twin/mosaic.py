"""The light of a world through the sensor's colour filters and noise, to the digital numbers of a raw mosaic."""

from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from calibration.bayer import ORDERS, mosaic_of
from host.twin.bench import World
from host.twin.sensor import Sensor, SensorModel, expose, make_sensor

# A rolling shutter is sampled so finely: rows of one band are exposed at the same time.
ROLLING_BANDS = 16


@dataclass(eq=False)
class MosaicSensor:
    """One made example of a sensor behind a Bayer filter, looking at a world.

    world: gives the light on each colour plane. model: noise; its converter (`bits`) is not used, the one here is.
    bits, black_dn: of the converter. bayer: order of the unmirrored mosaic. rolling_shutter_s: from the first row's
    exposure to the last one's; 0 for a global shutter.
    """

    world: World
    model: SensorModel
    rng: np.random.Generator
    bits: int = 10
    black_dn: float = 64
    bayer: str = "RGGB"
    rolling_shutter_s: float = 0.0
    _made: Sensor = field(init=False, repr=False)
    _light: NDArray[np.float32] = field(init=False, repr=False)
    _work: NDArray[np.float32] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.bayer not in ORDERS or not 8 <= self.bits <= 16 or not 0 <= self.black_dn < 2**self.bits / 2:
            raise ValueError(
                f"a mosaic sensor has a Bayer order of {', '.join(ORDERS)}, 8 to 16 bits and a black level in the lower"
                f" half of them, got {self.bayer!r}, {self.bits} bits, black {self.black_dn}"
            )
        if self.model.bits is not None:
            raise ValueError("the converter of a camera's twin is its own: give it bits and black_dn, not SensorModel")
        shape = (1, 2 * self.world.rows_px, 2 * self.world.columns_px)
        self._made = make_sensor(self.model, shape, self.rng)
        self._light = np.empty(shape, np.float32)
        self._work = np.empty((2, *shape), np.float32)

    @property
    def size_px(self) -> tuple[int, int]:
        """(width, height) of the mosaic."""
        return 2 * self.world.columns_px, 2 * self.world.rows_px

    def take(self, time_s: float, exposure_us: float, gain: float, out: NDArray[np.uint16]) -> None:
        """Expose once, from `time_s` on, into `out`, uint16 (rows, columns) of digital numbers.

        Below saturation a site's mean is black_dn + span * irradiance * quantum_efficiency * exposure_us * gain / 1e4,
        with span = 2**bits - 1 - black_dn, and the system gain is span * gain / full_well DN for an electron.
        """
        self._gather(time_s, exposure_us / 1e6)
        values = expose(self._light, exposure_us, gain, self._made, self.rng, self._work)[0]
        white_dn = 2**self.bits - 1
        values *= np.float32(white_dn - self.black_dn)
        values += np.float32(self.black_dn)
        np.rint(values, out=values)
        np.clip(values, 0, white_dn, out=values)
        np.copyto(out, values, casting="unsafe")

    def _gather(self, time_s: float, exposure_s: float) -> None:
        """The light on every site, each band of rows when it is exposed (the middle of its exposure)."""
        middle_s = time_s + exposure_s / 2
        light = self._light[0]
        if not self.rolling_shutter_s:
            mosaic_of(self.world.irradiance(middle_s), self.bayer, light)
            return
        edges = np.linspace(0, self.world.rows_px, min(ROLLING_BANDS, self.world.rows_px) + 1).astype(int)
        for first, last in pairwise(edges):
            late_s = self.rolling_shutter_s * (first + last) / 2 / self.world.rows_px
            band = self.world.irradiance(middle_s + late_s)[:, first:last]
            mosaic_of(band, self.bayer, light[2 * first : 2 * last])


def pack(
    mosaic: NDArray[np.uint16], bits: int, packing: str, stride: int, out: NDArray[np.uint8], sensor_bits: int
) -> None:
    """Store a mosaic as a camera does, in `out`, uint8 (rows * stride,); padding keeps what it held.

    packing: "" two bytes a sample (one with 8 bits), "CSI2P", or, with 16 `bits`, left-justified from `sensor_bits`.
    """
    rows, columns = mosaic.shape
    lines = out[: rows * stride].reshape(rows, stride)
    if packing == "CSI2P":
        per, low = (4, 2) if bits == 10 else (2, 4)
        groups = -(-columns // per)
        whole = np.zeros((rows, groups * per), np.uint16)
        whole[:, :columns] = mosaic
        samples = whole.reshape(rows, groups, per)
        target = lines[:, : groups * (per + 1)].reshape(rows, groups, per + 1)
        target[:, :, :per] = samples >> low
        rest = samples[:, :, 0] & (2**low - 1)
        for index in range(1, per):
            rest |= (samples[:, :, index] & (2**low - 1)) << (low * index)
        target[:, :, per] = rest
    elif bits == 8:
        lines[:, :columns] = mosaic
    else:
        lines[:, : 2 * columns].view("<u2")[...] = mosaic << (16 - sensor_bits) if bits == 16 else mosaic
