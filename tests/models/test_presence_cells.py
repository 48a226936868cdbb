"""Presence in cells other than 8 px: whoever walks in is seen, an empty room stays empty, light is no person."""

import cv2
import numpy as np
import pytest

from models.presence import PresenceConfig, PresenceModel
from models.presence.grid import divided, parts_of_a_cell, settings_for
from tests.models.test_presence import EIGHT, ROOM_LIGHTS, Camera, Cells, Watch, made_up_room, share, with_person

FIVE = np.repeat(np.array([0.05, 0.15, 0.4, 0.9], np.float32), [4, 4, 4, 3])
BLUR_PX = 16


def coarse(scene: Cells, pool: int) -> Cells:
    """A scene of 60 x 80 cells of 8 px behind a wide blur, as the largest value in cells of `pool` px."""
    soft = cv2.GaussianBlur(scene, (0, 0), BLUR_PX / 8, borderType=cv2.BORDER_REPLICATE)
    rows, columns = (side * 8 // pool for side in soft.shape[:2])
    step = pool // 8
    return np.asarray(soft.reshape(rows, step, columns, step, 3).max(axis=(1, 3)), np.float32)


def watch(pool: int, ladder: Cells = FIVE, fps: float = 5) -> Watch:
    return Watch(Camera(ladder), PresenceModel(ladder, pool=pool), fps)


@pytest.mark.parametrize("ladder", [FIVE, EIGHT], ids=["5 levels", "8 levels"])
@pytest.mark.parametrize("pool", [16, 32])
@pytest.mark.parametrize("seed", [4, 5])
def test_someone_who_walks_in_stands_and_leaves(pool: int, ladder: Cells, seed: int) -> None:
    room = made_up_room(np.random.default_rng(seed))
    sensor = watch(pool, ladder)
    assert share(sensor.see(coarse(room, pool), 6)) == 0
    for x in np.linspace(-8, 40, 10):
        sensor.see(coarse(with_person(room, float(x)), pool), 0.2)
    assert share(sensor.see(coarse(with_person(room, 40), pool), 30)) == 1
    for x in np.linspace(40, 90, 10):
        sensor.see(coarse(with_person(room, float(x)), pool), 0.2)
    assert share(sensor.see(coarse(room, pool), 20)[5:]) == 0


@pytest.mark.parametrize("light", [name for name in ROOM_LIGHTS if name != "one side"])
def test_light_fakes_nobody_in_large_cells(light: str) -> None:
    room = coarse(made_up_room(np.random.default_rng(4)), 32)
    sensor = watch(32, fps=10)
    sensor.see(room, 4)
    assert share(sensor.see(room, 25, ROOM_LIGHTS[light])) == 0


def test_a_cell_is_divided_into_equal_parts_of_at_most_16_px() -> None:
    assert [parts_of_a_cell(pool) for pool in (4, 8, 16, 17, 32, 64)] == [1, 1, 1, 2, 2, 4]
    codes = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3) % 16
    parts = divided(codes, 2)
    assert parts.shape == (4, 6, 3)
    for row in range(4):
        for column in range(6):
            assert np.array_equal(parts[row, column], codes[row // 2, column // 2])
    assert divided(codes, 1) is codes


def test_what_is_enough_falls_with_the_side_of_a_cell_and_stays_as_it_is_at_8_px_and_below() -> None:
    plain = PresenceConfig()
    assert settings_for(plain, 8) == plain
    assert settings_for(plain, 4) == plain
    large = settings_for(plain, 16)
    assert (large.present_score, large.absent_score, large.least_cells) == (4, 2, 3)
    assert large.absorb_s == plain.absorb_s


def test_a_stored_room_of_divided_cells_comes_back() -> None:
    room = coarse(made_up_room(np.random.default_rng(4)), 32)
    sensor = watch(32)
    sensor.see(room, 6)
    again = PresenceModel(FIVE, pool=32)
    again.load(sensor.model.to_bytes())
    assert again.room is not None
    assert again.room.low.shape == (30, 40, 3)
    assert again.cell_px == 16
    sensor.model = again
    person = with_person(made_up_room(np.random.default_rng(4)), 40)
    assert sensor.see(coarse(person, 32), 3)[-1].present
