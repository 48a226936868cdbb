"""Contour masks: a PSF of thin smooth curves, the contours of a random field, and a surface that draws them.

The idea of the target is PhlatCam's (V. Boominathan, J. K. Adams, J. T. Robinson, A. Veeraraghavan, "PhlatCam:
Designed Phase-Mask Based Thin Lensless Camera", IEEE TPAMI 42, 1618 (2020), doi:10.1109/TPAMI.2020.2987489): sparse
contours have energy at all frequencies and in all directions. There the mask is found by phase retrieval: here
`contour_target` is what `canopic optics design` takes for that, and `contour_mask` makes a mask at once, as a lens bent
along the curves.

The field is gradient noise: K. Perlin, "An image synthesizer", SIGGRAPH (1985), doi:10.1145/325334.325247, with the
blending of K. Perlin, "Improving noise", ACM Trans. Graph. 21, 681 (2002), doi:10.1145/566654.566636.
"""

import numpy as np
import scipy.ndimage
from numpy.typing import NDArray

from optics.mask import Geometry, Mask, MaskError, cell_positions_m, circular_stop
from optics.masks.heights import height_map_mask, wave_height_m, wrap_heights
from optics.materials import FUSED_SILICA, Material, refractive_index

Array = NDArray[np.float64]
LATTICE = 64


def gradient_noise(y: Array, x: Array, rng: np.random.Generator) -> Array:
    """Gradient noise at points: float64, shape of y and x together; one feature is about one unit wide.

    Each corner of a lattice of unit cells has a random slope and the value 0; in between the slopes are blended with
    6 t^5 - 15 t^4 + 10 t^3, so that value and first two derivatives are continuous. The field repeats after 64 units.
    The same rng state gives the same field, whatever the points are.
    """
    angle = rng.uniform(0, 2 * np.pi, (LATTICE, LATTICE))
    slope_y, slope_x = np.sin(angle), np.cos(angle)
    row, column = np.floor(y).astype(np.int64), np.floor(x).astype(np.int64)
    down, right = y - row, x - column
    blend_down, blend_right = (t**3 * (t * (6 * t - 15) + 10) for t in (down, right))
    value = np.zeros(np.broadcast(y, x).shape)
    for i in (0, 1):
        for j in (0, 1):
            at = ((row + i) % LATTICE, (column + j) % LATTICE)
            ramp = slope_y[at] * (down - i) + slope_x[at] * (right - j)
            value += ramp * (blend_down if i else 1 - blend_down) * (blend_right if j else 1 - blend_right)
    return value


def contour_target(
    rng: np.random.Generator,
    psf_px: tuple[int, int] = (63, 63),
    feature_px: float = 14.0,
    line_px: float = 1.0,
) -> Array:
    """A wanted PSF of smooth curves: float64 psf_px, not negative, sums to 1.

    feature_px: size of the random field's features; curves are about as far apart. line_px: standard deviation of the
    Gaussian profile across a curve. The curves are where the field is 0, inside the largest circle of the window.
    Raises MaskError.
    """
    if not (feature_px >= 4 and line_px > 0):
        raise MaskError(f"feature_px must be at least 4 and line_px positive, got {feature_px!r} and {line_px!r}")
    fine = 4  # samples per pixel and direction, so that curves run between pixels
    away = [(np.arange(side * fine) + 0.5) / fine - 0.5 - side // 2 for side in psf_px]
    y, x = away[0][:, np.newaxis], away[1]
    distance = scipy.ndimage.distance_transform_edt(~_crossings(gradient_noise(y / feature_px, x / feature_px, rng)))
    lines = np.exp(-0.5 * (np.asarray(distance) / fine / line_px) ** 2)
    lines[np.hypot(y, x) > min(psf_px) / 2] = 0
    target = lines.reshape(psf_px[0], fine, psf_px[1], fine).mean(axis=(1, 3))
    if not target.any():
        raise MaskError("no contour runs through the window: take smaller features or another seed")
    return np.asarray(target / target.sum())


def contour_mask(
    rng: np.random.Generator,
    feature_px: float = 14.0,
    cells: int = 255,
    pitch_m: float = 2e-6,
    geometry: Geometry | None = None,
    material: Material = FUSED_SILICA,
    waves: int | None = None,
) -> Mask:
    """A surface that sends all light onto contours: its PSF resembles `contour_target` of the same rng state.

    Every cell sends its light to the nearest point of a curve, as a cylindrical lens bent along it would: with d the
    distance to it and s the size of the pattern on the sensor beside that on the mask, the height is
    -(s d^2 + (1 - s) r^2) / (2 z (n - 1)) in the middle colour, whose slope points there. Curves are as thin as
    diffraction at strips of a feature's width allows. The mask's circle is shrunk onto the circle in the PSF window.
    A near source is allowed for. waves: wrap heights to as many waves; None: a continuous surface. Raises MaskError.
    """
    geometry = geometry if geometry is not None else Geometry()
    if not feature_px >= 4:
        raise MaskError(f"feature_px must be at least 4, got {feature_px!r}")
    along_m = cell_positions_m(cells, pitch_m)
    y_m, x_m = along_m[:, np.newaxis], along_m
    shrink = min(geometry.psf_px) * geometry.pixel_pitch_m / (cells * pitch_m)
    unit_m = feature_px * geometry.pixel_pitch_m / shrink  # a feature, on the mask
    crossings = _crossings(gradient_noise(y_m / unit_m, x_m / unit_m, rng))
    if not crossings.any():
        raise MaskError("no contour runs through the mask: take smaller features or another seed")
    distance_m = np.asarray(scipy.ndimage.distance_transform_edt(~crossings, sampling=pitch_m))
    wavelength_m = geometry.wavelengths_m[1]
    focus_m = 2 * geometry.sensor_distance_m * (refractive_index(material, wavelength_m) - 1)
    heights = -(shrink * distance_m**2 + (1 - shrink) * (y_m**2 + x_m**2)) / focus_m
    # Light of a near source comes in spread: the same lens that would make it parallel goes on top.
    heights -= (y_m**2 + x_m**2) / focus_m * (geometry.sensor_distance_m / geometry.source_distance_m)
    stop = circular_stop((cells, cells), pitch_m)
    if waves is not None:
        heights = wrap_heights(heights, wave_height_m(material, wavelength_m), waves)
    about = {"made_by": "contour", "feature_px": feature_px, "waves": waves}
    return height_map_mask(heights, pitch_m, geometry, material, stop, "smooth" if waves is None else "stepped", about)


def _crossings(field: Array) -> NDArray[np.bool_]:
    """Samples from which the field changes its sign to the next one down or to the right."""
    above = field > 0
    found = np.zeros(field.shape, dtype=np.bool_)
    found[:-1] |= above[:-1] != above[1:]
    found[:, :-1] |= above[:, :-1] != above[:, 1:]
    return found
