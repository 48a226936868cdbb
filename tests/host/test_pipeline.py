"""Faces that are part of the room: a poster, or what looks like a face, must not count for ever."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from host.pipeline import in_change


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ((80, 80, 40, 40), True),  # in the middle of what changed
        ((400, 300, 40, 40), False),  # on the wall
        ((64, 64, 80, 80), True),  # a good third of it changed
        ((0, 0, 100, 100), False),  # less than a tenth of it changed
        ((-50, -50, 20, 20), False),  # outside of the picture
    ],
)
def test_a_face_counts_where_something_changed(box, expected):
    changed = np.zeros((60, 80), dtype=bool)
    changed[10:16, 10:16] = True
    assert in_change(np.array([box], np.float32), changed, 8).tolist() == [expected]


@given(st.lists(st.tuples(*[st.floats(-2000, 2000)] * 4), max_size=5), st.booleans())
def test_any_boxes(boxes, value):
    found = in_change(np.array(boxes, np.float32).reshape(-1, 4), np.full((60, 80), value), 8)
    assert found.shape == (len(boxes),)
    assert not found.any() or value
