"""Frames with a point source on and off to one difference: odd ones refused with a reason, noise and motion measured.

Frames come as quads, (frames, 4, rows, columns): the four sites of every 2 x 2 quad of the mosaic, so that sites of one
colour are neighbours and no colours are mixed. Frames with the source on and off alternate in time; a slow drift of the
ambient light is then the same in both means and leaves with the difference.
"""

from dataclasses import dataclass

import numpy as np
import scipy.ndimage
from numpy.typing import NDArray

from calibration.hdr import NEAR_FULL

Floats = NDArray[np.float64]

# A frame is odd when its mean or its position lies further from the median than so many robust standard deviations ...
ODD_SIGMAS = 6.0
# ... and further than this share of the source's light, or this part of a pixel: smaller ones do no harm.
ODD_LIGHT_SHARE, ODD_SHIFT_PX = 0.02, 0.3
# Median absolute deviation to standard deviation, of a normal distribution.
MAD_TO_SIGMA = 1.4826


@dataclass(frozen=True, slots=True, eq=False)
class Reduced:
    """What is kept of a stack of frames.

    difference_dn: float64 (4, rows, columns), mean with the source less mean without. saturated: bool, same shape,
    sites above calibration.hdr.NEAR_FULL in a used frame. frames_on, frames_off: how many were used. dark_variance_dn2,
    dn_per_electron: see calibration.hdr.BracketPart. shifts_px: float64 (frames on, 2), where the source stood in each
    frame against the reference, (rows, columns), refused frames included; shift_sigma_px: what noise does to them.
    on_means_dn, off_means_dn: float64 (frames,), mean of each frame. flashes, bumps: how many frames were refused for
    their brightness, and for the source's position.
    """

    difference_dn: Floats
    saturated: NDArray[np.bool_]
    frames_on: int
    frames_off: int
    dark_variance_dn2: float
    dn_per_electron: float
    shifts_px: Floats
    shift_sigma_px: Floats
    on_means_dn: Floats
    off_means_dn: Floats
    flashes: int
    bumps: int

    def refusals(self) -> str:
        """Which frames were refused and why, in words; empty for none."""
        parts = []
        if self.flashes:
            parts.append(f"{self.flashes} for a flash of light")
        if self.bumps:
            parts.append(f"{self.bumps} for a bump that moved the source")
        return " and ".join(parts)


def reduce_frames(
    on: NDArray[np.uint16], off: NDArray[np.uint16], white_dn: float, reference_dn: Floats | None = None
) -> Reduced:
    """Frames with the source (n, 4, rows, columns) and without (m, 4, rows, columns) to their difference.

    reference_dn: difference of another exposure of the same set-up, which the source's place is told against; None:
    these frames' own mean.

    Refused are frames whose mean is far from the others' (somebody's torch, a door), and frames with the source
    elsewhere (a bumped table). At least half of each kind is kept. Raises ValueError for fewer than 4 of either, or
    unequal shapes.
    """
    if on.ndim != 4 or on.shape[1:] != off.shape[1:] or on.shape[1] != 4 or min(len(on), len(off)) < 4:
        raise ValueError(f"at least 4 frames (frames, 4, rows, columns) with and without, got {on.shape}, {off.shape}")
    on_means, off_means = (frames.mean(axis=(1, 2, 3), dtype=np.float64) for frames in (on, off))
    light = max(float(np.median(on_means) - np.median(off_means)), 0.0)
    bright_on, bright_off = (_kept(means[:, np.newaxis], ODD_LIGHT_SHARE * light) for means in (on_means, off_means))
    lit, dark = on[bright_on], off[bright_off]
    off_mean = dark.mean(axis=0, dtype=np.float64)
    dark_variance = float(np.mean(dark.var(axis=0, ddof=1, dtype=np.float64)))
    difference = lit.mean(axis=0, dtype=np.float64) - off_mean
    slope = noise_slope(
        difference, lit.var(axis=0, ddof=1, dtype=np.float64), dark_variance, lit.max(axis=0) / white_dn
    )
    linear = lit.max(axis=0) < NEAR_FULL * white_dn
    template = difference if reference_dn is None else reference_dn
    shifts, shift_sigma = frame_shifts(on, off_mean, template, dark_variance, slope, linear)
    steady = _kept(shifts, np.maximum(ODD_SHIFT_PX, ODD_SIGMAS * shift_sigma))
    used = bright_on & steady if (bright_on & steady).sum() >= len(on) // 2 else bright_on
    lit = on[used]
    difference = lit.mean(axis=0, dtype=np.float64) - off_mean
    return Reduced(
        difference,
        np.asarray(lit.max(axis=0) >= NEAR_FULL * white_dn),
        len(lit),
        len(dark),
        dark_variance,
        slope,
        shifts,
        shift_sigma,
        on_means,
        off_means,
        int((~bright_on).sum() + (~bright_off).sum()),
        int((bright_on & ~used).sum()),
    )


