"""Wrong set-ups by their consequences alone; the whole chain with faults of a bench is in tests/host/calibrate."""

import numpy as np
import pytest
from numpy.typing import NDArray

from calibration.point_source_setup import (
    ambient_fault,
    colours_differ,
    cover_is_on,
    covered,
    creep_px,
    moves,
    near_edge,
    wander_px,
)

Floats = NDArray[np.float64]
SCALES = np.tile(np.repeat([10_000.0, 40_000.0, 160_000.0], 8), 3)


def rates(level: float = 0.01, seed: int = 0) -> Floats:
    """A steady room: the means of frames, noisy by some hundredths of a digital number."""
    return np.asarray(level + np.random.default_rng(seed).normal(0, 0.02, SCALES.size) / SCALES)


@pytest.mark.parametrize("level", [1e-5, 1e-3, 0.02])
@pytest.mark.parametrize("drift", [-0.2, 0.0, 0.2])
def test_a_room_that_is_steady_or_drifts_slowly_is_right(level: float, drift: float) -> None:
    for seed in range(20):
        slow = rates(level, seed) + drift * level * np.linspace(0, 1, SCALES.size)
        assert ambient_fault(slow, SCALES, 0.01) is None


def test_a_lamp_that_is_switched_is_told_from_one_that_flickers() -> None:
    for seed in range(20):
        rng = np.random.default_rng(seed)
        at = int(rng.integers(4, SCALES.size - 4))
        switched = rates(seed=seed) * np.where(np.arange(SCALES.size) < at, 1, rng.uniform(2, 8))
        assert ambient_fault(switched, SCALES, 0.01) == "ambient_changed"
        flickering = rates(seed=seed) * (1 + 0.3 * np.sin(rng.uniform(0, 2 * np.pi, SCALES.size)))
        assert ambient_fault(flickering, SCALES, 0.01) == "ambient_flicker"


def test_a_flicker_too_faint_to_matter_is_no_fault() -> None:
    faint = rates(1e-5) * (1 + 0.3 * np.sin(np.arange(SCALES.size) * 2.0))
    assert ambient_fault(faint, SCALES, 1.0) is None


def test_a_covered_sensor_is_told_from_a_dark_room() -> None:
    dark = np.array([1e-5, 1e-5])
    scales = np.array([10_000.0, 200_000.0])
    noise = np.random.default_rng(1).normal(0, 0.02, SCALES.size) / SCALES
    assert cover_is_on(1e-5 + noise, SCALES, dark, scales)
    assert not cover_is_on(3e-5 + noise, SCALES, dark, scales)


def test_current_fills_the_sites_of_a_quad_alike_and_light_does_not() -> None:
    noise = np.random.default_rng(3).normal(0, 2, (2, 128, 160))
    black = np.tile([[64.0, 65.0], [63.5, 64.5]], (64, 80))  # each site has a black level of its own
    tint = np.tile([[0.6, 1.0], [1.0, 0.7]], (64, 80))
    assert colours_differ(black + noise[0], black + 40 + noise[1]) < 0.01
    assert colours_differ(black + noise[0], black + 40 * tint + noise[1]) == pytest.approx(0.4 / 0.825, abs=0.01)
    # Half of it light is still seen, and nothing at all is no colour.
    assert colours_differ(black + noise[0], black + 20 + 20 * tint + noise[1]) > 0.1
    assert colours_differ(black, black) == 0


@pytest.mark.parametrize(
    ("share", "coloured", "dark"),
    [(0.005, 0.5, True), (0.13, 0.001, True), (0.13, 0.1, False), (0.5, 0.0, False), (1.0, 0.0, False)],
)
def test_what_is_dark(share: float, coloured: float, dark: bool) -> None:
    assert covered(64 + share * 959, 64, 1023, coloured) == dark


def test_a_swaying_source_moves_and_a_noisy_one_does_not() -> None:
    rng = np.random.default_rng(2)
    sigma = np.full((3, 2), 0.05)
    still = rng.normal(0, 0.05, (3, 16, 2))
    assert not moves(still, sigma)
    assert not moves(rng.normal(0, 0.5, (3, 16, 2)), np.full((3, 2), 0.5))
    swaying = still + 0.8 * np.sin(np.arange(48)).reshape(3, 16, 1)
    assert moves(swaying, sigma)
    # Between exposures, too, not only within one.
    assert moves(still + np.array([0.0, 0.5, 1.0])[:, np.newaxis, np.newaxis], sigma)
    # Slowly, too: a tripod that settles by less than any frame shows.
    settling = rng.normal(0, 0.05, (3, 16, 2)) + np.linspace(0, 0.3, 16)[np.newaxis, :, np.newaxis]
    assert wander_px(settling, sigma)[0] < 0.2
    assert creep_px(settling, sigma)[0] == pytest.approx(0.16 * np.sqrt(2), abs=0.06)
    assert moves(settling, sigma)
    # One bump is refused elsewhere, and is no motion.
    bumped = still.copy()
    bumped[1, 4] = 5.0
    assert not moves(bumped, sigma)
    assert wander_px(still, np.full((3, 2), np.inf)) == (0.0, np.inf)


def test_the_edge_is_near_where_part_of_the_psf_is_lost() -> None:
    assert near_edge([(5.0, 50.0)], (100, 100), 31)
    assert near_edge([(50.0, 95.0)], (100, 100), 31)
    assert not near_edge([(20.0, 79.0)], (100, 100), 31)
