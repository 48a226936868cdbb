"""Windows of the same photograph: no faceless one touches a face, and both kinds have the same sizes."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from models.datasets.windows import (
    MARGIN,
    cut,
    face_window,
    same_photograph_windows,
    touches,
    window_pairs,
)
from models.detector.archives import Photograph

BOX = st.tuples(st.floats(-10, 110), st.floats(-10, 110), st.floats(0, 60), st.floats(0, 60), st.booleans())


def photograph(boxes: list[tuple[float, float, float, float, bool]], red: bool = True) -> Photograph:
    """120 x 100 px, black, every labelled face red."""
    image = np.zeros((100, 120, 3), np.uint8)
    for x, y, w, h, _ in boxes if red else []:
        image[max(0, int(y)) : max(0, int(np.ceil(y + h))), max(0, int(x)) : max(0, int(np.ceil(x + w))), 0] = 255
    values = np.array([box[:4] for box in boxes], np.float32).reshape(-1, 4)
    return Photograph("one", image, values, np.array([box[4] for box in boxes], np.bool_))


@given(st.lists(BOX, max_size=6), st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_no_faceless_window_touches_any_face(boxes: list[tuple[float, float, float, float, bool]], seed: int) -> None:
    scene = photograph(boxes)
    for face, other in window_pairs(scene, np.random.default_rng(seed), 4):
        assert face[2] == other[2]
        for left, top, side in (face, other):
            assert left >= 0
            assert top >= 0
            assert left + side <= 120
            assert top + side <= 100
        left, top, side = other
        # Wherever a pixel lies in a face, in whole or in part, it is red.
        inside = scene.boxes[:, 2:].min(axis=1, initial=9e9) > 0
        if inside.all():
            assert not scene.image[top : top + side, left : left + side].any()
        assert scene.image[face[1] : face[1] + face[2], face[0] : face[0] + face[2]].any()


def test_faces_have_the_margin_of_the_lfw_crops_and_labels_alternate() -> None:
    scene = photograph([(70, 40, 24, 30, False)])
    crops, labels = same_photograph_windows([scene, scene], np.random.default_rng(1))
    assert crops.shape == (4, 64, 64, 3)
    assert labels.tolist() == [1, 0, 1, 0]
    assert crops.dtype == np.uint8
    assert face_window(scene.boxes[0])[2] == 30 * MARGIN
    columns = np.flatnonzero(crops[0][32, :, 0] > 128)
    rows = np.flatnonzero(crops[0][:, 32, 0] > 128)
    assert abs(len(rows) - 48) <= 2
    assert abs(len(columns) - 24 / 30 * 48) <= 2
    assert abs(rows.mean() - 31.5) <= 1
    assert not crops[1].any()


def test_a_face_is_left_out_when_small_ignored_cut_off_or_without_a_faceless_place() -> None:
    rng = np.random.default_rng(2)
    kept = (80.0, 20.0, 20.0, 20.0, False)
    assert len(window_pairs(photograph([kept]), rng, 4)) == 1
    for left_out in ((20.0, 20.0, 10.0, 10.0, False), (20.0, 60.0, 20.0, 20.0, True), (0.0, 60.0, 20.0, 20.0, False)):
        assert len(window_pairs(photograph([kept, left_out]), rng, 4)) == 1
    assert window_pairs(photograph([(30.0, 20.0, 60.0, 60.0, False)]), rng, 4) == []
    assert same_photograph_windows([], rng)[0].shape == (0, 64, 64, 3)


def test_at_most_so_many_pairs_and_the_same_for_the_same_seed() -> None:
    scene = photograph([(10.0 + 24 * column, 8.0, 16.0, 16.0, False) for column in range(4)])
    assert len(window_pairs(scene, np.random.default_rng(3), 2)) == 2
    assert len(window_pairs(scene, np.random.default_rng(3), 9)) == 4
    first, _ = same_photograph_windows([scene], np.random.default_rng(3))
    second, _ = same_photograph_windows([scene], np.random.default_rng(3))
    assert np.array_equal(first, second)


def test_a_window_that_ends_where_a_face_begins_does_not_touch_it() -> None:
    box = np.array([[20, 20, 10, 10]], np.float32)
    assert not touches(np.array([10, 20, 10]), box)
    assert touches(np.array([11, 20, 10]), box)
    assert not touches(np.array([0, 0, 200]), np.zeros((0, 4), np.float32))


def test_a_window_that_overhangs_repeats_the_edge_and_even_light_stays_as_it_is() -> None:
    image = np.full((40, 40, 3), 137, np.uint8)
    for window in ((-20, -5, 30), (5, 5, 10), (-10, -10, 80)):
        assert (cut(image, np.array(window)) == 137).all()
