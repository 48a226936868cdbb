"""What a real camera adds to the ideal encoder, drawn afresh at every step of learning. Needs torch.

An encoder learned without it puts thresholds and fine taps where noise, a comparator's offset or the mask's tolerance
decide the code. See docs/decisions/0029-nuisances-while-learning.md.
"""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from models.encoder.plan import NuisancePlan

# The maximum of 64 pixels lies about this many sigma above their mean, and varies by this much
# (`models.detector.batches.noisy_codes`).
LARGEST_LIFT = 2.4
SPREAD = 0.4
# Knots per side of the smooth error of a mask: errors of a printed mask are smooth over its PSF.
KNOTS = 5


class CameraNuisance:
    """Sensor noise, comparators, exposure, the mask's tolerance and its place, as `models.encoder.chain.Nuisance`.

    plan: how large each is. pool: side of a cell; a single pixel has no maximum that noise could lift.
    """

    def __init__(self, plan: NuisancePlan, pool: int) -> None:
        self.plan = plan
        self.pool = pool

    def metered(self) -> "CameraNuisance":
        """The same camera where every image meters its own exposure (no `exposure_span`)."""
        return CameraNuisance(self.plan.model_copy(update={"exposure_span": None}), self.pool)

    def on_kernels(self, kernels: Tensor, rng: np.random.Generator) -> Tensor:
        """Kernels as one copy of the mask has them: smooth relative error, a little blur, shifted by part of a pixel.

        The positive and the negative taps are masks of their own with an error each; either keeps its light.
        """
        if kernels.shape[1] * kernels.shape[2] == 1:
            return kernels
        plus = self._printed(kernels.clamp(min=0), rng)
        if not bool((kernels < 0).any()):
            return plus
        return plus - self._printed((-kernels).clamp(min=0), rng)

    def on_cells(self, cells: Tensor, rng: np.random.Generator) -> Tensor:
        """Exposed cells (n, channels, rows, columns) under a jittered exposure, with sensor and comparator noise."""
        count = len(cells)
        reach = np.log1p(self.plan.exposure)
        values = cells * _each(np.exp(rng.uniform(-reach, reach, count)), cells)
        if self.plan.exposure_span is not None:
            low, high = np.log(self.plan.exposure_span)
            values = values * _each(np.exp(rng.uniform(low, high, count)), cells)
        shot = _each(rng.uniform(0, self.plan.shot, count), cells)
        read = _each(rng.uniform(0, self.plan.read, count), cells)
        lift = _each(rng.uniform(0, LARGEST_LIFT if self.pool > 1 else 0, count), cells)
        spread = SPREAD if self.pool > 1 else 1.0
        sigma = torch.sqrt(shot**2 * values.detach().clamp(min=0) + read**2)
        values = values + sigma * (lift + spread * _normal(values, rng))
        return values + self.plan.comparator * _normal(values, rng)

    def on_thresholds(self, thresholds: Tensor, rng: np.random.Generator) -> Tensor:
        """Thresholds with the offsets of one set of comparators."""
        return thresholds + self.plan.comparator * _normal(thresholds, rng)

    def _printed(self, taps: Tensor, rng: np.random.Generator) -> Tensor:
        """Taps (filters, height, width), none negative, as printed, blurred and shifted; each filter's sum is kept."""
        light = taps.sum(dim=(1, 2), keepdim=True)
        filters, height, width = taps.shape
        knots = torch.from_numpy(rng.standard_normal((filters, 1, KNOTS, KNOTS)).astype(np.float32))
        smooth = functional.interpolate(knots.to(taps.device), (height, width), mode="bicubic", align_corners=True)
        printed = taps * torch.exp(self.plan.mask * smooth[:, 0])
        variance = rng.uniform(0, self.plan.blur_px) ** 2
        for axis in (1, 2):
            printed = _moved(printed, float(rng.uniform(-self.plan.shift_px, self.plan.shift_px)), variance, axis)
        return printed * light / printed.sum(dim=(1, 2), keepdim=True).clamp(min=1e-12)


def _moved(taps: Tensor, shift_px: float, variance: float, axis: int) -> Tensor:
    """Taps shifted along `axis` by linear interpolation and blurred by [v/2, 1 - v, v/2] steps of in all `variance`."""
    whole = int(np.floor(shift_px))
    part = shift_px - whole
    moved = (1 - part) * _rolled(taps, whole, axis) + part * _rolled(taps, whole + 1, axis)
    while variance > 0:
        step = min(variance, 0.5)
        moved = (1 - step) * moved + step / 2 * (_rolled(moved, 1, axis) + _rolled(moved, -1, axis))
        variance -= step
    return moved


def _rolled(taps: Tensor, by: int, axis: int) -> Tensor:
    """Moved by whole pixels; what leaves the array is lost, what enters is dark."""
    size = taps.shape[axis]
    if by == 0:
        return taps
    if abs(by) >= size:
        return torch.zeros_like(taps)
    kept = taps.narrow(axis, max(0, -by), size - abs(by))
    dark = torch.zeros_like(taps.narrow(axis, 0, abs(by)))
    return torch.cat([dark, kept] if by > 0 else [kept, dark], dim=axis)


def _each(values: "np.ndarray[tuple[int], np.dtype[np.float64]]", like: Tensor) -> Tensor:
    return torch.from_numpy(values.astype(np.float32)).to(like.device)[:, None, None, None]


def _normal(like: Tensor, rng: np.random.Generator) -> Tensor:
    return torch.from_numpy(rng.standard_normal(tuple(like.shape), np.float32)).to(like.device)
