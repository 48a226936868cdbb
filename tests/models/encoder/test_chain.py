"""The chain that learns is the encoding that is built: same codes, and gradients everywhere."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from models.encoder.chain_plan import StartPlan
from models.encoder.plan import checked_plan
from optics.encoding import Range, encode, pooled, quantize
from optics.exposure import steady_exposure

torch = pytest.importorskip("torch", reason="learning needs torch: pip install 'canopic[train]'")

from models.encoder.bits import code_bits, soft_bits  # noqa: E402
from models.encoder.chain import Chain, ChainSettings, convolved, quantized  # noqa: E402
from models.encoder.looks import encoded_looks, light_of, soft_codes, varied_crops  # noqa: E402
from models.encoder.start import starting_chain, starting_kernels  # noqa: E402

KINDS: dict[str, dict[str, Any]] = {
    "psf": {"start": {"sigma_px": [1.5, 3.0], "side_px": 9, "roughness": 0.3}},
    "pair": {"kernels": "pair", "start": {"form": "centre_surround", "sigma_px": [1.0], "outer_px": 3.0, "side_px": 9}},
    "jet": {"kernels": "pair", "start": {"form": "jet", "sigma_px": [1.5], "side_px": 11}},
    "even side": {"kernels": "signed", "start": {"form": "halves", "side_px": 4}},
    "none": {"kernels": "none", "start": {"form": "none"}},
    "few levels": {"levels": 4, "pool": 16, "start": {"side_px": 5}},
    "two levels": {"levels": 2, "start": {"side_px": 5}},
    "per frame": {"range": "per_frame", "start": {"side_px": 7}},
    "paper": {"kernels": "signed", "range": "per_frame", "free_thresholds": True, "thresholds": "even",
              "light": "srgb", "start": {"form": "halves", "side_px": 11}},
}  # fmt: skip


def crops(count: int, seed: int) -> NDArray[np.uint8]:
    """Smooth coloured pictures with some noise."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 200, (count, 8, 8, 3)).repeat(8, axis=1).repeat(8, axis=2)
    return np.asarray(coarse + rng.integers(0, 56, coarse.shape), np.uint8)


def chain_of(kind: str, seed: int = 0) -> Chain:
    return starting_chain(checked_plan({"chain": KINDS[kind]}, kind).chain, crops(12, 5), seed)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from(["fixed", "per_frame"]), st.integers(3, 16))
def test_steps_between_thresholds_stay_as_wide_as_comparators_need(seed: int, kind: Range, levels: int) -> None:
    chain = Chain(ChainSettings(levels=levels, range=kind, least_step=0.02), np.ones((1, 1, 1), np.float32))
    pull = torch.from_numpy(np.random.default_rng(seed).normal(0, 1, 15).astype(np.float32))
    optimizer = torch.optim.Adam(chain.parameters(), 1.0)
    for _ in range(20):
        optimizer.zero_grad()
        (chain.thresholds() * pull).sum().backward()
        optimizer.step()
        assert np.diff(np.unique(chain.export().thresholds)).min() >= 0.02 - 1e-6


@pytest.mark.parametrize("kind", KINDS)
def test_exact_codes_are_those_of_the_exported_encoding(kind: str) -> None:
    chain, images = chain_of(kind), crops(6, 1)
    encoding = chain.export()
    light = light_of(images, chain.settings.light)
    found = chain(light).detach().numpy().transpose(0, 2, 3, 1).astype(np.uint8)
    for image, codes in zip(light.numpy().transpose(0, 2, 3, 1), found, strict=True):
        scene = np.ascontiguousarray(image)
        if encoding.range == "per_frame":
            cells, wanted = pooled(scene, encoding, threads=1), encode(scene, encoding, threads=1)
        else:
            cells = pooled(scene, encoding, threads=1)
            cells = cells * np.float32(steady_exposure(cells, encoding.thresholds))
            wanted = quantize(cells, encoding.thresholds)
        # A value within rounding of a threshold may fall on either side of it.
        clear = np.abs(cells[..., None] - encoding.thresholds).min(axis=-1) > 2e-5
        assert clear.mean() > 0.9
        assert np.array_equal(codes[clear], wanted[clear])


