"""What the camera does to light, simulated: mask, exposure, noise of the sensor, 8 x 8 maximum, volts for the board."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from host.board.thresholds import REFERENCE_VOLTS
from host.twin.sensor import Sensor, SensorModel, expose, make_sensor
from optics.encoding import Encoding, convolve_planes, convolve_psf, pool_planes


@dataclass(frozen=True, slots=True, eq=False)
class Camera:
    """A simulated camera: `optics` has only non-negative kernels; where `signed`, its second half is subtracted.

    A signed kernel is taken as two sub-apertures and an analog subtraction, PSF+ less PSF-: both halves have noise.
    `taps`, where it is not None, acts in place of `optics`' kernels: float32 (its filters, 3, h, w), one per colour.
    """

    optics: Encoding
    taps: NDArray[np.float32] | None
    signed: bool
    sensor: Sensor
    rows_px: int
    columns_px: int

    @property
    def planes(self) -> int:
        """Number of planes that reach the sensor: filters * 3, twice that where signed."""
        return self.optics.channels


def make_camera(
    encoding: Encoding,
    rows_px: int,
    columns_px: int,
    sensor: SensorModel,
    rng: np.random.Generator,
    taps: NDArray[np.float32] | None = None,
) -> Camera:
    """A camera whose mask is `encoding`'s kernels, its sensor made with `rng`.

    taps: float32 (filters, 3, h, w), kernels for each filter and colour that act in place of the encoding's. Raises
    ValueError for range "per_frame": a board has one reference voltage, not one for each frame.
    """
    if encoding.range != "fixed":
        raise ValueError(
            f'the board measures with range "fixed", this encoding has "{encoding.range}": use another bundle'
        )
    signed = bool((encoding.kernels if taps is None else taps).min() < 0)
    kernels = encoding.kernels
    if signed:
        kernels = _halves(kernels)
        taps = None if taps is None else _halves(taps)
    optics = Encoding(kernels, encoding.thresholds, encoding.pool)
    made = make_sensor(sensor, (optics.channels, rows_px, columns_px), rng)
    return Camera(optics, taps, signed, made, rows_px, columns_px)


def _halves(kernels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Signed kernels as twice as many that are not negative: what they add, then what they take away."""
    return np.concatenate([np.maximum(kernels, 0), np.maximum(-kernels, 0)])


def behind_mask(camera: Camera, radiance: NDArray[np.float32], threads: int = 1) -> NDArray[np.float32]:
    """Light behind the mask, float32 (planes, rows, columns), of radiance float32 (rows, columns, 3)."""
    if camera.taps is not None:
        return convolve_psf(radiance, camera.taps, threads)
    return convolve_planes(radiance, camera.optics, threads)


def workspace(camera: Camera) -> NDArray[np.float32]:
    """Memory for `exposed` to work in again and again: float32 (2, planes, rows, columns)."""
    return np.empty((2, camera.planes, camera.rows_px, camera.columns_px), np.float32)


def exposed(
    camera: Camera,
    irradiance: NDArray[np.float32],
    exposure_us: float,
    gain: float,
    rng: np.random.Generator,
    work: NDArray[np.float32],
) -> NDArray[np.float32]:
    """The sensor's output in fractions of full scale, float32 (channels, rows, columns); it lies in `work`."""
    values = expose(irradiance, exposure_us, gain, camera.sensor, rng, work)
    if camera.signed:
        half = camera.planes // 2
        values[:half] -= values[half:]
        values = values[:half]
    return values


def cell_volts(camera: Camera, values: NDArray[np.float32]) -> NDArray[np.float32]:
    """What the peak detectors hold, in volts: float32 (rows, columns, channels), the maximum over each cell."""
    return pool_planes(values, camera.optics.pool) * np.float32(REFERENCE_VOLTS)
