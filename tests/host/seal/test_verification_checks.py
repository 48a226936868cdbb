"""What a verification compares, against known differences: noise alone, shifts, brightness, and real change."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from calibration.outcome import Outcome
from host.calibrate.board_drift import DriftCheck
from host.seal.verification_checks import (
    PSF_ALLOWANCE,
    board_check,
    dark_checks,
    psf_change,
    psf_check,
    psf_difference,
    range_check,
    slm_check,
)
from optics.metrics import moved

SIGMA = 2e-5


def spot(width_px: float = 4.0, side: int = 31) -> NDArray[np.float64]:
    y, x = np.mgrid[:side, :side] - side // 2
    one = np.exp(-(x**2 + y**2) / (2 * width_px**2))
    return np.repeat((one / one.sum())[np.newaxis], 3, axis=0)


def measured(psf: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    return psf + SIGMA * np.random.default_rng(seed).standard_normal(psf.shape)


def outcome(psf: NDArray[np.float64] | None, **result: Any) -> Outcome:
    arrays = {} if psf is None else {"psf": psf, "psf_sigma": np.full(psf.shape, SIGMA)}
    return Outcome("psf", True, "good", {"wrong_setup": None, **result}, arrays)


SEALED = measured(spot(), 0)
SIGMAS = np.full(SEALED.shape, SIGMA)


@pytest.mark.parametrize("seed", range(1, 9))
def test_noise_alone_is_what_it_is_expected_to_be(seed: int) -> None:
    left, noise = psf_difference(measured(spot(), seed), SIGMAS, SEALED, SIGMAS)
    # Of two windows of 2883 pixels, to first order: the sum of both variances, a shift and three scales fitted away.
    assert left == pytest.approx(noise, rel=0.06)
    assert noise == pytest.approx(SIGMA * np.sqrt(2 * 31 * 31) / np.sqrt((spot()[0] ** 2).sum()), rel=0.02)
    assert psf_check(outcome(measured(spot(), seed)), SEALED, SIGMAS).passed


@pytest.mark.parametrize("shift", [(0.0, 0.4), (-1.3, 0.6), (2.0, -2.0)])
def test_a_source_at_another_place_and_brightness_is_no_change(shift: tuple[float, float]) -> None:
    placed = np.array([0.8, 1.0, 1.3])[:, np.newaxis, np.newaxis] * moved(spot(), shift)
    assert psf_check(outcome(measured(placed, 3)), SEALED, SIGMAS).passed


def test_windows_of_two_sizes_are_compared_about_their_axes() -> None:
    assert psf_check(outcome(measured(spot(side=35), 3)), SEALED, SIGMAS).value == pytest.approx(0.0, abs=0.02)


@pytest.mark.parametrize("width", [3.7, 4.3])
def test_a_wider_or_narrower_psf_fails_and_the_right_one_passes_again(width: float) -> None:
    check = psf_check(outcome(measured(spot(width), 3)), SEALED, SIGMAS)
    assert not check.passed
    assert "calibrate the PSF again and seal" in check.note
    left, _ = psf_difference(spot(width), 0 * SIGMAS, spot(), 0 * SIGMAS)
    # Two Gaussians of widths a and b in two dimensions, the best scale between them: 1 - (2 a b / (a^2 + b^2))^2.
    likeness = 2 * width * 4.0 / (width**2 + 4.0**2)
    assert left == pytest.approx(np.sqrt(1 - likeness**2), rel=0.02)
    assert left > PSF_ALLOWANCE
    assert psf_check(outcome(measured(spot(), 5)), SEALED, SIGMAS).passed


def test_a_psf_that_was_not_measured_fails_with_its_reason() -> None:
    wrong = Outcome("psf", False, "source_off: no light", {"wrong_setup": "source_off"})
    assert "could not be measured (source_off: no light)" in psf_check(wrong, SEALED, SIGMAS).note
    other = Outcome("psf", False, "mask_missing: an open stop", {"wrong_setup": "mask_missing"})
    assert "not the sealed one (mask_missing: an open stop)" in psf_check(other, SEALED, SIGMAS).note
    nothing_seen = Outcome("psf", False, "mask_flipped: larger", {"wrong_setup": "mask_flipped"})
    assert not psf_check(nothing_seen, SEALED, SIGMAS).passed
    assert not psf_check(outcome(np.zeros((3, 31, 31))), SEALED, SIGMAS).passed


@pytest.mark.parametrize(("width", "says"), [(4.4, "(wider)"), (3.6, "(narrower)")])
def test_a_sealed_mask_has_changed_before_anybody_turned_it_over(width: float, says: str) -> None:
    """What a calibration calls flipped is compared with the seal: how it differs comes first."""
    named = Outcome("psf", False, "mask_flipped: 6 % larger. Turn the mask over", {"wrong_setup": "mask_flipped"})
    check = psf_check(named, SEALED, SIGMAS, (measured(spot(width), 3), SIGMAS))
    assert not check.passed
    assert check.value is not None
    assert check.value > check.limit
    for text in ("has changed by", says, "loose, dusty", "another distance", "turned over", "(mask_flipped)"):
        assert text in check.note
    assert "Turn the mask over" not in check.note
    assert psf_check(named, SEALED, SIGMAS, (measured(spot(), 3), SIGMAS)).passed  # the sealed PSF, whatever its name


def test_a_psf_that_left_its_design_does_not_hide_behind_its_own_uncertainty() -> None:
    """A calibration counts what the design does not explain as uncertainty: here a quarter of the PSF."""
    wider = measured(spot(4.3), 3)
    arrays = {"psf": wider, "psf_sigma": 0.25 * spot() + SIGMA, "psf_noise_sigma": np.full(wider.shape, SIGMA)}
    good = arrays | {"psf": measured(spot(), 3)}
    assert not psf_check(Outcome("psf", True, "good", {"wrong_setup": None}, arrays), SEALED, SIGMAS).passed
    assert psf_check(Outcome("psf", True, "good", {"wrong_setup": None}, good), SEALED, SIGMAS).passed
    unexplained = psf_check(Outcome("psf", False, "31 % of haze", {"wrong_setup": None}, good), SEALED, SIGMAS)
    assert not unexplained.passed
    assert "no longer does (31 % of haze)" in unexplained.note


def test_a_change_is_told_in_words() -> None:
    half = np.array([0.5, 0.5, 0.5])[:, np.newaxis, np.newaxis] * spot()
    assert "50% less of it lies in its window (weaker)" in psf_change(half, spot())
    assert "(wider)" in psf_change(spot(5.0), spot())
    # Half of a Gaussian's light lies within sigma times the root of 2 ln 2, and the pixels' own width.
    assert "within 5.9 pixels, sealed 4.7" in psf_change(spot(5.0), spot())
    assert "its shape is another one" in psf_change(spot()[:, ::-1], spot())


def drift(largest_volts: float, *moved_ones: int) -> DriftCheck:
    found = np.zeros(15)
    found[7] = largest_volts
    return DriftCheck(tuple(range(15)), found, np.full(15, 1e-4), moved_ones, 2e-3, 1e-6, "comparator 7")


def test_boards() -> None:
    assert board_check(drift(1e-3), "B-1", "B-1").passed
    assert not board_check(drift(5e-3, 7), "B-1", "B-1").passed
    assert "B-2 is sealed, this is B-1" in board_check(drift(0.0), "B-1", "B-2").note
    # Just beyond the limit, but within its uncertainty: not called moved.
    assert board_check(drift(2.05e-3), "B-1", "B-1").passed
    assert not board_check(drift(-5e-3, 7), "B-1", "B-1").passed


SENSOR = {"system_gain_dn_per_e": 0.1, "bits": 10, "read_noise_e": 3.0, "read_noise_e_sigma": 0.1,
          "black_level_dn": 64.0, "dark_current_e_per_s": 100.0}  # fmt: skip


def dark(noise_dn: float, level_dn: float) -> dict[str, NDArray[Any]]:
    return {"gain": np.array(1.0), "noise_dn": np.array(noise_dn), "level_dn": np.array([level_dn, level_dn]),
            "exposure_us": np.array([10_000.0, 200_000.0])}  # fmt: skip


@pytest.mark.parametrize(
    ("noise_dn", "level_dn", "passed"),
    [(0.3, 64.1, [True, True]), (0.6, 64.1, [False, True]), (0.3, 70.0, [True, False]), (0.3, 58.0, [True, False])],
)
def test_darkness(noise_dn: float, level_dn: float, passed: list[bool]) -> None:
    assert [check.passed for check in dark_checks(dark(noise_dn, level_dn), SENSOR)] == passed


def test_the_noise_of_a_warm_sensors_current_is_no_read_noise() -> None:
    """2 000 electrons per second are 20 in 10 ms: with 3 e of read noise, 5.4 e in all."""
    warm = SENSOR | {"dark_current_e_per_s": 2_000.0}
    assert [check.passed for check in dark_checks(dark(0.1 * 29**0.5, 66.0), warm)] == [True, True]
    assert dark_checks(dark(0.1 * 29**0.5, 66.0), warm)[0].value == pytest.approx(3.0)
    assert not dark_checks(dark(0.1 * 29**0.5, 66.0), SENSOR)[0].passed
    assert not dark_checks(dark(0.1 * 50**0.5, 66.0), warm)[0].passed


def test_light() -> None:
    def found(exposure_us: float, gain: float) -> Outcome:
        return Outcome("range", True, "", {"exposure_us": exposure_us, "gain": gain})

    sealed = {"exposure_us": 8_000, "gain": 1.0}
    assert range_check(found(16_000, 2.0), sealed).passed
    assert range_check(found(2_000, 1.0), sealed).passed
    assert not range_check(found(30_000, 16.0), sealed).passed
    assert range_check(Outcome("range", False, "too_dark: no light", {}), sealed).note == "too_dark: no light"


def test_modulators() -> None:
    phase = np.linspace(0, 2 * np.pi, 256)

    def found(values: NDArray[np.float64], passed: bool = True) -> Outcome:
        return Outcome("slm", passed, "flicker", {}, {"phase_rad": values, "phase_sigma_rad": np.full(256, 0.01)})

    assert slm_check(found(phase + 0.3), phase).passed  # a common phase is nothing
    assert not slm_check(found(phase * 1.2), phase).passed
    assert not slm_check(found(phase[:128]), phase).passed
    assert slm_check(found(phase, passed=False), phase).note == "flicker"
