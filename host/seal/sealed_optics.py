"""Whether the mask that was measured is the encoding's: its PSF against the kernel, its pixels against the camera's."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from host.optic_files import common_window, framed
from optics.bundle import Attachment
from optics.encoding import COLOURS
from optics.metrics import MetricError, aligned_correlation, moved, per_colour_correlation

# A design of two levels reaches 0.90 in its worst colour (docs/decisions/0014-masks-from-wanted-blurs.md), and what is
# made of it may differ from it to a correlation of 0.95 (the limit of `canopic optics tolerance`): 0.90 x 0.95.
LEAST_KERNEL_CORRELATION = 0.85
# Taps that are this much larger or smaller make a blur that is: twice what a mask's wrong distance does to one that
# passes.
MOST_PITCH_ERROR = 0.05


def kernel_correlation(psf: NDArray[np.floating[Any]], kernel: NDArray[np.floating[Any]]) -> list[float]:
    """Pearson correlation of each colour of a measured PSF, float (3, h, w), with an encoding's kernel, float (h, w).

    After the best common shift, since where the source stood is not the mask's; rotation and scale stay in, since codes
    feel them. A colour that is even, or a kernel that is, gives 0: it is like nothing.
    """
    rows, columns = common_window(psf, kernel)
    measured, wanted = framed(psf, rows, columns), framed(kernel, rows, columns)
    try:
        _, (down, right) = aligned_correlation(wanted, measured)
        found = per_colour_correlation(moved(measured, (-down, -right)), wanted)
    except MetricError:
        return [0.0] * COLOURS
    return [float(each) for each in found]


def fits_kernel(likeness: Sequence[float]) -> str | None:
    """Why a mask with this correlation is not the encoding's; None where it is."""
    if min(likeness) >= LEAST_KERNEL_CORRELATION:
        return None
    each = ", ".join(f"{value:.2f}" for value in likeness)
    return (
        f"the measured PSF is not the encoding's kernel: correlation {each} (red, green, blue), at least "
        f"{LEAST_KERNEL_CORRELATION} in each is expected. Codes from this mask are not what the bundle's models and "
        "its evidence are about, and its picture may be sharper: mount the mask that was designed for this kernel "
        "(`canopic optics design`), the right way round and at its distance, run `canopic calibrate psf` again; or use "
        "the bundle that was made for this mask"
    )


def pitches_um(mask: Attachment | None, psf_result: Mapping[str, Any]) -> tuple[float | None, float | None]:
    """(pitch of the pixels that the mask was designed for, pitch of a pixel of the camera's colour planes), each in um,
    None where it is not known."""
    geometry = None if mask is None else mask.document.get("geometry")
    pitch_m = geometry.get("pixel_pitch_m") if isinstance(geometry, dict) else None
    designed = _positive(pitch_m)
    return None if designed is None else designed * 1e6, _positive(psf_result.get("plane_pixel_um"))


def fits_pitch(designed_um: float | None, plane_um: float | None) -> str | None:
    """Why a mask for pixels of `designed_um` does not suit a camera whose colour planes have `plane_um`; None where it
    does, or where one of them is not known."""
    if designed_um is None or plane_um is None or abs(plane_um / designed_um - 1) <= MOST_PITCH_ERROR:
        return None
    return (
        f"the mask was designed for pixels of {designed_um:.4g} um, a colour plane of this camera has pixels of "
        f"{plane_um:.4g} um: its blur is {designed_um / plane_um:.2f} times as wide as wanted. Design the mask with "
        f"`canopic optics design --pixel-um {plane_um:.4g}` (twice the pitch of its pixels, after binning), or "
        "use the camera that it was designed for"
    )


def _positive(value: Any) -> float | None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if number and math.isfinite(value) and value > 0 else None
