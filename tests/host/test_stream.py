"""Where a measurement stands among those before it: replays are seen, new scenes are new, nothing else is dropped."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from host.stream import Place, Position, follow, next_stream, position_from_bytes, position_to_bytes


@given(st.lists(st.integers(0, 50), max_size=40))
def test_within_one_start_of_the_board_no_frame_counts_twice(frames):
    position, counted = Position(), []
    for frame in frames:
        place, position = follow(position, 7, frame, same_scene=False)
        if place is not Place.SEEN:
            counted.append(frame)
    assert counted == sorted(set(counted))
    assert not frames or counted[-1] == max(frames)
    assert position.stream == 0


@pytest.mark.parametrize(
    ("boot_id", "frame", "same_scene", "place", "stream"),
    [
        (7, 101, False, Place.NEXT, 0),
        (7, 100, False, Place.SEEN, 0),
        (8, 101, False, Place.NEXT, 0),  # the board restarted between two frames
        (8, 100, False, Place.SEEN, 0),  # and was given the frame again that it had not reported
        (8, 0, False, Place.NEW_STREAM, 1),  # a camera whose counter began anew
        (8, 90, True, Place.SEEN, 0),  # our own twin goes back on request only
        (7, 0, False, Place.SEEN, 0),
    ],
)
def test_place(boot_id, frame, same_scene, place, stream):
    found, after = follow(Position(0, 7, 100), boot_id, frame, same_scene)
    assert (found, after.stream) == (place, stream)
    assert after.frame == (100 if place is Place.SEEN else frame)


def test_the_frame_counter_wraps():
    place, after = follow(Position(3, 7, 2**32 - 1), 7, 0, same_scene=False)
    assert (place, after) == (Place.NEXT, Position(3, 7, 0))


def test_a_scene_that_was_just_started_is_another_stream():
    assert next_stream(Position(2, 7, 10)) == Position(3)
    assert next_stream(Position(2)) == Position(2)


@given(st.builds(Position, st.integers(0, 9), st.integers(0, 2**32 - 1), st.integers(-1, 2**32 - 1)))
def test_stored_and_read_again(position):
    assert position_from_bytes(position_to_bytes(position)) == position


@given(st.binary(max_size=40))
def test_garbage_is_the_beginning(data):
    assert isinstance(position_from_bytes(data), Position)
    assert position_from_bytes(None) == Position()
