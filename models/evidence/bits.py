"""How much a measurement can hold at most: entropy of its codes over faces."""

import numpy as np
from numpy.typing import NDArray


def code_entropies(codes: NDArray[np.uint8]) -> tuple[float, float]:
    """Bits per measurement and bits per code of codes uint8 (n, rows, columns, channels), over the n measurements.

    Bits per measurement: the sum over cells and channels of each one's entropy (plug-in estimate with the correction of
    Miller and Madow, (values - 1) / (2 n ln 2) bits). Neighbouring cells depend on each other, so a measurement holds
    less than that. Bits per code: entropy of all codes together. Raises ValueError without measurements.
    """
    count = len(codes)
    if count == 0:
        raise ValueError("entropy needs at least one measurement")
    flat = codes.reshape(count, -1)
    levels = np.arange(int(flat.max()) + 1)
    shares = np.stack([(flat == level).mean(axis=0) for level in levels])
    correction = ((shares > 0).sum(axis=0) - 1) / (2 * count * np.log(2))
    # No cell holds more than evenly frequent codes would.
    each = np.minimum(_entropy(shares) + correction, np.log2(max(len(levels), 2)))
    return float(each.sum()), float(_entropy(shares.mean(axis=1, keepdims=True))[0])


def _entropy(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Entropy in bits along the first axis of shares that sum to one."""
    logarithm = np.log2(np.where(shares > 0, shares, 1))
    return np.asarray(-(shares * logarithm).sum(axis=0), np.float64)
