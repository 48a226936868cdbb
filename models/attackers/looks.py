"""Looks: the same crop measured again at other sub-cell shifts, as the frames of a video give them."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from models.attackers.views import View

MakeView = Callable[[NDArray[np.uint8]], View]


def looks_of(
    make_view: MakeView,
    crops: NDArray[np.uint8],
    count: int,
    rng: np.random.Generator,
    pool: int,
    mirror: bool = True,
) -> NDArray[np.uint8]:
    """Looks uint8 (n, count, rows, columns, channels) of crops sRGB uint8 (n, height, width, 3).

    The first look of each crop is the crop as it is. Each other one is shifted by whole pixels along both axes, drawn
    from the `pool` ones nearest to none (-pool // 2 and up), so that each position of the cells on the face is as
    likely; edges are repeated. With `mirror` (for training) it is mirrored left to right or not. `make_view`: from
    crops to what an attacker gets, uint8. Raises ValueError for a count or pool below 1.
    """
    if count < 1 or pool < 1:
        raise ValueError(f"looks need a count and a pool >= 1, got {count} and {pool}")
    looks = [make_view(crops).inputs]
    for _ in range(count - 1):
        down, right = rng.integers(0, pool, (2, len(crops))) - pool // 2
        mirrored = rng.random(len(crops)) < 0.5 if mirror else np.zeros(len(crops), np.bool_)
        looks.append(make_view(shifted(crops, down, right, mirrored)).inputs)
    return np.stack(looks, axis=1)


def shifted(
    crops: NDArray[np.uint8], down: NDArray[np.int64], right: NDArray[np.int64], mirrored: NDArray[np.bool_]
) -> NDArray[np.uint8]:
    """Each crop mirrored where `mirrored` says so, then moved `down` and `right` by as many pixels (negative: up and
    left); all three (n,). Edges are repeated. Crops uint8 (n, height, width, channels), and so the result."""
    count, height, width = crops.shape[:3]
    rows = np.clip(np.arange(height) - down[:, None], 0, height - 1)
    columns = np.clip(np.arange(width) - right[:, None], 0, width - 1)
    columns = np.where(mirrored[:, None], width - 1 - columns, columns)
    return np.asarray(crops[np.arange(count)[:, None, None], rows[:, :, None], columns[:, None, :]], np.uint8)
