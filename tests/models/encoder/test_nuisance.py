"""What a real camera adds while learning: as much as it says, light kept, gradients kept, the same for a seed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.detector.batches import noisy_codes
from models.detector.gaussian_encoding import gaussian_kernel
from models.encoder.plan import NuisancePlan
from optics.encoding import THRESHOLDS, Encoding

torch = pytest.importorskip("torch", reason="learning needs torch: pip install 'canopic[train]'")

from models.encoder.chain import quantized  # noqa: E402
from models.encoder.kernels import centre_surround  # noqa: E402
from models.encoder.nuisance import CameraNuisance  # noqa: E402

NONE = NuisancePlan(shot=0, read=0, comparator=0, exposure=0, mask=0, blur_px=0, shift_px=0)
PSF = torch.from_numpy(gaussian_kernel(2.0, 21))


def centre(kernel: "torch.Tensor") -> "np.ndarray":  # type: ignore[type-arg]
    """Centre of gravity (row, column) of a kernel (1, height, width), from its middle, px."""
    taps = kernel[0].numpy(force=True)
    y, x = np.mgrid[: taps.shape[0], : taps.shape[1]]
    return np.array([(taps * y).sum(), (taps * x).sum()]) / taps.sum() - np.array(taps.shape) // 2


def variance(kernel: "torch.Tensor") -> float:
    """Mean variance of a kernel's taps along either axis, px squared."""
    taps = kernel[0].numpy(force=True)
    y, x = np.mgrid[: taps.shape[0], : taps.shape[1]]
    row, column = centre(kernel) + np.array(taps.shape) // 2
    return float((taps * ((y - row) ** 2 + (x - column) ** 2)).sum() / taps.sum() / 2)


def test_without_any_nothing_changes() -> None:
    nuisance, rng = CameraNuisance(NONE, 8), np.random.default_rng(0)
    cells = torch.rand(3, 3, 8, 8)
    assert torch.allclose(nuisance.on_kernels(PSF, rng), PSF, atol=1e-7)
    assert torch.allclose(nuisance.on_cells(cells, rng), cells)
    assert torch.equal(nuisance.on_thresholds(torch.linspace(0, 1, 15), rng), torch.linspace(0, 1, 15))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31))
def test_a_printed_mask_keeps_its_light_and_stays_a_mask(seed: int) -> None:
    nuisance = CameraNuisance(NuisancePlan(mask=0.3, blur_px=1.0, shift_px=1.5), 8)
    found = nuisance.on_kernels(PSF, np.random.default_rng(seed))
    assert float(found.min()) >= 0
    assert float(found.sum()) == pytest.approx(1, abs=1e-5)
    pair = torch.from_numpy(centre_surround(1.0, 3.0, 15))
    printed = nuisance.on_kernels(pair, np.random.default_rng(seed))
    assert float(printed.sum()) == pytest.approx(float(pair.sum()), abs=1e-5)
    assert float(printed.abs().sum()) <= float(pair.abs().sum()) + 1e-5


def test_shift_and_blur_are_as_large_as_they_say() -> None:
    shifting = CameraNuisance(NONE.model_copy(update={"shift_px": 0.5}), 8)
    rng = np.random.default_rng(1)
    places = np.array([centre(shifting.on_kernels(PSF, rng)) for _ in range(200)])
    assert np.abs(places).max() <= 0.5 + 1e-3
    assert places.std(axis=0) == pytest.approx([0.289, 0.289], abs=0.04)
    blurring = CameraNuisance(NONE.model_copy(update={"blur_px": 1.2}), 8)
    found = [variance(blurring.on_kernels(PSF, rng)) - variance(PSF) for _ in range(100)]
    assert min(found) >= -1e-3
    assert 1.0 < max(found) <= 1.2**2 + 1e-3


def test_the_error_of_a_mask_is_smooth_and_as_large_as_it_says() -> None:
    nuisance = CameraNuisance(NONE.model_copy(update={"mask": 0.1}), 8)
    even, rng = torch.full((1, 31, 31), 1 / 961), np.random.default_rng(2)
    ratios = np.stack([nuisance.on_kernels(even, rng)[0].numpy() * 961 for _ in range(100)])
    assert 0.05 < np.log(ratios).std() < 0.12
    assert np.abs(np.diff(ratios, axis=1)).mean() < 0.02


def test_noise_is_that_of_the_detectors_training() -> None:
    """The same cells through both: shares of each code agree, so that both are taught for one camera."""
    thresholds = np.linspace(0.02, 0.9, THRESHOLDS, dtype=np.float32)
    encoding = Encoding(gaussian_kernel(1.0, 3), thresholds)
    rng = np.random.default_rng(3)
    cells = np.full((16, 16, 3), 0.2, np.float32)
    theirs = np.stack([noisy_codes(cells, encoding, rng, 1.0) for _ in range(300)])
    nuisance = CameraNuisance(NuisancePlan(exposure=0), 8)
    same, wanted = torch.full((1, 3, 16, 16), 0.2), torch.from_numpy(thresholds)
    ours = torch.cat(
        [quantized(nuisance.on_cells(same, rng), nuisance.on_thresholds(wanted, rng), None) for _ in range(300)]
    ).numpy()
    shares = [np.bincount(codes.astype(int).ravel(), minlength=16) / codes.size for codes in (theirs, ours)]
    assert 0.05 < shares[0][4] < 0.95
    assert shares[0] == pytest.approx(shares[1], abs=0.04)


def test_exposure_varies_by_image_within_its_share() -> None:
    nuisance = CameraNuisance(NONE.model_copy(update={"exposure": 0.2}), 8)
    found = nuisance.on_cells(torch.full((400, 2, 4, 4), 0.5), np.random.default_rng(4)) / 0.5
    assert float(found.std(dim=(1, 2, 3)).max()) < 1e-6
    factors = found[:, 0, 0, 0].numpy()
    assert 1 / 1.2 - 1e-6 <= factors.min() < 0.86
    assert 1.16 < factors.max() <= 1.2 + 1e-6


def test_gradients_pass_and_darkness_does_not_break_them() -> None:
    nuisance, rng = CameraNuisance(NuisancePlan(), 8), np.random.default_rng(5)
    cells = torch.zeros(2, 3, 4, 4, requires_grad=True)
    nuisance.on_cells(cells, rng).sum().backward()
    assert bool(torch.isfinite(cells.grad).all())
    assert float(cells.grad.abs().min()) > 0
    kernel = PSF.clone().requires_grad_()
    (nuisance.on_kernels(kernel, rng) * torch.rand(1, 21, 21)).sum().backward()
    assert float(kernel.grad.abs().max()) > 0


def test_a_seed_decides() -> None:
    nuisance = CameraNuisance(NuisancePlan(), 8)
    one, again, other = (nuisance.on_kernels(PSF, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


def test_one_tap_has_no_shape_to_get_wrong() -> None:
    one = torch.ones(1, 1, 1)
    assert torch.equal(CameraNuisance(NuisancePlan(), 1).on_kernels(one, np.random.default_rng(0)), one)
