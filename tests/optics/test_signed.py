"""Signed kernels as pairs: the difference is the kernel, the split is the best one, the noise is what is simulated."""

import json

import numpy as np
import pytest
import scipy.optimize
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from optics.encoding import convolve_psf
from optics.signed import SignedKernelError, SignedPlan, combine_pair, plan_signed

from .oracle import shared_data, slow_convolution

PARAMETERS = shared_data() / "reference_encoders" / "canopic_paper.npz"
SCENE = np.random.default_rng(3).random((40, 48, 3), dtype=np.float32)

signed_kernels = hnp.arrays(
    np.float64,
    st.tuples(st.integers(1, 9), st.integers(1, 9)),
    elements=st.floats(-100, 100).map(lambda tap: tap if abs(tap) > 1e-3 else 0.0),
).filter(np.any)


def gabor(side: int = 21) -> np.ndarray:
    y, x = np.mgrid[:side, :side] - side // 2
    return np.asarray(np.exp(-(x**2 + y**2) / 32) * np.cos(0.9 * x + 0.4 * y + 0.3))


@settings(max_examples=60, deadline=None)
@given(signed_kernels, st.sampled_from(["shot", "read", "equal", 0.31]), st.sampled_from([(1.0, 1.0), (0.8, 0.55)]))
def test_the_difference_is_the_kernel(kernel: np.ndarray, split: str | float, throughput: tuple[float, float]) -> None:
    plan = plan_signed(kernel, split, throughput)  # type: ignore[arg-type]
    difference = plan.gain_plus * plan.psf_plus - plan.gain_minus * plan.psf_minus
    np.testing.assert_allclose(
        difference, plan.scale * kernel, rtol=1e-6, atol=1e-6 * np.abs(plan.scale * kernel).max()
    )
    assert plan.psf_plus.min() >= 0
    assert plan.psf_minus.min() >= 0
    assert plan.aperture_plus + plan.aperture_minus == pytest.approx(1)
    for part, area, passed, gain in (
        (plan.psf_plus, plan.aperture_plus, throughput[0], plan.gain_plus),
        (plan.psf_minus, plan.aperture_minus, throughput[1], plan.gain_minus),
    ):
        assert part.sum() == pytest.approx(area * passed)
        assert gain == 0 or gain >= 1 - 1e-12
    assert min(gain for gain in (plan.gain_plus, plan.gain_minus) if gain) == pytest.approx(1)
    assert json.loads(json.dumps(plan.report, allow_nan=False))["sentence"]


def test_two_masks_and_a_subtraction_are_one_signed_convolution() -> None:
    kernel = gabor() - 0.1
    plan = plan_signed(kernel, "equal")
    planes = [
        convolve_psf(SCENE, np.repeat(psf[np.newaxis], 3, axis=0).astype(np.float32))
        for psf in (plan.psf_plus, plan.psf_minus)
    ]
    output = plan.gain_plus * planes[0] - plan.gain_minus * planes[1]
    wanted = slow_convolution(SCENE.transpose(2, 0, 1).astype(np.float64), plan.scale * kernel)
    np.testing.assert_allclose(output, wanted, atol=1e-5)


def variance(plan: SignedPlan, kind: str) -> float:
    """Of the difference on an even scene of one electron, at the kernel's own scale; written down a second time."""
    gains = np.array([plan.gain_plus, plan.gain_minus]) / plan.scale
    collected = np.array([plan.psf_plus.sum(), plan.psf_minus.sum()]) if kind == "shot" else np.ones(2)
    return float((gains**2 * collected).sum())


