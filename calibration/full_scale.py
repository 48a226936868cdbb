"""The fixed full scale for a scene: from counts of pooled values to the exposure at which few cells are clipped.

Nothing here sees where a cell lies: a look at the scene is a histogram of its cells' values. What is steered to is the
share of cells that read the highest code, `optics.exposure.SATURATED_SHARE_TARGET`, at which the models were trained.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from optics.exposure import SATURATED_SHARE_TARGET

# Bins of pooled values in fractions of full scale; values beyond the ends count in the outermost bins.
LOWEST, HIGHEST, BINS = -0.05, 1.55, 4096
WIDTH = (HIGHEST - LOWEST) / BINS
# Of light that becomes brighter until so many cells read the highest code, there is little left to see.
CROWDED_SHARE = 0.1


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """Some exposures of the scene at one setting.

    exposure_us, gain: as the camera reported them. counts: int64 (exposures, BINS), cells (all channels together) by
    value. means: float64 (exposures,), mean of the cells' values.
    """

    exposure_us: float
    gain: float
    counts: NDArray[np.int64]
    means: NDArray[np.float64]

    @property
    def product_us(self) -> float:
        """Exposure times gain, us: what the values are proportional to."""
        return self.exposure_us * self.gain

    @property
    def cells(self) -> int:
        """Cells of one exposure."""
        return int(self.counts[0].sum())


@dataclass(frozen=True, slots=True, eq=False)
class FullScale:
    """What the looks say. Every `_sigma` is a standard uncertainty (k = 1).

    product_us: exposure times gain at which the target share of cells reads the highest code, for this scene.
    other_view_percent: how much that would differ for another view of equally many cells drawn from the same
    brightnesses (binomial), percent. saturated_share, zero_share: cells at the highest code and at code 0, over the
    looks given. saturated_range: least and most of one exposure. headroom_percent: by how much light may grow until
    CROWDED_SHARE of the cells read the highest code. light_change_percent: standard deviation of the light between
    exposures.
    """

    product_us: float
    product_sigma_us: float
    other_view_percent: float
    saturated_share: float
    saturated_share_sigma: float
    saturated_range: tuple[float, float]
    zero_share: float
    zero_share_sigma: float
    headroom_percent: float
    light_change_percent: float


def look_of(arrays: Mapping[str, NDArray[Any]]) -> Look:
    """A look from its named arrays: exposure_us, gain, counts, means."""
    counts, means = np.asarray(arrays["counts"], np.int64), np.asarray(arrays["means"], np.float64)
    if counts.shape != (means.size, BINS):
        raise ValueError(
            f"a look has counts (exposures, {BINS}) and as many means, got {counts.shape} and {means.shape}"
        )
    return Look(float(arrays["exposure_us"]), float(arrays["gain"]), counts, means)


def histogram(cells: NDArray[np.floating]) -> NDArray[np.int64]:
    """Counts of pooled values of any shape: int64 (BINS,). Raises ValueError for values that are not finite.

    What it works in is zeroed: the values in their places are more than the counts may tell.
    """
    values = np.array(cells, dtype=np.float64).ravel()
    try:
        if not np.isfinite(values).all():
            raise ValueError("pooled values must be finite")
        values -= LOWEST
        values /= WIDTH
        np.clip(values, 0, BINS - 1, out=values)
        index = values.astype(np.int64)
        counts = np.bincount(index, minlength=BINS).astype(np.int64)
        index.fill(0)
        return counts
    finally:
        values.fill(0)


def reached_by(counts: NDArray[np.int64], share: float) -> float:
    """The value that `share` of the cells (at least one of them) reach: the middle of that cell's bin.

    counts: int64 (BINS,). The same cell as `optics.exposure.steady_exposure` takes. Raises ValueError for no cells.
    """
    total = int(counts.sum())
    if total == 0:
        raise ValueError("a histogram holds at least one cell")
    return _of_rank(counts, max(1, round(share * total)))


def next_product_us(look: Look, top: float, share: float = SATURATED_SHARE_TARGET) -> float:
    """Exposure times gain to try next, us: by proportion where the cell in question is below full scale, else much
    less. top: the highest threshold, fraction of full scale."""
    value = float(np.median([reached_by(counts, share) for counts in look.counts]))
    if value >= 0.98:
        # How far beyond the end the light is, nobody knows; the more cells are there, the further.
        beyond = float(look.counts[:, round((0.98 - LOWEST) / WIDTH) :].sum() / look.counts.sum())
        return look.product_us / (16 if beyond > 0.5 else 4 if beyond > 3 * share else 1.5)
    return look.product_us * min(16.0, top / max(value, top / 16))


def full_scale(
    look: Look,
    thresholds: NDArray[np.float32],
    others: Sequence[Look] = (),
    share: float = SATURATED_SHARE_TARGET,
) -> FullScale:
    """The full scale by a look at a setting near it (within some percent: values are taken as proportional).

    thresholds: float32 (15,), fractions of full scale. others: looks at nearly the same setting at other times: the
    answer is for the mean light of all of them. Its uncertainty is the scatter of single exposures over the root of
    their number, the bins' width, and the scatter of the light (between looks, or between exposures where that is
    more: looks may fall on one phase of a flicker) over the root of the looks' number, widened to the standard
    deviation of Student's distribution (few looks are easily alike by chance). The maximum over a cell's pixels takes
    noise for light, by two standard deviations and more: so this is the setting for this sensor's noise, not for
    a noiseless one. Raises ValueError for fewer than two exposures.
    """
    counts = look.counts
    if len(counts) < 2:
        raise ValueError(f"a scatter needs two exposures or more, got {len(counts)}")
    top, bottom = float(thresholds[-1]), float(thresholds[0])
    wanted = look.product_us * top / np.array([max(reached_by(each, share), WIDTH) for each in counts])
    value = float(np.median([reached_by(each, share) for each in counts]))
    bins = WIDTH / np.sqrt(12) / value
    light = np.array([each.means.mean() / each.product_us for each in [look, *others]])
    if not light.mean() > 0:
        raise ValueError("there is no light: the cells' mean is not above 0")
    single = np.concatenate([each.means / each.product_us for each in [look, *others]])
    between = _widened(light, single) / light.mean()
    noise = wanted.std(ddof=1) / np.sqrt(len(wanted)) / wanted.mean()
    product_us = float(wanted.mean() * light[0] / light.mean())

    total = counts.sum(axis=0)
    cells = int(counts[0].sum())
    rank = max(1, round(share * cells)) * len(counts)
    # A view of as many cells has rank +- sqrt(rank) of them above a given brightness.
    scatter = np.sqrt(rank / len(counts)) * len(counts)
    lower, upper = (_of_rank(total, max(1, round(rank + step))) for step in (scatter, -scatter))
    above = _share_from(counts, top)
    below = 1 - _share_from(counts, bottom)
    return FullScale(
        product_us=product_us,
        product_sigma_us=float(product_us * np.sqrt(noise**2 + bins**2 + between**2)),
        other_view_percent=float(100 * (upper - lower) / 2 / value),
        saturated_share=float(above.mean()),
        saturated_share_sigma=_share_sigma(above, cells),
        saturated_range=(float(above.min()), float(above.max())),
        zero_share=float(below.mean()),
        zero_share_sigma=_share_sigma(below, cells),
        headroom_percent=100 * (top / reached_by(total, CROWDED_SHARE) - 1),
        light_change_percent=float(100 * single.std(ddof=1) / single.mean()),
    )


def _widened(looks: NDArray[np.float64], single: NDArray[np.float64]) -> float:
    """Standard uncertainty of the mean light of few looks: that of Student's distribution; 0 for fewer than four."""
    if looks.size < 4:
        return 0.0
    freedom = looks.size - 1
    scatter = max(looks.std(ddof=1), single.std(ddof=1))
    return float(scatter / np.sqrt(looks.size) * np.sqrt(freedom / (freedom - 2)))


def _of_rank(counts: NDArray[np.int64], rank: int) -> float:
    """The value of the rank-th brightest cell, rank from 1."""
    above = np.cumsum(counts[::-1])
    place = BINS - 1 - int(np.searchsorted(above, min(rank, int(above[-1]))))
    return LOWEST + (place + 0.5) * WIDTH


def _share_from(counts: NDArray[np.int64], level: float) -> NDArray[np.float64]:
    """Share of the cells at or above a level, of each exposure: float64 (exposures,). Within its bin a level is met by
    as many cells as lie above its place in the bin."""
    place = (level - LOWEST) / WIDTH
    first = int(place)
    whole = counts[:, first + 1 :].sum(axis=1) + counts[:, first] * (1 - (place - first))
    return np.asarray(whole / counts.sum(axis=1), dtype=np.float64)


def _share_sigma(shares: NDArray[np.float64], cells: int) -> float:
    """Of a mean share: the scatter between exposures, but no less than one cell in all of them makes."""
    return float(max(shares.std(ddof=1), 1 / cells) / np.sqrt(len(shares)))
