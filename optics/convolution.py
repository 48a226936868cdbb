"""True convolution of a three-coloured scene with a few kernels, replicate padding, and the maximum over cells."""

import cv2
import numpy as np
from numpy.typing import NDArray


def convolved_planes(scene: NDArray[np.float32], kernels: NDArray[np.float32], threads: int) -> NDArray[np.float32]:
    """float32 (height, width, 3) and (filters, h, w) to (filters * 3, height, width), plane = filter * 3 + colour."""
    if not np.isfinite(scene).all() or scene.min() < 0:
        raise ValueError("scene must be finite and not negative, got NaN, infinity or negative light")
    height, width = kernels.shape[1:]
    anchor = (width - 1 - width // 2, height - 1 - height // 2)
    planes = []
    for kernel in kernels:
        flipped = np.ascontiguousarray(kernel[::-1, ::-1])
        image = cv2.filter2D(scene, cv2.CV_32F, flipped, anchor=anchor, borderType=cv2.BORDER_REPLICATE)
        planes.append(image.transpose(2, 0, 1))
    return np.ascontiguousarray(np.concatenate(planes))


def pooled_planes(
    scene: NDArray[np.float32], kernels: NDArray[np.float32], pool: int, threads: int
) -> NDArray[np.float32]:
    """Maximum of the convolved planes over pool x pool pixels, float32 (height // pool, width // pool, filters * 3)."""
    planes = convolved_planes(scene, kernels, threads)
    channels, height, width = planes.shape
    rows, columns = height // pool, width // pool
    tall = planes[:, : rows * pool, : columns * pool].reshape(channels, rows, pool, columns * pool).max(axis=2)
    return np.ascontiguousarray(tall.reshape(channels, rows, columns, pool).max(axis=3).transpose(1, 2, 0))
