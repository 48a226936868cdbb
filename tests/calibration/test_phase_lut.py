"""A modulator's response from fringes: phases against their formula, tables that invert, uncertainties that hold."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calibration.phase_lut import (
    LEVELS,
    Sweep,
    fit_response,
    invert,
    level_of_turn,
    ripple_of,
    two_half_phases,
    unwrapped_response,
)
from calibration.phase_lut_fringes import halves
from optics.masks import Slm, phase_to_drive

ORDER = np.array([0, *range(15, 256, 15), 0])


def curve(reach_rad: float = 7.0, bend: float = 1.3) -> np.ndarray:
    return reach_rad * (np.arange(256) / 255) ** bend


def sweep(
    rng: np.random.Generator, phases: np.ndarray, *, other=False, noise=0.002, shake=0.3, ripple=0.0, order=ORDER
) -> Sweep:
    """Phasors of a panel: fixed pattern, vibration common to all regions, ripple common to the half under test."""
    test = halves() ^ other
    pattern = np.random.default_rng(5).uniform(-1, 1, 16)
    common = shake * rng.standard_normal(order.size)
    shown = phases[order] * (1 + ripple * rng.standard_normal(order.size))
    total = pattern + common[:, None] + np.where(test, shown[:, None], 0)
    made = np.exp(1j * total) + noise * (rng.standard_normal(total.shape) + 1j * rng.standard_normal(total.shape))
    return Sweep(order, 0.3 * made, test)


@pytest.mark.parametrize("other", [False, True])
def test_vibration_and_pattern_cancel_exactly(other):
    rng = np.random.default_rng(1)
    phases = curve()
    one = sweep(rng, phases, other=other, noise=0.0)
    levels, found = unwrapped_response(one.levels, two_half_phases(one)[0])
    assert np.array_equal(levels, np.unique(ORDER))
    assert np.allclose(found[:, one.test], phases[levels][:, None], atol=1e-9)
    assert np.isnan(found[:, ~one.test]).all()


def test_the_reference_shows_what_shook():
    rng = np.random.default_rng(2)
    one = sweep(rng, curve(), noise=0.0, shake=0.4)
    shaken = two_half_phases(one)[1]
    again = 0.4 * np.random.default_rng(2).standard_normal(ORDER.size)
    assert np.allclose(shaken, again - again[0], atol=1e-9)


def test_a_falling_panel_is_turned():
    rng = np.random.default_rng(3)
    one = sweep(rng, -curve(), noise=0.0)
    found = unwrapped_response(one.levels, two_half_phases(one)[0])[1]
    assert np.allclose(found[:, one.test], curve()[np.unique(ORDER)][:, None], atol=1e-9)


@settings(max_examples=25, deadline=None)
@given(reach=st.floats(2.0, 9.0), bend=st.floats(0.9, 1.8), seed=st.integers(0, 1000))
def test_any_smooth_panel_is_found_within_its_uncertainty(reach, bend, seed):
    rng = np.random.default_rng(seed)
    phases = curve(reach, bend)
    found = fit_response([sweep(rng, phases, other=bool(n % 2), ripple=0.004) for n in range(6)], 350)
    off = np.abs(found.phase_rad - phases)
    assert (off <= 6 * found.sigma_rad + 1e-9)[found.levels].all()
    assert (off <= 6 * found.sigma_rad + 0.02).all()
    level, sigma = level_of_turn(found)
    if reach < 2 * np.pi - 0.2:
        assert np.isnan(level)
    elif reach > 2 * np.pi + 0.2:
        assert abs(level - 255 * (2 * np.pi / reach) ** (1 / bend)) <= 6 * sigma + 0.3


def test_stated_uncertainties_hold_over_many_panels():
    rng = np.random.default_rng(4)
    phases = curve()
    near, ripples = [], []
    for _ in range(150):
        found = fit_response([sweep(rng, phases, other=bool(n % 2), ripple=0.005) for n in range(6)], 350)
        # One level for each panel: those of one panel share the error of their level 0.
        level = int(rng.choice(found.levels[1:]))
        near.append((found.phase_rad[level] - phases[level]) / found.sigma_rad[level])
        ripples.append(found.ripple)
    share = np.mean(np.abs(near) <= 2)
    # 95.4 % of 150: 99.7 % of such samples lie within 3 standard deviations of the binomial.
    assert abs(share - 0.954) < 3 * np.sqrt(0.954 * 0.046 / 150)
    assert np.mean(ripples) == pytest.approx(0.005, rel=0.1)


def test_gains_of_the_regions():
    rng = np.random.default_rng(6)
    phases, gains = curve(), 1 + 0.02 * np.linspace(-1, 1, 16)
    sweeps = []
    for number in range(4):
        test = halves() ^ bool(number % 2)
        total = np.where(test, phases[ORDER][:, None] * gains, 0)
        noise = 1e-4 * rng.standard_normal(total.shape)
        sweeps.append(Sweep(ORDER, np.exp(1j * (total + noise)), test))
    found = fit_response(sweeps, 5000)
    assert np.allclose(found.gains / found.gains.mean(), gains / gains.mean(), atol=2e-4)
    assert found.half_sigma < 1e-4


def test_a_leak_is_part_of_the_uncertainty():
    rng = np.random.default_rng(7)
    sweeps = [sweep(rng, curve(), other=bool(n % 2)) for n in range(6)]
    without, leaking = fit_response(sweeps, 350), fit_response(sweeps, 350, 0.02)
    middle = int(np.argmin(np.abs(curve() - np.pi)))
    added = np.sqrt(leaking.sigma_rad[middle] ** 2 - without.sigma_rad[middle] ** 2)
    assert added == pytest.approx(0.02 * np.sqrt(2 / 16), rel=0.02)


@pytest.mark.parametrize("sweeps", [1, 2, 3])
def test_too_few_sweeps(sweeps):
    rng = np.random.default_rng(8)
    with pytest.raises(ValueError, match="at least twice"):
        fit_response([sweep(rng, curve(), other=bool(n % 2)) for n in range(sweeps)], 350)


def test_sweeps_over_other_levels():
    rng = np.random.default_rng(9)
    other = np.array([0, *range(51, 256, 51), 0])
    with pytest.raises(ValueError, match="same levels"):
        fit_response([sweep(rng, curve()), sweep(rng, curve(), order=other)] * 2, 350)


class TestInverse:
    @settings(max_examples=40)
    @given(reach=st.floats(2 * np.pi, 9.0), bend=st.floats(0.8, 2.0))
    def test_is_the_optics_models_but_for_the_second_turn(self, reach, bend):
        phases = curve(reach, bend)
        found = invert(phases)
        wanted = np.arange(256) * 2 * np.pi / 256
        model = phase_to_drive(wanted, Slm(1, 1, 1e-6, lut_rad=tuple(phases)))
        mine = np.abs(found.error_rad)
        theirs = np.abs(np.angle(np.exp(1j * (phases[model] - wanted))))
        # The same where the model keeps to the first turn, and no level beyond it.
        first = phases[model] < 2 * np.pi
        assert np.allclose(mine[first], theirs[first], atol=1e-9)
        assert (phases[found.lut] <= 2 * np.pi + 1e-9).all()
        assert found.fall_rad == 0
        # Nearest level: no more than half the largest step.
        assert mine.max() <= np.diff(phases).max() / 2 + 1e-9

    def test_a_panel_that_does_not_reach_a_turn_goes_to_its_nearer_end(self):
        phases = curve(np.pi, 1.0)
        found = invert(phases)
        assert found.lut[128] == 255
        assert found.lut[160] == 255
        assert found.lut[240] == 0
        assert np.abs(found.error_rad).max() == pytest.approx(np.pi / 2, abs=0.03)

    def test_a_response_that_falls_back_is_told_and_does_not_jump(self):
        phases = curve() + 0.05 * np.sin(np.arange(256) / 3)
        found = invert(phases)
        # Against a running maximum by brute force.
        worst = max(phases[:n].max() - phases[n] for n in range(1, 256))
        assert found.fall_rad == pytest.approx(worst)
        steps = np.diff(found.lut.astype(int))
        assert steps.min() >= 0 or steps[steps < 0].size <= 1

    def test_ideal(self):
        linear = np.arange(LEVELS) * 2 * np.pi / LEVELS
        assert np.array_equal(invert(linear).lut, np.arange(256))
        assert np.abs(invert(linear).error_rad).max() < 1e-12


def test_ripple():
    rng = np.random.default_rng(10)
    off = []
    for _ in range(200):
        still = 6 * (1 + 0.004 * rng.standard_normal(80)) + 0.003 * rng.standard_normal(80)
        share, sigma = ripple_of(still, 0.003 * rng.standard_normal(80), 6.0)
        off.append((share - 0.004) / sigma)
    assert abs(np.mean(np.abs(off) <= 2) - 0.954) < 0.06
    assert abs(np.mean(off)) < 0.35
    # No ripple at all: nothing is found, and the uncertainty does not vanish.
    share, sigma = ripple_of(0.003 * rng.standard_normal(80), 0.003 * rng.standard_normal(80), 6.0)
    assert share < 2 * sigma
    assert sigma > 0
