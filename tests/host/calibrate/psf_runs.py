"""Runs of the PSF calibration on benches of seeds, and how far their results lie from the truth in sigmas."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.outcome import Outcome
from host.boundary.acquire_psf import acquire
from host.boundary.rigs import twin_rig
from host.calibrate.procedure import StepData
from host.calibrate.psf import conclude, known_prnu, make_procedure
from host.twin.bench import Bench
from host.twin.bench_psf import default_design, make
from optics.bundle import default_bundle_path, read_bundle

Floats = NDArray[np.float64]


def gaussian_design(side: int = 31) -> Floats:
    """A PSF that looks alike in every rotation: the default kernel's shape, smaller."""
    away = np.arange(side) - side // 2
    kernel = np.exp(-(away[:, np.newaxis] ** 2 + away**2) / (2 * (side / 16) ** 2))
    return np.repeat((kernel / kernel.sum())[np.newaxis], 3, axis=0)


def calibrate(
    seed: int,
    fault: str | None = None,
    designed: Floats | None = None,
    quick: bool = True,
    **fields: Any,
) -> tuple[Bench, dict[str, StepData], Outcome]:
    """One calibration in this process. designed: None for the default bundle's kernel. fields: of the bench's world."""
    design = default_design() if designed is None else designed
    bundle = read_bundle(default_bundle_path())
    bench = make(seed, fault, {"designed": design, "fields": fields})
    side = max(design.shape[1:])
    settings = {"region_px": 2 * side + 1, "design_px": side}
    data: dict[str, StepData] = {}
    with twin_rig(bench) as rig:
        for step in make_procedure(bundle, quick).steps:
            data[step.name] = acquire(rig, replace(step, settings={**step.settings, **settings}), data)
    return bench, data, conclude(data, design, known_prnu(bundle))


def true_psf(bench: Bench, data: dict[str, StepData], outcome: Outcome) -> Floats:
    """What the calibration should have found in its window: the light above the region's rim, as a share of all of it,
    from the bench's noiseless picture."""
    world: Any = bench.world
    step, result = data["axis"], outcome.result
    rows, columns = step["difference_dn"].shape[2:]
    top, left = (int(at) for at in step["origin_px"])
    region = world.picture((0.0, 0.0), None)[:, top : top + rows, left : left + columns]
    rim = np.ones((rows, columns), dtype=bool)
    rim[2:-2, 2:-2] = False
    region = region - region[:, rim].mean(axis=1)[:, np.newaxis, np.newaxis]
    region /= region.sum(axis=(1, 2), keepdims=True)
    half = result["window_px"] // 2
    row, column = (
        round(at - shift) - first
        for at, shift, first in zip(result["position_px"], result["shift_px"], (top, left), strict=True)
    )
    return np.asarray(region[:, row - half : row + half + 1, column - half : column + half + 1])


def sigmas(bench: Bench, outcome: Outcome) -> dict[str, float]:
    """(found - true) / stated standard uncertainty of every hidden number."""
    result, truth = outcome.result, bench.truth
    found = {}
    for name in ("shift_px", "gains", "share_in_squares"):
        for index, (value, true) in enumerate(zip(result[name], truth[name], strict=True)):
            if result[f"{name}_sigma"][index] > 0:
                found[f"{name}[{index}]"] = (value - true) / result[f"{name}_sigma"][index]
    for name in ("rotation_deg", "scale"):
        if result[name] is not None:
            found[name] = (result[name] - truth[name]) / result[f"{name}_sigma"]
    return found
