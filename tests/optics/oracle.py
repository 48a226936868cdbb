"""The encoding a second time: slow, float64, written to be obviously right. And where to find data that is not ours."""

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from optics.encoding import Encoding


def shared_data() -> Path:
    """Folder with the data that lies beside the repository and never in it; it may not exist."""
    root = os.environ.get("CANOPIC_SHARED")
    return (Path(root) if root else Path(__file__).parents[2].parent / "shared") / "data"


def slow_convolution(plane: NDArray[np.float64], kernel: NDArray[np.float64]) -> NDArray[np.float64]:
    """A sum over taps: tap (i, j) brings the light from (y - i + centre, x - j + centre), clamped to the edges.

    plane: (..., height, width); leading axes are planes apart.
    """
    height, width = plane.shape[-2:]
    result = np.zeros_like(plane)
    for i in range(kernel.shape[0]):
        for j in range(kernel.shape[1]):
            from_row = np.clip(np.arange(height) - (i - kernel.shape[0] // 2), 0, height - 1)
            from_column = np.clip(np.arange(width) - (j - kernel.shape[1] // 2), 0, width - 1)
            result += kernel[i, j] * plane[..., from_row[:, None], from_column]
    return result


def slow_cells(scene: NDArray[np.float32], encoding: Encoding) -> NDArray[np.float64]:
    """Values before the thresholds, float64 (rows, columns, filters * 3), one cell after the other."""
    pool = encoding.pool
    rows, columns = scene.shape[0] // pool, scene.shape[1] // pool
    cells = np.zeros((rows, columns, encoding.channels))
    planes = scene.transpose(2, 0, 1).astype(np.float64)
    for number, kernel in enumerate(encoding.kernels):
        convolved = slow_convolution(planes, kernel.astype(np.float64))
        for row in range(rows):
            for column in range(columns):
                cell = convolved[:, row * pool : (row + 1) * pool, column * pool : (column + 1) * pool]
                cells[row, column, number * 3 : number * 3 + 3] = cell.max(axis=(1, 2))
    if encoding.range == "per_frame":
        span = cells.max() - cells.min()
        cells = (cells - cells.min()) / span if span > 0 else np.zeros_like(cells)
    return cells


def slow_codes(cells: NDArray[np.float64], encoding: Encoding) -> NDArray[np.int64]:
    """Number of thresholds at or below each value."""
    return (cells[..., None] >= encoding.thresholds.astype(np.float64)).sum(axis=-1)


def close_calls(cells: NDArray[np.float64], encoding: Encoding, tolerance: float) -> NDArray[np.bool_]:
    """Cells whose value lies within the tolerance of a threshold: float32 may round them to either side."""
    distance = np.abs(cells[..., None] - encoding.thresholds.astype(np.float64)).min(axis=-1)
    return np.asarray(distance <= tolerance)
