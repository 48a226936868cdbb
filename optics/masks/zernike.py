"""A mask whose surface is a sum of Zernike terms."""

from typing import Any

from numpy.typing import ArrayLike

from optics.mask import Geometry, Mask, MaskError
from optics.masks.heights import height_map_mask
from optics.materials import FUSED_SILICA, Material
from optics.zernike import zernike_surface


def zernike_mask(
    coefficients_m: ArrayLike,
    cells: int = 255,
    pitch_m: float = 2e-6,
    geometry: Geometry | None = None,
    material: Material = FUSED_SILICA,
    disc_cells: float | None = None,
    about: dict[str, Any] | None = None,
) -> Mask:
    """A smooth surface of cells x cells, open inside the Zernike disc.

    coefficients_m: (terms,), metres of surface height for each term in Noll's order, index 0 is piston. Each term has
    a mean square of 1 over the disc, so the square sum of all but piston is the square of the rms height. disc_cells:
    diameter of the disc, see optics.zernike; by default it touches the edges. The lowest point becomes 0. Raises
    MaskError.
    """
    try:
        heights = zernike_surface(coefficients_m, cells, cells, disc_cells)
        stop = zernike_surface([1.0], cells, cells, disc_cells)  # piston: 1 on the disc
    except ValueError as error:
        raise MaskError(str(error)) from error
    made = {"made_by": "zernike", **(about or {})}
    return height_map_mask(heights, pitch_m, geometry, material, stop, "smooth", made)
