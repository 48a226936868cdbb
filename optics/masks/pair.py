"""Two masks side by side for a signed kernel: where they stand, where their pictures fall, and what keeps them apart.

A mask's PSF is never negative. A kernel with both signs is the difference of two PSFs, made by two sub-apertures before
one sensor and subtracted pixel by pixel. This file is the geometry of that; which two PSFs and with which gain is
another question (optics.signed).
"""

import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from optics.mask import LARGEST_SIDE_PX, Mask, MaskError

Along = Literal["columns", "rows"]


@dataclass(frozen=True, eq=False)
class AperturePair:
    """Two sub-apertures, `plus` at smaller x ("columns") or y ("rows"), and their pictures on the sensor.

    scene_px: (rows, columns) of each picture. separation_px: from centre to centre, whole sensor pixels. wall: an
    opaque wall stands halfway between the apertures, from the mask to the sensor.
    """

    plus: Mask
    minus: Mask
    scene_px: tuple[int, int]
    along: Along
    separation_px: int
    wall: bool

    @property
    def separation_m(self) -> float:
        """From the centre of one aperture to the centre of the other."""
        return self.separation_px * self.plus.geometry.pixel_pitch_m

    @property
    def centres_px(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """(row, column) of the apertures' centres, plus first, in pixels from the sensor's middle pixel [n // 2].

        A far point on the axis has its picture there. For an odd separation the pair stands half a pixel off the axis.
        """
        before, after = -(self.separation_px // 2), self.separation_px - self.separation_px // 2
        return ((0, before), (0, after)) if self.along == "columns" else ((before, 0), (after, 0))

    @property
    def centres_m(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """(y, x) of the apertures' centres in metres, plus first."""
        pitch_m = self.plus.geometry.pixel_pitch_m
        (y_plus, x_plus), (y_minus, x_minus) = self.centres_px
        return (y_plus * pitch_m, x_plus * pitch_m), (y_minus * pitch_m, x_minus * pitch_m)

    @property
    def sensor_px(self) -> tuple[int, int]:
        """(rows, columns) of the smallest sensor that holds both pictures, as `cut_pictures` takes them."""
        return _sensor_px(self.scene_px, self.along, self.separation_px)

    @property
    def field_rad(self) -> float:
        """Largest angle to the axis, along the pair, of light that a picture needs to be complete up to its edge."""
        return self._angle(self._side(self.scene_px) / 2 + self._reach_px)

    @property
    def free_field_rad(self) -> float:
        """Angle along the pair beyond which light through one aperture would fall into the other's picture.

        A field stop (or the absence of a scene) must keep such light out; a wall does, then it is pi / 2.
        """
        if self.wall:
            return math.pi / 2
        return self._angle(self.separation_px - self._side(self.scene_px) / 2 - self._reach_px)

    def misregistration_px(self, source_distance_m: float) -> float:
        """By how many pixels the two pictures of a point at that distance lie farther apart than of one at infinity."""
        return self.separation_px * self.plus.geometry.sensor_distance_m / source_distance_m

    @property
    def nearest_m(self) -> float:
        """Distance from which on the two pictures are registered to half a pixel."""
        return 2 * self.separation_px * self.plus.geometry.sensor_distance_m

    @property
    def report(self) -> dict[str, Any]:
        """Where everything goes, for a JSON file; `sentence` says it in words."""
        plus_px, minus_px = self.centres_px
        walled = ", with a wall between them," if self.wall else ""
        limit = "" if self.wall else f"; keep light from beyond {math.degrees(self.free_field_rad):.1f} degrees out"
        area = [float((mask.amplitude**2).sum()) * mask.pitch_m**2 for mask in (self.plus, self.minus)]
        return {
            "along": self.along,
            "wall": self.wall,
            "separation_m": self.separation_m,
            "separation_px": self.separation_px,
            "centres_m": {"plus": list(self.centres_m[0]), "minus": list(self.centres_m[1])},
            "pictures_px": {"plus": list(plus_px), "minus": list(minus_px), "size": list(self.scene_px)},
            "sensor_px": list(self.sensor_px),
            "open_area_m2": {"plus": area[0], "minus": area[1]},
            "field_rad": self.field_rad,
            "free_field_rad": self.free_field_rad,
            "nearest_m": self.nearest_m,
            "sentence": (
                f"Put the apertures {self.separation_m * 1e3:.3f} mm ({self.separation_px} pixels) apart along the "
                f"{self.along}{walled} for two pictures of {self.scene_px[0]} x {self.scene_px[1]} pixels on a sensor "
                f"of {self.sensor_px[0]} x {self.sensor_px[1]}; they are registered to half a pixel from "
                f"{self.nearest_m:.2f} m on{limit}."
            ),
        }

    @property
    def _reach_px(self) -> float:
        return (self._side(self.plus.geometry.psf_px) - 1) / 2

    def _side(self, sides: tuple[int, int]) -> int:
        return sides[1] if self.along == "columns" else sides[0]

    def _angle(self, offset_px: float) -> float:
        geometry = self.plus.geometry
        return math.atan2(offset_px * geometry.pixel_pitch_m, geometry.sensor_distance_m)


def sub_aperture_pair(
    plus: Mask,
    minus: Mask,
    scene_px: tuple[int, int],
    along: Along = "columns",
    separation_px: int | None = None,
    wall: bool = False,
) -> AperturePair:
    """Two masks side by side, far enough apart for their pictures of scene_px pixels (rows, columns) not to mix.

    To be complete up to its edge a picture needs light from half a PSF window beyond it, and the blur of that light
    reaches half a window farther: without a wall the centres must stand a picture and a window (less a pixel) apart,
    and no light may come from outside of `free_field_rad`. With a wall a picture's width is enough. Both need the
    apertures not to overlap, and whole cells and pixels between them. separation_px: None takes the smallest that
    does. Raises MaskError where the masks do not fit together or the separation is too small.
    """
    _check_alike(plus, minus)
    if along not in get_args(Along):
        raise MaskError(f'along must be "columns" or "rows", got {along!r}')
    if len(scene_px) != 2 or not all(isinstance(side, int) and side >= 1 for side in scene_px):
        raise MaskError(f"scene_px must be two whole numbers of pixels, got {scene_px!r}")
    geometry, axis = plus.geometry, 1 if along == "columns" else 0
    cells_per_px = geometry.pixel_pitch_m / plus.pitch_m
    apart_px = scene_px[axis] if wall else scene_px[axis] + geometry.psf_px[axis] - 1
    least_px = max(apart_px, math.ceil(plus.height_m.shape[axis] / cells_per_px - 1e-6))
    fitting = [number for number in range(least_px, least_px + 1000) if _is_whole(number * cells_per_px)]
    if not fitting:
        raise MaskError(
            f"cells of {plus.pitch_m:g} m and pixels of {geometry.pixel_pitch_m:g} m have no common multiple up to "
            "1000 pixels: choose pitches of which one is a simple multiple of the other"
        )
    if separation_px is None:
        separation_px = fitting[0]
    if separation_px < least_px:
        without = "" if wall else f", or put a wall between them ({scene_px[axis]} pixels then do for the pictures)"
        raise MaskError(
            f"the apertures must stand at least {least_px} pixels apart for pictures of {scene_px[axis]} pixels and a "
            f"PSF window of {geometry.psf_px[axis]}, got {separation_px}: move them apart{without}"
        )
    if not _is_whole(separation_px * cells_per_px):
        raise MaskError(
            f"{separation_px} pixels are {separation_px * cells_per_px:.3f} cells, no whole number: "
            f"choose {next(number for number in fitting if number > separation_px or number == fitting[-1])} pixels"
        )
    return AperturePair(plus, minus, (int(scene_px[0]), int(scene_px[1])), along, separation_px, wall)


def pair_mask(pair: AperturePair, about: dict[str, Any] | None = None) -> Mask:
    """Both masks as one plate, to be made in one piece; closed between them.

    For fabrication files: its PSF as a whole is not what the pair does, because each picture comes from one half.
    Raises MaskError where the plate would have more than 4096 cells on a side.
    """
    plus, minus = pair.plus, pair.minus
    axis = 1 if pair.along == "columns" else 0
    apart = round(pair.separation_m / plus.pitch_m)
    shape = list(plus.height_m.shape)
    shape[axis] += apart
    if shape[axis] > LARGEST_SIDE_PX:
        raise MaskError(
            f"the plate would have {shape[axis]} cells of {plus.pitch_m:g} m, more than {LARGEST_SIDE_PX}: "
            "export the two masks on their own"
        )
    parts = []
    for first, second in (
        (plus.height_m, minus.height_m),
        (plus.stop, minus.stop),
        (plus.transmission, minus.transmission),
    ):
        plate = np.zeros(shape)
        plate[: first.shape[0], : first.shape[1]] = first
        plate[shape[0] - second.shape[0] :, shape[1] - second.shape[1] :] = second
        parts.append(plate)
    made = {"made_by": "sub_aperture_pair", "along": pair.along, "separation_m": pair.separation_m, **(about or {})}
    return Mask(parts[0], plus.pitch_m, plus.material, plus.geometry, parts[1], parts[2], plus.surface, made)


def cut_pictures(frame: NDArray[Any], pair: AperturePair) -> tuple[NDArray[Any], NDArray[Any]]:
    """The two pictures in what the sensor sees: (plus, minus), each (rows, columns, ...) of scene_px, not copied.

    frame: (rows, columns, ...), its pixel (rows // 2, columns // 2) is behind the middle of the pair. Pixel [i, j] of
    one belongs to pixel [i, j] of the other. Raises MaskError for a frame that does not hold them.
    """
    cuts = []
    for centre in pair.centres_px:
        firsts = [frame.shape[i] // 2 + centre[i] - pair.scene_px[i] // 2 for i in (0, 1)]
        if any(firsts[i] < 0 or firsts[i] + pair.scene_px[i] > frame.shape[i] for i in (0, 1)):
            raise MaskError(
                f"a frame of {frame.shape[:2]} pixels does not hold both pictures: it needs {pair.sensor_px}"
            )
        cuts.append(frame[firsts[0] : firsts[0] + pair.scene_px[0], firsts[1] : firsts[1] + pair.scene_px[1]])
    return cuts[0], cuts[1]


def _check_alike(plus: Mask, minus: Mask) -> None:
    for name in ("pitch_m", "geometry", "material", "surface"):
        first, second = getattr(plus, name), getattr(minus, name)
        if first != second:
            raise MaskError(f"both masks of a pair must have one {name}, got {first!r} and {second!r}")
    if plus.height_m.shape != minus.height_m.shape:
        raise MaskError(
            f"both masks of a pair must have as many cells, got {plus.height_m.shape} and {minus.height_m.shape}"
        )


def _sensor_px(scene_px: tuple[int, int], along: Along, separation_px: int) -> tuple[int, int]:
    """Smallest frame, as `cut_pictures` counts from its middle pixel."""
    sides = []
    for axis, side in enumerate(scene_px):
        apart = separation_px if (along == "columns") == (axis == 1) else 0
        before = apart // 2 + side // 2  # pixels before the middle one
        after = apart - apart // 2 + side - side // 2 - 1
        # n // 2 lie before the middle pixel and n - n // 2 - 1 after it.
        sides.append(max(2 * before, 2 * after + 1))
    return sides[0], sides[1]


def _is_whole(number: float) -> bool:
    return abs(number - round(number)) < 1e-6
