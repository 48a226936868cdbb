"""A Fresnel lens: the phase of a lens, wrapped to a number of waves, in steps if wanted."""

import math

import numpy as np

from optics.mask import Geometry, Mask, MaskError, cell_positions_m, circular_stop
from optics.masks.heights import height_map_mask, wave_height_m, wrap_heights
from optics.materials import FUSED_SILICA, Material


def fresnel_lens_mask(
    focal_m: float | None = None,
    wavelength_m: float | None = None,
    waves: int = 1,
    levels: int | None = None,
    cells: int = 255,
    pitch_m: float = 2e-6,
    geometry: Geometry | None = None,
    material: Material = FUSED_SILICA,
) -> Mask:
    """A kinoform on cells x cells behind the largest circular stop.

    focal_m: distance at which light from infinity comes together; None: the geometry's source is imaged onto the
    sensor. wavelength_m: for which the lens is made; None: the middle colour's. waves: height of a zone in waves.
    levels: even steps within a zone (None: smooth zones); a one-wave lens of N levels sends the share sinc^2(1 / N) =
    (N / pi sin(pi / N))^2 of the light to its focus (G. J. Swanson, "Binary optics technology", MIT Lincoln Laboratory
    TR-854 (1989)). The phase is that of a point to a point, without the paraxial approximation. Raises MaskError, also
    where the outermost zone is narrower than two cells.
    """
    geometry = geometry if geometry is not None else Geometry()
    length_m = geometry.wavelengths_m[1] if wavelength_m is None else wavelength_m
    ends_m = (geometry.sensor_distance_m, geometry.source_distance_m) if focal_m is None else (focal_m, math.inf)
    if not (math.isfinite(ends_m[0]) and ends_m[0] > 0 and math.isfinite(length_m) and length_m > 0):
        raise MaskError(
            f"focal_m and wavelength_m must be positive numbers of metres, got {focal_m!r}, {wavelength_m!r}"
        )
    along_m = cell_positions_m(cells, pitch_m)
    squared = along_m[:, np.newaxis] ** 2 + along_m**2
    stop = circular_stop((cells, cells), pitch_m)
    # Path that a ray through a cell has more than the axial one, on both sides, without a difference of long lengths.
    longer_m = sum(squared / (np.sqrt(squared + end**2) + end) for end in ends_m if math.isfinite(end))
    steepest = sum(math.sin(math.atan2(cells * pitch_m / 2, end)) for end in ends_m if math.isfinite(end))
    zone_m = waves * length_m / steepest
    if zone_m < 2 * pitch_m:
        raise MaskError(
            f"the outermost zone is {zone_m * 1e6:.3g} um wide, less than two cells of {pitch_m * 1e6:.3g} um: "
            "take smaller cells, fewer of them, a longer focal length, or more waves"
        )
    wave_m = wave_height_m(material, length_m)
    heights = wrap_heights(-longer_m / length_m * wave_m, wave_m, waves, levels)
    about = {"made_by": "fresnel_lens", "focal_m": focal_m, "wavelength_m": length_m, "waves": waves, "levels": levels}
    return height_map_mask(heights, pitch_m, geometry, material, stop, "stepped", about)