def noise_slope(light_dn: Floats, variance_dn2: Floats, dark_variance_dn2: float, fullness: Floats) -> float:
    """Variance that a DN of light adds, DN per electron: least squares of (variance - dark variance) over light.

    The shot-noise part of the photon transfer, EMVA 1288 release 4.0 Linear, section 2.3: sites below 0.8 of full scale
    (`fullness`), each weighted by the inverse square of its light's own spread. 0 where there is too little light to
    tell, and then there is too little to matter.
    """
    chosen = fullness < 0.8
    light, excess = light_dn[chosen], variance_dn2[chosen] - dark_variance_dn2
    power = float((light**2).sum())
    return max(float((light * excess).sum()) / power, 0.0) if power > 0 else 0.0


def frame_shifts(
    frames: NDArray[np.uint16],
    off_mean_dn: Floats,
    template_dn: Floats,
    dark_variance_dn2: float,
    slope: float,
    linear: NDArray[np.bool_],
) -> tuple[Floats, Floats]:
    """Where the source stands in each frame against a mean picture: (shifts float64 (frames, 2), sigma float64 (2,)).

    (rows, columns) in pixels of a plane, to first order: brightness, and the picture's derivatives along rows and
    columns, fitted to each frame by least squares weighted with the noise. linear: bool, sites that are not saturated.
    The picture may be of another exposure. Zeros and infinite sigma where there is no light to tell.
    """
    smooth = scipy.ndimage.gaussian_filter(template_dn, (0, 1, 1))
    nothing = np.zeros((len(frames), 2)), np.full(2, np.inf)
    if not smooth.max() > 0:
        return nothing
    # Where there is hardly any light, the noise's own derivatives would count. Only derivatives are smoothed: against a
    # smoothed picture every frame would be off in the same way.
    bright = (smooth > 0.1 * smooth.max()) & linear
    along = np.gradient(smooth, axis=(1, 2))
    columns = np.stack([template_dn[bright], -along[0][bright], -along[1][bright]], axis=1)
    residual = np.stack([frame[bright] - off_mean_dn[bright] for frame in frames])
    power = float((columns[:, 0] ** 2).sum())
    brightness = float((residual.mean(axis=0) * columns[:, 0]).sum()) / power if power > 0 else 0.0
    if brightness <= 0:
        return nothing
    columns *= brightness
    weight = 1 / (dark_variance_dn2 + slope * np.maximum(columns[:, 0], 0) + 1 / 12)
    normal = columns.T @ (weight[:, np.newaxis] * columns)
    if len(columns) < 12 or np.linalg.cond(normal) > 1e12:
        return nothing
    inverse = np.linalg.inv(normal)
    found = residual @ (inverse @ (weight[:, np.newaxis] * columns).T).T
    shifts = found[:, 1:] / np.where(np.abs(found[:, :1]) > 0.1, found[:, :1], 1.0)
    return np.asarray(shifts), np.asarray(np.sqrt(np.diag(inverse)[1:]))


def _kept(values: Floats, harmless: float | Floats) -> NDArray[np.bool_]:
    """Which of values (n, k) are not odd, in any of their k numbers; all of them if more than half would go."""
    away = np.abs(values - np.median(values, axis=0))
    spread = MAD_TO_SIGMA * np.median(away, axis=0)
    kept = np.asarray((away <= np.maximum(ODD_SIGMAS * spread, harmless)).all(axis=1))
    return kept if kept.sum() >= len(values) / 2 else np.ones(len(values), dtype=bool)
