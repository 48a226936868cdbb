"""Steps in time: delay and constant of steps that were made with known ones, and uncertainties that hold."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calibration.phase_lut_fringes import halves
from calibration.phase_lut_settling import Settling, creep, fit_step, remaining, settling_of, shares_left, slower

FRAMES_S = np.arange(1, 20) / 30


@settings(max_examples=60, deadline=None)
@given(delay=st.floats(0.0, 0.02), constant=st.floats(0.012, 0.08))
def test_steps_without_noise(delay, constant):
    found = fit_step(FRAMES_S, remaining(delay, constant, FRAMES_S))
    assert found == pytest.approx((delay, constant), abs=1e-6)


def test_refused():
    with pytest.raises(ValueError, match="4 moments"):
        fit_step(FRAMES_S[:3], FRAMES_S[:3])
    with pytest.raises(ValueError, match="4 moments"):
        fit_step(FRAMES_S, FRAMES_S[:5])
    with pytest.raises(ValueError, match="4 runs"):
        settling_of(watched(np.random.default_rng(0), runs=3), False)


def watched(
    rng,
    *,
    runs=12,
    rise=0.016,
    fall=0.028,
    delay=0.011,
    step_rad=2.2,
    noise=0.003,
    ripple=0.005,
    shake=0.2,
    mirrored=0j,
):
    """Pictures of a half that steps up and down, as a panel with these constants gives them; its share mirrored."""
    test = halves()
    after, phase, way, run_of = [], [], [], []
    for run in range(runs):
        for falling, constant in ((0, rise), (1, fall)):
            left = remaining(delay, constant, FRAMES_S)
            phase.append(step_rad * (left if falling else 1 - left) * (1 + ripple * rng.standard_normal(left.size)))
            after.append(FRAMES_S)
            way.append(np.full(left.size, falling))
            run_of.append(np.full(left.size, run))
    shown = np.concatenate(phase)
    common = shake * rng.standard_normal(shown.size)
    total = common[:, None] + np.where(test, shown[:, None], 0) + noise * rng.standard_normal((shown.size, 16))
    seen = np.exp(1j * total)
    seen[:, test] += mirrored * np.exp(1j * (2 * common - total[:, test].T).T)
    return {
        "after_s": np.concatenate(after), "falling": np.concatenate(way), "run": np.concatenate(run_of), "test": test,
        "level": np.array(100.0), "phasors_re": seen.real, "phasors_im": seen.imag,
    }  # fmt: skip


def test_shares_are_one_before_and_nothing_after():
    data = watched(np.random.default_rng(1), noise=0.0, ripple=0.0)
    for falling, constant in ((False, 0.016), (True, 0.028)):
        after_s, left = shares_left(data, falling)
        assert np.allclose(left, remaining(0.011, constant, after_s), atol=1e-6)
    assert creep(data) < 1e-6


def test_stated_uncertainties_hold():
    near = []
    for seed in range(120):
        data = watched(np.random.default_rng(seed))
        for falling, constant in ((False, 0.016), (True, 0.028)):
            found = settling_of(data, falling)
            truth = 0.011 + constant * np.log(100)
            near.append([
                (found.settle_s - truth) / found.settle_sigma_s,
                (found.constant_s - constant) / found.constant_sigma_s,
                (found.delay_s - 0.011) / found.delay_sigma_s,
            ])  # fmt: skip
    shares = np.mean(np.abs(near) <= 2, axis=0)
    assert (np.abs(shares - 0.954) < 3 * np.sqrt(0.954 * 0.046 / 240)).all(), shares


def test_mirrored_fringes_bend_every_step_and_count():
    """They are the same in every run, so that the scatter of many still runs says nothing of them."""
    errors, before, after = [], [], []
    for angle in np.arange(8) * np.pi / 4:
        rng = np.random.default_rng(7)
        data = watched(rng, runs=6, ripple=0.0, noise=1e-4, shake=0.0, mirrored=0.004 * np.exp(1j * angle))
        for falling, constant in ((False, 0.016), (True, 0.028)):
            blind, found = settling_of(data, falling), settling_of(data, falling, 0.004)
            truth = np.array([0.011, constant, 0.011 + constant * np.log(100)])
            errors.append(np.array([found.delay_s, found.constant_s, found.settle_s]) - truth)
            before.append([blind.delay_sigma_s, blind.constant_sigma_s, blind.settle_sigma_s])
            after.append([found.delay_sigma_s, found.constant_sigma_s, found.settle_sigma_s])
    assert np.sqrt(np.mean((np.array(errors) / before) ** 2)) > 5
    z = np.array(errors) / after
    assert np.sqrt((z**2).mean()) == pytest.approx(1, abs=0.25)
    assert np.abs(z).max() < 2


def test_a_slow_panel_creeps():
    assert creep(watched(np.random.default_rng(2), rise=0.3, fall=0.4)) > 0.02
    assert creep(watched(np.random.default_rng(2))) < 0.005


def test_the_slower_of_two():
    fast, slow = Settling(0, 0, 0, 0, 0.1, 0.001), Settling(0, 0, 0, 0, 0.2, 0.005)
    assert slower(fast, slow) == slower(slow, fast) == (0.2, 0.005)
    near = Settling(0, 0, 0, 0, 0.199, 0.02)
    assert slower(near, slow) == (0.2, 0.02)
