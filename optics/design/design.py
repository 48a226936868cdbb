"""From a wanted PSF to a mask that can be made: a start by transport, Gerchberg-Saxton, descent, exact levels."""

import importlib.util
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from optics.design.constraints import smallest_feature, violations
from optics.design.gerchberg_saxton import Progress, gerchberg_saxton, project, transport_start
from optics.design.problem import Problem, make_problem, psf_of, quality, to_cells
from optics.design.settings import DesignSettings
from optics.mask import Mask
from optics.psf import psf

NO_TORCH = "gradient descent was not run, because PyTorch is not installed: pip install 'canopic[train]'"


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
    each iteration; state has "stage" ("Gerchberg-Saxton", "descent"), "correlation" and "throughput". Raises
    DesignError for what cannot be asked, SamplingError where no grid of a bearable size would do.
    """
    problem = make_problem(target, settings)
    with_torch = _use_torch(settings)
    total = settings.start_iterations + (settings.iterations if with_torch else 0)

    def staged(stage: str, before: int) -> Progress:
        def report_back(done: int, _: int, state: dict[str, Any]) -> None:
            state["stage"] = stage
            if progress is not None:
                progress(before + done, total, state)

        return report_back

    start = transport_start(problem)
    # A speck of disorder: a target's symmetry would else hold the two halves of a mask to the same, lesser, solution.
    step_m = problem.lanes[1].wavelength_m / 100
    start = start + step_m * rng.standard_normal(start.shape)
    heights, history = gerchberg_saxton(problem, start, settings.start_iterations, staged("Gerchberg-Saxton", 0))
    after_start = project(problem, heights)
    if with_torch and settings.iterations:
        from optics.design.descent import descend

        heights, more = descend(problem, after_start, settings.iterations, staged("descent", len(history)))
        history += more
        final = project(problem, heights)
    else:
        final = after_start
    mask = _mask(problem, final)
    image = psf(mask)
    report = _report(problem, mask, image, with_torch, history)
    report["gerchberg_saxton_only"] = _figures(problem, psf_of(problem, after_start))
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
        "loss_history": [each.get("loss", 1 - each["correlation"]) for each in history],
    }
    if not with_torch:
        report["note"] = NO_TORCH if settings.use_torch == "auto" else "gradient descent was switched off"
    return report


def _figures(problem: Problem, image: NDArray[np.float64]) -> dict[str, Any]:
    """Correlation and light of a PSF (3, rows, columns), per colour (R, G, B) and their means."""
    correlations, throughputs = quality(problem, image)
    support = problem.target > 0.01 * problem.target.max(axis=(1, 2), keepdims=True)
    on_support = [float(plane[where].sum()) for plane, where in zip(image, support, strict=True)]
    return {
        "correlation": float(np.mean(correlations)),
        "correlation_rgb": correlations,
        "share_in_window": float(np.mean(throughputs)),
        "share_in_window_rgb": throughputs,
        "share_on_support": float(np.mean(on_support)),
        "share_on_support_rgb": on_support,
        "share_stray": 1 - float(np.mean(throughputs)),
    }
