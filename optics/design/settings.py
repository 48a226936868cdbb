"""What a design is asked for: the wanted kernel, checked, and the settings, with defaults that were measured."""

import math
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from optics.mask import LARGEST_SIDE_PX, Geometry
from optics.materials import FUSED_SILICA, Material, refractive_index

MOST_LEVELS = 256
# Heights of many levels reach over this many waves (of the middle colour): see decision 14.
LEVELS_PER_WAVE = 16
# A target is refused where diffraction at the mask's edge alone makes a spot so many times as wide.
MOST_SPREAD = 4


class DesignError(ValueError):
    """A target or a setting that no mask can be designed for. The message says what was expected."""


@dataclass(frozen=True, slots=True)
class DesignSettings:
    """How a mask is to be made, and how hard to look for it.

    levels: number of heights, 2 to 256, evenly spaced from 0 to the height range; None: any height in between.
    height_range_m: largest height in metres; None: chosen for the levels and the material (`height_range`).
    min_feature_m: no land and no gap of any level may be narrower; rounded up to whole cells. None: one cell.
    smoothness: weight of the squared phase step between neighbouring cells (rad^2, mean) in the loss.
    scenes, light: weights in the loss, beside that of the correlation (one), of the error in an average scene's picture
    and of the light that misses the window: see `optics.design.loss`.
    cells: side of the (square) mask in cells, rounded down to whole features. pitch_m: side of a cell.
    geometry: its psf_px is replaced by the target's size. start_iterations: of Gerchberg-Saxton. iterations: of the
    descent. last_moves: rounds in which single features move between levels, at the end. use_torch: "auto" takes the
    descent where PyTorch is installed. threads: for the transforms.
    """

    levels: int | None = 16
    height_range_m: float | None = None
    min_feature_m: float | None = None
    smoothness: float = 0.0
    scenes: float = 0.5
    light: float = 0.0
    cells: int = 255
    pitch_m: float = 2e-6
    material: Material = FUSED_SILICA
    geometry: Geometry = field(default_factory=Geometry)
    start_iterations: int = 30
    iterations: int = 400
    last_moves: int = 60
    use_torch: Literal["auto"] | bool = "auto"
    threads: int = 2

    def __post_init__(self) -> None:
        if self.levels is not None and not (isinstance(self.levels, int) and 2 <= self.levels <= MOST_LEVELS):
            raise DesignError(f"levels must be a whole number from 2 to {MOST_LEVELS}, got {self.levels!r}")
        for name in ("height_range_m", "min_feature_m", "pitch_m"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise DesignError(f"{name} must be a positive number of metres, got {value!r}")
        if self.min_feature_m is not None and self.min_feature_m < self.pitch_m * (1 - 1e-9):
            raise DesignError(
                f"min_feature_m is {self.min_feature_m:g} m, less than one cell of {self.pitch_m:g} m: "
                "make the cells (pitch_m) as small as the smallest feature"
            )
        for name in ("smoothness", "scenes", "light"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise DesignError(f"{name} is a weight and must not be negative, got {value!r}")
        for name, least in (
            ("cells", 4),
            ("start_iterations", 0),
            ("iterations", 0),
            ("last_moves", 0),
            ("threads", 1),
        ):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise DesignError(f"{name} must be a whole number, at least {least}, got {value!r}")
        if self.cells > LARGEST_SIDE_PX:
            raise DesignError(f"cells must be at most {LARGEST_SIDE_PX}, got {self.cells}")
        if self.use_torch not in ("auto", True, False):
            raise DesignError(f'use_torch must be "auto", True or False, got {self.use_torch!r}')
        if self.features < 4:
            raise DesignError(
                f"{self.cells} cells of {self.pitch_m:g} m hold {self.features} features of {self.min_feature_m:g} m: "
                "expected at least 4, so make the mask larger or the smallest feature smaller"
            )

    @property
    def feature_cells(self) -> int:
        """Side of the smallest feature in cells."""
        return 1 if self.min_feature_m is None else math.ceil(self.min_feature_m / self.pitch_m * (1 - 1e-9))

    @property
    def features(self) -> int:
        """Number of smallest features along the side of the mask."""
        return self.cells // self.feature_cells


def height_range(settings: DesignSettings) -> float:
    """The largest height in metres: the one asked for, or what suits the number of levels.

    Up to LEVELS_PER_WAVE levels share one wave of delay at the middle wavelength, (levels - 1) / levels of it, so that
    two levels differ by half a wave. More levels, and continuous heights, reach over more waves.
    """
    if settings.height_range_m is not None:
        return settings.height_range_m
    middle_m = sorted(settings.geometry.wavelengths_m)[1]
    wave_m = middle_m / (refractive_index(settings.material, middle_m) - 1)
    levels = MOST_LEVELS if settings.levels is None else settings.levels
    waves = max(1.0, levels / LEVELS_PER_WAVE)
    return wave_m * waves * (levels - 1) / levels


def prepare_target(target: NDArray[np.float64], settings: DesignSettings) -> tuple[NDArray[np.float64], Geometry]:
    """The wanted PSF as float64 (3, rows, columns), each colour of unit sum, and the geometry with its window.

    target: (rows, columns), the same for each colour, or (3, rows, columns); real, finite, not negative; the tap
    (rows // 2, columns // 2) lies on the axis. Raises DesignError.
    """
    values = np.asarray(target)
    if values.ndim == 2:
        values = np.stack([values] * 3)
    if values.ndim != 3 or len(values) != 3 or 0 in values.shape:
        raise DesignError(f"target must be (rows, columns) or (3, rows, columns), got shape {np.shape(target)}")
    if values.dtype.kind not in "fiub":
        raise DesignError(f"target must hold real numbers, got {values.dtype}")
    wanted = values.astype(np.float64)
    if not np.isfinite(wanted).all():
        raise DesignError(f"target holds NaN or infinity in {np.count_nonzero(~np.isfinite(wanted))} values")
    if wanted.min() < 0:
        raise DesignError(
            f"target is negative in {np.count_nonzero(wanted < 0)} of {wanted.size} values (least {wanted.min():.3g}): "
            "one mask's PSF cannot be; a signed kernel becomes a pair of masks, see optics.signed.plan_signed"
        )
    sums = wanted.sum(axis=(1, 2), keepdims=True)
    if not (sums > 0).all():
        raise DesignError("target is zero everywhere (in at least one colour): nothing to design")
    rows, columns = values.shape[1:]
    feature_m = settings.feature_cells * settings.pitch_m
    reach_m = _reach_m(settings)
    window_m = max(rows, columns) * settings.geometry.pixel_pitch_m
    spread_m = max(settings.geometry.wavelengths_m) * settings.geometry.sensor_distance_m / _side_m(settings)
    if spread_m > MOST_SPREAD * window_m:
        raise DesignError(
            f"over {settings.geometry.sensor_distance_m * 1e3:g} mm a mask of {_side_m(settings) * 1e3:.3g} mm blurs "
            f"every point to {spread_m * 1e3:.3g} mm by diffraction alone, and the target is {window_m * 1e3:.3g} mm "
            "wide: take a shorter distance, a larger mask or a larger target"
        )
    for side in (rows, columns):
        half_m = side * settings.geometry.pixel_pitch_m / 2
        if half_m > reach_m:
            most = int(2 * reach_m / settings.geometry.pixel_pitch_m)
            raise DesignError(
                f"target is {side} pixels wide, but features of {feature_m * 1e6:g} um send the shortest wavelength no "
                f"further than {reach_m * 1e6:.0f} um from the axis in {settings.geometry.sensor_distance_m * 1e3:g} "
                f"mm, which is {most} pixels in all: take a smaller target, smaller features or a longer distance"
            )
    return wanted / sums, replace(settings.geometry, psf_px=(int(rows), int(columns)))


def _side_m(settings: DesignSettings) -> float:
    return settings.features * settings.feature_cells * settings.pitch_m


def _reach_m(settings: DesignSettings) -> float:
    """How far from the axis the finest pattern of features deflects the shortest wavelength."""
    feature_m = settings.feature_cells * settings.pitch_m
    sine = min(min(settings.geometry.wavelengths_m) / (2 * feature_m), 0.999)
    return settings.geometry.sensor_distance_m * sine / math.sqrt(1 - sine**2)
