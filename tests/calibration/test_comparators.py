"""S-curves: the fit against known transitions, its uncertainties against their spread, and ramps that tell nothing."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.stats import binomtest, norm

from calibration.comparators import Ramps, chance_high, fit_transitions

READS, POINTS = 128, 48


def simulated(
    rng: np.random.Generator, transitions: NDArray[np.float64], noise: float, step: float = 1.0, reads: int = READS
) -> Ramps:
    """Ramps (n, 2, POINTS) around transitions (n, 2), with levels on a grid of `step`."""
    start = np.round(transitions / step) * step
    levels = start[:, :, None] + (np.arange(POINTS) - POINTS // 2) * step
    chance = chance_high(levels, transitions[:, :, None], noise)
    return Ramps(levels, rng.binomial(reads, chance), reads)


def made(rng: np.random.Generator, count: int) -> NDArray[np.float64]:
    """Rising and falling transitions, anywhere between two levels, with 0 to 3 steps of hysteresis."""
    falling = rng.uniform(50, 60, count)
    return np.column_stack([falling + rng.uniform(0, 3, count), falling])


def test_counts_as_expected_give_back_what_they_were_made_from() -> None:
    levels = np.broadcast_to(np.linspace(0.0, 1.0, 101), (1, 2, 101))
    rising, falling, noise, reads = 0.5123, 0.4876, 0.04, 10**9  # so many that rounding the counts does not matter
    chance = norm.cdf((levels - np.array([rising, falling])[None, :, None]) / noise)
    found = fit_transitions(Ramps(levels, np.rint(chance * reads).astype(np.int64), reads))
    assert found.state == ("fitted",)
    assert found.rising_volts[0] == pytest.approx(rising, abs=1e-7)
    assert found.falling_volts[0] == pytest.approx(falling, abs=1e-7)
    assert found.noise_volts[0] == pytest.approx(noise, rel=1e-6)
    assert found.hysteresis_volts[0] == pytest.approx(rising - falling, abs=1e-7)


def test_the_maximum_is_that_of_a_general_optimiser() -> None:
    ramps = simulated(np.random.default_rng(3), np.array([[52.3, 51.1]]), 2.2, reads=20)
    found = fit_transitions(ramps)

    def cost(p: NDArray[np.float64]) -> float:
        chance = norm.cdf((ramps.levels_volts[0] - p[:2, None]) / np.exp(p[2]))
        chance = np.clip(chance, 1e-300, 1 - 1e-16)
        k = ramps.highs[0]
        return float(-(k * np.log(chance) + (ramps.reads - k) * np.log1p(-chance)).sum())

    best = minimize(cost, np.array([52.0, 51.0, 0.5]), method="Nelder-Mead", options={"xatol": 1e-7, "fatol": 1e-10})
    assert [found.rising_volts[0], found.falling_volts[0]] == pytest.approx(best.x[:2], abs=1e-4)
    assert found.noise_volts[0] == pytest.approx(np.exp(best.x[2]), rel=1e-4)


@pytest.mark.parametrize("noise", [0.5, 1.0, 3.0])
def test_intervals_cover_the_truth_as_often_as_they_say(noise: float) -> None:
    rng = np.random.default_rng(11)
    truth = made(rng, 600)
    found = fit_transitions(simulated(rng, truth, noise))
    off = {
        "transition": (found.transition_volts - truth.mean(axis=1)) / found.transition_sigma_volts,
        "hysteresis": (found.hysteresis_volts - (truth[:, 0] - truth[:, 1])) / found.hysteresis_sigma_volts,
        "noise": (found.noise_volts - noise) / found.noise_sigma_volts,
    }
    for name, value in off.items():
        for k, share in ((1, 0.6827), (2, 0.9545)):
            inside = int((np.abs(value) < k).sum())
            assert binomtest(inside, 600, share).pvalue > 1e-3, f"{name}, k = {k}: {inside} of 600"
    if noise >= 1.0:  # below, too few levels show both answers for a chi-square
        assert found.misfit.mean() == pytest.approx(1.0, abs=0.1)


def test_the_uncertainty_of_a_transition_is_the_fisher_information_of_a_dense_ramp() -> None:
    rng = np.random.default_rng(5)
    noise = 4.0
    found = fit_transitions(simulated(rng, made(rng, 50), noise))
    # Sum over levels becomes an integral: 1 / u^2 = reads / (step noise) * integral of phi^2 / (Phi (1 - Phi)).
    z = np.linspace(-8, 8, 4001)
    per_noise = np.trapezoid(norm.pdf(z) ** 2 / (norm.cdf(z) * norm.sf(z)), z)
    one_direction = np.sqrt(noise / (READS * per_noise))
    assert found.rising_sigma_volts.mean() == pytest.approx(one_direction, rel=0.05)
    assert found.transition_sigma_volts.mean() == pytest.approx(one_direction / np.sqrt(2), rel=0.05)


@pytest.mark.parametrize("noise", [0.0, 0.05, 0.2])
def test_noise_far_below_the_step_leaves_one_step_of_uncertainty_and_says_so(noise: float) -> None:
    rng = np.random.default_rng(2)
    truth = made(rng, 400)
    found = fit_transitions(simulated(rng, truth, noise))
    assert set(found.state) <= {"interval", "fitted"}
    limited = np.array(found.state) == "interval"
    assert limited.mean() > 0.95
    assert (np.abs(found.rising_volts - truth[:, 0])[limited] <= 0.75).all()
    assert found.rising_sigma_volts[limited].min() == pytest.approx(1 / np.sqrt(12))
    inside = np.abs(found.transition_volts - truth.mean(axis=1)) < 2 * found.transition_sigma_volts
    assert inside.mean() > 0.93
    # The noise is told as the middle of what would not have shown: twice its half-width reaches zero and the limit.
    assert (np.abs(found.noise_volts - noise) <= 2 * found.noise_sigma_volts)[limited].mean() > 0.93


def test_ramps_that_do_not_bracket_a_transition_are_named() -> None:
    levels = np.broadcast_to(np.arange(20.0), (4, 2, 20)).copy()
    highs = np.zeros((4, 2, 20), dtype=np.int64)
    highs[1] = 8
    highs[2, :, 10:] = 8
    highs[3, :, :10] = 8
    found = fit_transitions(Ramps(levels, highs, 8))
    assert found.state == ("stays_low", "stays_high", "interval", "erratic")
    assert found.found.tolist() == [False, False, True, False]
    assert found.transition_volts[2] == 9.5


def test_a_ramp_that_ends_within_the_noise_still_gives_its_transition() -> None:
    rng = np.random.default_rng(9)
    levels = np.broadcast_to(np.arange(0.0, 40.0), (1, 2, 40)).copy()  # begins 1 noise below the transition
    truth = np.array([4.0, 3.0])
    highs = rng.binomial(READS, chance_high(levels, truth[None, :, None], 4.0))
    found = fit_transitions(Ramps(levels, highs, READS))
    assert found.state == ("fitted",)
    assert abs(found.transition_volts[0] - 3.5) < 3 * found.transition_sigma_volts[0] < 1.5


def test_readings_that_drift_show_as_misfit() -> None:
    rng = np.random.default_rng(1)
    levels = np.broadcast_to(np.arange(48.0), (1, 2, 48)).copy()
    moved = np.where(np.arange(48) % 2, 21.0, 25.0)  # every other level was read after the comparator had moved
    highs = rng.binomial(READS, chance_high(levels, moved, 2.0))
    assert fit_transitions(Ramps(levels, highs, READS)).misfit[0] > 5


def test_what_is_no_ramp_is_refused() -> None:
    levels = np.broadcast_to(np.arange(4.0), (1, 2, 4))
    with pytest.raises(ValueError, match=r"0\.\.reads"):
        fit_transitions(Ramps(levels, np.full((1, 2, 4), 9), 8))
    with pytest.raises(ValueError, match="ascend"):
        fit_transitions(Ramps(levels[:, :, ::-1], np.zeros((1, 2, 4), dtype=np.int64), 8))
    with pytest.raises(ValueError, match="2 directions"):
        fit_transitions(Ramps(levels[:, :1], np.zeros((1, 1, 4), dtype=np.int64), 8))
