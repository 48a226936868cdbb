"""From display-referred pictures to linear light on the sensor plane: the sRGB curve and the fit to the plane."""

from functools import cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray


def linear_from_srgb(encoded: NDArray[np.float64]) -> NDArray[np.float64]:
    """Linear light in [0, 1] of sRGB values in [0, 1], any shape, float64 (IEC 61966-2-1:1999, section 5.2)."""
    return np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)


@cache
def linear_table() -> NDArray[np.float32]:
    """Linear light of every 8-bit sRGB value, float32 (256,), read-only."""
    table = linear_from_srgb(np.arange(256, dtype=np.float64) / 255.0).astype(np.float32)
    table.flags.writeable = False
    return table


def linearize(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Linear light, float32, same shape, of an 8-bit sRGB picture uint8 (height, width, 3); channel order is kept."""
    return np.asarray(cv2.LUT(picture, linear_table()), np.float32)


def rgb_from_bgr(picture: NDArray[Any]) -> NDArray[np.uint8]:
    """uint8 (height, width, 3) in RGB order, from OpenCV's BGR."""
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), np.uint8)


def fit(linear: NDArray[np.float32], rows_px: int, columns_px: int) -> NDArray[np.float32]:
    """float32 (height, width, 3), scaled with its aspect kept to fit into (rows_px, columns_px, 3), centred on black.

    The scaling happens in linear light, as a lens would average it: area means when shrinking, bilinear when enlarging.
    """
    height, width = linear.shape[:2]
    scale = min(rows_px / height, columns_px / width)
    rows = min(rows_px, max(1, round(height * scale)))
    columns = min(columns_px, max(1, round(width * scale)))
    if (rows, columns) != (height, width):
        method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        linear = np.asarray(cv2.resize(linear, (columns, rows), interpolation=method), np.float32)
    if (rows, columns) == (rows_px, columns_px):
        return linear
    plane = np.zeros((rows_px, columns_px, 3), np.float32)
    top, left = (rows_px - rows) // 2, (columns_px - columns) // 2
    plane[top : top + rows, left : left + columns] = linear
    return plane
