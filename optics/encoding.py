"""The encoding: what light becomes before it is data. Convolution, maximum over cells, fifteen thresholds, 4-bit codes.

    scene -> convolve_planes -> pool_planes -> (per_frame only: normalise) -> quantize -> codes

The method is CAnOPIC's: Tan et al., "CAnOPIC: Pre-Digital Privacy-Enhancing Encodings for Computer Vision", ICME 2020
(par.nsf.gov/biblio/10217888). Two things differ from the code released with that paper: a kernel acts here by true
convolution, since it stands for a point spread function (flip a kernel learned with a correlation in both axes), and
thresholds are fractions of full scale (divide the paper's, which lie in 0..15, by 15).
"""

import hashlib
import warnings
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from optics.convolution import LARGEST_LIGHT, Plan, convolve, make_plan, maximum_of_cells

Range = Literal["fixed", "per_frame"]
COLOURS = 3
THRESHOLDS = 15
BITS = 4
# A PSF that sums to one in float64 may sum to a little more once it is stored as float32.
THROUGHPUT_TOLERANCE = 1e-5


class RemainderWarning(UserWarning):
    """The scene is not a whole number of cells: the rows and columns beyond the last whole cell are not measured."""


@dataclass(frozen=True, eq=False)
class Encoding:
    """Kernels, thresholds, pool and range: everything that decides which codes a scene gives.

    kernels: float32 (filters, height, width), finite, signed or not, any size >= 1. A kernel is the response to a point
        of light: the tap at (height // 2, width // 2) lies on the point itself. That is the middle of an odd size and
        the first tap after the middle of an even one (where `numpy.fft.fftshift` puts the origin).
    thresholds: float32 (15,), fractions of full scale in [0, 1], ascending, duplicates allowed.
    pool: side of a cell in sensor pixels.
    range: "fixed": full scale is 1.0 (a reference voltage on a board). "per_frame": the minimum and the maximum over
        all cells and channels of each frame become 0 and 1 (the paper's; simulation and comparison only).

    The arrays are copied and made read-only. Two encodings are equal when their ids are.
    Raises TypeError for a wrong type or dtype, ValueError for a wrong shape or value.
    """

    kernels: NDArray[np.float32]
    thresholds: NDArray[np.float32]
    pool: int = 8
    range: Range = "fixed"

    def __post_init__(self) -> None:
        object.__setattr__(self, "kernels", _checked_kernels(self.kernels))
        object.__setattr__(self, "thresholds", checked_thresholds(self.thresholds))
        if isinstance(self.pool, bool) or not isinstance(self.pool, int | np.integer):
            raise TypeError(f"pool must be a whole number of pixels, got {self.pool!r}")
        if not 1 <= self.pool <= 1024:
            raise ValueError(f"pool must be between 1 and 1024 pixels, got {self.pool}")
        object.__setattr__(self, "pool", int(self.pool))
        if self.range not in get_args(Range):
            raise ValueError(f'range must be "fixed" or "per_frame", got {self.range!r}')

    @property
    def filters(self) -> int:
        """Number of kernels."""
        return int(self.kernels.shape[0])

    @property
    def channels(self) -> int:
        """Number of channels of the codes: channel = filter * 3 + colour."""
        return self.filters * COLOURS

    @property
    def effective_levels(self) -> int:
        """Codes that can be told apart: distinct thresholds + 1, at most 16. To be reported wherever "4 bits" is."""
        return int(np.unique(self.thresholds).size) + 1

    @property
    def throughput(self) -> NDArray[np.float64]:
        """Sum of each kernel, float64 (filters,): the share of the light that a mask with this PSF would pass."""
        return np.asarray(self.kernels.sum(axis=(1, 2), dtype=np.float64))

    @property
    def realisable(self) -> bool:
        """Whether a passive mask per filter could do this: no negative tap, none that passes more than all light."""
        return bool(self.kernels.min() >= 0 and self.throughput.max() <= 1 + THROUGHPUT_TOLERANCE)

    @cached_property
    def id(self) -> str:
        """SHA-256 (64 hexadecimal digits) of the content: equal content has an equal id on every machine."""
        head = f"canopic-encoding-1 {self.kernels.shape} pool={self.pool} range={self.range}\n".encode()
        taps = np.ascontiguousarray(self.kernels, dtype="<f4").tobytes()
        return hashlib.sha256(head + taps + self.thresholds.astype("<f4").tobytes()).hexdigest()

    def __eq__(self, other: object) -> bool:
        return self.id == other.id if isinstance(other, Encoding) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.id)


