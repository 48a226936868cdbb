"""From the network's answer to faces: peaks of the heat map, their boxes, duplicates removed. NumPy and OpenCV only."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

MAX_FACES = 100
# Two boxes that overlap by more than this are one face.
DUPLICATE_IOU = 0.4


@dataclass(frozen=True, slots=True, eq=False)
class Faces:
    """Faces found, best first. `boxes`: float32 (n, 4), x, y, width, height in pixels of the sensor plane; `scores`:
    float32 (n,) in 0..1."""

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.scores)


def decode(
    heat: NDArray[np.float32], box: NDArray[np.float32], threshold: float, pool_px: int = 8, limit: int = MAX_FACES
) -> Faces:
    """Faces in one answer.

    heat: float32 (rows, columns), probability of a face's centre; box: float32 (4, rows, columns), offset x, offset y
    from the middle of the cell, ln width, ln height, all in cells. A cell is a candidate when it reaches `threshold`
    and no neighbour is higher; overlapping candidates give way to the best. Boxes may reach beyond the plane. At most
    `limit` faces, the best ones.
    """
    highest = cv2.dilate(heat, np.ones((3, 3), np.uint8))
    rows, columns = np.nonzero((heat >= threshold) & (heat >= highest))
    order = np.argsort(-heat[rows, columns], kind="stable")[: 4 * limit]
    rows, columns = rows[order], columns[order]
    offset_x, offset_y, log_width, log_height = box[:, rows, columns]
    width, height = np.exp(np.clip(log_width, -3, 5)), np.exp(np.clip(log_height, -3, 5))
    x, y = columns + 0.5 + offset_x - width / 2, rows + 0.5 + offset_y - height / 2
    boxes = (np.stack([x, y, width, height], axis=1) * pool_px).astype(np.float32)
    scores = heat[rows, columns].astype(np.float32)
    kept = without_duplicates(boxes)[:limit]
    return Faces(boxes[kept], scores[kept])


def without_duplicates(boxes: NDArray[np.float32], overlap: float = DUPLICATE_IOU) -> NDArray[np.int64]:
    """Indices of the boxes (n, 4), given best first, that no better kept box overlaps by more than `overlap` (IoU)."""
    kept: list[int] = []
    for index in range(len(boxes)):
        if not kept or iou(boxes[index][None], boxes[kept]).max() <= overlap:
            kept.append(index)
    return np.array(kept, np.int64)


def iou(one: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.float32]:
    """Area in common over area of the union for every pair of boxes x, y, width, height: float32 (n, m)."""
    low = np.maximum(one[:, None, :2], other[None, :, :2])
    high = np.minimum((one[:, :2] + one[:, 2:])[:, None], (other[:, :2] + other[:, 2:])[None])
    common = (high - low).clip(0).prod(axis=2)
    union = one[:, 2:].prod(axis=1)[:, None] + other[:, 2:].prod(axis=1)[None] - common
    return np.asarray(common / np.maximum(union, 1e-9), np.float32)
