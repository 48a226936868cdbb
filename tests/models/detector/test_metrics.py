"""Average precision against a slow version made by hand, and the intervals against known values."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.detector.decode import Faces
from models.detector.metrics import Matches, average_precision, bootstrap_interval, match, wilson_interval


def slow_average_precision(scored: list[tuple[float, bool]], faces: int) -> float:
    """Walks down the ranking; at every recall it takes the best precision reached at that recall or more."""
    ranked = sorted(scored, key=lambda one: -one[0])
    points = []
    for end in range(1, len(ranked) + 1):
        hits = sum(right for _, right in ranked[:end])
        points.append((hits / faces, hits / end))
    area = 0.0
    for step in range(1, faces + 1):
        reached = [precision for recall, precision in points if recall >= step / faces - 1e-12]
        area += max(reached, default=0.0) / faces
    return area


@given(rights=st.lists(st.booleans(), max_size=30), missed=st.integers(0, 5), seed=st.integers(0, 1000))
@settings(max_examples=100, deadline=None)
def test_average_precision_agrees_with_the_slow_version(rights: list[bool], missed: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    faces = sum(rights) + missed
    if faces == 0:
        return
    scores = rng.permutation(np.linspace(0.05, 0.95, len(rights))).astype(np.float32)
    middle = len(rights) // 2
    matches = [
        Matches(scores[:middle], np.array(rights[:middle], np.bool_), sum(rights[:middle])),
        Matches(scores[middle:], np.array(rights[middle:], np.bool_), faces - sum(rights[:middle])),
    ]
    slow = slow_average_precision(list(zip(scores.tolist(), rights, strict=True)), faces)
    assert average_precision(matches) == pytest.approx(slow)


def test_average_precision_without_a_face_is_not_a_number() -> None:
    assert np.isnan(average_precision([Matches(np.zeros(0, np.float32), np.zeros(0, np.bool_), 0)]))


def faces(*rows: tuple[float, float, float, float, float]) -> Faces:
    table = np.array(rows, np.float32).reshape(-1, 5)
    return Faces(table[:, :4], table[:, 4])


BOXES = np.array([[10, 10, 20, 20], [100, 100, 50, 60]], np.float32)
NONE_IGNORED = np.zeros(2, np.bool_)


def test_each_face_is_matched_once() -> None:
    found = faces((10, 10, 20, 20, 0.9), (11, 10, 20, 20, 0.8), (100, 100, 50, 60, 0.7))
    result = match(found, BOXES, NONE_IGNORED)
    assert result.right.tolist() == [True, False, True]
    assert result.faces == 2


def test_a_box_off_by_half_its_width_is_wrong() -> None:
    assert match(faces((20, 10, 20, 20, 0.9)), BOXES, NONE_IGNORED).right.tolist() == [False]


def test_what_meets_an_ignored_face_counts_for_nothing() -> None:
    result = match(faces((10, 10, 20, 20, 0.9)), BOXES, np.array([True, False]))
    assert len(result.scores) == 0
    assert result.faces == 1


def test_sizes_limit_what_is_wanted() -> None:
    found = faces((10, 10, 20, 20, 0.9), (100, 100, 50, 60, 0.8), (300, 300, 22, 22, 0.7), (300, 10, 70, 70, 0.6))
    small = match(found, BOXES, NONE_IGNORED, sizes_px=(16, 24))
    assert small.faces == 1
    # The large face is ignored here, the false large one has no place in this size; the false small one has.
    assert small.right.tolist() == [True, False]
    assert small.scores.tolist() == pytest.approx([0.9, 0.7])


def test_wilson_interval_of_known_values() -> None:
    # Brown, Cai, DasGupta 2001 (DOI 10.1214/ss/1009213286) use the same formula; these two follow from it by hand.
    assert wilson_interval(0, 10) == pytest.approx((0.0, 0.27753), abs=1e-4)
    assert wilson_interval(5, 10) == pytest.approx((0.23659, 0.76341), abs=1e-4)
    assert wilson_interval(0, 0) == (0.0, 1.0)


def test_bootstrap_interval_covers_the_mean_and_narrows_with_more_data() -> None:
    rng = np.random.default_rng(0)
    widths = []
    for count in (20, 500):
        low, high = bootstrap_interval(rng.normal(5, 1, count).tolist(), lambda some: float(np.mean(some)), rng, 300)
        assert low < 5.2
        assert high > 4.8
        widths.append(high - low)
    assert widths[1] < widths[0] / 2