def test_convolution_is_true_and_repeats_edges() -> None:
    kernel = np.zeros((1, 3, 3), np.float32)
    kernel[0, 0, 2] = 1
    image = torch.arange(25, dtype=torch.float32).reshape(1, 1, 5, 5)
    found = convolved(image, torch.from_numpy(kernel))[0, 0]
    # A point at (r, c) comes out at (r - 1, c + 1), where the kernel has its tap.
    assert found[2, 3].item() == pytest.approx(image[0, 0, 3, 2].item(), abs=1e-4)
    assert found[4, 0].item() == pytest.approx(image[0, 0, 4, 0].item(), abs=1e-4)


@pytest.mark.parametrize("kind", ["psf", "few levels", "paper"])
def test_soft_codes_become_the_exact_ones_with_the_slope(kind: str) -> None:
    chain = chain_of(kind)
    cells = chain.cells(light_of(crops(4, 2), chain.settings.light)).detach()
    thresholds = chain.thresholds().detach()
    clear = ((cells[..., None] - thresholds).abs() > 1e-3).all(dim=-1)
    exact = quantized(cells, thresholds, None)
    errors = [float((quantized(cells, thresholds, slope) - exact)[clear].abs().max()) for slope in (5, 100, 2000)]
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 1e-3


def test_straight_through_has_exact_values_and_soft_gradients() -> None:
    chain, images = chain_of("psf"), light_of(crops(4, 3), "linear")
    rng = np.random.default_rng(0)
    hard, _ = soft_codes(chain, images, 5.0, None, rng, straight_through=True)
    assert torch.equal(hard.detach().round(), chain(images))
    assert float((hard.detach() - chain(images)).abs().max()) < 1e-5
    gradients = []
    for through in (True, False):
        chain.zero_grad()
        soft_codes(chain, images, 5.0, None, rng, through)[0].sum().backward()
        gradients.append(chain.kernels.logits.grad.clone())
    assert torch.equal(*gradients)
    assert float(gradients[0].abs().max()) > 0


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "two levels"])
def test_gradients_reach_every_parameter(kind: str) -> None:
    chain = chain_of(kind)
    codes = chain(light_of(crops(6, 4), chain.settings.light), slope=5.0)
    (codes * torch.randn(codes.shape, generator=torch.Generator().manual_seed(0))).sum().backward()
    for name, parameter in chain.named_parameters():
        assert parameter.grad is not None, name
        assert float(parameter.grad.abs().max()) > 1e-6, name


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**31), st.floats(1e-3, 0.3))
def test_thresholds_ascend_and_an_encoding_can_be_made_after_every_step(seed: int, rate: float) -> None:
    rng = np.random.default_rng(seed)
    for kind in ("psf", "few levels", "paper"):
        chain = chain_of(kind)
        optimizer = torch.optim.Adam(chain.parameters(), rate)
        images = light_of(crops(2, seed), chain.settings.light)
        for _ in range(4):
            optimizer.zero_grad()
            codes = chain(images, slope=5.0)
            (codes * torch.from_numpy(rng.normal(0, 1, tuple(codes.shape)).astype(np.float32))).sum().backward()
            optimizer.step()
            encoding = chain.export()
            assert (np.diff(encoding.thresholds) >= 0).all()
            assert encoding.effective_levels <= (chain.settings.levels or 16)
            if kind != "paper":
                assert encoding.realisable
                assert encoding.thresholds[-1] == pytest.approx(0.9)


