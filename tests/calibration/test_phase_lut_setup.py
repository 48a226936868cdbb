"""First looks at an interferometer: right ones pass, wrong ones are named, whatever the frame rate hides."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calibration.phase_lut_fringes import halves
from calibration.phase_lut_setup import LEAST_SNR, MOST_VIBRATION_RAD, Look, look_of, recognise

LEVELS_RAD = np.array([0, 0.9, 2.2, 3.6, 5.0, 6.4])


def look(seed=0, *, snr=400.0, shake_rad=0.03, amplitude=0.15, switched=0.0, answer=LEVELS_RAD, shakes=None) -> Look:
    rng = np.random.default_rng(seed)
    noise = amplitude / snr
    common = shake_rad * rng.standard_normal(24) if shakes is None else shakes

    def seen(phase: np.ndarray, size: np.ndarray | float = 1.0) -> np.ndarray:
        clean = amplitude * size * np.exp(1j * phase)
        return clean + noise * (rng.standard_normal(phase.shape) + 1j * rng.standard_normal(phase.shape)) / np.sqrt(2)

    floor = noise * (rng.standard_normal((24, 8, 16)) + 1j * rng.standard_normal((24, 8, 16))) / np.sqrt(2)
    test = halves()
    phases = np.where(test, np.asarray(answer)[:, None], 0.0) + shake_rad * rng.standard_normal((len(answer), 1))
    sizes = np.where(test, (1 - switched * np.linspace(0, 1, len(answer)))[:, None], 1.0)
    still = seen(common[:, None] + np.zeros(16))
    return Look(False, still, floor, np.full(16, 0.4), 0.0, seen(phases, sizes), test)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), snr=st.floats(30, 1000), shake=st.floats(0, 0.15), bend=st.floats(0.8, 1.6))
def test_right_ones_are_right(seed, snr, shake, bend):
    answer = 6.6 * (np.arange(6) / 5) ** bend
    assert recognise(look(seed, snr=snr, shake_rad=shake, answer=answer)) is None


@pytest.mark.parametrize(
    ("wrong", "name"),
    [
        (replace(look(), off=True), "slm_off"),
        (replace(look(), saturated=0.3), "too_bright"),
        (look(amplitude=0.001), "no_fringes"),
        (look(snr=LEAST_SNR / 3), "no_fringes"),
        (look(shake_rad=1.2), "vibrating"),
        (look(answer=np.zeros(6)), "slm_off"),
        (look(answer=np.zeros(6), switched=0.5), "wrong_polarisation"),
        (look(answer=0.1 * LEVELS_RAD), "wrong_polarisation"),
    ],
)
def test_wrong_ones_are_named(wrong, name):
    found = recognise(wrong)
    assert found is not None
    assert found[0] == name
    assert len(found[1]) > 40


def test_light_and_no_fringes_is_told_from_no_light():
    dark = replace(look(snr=2), background=np.full(16, 0.001))
    assert "laser" in recognise(dark)[1]
    assert "align" in recognise(look(amplitude=0.001))[1]


@pytest.mark.parametrize("hertz", [17.0, 29.0, 31.2, 61.5, 88.0])
def test_a_shake_is_seen_at_any_frequency(hertz):
    shakes = 1.4 * np.sin(2 * np.pi * hertz * np.arange(24) / 30)
    found = look(shakes=shakes)
    assert found.vibration_rad[0] > MOST_VIBRATION_RAD
    assert recognise(found)[0] == "vibrating"


def test_measures():
    found = look(3, snr=200.0, shake_rad=0.0)
    assert found.snr == pytest.approx(200, rel=0.1)
    assert found.visibility == pytest.approx(2 * 0.15 / 0.4, rel=0.02)
    assert np.allclose(found.answered_rad, LEVELS_RAD, atol=0.02)
    assert found.amplitude_change < 0.02
    assert found.leak < 0.5 / 200
    leaking = replace(found, floor=found.floor + 0.15 * 0.03)
    assert leaking.leak == pytest.approx(0.03, rel=0.02)
    rms, sigma = look(4, shake_rad=0.2).vibration_rad
    assert abs(rms - 0.2) < 4 * sigma


def test_as_step_data():
    found = look(5)
    data = {"off": np.array(0.0), "background": found.background, "saturated": np.array(0.01), "test": found.test}
    for name in ("still", "floor", "answers"):
        values = getattr(found, name)
        data |= {f"{name}_re": values.real, f"{name}_im": values.imag}
    again = look_of(data)
    assert np.array_equal(again.still, found.still)
    assert again.saturated == 0.01
    assert recognise(again)[0] == "too_bright"
    assert recognise(look_of({"off": np.array(1.0)}))[0] == "slm_off"


def test_motions_that_beat_are_as_uncertain_as_they_are():
    """Two of nearly one frequency: the record sees a part of their beat."""
    rng, near = np.random.default_rng(3), []
    for _ in range(200):
        hertz, start = rng.uniform(6, 14, 3), rng.uniform(0, 2 * np.pi, 3)
        common = 0.1 * np.sin(2 * np.pi * hertz * np.arange(16)[:, None] / 30 + start).sum(axis=1)
        still = np.exp(1j * common)[:, None] * np.ones(16)
        seen = Look(False, still, still[:, None], np.ones(16), 0.0, still[:2], halves())
        rms, sigma = seen.vibration_rad
        near.append((rms - 0.1 * np.sqrt(1.5)) / sigma)
    assert (np.abs(near) <= 2).mean() > 0.93
