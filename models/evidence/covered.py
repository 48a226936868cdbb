"""Crops of which the face, or everything but the face, is covered: what does an attacker know people by?

Photographs of one person are often of one event: the same light, clothes and background. An attacker who names people
then need not have seen a face at all. So who it is can be asked again of crops whose face is hidden, and of crops that
show nothing else.
"""

import numpy as np
from numpy.typing import NDArray

from models.detector.augment import CROP_FACE_BOX, CROP_SIDE
from models.detector.scenes import linear_to_srgb, srgb_to_linear

# The ellipse that stands for a face reaches so far beyond the box of one: chin, brow and cheeks lie within.
GROWN = 1.15


def face_area() -> NDArray[np.bool_]:
    """Where the face lies in a crop of the archives, bool (64, 64): an ellipse around the median box of faces."""
    x, y, width, height = CROP_FACE_BOX
    rows, columns = np.mgrid[:CROP_SIDE, :CROP_SIDE] + 0.5
    across, along = (columns - x - width / 2) / (width / 2), (rows - y - height / 2) / (height / 2)
    return np.asarray(across**2 + along**2 <= GROWN**2, np.bool_)


def without_face(crops: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Crops sRGB uint8 (n, 64, 64, 3) whose face is the mean colour of what surrounds it, in linear light."""
    return _filled(crops, face_area())


def face_alone(crops: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Crops sRGB uint8 (n, 64, 64, 3) whose surroundings are the mean colour of the face, in linear light."""
    return _filled(crops, ~face_area())


def _filled(crops: NDArray[np.uint8], area: NDArray[np.bool_]) -> NDArray[np.uint8]:
    if crops.shape[1:] != (CROP_SIDE, CROP_SIDE, 3):
        raise ValueError(f"crops must have the shape (n, {CROP_SIDE}, {CROP_SIDE}, 3), got {crops.shape}")
    filled = crops.copy()
    mean = srgb_to_linear(crops[:, ~area]).mean(axis=1, dtype=np.float64).astype(np.float32)
    filled[:, area] = linear_to_srgb(mean)[:, None]
    return filled