def test_frequent_thresholds_make_codes_equally_frequent() -> None:
    images = crops(40, 6)
    chain = starting_chain(checked_plan({"chain": {"levels": 6, "start": {"side_px": 5}}}, "x").chain, images, 0)
    codes = encoded_looks(chain, images, 1, None, np.random.default_rng(0)).codes
    values, counts = np.unique(codes, return_counts=True)
    assert values.tolist() == [0, 3, 6, 9, 12, 15]
    shares = counts / counts.sum()
    # The highest is 2 % by exposure; the others share the rest.
    assert shares[-1] < 0.05
    assert shares[:-1].max() / shares[:-1].min() < 1.6


def test_roughness_makes_filters_differ_and_comes_from_the_seed() -> None:
    plan = StartPlan(sigma_px=[3.0, 3.0], side_px=9, roughness=0.2)
    one, again, other = starting_kernels(plan, 1), starting_kernels(plan, 1), starting_kernels(plan, 2)
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)
    assert not np.array_equal(one[0], one[1])


def test_looks_are_one_exact_and_others_within_a_cell() -> None:
    chain, images = chain_of("psf"), crops(3, 7)
    looks = encoded_looks(chain, images, 3, None, np.random.default_rng(0))
    assert looks.codes.shape == (3, 3, 8, 8, 6)
    exact = chain(light_of(images, "linear")).numpy(force=True).transpose(0, 2, 3, 1)
    assert np.array_equal(looks.codes[:, 0], exact.astype(np.uint8))
    assert (looks.codes[:, 1] != looks.codes[:, 0]).any()
    ramp = np.arange(64, dtype=np.uint8)[None, :, None, None].repeat(64, axis=2).repeat(3, axis=3).repeat(20, axis=0)
    shifted = varied_crops(ramp, 8, np.random.default_rng(1))
    firsts = shifted[:, 0, 0, 0]
    assert 0 <= firsts.min() < firsts.max() <= 7
    assert shifted[:, -1].min() == 63


def test_bits_are_entropies_of_codes() -> None:
    rng = np.random.default_rng(0)
    even = rng.integers(0, 4, (4000, 2, 2, 3)).astype(np.uint8)
    found = code_bits(even)
    assert found["per_measurement"] == pytest.approx(24, abs=0.1)
    assert found["per_code"] == pytest.approx(2, abs=0.01)
    assert code_bits(np.full((50, 2, 2, 3), 7, np.uint8))["per_measurement"] == 0


def test_soft_bits_agree_with_counted_ones_and_know_the_way_down() -> None:
    rng = np.random.default_rng(0)
    cells = torch.from_numpy(rng.uniform(0, 1, (400, 3, 2, 2)).astype(np.float32))
    thresholds = torch.tensor([0.25] * 5 + [0.5] * 5 + [0.75] * 5)
    codes = quantized(cells, thresholds, None).numpy().transpose(0, 2, 3, 1).astype(np.uint8)
    counted = code_bits(codes)["per_measurement"]
    assert float(soft_bits(cells, thresholds, 1e4)) == pytest.approx(counted, rel=1e-3)
    assert float(soft_bits(cells, thresholds, 5.0, exact=True)) == pytest.approx(counted, rel=1e-3)
    narrow = cells.detach() * 0.3
    assert float(soft_bits(narrow, thresholds, 20.0)) < float(soft_bits(cells, thresholds, 20.0))


def test_settings_that_no_chain_can_have_are_refused() -> None:
    with pytest.raises(ValueError, match="levels must be 2"):
        ChainSettings(levels=17)
    with pytest.raises(ValueError, match="free_thresholds"):
        ChainSettings(free_thresholds=True)
    with pytest.raises(ValueError, match="thresholds to start from"):
        Chain(ChainSettings(levels=4), np.ones((1, 3, 3), np.float32), np.array([0.5]))
    with pytest.raises(ValueError, match="does not quantize"):
        Chain(ChainSettings(levels=None), np.ones((1, 3, 3), np.float32)).thresholds()
