"""The encoding as something that learns: convolution, maximum, range and thresholds with gradients. Needs torch.

    light -> convolved -> maximum of cells -> range -> soft codes (learning) or codes (exact)

Soft codes follow the paper (Tan et al., ICME 2020): each comparator is a sigmoid of slope T, which hardens on a
schedule, and in the limit the sum of sigmoids is the number of thresholds at or below the value. With `exact` there is
no sigmoid left: codes are those of `optics.encoding.encode`, bit for bit where no value lies within rounding of a
threshold.
"""

from dataclasses import dataclass
from typing import Any, Literal, Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.encoder.kernels import KernelKind, make_kernels
from optics.encoding import THRESHOLDS, Encoding, Range
from optics.exposure import SATURATED_SHARE_TARGET

HIGHEST_CODE = 15
# The highest threshold of a "fixed" range: what exposure is metered by, below full scale (`gaussian_encoding.HIGHEST`).
METERED_AT = 0.9
# Darkness reads 0 in spite of noise and offsets (`gaussian_encoding.LOWEST`).
LOWEST = 0.012

Light = Literal["linear", "srgb"]


class Nuisance(Protocol):
    """What a real camera adds. Draws from `rng` alone, keeps gradients; see `models.encoder.nuisance`."""

    def on_kernels(self, kernels: Tensor, rng: np.random.Generator) -> Tensor:
        """Kernels as a copy of the mask has them: float32 (filters, height, width), same shape.

        Kernels for each colour come as filters of their own.
        """

    def on_cells(self, cells: Tensor, rng: np.random.Generator) -> Tensor:
        """Exposed cells with sensor noise, float32 (n, channels, rows, columns)."""

    def on_thresholds(self, thresholds: Tensor, rng: np.random.Generator) -> Tensor:
        """Thresholds (15,) with comparator offsets, same shape."""


@dataclass(frozen=True)
class ChainSettings:
    """Which operations there are, and what of them is learned.

    kernels: see `models.encoder.kernels` ("none": no convolution). pool: side of a cell, 1 for no pooling.
    levels: codes that can occur, 2..16 (the bit budget's ceiling), or None for no quantization at all (values in 0..1
    leave the chain; only rows of the paper's Table 1 need that). range: "fixed" has its highest threshold at
    `METERED_AT`, and exposure brings `SATURATED_SHARE_TARGET` of the cells of each image there
    (`optics.exposure.steady_exposure`); "per_frame" is the paper's minimum and maximum of each image.
    free_thresholds: fifteen thresholds that move freely, as the paper's do; else ascending by construction, each at
    least `least_step` (of full scale) above the one below it: a comparator's hysteresis must stay small against that.
    light: what the images are, sRGB values (the paper's) or linear radiance.
    """

    kernels: KernelKind = "psf"
    pool: int = 8
    levels: int | None = 16
    range: Range = "fixed"
    free_thresholds: bool = False
    light: Light = "linear"
    least_step: float = 0.0

    def __post_init__(self) -> None:
        if self.levels is not None and not 2 <= self.levels <= THRESHOLDS + 1:
            raise ValueError(f"levels must be 2..{THRESHOLDS + 1}, or none for no quantization, got {self.levels}")
        if self.free_thresholds and (self.levels != THRESHOLDS + 1 or self.range != "per_frame"):
            raise ValueError("free_thresholds are the paper's: they need 16 levels and the range per_frame")
        if self.free_thresholds and self.least_step:
            raise ValueError("free_thresholds keep no least_step between them")
        if not 0 <= self.least_step * THRESHOLDS < METERED_AT - LOWEST:
            raise ValueError(f"least_step must leave room for fifteen thresholds, got {self.least_step}")
        if not 1 <= self.pool <= 1024:
            raise ValueError(f"pool must be 1..1024 px, got {self.pool}")


