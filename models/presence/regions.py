"""Connected regions of evidence, and what their outline tells: is something there now, or was it there before?"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from models.presence.radiance import Array

Mask = NDArray[np.bool_]
OUTLINE_LIMIT_NATS = 1.5


@dataclass(frozen=True, slots=True)
class Region:
    """A connected region. score: sum of its evidence (nats); cells: its size; mask: bool (rows, columns)."""

    score: float
    cells: int
    mask: Mask


def smoothed(evidence: Array) -> Array:
    """3 x 3 binomial mean of float32 (rows, columns): an isolated cell loses to its eight neighbours."""
    return np.asarray(cv2.GaussianBlur(evidence, (3, 3), 0.85, borderType=cv2.BORDER_REPLICATE), dtype=np.float32)


def connected(evidence: Array, above: float, least_score: float, least_cells: int) -> list[Region]:
    """Regions of 8-connected cells with evidence > above whose sum reaches least_score, strongest first."""
    positive = (evidence > above).astype(np.uint8)
    if not positive.any():
        return []
    count, labels, stats, _ = cv2.connectedComponentsWithStats(positive, connectivity=8, ltype=cv2.CV_32S)
    scores = np.bincount(labels.ravel(), weights=evidence.ravel(), minlength=count)
    sizes = stats[:, cv2.CC_STAT_AREA]
    keep = [n for n in range(1, count) if scores[n] >= least_score and sizes[n] >= least_cells]
    keep.sort(key=lambda n: -scores[n])
    return [Region(float(scores[n]), int(sizes[n]), labels == n) for n in keep]


def dilated(mask: Mask, cells: int) -> Mask:
    """The mask grown by a square of `cells` in every direction."""
    side = 2 * cells + 1
    grown = cv2.dilate(mask.astype(np.uint8), np.ones((side, side), dtype=np.uint8))
    return np.asarray(grown, dtype=bool)


def grouped(masks: list[Mask], cells: int) -> list[Mask]:
    """Regions whose distance is less than about 2 * cells, joined: masks of the groups."""
    if len(masks) < 2:
        return masks
    together = np.logical_or.reduce(masks)
    count, labels = cv2.connectedComponents(dilated(together, cells).astype(np.uint8), connectivity=8)
    return [together & (labels == n) for n in range(1, count)]


def outer_cells(lit: Mask) -> Mask:
    """Cells on the border of the picture: the outermost two of the rectangle around all lit cells."""
    border = np.zeros_like(lit)
    rows, columns = np.flatnonzero(lit.any(axis=1)), np.flatnonzero(lit.any(axis=0))
    if rows.size:
        border[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] = True
        border[rows[0] + 2 : rows[-1] - 1, columns[0] + 2 : columns[-1] - 1] = False
    return border


def outline_contrast(picture: Array, mask: Mask, lit: Mask) -> float:
    """Mean absolute step of log radiance (nats) across the outline of a region; 0 without an outline.

    picture: float32 (rows, columns, channels). Compares cells three apart, one inside and one outside: the spread of
    the PSF and the cell that the edge runs through lie between them. Pairs with a cell that is not `lit` (the black
    bars of a letterboxed scene) are left out. One pair counts at most OUTLINE_LIMIT_NATS, so that an outline is
    judged by its length, not by its strongest part.
    """
    total, pairs = 0.0, 0
    for ahead, behind in ((np.s_[3:], np.s_[:-3]), (np.s_[:, 3:], np.s_[:, :-3])):
        crossing = (mask[ahead] != mask[behind]) & lit[ahead] & lit[behind]
        step = np.abs(picture[ahead][crossing] - picture[behind][crossing]).mean(axis=1)
        total += float(np.minimum(step, OUTLINE_LIMIT_NATS).sum())
        pairs += step.size
    return total / pairs if pairs else 0.0


def body_mask(faces: NDArray[np.float32], shape: tuple[int, int], cell_px: float) -> Mask:
    """Cells that belong to the people whose faces were found: bool of `shape` (rows, columns).

    faces: float32 (n, 4), x, y, width, height in sensor-plane pixels; cell_px: side of a cell. A standing adult is
    about seven and a half heads tall and three face widths across the shoulders; half a head is added for hair.
    """
    mask = np.zeros(shape, dtype=bool)
    rows, columns = shape
    for x, y, width, height in np.asarray(faces, dtype=np.float64).reshape(-1, 4):
        top, bottom = int((y - 0.5 * height) // cell_px), int(-(-(y + 7.5 * height) // cell_px))
        left, right = int((x - width) // cell_px), int(-(-(x + 2 * width) // cell_px))
        mask[max(top, 0) : min(max(bottom, 0), rows), max(left, 0) : min(max(right, 0), columns)] = True
    return mask
