"""The discrete ROC: overlaps against another way of measuring them, and the matching against every possible one."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from models.detector.decode import Faces
from models.evidence.roc import (
    circle_share,
    ellipse_overlaps,
    meets_ignored,
    roc,
    scored,
    scored_boxes,
    scored_ellipses,
)


def faces(boxes: list[list[float]], scores: list[float]) -> Faces:
    return Faces(np.array(boxes, np.float32).reshape(-1, 4), np.array(scores, np.float32))


def counted_overlap(box: NDArray[np.float64], ellipse: NDArray[np.float64], per_px: int = 12) -> float:
    """The overlap by counting points of a fine grid."""
    major, minor, angle, centre_x, centre_y = ellipse
    steps = (np.arange(100 * per_px) + 0.5) / per_px
    x, y = np.meshgrid(steps, steps)
    along = (x - centre_x) * np.cos(angle) + (y - centre_y) * np.sin(angle)
    across = -(x - centre_x) * np.sin(angle) + (y - centre_y) * np.cos(angle)
    in_ellipse = (along / major) ** 2 + (across / minor) ** 2 <= 1
    in_box = (x >= box[0]) & (x < box[0] + box[2]) & (y >= box[1]) & (y < box[1] + box[3])
    return float((in_ellipse & in_box).sum() / (in_ellipse | in_box).sum())


@settings(max_examples=25, deadline=None)
@given(
    box=st.tuples(st.floats(5, 50), st.floats(5, 50), st.floats(3, 45), st.floats(3, 45)),
    radii=st.tuples(st.floats(6, 28), st.floats(4, 20)),
    angle=st.floats(-np.pi, np.pi),
    centre=st.tuples(st.floats(30, 70), st.floats(30, 70)),
)
def test_overlaps_with_ellipses_are_those_that_counting_points_finds(
    box: tuple[float, ...], radii: tuple[float, ...], angle: float, centre: tuple[float, ...]
) -> None:
    ellipse = np.array([*radii, angle, *centre])
    exact = ellipse_overlaps(np.array([box]), ellipse[None])[0, 0]
    assert exact == pytest.approx(counted_overlap(np.array(box), ellipse), abs=0.004)


def test_known_overlaps_with_ellipses() -> None:
    around = np.array([[10.0, 10.0, 40.0, 20.0]])
    ellipse = np.array([[20.0, 10.0, 0.0, 30.0, 20.0]])
    assert ellipse_overlaps(around, ellipse)[0, 0] == pytest.approx(np.pi / 4)
    upright = np.array([[20.0, 10.0, np.pi / 2, 30.0, 20.0]])
    assert ellipse_overlaps(np.array([[20.0, 0.0, 20.0, 40.0]]), upright)[0, 0] == pytest.approx(np.pi / 4)
    assert ellipse_overlaps(np.array([[100.0, 100.0, 5.0, 5.0]]), ellipse)[0, 0] == pytest.approx(0, abs=1e-12)
    assert circle_share(np.array([[0.0, 0.0], [2.0, 0.0], [2.0, 2.0], [0.0, 2.0]])) == pytest.approx(np.pi / 4)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), detections=st.integers(1, 5), annotations=st.integers(1, 4))
def test_pairs_have_the_largest_sum_of_overlaps_at_every_threshold(
    seed: int, detections: int, annotations: int
) -> None:
    rng = np.random.default_rng(seed)
    overlaps = rng.uniform(0, 1, (detections, annotations)) * (rng.random((detections, annotations)) < 0.7)
    found = faces([[0, 0, 1, 1]] * detections, np.sort(rng.random(detections))[::-1].tolist())
    one = scored(found, overlaps, np.zeros(annotations, np.bool_), np.zeros(detections, np.bool_))
    for count in range(1, detections + 1):
        # Every way to give each annotation one detection or none (the numbers beyond count).
        ways = permutations(range(count + annotations), annotations)
        pairs = [[(row, column) for column, row in enumerate(way) if row < count] for way in ways]
        sums = [sum(overlaps[pair] for pair in way) for way in pairs]
        best = max(sums)
        hits = {sum(overlaps[pair] > 0.5 for pair in way) for way, value in zip(pairs, sums, strict=True)
                if value > best - 1e-12}  # fmt: skip
        assert one.true[count - 1] in hits
        assert one.true[count - 1] + one.false[count - 1] == count


def test_one_face_is_found_once_and_overlap_has_to_exceed_a_half() -> None:
    boxes = np.array([[0, 0, 10, 10]], np.float32)
    twice = scored_boxes(faces([[0, 0, 10, 10], [0, 0, 10, 9]], [0.9, 0.8]), boxes, np.zeros(1, np.bool_))
    assert (twice.true.tolist(), twice.false.tolist()) == ([1, 1], [0, 1])
    half = scored_boxes(faces([[0, 0, 10, 5]], [0.9]), boxes, np.zeros(1, np.bool_))
    assert (half.true.tolist(), half.false.tolist()) == ([0], [1])
    # A better box that comes later takes the face over; the one before turns false.
    later = scored_boxes(faces([[0, 0, 10, 6], [0, 0, 10, 10]], [0.9, 0.8]), boxes, np.zeros(1, np.bool_))
    assert (later.true.tolist(), later.false.tolist()) == ([1, 1], [0, 1])


def test_what_only_meets_an_ignored_face_counts_for_nothing() -> None:
    boxes = np.array([[0, 0, 10, 10], [50, 50, 40, 40]], np.float32)
    found = faces([[55, 55, 8, 8], [0, 0, 10, 10], [200, 200, 9, 9]], [0.9, 0.8, 0.7])
    one = scored_boxes(found, boxes, np.array([False, True]))
    assert one.faces == 1
    assert (one.true.tolist(), one.false.tolist()) == ([0, 1, 1], [0, 0, 1])
    assert meets_ignored(found.boxes, boxes[1:]).tolist() == [True, False, False]


def test_the_curve_sums_pictures_by_score() -> None:
    boxes = np.array([[0, 0, 10, 10]], np.float32)
    none = np.zeros(1, np.bool_)
    pictures = [
        scored_boxes(faces([[0, 0, 10, 10], [30, 30, 5, 5]], [0.9, 0.5]), boxes, none),
        scored_boxes(faces([[40, 40, 5, 5], [0, 0, 10, 10]], [0.8, 0.5]), boxes, none),
        scored_boxes(faces([], []), boxes, none),
    ]
    curve = roc(pictures)
    assert curve.thresholds.tolist() == pytest.approx([np.inf, 0.9, 0.8, 0.5])
    assert curve.false_positives.tolist() == [0, 0, 1, 2]
    assert curve.true_positive_rate.tolist() == pytest.approx([0, 1 / 3, 1 / 3, 2 / 3])
    assert curve.rate_at(0) == pytest.approx(1 / 3)
    assert curve.rate_at(5) == pytest.approx(2 / 3)
    assert curve.as_json(2)["false_positives"] == [0, 2]
    with pytest.raises(ValueError, match="at least one face"):
        roc([scored_boxes(faces([], []), boxes[:0], none[:0])])


def test_boxes_are_held_against_ellipses() -> None:
    ellipse = np.array([[20.0, 14.0, np.pi / 2, 50.0, 50.0]])
    one = scored_ellipses(faces([[36, 30, 28, 40], [36, 30, 10, 10]], [0.9, 0.3]), ellipse)
    assert (one.true.tolist(), one.false.tolist(), one.faces) == ([1, 1], [0, 1], 1)
