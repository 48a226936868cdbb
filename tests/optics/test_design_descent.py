"""Design with PyTorch: NumPy and torch agree, the gradient is the slope, descent finds what is there to be found."""

import dataclasses

import numpy as np
import pytest

from optics.design import DesignSettings, design_mask
from optics.design.constraints import violations
from optics.design.problem import cost, make_problem, psf_of
from optics.mask import Geometry, Mask
from optics.materials import refractive_index
from optics.psf import chain_psf, make_chain, psf

torch = pytest.importorskip("torch", reason="gradient descent needs PyTorch: pip install 'canopic[train]'")
from optics.design import descent  # noqa: E402  imports torch

GAUSSIAN = np.exp(-sum(axis**2 for axis in np.mgrid[-10:11, -10:11]) / 18)
SMALL = DesignSettings(cells=64, start_iterations=10, iterations=60, last_moves=5, use_torch=True, threads=1)
# Square and not, odd and even, one sample per cell and two, plane and spherical waves, features of one cell and three.
PLACES = (
    (GAUSSIAN, SMALL),
    (GAUSSIAN[:16, :], dataclasses.replace(SMALL, min_feature_m=6e-6)),
    (GAUSSIAN[:, :14], dataclasses.replace(SMALL, geometry=Geometry(sensor_distance_m=1.2e-3), cells=40)),
    (GAUSSIAN, dataclasses.replace(SMALL, geometry=Geometry(source_distance_m=10e-3), smoothness=0.3)),
)


def _heights(problem, seed=0):
    return np.random.default_rng(seed).random(problem.stop.shape) * 1.2e-6


@pytest.mark.parametrize(("target", "asked"), PLACES)
def test_torch_and_numpy_agree(target, asked):
    """Against `optics.psf`, the chain that everything else uses, in single and in double precision."""
    for double, tolerance in ((False, 1e-5), (True, 1e-10)):
        problem = make_problem(target, asked, double)
        heights = _heights(problem)
        fixed = descent.tensors(problem)
        for light, lane in zip(fixed.lights, problem.lanes, strict=True):
            field = torch.exp(1j * torch.from_numpy(heights) * light.phase_per_m).to(light.incident.dtype)
            field = field.repeat_interleave(light.repeat, 0).repeat_interleave(light.repeat, 1) * light.incident
            behind = descent._through(field, light.wave, light.transfer, light.window)
            image = (light.pixel_rows @ behind.abs().square() @ light.pixel_columns.T).numpy()
            chain = make_chain(problem.stop, asked.pitch_m, problem.geometry, lane.wavelength_m, "stepped")
            turns = (refractive_index(asked.material, lane.wavelength_m) - 1) / lane.wavelength_m
            expected = chain_psf(chain, problem.stop * np.exp(2j * np.pi * turns * heights))
            assert np.linalg.norm(image - expected) < tolerance * np.linalg.norm(expected)


@pytest.mark.parametrize(("target", "asked"), PLACES)
def test_gradient_is_the_finite_difference(target, asked):
    problem = make_problem(target, asked, double=True)
    fixed = descent.tensors(problem)
    heights = torch.from_numpy(_heights(problem))
    change = torch.from_numpy(np.random.default_rng(1).standard_normal(problem.stop.shape))
    _, gradient = descent.loss_and_gradient(heights, fixed)
    # A step of a hundredth of a nanometre: the third derivative leaves 1e-7, rounding in double less.
    step = 1e-11
    up, down = (descent.loss_and_gradient(heights + sign * step * change, fixed)[0].value for sign in (1, -1))
    assert float((gradient * change).sum()) == pytest.approx((up - down) / (2 * step), rel=1e-5)
    # And cell by cell, where a sum could hide a misplaced one.
    for place in ((30, 20), (11, 33), (20, 5)):
        moved = [heights.clone(), heights.clone()]
        moved[0][place] += 1e-10
        moved[1][place] -= 1e-10
        up, down = (descent.loss_and_gradient(each, fixed)[0].value for each in moved)
        assert float(gradient[place]) == pytest.approx(
            (up - down) / 2e-10, rel=1e-4, abs=1e-5 * float(gradient.abs().max())
        )


@pytest.mark.parametrize("levels", [2, 5])
@pytest.mark.parametrize("done", [0.0, 0.6])
def test_gradient_of_the_staircase_is_the_finite_difference(levels, done):
    asked = dataclasses.replace(SMALL, levels=levels, min_feature_m=4e-6, smoothness=0.2)
    problem = make_problem(GAUSSIAN, asked, double=True)
    variables = descent._Levels(problem, descent.tensors(problem))
    rng = np.random.default_rng(2)
    values = torch.from_numpy(
        rng.uniform(0.1, 0.9, problem.clear.shape) + rng.integers(0, levels - 1, problem.clear.shape)
    )
    change = torch.from_numpy(rng.standard_normal(problem.clear.shape))
    _, gradient = variables.loss(values, done)
    up, down = (variables.loss(values + sign * 1e-6 * change, done)[0].value for sign in (1, -1))
    assert float((gradient * change).sum()) == pytest.approx((up - down) / 2e-6, rel=1e-5)


