"""Learned masks: their PSF is that of `optics.psf`, gradients are slopes, and no step leaves what can be made."""

import numpy as np
import pytest
from pydantic import ValidationError

from models.detector.gaussian_encoding import gaussian_kernel
from models.encoder.height_masks import (
    designed_start,
    diffuser_start,
    mask_encoding,
    mask_report,
    mask_reports,
    mask_start,
    own_kernels,
    signed_shares,
)
from models.encoder.height_plan import HeightPlan
from optics.code_change import photographs
from optics.design.constraints import violations
from optics.encoding import convolve_psf
from optics.mask import Mask, read_mask, write_mask
from optics.metrics import correlation
from optics.psf import psf

torch = pytest.importorskip("torch", reason="learning a mask needs PyTorch: pip install 'canopic[train]'")
from models.encoder.chain import Chain, ChainSettings, convolved  # noqa: E402  imports torch
from models.encoder.height import HeightKernels  # noqa: E402  imports torch

SMALL = HeightPlan(cells=48, pitch_m=4e-6, kernel_px=15, levels=16)
# Levels many, two and none; features wider than a cell; relief rounded by the process; two samples per cell.
PLANS = {
    "levels": SMALL,
    "two levels": SMALL.model_copy(update={"levels": 2}),
    "features": HeightPlan(cells=97, kernel_px=15, levels=4, min_feature_m=6e-6),
    "any height": HeightPlan(cells=48, pitch_m=4e-6, kernel_px=15, levels=None, height_range_m=1.3e-6),
    "smooth": HeightPlan(cells=48, pitch_m=4e-6, kernel_px=15, levels=None, height_range_m=2.4e-6, smooth_m=6e-6),
    "near": HeightPlan(cells=40, kernel_px=15, sensor_distance_m=1.2e-3),
}
each_plan = pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS.keys())


def _start(plan, filters=1, seed=0):
    shape = (filters, plan.features, plan.features)
    return np.random.default_rng(seed).random(shape) * plan.largest_m


def _likeness(found, wanted):
    found = found - found.mean(dim=(-2, -1), keepdim=True)
    wanted = wanted - wanted.mean()
    return (found * wanted).sum((-2, -1)) / (found.norm(dim=(-2, -1)) * wanted.norm())


def _fit(kernels, wanted, steps, rate=0.1):
    """Likeness after each step, of all filters and colours the mean."""
    optimiser = torch.optim.Adam(kernels.parameters(), lr=rate)
    history = []
    for _ in range(steps):
        optimiser.zero_grad()
        likeness = _likeness(kernels(), torch.from_numpy(wanted)).mean()
        (1 - likeness).backward()
        optimiser.step()
        history.append(float(likeness.detach()))
    return history


@each_plan
def test_the_psf_is_that_of_the_exported_mask(plan):
    """Torch, in single and double precision, against `optics.psf`, which shares neither its grid nor its transforms'
    code: largest difference in shares of the peak."""
    for double, tolerance in ((False, 1e-5), (True, 1e-6)):
        kernels = HeightKernels(plan, _start(plan, 2), double=double)
        with torch.no_grad():
            found = kernels.psf().numpy()
        for mask, planes in zip(kernels.masks(), found, strict=True):
            expected = psf(mask)
            assert np.abs(planes - expected).max() < tolerance * expected.max()


def test_light_is_conserved():
    kernels = HeightKernels(SMALL, _start(SMALL, 2))
    with torch.no_grad():
        light, with_haze = kernels.psf().sum((2, 3)), kernels().sum((2, 3))
        assert kernels().min() >= 0
    assert 0 < light.min() < light.max() < 0.9  # cells at random send light past the window
    np.testing.assert_allclose(with_haze, 1, atol=1e-6)
    without = HeightKernels(SMALL.model_copy(update={"haze": False}), _start(SMALL, 2))
    with torch.no_grad():
        torch.testing.assert_close(without(), kernels.psf())
    # Through plane glass next to nothing misses a window as wide as this, and nothing is won.
    wide = SMALL.model_copy(update={"kernel_px": 95})
    flat = HeightKernels(wide, np.zeros((1, SMALL.features, SMALL.features)))
    with torch.no_grad():
        assert 0.97 < flat.psf().sum((2, 3)).min() <= flat.psf().sum((2, 3)).max() < 1.001


