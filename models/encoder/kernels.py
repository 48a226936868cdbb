"""Kernels that can be learned, each by the parameters in which its optics are possible at every step. Needs torch.

signed: free taps, as the paper learns them (no passive mask has them). psf: a softmax over the taps, so that they are
never negative and sum to one: one mask. pair: share * psf_plus - (1 - share) * psf_minus, each a softmax: two
sub-apertures and a subtraction before the comparators (see `optics.signed`). height: what a mask does whose heights
are learned, in `models.encoder.height`. none: no convolution.

A softmax also keeps the gradient alive: free taps of a wide blur are so small that one step of Adam ends it.
"""

from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.detector.gaussian_encoding import gaussian_kernel

KernelKind = Literal["signed", "psf", "pair", "height", "none"]

# A tap of a starting kernel below this share of its largest would need a logit of minus infinity.
SMALLEST_SHARE = 1e-4


class SignedKernels(nn.Module):
    """Free taps: float32 (filters, height, width), any sign."""

    def __init__(self, start: NDArray[np.float32]) -> None:
        super().__init__()
        self.taps = nn.Parameter(torch.from_numpy(np.array(start, np.float32)))

    def forward(self) -> Tensor:
        return self.taps


class PsfKernels(nn.Module):
    """Taps that are not negative and sum to one per filter: float32 (filters, height, width)."""

    def __init__(self, start: NDArray[np.float32]) -> None:
        super().__init__()
        self.logits = nn.Parameter(_logits(start))

    def forward(self) -> Tensor:
        return _softmax(self.logits)


class PairKernels(nn.Module):
    """share * psf_plus - (1 - share) * psf_minus per filter: float32 (filters, height, width), |taps| sum to <= 1.

    Starts from any signed kernel with both signs (scaled: what a pair gives is a kernel up to a positive factor).
    """

    def __init__(self, start: NDArray[np.float32]) -> None:
        super().__init__()
        start = np.asarray(start, np.float32)
        plus, minus = np.maximum(start, 0), np.maximum(-start, 0)
        positive, negative = plus.sum(axis=(1, 2)), minus.sum(axis=(1, 2))
        # A part that is empty starts as even light: it has to be able to grow.
        plus[positive == 0] = 1
        minus[negative == 0] = 1
        share = np.clip(positive / np.maximum(positive + negative, 1e-12), 0.02, 0.98)
        self.plus = nn.Parameter(_logits(plus))
        self.minus = nn.Parameter(_logits(minus))
        self.share_logit = nn.Parameter(torch.from_numpy(np.log(share / (1 - share)).astype(np.float32)))

    def forward(self) -> Tensor:
        share = torch.sigmoid(self.share_logit)[:, None, None]
        return share * _softmax(self.plus) - (1 - share) * _softmax(self.minus)


class MirroredKernels(nn.Module):
    """The mean of other kernels and their mirror image, left and right: float32 (filters, height, width), width odd.

    What holds for the others holds for the mean: taps that are not negative and sum to one stay so, and so does a pair
    with its share. Raises ValueError for an even width, which has no tap in its middle.
    """

    def __init__(self, one_sided: nn.Module) -> None:
        super().__init__()
        self.one_sided = one_sided
        with torch.no_grad():
            width = one_sided().shape[-1]
        if width % 2 == 0:
            raise ValueError(f"kernels that are their own mirror image need an odd width, got {width} px")

    def forward(self) -> Tensor:
        taps: Tensor = self.one_sided()
        return (taps + taps.flip(-1)) / 2


class NoKernels(nn.Module):
    """One tap of one: the scene as it is."""

    tap: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("tap", torch.ones(1, 1, 1), persistent=False)

    def forward(self) -> Tensor:
        return self.tap


def make_kernels(kind: KernelKind, start: NDArray[np.float32]) -> nn.Module:
    """The module whose call gives the kernels, float32 (filters, height, width), to be used by true convolution.

    start: float32 (filters, height, width) to start from. Raises ValueError for an unknown kind or another shape.
    """
    if start.ndim != 3 or 0 in start.shape or not np.isfinite(start).all():
        raise ValueError(f"start must be finite with the shape (filters, height, width), got {start.shape}")
    if kind == "signed":
        return SignedKernels(start)
    if kind == "psf":
        return PsfKernels(start)
    if kind == "pair":
        return PairKernels(start)
    if kind == "none":
        return NoKernels()
    if kind == "height":
        raise ValueError("kernels of a mask need more than a start: make models.encoder.height.HeightKernels")
    raise ValueError(f'kernels must be "signed", "psf", "pair", "height" or "none", got {kind!r}')


def centre_surround(inner_px: float, outer_px: float, side_px: int) -> NDArray[np.float32]:
    """A narrow Gaussian less a wide one, float32 (1, side_px, side_px): a start for `pair`, blind to even light."""
    return gaussian_kernel(inner_px, side_px) - gaussian_kernel(outer_px, side_px)


def jet(sigma_px: float, side_px: int) -> NDArray[np.float32]:
    """A Gaussian, its first derivatives down and to the right, and its Laplacian's negative: float32 (4, side, side).

    What a point and its surroundings look like up to the second order, without direction (Koenderink and van Doorn
    1987, doi:10.1007/BF00318371). Taps without signs sum to one per filter; those of all but the first sum to zero.
    """
    blur = gaussian_kernel(sigma_px, side_px)[0].astype(np.float64)
    offset = np.arange(side_px) - side_px // 2
    down, right = offset[:, None], offset[None, :]
    bowl = blur * (2 - (down**2 + right**2) / sigma_px**2)
    kernels = np.stack([blur, -down * blur, -right * blur, bowl - bowl.mean()])
    return np.asarray(kernels / np.abs(kernels).sum(axis=(1, 2), keepdims=True), np.float32)


def halves(side_px: int) -> NDArray[np.float32]:
    """Ones in the upper, left, lower and right half, float32 (4, side_px, side_px): where the paper's Conv(4) starts.

    A half is side_px // 2 rows or columns, so the middle ones of an odd side belong to none, as published.
    """
    near = (np.arange(side_px) < side_px // 2).astype(np.float32)
    upper = np.repeat(near[:, None], side_px, axis=1)
    return np.stack([upper, upper.T, upper[::-1], upper[::-1].T]).astype(np.float32)


def _logits(start: NDArray[np.float32]) -> Tensor:
    start = np.asarray(start, np.float64)
    floor = SMALLEST_SHARE * start.max(axis=(1, 2), keepdims=True)
    return torch.from_numpy(np.log(np.maximum(start, floor)).astype(np.float32))


def _softmax(logits: Tensor) -> Tensor:
    return torch.softmax(logits.flatten(1), dim=1).view_as(logits)
