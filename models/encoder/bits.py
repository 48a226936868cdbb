"""How many bits a measurement holds: entropies of codes, counted, and as something to learn by. Needs torch.

The bits of a measurement are the sum over its cells and channels of each code's own entropy over many faces. Codes of
neighbouring cells depend on one another, so the sum is an upper bound of what the whole measurement says.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.encoder.chain import HIGHEST_CODE


def code_bits(codes: NDArray[np.uint8], full_scale: int = HIGHEST_CODE) -> dict[str, Any]:
    """Bits of codes uint8 (n, rows, columns, channels): "per_measurement", "per_code" (its mean), "n" images."""
    counts = np.stack([(codes == value).sum(axis=0) for value in range(full_scale + 1)]).astype(np.float64)
    shares = counts / len(codes)
    entropies = -np.where(shares > 0, shares * np.log2(np.maximum(shares, 1e-300)), 0).sum(axis=0)
    return {"per_measurement": float(entropies.sum()), "per_code": float(entropies.mean()), "n": len(codes)}


def soft_bits(cells: Tensor, thresholds: Tensor, slope: float, exact: bool = False) -> Tensor:
    """Bits per measurement over a batch, with gradients: cells (n, channels, rows, columns), thresholds (15,).

    A sigmoid per distinct threshold says how surely a value reached it; the differences of neighbouring ones share a
    value out between the levels. Their means over the batch are the soft histogram of each cell and channel. exact:
    hard steps forward, gradients of the soft ones. Few images make it too small: n images hold log2(n) bits at most.
    """
    reached = [torch.ones_like(cells)]
    for threshold in _distinct(thresholds):
        soft = torch.sigmoid(slope * HIGHEST_CODE * (cells - threshold))
        if exact:
            soft = soft + ((cells >= threshold).to(soft.dtype) - soft).detach()
        reached.append(soft)
    reached.append(torch.zeros_like(cells))
    bits = cells.new_zeros(())
    for above, below in zip(reached[1:], reached[:-1], strict=True):
        share = (below - above).mean(dim=0)
        bits = bits - (share * torch.log2(share.clamp(min=1e-6))).sum()
    return bits


def _distinct(thresholds: Tensor) -> list[Tensor]:
    before = [None, *thresholds[:-1]]
    return [one for one, last in zip(thresholds, before, strict=True) if last is None or bool(one != last)]
