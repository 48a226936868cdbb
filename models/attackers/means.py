"""Mean codes: several looks at the same crop averaged before an attacker sees them, as a video's frames can be.

Codes of few levels lose most of what lies between them; sub-cell shifts and noise bring it back in the mean, as dither
does. Means are uint8 with 255 at full scale, so that 15 steps of a mean lie between two codes.
"""

import numpy as np
from numpy.typing import NDArray

FULL_SCALE = 255.0


def mean_codes(looks: NDArray[np.uint8], full_scale: float) -> NDArray[np.uint8]:
    """Mean over the looks of each crop: uint8 (n, looks, rows, columns, channels), full scale at `full_scale`, to uint8
    (n, rows, columns, channels), full scale at FULL_SCALE."""
    return _scaled(np.asarray(looks.mean(axis=1, dtype=np.float32), np.float32), full_scale)


def mixed_means(looks: NDArray[np.uint8], full_scale: float, count: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Means that an attacker can be trained on: `count` of each crop, uint8 (n, count, rows, columns, channels).

    The first is over all looks; each other one over a random half of them or more, drawn for each crop, since a single
    mean per crop is soon memorised. Raises ValueError for a count below 1.
    """
    if count < 1:
        raise ValueError(f"at least one mean of each crop, got {count}")
    crops, number = looks.shape[:2]
    found = [mean_codes(looks, full_scale)]
    for _ in range(count - 1):
        size = int(rng.integers(-(-number // 2), number + 1))
        chosen = rng.random((crops, number)).argsort(axis=1)[:, :size]
        total = np.zeros((crops, *looks.shape[2:]), np.float32)
        for column in chosen.T:
            total += looks[np.arange(crops), column]
        found.append(_scaled(np.asarray(total / np.float32(size), np.float32), full_scale))
    return np.stack(found, axis=1)


def _scaled(means: NDArray[np.float32], full_scale: float) -> NDArray[np.uint8]:
    return np.asarray(np.rint(means * np.float32(FULL_SCALE / full_scale)), np.uint8)