@pytest.mark.parametrize("name", ["any height", "smooth"])
def test_the_gradient_is_the_finite_difference(name):
    plan = PLANS[name]
    kernels = HeightKernels(plan, _start(plan), double=True)
    weight = torch.from_numpy(np.random.default_rng(1).standard_normal((1, 3, 15, 15)))

    def loss():
        return (kernels() * weight).sum()

    loss().backward()
    gradient = kernels.delay_rad.grad.clone()
    change = torch.from_numpy(np.random.default_rng(2).standard_normal(gradient.shape))
    places = [torch.zeros_like(change) for _ in range(3)]
    for place, (row, column) in zip(places, ((24, 20), (10, 30), (35, 12)), strict=True):
        place[0, row, column] = 1
    with torch.no_grad():
        for along in (change, *places):
            values = []
            for sign in (1, -1):
                kernels.delay_rad.add_(along, alpha=sign * 1e-5)
                values.append(float(loss()))
                kernels.delay_rad.add_(along, alpha=-sign * 1e-5)
            slope = (values[0] - values[1]) / 2e-5
            assert float((gradient * along).sum()) == pytest.approx(slope, rel=1e-5, abs=1e-9)


def test_the_gradient_between_levels_is_that_of_the_chord():
    """What the loss would change by along the straight line from one level's light to the other's, no difference of
    heights: for one cell's half-wave step the derivative by height would be next to nothing."""
    plan = PLANS["two levels"]
    kernels = HeightKernels(plan, _start(plan), double=True)
    weight = torch.from_numpy(np.random.default_rng(1).standard_normal((1, 3, 15, 15)))
    (kernels.psf() * weight).sum().backward()
    place = (0, 24, 20)
    here = kernels.delay_rad.detach().clone()
    low, high = here.clone(), here.clone()
    low[place], high[place] = 0, kernels.highest_rad
    with torch.no_grad():
        fields = []
        for values in (low, high):
            kernels.delay_rad.copy_(values)
            steps = kernels._folded_rad() / kernels.highest_rad
            fields.append([way.stepped(steps) for way in kernels._ways()])
        is_high = float(here[place] >= kernels.highest_rad / 2)

        def mixed(share):
            planes = [
                way.through((1 - share) * one + share * other)
                for way, one, other in zip(kernels._ways(), *fields, strict=True)
            ]
            return float((torch.stack(planes, dim=1) * weight).sum())

        slope = (mixed(is_high + 1e-5) - mixed(is_high - 1e-5)) / 2e-5
    assert float(kernels.delay_rad.grad[place]) * kernels.highest_rad == pytest.approx(slope, rel=1e-5)


@each_plan
def test_what_can_be_made_holds_after_every_step(plan):
    """Steps as large as they come: parameters leave the range at once, the mask never does."""
    kernels = HeightKernels(plan, _start(plan))
    wanted = torch.from_numpy(gaussian_kernel(3, 15))
    optimiser = torch.optim.Adam(kernels.parameters(), lr=1.5)
    for _ in range(8):
        optimiser.zero_grad()
        (-_likeness(kernels(), wanted).mean()).backward()
        optimiser.step()
        (mask,) = kernels.masks()
        assert violations(mask.height_m, plan.largest_m, plan.heights_m, plan.block) == []
        with torch.no_grad():
            assert kernels().min() >= 0
            assert kernels().sum((2, 3)).max() <= 1 + 1e-5
    spread = kernels.delay_rad.detach()
    assert spread.min() < 0 or spread.max() > kernels.highest_rad
    assert mask.height_m.std() > 0.1 * plan.largest_m or plan.smooth_m


@each_plan
def test_gradients_reach_every_cell_in_the_stop_even_at_the_ends_of_the_range(plan):
    clear = HeightKernels(plan, _start(plan)).clear.numpy()
    for start in (_start(plan), np.zeros((1, *clear.shape)), np.full((1, *clear.shape), plan.largest_m)):
        kernels = HeightKernels(plan, start)
        weight = torch.from_numpy(np.random.default_rng(3).random((1, 3, 15, 15), dtype=np.float32))
        (kernels() * weight).sum().backward()
        gradient = kernels.delay_rad.grad[0].numpy()
        assert (gradient[clear] != 0).all()
        if plan.smooth_m is None:
            assert not gradient[~clear].any()
        # Nor does a cell die whose parameter has left the range, up or down.
        with torch.no_grad():
            kernels.delay_rad.add_(kernels.highest_rad * torch.linspace(-3.3, 2.4, len(clear))[:, None])
        kernels.delay_rad.grad = None
        (kernels() * weight).sum().backward()
        assert (kernels.delay_rad.grad[0].numpy()[clear] != 0).all()


