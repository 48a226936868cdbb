"""Another kernel for the twin than its bundle's: a PSF per colour, a mask (whose PSF is computed), or plain kernels.

The thresholds, and the detector behind them, stay those of the bundle: that is the point, to see what a mask that can
be made does to a model trained for the kernel that was wanted. `KernelUse` is what the run says about it.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from host.measurement import KernelUse
from host.optic_files import OpticFileError, common_window, framed, read_array, without_rounding
from optics.convolution import LARGEST_LIGHT
from optics.encoding import COLOURS, THROUGHPUT_TOLERANCE
from optics.metrics import MetricError, correlation

DIGEST_DIGITS = 12
# The sensor plane of a bundle that does not say another.
SENSOR_PX = (480, 640)
# A kernel twice as large as the sensor plane already reaches every pixel from every pixel.
MOST_PLANES = 2
# A sum that is less than this share of the taps without their signs is rounding: it is none.


class KernelError(Exception):
    """An alternative kernel cannot be used. The message names the file and says what is expected."""


@dataclass(frozen=True, slots=True, eq=False)
class Kernel:
    """Kernels from a file: taps float32 (filters, 3, height, width), a kernel for each filter and colour."""

    file: str
    taps: NDArray[np.float32]

    @property
    def digest(self) -> str:
        """The first digits of the SHA-256 over shape and taps: equal kernels have equal ones on every machine."""
        head = f"canopic-kernel-1 {self.taps.shape}\n".encode()
        content = np.ascontiguousarray(self.taps, dtype="<f4").tobytes()
        return hashlib.sha256(head + content).hexdigest()[:DIGEST_DIGITS]


def load_kernel(path: str | Path, filters: int, sensor_px: tuple[int, int] = SENSOR_PX) -> Kernel:
    """The kernel in a file, for a bundle of so many filters and a sensor plane (rows, columns). Raises KernelError.

    A mask as `canopic optics design` writes it (its PSF is computed); an .npz with `psf`, `kernels` or `kernel`, or an
    .npy, of real numbers: (height, width), one for all filters and colours of a bundle with one filter; (filters,
    height, width), the same for all colours; (3, height, width), where the bundle has one filter: a PSF per colour. A
    mask's PSF and an array named `psf` are light: not negative, each summing to at most 1. Other kernels may sum to
    more (the exposure makes up for some of it) and have negative taps, but each must sum to more than 0.
    """
    try:
        name, values, _ = read_array(path)
    except OpticFileError as error:
        raise KernelError(str(error)) from error
    if values.dtype.kind not in "fiu":
        raise KernelError(f"{path} holds {values.dtype}; kernels are real numbers")
    if not values.size or values.ndim not in (2, 3):
        raise KernelError(f"{path} holds an array of shape {values.shape}; {_wanted(filters)}")
    if not np.isfinite(values).all():
        raise KernelError(f"{path} holds NaN or infinity")
    if any(side > MOST_PLANES * most for side, most in zip(values.shape[-2:], sensor_px, strict=True)):
        rows, columns = (MOST_PLANES * side for side in sensor_px)
        raise KernelError(
            f"{path} holds kernels of {values.shape[-2]} x {values.shape[-1]} taps; at most {rows} x {columns} act on "
            f"this bundle's {sensor_px[0]} x {sensor_px[1]} pixels: cut the window, or sample it at the sensor's pitch"
        )
    exact = without_rounding(values.astype(np.float64))
    if name == "psf":
        _check_light(path, exact)
    _check_sums(path, exact)
    taps = exact.astype(np.float32)
    if taps.ndim == 2:
        taps = taps[np.newaxis]
    if len(taps) == filters:
        taps = np.repeat(taps[:, np.newaxis], COLOURS, axis=1)
    elif filters == 1 and len(taps) == COLOURS:
        taps = taps[np.newaxis]
    else:
        raise KernelError(f"{path} holds an array of shape {values.shape}; {_wanted(filters)}")
    return Kernel(Path(path).name, taps)


def kernel_use(kernel: Kernel, bundle_kernels: NDArray[np.float32]) -> KernelUse:
    """What is said about a run with `kernel`; bundle_kernels float32 (filters, h, w) are those that it replaces."""
    light = kernel.taps.sum(axis=(-2, -1), dtype=np.float64)
    wanted = np.repeat(bundle_kernels[:, np.newaxis], COLOURS, axis=1)
    alike = [
        _correlation(a, b)
        for a, b in zip(_flat(kernel.taps), _flat(wanted), strict=True)  # per filter and colour
    ]
    return KernelUse(
        kernel.file,
        kernel.digest,
        tuple(round(float(share), 6) for share in light.ravel()),
        round(float(np.mean(alike)), 4),
    )


def _check_sums(path: str | Path, taps: NDArray[np.float64]) -> None:
    """Each kernel of (..., height, width) lets some light through, and no more than a convolution can take."""
    added = np.abs(taps).sum(axis=(-2, -1)).ravel()
    if added.max() > LARGEST_LIGHT:
        raise KernelError(
            f"{path}: the taps of a kernel, without their signs, sum to {added.max():g}; the twin takes at most "
            f"{LARGEST_LIGHT:g}, and light that is passed sums to at most 1: divide the kernel by its sum"
        )
    for number, brightest in enumerate(taps.max(axis=(-2, -1)).ravel()):
        if not brightest > 0:
            one = f"kernel {number} (counted from 0)" if added.size > 1 else "the kernel"
            raise KernelError(f"{path}: {one} has no tap above 0, so it gives no light: change its sign, or its taps")


def _check_light(path: str | Path, taps: NDArray[np.float64]) -> None:
    most = float(taps.sum(axis=(-2, -1)).max())
    if taps.min() < 0:
        raise KernelError(
            f"{path}: a PSF is light and cannot be negative, this one goes down to {taps.min():g}: plan a pair of "
            "masks for a signed kernel (`canopic optics design`), or name the array `kernels`"
        )
    if most > 1 + THROUGHPUT_TOLERANCE:
        raise KernelError(f"{path}: a PSF passes at most all light, this one sums to {most:g}: divide it by its sum")


def _wanted(filters: int) -> str:
    one = f", or a PSF per colour ({COLOURS}, height, width)" if filters == 1 else ""
    return f"this bundle's encoding needs ({filters}, height, width), the same for all {COLOURS} colours{one}"


def _flat(kernels: NDArray[np.float32]) -> NDArray[np.float64]:
    return kernels.reshape(-1, *kernels.shape[-2:]).astype(np.float64)


def _correlation(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Pearson's, over a window that holds both with their axes together; 0 where one has no contrast."""
    rows, columns = common_window(a, b)
    try:
        return correlation(framed(a, rows, columns), framed(b, rows, columns))
    except MetricError:
        return 0.0
