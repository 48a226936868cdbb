"""Quantizer, trims, drift and the ladder, against arithmetic that can be done by hand and against simulated boards."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import binomtest

from calibration.comparators import Ramps, Transitions, chance_high, fit_transitions
from calibration.comparators_drift import Drift, find_drift
from calibration.comparators_ladder import judge_ladder
from calibration.comparators_quantizer import quantizer
from calibration.comparators_trim import find_trims, residual_limit

LSB = 2.5 / 65535
QUIET = np.full(15, 1e-6)


def test_an_even_quantizer_has_the_inl_and_dnl_of_the_textbook() -> None:
    wanted = np.arange(1, 16) * 0.1
    off = np.zeros(15)
    off[4], off[9] = 0.03, -0.02
    made = quantizer(wanted + off, wanted, QUIET, LSB)
    assert made.inl_volts == pytest.approx(off)
    expected = np.zeros(14)
    expected[[3, 4, 8, 9]] = 0.3, -0.3, -0.2, 0.2  # codes 4, 5, 9, 10: one step wider, its neighbour narrower
    assert made.dnl_relative == pytest.approx(expected)
    assert made.dnl_volts == pytest.approx(expected * 0.1)
    assert (made.missing, made.unwanted) == ((), ())
    assert made.effective_levels == made.wanted_effective_levels == 16


def test_codes_that_vanish_are_told_apart_from_those_the_encoding_made_empty() -> None:
    wanted = np.array([0.2, 0.2, 0.5, 0.8, 0.8] + [1.0 + 0.1 * i for i in range(10)])
    found = wanted.copy()
    found[2] = found[3] + 0.001  # comparator 2 has crossed 3: code 3 lies between 0.2 and 0.8, then 4 and 5 bunch up
    found[1] += 0.004  # equal thresholds that are not: code 1 now occurs
    made = quantizer(found, wanted, QUIET, LSB)
    assert made.missing == (3,)
    assert made.unwanted == (1, 4)
    assert np.isnan(made.dnl_relative[[0, 3]]).all()
    assert made.wanted_effective_levels == 14


def test_what_noise_hides_is_no_level() -> None:
    wanted = np.linspace(0.1, 2.4, 15)
    found = wanted.copy()
    found[1] = found[0] + 0.003
    assert quantizer(found, wanted, QUIET, LSB).effective_levels == 16
    assert quantizer(found, wanted, np.full(15, 0.002), LSB).effective_levels == 15


def test_a_quantizer_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="numbers"):
        quantizer(np.full(15, np.nan), np.zeros(15), QUIET, LSB)
    with pytest.raises(ValueError, match="n >= 2"):
        quantizer(np.zeros(15), np.zeros(14), QUIET, LSB)


@given(
    codes=st.lists(st.integers(0, 65535), min_size=15, max_size=15).map(sorted),
    offsets=st.lists(st.floats(-0.2, 0.2), min_size=15, max_size=15),
    gain=st.floats(0.8, 1.2),
    largest=st.integers(0, 4000),
)
def test_trims_stay_within_the_dac_and_their_limit_and_leave_half_a_code(
    codes: list[int], offsets: list[float], gain: float, largest: int
) -> None:
    wanted = np.array(codes) * LSB
    found = wanted + np.array(offsets)
    made = find_trims(found, wanted, codes, LSB, gain=gain, largest=largest, full_scale=65535)
    written = np.array(codes) + made.trims
    assert (np.abs(made.trims) <= largest).all()
    assert (written >= 0).all()
    assert (written <= 65535).all()
    free = np.array([reason == "" for reason in made.clamped])
    residual = np.abs(made.expected_volts - wanted)
    assert (residual[free] <= 0.5000001 * gain * LSB + 1e-15).all()
    assert (residual[~free] <= np.abs(found - wanted)[~free] + 1e-15).all()
    for i, reason in enumerate(made.clamped):
        assert reason != "trim_limit" or abs(int(made.trims[i])) == largest
        assert reason != "dac_end" or written[i] in (0, 65535)


def test_trims_name_why_they_are_clamped_and_leave_alone_what_was_not_found() -> None:
    codes = np.array([10, 1000, 65530, 20000])
    wanted = codes * LSB
    found = wanted + np.array([100, 900, -100, np.nan]) * LSB
    made = find_trims(found, wanted, codes, LSB, largest=500, full_scale=65535)
    assert made.trims.tolist() == [-10, -500, 5, 0]
    assert made.clamped == ("dac_end", "trim_limit", "dac_end", "")


def test_what_remains_after_trimming_spreads_as_the_physical_limit_says() -> None:
    rng = np.random.default_rng(4)
    n, u = 4000, 20e-6
    codes = rng.integers(1000, 60000, n)
    truth = codes * LSB + rng.normal(0, 3e-3, n)
    trims = find_trims(truth + rng.normal(0, u, n), codes * LSB, codes, LSB, largest=4000, full_scale=65535).trims
    remains = truth + trims * LSB - codes * LSB
    assert remains.std() == pytest.approx(residual_limit(u, LSB).item(), rel=0.04)
    again = remains + rng.normal(0, u, n)
    assert again.std() == pytest.approx(residual_limit(u, LSB, again_sigma_volts=u).item(), rel=0.04)


# Drift


def short_ramps(rng: np.random.Generator, drift: NDArray[np.float64], noise: float, limit: float) -> Drift:
    """A check of comparators that drifted, whose seal is itself 20 uV uncertain."""
    n, u = drift.size, 20e-6
    truth = rng.uniform(0.1, 2.4, n)
    sealed = truth + rng.normal(0, u, n)
    core = np.arange(-3, 4) * max(1.5 * noise, LSB)
    guard = limit + 2 * noise + 6 * u
    levels = sealed[:, None] + np.concatenate([core, [-guard, guard]])
    highs = rng.binomial(32, chance_high(levels, (truth + drift)[:, None], noise))
    sealed_at = np.repeat(sealed[:, None], levels.shape[1], axis=1)
    return find_drift(levels, highs, 32, sealed_at, np.full(n, u), np.full(n, noise), limit, 0.2)


@pytest.mark.parametrize("noise", [1e-5, 2e-4, 2e-3])
def test_comparators_that_stand_exactly_at_the_limit_alarm_no_more_often_than_stated(noise: float) -> None:
    rng = np.random.default_rng(8)
    alarms = sum(bool(short_ramps(rng, np.full(15, 2e-3), noise, 2e-3).moved.any()) for _ in range(150))
    assert binomtest(alarms, 150, 0.2, alternative="greater").pvalue > 1e-3, alarms


@pytest.mark.parametrize("noise", [1e-5, 2e-4, 2e-3])
def test_drift_beyond_the_limit_is_seen_and_none_within_it(noise: float) -> None:
    rng = np.random.default_rng(9)
    still = short_ramps(rng, np.zeros(15), noise, 2e-3)
    assert not still.moved.any()
    assert (np.abs(still.drift_volts) < 5 * still.drift_sigma_volts).all()
    for volts in (-0.3, -6e-3, 6e-3, 0.3):
        drift = np.zeros(15)
        drift[4] = volts
        found = short_ramps(rng, drift, noise, 2e-3)
        assert np.flatnonzero(found.moved).tolist() == [4]
        assert np.sign(found.drift_volts[4]) == np.sign(volts)


# The ladder

WANTED = np.arange(1, 16) / 16 * 2.5


def ladder_ramps(at: NDArray[np.float64], noise: float = 5e-4, seed: int = 0) -> Transitions:
    """The whole range in 10 mV steps, over comparators that switch at `at`."""
    levels = np.broadcast_to(np.arange(257) * 256 * LSB, (15, 2, 257)).copy()
    highs = np.random.default_rng(seed).binomial(8, chance_high(levels, at[:, None, None], noise))
    return fit_transitions(Ramps(levels, highs, 8))


@pytest.mark.parametrize("seed", range(20))
def test_right_boards_are_not_accused(seed: int) -> None:
    rng = np.random.default_rng(seed)
    at = WANTED * (1 + rng.normal(0, 3e-3)) + rng.normal(0, 8e-3, 15)
    judged = judge_ladder(ladder_ramps(at, rng.uniform(0, 3e-3), seed), WANTED, 2.5)
    assert judged.name == ""
    assert judged.offset_volts == pytest.approx(at - WANTED, abs=6e-3)


def test_each_wrong_board_is_named_with_its_comparators() -> None:
    swapped = WANTED.copy()
    swapped[[3, 9]] = swapped[[9, 3]]
    judged = judge_ladder(ladder_ramps(swapped), WANTED, 2.5)
    assert judged.name == "swapped_comparators"
    assert "3 switches where 9 should" in judged.seen

    shifted = WANTED.copy()
    shifted[6] += 0.13
    judged = judge_ladder(ladder_ramps(shifted), WANTED, 2.5)
    assert judged.name == "wrong_thresholds"
    assert "comparator 6 by +13" in judged.seen

    for factor in (0.5, 0.82, 1.2, 1.32):  # above 1 the upper comparators lie beyond the ramp
        judged = judge_ladder(ladder_ramps(WANTED * factor), WANTED, 2.5)
        assert judged.name == "missing_reference"
        assert judged.gain == pytest.approx(factor, rel=0.01)

    for volts, word in ((-9.0, "high"), (9.0, "low")):
        stuck = WANTED.copy()
        stuck[7] = volts
        judged = judge_ladder(ladder_ramps(stuck), WANTED, 2.5)
        assert judged.name == "stuck_comparator"
        assert f"comparator 7 stays {word}" in judged.seen
    assert judge_ladder(ladder_ramps(np.full(15, 9.0)), WANTED, 2.5).name == "stuck_comparator"

    assert judge_ladder(ladder_ramps(WANTED, 0.02), WANTED, 2.5).name == "noisy_supply"