def test_single_precision_gradient_is_that_of_double():
    gradients = []
    for double in (False, True):
        problem = make_problem(GAUSSIAN, SMALL, double)
        heights = torch.from_numpy(_heights(problem)).to(torch.float64 if double else torch.float32)
        gradients.append(descent.loss_and_gradient(heights, descent.tensors(problem))[1].to(torch.float64))
    assert float((gradients[0] - gradients[1]).norm() / gradients[1].norm()) < 1e-4


@pytest.mark.parametrize(
    ("levels", "height_range_m", "least"), [(2, None, 0.85), (16, None, 0.97), (None, 1.2e-6, 0.95)]
)
def test_a_psf_that_a_mask_has_is_found_again(levels, height_range_m, least):
    """The target is the PSF of a mask of the same kind, so it can be reached; by other heights, most likely."""
    asked = dataclasses.replace(
        SMALL, levels=levels, height_range_m=height_range_m, iterations=150, scenes=0.0, light=0.0
    )
    problem = make_problem(GAUSSIAN, asked)
    rng = np.random.default_rng(3)
    cells = np.repeat(np.repeat(rng.random((16, 16)), 4, 0), 4, 1) * problem.height_range_m
    if problem.heights_m is not None:
        cells = problem.heights_m[np.rint(cells / problem.heights_m[1]).astype(int)]
    target = psf(Mask(cells, asked.pitch_m, asked.material, problem.geometry, problem.stop))
    made = design_mask(target, asked, rng)
    assert min(made.report["correlation_rgb"]) > least


@pytest.mark.parametrize(
    ("levels", "min_feature_m", "smoothness"), [(2, None, 0.0), (2, 4e-6, 0.0), (16, 6e-6, 0.01), (None, None, 0.05)]
)
def test_descent_keeps_the_constraints_and_beats_its_start(levels, min_feature_m, smoothness):
    asked = dataclasses.replace(SMALL, levels=levels, min_feature_m=min_feature_m, smoothness=smoothness)
    made = design_mask(GAUSSIAN, asked, np.random.default_rng(0))
    assert made.report["gradient_descent"]
    assert "note" not in made.report
    assert made.report["violations"] == []
    assert made.report["correlation"] > made.report["gerchberg_saxton_only"]["correlation"]
    problem = make_problem(GAUSSIAN, asked)
    assert violations(made.mask.height_m, problem.height_range_m, problem.heights_m, problem.block) == []
    # Quantized heights are the allowed ones to the last bit, not nearly.
    assert levels is None or np.isin(made.mask.height_m, problem.heights_m).all()


def test_weight_makes_smooth():
    steps = []
    for smoothness in (0.0, 10.0):
        asked = dataclasses.replace(SMALL, levels=None, height_range_m=1.2e-6, smoothness=smoothness)
        problem = make_problem(GAUSSIAN, asked)
        rough = np.random.default_rng(5).random(problem.clear.shape) * 0.6e-6
        heights, _ = descent.descend(problem, rough, 30)
        # The middle alone: towards the stop's edge both are cut off.
        steps.append(float(np.diff(heights[20:44, 20:44]).std()))
    assert steps[1] < 0.7 * steps[0]


def test_the_best_quantized_map_on_the_way_is_kept():
    problem = make_problem(GAUSSIAN, dataclasses.replace(SMALL, levels=2))
    random = problem.heights_m[np.random.default_rng(4).integers(0, 2, problem.clear.shape)]
    good, history = descent.descend(problem, random, 40)
    assert len(history) == 40
    assert cost(problem, psf_of(problem, good)).value < cost(problem, psf_of(problem, random)).value
    variables = descent._Levels(problem, descent.tensors(problem))
    better, worse = (torch.from_numpy(each / variables.unit_m).float().round() for each in (good, random))
    for first, second in ((better, worse), (worse, better)):
        kept, least = descent._better(first, variables.allowed_loss(first).value, second, variables)
        assert torch.equal(kept, better)
        assert least == variables.allowed_loss(better).value


def test_same_seed_same_mask_and_pytorch_keeps_its_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        first, second = (design_mask(GAUSSIAN, SMALL, np.random.default_rng(7)) for _ in range(2))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    np.testing.assert_array_equal(first.mask.height_m, second.mask.height_m)
    assert first.history == second.history
