"""A mask's PSF from differences of a point source on and off: background, colours, centre, window, share, uncertainty.

What is measured (decision 24 says why): the light of each colour above the even level at the rim of the region that was
looked at, as a share of all such light in the region. The window is cut around the pixel nearest to the PSF's centre
and nothing is resampled: every value is one sensor pixel's, and what is left of the shift is reported beside it.
"""

import contextlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibration.bayer import ORDERS
from calibration.hdr import BracketPart, merge
from calibration.registration import Registration, placed, register
from optics.metrics import MetricError, per_colour_correlation

Floats = NDArray[np.float64]

# Width of the region's rim, in pixels, that the background is taken from.
RIM_PX = 2
# Share of the region's light that the window holds, in every colour.
WINDOW_SHARE = 0.99
# How far beyond the design's own window the registration looks.
REGISTERED_ROOM_PX = 8
# Below this correlation the design says nothing about the centre: the centroid is taken.
LEAST_LIKENESS = 0.6


@dataclass(frozen=True, slots=True, eq=False)
class Light:
    """What the source sends to a region of the sensor, background removed: all float64.

    planes: (3, rows, columns), DN per microsecond at gain 1, mean of a colour's sites. noise: same shape, standard
    uncertainty from temporal noise alone. sigma: with the pixels' unequal response (PRNU); infinite where clipped.
    background, background_sigma: (3,), the level at the rim that was subtracted. clipped: bool, (3, rows, columns).
    used: int (3, rows, columns), the fewest exposures that any site of the pixel rests on.
    """

    planes: Floats
    noise: Floats
    sigma: Floats
    background: Floats
    background_sigma: Floats
    clipped: NDArray[np.bool_]
    used: NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class PointSpread:
    """A measured PSF.

    psf, sigma: float64 (3, side, side), each colour's sum is its share of the region's light; sigma is the standard
    uncertainty of every pixel, noise_sigma what temporal noise alone contributes. share: (3,) those sums. gains,
    gains_sigma: (3,), factors that make each colour's light of the source that of green. snr: (3,), rms of the PSF over
    rms of its noise.
    centre: (row, column) of the region's pixel that is the window's middle. centred_by: "registration" or "centroid".
    centre_px, centre_sigma_px: where the PSF's centre lies in the region, to parts of a pixel. designed_correlation:
    float64 (3,), Pearson with the design in the same window, nothing removed. registration: None where nothing could be
    registered; registered_at: the region's pixel that its window's pixel n // 2 is. clipped: how many of the window's
    pixels were saturated in every exposure; clipped_light: the share of the light on them, in the worst colour.
    """

    psf: Floats
    sigma: Floats
    noise_sigma: Floats
    share: Floats
    gains: Floats
    gains_sigma: Floats
    snr: Floats
    centre: tuple[int, int]
    centred_by: str
    centre_px: tuple[float, float]
    centre_sigma_px: tuple[float, float]
    designed_correlation: Floats
    registration: Registration | None
    registered_at: tuple[int, int]
    clipped: int
    clipped_light: float

    @property
    def side(self) -> int:
        """Rows and columns of the window."""
        return int(self.psf.shape[1])

    def cut(self, planes: Floats) -> Floats:
        """The window, out of planes (3, rows, columns) of the region."""
        top, left = (at - self.side // 2 for at in self.centre)
        return planes[:, top : top + self.side, left : left + self.side]


def source_light(parts: Sequence[BracketPart], order: str, prnu_percent: float) -> Light:
    """Merge a bracket of (4, rows, columns), sites row by row, and take the background off.

    order: Bayer order. Green is the mean of its two sites; no colour borrows from another. prnu_percent: standard
    deviation of the sites' response, in percent. The background is the mean of the rim, which is light as it would lie
    over the whole sensor: the source's own stray light. Raises ValueError for an unknown order, or a region too small
    to have a rim.
    """
    if order not in ORDERS:
        raise ValueError(f"a Bayer order is one of {', '.join(ORDERS)}, got {order!r}")
    merged = merge(parts)
    if merged.rate.ndim != 3 or len(merged.rate) != 4 or min(merged.rate.shape[1:]) < 4 * RIM_PX + 1:
        raise ValueError(f"a region is (4, rows, columns) of {4 * RIM_PX + 1} quads or more, got {merged.rate.shape}")
    sites = [[index for index, name in enumerate(order) if name == colour] for colour in "RGB"]
    planes = np.stack([merged.rate[each].mean(axis=0) for each in sites])
    noise = np.stack([np.sqrt((merged.sigma[each] ** 2).sum(axis=0)) / len(each) for each in sites])
    clipped = np.stack([merged.clipped[each].any(axis=0) for each in sites])
    used = np.stack([merged.used[each].min(axis=0) for each in sites])
    spread = prnu_percent / np.sqrt([len(each) for each in sites])
    return light_above_rim(planes, noise, spread, clipped, used)


def light_above_rim(
    planes: Floats,
    noise: Floats,
    prnu_percent: Floats,
    clipped: NDArray[np.bool_] | None = None,
    used: NDArray[np.int64] | None = None,
) -> Light:
    """Take the level at the rim off planes (colours, rows, columns), which may be one.

    noise: standard uncertainty of each pixel. prnu_percent: (colours,), of a pixel. clipped: none where left out.
    """
    saturated = np.zeros(planes.shape, dtype=bool) if clipped is None else clipped
    rim = _rim(planes.shape[1:])
    background = planes[:, rim].mean(axis=1)
    background_sigma = np.sqrt((np.where(saturated, 0, noise)[:, rim] ** 2).sum(axis=1)) / rim.sum()
    above = planes - background[:, np.newaxis, np.newaxis]
    sigma = np.sqrt(noise**2 + (prnu_percent[:, np.newaxis, np.newaxis] / 100 * above) ** 2)
    exposures = np.ones(planes.shape, dtype=np.int64) if used is None else used
    return Light(above, noise, sigma, background, background_sigma, saturated, exposures)


def point_spread(light: Light, designed: Floats | None, window_share: float = WINDOW_SHARE) -> PointSpread:
    """The PSF from the light in a region.

    designed: float64 (3, rows, columns), axis on pixel n // 2. Its best fit tells where the centre lies: a caustic's
    centroid or peak is nowhere special. None: unknown, and the centroid has to do. Raises MetricError where a colour
    has no light above its background.
    """
    total = light.planes.sum(axis=(1, 2))
    if not (total > 0).all():
        raise MetricError(f"a colour has no light above its background: {total} DN per microsecond")
    centre_px, centre_sigma, fitted, origin = _centre(light, designed)
    rows, columns = light.planes.shape[1:]
    centre = tuple(
        int(np.clip(math.floor(at + 0.5), 0, n - 1)) for at, n in zip(centre_px, (rows, columns), strict=True)
    )
    side = _window_side(light.planes, total, (centre[0], centre[1]), window_share)
    half = side // 2
    cut = (slice(None), slice(centre[0] - half, centre[0] + half + 1), slice(centre[1] - half, centre[1] + half + 1))
    psf = light.planes[cut] / total[:, np.newaxis, np.newaxis]
    sigma = _share_sigma(light, light.sigma, total)[cut]
    noise = _share_sigma(light, light.noise, total)[cut]
    known = np.where(np.isfinite(noise), noise, 0.0)
    gains, gains_sigma = _gains(light, total)
    return PointSpread(
        psf,
        sigma,
        noise,
        psf.sum(axis=(1, 2)),
        gains,
        gains_sigma,
        np.sqrt((psf**2).sum(axis=(1, 2)) / (known**2).sum(axis=(1, 2))),
        (centre[0], centre[1]),
        "centroid" if fitted is None or fitted.correlation.mean() < LEAST_LIKENESS else "registration",
        centre_px,
        centre_sigma,
        np.zeros(len(psf)) if designed is None else _correlation(psf, placed(designed, (side, side))),
        fitted,
        origin,
        int(light.clipped[cut].sum()),
        float(np.where(light.clipped[cut], psf, 0).sum(axis=(1, 2)).max()),
    )


def registered(light: Light, designed: Floats) -> tuple[Registration, tuple[int, int]]:
    """Fit the design where the light is: the fit, and the region's pixel that its shift counts from."""
    rows, columns = light.planes.shape[1:]
    middle = _centroid(light.planes)
    half = max(designed.shape[1:]) // 2 + REGISTERED_ROOM_PX
    tops = [
        round(float(np.clip(at, min(half, (n - 1) // 2), max(n - 1 - half, n // 2))))
        for at, n in zip(middle, (rows, columns), strict=True)
    ]
    low = [max(0, at - half) for at in tops]
    high = [min(n, at + half + 1) for at, n in zip(tops, (rows, columns), strict=True)]
    cut = (slice(None), slice(low[0], high[0]), slice(low[1], high[1]))
    fitted = register(light.planes[cut], light.sigma[cut], designed)
    return fitted, (low[0] + (high[0] - low[0]) // 2, low[1] + (high[1] - low[1]) // 2)


def _centre(
    light: Light, designed: Floats | None
) -> tuple[tuple[float, float], tuple[float, float], Registration | None, tuple[int, int]]:
    """(row, column) of the PSF's centre, its uncertainty, the fit, if one could be made, and where its window lies."""
    fitted: Registration | None = None
    origin = (0, 0)
    if designed is not None:
        with contextlib.suppress(MetricError, np.linalg.LinAlgError):
            fitted, origin = registered(light, designed)
    if fitted is not None and fitted.correlation.mean() >= LEAST_LIKENESS:
        at = (origin[0] + fitted.shift_px[0], origin[1] + fitted.shift_px[1])
        return at, fitted.shift_sigma_px, fitted, origin
    total = light.planes.sum()
    known = np.where(np.isfinite(light.sigma), light.sigma, 0.0)
    at = _centroid(light.planes)
    spread = []
    for axis, where in enumerate(at):
        away = np.arange(light.planes.shape[1 + axis]) - where
        lever = away[:, np.newaxis] if axis == 0 else away[np.newaxis]
        spread.append(float(np.sqrt(((known * lever) ** 2).sum()) / total))
    return at, (spread[0], spread[1]), fitted, origin


def _centroid(planes: Floats) -> tuple[float, float]:
    light = np.maximum(planes, 0).sum(axis=0)
    # Noise far away pulls at a centroid: what is below a twentieth of the peak is left out.
    light = np.where(light > light.max() / 20, light, 0)
    rows, columns = (np.arange(n) for n in light.shape)
    return (
        float((light.sum(axis=1) * rows).sum() / light.sum()),
        float((light.sum(axis=0) * columns).sum() / light.sum()),
    )


def _window_side(planes: Floats, total: Floats, centre: tuple[int, int], share: float) -> int:
    """The smallest odd side whose window holds the share of every colour; the largest that fits where none does."""
    rows, columns = planes.shape[1:]
    most = int(min(centre[0], centre[1], rows - 1 - centre[0], columns - 1 - centre[1]))
    for half in range(1, most):
        inside = planes[:, centre[0] - half : centre[0] + half + 1, centre[1] - half : centre[1] + half + 1]
        if (inside.sum(axis=(1, 2)) >= share * total).all():
            return 2 * half + 1
    return 2 * most + 1


def _share_sigma(light: Light, sigma: Floats, total: Floats) -> Floats:
    """Standard uncertainty of each pixel's share of the light, by first-order propagation.

    share_p = (x_p - b) / sum_q (x_q - b), with independent pixels x and a common background b:
    var = [(1 - 2 share_p) sigma_p^2 + share_p^2 sum_q sigma_q^2 + (1 - N share_p)^2 sigma_b^2] / total^2.
    """
    share = light.planes / total[:, np.newaxis, np.newaxis]
    finite = np.where(np.isfinite(sigma), sigma, 0.0)
    whole = (finite**2).sum(axis=(1, 2))[:, np.newaxis, np.newaxis]
    count = share[0].size
    ground = light.background_sigma[:, np.newaxis, np.newaxis]
    variance = (1 - 2 * share) * finite**2 + share**2 * whole + ((1 - count * share) * ground) ** 2
    result = np.sqrt(np.maximum(variance, 0)) / total[:, np.newaxis, np.newaxis]
    return np.asarray(np.where(np.isfinite(sigma), result, np.inf))


def share_within(light: Light, centre: tuple[int, int], sides_px: Sequence[int]) -> tuple[Floats, Floats]:
    """Share of each colour's light in squares around a pixel: (share, standard uncertainty), float64 (3, sides).

    sides_px: odd; what of a square is not in the region is left out. Independent pixels x and a common background b:
    of S = sum_in (x - b) / sum (x - b) the variance is
    [(1 - 2 S) sum_in sigma^2 + S^2 sum sigma^2 + (n_in - n S)^2 sigma_b^2] / total^2.
    """
    finite = np.where(np.isfinite(light.sigma), light.sigma, 0.0) ** 2
    total, whole, count = light.planes.sum(axis=(1, 2)), finite.sum(axis=(1, 2)), light.planes[0].size
    shares, spreads = [], []
    for side in sides_px:
        low = [max(0, at - side // 2) for at in centre]
        inside = (slice(None), slice(low[0], centre[0] + side // 2 + 1), slice(low[1], centre[1] + side // 2 + 1))
        share = light.planes[inside].sum(axis=(1, 2)) / total
        ground = ((light.planes[inside][0].size - count * share) * light.background_sigma) ** 2
        variance = (1 - 2 * share) * finite[inside].sum(axis=(1, 2)) + share**2 * whole + ground
        shares.append(share)
        spreads.append(np.sqrt(np.maximum(variance, 0)) / total)
    return np.stack(shares, axis=1), np.stack(spreads, axis=1)


def share_in_doubt(light: Light, in_doubt: Floats, centre: tuple[int, int], sides_px: Sequence[int]) -> Floats:
    """By how much each share of `share_within` would be another without the light in doubt: float64 (3, sides).

    in_doubt: (3, rows, columns), part of `Light.planes`. To first order, (S sum d - sum_in d) / total.
    """
    total = light.planes.sum(axis=(1, 2))
    changes = []
    for side in sides_px:
        low = [max(0, at - side // 2) for at in centre]
        inside = (slice(None), slice(low[0], centre[0] + side // 2 + 1), slice(low[1], centre[1] + side // 2 + 1))
        share = light.planes[inside].sum(axis=(1, 2)) / total
        changes.append(np.abs(share * in_doubt.sum(axis=(1, 2)) - in_doubt[inside].sum(axis=(1, 2))) / total)
    return np.stack(changes, axis=1)


def _gains(light: Light, total: Floats) -> tuple[Floats, Floats]:
    """Factors that make every colour's light that of green, and their standard uncertainties (independent colours)."""
    count = light.planes[0].size
    finite = np.where(np.isfinite(light.sigma), light.sigma, 0.0)
    variance = (finite**2).sum(axis=(1, 2)) + (count * light.background_sigma) ** 2
    relative = np.sqrt(variance) / total
    green = len(total) // 2
    gains = total[green] / total
    spread = gains * np.sqrt(relative**2 + relative[green] ** 2)
    spread[green] = 0.0
    return gains, spread


def _correlation(one: Floats, other: Floats) -> Floats:
    try:
        return per_colour_correlation(one, other)
    except MetricError:
        return np.zeros(len(one))


def _rim(shape: tuple[int, ...]) -> NDArray[np.bool_]:
    inner = np.zeros(shape, dtype=bool)
    inner[RIM_PX:-RIM_PX, RIM_PX:-RIM_PX] = True
    return ~inner
