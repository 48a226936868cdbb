"""A mask on a spatial light modulator: from a wanted phase to drive levels, and to what they do to the light."""

import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from optics.mask import Geometry, Mask, MaskError
from optics.materials import Material

Gap = Literal["blocks", "passes"]
# More than any display has; beyond it a picture of phases fills the memory.
MOST_PIXELS_A_SIDE = 16384
MOST_PIXELS = 2**26
Drive = NDArray[np.uint8] | NDArray[np.uint16]

# An index of 2 without dispersion: the height is the optical path, and the phase falls as 1 / wavelength.
LIQUID_CRYSTAL = Material(
    "phase_modulator",
    "cauchy",
    (2.0,),
    (0.2, 20.0),
    0.0,
    0.0,
    "no substance: height is optical path, the dispersion of the liquid crystal is neglected",
)


@dataclass(frozen=True, slots=True)
class Slm:
    """A phase display in the place of a mask.

    rows, columns, pitch_m: of its pixels. fill_factor: share of a pixel's area, in (0, 1], whose phase follows the
    drive. gap: what the rest does to the light, "blocks" it or "passes" it (reflects it, for a reflective display)
    with phase 0. bits: of the drive, 2 ** bits levels. lut_rad: phase in radians that each level gives at
    `wavelength_m`, one number for each level, as measured; None: linear, from 0 to phase_range_rad * (1 - 1 / levels),
    so that with 2 pi the levels divide the circle evenly. phase_range_rad counts only without lut_rad.
    """

    rows: int
    columns: int
    pitch_m: float
    wavelength_m: float = 550e-9
    fill_factor: float = 1.0
    gap: Gap = "blocks"
    bits: int = 8
    phase_range_rad: float = 2 * math.pi
    lut_rad: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        for name in ("rows", "columns"):
            count = getattr(self, name)
            if isinstance(count, bool) or not isinstance(count, int) or count < 1:
                raise MaskError(f"{name} must be a whole number of pixels, at least 1, got {count!r}")
        if max(self.rows, self.columns) > MOST_PIXELS_A_SIDE or self.rows * self.columns > MOST_PIXELS:
            raise MaskError(
                f"a display of {self.columns} x {self.rows} pixels is too large: at most {MOST_PIXELS_A_SIDE} a side "
                f"and {MOST_PIXELS:,} in all; give the pixels that the display has, as 1920 x 1080"
            )
        for name in ("pitch_m", "wavelength_m", "phase_range_rad"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise MaskError(f"{name} must be a positive number, got {value!r}")
        if not 0 < self.fill_factor <= 1:
            raise MaskError(f"fill_factor is a share of the pixel's area above 0 and up to 1, got {self.fill_factor!r}")
        if self.gap not in get_args(Gap):
            raise MaskError(f'gap must be "blocks" or "passes", got {self.gap!r}')
        if isinstance(self.bits, bool) or not isinstance(self.bits, int) or not 1 <= self.bits <= 16:
            raise MaskError(f"bits must be a whole number from 1 to 16, got {self.bits!r}")
        if self.lut_rad is not None and len(self.lut_rad) != 2**self.bits:
            raise MaskError(
                f"lut_rad must give the phase of each of the {2**self.bits} levels of {self.bits} bits, "
                f"got {len(self.lut_rad)} numbers: measure the missing ones or interpolate them"
            )
        if self.lut_rad is not None and not all(math.isfinite(phase) for phase in self.lut_rad):
            raise MaskError("lut_rad must be finite phases in radians")

    @property
    def level_phases_rad(self) -> NDArray[np.float64]:
        """Phase of each drive level at `wavelength_m`: float64 (2 ** bits,), radians."""
        if self.lut_rad is not None:
            return np.array(self.lut_rad, dtype=np.float64)
        levels: int = 2**self.bits
        return np.arange(levels, dtype=np.float64) * (self.phase_range_rad / levels)


def phase_to_drive(phase_rad: ArrayLike, slm: Slm, wavelength_m: float | None = None) -> Drive:
    """Drive levels that come closest to a phase, counted on the circle: uint8 (uint16 above 8 bits), same shape.

    phase_rad: any finite array, radians, wrapped here. wavelength_m: of the light for which that phase is wanted; by
    default the display's own. Where the display's phase range is less than a wave, phases beyond it go to its nearer
    end. Raises MaskError for phases that are not finite.
    """
    wanted = np.asarray(phase_rad, dtype=np.float64)
    if not np.isfinite(wanted).all():
        raise MaskError("phase_rad must be finite: give 0 to the pixels that do not matter")
    phases = np.mod(_phases_at(slm, wavelength_m), 2 * np.pi)
    # Equal phases keep their lower drive level.
    order = np.argsort(phases, kind="stable")
    around = np.concatenate([order[-1:], order, order[:1]])
    turned = phases[around] + np.array([-2 * np.pi] + [0.0] * order.size + [2 * np.pi])
    edges = (turned[1:] + turned[:-1]) / 2
    nearest = around[np.searchsorted(edges, np.mod(wanted, 2 * np.pi))]
    return nearest.astype(np.uint8) if slm.bits <= 8 else nearest.astype(np.uint16)


def drive_to_phase(drive: ArrayLike, slm: Slm, wavelength_m: float | None = None) -> NDArray[np.float64]:
    """Phase that drive levels give: float64 of the same shape, radians, not wrapped.

    At another wavelength than the display's own it is the phase there times the ratio of the wavelengths: the
    dispersion of the liquid crystal is neglected. Raises MaskError for levels that the display does not have.
    """
    levels = np.asarray(drive)
    if not np.issubdtype(levels.dtype, np.integer) or (
        levels.size and not 0 <= levels.min() <= levels.max() < 2**slm.bits
    ):
        raise MaskError(f"drive must be whole numbers from 0 to {2**slm.bits - 1}, as {slm.bits} bits have them")
    return np.asarray(_phases_at(slm, wavelength_m)[levels])


def slm_modulation(drive: ArrayLike, slm: Slm, wavelength_m: float | None = None) -> NDArray[np.complex128]:
    """What the display does to the field, averaged over each pixel: complex128 of the drive's shape.

    F exp(i phase) + (1 - F) for a gap that passes light, F exp(i phase) for one that blocks it, F being the fill
    factor. The average is what reaches the directions between the display's diffraction orders; what is missing to
    the light on the display is absorbed, or goes to those orders, wavelength / pitch apart.
    """
    active = slm.fill_factor * np.exp(1j * drive_to_phase(drive, slm, wavelength_m))
    return np.asarray(active + (1 - slm.fill_factor if slm.gap == "passes" else 0))


def slm_mask(
    phase_rad: ArrayLike,
    slm: Slm,
    geometry: Geometry | None = None,
    stop: ArrayLike | None = None,
    about: dict[str, Any] | None = None,
    cells_per_pixel: int = 1,
) -> Mask:
    """The mask that a display is while it shows a phase.

    phase_rad: float (rows, columns), radians at the display's wavelength, at most as many as the display has; wrapped
    and rounded to drive levels here. stop: amplitude for each pixel; None: the largest circle.

    cells_per_pixel: 1, a cell is a pixel and has its average (`slm_modulation`): right for light that the mask sends to
    less than half a diffraction order (wavelength / pitch) off the axis. More cells draw the electrode, a square of
    the fill factor's area in the middle of the pixel, and so the orders as well.

    Heights are optical path lengths (`LIQUID_CRYSTAL` has index 2), below one wavelength plus what a measured table may
    exceed it by; fill factor and gap act at the display's wavelength. Raises MaskError.
    """
    wanted = np.asarray(phase_rad, dtype=np.float64)
    if wanted.ndim != 2 or wanted.shape[0] > slm.rows or wanted.shape[1] > slm.columns:
        raise MaskError(
            f"phase_rad must be (rows, columns) of at most {slm.rows} x {slm.columns} pixels, got {wanted.shape}: "
            "resample it to the display's pitch or cut it"
        )
    if isinstance(cells_per_pixel, bool) or not isinstance(cells_per_pixel, int) or cells_per_pixel < 1:
        raise MaskError(f"cells_per_pixel must be a whole number, at least 1, got {cells_per_pixel!r}")
    phase = _split(drive_to_phase(phase_to_drive(wanted, slm), slm), cells_per_pixel)
    share = np.tile(_electrode(slm.fill_factor, cells_per_pixel), wanted.shape)
    field = share * np.exp(1j * phase) + (1 - share if slm.gap == "passes" else 0)
    if slm.gap == "passes" and slm.fill_factor < 1:
        path_rad = np.mod(np.angle(field), 2 * np.pi)
    else:
        # A constant does not matter, a negative height does.
        path_rad = phase - min(float(slm.level_phases_rad.min()), 0.0)
    made = {"made_by": "slm", "bits": slm.bits, "fill_factor": slm.fill_factor, "gap": slm.gap, **(about or {})}
    opening = None if stop is None else _split(np.asarray(stop, dtype=np.float64), cells_per_pixel)
    return Mask(
        path_rad * slm.wavelength_m / (2 * np.pi),
        slm.pitch_m / cells_per_pixel,
        LIQUID_CRYSTAL,
        geometry if geometry is not None else Geometry(),
        opening,  # type: ignore[arg-type]  # None: filled by Mask
        np.abs(field).clip(0, 1),
        "stepped",
        made,
    )


def _electrode(fill_factor: float, cells: int) -> NDArray[np.float64]:
    """Share of each of cells x cells cells of a pixel that a centred square of that area covers."""
    half = math.sqrt(fill_factor) * cells / 2
    edges = np.clip(np.arange(cells + 1) - cells / 2, -half, half)
    covered = np.diff(edges)
    return np.outer(covered, covered)


def _split(pixels: NDArray[np.float64], cells: int) -> NDArray[np.float64]:
    return np.repeat(np.repeat(pixels, cells, axis=0), cells, axis=1)


def _phases_at(slm: Slm, wavelength_m: float | None) -> NDArray[np.float64]:
    if wavelength_m is None:
        return slm.level_phases_rad
    if not (math.isfinite(wavelength_m) and wavelength_m > 0):
        raise MaskError(f"wavelength_m must be a positive number of metres, got {wavelength_m!r}")
    return slm.level_phases_rad * (slm.wavelength_m / wavelength_m)
