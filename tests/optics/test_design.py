"""Design without PyTorch: light's way, start, alternating projections, moves, constraints, refusals, the whole way."""

import dataclasses
import importlib.util
import itertools
import json

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import optics.design.design as design_module
from optics.design import DesignError, DesignSettings, design_mask
from optics.design.constraints import keeps_feature, violations
from optics.design.gerchberg_saxton import fold, gerchberg_saxton, project, transport_start
from optics.design.lane import adjoint, forward, in_pixels, make_lane, transmitted
from optics.design.loss import Weights, cost_and_gradient, make_wish
from optics.design.moves import last_moves
from optics.design.problem import cost, make_problem, psf_of, to_cells
from optics.design.settings import height_range, prepare_target
from optics.mask import Geometry, Mask, circular_stop
from optics.materials import FUSED_SILICA, refractive_index
from optics.psf import psf

GAUSSIAN = np.exp(-sum(axis**2 for axis in np.mgrid[-10:11, -10:11]) / 18)
SMALL = DesignSettings(cells=64, start_iterations=10, iterations=30, last_moves=0, use_torch=False, threads=1)
# Waves reach the sensor at angles, distances and samplings of their own; one cell is two samples in the last.
PLACES = (
    (Geometry(psf_px=(21, 21)), (64, 64)),
    (Geometry(psf_px=(12, 31), sensor_distance_m=1.2e-3), (61, 40)),
    (Geometry(psf_px=(16, 16), source_distance_m=20e-3), (48, 48)),
)


@pytest.mark.parametrize(("geometry", "cells"), PLACES)
def test_lanes_give_the_psf_of_the_full_chain(geometry, cells):
    rng = np.random.default_rng(0)
    mask = Mask(rng.random(cells) * 1.5e-6, 2e-6, geometry=geometry)
    expected = psf(mask)
    for colour, wavelength_m in enumerate(geometry.wavelengths_m):
        # 1e-5 of the peak: what single precision leaves after two transforms; double agrees to float32's own rounding.
        for double, tolerance in ((False, 1e-5), (True, 1e-6)):
            lane = make_lane(mask.stop, mask.pitch_m, geometry, mask.material, wavelength_m, double)
            image = in_pixels(lane, forward(lane, transmitted(lane, mask.height_m)))
            np.testing.assert_allclose(image, expected[colour], rtol=0, atol=tolerance * expected[colour].max())


@pytest.mark.parametrize(("geometry", "cells"), PLACES)
def test_adjoint_takes_forward_back(geometry, cells):
    rng = np.random.default_rng(1)
    stop = circular_stop(cells, 2e-6)
    lane = make_lane(stop, 2e-6, geometry, FUSED_SILICA, 460e-9, double=True)
    here = transmitted(lane, rng.random(cells) * 1e-6)
    there = forward(lane, here)
    other = rng.standard_normal(there.shape) + 1j * rng.standard_normal(there.shape)
    assert np.vdot(other, there) == pytest.approx(np.vdot(adjoint(lane, other), here), rel=1e-11)


def test_gradient_of_the_loss_is_its_finite_difference():
    rng = np.random.default_rng(2)
    images, change = rng.random((3, 9, 12)) / 200, rng.standard_normal((3, 9, 12))
    targets = rng.random((3, 9, 12))
    wishes = [make_wish(target / target.sum()) for target in targets]
    weights = Weights(scenes=0.7, light=0.3)
    step = 1e-7
    up, down = (cost_and_gradient(wishes, images + sign * step * change, weights)[0].value for sign in (1, -1))
    gradient = cost_and_gradient(wishes, images, weights)[1]
    assert (gradient * change).sum() == pytest.approx((up - down) / (2 * step), rel=1e-6)


def _cost(images):
    return cost_and_gradient([make_wish(GAUSSIAN / GAUSSIAN.sum())] * 3, images, Weights(scenes=1.0, light=0.1))[0]


def test_loss_of_a_fainter_target_is_the_light_that_is_lost():
    found = _cost(np.stack([0.4 * GAUSSIAN / GAUSSIAN.sum()] * 3))
    assert found.correlations == pytest.approx((1, 1, 1))
    assert found.throughputs == pytest.approx((0.4, 0.4, 0.4))
    # The rest is haze: 0.6 of the contrast is missing.
    assert found.scene_errors == pytest.approx((0.36, 0.36, 0.36))
    assert found.value == pytest.approx(0.36 + 0.06)


