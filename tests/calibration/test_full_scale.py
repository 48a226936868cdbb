"""The full scale by histograms: against the exposure that sorted cells give, and against light of known scatter."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from calibration.full_scale import (
    BINS,
    HIGHEST,
    LOWEST,
    WIDTH,
    Look,
    full_scale,
    histogram,
    look_of,
    next_product_us,
    reached_by,
)
from optics.exposure import SATURATED_SHARE_TARGET, steady_exposure

THRESHOLDS = np.linspace(0.05, 0.9, 15).astype(np.float32)
TOP = float(THRESHOLDS[-1])


def scene(seed: int, cells: int = 4000) -> NDArray[np.float64]:
    """Cells of a scene at 10 ms and gain 1: a wide spread of brightnesses."""
    return 0.5 * np.random.default_rng(seed).beta(1.2, 4, cells)


def look(
    cells: NDArray[np.float64], product_us: float, exposures: int = 12, seed: int = 0, noise: float = 0.0,
    light: NDArray[np.float64] | None = None,
) -> Look:  # fmt: skip
    rng = np.random.default_rng(seed)
    factors = np.ones(exposures) if light is None else light
    values = [
        np.minimum(cells * product_us / 1e4 * factor + noise * rng.standard_normal(cells.size), 1) for factor in factors
    ]
    means = np.array([each.mean() for each in values])
    return Look(product_us, 1.0, np.stack([histogram(each) for each in values]), means)


@given(st.integers(0, 1000), st.floats(0.002, 0.3))
@settings(max_examples=40, deadline=None)
def test_without_noise_it_is_the_exposure_that_sorting_gives(seed: int, share: float) -> None:
    cells = scene(seed, 900)
    sorted_us = 1e4 * steady_exposure(cells.astype(np.float32), THRESHOLDS, share, limits=(1e-6, 1e6))
    found = full_scale(look(cells, sorted_us * 0.97), THRESHOLDS, share=share)
    assert found.product_us == pytest.approx(sorted_us, rel=1.01 * WIDTH / TOP)
    assert abs(found.product_us - sorted_us) < 2 * found.product_sigma_us


@given(st.lists(st.floats(LOWEST + 1e-9, HIGHEST - 1e-9), min_size=1, max_size=50), st.floats(0.01, 1))
@settings(max_examples=60, deadline=None)
def test_the_value_that_a_share_reaches_is_that_of_its_cell(values: list[float], share: float) -> None:
    cells = np.sort(values)[::-1]
    expected = cells[max(1, round(share * cells.size)) - 1]
    assert reached_by(histogram(cells), share) == pytest.approx(expected, abs=WIDTH / 2 * 1.001)


def test_histograms_keep_every_cell() -> None:
    counts = histogram(np.array([[-5.0, 0.0], [0.5, 99.0]]))
    assert counts.shape == (BINS,)
    assert counts.sum() == 4
    assert counts[0] == counts[-1] == 1
    with pytest.raises(ValueError, match="finite"):
        histogram(np.array([np.nan]))
    with pytest.raises(ValueError, match="one cell"):
        reached_by(np.zeros(BINS, np.int64), 0.02)


def test_shares_are_those_of_the_cells() -> None:
    cells = scene(3)
    taken = look(cells, 25_000)
    found = full_scale(taken, THRESHOLDS)
    values = np.minimum(cells * 2.5, 1)
    assert found.saturated_share == pytest.approx((values >= TOP).mean(), abs=1.5 / cells.size)
    assert found.zero_share == pytest.approx((values < THRESHOLDS[0]).mean(), abs=3 / cells.size)
    tenth = np.sort(values)[-cells.size // 10]
    assert found.headroom_percent == pytest.approx(100 * (TOP / tenth - 1), abs=0.5)


def test_the_search_arrives_from_everywhere() -> None:
    cells = scene(4)
    wanted = 1e4 * steady_exposure(cells.astype(np.float32), THRESHOLDS, limits=(1e-6, 1e6))
    for start in (1e-3, 0.1, 0.9, 1.5, 30.0, 1e4):
        product, steps = wanted * start, 0
        while abs(product / wanted - 1) > 0.02:
            product = next_product_us(look(cells, product, 2), TOP)
            steps += 1
            assert steps < 14, start


def test_darkness_asks_for_more_light_without_end() -> None:
    dark = Look(1e4, 1.0, np.stack([histogram(np.zeros(500))] * 2), np.zeros(2))
    assert next_product_us(dark, TOP) == pytest.approx(16e4)
    with pytest.raises(ValueError, match="no light"):
        full_scale(dark, THRESHOLDS)
    with pytest.raises(ValueError, match="two exposures"):
        full_scale(look(scene(1), 1e4, 1), THRESHOLDS)


def test_the_uncertainty_is_what_noise_and_unsteady_light_make() -> None:
    """Pulls over 200 runs: a spread of 1 within sampling, whether the noise or the light between looks decides."""
    cells = scene(5)
    # What this noise makes of the mean answer is found from many exposures.
    middle = full_scale(look(cells, 24_000, 600, 1, 0.01), THRESHOLDS).product_us
    for light_scatter in (0.0, 0.005):
        pulls = []
        for seed in range(200):
            rng = np.random.default_rng([seed, 9])
            looks = []
            for number in range(9):
                light = np.full(12 if number == 0 else 4, 1 + light_scatter * rng.standard_normal())
                looks.append(look(cells, 24_000, light.size, 1000 * seed + number, 0.01, light))
            found = full_scale(looks[0], THRESHOLDS, looks[1:])
            pulls.append((found.product_us - middle) / found.product_sigma_us)
        # Where the noise decides, exposures' own scatter of the mean counts as light: a little too careful.
        assert 0.7 < np.std(pulls) < 1.15, light_scatter
        assert abs(np.mean(pulls)) < 0.3
        assert np.mean(np.abs(pulls) <= 2) > 0.9


def test_another_view_differs_by_its_own_cells() -> None:
    """Other cells drawn from the same brightnesses scatter as `other_view_percent` says."""
    answers, said = [], []
    for seed in range(150):
        found = full_scale(look(scene(100 + seed), 24_000, 2), THRESHOLDS)
        answers.append(found.product_us)
        said.append(found.other_view_percent)
    assert 100 * np.std(answers) / np.mean(answers) == pytest.approx(np.mean(said), rel=0.25)


def test_flicker_is_reported_as_what_it_is() -> None:
    light = 1 + 0.1 * np.sin(np.arange(24))
    found = full_scale(look(scene(6), 24_000, 24, light=light), THRESHOLDS)
    assert found.light_change_percent == pytest.approx(100 * light.std(ddof=1) / light.mean(), rel=0.06)
    low, high = found.saturated_range
    assert low <= found.saturated_share <= high
    assert high > low


def test_a_look_is_read_from_its_arrays_and_nothing_else() -> None:
    taken = look(scene(7), 1e4, 3)
    arrays = {"exposure_us": np.array(1e4), "gain": np.array(1.0), "counts": taken.counts, "means": taken.means}
    again = look_of(arrays)
    assert (again.product_us, again.cells) == (taken.product_us, 4000)
    with pytest.raises(ValueError, match="counts"):
        look_of({**arrays, "means": np.zeros(2)})


def test_the_target_share_is_the_one_that_models_are_trained_at() -> None:
    cells = scene(8)
    found = full_scale(look(cells, 20_000, 2), THRESHOLDS)
    at_answer = np.minimum(cells * found.product_us / 1e4, 1)
    assert (at_answer >= TOP * (1 - WIDTH)).mean() == pytest.approx(SATURATED_SHARE_TARGET, abs=2 / cells.size)