class Chain(nn.Module):
    """Images to codes, with gradients to kernels and thresholds.

    start: kernels to start from, float32 (filters, height, width); or a module that gives kernels when called, instead
    of the one that `settings.kernels` names: (filters, height, width), or (filters, 3, height, width) with one for each
    colour (`models.encoder.height.HeightKernels`). thresholds: distinct thresholds to start from, ascending fractions
    of full scale; default evenly spaced (the paper's 0.5, 1.5, ... of 15).
    """

    metered: Tensor

    def __init__(
        self,
        settings: ChainSettings,
        start: NDArray[np.float32] | nn.Module,
        thresholds: NDArray[np.floating[Any]] | None = None,
    ) -> None:
        super().__init__()
        self.settings = settings
        self.kernels = start if isinstance(start, nn.Module) else make_kernels(settings.kernels, start)
        with torch.no_grad():
            self.filters = len(self.kernels())
        # A buffer goes along to another device, and says which.
        self.register_buffer("metered", torch.tensor([METERED_AT]), persistent=False)
        if settings.levels is None:
            return
        count = settings.levels - 1
        if thresholds is None:
            thresholds = (np.arange(count) + 0.5) / count
            if settings.range == "fixed":
                thresholds = LOWEST + (METERED_AT - LOWEST) * (np.arange(count) + 1) / count
        if len(thresholds) != count:
            raise ValueError(f"{settings.levels} levels need {count} thresholds to start from, got {len(thresholds)}")
        if settings.free_thresholds:
            self.free = nn.Parameter(torch.from_numpy(np.asarray(thresholds, np.float32) * HIGHEST_CODE))
        elif count > (1 if settings.range == "fixed" else 0):
            edges = np.concatenate([[self._span()[0]], thresholds, [] if settings.range == "fixed" else [1.0]])
            self.steps = nn.Parameter(torch.from_numpy(_steps(edges, self._least_rises(len(edges) - 1))))

    def forward(
        self,
        images: Tensor,
        slope: float | None = None,
        nuisance: Nuisance | None = None,
        rng: np.random.Generator | None = None,
    ) -> Tensor:
        """Codes as numbers in 0..15, float32 (n, channels, rows, columns), channel = filter * 3 + colour.

        images: float32 (n, 3, height, width) in [0, 1], of the chain's light. slope: of the sigmoids per code (a
        threshold to the next of sixteen even levels), None for exact codes (no gradient). Without quantization:
        values in 0..1, whatever the slope. nuisance and rng: what a real camera adds, see `Nuisance`.
        """
        cells = self.cells(images, nuisance, rng)
        if self.settings.levels is None:
            return cells
        thresholds = self.thresholds()
        if nuisance is not None:
            thresholds = nuisance.on_thresholds(thresholds, cast(np.random.Generator, rng))
        return quantized(cells, thresholds, slope)

    def cells(self, images: Tensor, nuisance: Nuisance | None = None, rng: np.random.Generator | None = None) -> Tensor:
        """Values before the comparators, fractions of full scale at this exposure: (n, channels, rows, columns)."""
        kernels = self.kernels()
        if nuisance is not None:
            if rng is None:
                raise ValueError("nuisances need a random generator: pass rng")
            kernels = nuisance.on_kernels(kernels.flatten(0, -3), rng).reshape(kernels.shape)
        cells = pooled(images, kernels, self.settings.pool)
        cells = stretched(cells) if self.settings.range == "per_frame" else exposed(cells)
        return cells if nuisance is None else nuisance.on_cells(cells, cast(np.random.Generator, rng))

    def thresholds(self) -> Tensor:
        """The fifteen thresholds, float32 (15,), ascending, fractions of full scale; with gradients."""
        if self.settings.levels is None:
            raise ValueError("this chain does not quantize")
        if self.settings.free_thresholds:
            return torch.sort(self.free).values.clamp(0, HIGHEST_CODE) / HIGHEST_CODE
        low, high = self._span()
        count = self.settings.levels - 1
        if hasattr(self, "steps"):
            least = self._least_rises(len(self.steps))
            rise = torch.cumsum(torch.softmax(self.steps, dim=0), dim=0)[:-1]
            kept = torch.from_numpy(np.cumsum(least)[:-1]).to(self.device)
            # A sum of rises may round to a hair above its end.
            distinct = (low + (high - low - float(least.sum())) * rise + kept).clamp(max=high)
            if self.settings.range == "fixed":
                distinct = torch.cat([distinct, self.metered])
        else:
            distinct = self.metered
        return distinct[torch.arange(THRESHOLDS, device=self.device) * count // THRESHOLDS]

    @property
    def device(self) -> torch.device:
        """Where it is, and where its images have to be."""
        return self.metered.device

    @torch.no_grad()
    def export(self) -> Encoding:
        """The encoding as it is now. Raises ValueError for a chain without quantization (no board can be that).

        Of kernels for each colour the mean: an encoding has one for all (`models.encoder.height_masks.mask_report`).
        """
        thresholds = np.sort(self.thresholds().cpu().numpy().astype(np.float32))
        kernels = self.kernels().cpu().numpy().astype(np.float32)
        if kernels.ndim == 4:
            kernels = kernels.mean(axis=1)
        return Encoding(kernels, thresholds, self.settings.pool, self.settings.range)

    def _least_rises(self, count: int) -> NDArray[np.float32]:
        """What `count` rises are at least, float32 (count,): those between two thresholds, not the one from the lowest
        edge, nor that of a range per frame to 1."""
        least = np.full(count, self.settings.least_step, np.float32)
        least[0] = 0
        if self.settings.range != "fixed":
            least[-1] = 0
        return least

    def _span(self) -> tuple[float, float]:
        return (LOWEST, METERED_AT) if self.settings.range == "fixed" else (0.0, 1.0)


def convolved(images: Tensor, kernels: Tensor) -> Tensor:
    """True convolution with replicate padding: (n, c, height, width) and (filters, h, w) to (n, filters * c, height,
    width), channel = filter * c + colour. By FFT: a backward pass through direct convolution takes fifty times as long.
    Kernels (filters, c, h, w) are each colour's own.
    """
    count, colours, height, width = images.shape
    filters, rows, columns = len(kernels), *kernels.shape[-2:]
    # The tap at (rows // 2, columns // 2) lies on the output pixel, as in optics.encoding.
    before = (rows - 1 - rows // 2, columns - 1 - columns // 2)
    padding = (before[1], columns // 2, before[0], rows // 2)
    padded = nn.functional.pad(images, padding, mode="replicate") if rows * columns > 1 else images
    size = (_fast(padded.shape[2]), _fast(padded.shape[3]))
    each = kernels if kernels.ndim == 4 else kernels[:, None]
    spectra = torch.fft.rfft2(padded, s=size)[:, None] * torch.fft.rfft2(each, s=size)[None]
    plane = torch.fft.irfft2(spectra, s=size)
    found: Tensor = plane[..., rows - 1 : rows - 1 + height, columns - 1 : columns - 1 + width]
    return found.reshape(count, filters * colours, height, width)


def pooled(images: Tensor, kernels: Tensor, pool: int) -> Tensor:
    """Convolution and the maximum of cells: (n, filters * c, height // pool, width // pool), at exposure 1."""
    planes = convolved(images, kernels)
    return planes if pool == 1 else nn.functional.max_pool2d(planes, pool)


def exposed(cells: Tensor, share: float = SATURATED_SHARE_TARGET) -> Tensor:
    """Each image of cells (n, channels, rows, columns) at the exposure that brings `share` of them to `METERED_AT`.

    `optics.exposure.steady_exposure` without its limits. An image without light stays dark.
    """
    values = cells.flatten(1)
    count = max(1, round(share * values.shape[1]))
    brightest = values.topk(count, dim=1).values[:, -1].clamp(min=1e-6)
    return cells * (METERED_AT * (1 + 2.0**-20) / brightest)[:, None, None, None]


def stretched(cells: Tensor) -> Tensor:
    """Each image stretched so that its minimum is 0 and its maximum 1, over all channels; without contrast all 0."""
    values = cells.flatten(1)
    low, high = values.min(dim=1).values, values.max(dim=1).values
    span = (high - low)[:, None, None, None]
    return torch.where(span > 0, (cells - low[:, None, None, None]) / span.clamp(min=1e-12), torch.zeros_like(cells))


def quantized(cells: Tensor, thresholds: Tensor, slope: float | None) -> Tensor:
    """Codes as numbers in 0..15: the sum of sigmoids of `slope` per code, or the exact count where slope is None."""
    if slope is None:
        return (cells.detach()[..., None] >= thresholds.detach()).sum(dim=-1).to(cells.dtype)
    codes = torch.zeros_like(cells)
    for threshold, times in zip(*_distinct(thresholds), strict=True):
        codes = codes + times * torch.sigmoid(slope * HIGHEST_CODE * (cells - threshold))
    return codes


def _distinct(thresholds: Tensor) -> tuple[list[Tensor], list[int]]:
    """Neighbouring equal thresholds once, and how often: a chain of few levels has few sigmoids to compute."""
    kept, times = [thresholds[0]], [1]
    for one, before in zip(thresholds[1:], thresholds[:-1], strict=True):
        if bool(one == before):
            times[-1] += 1
        else:
            kept.append(one)
            times.append(1)
    return kept, times


def _steps(edges: NDArray[np.float64], least: NDArray[np.float32]) -> NDArray[np.float32]:
    """Logits of the rises from edge to edge beyond what each is at least, float32 (edges - 1,)."""
    room = edges[-1] - edges[0] - float(least.sum()) if edges[-1] > edges[0] else 1.0
    rises = np.maximum((np.diff(edges) - least) / room, 1e-4)
    return np.asarray(np.log(rises / rises.sum()), np.float32)


def _fast(length: int) -> int:
    """The next length that an FFT likes: a power of two, or three of them."""
    power = 1 << (length - 1).bit_length()
    return 3 * power // 4 if 3 * power // 4 >= length else power
