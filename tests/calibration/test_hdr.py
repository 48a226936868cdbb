"""Merging a bracket: linear, unbiased, as certain as it says, and never deceived by saturation."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from calibration.hdr import BracketPart, merge

Floats = NDArray[np.float64]


def part(
    difference: Floats,
    exposure_us: float = 1000.0,
    frames: int = 16,
    dark: float = 4.0,
    slope: float = 0.4,
    gain: float = 1.0,
    saturated: NDArray[np.bool_] | None = None,
) -> BracketPart:
    full = np.zeros(difference.shape, dtype=bool) if saturated is None else saturated
    return BracketPart(difference, full, frames, frames, dark, slope, exposure_us, gain)


@given(st.floats(1e-4, 1.0), st.lists(st.floats(10, 1e5), min_size=1, max_size=4), st.floats(1, 16))
def test_noiseless_exposures_of_one_light_give_that_light(rate: float, exposures: list[float], gain: float) -> None:
    parts = [part(np.full((2, 2), rate * us * gain), us, gain=gain) for us in exposures]
    assert merge(parts).rate == pytest.approx(np.full((2, 2), rate), rel=1e-9)


@settings(deadline=None)
@given(st.integers(0, 1000))
def test_the_merged_value_lies_between_its_parts_and_is_surer_than_any(seed: int) -> None:
    rng = np.random.default_rng(seed)
    parts = [part(rng.uniform(0, 1000, 5) * scale, 1000 * scale) for scale in (1.0, 4.0, 16.0)]
    merged = merge(parts)
    rates = np.stack([each.difference_dn / each.scale_us for each in parts])
    assert (merged.rate >= rates.min(axis=0) - 1e-12).all()
    assert (merged.rate <= rates.max(axis=0) + 1e-12).all()
    for each in parts:
        own = np.sqrt(each.variance_dn2(merged.rate * each.scale_us)) / each.scale_us
        assert (merged.sigma <= own * (1 + 1e-9)).all()


def test_saturated_samples_say_nothing() -> None:
    short = part(np.array([100.0, 100.0]), 1000)
    long = part(np.array([4095.0, 1600.0]), 16000, saturated=np.array([True, False]))
    merged = merge([short, long])
    assert merged.rate[0] == pytest.approx(0.1)
    assert list(merged.used) == [1, 2]
    assert not merged.clipped.any()


def test_what_saturates_everywhere_is_flagged_and_told_by_the_shortest_exposure() -> None:
    always = np.array([True])
    merged = merge([part(np.array([4000.0]), 4000, saturated=always), part(np.array([3900.0]), 1000, saturated=always)])
    assert merged.clipped.all()
    assert np.isinf(merged.sigma).all()
    assert merged.rate[0] == pytest.approx(3.9)
    assert merged.used[0] == 0


def test_spread_over_many_brackets_is_the_stated_sigma_and_the_mean_is_the_light() -> None:
    """Poisson electrons and normal read noise, 4,000 sites of each brightness: no bias from the weights."""
    rng = np.random.default_rng(5)
    electrons_per_us = np.repeat([0.002, 0.05, 0.5], 4000)
    dn_per_electron, read, frames = 0.4, 3.0, 16
    parts = []
    for us in (1000.0, 4000.0, 16000.0):
        lit = rng.poisson(electrons_per_us * us * frames) / frames
        noise = rng.normal(0, read / np.sqrt(frames), (2, electrons_per_us.size))
        saturated = lit * dn_per_electron > 2500
        difference = dn_per_electron * (lit + noise[0] - noise[1])
        dark = (dn_per_electron * read) ** 2
        parts.append(part(difference, us, frames, dark, dn_per_electron, saturated=saturated))
    merged = merge(parts)
    error = merged.rate - dn_per_electron * electrons_per_us
    for which in range(3):
        chosen = slice(4000 * which, 4000 * (which + 1))
        # Standard errors of 4,000 values: 1.1 % of a spread, 0.016 sigma of a mean; four of them are allowed.
        assert error[chosen].std() == pytest.approx(float(merged.sigma[chosen].mean()), rel=0.045)
        assert abs((error[chosen] / merged.sigma[chosen]).mean()) < 0.065


def test_rounding_without_noise_is_counted_as_doubt() -> None:
    quiet, noisy = part(np.zeros(1), dark=1 / 12 + 0.01), part(np.zeros(1), dark=1 / 12 + 1.0)
    # 1 / pi^2 at no noise at all; nothing with a digital number of noise.
    assert float(quiet.variance_dn2(np.zeros(1))[0]) > 0.05
    assert float(noisy.variance_dn2(np.zeros(1))[0]) == pytest.approx(2 * (1 / 12 + 1) / 16, rel=1e-3)


def test_what_cannot_be_merged_is_refused() -> None:
    with pytest.raises(ValueError, match="one shape"):
        merge([part(np.zeros(2)), part(np.zeros(3))])
    with pytest.raises(ValueError, match="one shape"):
        merge([])
    with pytest.raises(ValueError, match="above 0"):
        merge([part(np.zeros(2), 0.0)])
