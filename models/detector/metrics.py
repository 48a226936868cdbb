"""How good a detector is: average precision, count error, and how sure one can be of either."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from models.detector.decode import Faces, iou

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True, eq=False)
class Matches:
    """What became of the faces found and of the faces there, in one scene.

    `scores`: float32 (n,) of the faces found that count; `right`: bool (n,), whether each matched a face; `faces`: the
    number of faces that had to be found.
    """

    scores: NDArray[np.float32]
    right: NDArray[np.bool_]
    faces: int


def match(
    found: Faces,
    boxes: NDArray[np.float32],
    ignore: NDArray[np.bool_],
    at_iou: float = 0.5,
    sizes_px: tuple[float, float] | None = None,
) -> Matches:
    """Pairs faces found with faces there, best score first; each face is matched once, by the free box of largest IoU.

    boxes float32 (n, 4), ignore bool (n,). A found face that only meets an ignored one (half of its own area inside it,
    or IoU enough) counts for nothing. With `sizes_px` (from, to) only faces there whose larger side lies in that range
    are wanted; other faces there are ignored, and so are unmatched found faces of a size outside the range.
    """
    ignore = ignore.copy()
    if sizes_px is not None:
        side = boxes[:, 2:].max(axis=1, initial=0)
        ignore |= (side < sizes_px[0]) | (side >= sizes_px[1])
    order = np.argsort(-found.scores, kind="stable")
    overlaps = iou(found.boxes, boxes)
    taken = np.zeros(len(boxes), np.bool_)
    scores, right = [], []
    for index in order:
        free = np.where(taken | ignore, 0, overlaps[index])
        if len(boxes) and free.max() >= at_iou:
            taken[free.argmax()] = True
            scores.append(found.scores[index])
            right.append(True)
            continue
        if len(boxes) and _meets_ignored(found.boxes[index], boxes[ignore], at_iou):
            continue
        if sizes_px is not None and not sizes_px[0] <= found.boxes[index, 2:].max() < sizes_px[1]:
            continue
        scores.append(found.scores[index])
        right.append(False)
    return Matches(np.array(scores, np.float32), np.array(right, np.bool_), int((~ignore).sum()))


def average_precision(matches: list[Matches]) -> float:
    """Area under the precision-recall curve over all scenes, precision made monotone (as PASCAL VOC does since 2010:
    Everingham et al. 2015, DOI 10.1007/s11263-014-0733-5). NaN when there is no face to find."""
    total = sum(one.faces for one in matches)
    if total == 0:
        return float("nan")
    scores = np.concatenate([one.scores for one in matches])
    right = np.concatenate([one.right for one in matches])[np.argsort(-scores, kind="stable")]
    hits = np.cumsum(right)
    precision = hits / np.arange(1, len(hits) + 1)
    best_from_here = np.maximum.accumulate(precision[::-1])[::-1]
    return float((best_from_here * right).sum() / total)


def bootstrap_interval(
    items: list[Item], statistic: Callable[[list[Item]], float], rng: np.random.Generator, rounds: int = 1000
) -> tuple[float, float]:
    """95 % percentile interval of `statistic` when the items (scenes) are drawn anew with replacement (Efron 1979,
    DOI 10.1214/aos/1176344552). Rounds without a value (NaN) are left out."""
    values = []
    for _ in range(rounds):
        value = statistic([items[index] for index in rng.integers(len(items), size=len(items))])
        if np.isfinite(value):
            values.append(value)
    if not values:
        return float("nan"), float("nan")
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)


def wilson_interval(right: int, total: int) -> tuple[float, float]:
    """95 % interval of a share, `right` of `total` (Wilson 1927, DOI 10.1080/01621459.1927.10502953)."""
    if total == 0:
        return 0.0, 1.0
    z = 1.959963984540054
    share = right / total
    middle = (share + z * z / (2 * total)) / (1 + z * z / total)
    half = z / (1 + z * z / total) * float(np.sqrt(share * (1 - share) / total + z * z / (4 * total * total)))
    return max(0.0, middle - half), min(1.0, middle + half)


def _meets_ignored(box: NDArray[np.float32], ignored: NDArray[np.float32], at_iou: float) -> bool:
    if len(ignored) == 0:
        return False
    low = np.maximum(box[:2], ignored[:, :2])
    high = np.minimum(box[:2] + box[2:], ignored[:, :2] + ignored[:, 2:])
    inside = (high - low).clip(0).prod(axis=1) / max(float(box[2:].prod()), 1e-9)
    return bool((inside > 0.5).any() or iou(box[None], ignored).max() >= at_iou)
