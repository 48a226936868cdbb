"""How the light has changed since the empty room was learned: a shift of log radiance per colour that most cells share.

Two estimators. `agreeing_shift` finds the shift that the most intervals allow, wherever it lies (a lamp switched on).
`refined_shift` follows small changes by likelihood: a drift of a tenth of a bin flips a tenth of the codes, which no
single cell shows but all together do. `smooth_field` adds what one lamp on one side does: a slow change over the
picture.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.presence.radiance import WIDEST_NATS, Array, middle, plausibility

# Search of `agreeing_shift`: +-6.4 nats is a factor of 600 either way, more than exposure and gain together span.
SHIFT_STEP = 0.04
SHIFT_STEPS = 160
# Half-distances of the local search, nats.
HALF_OFFSETS = np.array([0.01, 0.02, 0.04, 0.08, 0.14, 0.22, 0.3], dtype=np.float32)
LOCAL_OFFSETS = np.concatenate((-HALF_OFFSETS[::-1], np.zeros(1, dtype=np.float32), HALF_OFFSETS))
# Keeps a cell that no shift explains (someone stands there) from deciding anything.
UNEXPLAINED = np.float32(0.05)
TILE = 10


def agreeing_shift(
    low: Array, high: Array, believed_low: Array, believed_high: Array, previous: float
) -> tuple[float, float]:
    """Shift (nats) that the most cells allow, and the share of cells it fits. Among equals the middle one, or the one
    nearest to `previous` if they span more than WIDEST_NATS.

    All arrays float32 (n,): measured and believed bounds. A cell allows every shift that makes its intervals meet.
    """
    if low.size == 0:
        return previous, 1.0
    limit = SHIFT_STEP * SHIFT_STEPS
    first = np.ceil((np.clip(low - believed_high, -limit, limit + SHIFT_STEP) + limit) / SHIFT_STEP).astype(np.int32)
    last = np.floor((np.clip(high - believed_low, -limit - SHIFT_STEP, limit) + limit) / SHIFT_STEP).astype(np.int32)
    bins = 2 * SHIFT_STEPS + 3
    fits = last >= first
    starts = np.bincount(first[fits], minlength=bins)
    ends = np.bincount(last[fits] + 1, minlength=bins)
    allowed = np.cumsum(starts - ends)[: 2 * SHIFT_STEPS + 1]
    # Within 1 % of the most: a few noisy cells must not drag the choice away from where the light was.
    best = np.flatnonzero(allowed >= 0.99 * allowed.max())
    shifts = best * SHIFT_STEP - limit
    share = float(allowed[best].max() / low.size)
    if shifts[-1] - shifts[0] < WIDEST_NATS:
        return float(shifts[0] + shifts[-1]) / 2, share
    # All saturated, or all dark: the codes bound the change on one side only; it is taken for as small as it can be.
    return float(shifts[np.argmin(np.abs(shifts - previous))]), share


def refined_shift(
    low: Array, high: Array, believed_low: Array, believed_high: Array, start: float, tether: float
) -> tuple[float, float]:
    """Most likely shift (nats) near `start`, and the mean log-likelihood per cell there. All arrays float32 (n,).

    tether: weight (per cell and square nat) that keeps the shift at `start` when the codes do not say otherwise.
    """
    if low.size == 0:
        return start, 0.0
    shifts = (LOCAL_OFFSETS + np.float32(start))[:, None]
    likely = plausibility(low[None], high[None], believed_low[None] + shifts, believed_high[None] + shifts)
    likely += UNEXPLAINED
    # float64: a mean over thousands of cells decides between candidates that differ in the fourth digit.
    score = np.log(likely).mean(axis=1, dtype=np.float64) - tether * LOCAL_OFFSETS.astype(np.float64) ** 2
    best = int(np.argmax(score))
    offset = float(LOCAL_OFFSETS[best])
    if 0 < best < len(LOCAL_OFFSETS) - 1:
        offset = _peak(LOCAL_OFFSETS[best - 1 : best + 2].astype(np.float64), score[best - 1 : best + 2])
    return start + offset, float(score[best])


def _peak(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Abscissa of the parabola through three points whose middle one is the highest."""
    left, right = x[1] - x[0], x[2] - x[1]
    down, up = y[1] - y[0], y[1] - y[2]
    denominator = down * right + up * left
    if denominator <= 1e-12:
        return float(x[1])
    return float(np.clip(x[1] + 0.5 * (down * right**2 - up * left**2) / denominator, x[0], x[2]))


def smooth_field(
    low: Array, high: Array, believed_low: Array, believed_high: Array, usable: NDArray[np.bool_]
) -> Array | None:
    """Quadratic change of log radiance over the picture that most tiles of 10 x 10 cells follow: float32 like `low`.

    low, high, believed_low, believed_high: float32 (rows, columns, channels). usable: bool of that shape, cells that
    carry information and where nobody stands. Each channel is fitted by iteratively reweighted least squares with
    Cauchy weights (Holland and Welsch 1977, doi:10.1080/03610927708827533), so that a tile with a person in it hardly
    counts. None when fewer than half of the tiles can be used.
    """
    rows, columns, channels = low.shape
    change = np.where(usable, middle(low, high) - middle(believed_low, believed_high), np.nan)
    tile_rows, tile_columns = -(-rows // TILE), -(-columns // TILE)
    padded = np.full((tile_rows * TILE, tile_columns * TILE, channels), np.nan, dtype=np.float32)
    padded[:rows, :columns] = change
    tiles = padded.reshape(tile_rows, TILE, tile_columns, TILE, channels).transpose(0, 2, 4, 1, 3)
    flat = tiles.reshape(tile_rows * tile_columns, channels, TILE * TILE)
    enough = np.isfinite(flat).sum(axis=2) >= TILE * TILE // 4
    y, x = np.meshgrid(np.linspace(-1, 1, tile_rows), np.linspace(-1, 1, tile_columns), indexing="ij")
    design = _quadratic(x.ravel(), y.ravel())
    centre = TILE / 2 - 0.5
    fine_y, fine_x = np.meshgrid(
        2 * (np.arange(rows) - centre) / max(TILE * (tile_rows - 1), 1) - 1,
        2 * (np.arange(columns) - centre) / max(TILE * (tile_columns - 1), 1) - 1,
        indexing="ij",
    )
    fine = _quadratic(fine_x.ravel(), fine_y.ravel())
    field = np.empty((rows, columns, channels), dtype=np.float32)
    for channel in range(channels):
        good = enough[:, channel]
        if good.sum() < max(len(good) // 2, design.shape[1]):
            return None
        medians = np.nanmedian(flat[good, channel], axis=1).astype(np.float64)
        field[..., channel] = (fine @ _robust_fit(design[good], medians)).reshape(rows, columns)
    return field


def _quadratic(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=1)


def _robust_fit(design: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Coefficients float64 (6,) by eight rounds of reweighting; starts from the median, the safest constant."""
    residual: Any = values - float(np.median(values))
    coefficients = np.zeros(design.shape[1])
    # A slight pull to zero of all but the constant: tiles on one side only must not bend the other side.
    ridge = np.diag([0.0, 0.05, 0.05, 0.2, 0.2, 0.2])
    for _ in range(8):
        scale = max(1.4826 * float(np.median(np.abs(residual))), 0.03)
        weights = 1.0 / (1.0 + (residual / (2.0 * scale)) ** 2)
        weighted = design * weights[:, None]
        coefficients = np.linalg.solve(weighted.T @ design + ridge, weighted.T @ values)
        residual = values - design @ coefficients
    return coefficients