@pytest.mark.parametrize("kernel", [gabor(), gabor() - 0.2, np.array([[3.0, -1.0]]), np.array([[0.1, -7.0, 0.2]])])
@pytest.mark.parametrize("throughput", [(1.0, 1.0), (0.9, 0.4)])
def test_no_other_split_has_less_noise(kernel: np.ndarray, throughput: tuple[float, float]) -> None:
    for kind in ("shot", "read"):
        plan = plan_signed(kernel, kind, throughput)  # type: ignore[arg-type]
        best = scipy.optimize.minimize_scalar(
            lambda share, kind=kind: variance(plan_signed(kernel, float(share), throughput), kind),
            bounds=(1e-3, 1 - 1e-3),
            method="bounded",
            options={"xatol": 1e-9},
        )
        assert plan.aperture_plus == pytest.approx(best.x, abs=1e-4)
        assert variance(plan, kind) == pytest.approx(best.fun, rel=1e-9)
    shot = plan_signed(kernel)
    assert shot.gain_plus == pytest.approx(shot.gain_minus)
    assert shot.noise.shot == pytest.approx(1)
    assert shot.noise.read == pytest.approx(np.sqrt(2))


@pytest.mark.parametrize("split", ["shot", "equal", 0.7])
def test_noise_is_what_a_simulated_sensor_shows(split: str | float) -> None:
    kernel, electrons, read_e = np.array([[4.0, -1.0, 0.5], [-2.0, 0.0, 0.25]]), 400.0, 20.0
    plan = plan_signed(kernel, split, (0.9, 0.6))  # type: ignore[arg-type]
    rng = np.random.default_rng(11)
    draws = 400_000
    expected = {"shot": plan.noise.shot_same_output, "read": plan.noise.read_same_output}
    # One mask of the whole aperture with the mean throughput of the two, and a gain that gives the same output.
    alone = plan.aperture_plus * 0.9 + plan.aperture_minus * 0.6
    output = plan.scale * kernel.sum() * electrons
    gain = output / (alone * electrons)
    for kind, wanted in expected.items():
        arms = []
        for psf in (plan.psf_plus, plan.psf_minus, np.array(alone)):
            mean = psf.sum() * electrons
            arms.append(rng.poisson(mean, draws) if kind == "shot" else rng.normal(mean, read_e, draws))
        pair = plan.gain_plus * arms[0] - plan.gain_minus * arms[1]
        assert pair.mean() == pytest.approx(output, rel=0.01)
        # 400,000 draws know a standard deviation to 0.11 %.
        assert pair.std() / (gain * arms[2]).std() == pytest.approx(wanted, rel=0.01)


def test_a_kernel_of_one_sign_gets_the_whole_aperture() -> None:
    plan = plan_signed(np.abs(gabor()))
    assert (plan.aperture_plus, plan.gain_plus, plan.gain_minus) == pytest.approx((1, 1, 0))
    assert (plan.noise.shot, plan.noise.read, plan.noise.shot_same_output) == pytest.approx((1, 1, 1))
    assert plan.report["light_cancelled"] == 0
    assert "no negative tap" in plan.report["sentence"]
    negative = plan_signed(-np.abs(gabor()))
    assert (negative.aperture_plus, negative.gain_plus, negative.gain_minus) == pytest.approx((0, 0, 1))
    assert "no positive tap" in negative.report["sentence"]


@pytest.mark.parametrize("sign", [1, -1])
def test_rounding_below_zero_is_no_negative_part(sign: int) -> None:
    kernel = np.full((5, 5), 0.04)
    kernel[0, 0] = -1e-18
    plan = plan_signed(sign * kernel)
    assert (plan.aperture_plus, plan.aperture_minus) == ((1, 0) if sign > 0 else (0, 1))
    assert not (plan.psf_minus if sign > 0 else plan.psf_plus).any()


def test_a_kernel_that_cancels_says_so() -> None:
    plan = plan_signed(np.array([[1.0, -1.0]]))
    assert plan.noise.shot_same_output == np.inf
    assert plan.report["noise_shot_same_output"] is None
    assert "nothing is left of an even scene" in plan.report["sentence"]
    assert "negative output of 50.0%" in plan_signed(np.array([[1.0, -3.0]])).report["sentence"]