def test_scene_error_sees_a_background_that_correlation_does_not():
    target = GAUSSIAN / GAUSSIAN.sum()
    found = _cost(np.stack([0.6 * target + 0.4 / target.size] * 3))
    assert found.correlations == pytest.approx((1, 1, 1))
    for error in found.scene_errors:
        assert 0.05 < error < 0.16  # no more than the contrast that is lost, squared


def test_scene_error_sees_colours_of_unequal_brightness():
    shares = np.array([0.6, 0.8, 1.0])
    found = _cost(shares[:, np.newaxis, np.newaxis] * GAUSSIAN / GAUSSIAN.sum())
    # Haze, and 4 times the square of a quarter.
    assert found.scene_errors == pytest.approx((0.4**2 + 0.25, 0.2**2, 0.25), abs=1e-12)


def test_targets_and_images_without_contrast_are_no_division_by_zero():
    flat = make_wish(np.full((8, 8), 1 / 64))
    weights = Weights(scenes=1.0, light=0.1)
    for wish in (flat, make_wish(np.eye(8) / 8)):
        for image in (np.full((3, 8, 8), 0.01), np.zeros((3, 8, 8))):
            cost, gradient = cost_and_gradient([wish] * 3, image, weights)
            assert np.isfinite(cost.value)
            assert np.isfinite(gradient).all()
    same = cost_and_gradient([flat] * 3, np.full((3, 8, 8), 1 / 64), weights)[0]
    assert same.correlations == pytest.approx((1, 1, 1))


def test_transport_refracts_light_to_an_off_axis_spot():
    rows, columns = np.mgrid[-10:11, -10:11]
    target = np.exp(-((rows - 4) ** 2 + (columns + 6) ** 2) / 4.5)
    problem = make_problem(target, dataclasses.replace(SMALL, levels=None))
    for plane in psf_of(problem, transport_start(problem)):
        centre = [float((plane * axis).sum() / plane.sum()) for axis in (rows, columns)]
        # Rays alone, without the light that the stop's edge diffracts: within a pixel.
        assert centre == [pytest.approx(4, abs=1), pytest.approx(-6, abs=1)]


def test_transport_makes_up_for_a_source_at_a_finite_distance():
    found = []
    for source_distance_m in (np.inf, 5e-3):
        near = dataclasses.replace(SMALL, levels=None, geometry=Geometry(source_distance_m=source_distance_m))
        problem = make_problem(GAUSSIAN, near)
        found.append(cost(problem, psf_of(problem, transport_start(problem))).correlations)
    # Without it, a source as near as the sensor leaves a correlation of -0.3 to 0.03.
    assert found[1] == pytest.approx(found[0], abs=0.02)
    assert min(found[1]) > 0.8


def test_gerchberg_saxton_comes_nearer():
    problem = make_problem(GAUSSIAN, dataclasses.replace(SMALL, levels=None, height_range_m=1.2e-6))
    rough = np.random.default_rng(3).random(problem.clear.shape) * problem.height_range_m
    _, history = gerchberg_saxton(problem, rough, 25)
    correlations = [state["correlation"] for state in history]
    assert correlations[-1] > 0.9
    # An alternating projection may step back a little, with three colours and clipped heights; never by much.
    assert min(np.diff(correlations)) > -0.02
    assert correlations[-1] > correlations[5] > correlations[0]


@pytest.mark.parametrize("levels", [2, 16])
def test_moves_only_improve(levels):
    problem = make_problem(GAUSSIAN, dataclasses.replace(SMALL, levels=levels))
    start = project(problem, transport_start(problem))
    after, history = last_moves(problem, start, 20, np.random.default_rng(4), None)
    losses = [state["loss"] for state in history]
    assert all(second <= first for first, second in itertools.pairwise(losses))
    assert losses[-1] < losses[0]
    assert violations(to_cells(problem, after), problem.height_range_m, problem.heights_m) == []


