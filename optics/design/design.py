"""From a wanted PSF to a mask that can be made: a start by transport, Gerchberg-Saxton, descent, exact levels."""

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from optics.design.constraints import smallest_feature, violations
from optics.design.gerchberg_saxton import focusing, gerchberg_saxton, project, transport_start
from optics.design.loss import Progress
from optics.design.moves import last_moves
from optics.design.problem import Problem, cost, make_problem, psf_of, to_cells
from optics.design.settings import DesignSettings
from optics.mask import Mask
from optics.metrics import share_on
from optics.psf import psf

NO_TORCH = "gradient descent was not run, because PyTorch is not installed: pip install 'canopic[train]'"
START, DESCENT, MOVES = "Gerchberg-Saxton", "descent", "moves between levels"
DISORDER_RAD = 0.05


@dataclass(frozen=True, eq=False)
class Design:
    """What came out.

    mask: quantized, with the target's window in its geometry. psf: float32 (3, rows, columns), the mask's own, by
    `optics.psf.psf`. target: float64 (3, rows, columns), each colour of unit sum. report: plain numbers and text for
    report.json. history: one entry an iteration: stage, correlation, throughput (means over the colours).
    """

    mask: Mask
    psf: NDArray[np.float32]
    target: NDArray[np.float64]
    report: dict[str, Any]
    history: list[dict[str, Any]]


def design_mask(
    target: NDArray[np.float64],
    settings: DesignSettings,
    rng: np.random.Generator,
    progress: Callable[[int, int, dict[str, Any]], None] | None = None,
) -> Design:
    """A mask whose PSF comes as near to `target` as the settings allow.

    target: the wanted PSF (rows, columns), or one per colour (3, rows, columns); not negative; the tap (rows // 2,
    columns // 2) lies on the axis; only its shape counts, not its sum. progress(done, total, state) is called after
    each iteration; state has "stage" (START, DESCENT or MOVES) and what `Cost.as_state` gives; the last call may come
    before the total is reached. The same generator state gives the same mask on the same machine. Raises DesignError
    for what cannot be asked, SamplingError where no grid of a bearable size would do, ImportError where use_torch is
    True and PyTorch is missing.
    """
    problem = make_problem(target, settings)
    with_torch = _use_torch(settings) and settings.iterations > 0
    # Without the descent its iterations go to the moves, which then have more to do.
    rounds = 0 if settings.levels is None else settings.last_moves + (0 if with_torch else settings.iterations)
    total = settings.start_iterations + (settings.iterations if with_torch else 0) + rounds
    history: list[dict[str, Any]] = []

    def staged(stage: str) -> Progress:
        before = len(history)

        def report_back(done: int, _: int, state: dict[str, float]) -> None:
            if progress is not None:
                progress(before + done, total, {"stage": stage, **state})

        return report_back

    def kept(stage: str, states: list[dict[str, float]]) -> None:
        history.extend({"stage": stage, **state} for state in states)

    # A speck of disorder: a target's symmetry would else hold the two halves of a mask to the same, lesser, solution.
    speck_m = DISORDER_RAD / problem.lanes[1].phase_per_m
    start = transport_start(problem)
    start = start + speck_m * rng.standard_normal(start.shape)
    heights, states = gerchberg_saxton(problem, start, settings.start_iterations, staged(START))
    kept(START, states)
    heights = project(problem, heights)
    after_start = heights
    if with_torch:
        from optics.design.descent import descend

        heights, states = descend(problem, heights, settings.iterations, staged(DESCENT))
        kept(DESCENT, states)
        heights = project(problem, heights)
    heights, states = last_moves(problem, heights, rounds, rng, staged(MOVES))
    kept(MOVES, states)
    mask = _mask(problem, heights)
    image = psf(mask)
    report = _report(problem, mask, image, with_torch, history)
    report["gerchberg_saxton_only"] = _figures(problem, psf_of(problem, after_start))
    report["to_compare_with"] = {
        name: _figures(problem, psf_of(problem, other))
        for name, other in (
            ("transport_only", project(problem, transport_start(problem))),
            ("lens", project(problem, focusing(problem))),
            ("flat_mask", np.zeros_like(after_start)),
        )
    }
    return Design(mask, image, problem.target, report, history)


def _use_torch(settings: DesignSettings) -> bool:
    if settings.use_torch is False:
        return False
    present = importlib.util.find_spec("torch") is not None
    if settings.use_torch is True and not present:
        raise ImportError("gradient descent needs PyTorch, which is not installed: pip install 'canopic[train]'")
    return present


def _mask(problem: Problem, blocks_m: NDArray[np.float64]) -> Mask:
    settings = problem.settings
    return Mask(
        to_cells(problem, blocks_m),
        settings.pitch_m,
        settings.material,
        problem.geometry,
        problem.stop,
        about={
            "made_by": "canopic optics design",
            "levels": settings.levels,
            "height_range_m": problem.height_range_m,
            "min_feature_m": problem.block * settings.pitch_m,
        },
    )


def _report(
    problem: Problem, mask: Mask, image: NDArray[np.float32], with_torch: bool, history: list[dict[str, Any]]
) -> dict[str, Any]:
    settings = problem.settings
    report: dict[str, Any] = {
        **_figures(problem, image.astype(np.float64)),
        "levels": settings.levels,
        "levels_used": mask.levels,
        "height_range_m": problem.height_range_m,
        "highest_m": float(mask.height_m.max()),
        "smallest_feature_m": smallest_feature(mask.height_m) * mask.pitch_m,
        "min_feature_m": problem.block * mask.pitch_m,
        "violations": violations(mask.height_m, problem.height_range_m, problem.heights_m, problem.block),
        "cells": list(mask.height_m.shape),
        "pitch_m": mask.pitch_m,
        "material": mask.material.name,
        "sensor_distance_m": mask.geometry.sensor_distance_m,
        "pixel_pitch_m": mask.geometry.pixel_pitch_m,
        "psf_px": list(mask.geometry.psf_px),
        "wavelengths_m": list(mask.geometry.wavelengths_m),
        "iterations": len(history),
        "gradient_descent": with_torch,
        "loss_history": [each["loss"] for each in history],
    }
    if not with_torch:
        switched_off = settings.use_torch is False or not settings.iterations
        report["note"] = "gradient descent was switched off" if switched_off else NO_TORCH
    return report


def _figures(problem: Problem, image: NDArray[np.float64]) -> dict[str, Any]:
    """Likeness and light of a PSF (3, rows, columns), per colour (R, G, B) and their means.

    scene_error: see `optics.design.loss`. share_misplaced: of the light in the window, what lies where the target does
    not want it. share_on_support: of all light, see `optics.metrics.share_on`. share_stray:
    of all light, what misses the window.
    """
    found = cost(problem, image)
    on_support = share_on(image, problem.target).tolist()
    misplaced = [
        float(np.abs(plane / plane.sum() - wanted).sum()) / 2
        for plane, wanted in zip(image, problem.target, strict=True)
    ]
    in_window = float(np.mean(found.throughputs))
    return {
        "correlation": float(np.mean(found.correlations)),
        "correlation_rgb": list(found.correlations),
        "scene_error": float(np.mean(found.scene_errors)),
        "scene_error_rgb": list(found.scene_errors),
        "share_misplaced": float(np.mean(misplaced)),
        "share_misplaced_rgb": misplaced,
        "share_in_window": in_window,
        "share_in_window_rgb": list(found.throughputs),
        "share_on_support": float(np.mean(on_support)),
        "share_on_support_rgb": on_support,
        "share_stray": 1 - in_window,
    }
