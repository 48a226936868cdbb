"""Recognises a wrong set-up of a point source from what it does to the frames, and names it.

Each test looks at one consequence that nothing else has: an even level that jumps is the room's light, a picture that
walks is a moving source, a second copy of the design is a second source, an even disc is a stop without a mask.
"""

import math

import numpy as np
import scipy.ndimage
from numpy.typing import NDArray

from calibration.point_source import Light, PointSpread
from calibration.point_source_leftover import Copy, Leftover
from calibration.registration import best_orientation, orientation_shows
from optics.metrics import MetricError, per_colour_correlation

Floats = NDArray[np.float64]

# How an acquisition ended.
STATUS = {"measured": 0, "no light": 1, "saturated": 2, "skipped": 3, "lit elsewhere": 4}
# Of the light that is switched, so much outside the region of the PSF is more than a mask scatters: something besides
# the mask is lit, and what is lit can be somebody. Light is looked for in tiles, above so many standard deviations.
LIT_SHARE, LIT_TILE_PX, LIT_SIGMAS = 0.05, 8, 8.0
# Dark frames that are this dark at the longest exposure, above black and in shares of full scale, are dark whatever is
# in them. A warm sensor's own current gives more: 2 000 electrons per second fill an eighth of a well of 3 000 in a
# fifth of a second. Current knows nothing of the filters, light does: up to so much of full scale is taken for current
# where the sites of a quad fill alike, to this share of their mean (the noise of a plane's mean, hot pixels included,
# is far below it). Beyond that sites come near saturation, which has no colours either.
DARK_SHARE, WARM_SHARE, COLOURED = 0.01, 0.25, 0.03
# Ambient light: scatter around a straight line, or a jump, by more than this share of its own level ...
AMBIENT_SHARE, AMBIENT_SIGMAS = 0.03, 6.0
# ... and by more than this share of the source's mean light in the region, which is all that it can spoil.
AMBIENT_OF_SOURCE = 1e-3
# A jump is what two levels describe to this share of the variance.
JUMP_SHARE = 0.85
# A source that keeps its place within this (rms, pixels) stands still; noise is allowed for besides.
STILL_PX, STILL_SIGMAS = 0.2, 3.0
# Between the first and the second half of the frames it may creep by so much.
CREEP_PX, CREEP_SIGMAS = 0.1, 5.0
# Frames refused before it is the set-up that is wrong.
MOST_REFUSED = 0.25
# A second source: at least so bright against the first, and so significant; with it goes this much of the misfit that
# one copy of the design leaves, where another mask, or the same one the other way round, leaves most.
SECOND_SHARE, SECOND_SIGMAS, SECOND_EXPLAINS = 0.002, 8.0, 0.5
# An open stop: an even disc correlates this well, and better than the design by this much.
DISC_CORRELATION, DISC_GAIN = 0.9, 0.1
# Another way round has to correlate better than the designed one by this much.
ORIENTATION_GAIN = 0.05
# A PSF that is so much larger than designed: more than a mount is wrong by, at most what a plate's thickness and a
# mount together do; alike along all axes, up to this share of the growth, or to so many standard uncertainties.
LARGER, LARGEST, ALIKE_GROWTH, ALIKE_SIGMAS = 1.0335, 1.12, 0.25, 4.0
# Correlation with the design that a growth is told at.
GROWN_CORRELATION = 0.9
# Nearer to the sensor's edge than this share of the designed PSF's side, part of the PSF is not on the sensor.
EDGE_SHARE = 0.35


def covered(level_dn: float, black_dn: float, white_dn: float, coloured: float) -> bool:
    """Whether a mean level is that of a sensor under its cover. coloured: of the same frames, see `colours_differ`."""
    share = (level_dn - black_dn) / (white_dn - black_dn)
    return share < DARK_SHARE or (share < WARM_SHARE and coloured < COLOURED)


def colours_differ(short_dn: Floats, long_dn: Floats) -> float:
    """By how much the four sites of a quad fill unequally from a short to a long exposure, as a share of their mean.

    short_dn, long_dn: (rows, columns), averages of mosaics; black levels fall out, whatever each site's own is. 0 where
    nothing fills.
    """
    filled = _site_means(long_dn) - _site_means(short_dn)
    return float(np.ptp(filled) / filled.mean()) if filled.mean() > 0 else 0.0


