"""The mask as a phase picture for a spatial light modulator: wrapped, at the display's pitch, through its table.

A pixel of the picture is a pixel of the display and holds a drive level. The mask lies in the middle of the display,
seen as it looks to a person in front of the display's modulating side.
"""

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from optics.fabrication.layout import (
    ExportedFile,
    FabricationError,
    Faces,
    Outside,
    as_made,
    as_seen,
    describe,
    relief_facts,
    unfinished,
    write_sidecar,
)
from optics.mask import Mask, cell_positions_m
from optics.masks import Slm, drive_to_phase, phase_to_drive
from optics.materials import refractive_index

LEAST_KEPT_LIGHT = 0.9


def write_slm(
    mask: Mask,
    path: str | Path,
    *,
    slm: Slm | None = None,
    wavelength_m: float | None = None,
    faces: Faces = "sensor",
    outside: Outside = "flat",
) -> ExportedFile:
    """Write the picture that makes the display delay light as the mask does, .png or .bmp, and `<path>.json`.

    The phase is 2 pi (n - 1) height / wavelength, wrapped. slm: the display; None: one pixel per cell, 8 bits, linear
    from 0 to 2 pi, to be placed by whoever knows the display. wavelength_m: for which the phase is right; by default
    the display's own, without a display the geometry's green. A display's pixel that covers several cells gets the
    phase of their mean field. quantization_m: the largest error of this picture, or half a drive level where that is
    more. With `outside="flat"` pixels that no light passes have phase 0. Raises FabricationError
    for another kind of file, a display that is smaller than the mask, one of more than 8 bits in a .bmp, or a
    wavelength for which the material is not described.
    """
    path = Path(path)
    own = slm is None
    if slm is None:
        rows, columns = mask.height_m.shape
        slm = Slm(rows, columns, mask.pitch_m, wavelength_m or mask.geometry.wavelengths_m[1])
    wavelength_m = slm.wavelength_m if wavelength_m is None else wavelength_m
    if path.suffix.lower() not in (".png", ".bmp"):
        raise FabricationError(f"a phase picture is a .png or a .bmp, not {path.name}")
    if slm.bits > 8 and path.suffix.lower() == ".bmp":
        raise FabricationError(f"a .bmp holds 8 bits, this display takes {slm.bits}: use .png")
    try:
        metres_per_radian = wavelength_m / (2 * np.pi * (refractive_index(mask.material, wavelength_m) - 1))
    except ValueError as error:
        raise FabricationError(f"no phase at this wavelength: {error}") from error
    height = as_made(mask, outside)
    light = mask.amplitude if outside == "flat" else np.ones_like(height)
    for name, cells, pixels in zip(("rows", "columns"), height.shape, (slm.rows, slm.columns), strict=True):
        if cells * mask.pitch_m > pixels * slm.pitch_m * (1 + 1e-9):
            raise FabricationError(
                f"the mask's {name} are {cells * mask.pitch_m * 1e3:.4g} mm, the display's "
                f"{pixels * slm.pitch_m * 1e3:.4g} mm: use a larger display or a smaller mask"
            )
    field = _field_on_display(mask, as_seen(height, faces) / metres_per_radian, as_seen(light, faces), slm)
    wanted = np.angle(field)
    drive = phase_to_drive(wanted, slm, wavelength_m)
    lit = np.abs(field) > 0
    off = np.angle(np.exp(1j * (drive_to_phase(drive, slm, wavelength_m) - wanted)))[lit]
    error_rad = float(np.abs(off).max()) if off.size else 0.0
    kept = float((np.abs(field) ** 2).sum() * slm.pitch_m**2 / ((light**2).sum() * mask.pitch_m**2))
    # Rounding in the sums may make it a little more than all of it.
    kept = min(kept, 1.0)
    facts = {
        **relief_facts(mask, height),
        "display_rows": slm.rows,
        "display_columns": slm.columns,
        "display_pitch_m": slm.pitch_m,
        "bits": slm.bits,
        "wavelength_m": wavelength_m,
        "wave_height_m": metres_per_radian * 2 * np.pi,
        "phase_error_rad": error_rad,
        "kept_light": kept,
        # A relief whose levels happen to be those of the display is exact, another mask is not.
        "quantization_m": max(error_rad, _half_step_rad(slm, wavelength_m)) * metres_per_radian,
    }
    buffer = io.BytesIO()
    Image.fromarray(drive).save(buffer, path.suffix[1:].upper())
    with unfinished(path) as partial:
        partial.write_bytes(buffer.getvalue())
    document = describe(mask, "slm", faces, outside, facts)
    document["phase"] = "2 pi (n - 1) height_m / wavelength_m, wrapped; a pixel holds the drive level nearest to it"
    document["drive_phases_rad"] = drive_to_phase(np.arange(2**slm.bits), slm, wavelength_m).tolist()
    warnings = []
    if own:
        warnings.append(
            f"no display was named: one pixel per cell of {mask.pitch_m * 1e6:.3g} um, 8 bits linear to 2 pi; "
            "give the display's rows, columns, pitch and table to fit it"
        )
    if kept < LEAST_KEPT_LIGHT:
        warnings.append(
            f"the display's pixels ({slm.pitch_m * 1e6:.3g} um) are too coarse for this mask: only {kept:.0%} of the "
            "light follows the mean phase of the cells that they cover"
        )
    if error_rad > np.pi / 8:
        warnings.append(f"the phase is off by up to {error_rad:.2f} rad: the display does not reach a whole wave")
    if (mask.amplitude != 1).any():
        warnings.append("a phase display does not close cells: the aperture has to be in front of it")
    return ExportedFile(
        "slm", path, (path, write_sidecar(path, document)), facts["quantization_m"], facts, tuple(warnings)
    )


