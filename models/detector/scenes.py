"""From a photograph to the scene on the sensor plane: linear light, placement, and where its faces end up."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from models.detector.archives import Photograph

PLANE_ROWS_PX = 480
PLANE_COLUMNS_PX = 640
# The unencoded picture that is the detector's ceiling: means over cells of this side, whatever an encoding pools.
PLAIN_POOL_PX = 8
# A face spans at most a few hundred pixels: larger cells leave nothing to find one by.
POOLS = (4, 32)

# Faces with a larger side below this on the plane span little more than one cell: neither required nor punished.
SMALLEST_FACE_PX = 12.0


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """What the sensor plane sees. `radiance`: linear float32 (480, 640, 3) in [0, 1]; `boxes`: float32 (n, 4), x, y,
    width, height in plane pixels; `ignore`: bool (n,), faces that are neither required nor punished."""

    radiance: NDArray[np.float32]
    boxes: NDArray[np.float32]
    ignore: NDArray[np.bool_]


def _srgb_table() -> NDArray[np.float32]:
    value = np.arange(256) / 255
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4).astype(np.float32)


_SRGB_TO_LINEAR = _srgb_table()


def srgb_to_linear(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Linear radiance float32 in [0, 1] of an sRGB uint8 image of any shape (IEC 61966-2-1)."""
    return _SRGB_TO_LINEAR[image]


def linear_to_srgb(radiance: NDArray[np.float32]) -> NDArray[np.uint8]:
    """sRGB uint8 of linear radiance in [0, 1], same shape; values outside are clipped (IEC 61966-2-1)."""
    value = np.clip(radiance, 0.0, 1.0)
    encoded = np.where(value <= 0.0031308, value * 12.92, 1.055 * np.power(value, 1 / 2.4, dtype=np.float32) - 0.055)
    return np.asarray(np.rint(encoded * 255), np.uint8)


def resized(image: NDArray[np.float32], scale: float) -> NDArray[np.float32]:
    """`image` (height, width, 3) resized in linear light: areas averaged when it shrinks, bilinear when it grows."""
    height, width = image.shape[:2]
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, size, interpolation=interpolation), np.float32)


def place(
    photograph: Photograph, scale: float, left_px: float, top_px: float, background: NDArray[np.float32] | None = None
) -> Scene:
    """The photograph enlarged by `scale` with its top left corner at (`left_px`, `top_px`) of the plane.

    What it does not cover shows `background`, linear float32 (480, 640, 3), or black. A face of which less than 60 %
    lies on the plane is ignored, and boxes are clipped to the plane; faces outside it are left out.
    """
    radiance = np.zeros((PLANE_ROWS_PX, PLANE_COLUMNS_PX, 3), np.float32) if background is None else background.copy()
    left, top = round(left_px), round(top_px)
    height, width = photograph.image.shape[:2]
    # Only the part of the photograph that lands on the plane is resized: a strong zoom would cost much otherwise.
    x0, y0 = max(0, int(np.floor(-left / scale))), max(0, int(np.floor(-top / scale)))
    x1 = min(width, int(np.ceil((PLANE_COLUMNS_PX - left) / scale)) + 1)
    y1 = min(height, int(np.ceil((PLANE_ROWS_PX - top) / scale)) + 1)
    if x1 > x0 and y1 > y0:
        patch = resized(srgb_to_linear(photograph.image[y0:y1, x0:x1]), scale)
        paste(radiance, patch, left + round(x0 * scale), top + round(y0 * scale))
    boxes, ignore = boxes_on_plane(
        photograph.boxes * scale + np.array([left, top, 0, 0], np.float32), photograph.ignore
    )
    return Scene(radiance, boxes, ignore)


def paste(radiance: NDArray[np.float32], patch: NDArray[np.float32], left: int, top: int) -> None:
    """Overwrites `radiance` in place with `patch`, its top left corner at (`left`, `top`) px; overhang is cut off."""
    x0, y0 = max(0, left), max(0, top)
    x1 = min(radiance.shape[1], left + patch.shape[1])
    y1 = min(radiance.shape[0], top + patch.shape[0])
    if x1 > x0 and y1 > y0:
        radiance[y0:y1, x0:x1] = patch[y0 - top : y1 - top, x0 - left : x1 - left]


def boxes_on_plane(
    boxes: NDArray[np.float32], ignore: NDArray[np.bool_]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Boxes float32 (n, 4) in plane pixels clipped to the plane, and whether each is to be ignored (see `place`)."""
    return boxes_within(boxes, ignore, (PLANE_ROWS_PX, PLANE_COLUMNS_PX))


def boxes_within(
    boxes: NDArray[np.float32], ignore: NDArray[np.bool_], size_px: tuple[int, int]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """As `boxes_on_plane`, for a window of `size_px` (rows, columns) from whose corner boxes count."""
    corner = np.maximum(boxes[:, :2], 0)
    end = np.minimum(boxes[:, :2] + boxes[:, 2:], np.array(size_px[::-1], np.float32))
    size = end - corner
    seen = (size > 0).all(axis=1)
    share = size.clip(0).prod(axis=1) / np.maximum(boxes[:, 2:].prod(axis=1), 1e-6)
    small = boxes[:, 2:].max(axis=1, initial=0) < SMALLEST_FACE_PX
    clipped = np.concatenate([corner, size], axis=1)
    return clipped[seen].astype(np.float32), (ignore | small | (share < 0.6))[seen]


def fitted(photograph: Photograph, continued: bool = False) -> Scene:
    """The photograph as the twin shows it: scaled to fit the plane, centred, the rest black.

    continued: the rest continues the outermost pixels instead, as encodings do beyond the plane.
    """
    height, width = photograph.image.shape[:2]
    scale = min(PLANE_COLUMNS_PX / width, PLANE_ROWS_PX / height)
    left, top = (PLANE_COLUMNS_PX - round(width * scale)) // 2, (PLANE_ROWS_PX - round(height * scale)) // 2
    scene = place(photograph, scale, left, top)
    if not continued:
        return scene
    high, wide = round(height * scale), round(width * scale)
    rows, columns = (top, PLANE_ROWS_PX - top - high), (left, PLANE_COLUMNS_PX - left - wide)
    inside = scene.radiance[top : top + high, left : left + wide]
    return Scene(np.pad(inside, (rows, columns, (0, 0)), mode="edge"), scene.boxes, scene.ignore)


def plane_cells(pool: int) -> tuple[int, int]:
    """Rows and columns of codes that cells of `pool` px give on the plane: (60, 80) for 8, (30, 40) for 16.

    Raises ValueError for a pool outside 4..32: the detector is neither made nor tried for it.
    """
    if not POOLS[0] <= pool <= POOLS[1]:
        raise ValueError(f"the detector is made for encodings with a pool of {POOLS[0]}..{POOLS[1]} px, got {pool}")
    return PLANE_ROWS_PX // pool, PLANE_COLUMNS_PX // pool


def plain_image(scene: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The unencoded picture that is the ceiling: 8 x 8 means in linear light, as sRGB uint8 (60, 80, 3)."""
    rows, columns = plane_cells(PLAIN_POOL_PX)
    small = cv2.resize(scene, (columns, rows), interpolation=cv2.INTER_AREA)
    return linear_to_srgb(np.asarray(small, np.float32))
