"""The built-in scene: what it shows, that its truth is true, and that it is the same every time."""

import numpy as np
import pytest

from host.twin import demo
from host.twin.frame import SceneError


@pytest.fixture(scope="module")
def truth() -> demo.DemoTruth:
    return demo.demo_truth()


def test_truth_has_one_entry_a_frame(truth: demo.DemoTruth) -> None:
    assert truth.frame.tolist() == list(range(demo.FRAMES))
    assert truth.people.shape == truth.uncertain.shape == (demo.FRAMES,)
    assert 40 <= demo.FRAMES / demo.FPS <= 60


def test_it_begins_and_ends_empty_with_one_and_two_people_between(truth: demo.DemoTruth) -> None:
    empty_s = np.flatnonzero(truth.people + truth.uncertain)[0] / demo.FPS
    assert 4 <= empty_s <= 6
    assert truth.people[-1] == 0
    assert not truth.uncertain[-1]
    certain = truth.people[~truth.uncertain]
    assert (np.bincount(certain) >= 80).all()
    assert certain.max() == 2
    assert truth.uncertain.mean() < 0.2


def test_every_certain_change_of_the_count_lies_beside_an_uncertain_frame(truth: demo.DemoTruth) -> None:
    for change in np.flatnonzero(np.diff(truth.people)):
        assert truth.uncertain[max(0, change - 1) : change + 3].any()


def test_truth_counts_the_faces_that_are_there(truth: demo.DemoTruth) -> None:
    for index in range(0, demo.FRAMES, 7):
        faces = demo.demo_faces(index)
        assert len(faces) == truth.people[index]
        for x, y, width, height in faces:
            assert x >= 0
            assert y >= 0
            assert x + width <= demo.COLUMNS_PX
            assert y + height <= demo.COUNTER_TOP_PX
            assert 30 <= height <= 90


def test_people_are_drawn_where_the_truth_says(truth: demo.DemoTruth) -> None:
    empty = demo.demo_radiance(0) / demo._daylight(0)
    for index in (100, 200, 360, 460):
        light = demo.demo_radiance(index) / demo._daylight(index / demo.FPS)
        changed = np.abs(light - empty).max(axis=2) > 0.02
        faces = demo.demo_faces(index)
        assert len(faces) == truth.people[index]
        for x, y, width, height in faces:
            assert changed[int(y) : int(y + height), int(x) : int(x + width)].mean() > 0.85
    assert np.abs(demo.demo_radiance(420) / demo._daylight(42.0) - empty).max() < 1e-6


def test_frames_are_light_and_always_the_same() -> None:
    for index in (0, 150, 290, 499):
        light = demo.demo_radiance(index)
        assert light.shape == (480, 640, 3)
        assert light.dtype == np.float32
        assert light.min() >= 0
        assert light.max() <= 1.1
        np.testing.assert_array_equal(light, demo.demo_radiance(index))


def test_drawing_leaves_the_stored_room_alone() -> None:
    before = demo.demo_radiance(0).copy()
    demo.demo_radiance(200)
    np.testing.assert_array_equal(demo.demo_radiance(0), before)


def test_light_drifts_by_a_few_per_cent() -> None:
    levels = [demo.demo_radiance(index)[400:].mean() for index in range(0, demo.FRAMES, 20)]
    assert 1.03 < max(levels) / min(levels) < 1.25


def test_a_missing_photograph_is_named() -> None:
    with pytest.raises(SceneError, match=r"data/none.png from the package skimage: install skimage again"):
        demo._photograph("skimage", "data/none.png")
    with pytest.raises(SceneError, match="no_such_package"):
        demo._photograph("no_such_package", "x.png")