def test_a_pedestal_is_the_dearer_way() -> None:
    # Taps of +1 and -1 in equal numbers on a pedestal of 1 have the light of the magnitudes: as good as the pair.
    assert plan_signed(np.array([[1.0, -1.0]])).report["pedestal"]["noise_shot"] == pytest.approx(1)
    # A few taps in a wide window of zeros: the pedestal fills it all.
    sparse = np.zeros((63, 63))
    sparse[31, 30:33] = -1, 2, -1
    report = plan_signed(sparse).report
    assert report["pedestal"]["noise_shot"] == report["pedestal"]["light"] == pytest.approx(63 * 63 / 4)


def test_gains_are_fitted_to_what_was_obtained() -> None:
    kernel = gabor() - 0.05
    plan = plan_signed(kernel)
    exact = combine_pair(plan, plan.psf_plus / plan.aperture_plus, plan.psf_minus / plan.aperture_minus)
    assert (exact.gain_plus, exact.gain_minus) == pytest.approx((plan.gain_plus, plan.gain_minus))
    assert exact.error < 1e-9
    assert exact.correlation == pytest.approx((1, 1, 1))
    assert exact.difference.shape == (3, 21, 21)
    # A mask that passes half as much needs twice the gain, and a haze cannot be repaired by any.
    half = combine_pair(plan, 0.5 * plan.psf_plus / plan.aperture_plus, plan.psf_minus / plan.aperture_minus)
    assert half.gain_plus == pytest.approx(2 * plan.gain_plus)
    haze = combine_pair(plan, plan.psf_plus / plan.aperture_plus + np.eye(21) / 300, plan.psf_minus)
    assert haze.error > 0.01
    assert max(haze.correlation) < 0.9999


@pytest.mark.parametrize(
    ("kernel", "options", "said"),
    [
        (np.zeros((3, 3)), {}, "nothing to plan"),
        (np.ones((2, 3, 3)), {}, "of shape"),
        (np.array([[np.nan, 1.0]]), {}, "finite"),
        (np.array([[1.0, -1.0]]), {"split": 1.5}, "between 0 and 1"),
        (np.array([[1.0, -1.0]]), {"split": "best"}, "one of shot, read, equal"),
        (np.array([[1.0, -1.0]]), {"throughput": (0.0, 1.0)}, "throughput"),
    ],
)
def test_what_cannot_be_planned_is_refused(kernel: np.ndarray, options: dict[str, object], said: str) -> None:
    with pytest.raises(SignedKernelError, match=said):
        plan_signed(kernel, **options)  # type: ignore[arg-type]


def test_psfs_of_another_window_are_refused() -> None:
    plan = plan_signed(gabor())
    with pytest.raises(SignedKernelError, match="kernel's window"):
        combine_pair(plan, np.ones((3, 20, 21)), plan.psf_minus)
    with pytest.raises(SignedKernelError, match="not negative"):
        combine_pair(plan, -plan.psf_plus, plan.psf_minus)


@pytest.mark.skipif(not PARAMETERS.is_file(), reason=f"the paper's parameters are not at {PARAMETERS}: put them there")
def test_every_learned_kernel_of_the_paper_has_a_plan() -> None:
    with np.load(PARAMETERS) as stored:
        learned = {name: stored[name] for name in stored.files if name.startswith("conv") and "kernels" in name}
    assert sum(len(kernels) for kernels in learned.values()) == 13
    for name, kernels in learned.items():
        for kernel in kernels:
            turned = kernel[::-1, ::-1]
            plan = plan_signed(turned)
            difference = plan.gain_plus * plan.psf_plus - plan.gain_minus * plan.psf_minus
            np.testing.assert_allclose(difference, plan.scale * turned, atol=1e-6 * plan.scale * np.abs(turned).max())
            assert plan.report["pedestal"]["noise_shot"] >= plan.noise.shot - 1e-9, name
