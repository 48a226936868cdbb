"""Faces that are part of the room: a poster, or what looks like a face, must not count for ever."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from host.config import Config
from host.pipeline import Pipeline, in_change
from host.sensor import load_equipment


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


def test_a_room_learned_behind_another_kernel_is_learned_again():
    """A stored room belongs to the encoding id and the kernel's digest together."""
    equipment = load_equipment(Config())
    encoding = equipment.bundle.encoding

    def made(room_key: str | None) -> Pipeline:
        return Pipeline(equipment.detector, encoding, Config(), room_key)

    stored = made(None).room_state()
    assert made(None).restore(stored) == []
    assert made(encoding.id).restore(stored) == []
    assert "another encoding" in made(f"{encoding.id}:0123456789ab").restore(stored)[0]
