"""Decoding against a slow, obvious version, and as the inverse of the targets that training sets."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from models.detector.decode import decode, iou, without_duplicates
from models.detector.targets import make_targets


def slow_iou(one: list[float], other: list[float]) -> float:
    width = min(one[0] + one[2], other[0] + other[2]) - max(one[0], other[0])
    height = min(one[1] + one[3], other[1] + other[3]) - max(one[1], other[1])
    common = max(0.0, width) * max(0.0, height)
    return common / (one[2] * one[3] + other[2] * other[3] - common)


def slow_decode(
    heat: NDArray[np.float32], box: NDArray[np.float32], threshold: float
) -> list[tuple[float, list[float]]]:
    rows, columns = heat.shape
    candidates = []
    for row in range(rows):
        for column in range(columns):
            around = heat[max(0, row - 1) : row + 2, max(0, column - 1) : column + 2]
            if heat[row, column] >= threshold and heat[row, column] == around.max():
                offset_x, offset_y, log_width, log_height = (float(value) for value in box[:, row, column])
                width, height = np.exp(log_width), np.exp(log_height)
                x = 8 * (column + 0.5 + offset_x - width / 2)
                y = 8 * (row + 0.5 + offset_y - height / 2)
                candidates.append((float(heat[row, column]), [x, y, 8 * width, 8 * height]))
    kept: list[tuple[float, list[float]]] = []
    for score, found in sorted(candidates, key=lambda one: -one[0]):
        if all(slow_iou(found, other) <= 0.4 for _, other in kept):
            kept.append((score, found))
    return kept


@given(seed=st.integers(0, 2**32 - 1), threshold=st.floats(0.3, 0.95))
@settings(max_examples=60, deadline=None)
def test_decode_agrees_with_the_slow_version(seed: int, threshold: float) -> None:
    rng = np.random.default_rng(seed)
    heat = rng.random((9, 12), np.float32)
    box = rng.normal(0, 0.7, (4, 9, 12)).astype(np.float32)
    found = decode(heat, box, threshold)
    slow = slow_decode(heat, box, threshold)
    assert len(found) == len(slow)
    np.testing.assert_allclose(found.scores, [score for score, _ in slow])
    np.testing.assert_allclose(found.boxes, np.array([one for _, one in slow]).reshape(-1, 4), rtol=1e-4, atol=1e-3)


def test_nothing_above_the_threshold_gives_no_face() -> None:
    found = decode(np.full((60, 80), 0.1, np.float32), np.zeros((4, 60, 80), np.float32), 0.3)
    assert len(found) == 0
    assert found.boxes.shape == (0, 4)


def test_the_best_faces_are_kept_when_there_are_too_many() -> None:
    rng = np.random.default_rng(0)
    heat = np.zeros((60, 80), np.float32)
    heat[::3, ::3] = rng.uniform(0.5, 1, heat[::3, ::3].shape)
    box = np.full((4, 60, 80), 0.0, np.float32)
    found = decode(heat, box, 0.4, limit=10)
    np.testing.assert_array_equal(found.scores, np.sort(heat.ravel())[::-1][:10])


@given(
    x=st.floats(40, 500),
    y=st.floats(40, 350),
    width=st.floats(16, 120),
    height=st.floats(16, 120),
    seed=st.integers(0, 99),
)
@settings(max_examples=50, deadline=None)
def test_a_perfect_answer_gives_the_boxes_back(x: float, y: float, width: float, height: float, seed: int) -> None:
    boxes = np.array([[x, y, width, height]], np.float32)
    targets = make_targets(boxes, np.zeros(1, np.bool_), 60, 80)
    # A plateau of equal neighbours cannot occur in a real answer; a little noise stands for the rest of the network.
    heat = targets["heat"][0] + np.random.default_rng(seed).uniform(-1e-4, 0, (60, 80)).astype(np.float32)
    found = decode(heat, targets["box"], 0.9)
    assert len(found) >= 1
    np.testing.assert_allclose(found.boxes[0], boxes[0], rtol=1e-3, atol=0.05)


def test_an_ignored_face_is_neither_taught_nor_punished() -> None:
    boxes = np.array([[100, 100, 40, 40]], np.float32)
    targets = make_targets(boxes, np.array([True]), 60, 80)
    assert targets["heat"].max() == 0
    assert targets["care"][0, 13:17, 13:17].max() == 0
    assert targets["care"].sum() < targets["care"].size
    assert targets["box_weight"].sum() == 0


def test_iou_of_known_boxes() -> None:
    one = np.array([[0, 0, 10, 10]], np.float32)
    other = np.array([[5, 0, 10, 10], [0, 0, 10, 10], [20, 20, 5, 5]], np.float32)
    assert iou(one, other)[0].tolist() == pytest.approx([1 / 3, 1, 0])


def test_duplicates_give_way_to_the_first() -> None:
    boxes = np.array([[0, 0, 10, 10], [1, 0, 10, 10], [30, 0, 10, 10]], np.float32)
    assert without_duplicates(boxes).tolist() == [0, 2]