def test_moves_promise_what_they_bring():
    """One move of one feature changes the loss as its gradient said, for as many features as are tried."""
    from optics.design.moves import _look

    problem = make_problem(GAUSSIAN, dataclasses.replace(SMALL, levels=2, min_feature_m=4e-6), double=True)
    at = np.random.default_rng(5).integers(0, 2, problem.clear.shape)
    cost, gains, steps = _look(problem, at, problem.heights_m)
    rows, columns = np.nonzero(problem.clear)
    for index in range(0, rows.size, rows.size // 6):
        place = rows[index], columns[index]
        moved = at.copy()
        moved[place] += steps[place]
        change = _look(problem, moved, problem.heights_m)[0].value - cost.value
        # What one feature does to the others' light is left out: a share of what it does itself.
        assert -change == pytest.approx(gains[place], abs=0.2 * np.abs(gains).max())


@given(st.integers(2, 40), st.floats(0.2, 5), st.integers(0, 10**6))
@example(2, 1.0, 0)  # the top is a whole wave above the bottom
@settings(max_examples=25, deadline=None)
def test_projected_heights_are_allowed_and_stay(levels, waves, seed):
    problem = _cheap_problem(levels, waves * 1.2e-6)
    heights = np.random.default_rng(seed).normal(0, 5e-6, (8, 8))
    once = project(problem, heights)
    assert np.isin(once, problem.heights_m).all()
    np.testing.assert_array_equal(project(problem, once), once)
    folded = fold(problem, heights)
    assert folded.min() >= 0
    assert folded.max() <= problem.height_range_m


def _cheap_problem(levels, height_range_m):
    class Fixed:
        pass

    problem, lane = Fixed(), Fixed()
    lane.wavelength_m, lane.phase_per_m = 550e-9, 2 * np.pi / 1.2e-6
    problem.lanes, problem.height_range_m = (lane, lane, lane), height_range_m
    problem.heights_m = np.linspace(0, height_range_m, levels)
    return problem


def test_violations_are_found():
    heights = np.zeros((12, 12))
    heights[3:6, 3:6] = 1e-6
    allowed = np.array([0, 1e-6])
    assert violations(heights, 1e-6, allowed, 3) == []
    assert "a land or gap is 3 cells wide, not 4" in violations(heights, 1e-6, allowed, 4)[0]
    assert "reach from" in violations(heights, 0.9e-6)[0]
    heights[3, 3] = 0.5e-6
    assert "none of the 2 allowed" in violations(heights, 1e-6, allowed)[0]


@given(st.integers(0, 10**6), st.integers(2, 3), st.integers(2, 4))
@settings(max_examples=30, deadline=None)
def test_feature_check_agrees_with_looking_at_every_square(seed, side, levels):
    rng = np.random.default_rng(seed)
    heights = np.repeat(np.repeat(rng.integers(0, levels, (3, 3)), side, 0), side, 1).astype(float) * 1e-7
    if seed % 2:
        heights[tuple(rng.integers(0, heights.shape[0], 2))] += 1e-7
    assert keeps_feature(heights, side) == _keeps_by_looking(heights, side)


def _keeps_by_looking(heights, side):
    """For each threshold: does a square of cells on its side of it cover each cell? The edge continues outwards."""
    padded = np.pad(heights, side, mode="edge")
    for level in np.unique(heights):
        for where in (padded >= level, padded <= level):
            covered = np.zeros_like(where)
            for row in range(where.shape[0] - side + 1):
                for column in range(where.shape[1] - side + 1):
                    square = (slice(row, row + side), slice(column, column + side))
                    if where[square].all():
                        covered[square] = True
            inside = (slice(side, -side), slice(side, -side))
            if (where & ~covered)[inside].any():
                return False
    return True


@pytest.mark.parametrize("levels", [2, 5])
def test_design_keeps_its_constraints_and_says_what_it_is(levels):
    asked = dataclasses.replace(SMALL, levels=levels, min_feature_m=5e-6, last_moves=5)
    made = design_mask(GAUSSIAN, asked, np.random.default_rng(0))
    mask, report = made.mask, made.report
    # 5 um on cells of 2 um are features of 3 cells, and 21 of those fit into 64 cells.
    assert mask.height_m.shape == (63, 63)
    assert _keeps_by_looking(mask.height_m, 3)
    assert np.isin(mask.height_m, np.linspace(0, height_range(asked), levels)).all()
    assert report["violations"] == []
    assert report["smallest_feature_m"] >= 6e-6 - 1e-12
    assert (report["levels"], report["levels_used"]) == (levels, mask.levels)
    np.testing.assert_array_equal(made.psf, psf(mask))
    assert report["share_in_window_rgb"] == pytest.approx(made.psf.sum(axis=(1, 2)), rel=1e-6)
    correlations = [np.corrcoef(plane.ravel(), GAUSSIAN.ravel())[0, 1] for plane in made.psf]
    assert report["correlation_rgb"] == pytest.approx(correlations, abs=1e-6)
    assert report["correlation"] > max(each["correlation"] for each in report["to_compare_with"].values()) - 0.02
    # So small a target is blurred by diffraction anyway: refraction alone is hard to beat with wide features.
    assert set(report["to_compare_with"]) == {"flat_mask", "lens", "transport_only"}
    assert "switched off" in report["note"]
    json.dumps(report, allow_nan=False)


def test_height_range_of_few_levels_is_one_wave_less_a_step():
    index = refractive_index(FUSED_SILICA, 550e-9)
    assert height_range(DesignSettings(levels=2)) == pytest.approx(550e-9 / (index - 1) / 2)
    assert height_range(DesignSettings(levels=16)) == pytest.approx(550e-9 / (index - 1) * 15 / 16)
    assert height_range(DesignSettings(levels=32)) == pytest.approx(550e-9 / (index - 1) * 2 * 31 / 32)
    assert height_range(DesignSettings(levels=2, height_range_m=1e-6)) == 1e-6


def test_psf_lies_where_the_target_says_unflipped():
    rows, columns = np.mgrid[:20, :25]
    target = np.exp(-((rows - 4) ** 2 + (columns - 18) ** 2) / 4.5)
    made = design_mask(target, SMALL, np.random.default_rng(0))
    assert made.psf.shape == (3, 20, 25)
    for plane in made.psf:
        row, column = np.unravel_index(plane.argmax(), plane.shape)
        assert (row, column) == (pytest.approx(4, abs=1), pytest.approx(18, abs=1))


def test_colours_may_be_wanted_apart():
    rows, columns = np.mgrid[-10:11, -10:11]
    target = np.stack([np.exp(-(rows**2 + (columns - at) ** 2) / 4.5) for at in (-5, 0, 5)])
    made = design_mask(target, dataclasses.replace(SMALL, start_iterations=40, iterations=60), np.random.default_rng(0))
    for wanted in range(3):
        found = [np.corrcoef(target[wanted].ravel(), plane.ravel())[0, 1] for plane in made.psf]
        assert int(np.argmax(found)) == wanted


def test_same_seed_same_mask_and_progress_counts_up():
    seen = []
    first = design_mask(GAUSSIAN, SMALL, np.random.default_rng(7), lambda *state: seen.append(state))
    second = design_mask(GAUSSIAN, SMALL, np.random.default_rng(7))
    np.testing.assert_array_equal(first.mask.height_m, second.mask.height_m)
    assert first.history == second.history
    assert [done for done, _, _ in seen] == list(range(1, len(first.history) + 1))
    assert {total for _, total, _ in seen} == {SMALL.start_iterations + SMALL.iterations}
    assert [state for _, _, state in seen] == first.history
    third = design_mask(GAUSSIAN, SMALL, np.random.default_rng(8))
    assert (first.mask.height_m != third.mask.height_m).any()


def test_without_pytorch_the_report_says_how_to_get_it(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(design_module.importlib.util, "find_spec", lambda name: None if name == "torch" else find(name))
    made = design_mask(GAUSSIAN, dataclasses.replace(SMALL, use_torch="auto"), np.random.default_rng(0))
    assert not made.report["gradient_descent"]
    assert "pip install 'canopic[train]'" in made.report["note"]
    with pytest.raises(ImportError, match=r"pip install 'canopic\[train\]'"):
        design_mask(GAUSSIAN, dataclasses.replace(SMALL, use_torch=True), np.random.default_rng(0))


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (-GAUSSIAN, "optics.signed"),
        (np.where(GAUSSIAN > 0.99, np.nan, GAUSSIAN), "NaN or infinity in 3 values"),
        (np.zeros((5, 5)), "zero everywhere"),
        (np.stack([GAUSSIAN, GAUSSIAN, 0 * GAUSSIAN]), "in at least one colour"),
        (np.ones((4, 5, 5)), r"\(rows, columns\) or \(3, rows, columns\)"),
        (np.ones(5), r"\(rows, columns\)"),
        (GAUSSIAN + 0j, "real numbers"),
        (np.ones((5, 301)), "301 pixels wide.*192 pixels in all"),
    ],
)
def test_targets_that_no_mask_has_are_refused(target, message):
    with pytest.raises(DesignError, match=message):
        prepare_target(target, DesignSettings())


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"levels": 1}, "from 2 to 256, got 1"),
        ({"levels": 2.0}, "whole number"),
        ({"height_range_m": 0.0}, "height_range_m must be a positive"),
        ({"min_feature_m": 1e-6}, "less than one cell"),
        ({"min_feature_m": 1e-3}, "at least 4"),
        ({"light": -1.0}, "light is a weight"),
        ({"iterations": -1}, "iterations must be a whole number, at least 0"),
        ({"threads": True}, "threads"),
        ({"use_torch": "yes"}, "use_torch"),
    ],
)
def test_settings_that_mean_nothing_are_refused(wrong, message):
    with pytest.raises(DesignError, match=message):
        DesignSettings(**wrong)
