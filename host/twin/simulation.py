"""What the camera does to light, simulated: mask, exposure, noise of the sensor, 8 x 8 maximum, volts for the board."""

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from host.board.thresholds import REFERENCE_VOLTS
from host.twin.sensor import Sensor, SensorModel, expose, make_sensor
from optics.encoding import COLOURS, Encoding, convolve_planes, pool_planes

KERNEL_NAMES = ("kernels", "kernel", "psf")


class KernelError(Exception):
    """An alternative kernel cannot be used. The message names the file and says what is expected."""


@dataclass(frozen=True, slots=True, eq=False)
class Camera:
    """A simulated camera: `optics` has only non-negative kernels; where `signed`, its second half is subtracted.

    A signed kernel is taken as two sub-apertures and an analog subtraction, PSF+ less PSF-: both halves have noise.
    """

    optics: Encoding
    signed: bool
    sensor: Sensor
    rows_px: int
    columns_px: int

    @property
    def planes(self) -> int:
        """Number of planes that reach the sensor: filters * 3, twice that where signed."""
        return self.optics.channels


def make_camera(
    encoding: Encoding, rows_px: int, columns_px: int, sensor: SensorModel, rng: np.random.Generator
) -> Camera:
    """A camera whose mask is `encoding`'s kernels, its sensor made with `rng`.

    Raises ValueError for range "per_frame": a board has one reference voltage, not one for each frame.
    """
    if encoding.range != "fixed":
        raise ValueError(
            f'the board measures with range "fixed", this encoding has "{encoding.range}": use another bundle'
        )
    signed = bool(encoding.kernels.min() < 0)
    kernels = encoding.kernels
    if signed:
        kernels = np.concatenate([np.maximum(kernels, 0), np.maximum(-kernels, 0)])
    optics = Encoding(kernels, encoding.thresholds, encoding.pool)
    made = make_sensor(sensor, (optics.channels, rows_px, columns_px), rng)
    return Camera(optics, signed, made, rows_px, columns_px)


def behind_mask(camera: Camera, radiance: NDArray[np.float32], threads: int = 1) -> NDArray[np.float32]:
    """Light behind the mask, float32 (planes, rows, columns), of radiance float32 (rows, columns, 3)."""
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


def load_kernels(path: str | Path, filters: int) -> NDArray[np.float32]:
    """Kernels float32 (filters, height, width) from a .npy file or from an .npz with "kernels", "kernel" or "psf".

    Two dimensions are one filter. Raises KernelError unless there are exactly `filters` of them, finite numbers.
    """
    try:
        loaded = np.load(path, allow_pickle=False)
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise KernelError(f"{path} is not a readable .npy or .npz file of numbers: {error}") from error
    if isinstance(loaded, np.lib.npyio.NpzFile):
        with loaded:
            name = next((name for name in KERNEL_NAMES if name in loaded), None)
            if name is None:
                raise KernelError(f"{path} has none of the arrays {', '.join(KERNEL_NAMES)}, only {loaded.files}")
            loaded = loaded[name]
    kernels = np.asarray(loaded)
    if kernels.dtype.kind not in "fiu":
        raise KernelError(f"{path} holds {kernels.dtype}; kernels are real numbers")
    kernels = kernels[None] if kernels.ndim == 2 else kernels
    if kernels.ndim != 3 or kernels.shape[0] != filters or not kernels.size:
        raise KernelError(
            f"{path} holds an array of shape {kernels.shape}; this bundle's encoding needs ({filters}, height, width): "
            f"one kernel for each filter, the same for all {COLOURS} colours"
        )
    if not np.isfinite(kernels).all():
        raise KernelError(f"{path} holds NaN or infinity")
    return kernels.astype(np.float32)