@each_plan
def test_learning_reaches_a_wanted_blur(plan):
    kernels = HeightKernels(plan, _start(plan))
    # Two unequal spots beside the axis: nothing that a lens, plane glass or diffraction would do by itself.
    wanted = np.roll(gaussian_kernel(1.5, 15)[0], (-3, -3), (0, 1)) + 0.5 * np.roll(
        gaussian_kernel(1.5, 15)[0], (3, 2), (0, 1)
    )
    history = _fit(kernels, wanted, 60)
    assert history[0] < 0.5
    found = correlation(psf(kernels.masks()[0]), wanted)
    assert found == pytest.approx(history[-1], abs=0.05)
    assert found > 0.7


def test_through_the_chain_everything_learns_and_is_exported():
    plan = SMALL
    kernels = HeightKernels(plan, diffuser_start(plan, 2, np.random.default_rng(0)))
    chain = Chain(ChainSettings(pool=4, levels=4), kernels)
    assert chain.filters == 2
    images = torch.from_numpy(np.random.default_rng(1).random((2, 3, 32, 24), dtype=np.float32))
    codes = chain(images, slope=4.0)
    assert codes.shape == (2, 6, 8, 6)
    weight = torch.from_numpy(np.random.default_rng(2).random(codes.shape, dtype=np.float32))
    (codes * weight).sum().backward()
    assert all(each.grad is not None and bool(each.grad.any()) for each in chain.parameters())
    # Each colour is convolved with its own PSF: exactly what `optics` does with the exported masks.
    own = own_kernels(kernels.masks(), plan.haze)
    scene = np.ascontiguousarray(images[0].permute(1, 2, 0).numpy())
    with torch.no_grad():
        planes = convolved(images[:1], kernels()).numpy()[0]
    np.testing.assert_allclose(planes, convolve_psf(scene, own), atol=2e-6)
    # And the encoding is the same by way of torch and of `optics.psf`: the mean of the colours, summing to one.
    exported = chain.export()
    encoding = mask_encoding(kernels.masks(), exported.thresholds, 4, plan.haze)
    np.testing.assert_allclose(exported.kernels, encoding.kernels, atol=1e-5 * float(encoding.kernels.max()))
    assert encoding.realisable
    np.testing.assert_allclose(encoding.throughput, 1, atol=1e-5)


def test_a_pair_is_the_difference_of_what_its_masks_do():
    plan = SMALL.model_copy(update={"pair": True, "start_iterations": 5, "start_descent": 0})
    wanted = gaussian_kernel(1.5, 15) - 0.6 * gaussian_kernel(3.5, 15)
    shares = signed_shares(wanted)
    kernels = HeightKernels(plan, designed_start(plan, wanted, np.random.default_rng(0)), shares)
    assert kernels.filters == 1
    assert kernels.names == ["mask_0_plus", "mask_0_minus"]
    assert kernels.shares() == pytest.approx(shares)
    # Each mask does its part, as `optics.psf` has it; the kernel learns towards what no single mask can be.
    before = _fit(kernels, wanted[0], 40, rate=0.05)
    assert before[-1] > before[0]
    assert before[-1] > 0.9
    with torch.no_grad():
        found = kernels()
        torch.testing.assert_close(
            found.numpy(), own_kernels(kernels.masks(), plan.haze, kernels.shares()), atol=1e-6, rtol=0
        )
    assert found.min() < 0 < found.max()
    assert found.abs().sum((2, 3)).max() <= 1 + 1e-5
    assert kernels.shares() != pytest.approx(shares)
    chain = Chain(ChainSettings(levels=4), kernels)
    encoding = mask_encoding(kernels.masks(), chain.export().thresholds, 8, plan.haze, kernels.shares())
    np.testing.assert_allclose(chain.export().kernels, encoding.kernels, atol=1e-6)
    (report,) = mask_reports(kernels.masks(), encoding, plan.haze, kernels.shares())
    assert np.shape(report["throughput"]) == (2, 3)
    assert report["share"] == pytest.approx(kernels.shares()[0])
    with pytest.raises(ValueError, match="two masks"):
        HeightKernels(plan, _start(plan, 3))
    with pytest.raises(ValueError, match="one for each"):
        HeightKernels(plan, _start(plan, 2), [0.5, 0.5])


