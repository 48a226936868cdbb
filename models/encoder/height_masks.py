"""Masks before and after learning: heights to start from, and what the learned masks do, by `optics.psf`. No torch."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.encoder.height_plan import HeightPlan
from optics.code_change import Photograph, code_change, photographs
from optics.design import design_mask
from optics.encoding import Encoding, Range
from optics.mask import Mask
from optics.masks import diffuser_mask
from optics.psf import psf

Progress = Callable[[int, int, dict[str, Any]], None]

# Of a diffuser: grain, as a share of the mask's side, and never below so many cells.
GRAIN_SHARE, LEAST_GRAIN_CELLS = 0.05, 4
# How many windows wide, along each side, stray light is followed.
STRAY_WINDOWS = 3
# Size of the photographs on which learned masks are compared with their encoding.
REPORT_PX = (240, 320)


def designed_start(
    plan: HeightPlan, kernels: NDArray[np.floating[Any]], rng: np.random.Generator, progress: Progress | None = None
) -> NDArray[np.float64]:
    """Heights of features whose masks come near to wanted kernels: float64 (filters, features, features), metres.

    kernels: (filters, h, w) or (filters, 3, h, w), not negative, each of the plan's size; only their shapes count.
    progress(done, total, state): within each filter's design. Raises DesignError (a ValueError) for other kernels.
    """
    wanted = np.asarray(kernels)
    if wanted.ndim not in (3, 4) or wanted.shape[-2:] != (plan.kernel_px, plan.kernel_px):
        raise ValueError(
            f"a mask's start needs kernels (filters, {plan.kernel_px}, {plan.kernel_px}), got {wanted.shape}: "
            "set kernel_px of the mask to the kernels' side"
        )
    designs = [design_mask(each, plan.design(), rng, progress) for each in wanted.astype(np.float64)]
    return np.stack([_features(plan, design.mask.height_m) for design in designs])


def diffuser_start(plan: HeightPlan, filters: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Heights of features of random smooth surfaces over the whole range: float64 (filters, features, features)."""
    side = plan.features * plan.block
    grain_m = plan.pitch_m * max(GRAIN_SHARE * side, LEAST_GRAIN_CELLS)
    surfaces = [diffuser_mask(plan.largest_m / 4, grain_m, rng, side, plan.pitch_m) for _ in range(filters)]
    heights = np.stack([_features(plan, surface.height_m) for surface in surfaces])
    return np.asarray(np.clip(heights, 0, plan.largest_m))


def mask_start(plan: HeightPlan, masks: Sequence[Mask]) -> NDArray[np.float64]:
    """Heights of features of masks that there are, one per filter: float64 (filters, features, features).

    Raises ValueError for masks of other cells than the plan's, or higher ones.
    """
    side = plan.features * plan.block
    for mask in masks:
        if mask.height_m.shape != (side, side) or not np.isclose(mask.pitch_m, plan.pitch_m, rtol=1e-6):
            raise ValueError(
                f"a mask to start from has {mask.height_m.shape} cells of {mask.pitch_m:g} m, "
                f"the plan says {(side, side)} of {plan.pitch_m:g} m"
            )
        if mask.height_m.max() > plan.largest_m * (1 + 1e-9):
            raise ValueError(
                f"a mask to start from is {mask.height_m.max():.4g} m high, the plan's range is {plan.largest_m:.4g} m"
            )
    return np.stack([_features(plan, mask.height_m) for mask in masks])


def own_kernels(masks: Sequence[Mask], haze: bool) -> NDArray[np.float32]:
    """What the masks do in each colour, by `optics.psf.psf`: float32 (filters, 3, rows, columns).

    For `optics.encoding.convolve_psf`. haze: the light that misses the window is spread evenly over it.
    """
    found = np.stack([psf(mask) for mask in masks]).astype(np.float64)
    if haze:
        missed = np.maximum(1 - found.sum(axis=(2, 3), keepdims=True), 0)
        found += missed / (found.shape[2] * found.shape[3])
    return found.astype(np.float32)


def mask_encoding(
    masks: Sequence[Mask], thresholds: NDArray[np.float32], pool: int, haze: bool, range_: Range = "fixed"
) -> Encoding:
    """The encoding of masks: each filter's kernel is the mean of its three colours' PSFs.

    An encoding has one kernel for all colours; `mask_report` says how many codes that changes.
    """
    kernels = own_kernels(masks, haze).mean(axis=1, dtype=np.float64).astype(np.float32)
    return Encoding(kernels, thresholds, pool, range_)


def mask_reports(masks: Sequence[Mask], encoding: Encoding, haze: bool) -> list[dict[str, Any]]:
    """`mask_report` of each filter's mask, on the photographs that come with the package."""
    images = photographs(*REPORT_PX)
    return [mask_report(mask, encoding.thresholds, encoding.pool, haze, images) for mask in masks]


def mask_report(
    mask: Mask, thresholds: NDArray[np.float32], pool: int, haze: bool, images: Sequence[Photograph]
) -> dict[str, Any]:
    """How true the encoding of one learned mask is to the mask, as plain numbers, shares with 95 % intervals.

    throughput: share of the light in the window, by colour. mean_for_each_colour: codes that change between the mean
    PSF for all colours (the encoding's) and each colour's own (the mask's). stray_light: codes that change when the
    sensor also sees the mask's light over 3 x 3 windows, against each colour's own kernel.
    images: as `optics.code_change.photographs` gives them.
    """
    own = own_kernels([mask], haze)[0]
    rows, columns = mask.geometry.psf_px
    wide = psf(mask, psf_px=(STRAY_WINDOWS * rows, STRAY_WINDOWS * columns))
    mean = own.mean(axis=0)
    return {
        "throughput": [float(each) for each in psf(mask).sum(axis=(1, 2), dtype=np.float64)],
        "mean_for_each_colour": code_change(own, mean, thresholds, pool, images).as_json(),
        "stray_light": code_change(wide, own, thresholds, pool, images).as_json(),
    }


def _features(plan: HeightPlan, cells_m: NDArray[np.float64]) -> NDArray[np.float64]:
    """One height per feature, that of its middle cell."""
    middle = plan.block // 2
    return np.array(cells_m[middle :: plan.block, middle :: plan.block])
