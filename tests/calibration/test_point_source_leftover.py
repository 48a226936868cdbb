"""A second copy, growth along one axis and light in doubt, from pictures that are written down as formulas."""

import numpy as np
import pytest
from numpy.typing import NDArray

from calibration.point_source import Light, light_above_rim, point_spread
from calibration.point_source_leftover import Leftover, leftover
from calibration.point_source_setup import second_source

Floats = NDArray[np.float64]
SIDE, REGION, WIDTH = 25, 51, 1.6
NOISE = 2e-4


def spot(side: int, row: float = 0.0, column: float = 0.0, tall: float = 1.0) -> Floats:
    """A Gaussian of unit peak, (3, side, side), so far from pixel n // 2; `tall` times as long along the rows."""
    away = np.arange(side) - side // 2
    plane = np.exp(-(((away[:, np.newaxis] - row) / tall) ** 2 + (away - column) ** 2) / (2 * WIDTH**2))
    return np.repeat(plane[np.newaxis], 3, axis=0)


def left_of(planes: Floats, seed: int = 0) -> Leftover:
    noise = np.full(planes.shape, NOISE)
    noisy = planes + np.random.default_rng(seed).normal(0, NOISE, planes.shape)
    light: Light = light_above_rim(noisy, noise, np.full(3, 0.1))
    designed = spot(SIDE)
    found = leftover(light, point_spread(light, designed), designed)
    assert found is not None
    return found


@pytest.mark.parametrize("share", [0.005, 0.05, 0.5])
@pytest.mark.parametrize("away", [(7, -3), (4, 3)])
def test_a_copy_is_found_with_its_share_and_place(share: float, away: tuple[int, int]) -> None:
    found = left_of(spot(REGION, 0.3, -0.2) + share * spot(REGION, 0.3 + away[0], -0.2 + away[1]))
    copy = second_source(found)
    assert copy is not None
    assert np.hypot(copy.away_px[0] - away[0], copy.away_px[1] - away[1]) <= 1.5
    assert copy.share == pytest.approx(share, rel=0.15)


def test_without_a_copy_none_is_named_and_nothing_is_in_doubt() -> None:
    for seed in range(6):
        found = left_of(spot(REGION, 0.3, -0.2), seed)
        assert second_source(found) is None
        assert not found.in_doubt.any()
        assert 0 < found.limit < 0.05
        assert found.growth < 4 * found.growth_sigma
        assert np.abs(found.haze).max() < 0.01


def test_growth_along_one_axis_is_told_from_growth_along_both() -> None:
    assert left_of(spot(REGION, tall=1.05)).growth == pytest.approx(0.05, rel=0.3)
    away = np.arange(REGION) - REGION // 2
    both = np.exp(-(away[:, np.newaxis] ** 2 + away**2) / (2 * (1.05 * WIDTH) ** 2))
    assert left_of(np.repeat(both[np.newaxis], 3, axis=0)).growth < 0.005


def test_light_of_another_shape_is_no_copy_and_is_in_doubt() -> None:
    ring = np.hypot(*np.meshgrid(*[np.arange(REGION) - REGION // 2] * 2, indexing="ij"))
    foreign = np.repeat((0.02 * np.exp(-((ring - 14) ** 2) / 2))[np.newaxis], 3, axis=0)
    found = left_of(spot(REGION) + foreign)
    assert second_source(found) is None
    assert np.abs(found.in_doubt).sum() > 0.5 * foreign.sum()
