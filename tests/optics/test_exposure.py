"""The exposure that an encoding settles at: the wanted share of cells reads the highest code, whatever the light."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from optics.encoding import quantize
from optics.exposure import HIGHEST_EXPOSURE, LOWEST_EXPOSURE, SATURATED_SHARE_TARGET, steady_exposure

LEVELS = np.linspace(0.05, 0.9, 15, dtype=np.float32)


@given(st.integers(0, 2**32), st.floats(0.02, 5), st.integers(1, 20_000))
def test_the_target_share_reads_the_highest_code(seed: int, brightness: float, count: int) -> None:
    cells = (np.random.default_rng(seed).random(count) * brightness).astype(np.float32)
    factor = steady_exposure(cells, LEVELS)
    if LOWEST_EXPOSURE < factor < HIGHEST_EXPOSURE:
        highest = np.count_nonzero(quantize(cells * np.float32(factor), LEVELS) == 15)
        wanted = max(1, round(SATURATED_SHARE_TARGET * count))
        assert wanted <= highest <= wanted + 2  # neighbours that float32 cannot tell apart


def test_twice_the_light_needs_half_the_exposure() -> None:
    cells = np.random.default_rng(1).random((60, 80, 3), dtype=np.float32)
    assert steady_exposure(2 * cells, LEVELS) == pytest.approx(steady_exposure(cells, LEVELS) / 2)


def test_limits_hold_in_the_dark_and_in_glare() -> None:
    assert steady_exposure(np.zeros((6, 8, 3), dtype=np.float32), LEVELS) == HIGHEST_EXPOSURE
    assert steady_exposure(np.full((6, 8, 3), 1e6, dtype=np.float32), LEVELS) == LOWEST_EXPOSURE
    assert steady_exposure(np.full(3, 0.9, dtype=np.float32), LEVELS, limits=(0.5, 0.75)) == 0.75


@pytest.mark.parametrize(
    ("cells", "share", "limits", "message"),
    [
        (np.zeros(0, dtype=np.float32), 0.02, (0.1, 1), "at least one cell"),
        (np.float32([np.nan]), 0.02, (0.1, 1), "finite"),
        (np.ones(3, dtype=np.float32), 0, (0.1, 1), "share"),
        (np.ones(3, dtype=np.float32), 0.02, (2, 1), "limits"),
    ],
)
def test_what_cannot_be_steered_is_refused(
    cells: np.ndarray, share: float, limits: tuple[float, float], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        steady_exposure(cells, LEVELS, share, limits)
