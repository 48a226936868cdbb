"""Placement on the plane, and scenes made for training."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.detector.archives import Photograph
from models.detector.augment import Material, contact_sheet, random_scene
from models.detector.scenes import Scene, fitted, linear_to_srgb, place, plain_image, srgb_to_linear


def photograph(height: int, width: int, *boxes: tuple[float, float, float, float]) -> Photograph:
    """Black, with a white rectangle where each face is."""
    image = np.zeros((height, width, 3), np.uint8)
    for x, y, box_width, box_height in boxes:
        image[int(y) : int(y + box_height), int(x) : int(x + box_width)] = 255
    return Photograph("test", image, np.array(boxes, np.float32).reshape(-1, 4), np.zeros(len(boxes), np.bool_))


def bright_part(scene: Scene) -> tuple[float, float, float, float]:
    rows, columns = np.nonzero(scene.radiance[:, :, 1] > 0.5)
    return columns.min(), rows.min(), columns.max() - columns.min() + 1, rows.max() - rows.min() + 1


def test_srgb_there_and_back() -> None:
    values = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(linear_to_srgb(srgb_to_linear(values)), values)


@pytest.mark.parametrize(("height", "width"), [(320, 480), (480, 320), (432, 768), (270, 480)])
def test_fitted_boxes_lie_where_the_faces_are(height: int, width: int) -> None:
    scene = fitted(photograph(height, width, (60, 50, 40, 60)))
    assert scene.radiance.shape == (480, 640, 3)
    np.testing.assert_allclose(scene.boxes[0], bright_part(scene), atol=2.0)


@given(scale=st.floats(0.5, 4), left=st.floats(-300, 300), top=st.floats(-300, 300))
@settings(max_examples=40, deadline=None)
def test_placed_boxes_lie_where_the_faces_are(scale: float, left: float, top: float) -> None:
    scene = place(photograph(300, 400, (150, 120, 60, 80)), scale, left, top)
    if len(scene.boxes) and not scene.ignore[0]:
        np.testing.assert_allclose(scene.boxes[0], bright_part(scene), atol=2 + scale)


def test_a_face_that_is_mostly_outside_is_ignored() -> None:
    scene = place(photograph(300, 400, (0, 100, 50, 50)), 1.0, -30, 0)
    assert scene.ignore.tolist() == [True]
    assert scene.boxes[0].tolist() == [0, 100, 20, 50]


def test_a_tiny_face_is_ignored() -> None:
    assert fitted(photograph(480, 640, (100, 100, 8, 9))).ignore.tolist() == [True]


def test_plain_image_is_the_mean_of_light() -> None:
    scene = np.zeros((480, 640, 3), np.float32)
    scene[:4, :8] = 1.0
    plain = plain_image(scene)
    assert plain.shape == (60, 80, 3)
    assert plain[0, 0].tolist() == [188, 188, 188]
    assert plain[1:].max() == 0


def test_random_scenes_are_valid_light_with_boxes_inside_and_repeat_with_their_seed() -> None:
    rng = np.random.default_rng(5)
    crops = rng.integers(0, 256, (6, 64, 64, 3), np.uint8)
    source = Material([photograph(300, 400, (150, 120, 40, 50), (20, 30, 30, 30))], crops[:3], crops[3:])
    scenes = [random_scene(source, np.random.default_rng(seed)) for seed in range(25)]
    for scene in scenes:
        assert scene.radiance.dtype == np.float32
        assert scene.radiance.min() >= 0
        assert scene.radiance.max() <= 1
        assert (scene.boxes[:, :2] >= 0).all()
        assert (scene.boxes[:, :2] + scene.boxes[:, 2:] <= np.array([640, 480])).all()
        assert scene.boxes.shape == (len(scene.ignore), 4)
    assert sum(len(scene.boxes) for scene in scenes) > 20
    again = random_scene(source, np.random.default_rng(3))
    np.testing.assert_array_equal(again.radiance, scenes[3].radiance)
    assert contact_sheet(scenes[:3]).shape == (240, 960, 3)
