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
    """Heights of features whose masks come near to wanted kernels: float64 (masks, features, features), metres.

    kernels: (filters, h, w) or (filters, 3, h, w) of the plan's size, not negative; only their shapes count. With the
    plan's pair of either sign (see `signed_shares`): one mask for what is positive, the next for what is negative.
    progress(done, total, state): within each filter's design. Raises DesignError (a ValueError) for other kernels.
    """
    wanted = np.asarray(kernels)
    if wanted.ndim not in (3, 4) or wanted.shape[-2:] != (plan.kernel_px, plan.kernel_px):
        raise ValueError(
            f"a mask's start needs kernels (filters, {plan.kernel_px}, {plan.kernel_px}), got {wanted.shape}: "
            "set kernel_px of the mask to the kernels' side"
        )
    if plan.pair:
        parts = np.stack([np.maximum(wanted, 0), np.maximum(-wanted, 0)], axis=1)
        # A part that is empty starts as even light: it has to be able to grow.
        parts[(parts == 0).all(axis=tuple(range(2, parts.ndim)))] = 1
        wanted = parts.reshape(-1, *wanted.shape[1:])
    designs = [design_mask(each, plan.design(), rng, progress) for each in wanted.astype(np.float64)]
    return np.stack([_features(plan, design.mask.height_m) for design in designs])


def signed_shares(kernels: NDArray[np.floating[Any]]) -> list[float]:
    """Of each kernel's taps without their signs, the share of the positive ones: the share of the light for plus."""
    taps = np.asarray(kernels, np.float64).reshape(len(kernels), -1)
    return [float(np.maximum(one, 0).sum() / max(np.abs(one).sum(), 1e-12)) for one in taps]


def diffuser_start(plan: HeightPlan, filters: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Heights of features of random smooth surfaces over the whole range: float64 (masks, features, features)."""
    count = filters * (2 if plan.pair else 1)
    side = plan.features * plan.block
    grain_m = plan.pitch_m * max(GRAIN_SHARE * side, LEAST_GRAIN_CELLS)
    surfaces = [diffuser_mask(plan.largest_m / 4, grain_m, rng, side, plan.pitch_m) for _ in range(count)]
    heights = np.stack([_features(plan, surface.height_m) for surface in surfaces])
    return np.asarray(np.clip(heights, 0, plan.largest_m))


def mask_start(plan: HeightPlan, masks: Sequence[Mask]) -> NDArray[np.float64]:
    """Heights of features of masks that there are: float64 (masks, features, features).

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


def own_kernels(
    masks: Sequence[Mask], haze: bool, shares: Sequence[float] | None = None, windows: int = 1
) -> NDArray[np.float32]:
    """What the masks do in each colour, by `optics.psf.psf`: float32 (filters, 3, rows, columns).

    For `optics.encoding.convolve_psf`. haze: the light that misses the window is spread evenly over it. shares: of
    pairs (`HeightKernels.shares`), whose masks are plus and minus in turn. windows: how many of them wide.
    """
    rows, columns = masks[0].geometry.psf_px
    found = np.stack([psf(mask, psf_px=(windows * rows, windows * columns)) for mask in masks]).astype(np.float64)
    if haze:
        missed = np.maximum(1 - found.sum(axis=(2, 3), keepdims=True), 0)
        found += missed / (found.shape[2] * found.shape[3])
    if shares is not None:
        share = np.asarray(shares)[:, None, None, None]
        found = share * found[0::2] - (1 - share) * found[1::2]
    return found.astype(np.float32)


def mask_encoding(
    masks: Sequence[Mask],
    thresholds: NDArray[np.float32],
    pool: int,
    haze: bool,
    shares: Sequence[float] | None = None,
    range_: Range = "fixed",
) -> Encoding:
    """The encoding of masks: each filter's kernel is the mean of its three colours' PSFs.

    An encoding has one kernel for all colours; `mask_report` says how many codes that changes.
    """
    kernels = own_kernels(masks, haze, shares).mean(axis=1, dtype=np.float64).astype(np.float32)
    return Encoding(kernels, thresholds, pool, range_)


def mask_reports(
    masks: Sequence[Mask], encoding: Encoding, haze: bool, shares: Sequence[float] | None = None
) -> list[dict[str, Any]]:
    """`mask_report` of each filter, on the photographs that come with the package."""
    images = photographs(*REPORT_PX)
    each = 1 if shares is None else 2
    return [
        mask_report(
            masks[each * number : each * (number + 1)],
            encoding.thresholds,
            encoding.pool,
            haze,
            images,
            None if shares is None else shares[number],
        )
        for number in range(encoding.filters)
    ]


def mask_report(
    masks: Sequence[Mask],
    thresholds: NDArray[np.float32],
    pool: int,
    haze: bool,
    images: Sequence[Photograph],
    share: float | None = None,
) -> dict[str, Any]:
    """How true the encoding of one filter is to its mask (or pair), as plain numbers, shares with 95 % intervals.

    throughput: share of the light in the window, by mask and colour. mean_for_each_colour: codes that change between
    the mean PSF for all colours (the encoding's) and each colour's own (the mask's). stray_light: codes that change
    when the sensor also sees the mask's light over 3 x 3 windows, against each colour's own kernel. share: of a pair,
    as of `HeightKernels.shares`.
    images: as `optics.code_change.photographs` gives them.
    """
    shares = None if share is None else [share]
    psf_sums = own_kernels(masks, False).sum(axis=(2, 3), dtype=np.float64)
    own = own_kernels(masks, haze, shares)[0]
    wide = own_kernels(masks, False, shares, STRAY_WINDOWS)[0]
    mean = own.mean(axis=0)
    return {
        "throughput": psf_sums.tolist(),
        "share": share,
        "mean_for_each_colour": code_change(own, mean, thresholds, pool, images).as_json(),
        "stray_light": code_change(wide, own, thresholds, pool, images).as_json(),
    }


def _features(plan: HeightPlan, cells_m: NDArray[np.float64]) -> NDArray[np.float64]:
    """One height per feature, that of its middle cell."""
    middle = plan.block // 2
    return np.array(cells_m[middle :: plan.block, middle :: plan.block])