def encode(scene: NDArray[np.float32], encoding: Encoding, threads: int = 2) -> NDArray[np.uint8]:
    """Codes of a scene: uint8 (height // pool, width // pool, filters * 3), each 0..15, channel = filter * 3 + colour.

    scene: linear radiance float32 (height, width, 3), finite, not negative; 1.0 is full scale, and light above it is
    allowed (it gives the highest code). See `pooled` for what happens at the edges and what it raises.
    """
    return quantize(pooled(scene, encoding, threads), encoding.thresholds)


def pooled(scene: NDArray[np.float32], encoding: Encoding, threads: int = 2) -> NDArray[np.float32]:
    """Value of every cell before its comparators, in fractions of full scale: float32 (rows, columns, filters * 3).

    The same kernel acts on each colour; beyond its edges the scene continues with its outermost pixels (replicate
    padding). A cell is the maximum over pool x pool pixels. With range "per_frame" the frame's minimum becomes 0 and
    its maximum 1; a frame without any contrast becomes 0 everywhere. Where height or width is not a multiple of the
    pool, the remaining rows at the bottom or columns at the right belong to no cell: they are dropped after the
    convolution (their light still reaches the cells nearby), and a RemainderWarning says so.

    Values are exact to 1e-5 of full scale for light in [0, 1] and kernels that pass no more than all light (measured:
    1e-6); the error grows with the brightest light times the sum of a kernel's taps without their signs.

    threads: how many threads share the work; the result does not depend on it.
    Raises TypeError unless the scene is a float32 array; ValueError for another shape, a scene smaller than one cell,
    NaN, infinity or negative light.
    """
    check_scene(scene, encoding.pool)
    contrast, offset = convolve(_plan(encoding, scene.shape[0], scene.shape[1], encoding.pool), scene, threads)
    cells = np.ascontiguousarray(contrast.transpose(1, 2, 0), dtype=np.float64) + offset
    # Stretched before it is rounded: a frame of little contrast would lose its last digits the other way round.
    return (normalised(cells) if encoding.range == "per_frame" else cells).astype(np.float32)


def convolve_planes(scene: NDArray[np.float32], encoding: Encoding, threads: int = 2) -> NDArray[np.float32]:
    """The scene behind the mask at full resolution: float32 (filters * 3, height, width), one plane per channel.

    For whoever needs every pixel before the maximum (sensor noise is one). Takes and raises what `pooled` does.
    """
    check_scene(scene, 1)
    contrast, offset = convolve(_plan(encoding, scene.shape[0], scene.shape[1], 1), scene, threads)
    planes = contrast.astype(np.float32, copy=False)
    planes += offset.astype(np.float32)[:, np.newaxis, np.newaxis]
    return planes


def convolve_psf(scene: NDArray[np.float32], psf: NDArray[np.float32], threads: int = 2) -> NDArray[np.float32]:
    """The scene behind a mask whose PSF differs between the colours, at full resolution: float32 (3, height, width).

    psf: float32 (3, h, w), each colour's own kernel, signed or not; or (filters, 3, h, w), which gives (filters * 3,
    height, width), channel = filter * 3 + colour. The tap (h // 2, w // 2) lies on the output pixel; edges, exactness
    and what is raised for a scene are as in `pooled`. Raises TypeError or ValueError for another psf.
    """
    check_scene(scene, 1)
    if psf.ndim not in (3, 4) or psf.shape[-3] != COLOURS:
        raise ValueError(f"psf must have the shape (3, h, w) or (filters, 3, h, w), got {psf.shape}")
    kernels = _checked_kernels(psf.reshape(-1, *psf.shape[-2:]))
    plan = _plan_per_colour(kernels.tobytes(), kernels.shape, scene.shape[0], scene.shape[1])
    contrast, offset = convolve(plan, scene, threads)
    planes = contrast.astype(np.float32, copy=False)
    planes += offset.astype(np.float32)[:, np.newaxis, np.newaxis]
    return planes


def pool_planes(planes: NDArray[np.float32], pool: int) -> NDArray[np.float32]:
    """Maximum over cells: float32 (channels, height, width) to (height // pool, width // pool, channels)."""
    height, width = planes.shape[1:]
    rows, columns = height // pool, width // pool
    if not (rows and columns):
        raise ValueError(f"planes of {height} x {width} pixels hold no cell of {pool} x {pool}")
    whole = planes[:, : rows * pool, : columns * pool]
    cells = [maximum_of_cells(plane[:, :, np.newaxis], pool)[0] for plane in whole]
    return np.ascontiguousarray(np.stack(cells, axis=2))