def _site_means(mosaic: Floats) -> Floats:
    rows, columns = mosaic.shape
    return np.asarray(mosaic.reshape(rows // 2, 2, columns // 2, 2).mean(axis=(0, 2)).ravel(), np.float64)


def cover_is_on(ambient_rates: Floats, scales_us: Floats, dark_rates: Floats, dark_scales_us: Floats) -> bool:
    """Whether frames with the cover off, and without the source, are as dark as those with the cover on.

    ambient_rates: (frames,) DN above black per microsecond; scales_us: exposure times gain of each. dark_rates: (2,),
    of the dark frames, their second exposure the longest. The longest exposures tell: the difference in DN there
    against a tenth of a digital number, below which no room is dark.
    """
    longest = scales_us >= 0.5 * scales_us.max()
    level = float(np.median(ambient_rates[longest] * scales_us[longest]))
    rate = float(dark_rates[int(np.argmax(dark_scales_us))])
    return level - rate * float(np.median(scales_us[longest])) < 0.1 + 3 * float(
        np.std(ambient_rates[longest] * scales_us[longest])
    )


def ambient_fault(rates: Floats, scales_us: Floats, source_rate: float) -> str | None:
    """ "ambient_changed", "ambient_flicker" or None, from frames without the source in the order they were taken.

    rates, scales_us: (frames,), DN above black per microsecond at gain 1, and exposure times gain. source_rate: mean
    rate of the source in the region.
    """
    if len(rates) < 8:
        return None
    order = np.arange(len(rates), dtype=np.float64)
    # Digital numbers of half a level of rounding are the least that a frame's mean can be wrong by.
    floor = 0.02 / scales_us
    level = max(float(np.median(rates)), 0.0)
    least = max(AMBIENT_SHARE * level, AMBIENT_OF_SOURCE * source_rate, AMBIENT_SIGMAS * float(np.median(floor)))
    # Long exposures tell the level best; short ones are noisy where the light is faint.
    weight = 1 / (floor + 0.01 * level)
    line = np.polynomial.Polynomial.fit(order, rates, 1, w=weight)
    away = rates - line(order)
    scatter = float(np.sqrt(np.average(away**2, weights=weight**2)))
    if scatter <= least:
        return None
    mean = np.average(rates, weights=weight**2)
    whole = float((weight**2 * (rates - mean) ** 2).sum())
    left = min(
        sum(
            float((w**2 * (part - np.average(part, weights=w**2)) ** 2).sum())
            for part, w in ((rates[:at], weight[:at]), (rates[at:], weight[at:]))
        )
        for at in range(2, len(rates) - 1)
    )
    return "ambient_changed" if left < (1 - JUMP_SHARE) * whole else "ambient_flicker"


def wander_px(shifts_px: Floats, sigma_px: Floats) -> tuple[float, float]:
    """How far the source wanders, robustly: (rms of its place about its mean, what noise alone would give), pixels.

    shifts_px: (exposures, frames, 2); sigma_px: (exposures, 2), infinite where an exposure cannot tell.
    """
    known = np.isfinite(sigma_px).all(axis=1)
    if not known.any():
        return 0.0, math.inf
    # Single odd frames (bumps) are refused, and told elsewhere: the middle nine tenths count.
    places = shifts_px[known].reshape(-1, 2)
    away = np.hypot(*(places - np.median(places, axis=0)).T)
    kept = np.sort(away)[: max(1, math.ceil(0.9 * len(away)))]
    return float(np.sqrt((kept**2).mean())), float(np.sqrt((sigma_px[known] ** 2).sum(axis=1).mean()))


def creep_px(shifts_px: Floats, sigma_px: Floats) -> tuple[float, float]:
    """How far the source lies in the second half of the frames from where it lay in the first: (distance, its noise).

    Medians over each half, which a bump does not move; shapes as in `wander_px`, frames in the order they were taken.
    """
    known = np.isfinite(sigma_px).all(axis=1)
    middle = shifts_px.shape[1] // 2
    if not known.any() or not middle:
        return 0.0, math.inf
    halves = [np.median(part[known].reshape(-1, 2), axis=0) for part in (shifts_px[:, :middle], shifts_px[:, middle:])]
    # A median is noisier than a mean by the root of pi / 2.
    frames = middle * known.sum()
    noise = math.sqrt(math.pi / 2 * 2 / frames * float((sigma_px[known] ** 2).sum(axis=1).mean()))
    return float(np.hypot(*(halves[1] - halves[0]))), noise


def moves(shifts_px: Floats, sigma_px: Floats) -> bool:
    """Whether the source does not keep its place, from frame to frame or from the first half to the second."""
    wander, noise = wander_px(shifts_px, sigma_px)
    creep, creep_noise = creep_px(shifts_px, sigma_px)
    if not math.isfinite(noise):
        return False
    return wander > max(STILL_PX, STILL_SIGMAS * noise) or creep > max(CREEP_PX, CREEP_SIGMAS * creep_noise)


def near_edge(places_px: list[tuple[float, float]], plane_px: tuple[int, int], design_px: int) -> bool:
    """Whether any of the places (row, column) is so near to the sensor's edge that part of the PSF is not on it."""
    away = [min(at, n - 1 - at) for place in places_px for at, n in zip(place, plane_px, strict=True)]
    return min(away) < EDGE_SHARE * design_px


def second_source(left: Leftover | None) -> Copy | None:
    """The second copy of the PSF that the light holds, or None: significant, and what explains the misfit."""
    copy = None if left is None else left.copy
    if copy is None or copy.share < SECOND_SHARE or copy.significance < SECOND_SIGMAS**2:
        return None
    return copy if copy.explained > SECOND_EXPLAINS else None


def open_stop(light: Light, spread: PointSpread) -> float | None:
    """Diameter in pixels of an even disc that the light is, where no mask spreads it; else None."""
    even = scipy.ndimage.gaussian_filter(light.planes.sum(axis=0), 1.5)
    plateau = float(np.percentile(even, 99))
    inside = even > plateau / 2
    if not plateau > 0 or not inside.any():
        return None
    rows, columns = np.nonzero(inside)
    radius = math.sqrt(inside.sum() / math.pi)
    y, x = (np.arange(n) for n in even.shape)
    disc = np.clip(radius + 0.5 - np.hypot((y - rows.mean())[:, np.newaxis], x - columns.mean()), 0, 1)
    try:
        likeness = float(per_colour_correlation(light.planes, disc).mean())
    except MetricError:
        return None
    design = 0.0 if spread.registration is None else float(spread.registration.correlation.mean())
    return 2 * radius if likeness > DISC_CORRELATION and likeness > design + DISC_GAIN else None


def mask_orientation(
    light: Light, spread: PointSpread, designed: Floats, left: Leftover | None
) -> tuple[str | None, str]:
    """("mask_flipped" | "mask_turned" | None, what was seen). Where the design looks alike both ways round, a plate
    that was turned over still tells by its size: its relief is further from the sensor by its thickness, and the PSF
    larger by that share, along all axes."""
    side = min(max(designed.shape[1:]) + 16, *(n - 1 + n % 2 for n in light.planes.shape[1:]))
    scores = best_orientation(_window(light.planes, spread.centre, side), designed)
    plain = scores["as designed"]
    mirrored, turned = scores["mirrored"], scores["turned by 180 degrees"]
    shows = orientation_shows(designed, "mirrored")
    if shows and mirrored > max(plain, turned) + ORIENTATION_GAIN:
        return "mask_flipped", f"mirrored it correlates with the design by {mirrored:.2f}, as designed by {plain:.2f}"
    if turned > max(plain, mirrored) + ORIENTATION_GAIN:
        return "mask_turned", f"turned by 180 degrees it correlates by {turned:.2f}, as designed by {plain:.2f}"
    scale = None if spread.registration is None else spread.registration.scale
    if shows or scale is None or left is None or plain < GROWN_CORRELATION:
        return None, ""
    alike = left.growth < max(ALIKE_GROWTH * (scale - 1), ALIKE_SIGMAS * left.growth_sigma)
    if LARGER < scale < LARGEST and alike:
        return "mask_flipped", f"its PSF is {(scale - 1) * 100:.1f} % larger than designed"
    return None, ""


def _window(planes: Floats, centre: tuple[int, int], side: int) -> Floats:
    """A window around a pixel, axis on its pixel n // 2, continued with zero."""
    room = side
    wide = np.pad(planes, [(0, 0), (room, room), (room, room)])
    top, left = (at + room - side // 2 for at in centre)
    return wide[:, top : top + side, left : left + side]


def lit_elsewhere(difference_dn: NDArray[np.float64], noise_dn: float, inside: tuple[slice, slice]) -> float:
    """Share of the switched light that falls outside a region of the plane, 0 to 1.

    difference_dn: the source on less off, float64 (4, rows, columns), sites of every quad. noise_dn: standard deviation
    of a site of it. inside: rows and columns of the region. Only light that stands out of the noise is counted, tile
    by tile; an even level (the 5th percentile of the tiles) is not.
    """
    light = difference_dn.sum(axis=0)
    outside = np.ones(light.shape)
    outside[inside] = 0
    rows, columns = (LIT_TILE_PX * (n // LIT_TILE_PX) for n in light.shape)

    def tiles(values: NDArray[np.float64]) -> NDArray[np.float64]:
        cut = values[:rows, :columns].reshape(rows // LIT_TILE_PX, LIT_TILE_PX, columns // LIT_TILE_PX, LIT_TILE_PX)
        return np.asarray(cut.sum(axis=(1, 3)))

    counts = tiles(outside)
    there = counts > 0
    if not there.any():
        return 0.0
    counts, seen = counts[there], tiles(light * outside)[there]
    level = float(np.percentile(seen / counts, 5))  # what lies everywhere
    above = seen - level * counts
    sigma = 2 * noise_dn * np.sqrt(counts)  # four sites are added
    away = float(above[above > LIT_SIGMAS * np.maximum(sigma, 1e-12)].sum())
    whole = away + max(float((light[inside] - level).sum()), 0.0)
    return away / whole if whole > 0 else 0.0
