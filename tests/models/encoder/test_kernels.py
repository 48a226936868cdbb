"""Kernels that are learned: what optics can have at every step, and gradients that stay alive."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="learning needs torch: pip install 'canopic[train]'")

from models.detector.gaussian_encoding import gaussian_kernel  # noqa: E402
from models.encoder.kernels import centre_surround, halves, jet, make_kernels  # noqa: E402

STARTS = {"psf": gaussian_kernel(2.0, 9), "pair": centre_surround(1.0, 3.0, 9), "signed": centre_surround(1.0, 3.0, 9)}


def test_starts_are_those_of_the_paper() -> None:
    wide = gaussian_kernel(8.0, 63)
    assert wide.shape == (1, 63, 63)
    assert wide.sum() == pytest.approx(1, abs=1e-6)
    assert wide[0, 31, 39] / wide[0, 31, 31] == pytest.approx(np.exp(-0.5), rel=1e-5)
    four = halves(11)
    assert four.sum(axis=(1, 2)).tolist() == [55, 55, 55, 55]
    assert np.array_equal(four[0], four[2, ::-1])
    assert np.array_equal(four[1], four[3, :, ::-1])
    assert four[:, 5, 5].max() == 0


def test_a_jet_answers_as_derivatives_do() -> None:
    blur, down, right, bowl = (kernel.astype(np.float64) for kernel in jet(2.0, 31))
    rows, columns = np.mgrid[-15:16, -15:16]
    # Convolution turns the kernel round: the response to a picture is the sum of picture[-offset] * kernel.
    answer = lambda picture, kernel: float((picture[::-1, ::-1] * kernel).sum())  # noqa: E731
    even, slope_down, slope_right = np.ones(rows.shape), rows.astype(float), columns.astype(float)
    bump = np.exp(-(rows**2 + columns**2) / 8)
    assert answer(even, blur) == pytest.approx(1, abs=1e-5)
    assert max(abs(answer(even, kernel)) for kernel in (down, right, bowl)) < 1e-6
    assert answer(slope_down, down) > 0 > answer(-slope_down, down)
    assert answer(slope_right, right) > 0
    assert abs(answer(slope_right, down)) < 1e-6
    assert answer(bump, bowl) > 0
    assert np.abs(jet(2.0, 31)).sum(axis=(1, 2)) == pytest.approx(np.ones(4), abs=1e-5)


@pytest.mark.parametrize("kind", ["psf", "signed"])
def test_a_learning_starts_from_the_kernels_it_was_given(kind: str) -> None:
    found = make_kernels(kind, STARTS["psf"])().detach().numpy()  # type: ignore[arg-type]
    assert np.abs(found - STARTS["psf"]).max() < 1e-4


def test_a_pair_starts_as_its_signed_kernel_up_to_a_factor() -> None:
    start = STARTS["pair"]
    found = make_kernels("pair", start)().detach().numpy()
    assert np.corrcoef(found.ravel(), start.ravel())[0, 1] > 0.9999
    one_sign = make_kernels("pair", gaussian_kernel(2.0, 9))().detach().numpy()
    assert one_sign.min() >= -1e-3


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 2**31), st.floats(1e-3, 1.0))
def test_every_step_stays_within_what_optics_can_have(seed: int, rate: float) -> None:
    rng = np.random.default_rng(seed)
    for kind in ("psf", "pair"):
        module = make_kernels(kind, STARTS[kind])  # type: ignore[arg-type]
        optimizer = torch.optim.Adam(module.parameters(), rate)
        wanted = torch.from_numpy(rng.normal(0, 1, (1, 9, 9)).astype(np.float32))
        for _ in range(12):
            optimizer.zero_grad()
            (module() * wanted).sum().backward()
            optimizer.step()
            kernel = module().detach().numpy()[0].astype(np.float64)
            if kind == "psf":
                assert kernel.min() >= 0
                assert kernel.sum() == pytest.approx(1, abs=1e-5)
            else:
                assert np.abs(kernel).sum() <= 1 + 1e-5
                assert 0 < float(torch.sigmoid(module.share_logit.detach())) < 1


def test_a_wide_blur_keeps_its_gradient_where_free_taps_lose_it() -> None:
    """63 px, a fixed gain and Adam: what the trials saw die after one step lives as a softmax."""
    module = make_kernels("psf", gaussian_kernel(8.0, 63))
    optimizer = torch.optim.Adam(module.parameters(), 3e-2)
    wanted = torch.from_numpy(np.random.default_rng(0).random((1, 63, 63)).astype(np.float32))
    first = None
    for _ in range(100):
        optimizer.zero_grad()
        loss = -(module() * wanted).sum()
        loss.backward()
        size = float(module.logits.grad.abs().max())
        first = first or size
        optimizer.step()
    assert size > 1e-2 * first
    assert -loss.item() > 0.6


def test_what_is_no_kernel_is_refused() -> None:
    with pytest.raises(ValueError, match=r"signed.*psf.*pair.*none.*'blur'"):
        make_kernels("blur", STARTS["psf"])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="filters, height, width"):
        make_kernels("psf", np.ones((3, 3), np.float32))
    with pytest.raises(ValueError, match="odd side"):
        gaussian_kernel(2.0, 8)
