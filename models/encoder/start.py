"""Where a learning starts: the chain of a plan, with its starting kernels and thresholds. Needs torch."""

import numpy as np
import torch
from numpy.typing import NDArray

from models.encoder.chain import LOWEST, METERED_AT, Chain, ChainSettings
from models.encoder.height import HeightKernels
from models.encoder.height_masks import designed_start, diffuser_start, signed_shares
from models.encoder.height_plan import HeightPlan
from models.encoder.kernels import centre_surround, gaussian, halves
from models.encoder.looks import light_of
from models.encoder.matched import matched_kernel
from models.encoder.plan import ChainPlan, PlanError, StartPlan

# Crops whose cells decide where frequent thresholds lie.
SAMPLE = 600
# Two thresholds start at least this far apart: a softmax can take them closer, but hardly out of nothing.
LEAST_RISE = 0.002


Crops = NDArray[np.uint8]


def starting_kernels(plan: StartPlan, seed: int, known: tuple[Crops, Crops] | None = None) -> NDArray[np.float32]:
    """Kernels to start from, float32 (filters, side, side).

    known: face crops and others, sRGB uint8 (n, 64, 64, 3), for a start that is matched to them. Raises ValueError when
    such a start has none.
    """
    if plan.form == "none":
        return np.ones((1, 1, 1), np.float32)
    if plan.form == "matched":
        if known is None:
            raise ValueError("a matched start needs crops of faces and others")
        kernels = matched_kernel(*known, plan.side_px, np.random.default_rng([seed, 10]))
    elif plan.form == "halves":
        kernels = halves(plan.side_px)
    elif plan.form == "gaussian":
        kernels = np.concatenate([gaussian(sigma, plan.side_px) for sigma in plan.sigma_px])
    else:
        kernels = np.concatenate([centre_surround(sigma, plan.outer_px, plan.side_px) for sigma in plan.sigma_px])
    noise = np.random.default_rng([seed, 7]).standard_normal(kernels.shape)
    return np.asarray(kernels * np.exp(plan.roughness * noise), np.float32)


def starting_chain(plan: ChainPlan, crops: Crops, seed: int, known: tuple[Crops, Crops] | None = None) -> Chain:
    """The chain that a learning starts with. crops: sRGB uint8 (n, 64, 64, 3), for thresholds chosen from images.

    known: see `starting_kernels`.
    """
    settings = ChainSettings(plan.kernels, plan.pool, plan.levels, plan.range, plan.free_thresholds, plan.light)
    kernels: NDArray[np.float32] | HeightKernels = starting_kernels(plan.start, seed, known)
    if plan.mask is not None:
        kernels = _starting_mask(plan.mask, np.asarray(kernels), seed)
    chain = Chain(settings, kernels)
    if plan.levels is not None and plan.thresholds != "even":
        listed = plan.thresholds
        thresholds = np.array(listed) if isinstance(listed, list) else frequent_thresholds(chain, crops, seed)
        chain = Chain(settings, kernels, thresholds)
    if not plan.learn_kernels:
        for parameter in chain.kernels.parameters():
            parameter.requires_grad_(False)
    return chain


def _starting_mask(plan: HeightPlan, kernels: NDArray[np.float32], seed: int) -> HeightKernels:
    """Raises PlanError where optics cannot have the mask, or no mask can have the kernels."""
    rng = np.random.default_rng([seed, 9])
    try:
        if plan.start == "diffuser":
            return HeightKernels(plan, diffuser_start(plan, len(kernels), rng))
        return HeightKernels(plan, designed_start(plan, kernels, rng), signed_shares(kernels) if plan.pair else None)
    except ValueError as error:
        raise PlanError(f"chain.mask: {error}") from error


@torch.no_grad()
def frequent_thresholds(chain: Chain, crops: NDArray[np.uint8], seed: int) -> NDArray[np.float64]:
    """Distinct thresholds, ascending, at which the codes of the crops are equally frequent: float64 (levels - 1,).

    The highest of a fixed range is given by the exposure.
    """
    count = (chain.settings.levels or 2) - 1
    chosen = np.random.default_rng([seed, 8]).permutation(len(crops))[:SAMPLE]
    cells = [chain.cells(light_of(crops[part], chain.settings.light)) for part in np.array_split(chosen, 10)]
    values = torch.cat([part.flatten() for part in cells]).numpy()
    if chain.settings.range == "per_frame":
        found, low, high = np.quantile(values, np.arange(1, count + 1) / (count + 1)), 0.0, 1.0
    else:
        between = values[(values > LOWEST) & (values < METERED_AT)]
        found = np.append(np.quantile(between, np.arange(1, count) / count), METERED_AT)
        low, high = LOWEST, METERED_AT + LEAST_RISE
    room = low + LEAST_RISE * np.arange(1, count + 1)
    found = np.maximum.accumulate(np.maximum(found, room))
    return np.asarray(np.minimum(found, high - LEAST_RISE * np.arange(count, 0, -1)), np.float64)
