"""The discrete ROC of face detection, as the FDDB benchmark defines it: true positive rate against false positives.

The protocol (Jain and Learned-Miller 2010, UM-CS-2010-009, sections 4 and 5): detections and annotations of a picture
are paired one to one so that the sum of their overlaps (area in common over area of the union) is as large as it can
be. A pair whose overlap is above 0.5 is a true positive, every other detection a false positive. This is done anew for
each threshold on the detections' scores. What is added here, since FDDB has no such faces: a false positive that only
meets a face which is to be ignored counts for nothing.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from models.detector.decode import Faces, iou

# The discrete score is 1 above this overlap, 0 up to it.
OVERLAP = 0.5
# A detection with more than this share of its own area inside an ignored face has only met that face.
INSIDE_IGNORED = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """One picture's detections by falling score.

    `scores`: float64 (n,). `true`, `false`: int64 (n,), how many true and false positives the first 1, 2, ... n
    detections give. `faces`: number of faces that were to be found.
    """

    scores: NDArray[np.float64]
    true: NDArray[np.int64]
    false: NDArray[np.int64]
    faces: int


@dataclass(frozen=True, slots=True, eq=False)
class Roc:
    """Totals over all pictures as the threshold falls, from none to all detections: `thresholds` float64 (n,), the
    first is infinite; `false_positives` int64 (n,); `true_positive_rate` float64 (n,). `faces`: how many there are."""

    thresholds: NDArray[np.float64]
    false_positives: NDArray[np.int64]
    true_positive_rate: NDArray[np.float64]
    faces: int

    def rate_at(self, false_positives: int) -> float:
        """The highest true positive rate with at most so many false positives in all."""
        return float(self.true_positive_rate[self.false_positives <= false_positives].max())

    def as_json(self, most: int = 400) -> dict[str, Any]:
        """The curve as a JSON object, at most `most` points: those where the rate rises first."""
        kept = np.unique(np.linspace(0, len(self.thresholds) - 1, min(most, len(self.thresholds))).astype(int))
        return {
            "faces": self.faces,
            "false_positives": self.false_positives[kept].tolist(),
            "true_positive_rate": np.round(self.true_positive_rate[kept], 5).tolist(),
            "matching": "one to one, largest sum of overlaps; true positive above 0.5 (Jain and Learned-Miller 2010)",
        }


def ellipse_overlaps(boxes: NDArray[np.floating], ellipses: NDArray[np.float64]) -> NDArray[np.float64]:
    """Area in common over area of the union of every box and ellipse: float64 (n, m), exact up to rounding.

    boxes: (n, 4), x, y, width, height in px; ellipses: float64 (m, 5), major radius, minor radius (px), angle of the
    major axis from x towards y (rad), centre x, centre y (px). The plane is scaled so that the ellipse becomes the unit
    circle and the box a parallelogram, of which a circle's share has a closed form.
    """
    found = np.zeros((len(boxes), len(ellipses)))
    for column, (major, minor, angle, centre_x, centre_y) in enumerate(ellipses):
        cosine, sine = np.cos(angle), np.sin(angle)
        to_circle = np.array([[cosine / major, sine / major], [-sine / minor, cosine / minor]])
        for row, (x, y, width, height) in enumerate(np.asarray(boxes, np.float64)):
            corners = np.array([[x, y], [x + width, y], [x + width, y + height], [x, y + height]])
            common = major * minor * circle_share((corners - [centre_x, centre_y]) @ to_circle.T)
            union = width * height + np.pi * major * minor - common
            found[row, column] = common / max(union, 1e-12)
    return found


def circle_share(corners: NDArray[np.float64]) -> float:
    """Area that a convex polygon, corners float64 (n, 2) in order, has in common with the unit circle round 0.

    Edge by edge: a triangle to the centre where the edge runs inside the circle, a sector where it runs outside.
    """
    total = 0.0
    for start, end in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        step = end - start
        # Where start + t * step meets the circle.
        a, b, c = float(step @ step), float(start @ step), float(start @ start) - 1
        cuts = [0.0, 1.0]
        if a > 0 and (inside := b * b - a * c) > 0:
            roots = ((-b - inside**0.5) / a, (-b + inside**0.5) / a)
            cuts = [0.0, *(root for root in roots if 0 < root < 1), 1.0]
        for first, last in pairwise(cuts):
            one, other = start + first * step, start + last * step
            cross = float(one[0] * other[1] - one[1] * other[0])
            middle = (one + other) / 2
            # An edge that only touches the circle runs outside: rounding must not decide that.
            within = float(middle @ middle) < 1 - 1e-9
            total += cross / 2 if within else float(np.arctan2(cross, one @ other)) / 2
    return abs(total)


def scored(
    found: Faces, overlaps: NDArray[np.floating], ignored: NDArray[np.bool_], inside: NDArray[np.bool_]
) -> Scored:
    """One picture's detections against its annotations.

    overlaps: (n, m) of every detection and annotation, in the order of `found`; ignored: bool (m,), annotations that
    are neither required nor punished; inside: bool (n,), detections that have met an ignored one (`meets_ignored`).
    """
    order = np.argsort(-found.scores, kind="stable")
    wanted = np.asarray(overlaps, np.float64)[order][:, ~ignored]
    free = np.asarray(inside, np.bool_)[order]
    true, false = np.zeros(len(order), np.int64), np.zeros(len(order), np.int64)
    for count in range(1, len(order) + 1):
        if wanted.shape[1] and wanted[count - 1].max() > 0:
            rows, columns = linear_sum_assignment(wanted[:count], maximize=True)
            hits = rows[wanted[rows, columns] > OVERLAP]
        elif count == 1:
            hits = np.zeros(0, np.int64)
        # A detection that meets no annotation changes no pair: the hits stay those of the one before.
        missed = np.ones(count, np.bool_)
        missed[hits] = False
        true[count - 1] = len(hits)
        false[count - 1] = int((missed & ~free[:count]).sum())
    return Scored(found.scores[order].astype(np.float64), true, false, int((~ignored).sum()))


def scored_boxes(found: Faces, boxes: NDArray[np.float32], ignored: NDArray[np.bool_]) -> Scored:
    """`scored` against boxes float32 (m, 4), of which those where `ignored` bool (m,) is set are left out."""
    return scored(found, iou(found.boxes, boxes), ignored, meets_ignored(found.boxes, boxes[ignored]))


def scored_ellipses(found: Faces, ellipses: NDArray[np.float64]) -> Scored:
    """`scored` against ellipses float64 (m, 5), all of which are to be found (see `ellipse_overlaps`)."""
    none = np.zeros(len(ellipses), np.bool_)
    return scored(found, ellipse_overlaps(found.boxes, ellipses), none, np.zeros(len(found), np.bool_))


def meets_ignored(boxes: NDArray[np.float32], ignored: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which boxes (n, 4) have met an ignored box (m, 4): more than half of their area inside, or overlap enough."""
    if not len(ignored) or not len(boxes):
        return np.zeros(len(boxes), np.bool_)
    low = np.maximum(boxes[:, None, :2], ignored[None, :, :2])
    high = np.minimum((boxes[:, :2] + boxes[:, 2:])[:, None], (ignored[:, :2] + ignored[:, 2:])[None])
    inside = (high - low).clip(0).prod(axis=2) / np.maximum(boxes[:, 2:].prod(axis=1), 1e-9)[:, None]
    return np.asarray(((inside > INSIDE_IGNORED) | (iou(boxes, ignored) > OVERLAP)).any(axis=1))


def roc(pictures: list[Scored]) -> Roc:
    """Totals over pictures at every threshold that changes anything. Raises ValueError when there is no face."""
    faces = sum(one.faces for one in pictures)
    if faces == 0:
        raise ValueError("a ROC needs at least one face to find, there is none in these pictures")
    scores = np.concatenate([one.scores for one in pictures])
    # What each detection adds to its picture's totals; a later one can take a true positive back.
    true = np.concatenate([np.diff(one.true, prepend=0) for one in pictures])
    false = np.concatenate([np.diff(one.false, prepend=0) for one in pictures])
    order = np.argsort(-scores, kind="stable")
    scores, true, false = scores[order], np.cumsum(true[order]), np.cumsum(false[order])
    # Detections of equal scores come in together.
    last = np.append(scores[1:] != scores[:-1], True)[: len(scores)]
    return Roc(
        np.concatenate([[np.inf], scores[last]]),
        np.concatenate([[0], false[last]]).astype(np.int64),
        np.concatenate([[0.0], true[last] / faces]),
        faces,
    )
