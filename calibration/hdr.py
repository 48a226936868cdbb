"""Several exposures of one light merged into one: linear, each site weighted by what is known about its noise.

The estimate of a site's light is the mean over the exposures of (digital number above black) / (exposure * gain),
weighted by the inverse of its variance, which is the maximum-likelihood estimate for a linear sensor: Granados et al.,
"Optimal HDR reconstruction with linear digital cameras", CVPR 2010, doi:10.1109/CVPR.2010.5540208. The variance comes
from the stacks themselves: temporal variance without the source, plus shot noise in proportion to its light. Weights
taken from a site's own noisy value would favour values that came out low, so they are taken from a first estimate over
all exposures (same paper, section 3.2). Samples near saturation say nothing and are left out.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# Above this share of full scale a sample counts as saturated: pixels stop being linear before they clip.
NEAR_FULL = 0.9
# Passes in which the weights follow the merged light; the second changes them by less than a percent.
PASSES = 2


@dataclass(frozen=True, slots=True, eq=False)
class BracketPart:
    """One exposure of a bracket: the mean of frames with the source on, less the mean of frames with it off.

    difference_dn: float64 (any shape), digital numbers; ambient light, black level and dark current are gone from it.
    saturated: bool, same shape, sites that came above NEAR_FULL of full scale in a frame. frames_on, frames_off: how
    many were averaged. dark_variance_dn2: temporal variance of one frame's site without the source (read noise and
    shot noise of the ambient light). dn_per_electron: variance in DN^2 that one DN of the source's light adds (the
    system gain K of EMVA 1288, section 2.3). exposure_us, gain: as the frames report them.
    """

    difference_dn: Floats
    saturated: NDArray[np.bool_]
    frames_on: int
    frames_off: int
    dark_variance_dn2: float
    dn_per_electron: float
    exposure_us: float
    gain: float

    @property
    def scale_us(self) -> float:
        """Exposure times gain: what a DN is divided by."""
        return self.exposure_us * self.gain

    def variance_dn2(self, light_dn: Floats) -> Floats:
        """Variance of `difference_dn` for so much light of the source: float64 of its shape.

        Both means' noise, and what rounding leaves when noise is too small to dither it: a bias of up to
        exp(-2 pi^2 s^2) / pi DN for noise of s DN, of unknown phase (Widrow, Kollar and Liu, IEEE Trans. Instrum.
        Meas. 45, 353 (1996), doi:10.1109/19.492748), counted once for each mean.
        """
        dark, light = self.dark_variance_dn2, self.dn_per_electron * np.maximum(light_dn, 0)
        noise = (dark + light) / self.frames_on + dark / self.frames_off
        # The measured variance holds 1/12 of rounding itself.
        undithered = np.exp(-4 * np.pi**2 * max(dark - 1 / 12, 0.0)) / np.pi**2
        return np.asarray(noise + undithered)


@dataclass(frozen=True, slots=True, eq=False)
class Merged:
    """Light of every site. rate, sigma: float64, DN per microsecond at gain 1, and its standard uncertainty from
    noise. used: int, how many exposures it rests on. clipped: bool, sites that were near full scale in every one; their
    rate is a lower bound and their sigma infinite."""

    rate: Floats
    sigma: Floats
    used: NDArray[np.int64]
    clipped: NDArray[np.bool_]


def merge(parts: Sequence[BracketPart]) -> Merged:
    """Merge a bracket. Raises ValueError for none, unequal shapes, or an exposure or a count that is not above 0."""
    if not parts or any(part.difference_dn.shape != parts[0].difference_dn.shape for part in parts):
        raise ValueError(f"a bracket has exposures of one shape, got {[part.difference_dn.shape for part in parts]}")
    for part in parts:
        if not (part.scale_us > 0 and part.frames_on > 0 and part.frames_off > 0):
            raise ValueError(
                f"exposure, gain and frame counts are above 0, got {part.exposure_us} us, gain {part.gain}, "
                f"{part.frames_on} and {part.frames_off} frames"
            )
    rates = np.stack([part.difference_dn / part.scale_us for part in parts])
    valid = np.stack([~part.saturated for part in parts])
    clipped = np.asarray(~valid.any(axis=0))
    # What clips everywhere is told by the shortest exposure: the least wrong one.
    valid[int(np.argmin([part.scale_us for part in parts]))] |= clipped
    # First estimate: weights as if there were no light, the same for all sites.
    light = np.zeros(rates.shape[1:])
    for _ in range(1 + PASSES):
        variances = np.stack([part.variance_dn2(light * part.scale_us) / part.scale_us**2 for part in parts])
        weights = np.where(valid, 1 / variances, 0)
        total = weights.sum(axis=0)
        light = (weights * rates).sum(axis=0) / total
    sigma = np.where(clipped, np.inf, 1 / np.sqrt(total))
    return Merged(light, sigma, np.asarray(np.where(clipped, 0, valid.sum(axis=0)), dtype=np.int64), clipped)