def test_masks_survive_their_file_and_go_on_learning(tmp_path):
    kernels = HeightKernels(SMALL, _start(SMALL, 2))
    _fit(kernels, gaussian_kernel(3, 15)[0], 3)
    masks = kernels.masks()
    for number, mask in enumerate(masks):
        write_mask(mask, tmp_path / f"mask_{number}.npz")
    read = [read_mask(tmp_path / f"mask_{number}.npz") for number in range(2)]
    assert [mask.id for mask in read] == [mask.id for mask in masks]
    assert masks[0].id != masks[1].id
    again = HeightKernels(SMALL, mask_start(SMALL, read))
    with torch.no_grad():
        torch.testing.assert_close(again(), kernels(), atol=1e-7, rtol=1e-5)
    # A checkpoint is the parameter alone; what follows from the plan is made again.
    assert list(kernels.state_dict()) == ["delay_rad"]
    again.load_state_dict(kernels.state_dict())
    for one, other in zip(again.masks(), masks, strict=True):
        assert one.id == other.id


def test_a_designed_start_is_near_and_a_diffuser_is_not():
    plan = SMALL.model_copy(update={"start_iterations": 10, "start_descent": 20})
    wanted = gaussian_kernel(2.5, 15)
    designed = HeightKernels(plan, designed_start(plan, wanted, np.random.default_rng(0)))
    random = HeightKernels(plan, diffuser_start(plan, 1, np.random.default_rng(0)))
    likeness = [correlation(psf(each.masks()[0]), wanted[0]) for each in (designed, random)]
    assert likeness[0] > 0.85
    assert likeness[1] < 0.5


def test_the_report_tells_one_kernel_for_all_colours_from_each_its_own():
    kernels = HeightKernels(SMALL, diffuser_start(SMALL, 1, np.random.default_rng(0)))
    thresholds = np.linspace(0.05, 0.9, 15).astype(np.float32)
    images = photographs(96, 128)[:3]
    report = mask_report(kernels.masks(), thresholds, 8, SMALL.haze, images)
    assert 0 < report["mean_for_each_colour"]["share_changed"] < 0.5
    # Spread as a haze, the light that misses the window makes the codes those of the whole mask more nearly.
    forgotten = mask_report(kernels.masks(), thresholds, 8, False, images)
    assert 0 < report["stray_light"]["share_changed"] < forgotten["stray_light"]["share_changed"]
    assert np.shape(report["throughput"]) == (1, 3)
    # Colours that see the same relief alike: hardly a code changes.
    same = SMALL.model_copy(update={"wavelengths_m": (551e-9, 550e-9, 549e-9)})
    alike = HeightKernels(same, diffuser_start(same, 1, np.random.default_rng(0)))
    little = mask_report(alike.masks(), thresholds, 8, same.haze, images)
    assert little["mean_for_each_colour"]["share_changed"] < 0.2 * report["mean_for_each_colour"]["share_changed"]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"kernel_px": 16}, "odd"),
        ({"smooth_m": 4e-6}, "levels"),
        ({"material": "glas"}, "fused_silica"),
        ({"cells": 16, "kernel_px": 3}, "diffraction alone"),
        ({"kernel_px": 255}, "smaller target"),
        ({"min_feature_m": 1e-6}, "cells"),
        ({"pitch": 2e-6}, "pitch"),
    ],
)
def test_a_plan_that_optics_cannot_have_is_refused(wrong, said):
    with pytest.raises(ValidationError, match=said):
        HeightPlan(**wrong)


def test_a_start_that_does_not_fit_is_refused():
    for start in (np.zeros((48, 48)), np.zeros((1, 47, 48)), np.zeros((0, 48, 48))):
        with pytest.raises(ValueError, match="so many features"):
            HeightKernels(SMALL, start)
    with pytest.raises(ValueError, match="must lie in 0 to"):
        HeightKernels(SMALL, np.full((1, 48, 48), 2 * SMALL.largest_m))
    with pytest.raises(ValueError, match="kernel_px"):
        designed_start(SMALL, gaussian_kernel(3, 13), np.random.default_rng(0))
    other = Mask(np.zeros((30, 30)), 2e-6)
    with pytest.raises(ValueError, match="48"):
        mask_start(SMALL, [other])
