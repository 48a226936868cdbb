"""Where a learning starts: the chain of a plan, with its starting kernels and thresholds. Needs torch."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from models.detector.archives import file_digest
from models.detector.gaussian_encoding import gaussian_kernel, spread_thresholds
from models.encoder.chain import LOWEST, METERED_AT, Chain, ChainSettings
from models.encoder.chain_plan import ChainPlan, StartPlan
from models.encoder.height import HeightKernels
from models.encoder.height_masks import designed_start, diffuser_start, signed_shares
from models.encoder.height_plan import HeightPlan
from models.encoder.kernels import MirroredKernels, centre_surround, halves, jet, make_kernels
from models.encoder.looks import light_of
from models.encoder.matched import matched_kernel
from models.encoder.plan import PlanError
from models.encoding_file import EncodingFileError, read_encoding
from optics.encoding import Encoding

# Crops whose cells decide where frequent thresholds lie.
SAMPLE = 600
# Two thresholds start at least this far apart: a softmax can take them closer, but hardly out of nothing.
LEAST_RISE = 0.002


Crops = NDArray[np.uint8]


def starting_kernels(plan: StartPlan, seed: int, known: tuple[Crops, Crops] | None = None) -> NDArray[np.float32]:
    """Kernels to start from, float32 (filters, side, side).

    known: face crops and others, sRGB uint8 (n, 64, 64, 3), for a start that is matched to them. Raises ValueError when
    such a start has none, PlanError where a file is none.
    """
    if plan.form == "none":
        return np.ones((1, 1, 1), np.float32)
    if plan.form == "matched":
        if known is None:
            raise ValueError("a matched start needs crops of faces and others")
        kernels = matched_kernel(*known, plan.side_px, np.random.default_rng([seed, 10]))
    elif plan.form == "file":
        kernels = file_encoding(plan).kernels
    elif plan.form == "halves":
        kernels = halves(plan.side_px)
    elif plan.form == "gaussian":
        kernels = np.concatenate([gaussian_kernel(sigma, plan.side_px) for sigma in plan.sigma_px])
    elif plan.form == "jet":
        kernels = np.concatenate([jet(sigma, plan.side_px) for sigma in plan.sigma_px])
    else:
        kernels = np.concatenate([centre_surround(sigma, plan.outer_px, plan.side_px) for sigma in plan.sigma_px])
    noise = np.random.default_rng([seed, 7]).standard_normal(kernels.shape)
    return np.asarray(kernels * np.exp(plan.roughness * noise), np.float32)


def starting_chain(plan: ChainPlan, crops: Crops, seed: int, known: tuple[Crops, Crops] | None = None) -> Chain:
    """The chain that a learning starts with. crops: sRGB uint8 (n, 64, 64, 3), for thresholds chosen from images.

    known: see `starting_kernels`.
    """
    settings = ChainSettings(
        plan.kernels, plan.pool, plan.levels, plan.range, plan.free_thresholds, plan.light, plan.least_step
    )
    kernels: NDArray[np.float32] | nn.Module = starting_kernels(plan.start, seed, known)
    if plan.mask is not None:
        kernels = _starting_mask(plan.mask, np.asarray(kernels), seed)
    elif plan.kernels == "psf" and plan.start.form == "file" and float(np.min(np.asarray(kernels))) < 0:
        raise PlanError(f"chain.start.path: {plan.start.path} has negative taps; expected 'kernels: pair' or signed")
    if plan.symmetric:
        try:
            kernels = MirroredKernels(make_kernels(plan.kernels, np.asarray(kernels)))
        except ValueError as error:
            raise PlanError(f"chain.symmetric: {error}") from error
    chain = Chain(settings, kernels)
    if plan.levels is not None and plan.thresholds != "even":
        chain = Chain(settings, kernels, _starting_thresholds(plan, chain, crops, seed))
    if not plan.learn_kernels:
        for parameter in chain.kernels.parameters():
            parameter.requires_grad_(False)
    return chain


def file_encoding(plan: StartPlan) -> Encoding:
    """The encoding that `form: file` goes on from. Raises PlanError where there is none in that file."""
    try:
        return read_encoding(Path(plan.path or ""))
    except EncodingFileError as error:
        raise PlanError(f"chain.start.path: {error}") from error


def start_digest(plan: StartPlan) -> str | None:
    """SHA-256 of the file that a start goes on from, None where there is none."""
    return None if plan.path is None else file_digest(Path(plan.path))


def file_thresholds(encoding: Encoding, levels: int, kind: str) -> NDArray[np.float64]:
    """The distinct thresholds of an encoding, float64 (levels - 1,); of a fixed range scaled to `METERED_AT`, since
    exposure brings the brightest cells to the highest of them. Raises PlanError for other levels or another range."""
    found = np.unique(encoding.thresholds).astype(np.float64)
    if (encoding.range, len(found)) != (kind, levels - 1):
        raise PlanError(
            f"chain.thresholds: the file has {len(found) + 1} levels and the range {encoding.range}, the plan {levels} "
            f"and {kind}: expected to be equal, or other thresholds than those of the file"
        )
    return found * (METERED_AT / found[-1]) if kind == "fixed" else found


def _starting_thresholds(plan: ChainPlan, chain: Chain, crops: Crops, seed: int) -> NDArray[np.float64]:
    levels = plan.levels or 2
    if plan.thresholds == "spread":
        return spread_thresholds(levels)
    if plan.thresholds == "file":
        return file_thresholds(file_encoding(plan.start), levels, plan.range)
    return np.array(plan.thresholds) if isinstance(plan.thresholds, list) else frequent_thresholds(chain, crops, seed)


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
    parts = max(1, min(10, len(chosen)))
    cells = [chain.cells(light_of(crops[part], chain.settings.light)) for part in np.array_split(chosen, parts)]
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
