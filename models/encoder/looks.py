"""Crops as the encoder in hand sees them: batches that carry gradients, and looks that are cached. Needs torch."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from models.detector.scenes import srgb_to_linear
from models.encoder.chain import HIGHEST_CODE, Chain, Light, Nuisance, quantized

# Without pooling there are no sub-cell shifts; crops are then shifted by as much as with the paper's cells.
LEAST_SHIFTS = 8
BATCH = 64
# What is not quantized is kept as if read with eight bits.
UNQUANTIZED_FULL_SCALE = 255

_LINEAR = torch.from_numpy(srgb_to_linear(np.arange(256, dtype=np.uint8)))


@dataclass(frozen=True, slots=True, eq=False)
class Looks:
    """`codes`: uint8 (n, looks, rows, columns, channels); the first look of each crop is exact, unshifted, unmirrored.
    `full_scale`: what a network reads as 1."""

    codes: NDArray[np.uint8]
    full_scale: int


def varied_crops(crops: NDArray[np.uint8], pool: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Each crop shifted by 0..pool - 1 px in both axes (edges repeated), and mirrored or not: uint8, same shape."""
    count, side = crops.shape[:2]
    shifts = rng.integers(0, max(pool, LEAST_SHIFTS), (2, count, 1))
    rows, columns = np.minimum(np.arange(side) + shifts, side - 1)
    columns = np.where(rng.random((count, 1)) < 0.5, columns[:, ::-1], columns)
    return np.asarray(crops[np.arange(count)[:, None, None], rows[:, :, None], columns[:, None, :]], np.uint8)


def light_of(crops: NDArray[np.uint8], light: Light, device: str | torch.device = "cpu") -> Tensor:
    """Crops sRGB uint8 (n, height, width, 3) as a chain on `device` takes them: float32 (n, 3, height, width), 0..1."""
    values = torch.from_numpy(np.ascontiguousarray(crops.transpose(0, 3, 1, 2))).to(device)
    return _LINEAR.to(device)[values.long()] if light == "linear" else values.float() / 255


def soft_codes(
    chain: Chain,
    images: Tensor,
    slope: float,
    nuisance: Nuisance | None,
    rng: np.random.Generator,
    straight_through: bool = False,
) -> tuple[Tensor, Tensor]:
    """Codes with gradients, and the cells they come from, both float32 (n, channels, rows, columns).

    straight_through: the values are the exact codes, the gradients those of the soft ones (Bengio et al. 2013,
    arXiv:1308.3432). Without quantization the cells are the codes, in 0..1.
    """
    cells = chain.cells(images, nuisance, rng)
    if chain.settings.levels is None:
        return cells, cells
    thresholds = chain.thresholds()
    if nuisance is not None:
        thresholds = nuisance.on_thresholds(thresholds, rng)
    soft = quantized(cells, thresholds, slope)
    if straight_through:
        soft = soft + (quantized(cells, thresholds, None) - soft).detach()
    return soft, cells


def scaled(codes: Tensor, chain: Chain) -> Tensor:
    """Codes as networks read them, in 0..1."""
    return codes if chain.settings.levels is None else codes / HIGHEST_CODE


def network_input(values: Tensor, upsample: int) -> Tensor:
    """Values in 0..1 (n, channels, rows, columns) as a network takes them, enlarged `upsample` times (bilinear)."""
    if upsample > 1:
        values = functional.interpolate(values, scale_factor=upsample, mode="bilinear", align_corners=False)
    return values.contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def encoded_looks(
    chain: Chain,
    crops: NDArray[np.uint8],
    count: int,
    nuisance: Nuisance | None,
    rng: np.random.Generator,
    further: Nuisance | None = None,
) -> Looks:
    """`count` looks of every crop through the chain as it is: the first exact and unvaried, others shifted and mirrored
    at random and, where `nuisance` is given, noisy. Thresholds are sharp in all of them.

    further: the nuisance of the third look and those after it, where it is another than the second's.
    """
    full_scale = UNQUANTIZED_FULL_SCALE if chain.settings.levels is None else HIGHEST_CODE
    looks = []
    for look in range(count):
        met = None if look == 0 else nuisance if look == 1 or further is None else further
        parts = []
        for start in range(0, len(crops), BATCH):
            part = crops[start : start + BATCH]
            if look > 0:
                part = varied_crops(part, chain.settings.pool, rng)
            light = light_of(part, chain.settings.light, chain.device)
            values = chain(light, None, met, rng)
            if chain.settings.levels is None:
                values = (values * full_scale).round().clamp(0, full_scale)
            parts.append(values.permute(0, 2, 3, 1).to(torch.uint8).cpu().numpy())
        looks.append(np.concatenate(parts))
    return Looks(np.stack(looks, axis=1), full_scale)