def normalised(cells: NDArray[np.float64]) -> NDArray[np.float64]:
    """Cells stretched so that the frame's minimum is 0 and its maximum 1, over all channels; without contrast all 0."""
    low, high = cells.min(), cells.max()
    span = high - low
    if not span > 0:
        return np.zeros_like(cells)
    return np.asarray((cells - low) / span)


def quantize(cells: NDArray[np.float32], thresholds: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Number of thresholds at or below each value: uint8 0..15, of the shape of `cells` (any, float32)."""
    codes = np.zeros(cells.shape, dtype=np.uint8)
    # Fifteen vectorised comparisons take a tenth of the time of one binary search per cell.
    for threshold in thresholds:
        codes += (cells >= threshold).view(np.uint8)
    return codes


@lru_cache(maxsize=4)
def _plan(encoding: Encoding, height: int, width: int, pool: int) -> Plan:
    # The spectra of an encoding's kernels, kept because a camera uses one encoding and one size for weeks.
    return make_plan(encoding.kernels, height, width, pool)


@lru_cache(maxsize=4)
def _plan_per_colour(taps: bytes, shape: tuple[int, int, int], height: int, width: int) -> Plan:
    return make_plan(np.frombuffer(taps, dtype=np.float32).reshape(shape), height, width, pool=1, per_colour=True)


def check_scene(scene: NDArray[np.float32], pool: int) -> None:
    """Refuse what is not a scene; warn when it is not a whole number of cells. Values are checked while convolving."""
    if not isinstance(scene, np.ndarray) or scene.dtype != np.float32:
        kind = scene.dtype if isinstance(scene, np.ndarray) else type(scene).__name__
        raise TypeError(
            f"scene must be a float32 array of linear radiance, got {kind}: "
            "linearise an sRGB image and scale full scale to 1.0 first"
        )
    if scene.ndim != 3 or scene.shape[2] != COLOURS:
        raise ValueError(f"scene must have the shape (height, width, 3), got {scene.shape}")
    height, width = scene.shape[:2]
    if height < pool or width < pool:
        raise ValueError(f"scene of {height} x {width} pixels holds no cell of {pool} x {pool}: use a larger scene")
    if height % pool or width % pool:
        warnings.warn(
            f"scene of {height} x {width} pixels is not a multiple of the pool ({pool}): the last {height % pool} rows "
            f"and {width % pool} columns are not measured",
            RemainderWarning,
            stacklevel=3,
        )


def checked_thresholds(thresholds: NDArray[np.float32]) -> NDArray[np.float32]:
    """A read-only copy of fifteen thresholds, float32 (15,), or the reason why they are none."""
    if not isinstance(thresholds, np.ndarray) or thresholds.dtype != np.float32:
        raise TypeError("thresholds must be a float32 array of fractions of full scale: use .astype(np.float32)")
    if thresholds.shape != (THRESHOLDS,):
        raise ValueError(f"thresholds must have the shape (15,), one per comparator, got {thresholds.shape}")
    if not np.isfinite(thresholds).all():
        raise ValueError("thresholds must be finite, got NaN or infinity")
    if thresholds.min() < 0 or thresholds.max() > 1:
        raise ValueError(
            f"thresholds must be fractions of full scale in [0, 1], got {thresholds.min():g} to {thresholds.max():g}"
        )
    if (np.diff(thresholds) < 0).any():
        raise ValueError("thresholds must ascend (duplicates are allowed): sort them")
    return _frozen(thresholds)


def _checked_kernels(kernels: NDArray[np.float32]) -> NDArray[np.float32]:
    if not isinstance(kernels, np.ndarray) or kernels.dtype != np.float32:
        raise TypeError("kernels must be a float32 array (filters, height, width): use .astype(np.float32)")
    if kernels.ndim != 3 or 0 in kernels.shape:
        raise ValueError(f"kernels must have the shape (filters, height, width), none of them 0, got {kernels.shape}")
    if not np.isfinite(kernels).all():
        raise ValueError("kernels must be finite, got NaN or infinity")
    if np.abs(kernels).sum(axis=(1, 2), dtype=np.float64).max() > LARGEST_LIGHT:
        raise ValueError(f"a kernel's taps, without their signs, must add up to at most {LARGEST_LIGHT:g}: scale them")
    return _frozen(kernels)


def _frozen(values: NDArray[np.float32]) -> NDArray[np.float32]:
    # Adding zero turns -0.0 into 0.0, so that equal values have equal bytes and therefore an equal id.
    copy = np.ascontiguousarray(values + np.float32(0))
    copy.flags.writeable = False
    return copy