def _half_step_rad(slm: Slm, wavelength_m: float) -> float:
    """Half the widest step between neighbouring drive levels on the circle, radians.

    The widest gap of all is not counted: it is what a display that does not reach a whole wave leaves out, and where
    the circle is divided evenly, one of many.
    """
    phases = np.unique(np.mod(drive_to_phase(np.arange(2**slm.bits), slm, wavelength_m), 2 * np.pi))
    gaps = np.sort(np.diff(phases, append=phases[0] + 2 * np.pi))
    return float(gaps[-2]) / 2 if gaps.size > 1 else 0.0


def _field_on_display(
    mask: Mask, phase_rad: NDArray[np.float64], light: NDArray[np.float64], slm: Slm
) -> NDArray[np.complex128]:
    """Mean field over each pixel of the display: complex128 (rows, columns), 0 where the mask lets nothing through."""
    shape = (slm.rows, slm.columns)
    share_rows, share_columns = (
        _overlap(pixels, slm.pitch_m, cells, mask.pitch_m) for pixels, cells in zip(shape, phase_rad.shape, strict=True)
    )
    if mask.surface == "stepped" or slm.pitch_m > mask.pitch_m:
        return np.asarray(share_rows @ (light * np.exp(1j * phase_rad)) @ share_columns.T)
    # Pixels finer than the samples of a smooth surface: between the samples it is linear in height, not in field.
    rows, columns = (
        _between(pixels, slm.pitch_m, cells, mask.pitch_m) for pixels, cells in zip(shape, phase_rad.shape, strict=True)
    )
    return np.asarray((share_rows @ light @ share_columns.T) * np.exp(1j * (rows @ phase_rad @ columns.T)))


def _overlap(pixels: int, pixel_m: float, cells: int, cell_m: float) -> NDArray[np.float64]:
    """Share of each pixel that each cell covers along an axis, both centred: float64 (pixels, cells)."""
    pixel = cell_positions_m(pixels, pixel_m)[:, np.newaxis]
    cell = cell_positions_m(cells, cell_m)
    end = np.minimum(pixel + pixel_m / 2, cell + cell_m / 2)
    begin = np.maximum(pixel - pixel_m / 2, cell - cell_m / 2)
    share = (end - begin) / pixel_m
    # Below this it is rounding of edges that fall together, and would count as light.
    return np.asarray(np.where(share > 1e-9, share, 0))


def _between(pixels: int, pixel_m: float, cells: int, cell_m: float) -> NDArray[np.float64]:
    """Weights of linear interpolation between the centres of cells: float64 (pixels, cells)."""
    at = np.clip(cell_positions_m(pixels, pixel_m) / cell_m + (cells - 1) / 2, 0, cells - 1)
    return np.asarray(np.maximum(0, 1 - np.abs(at[:, np.newaxis] - np.arange(cells))))
