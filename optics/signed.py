"""Any signed kernel as two masks: PSF+ and PSF- through two parts of the aperture, subtracted before the comparators.

Light adds up, so a PSF is never negative. The positive and the negative part of a kernel therefore go through a
sub-aperture each, onto sensors of their own, and an analog stage takes the difference:

    gain_plus * psf_plus - gain_minus * psf_minus = scale * kernel

What to give each part of the aperture follows from the noise. With a and b the sums of the kernel's positive and
negative taps, s and 1 - s the shares of the aperture, N the electrons that a pixel would collect from an even scene
through the whole of it and R the electrons of read noise, the variance of the difference, over scale squared, is

    shot: N (a^2 / s + b^2 / (1 - s))        least, N (a + b)^2, at s = a / (a + b), where both gains are equal
    read: R^2 (a^2 / s^2 + b^2 / (1 - s)^2)  least at s = a^(2/3) / (a^(2/3) + b^(2/3))

Where the two masks differ in throughput, t and u, a is to be read as a / sqrt(t) in the first share and as a / t in the
second, b accordingly.

Why the first is the default: docs/decisions/0015-signed-pairs-and-tolerances.md.
"""

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import scipy.optimize
from numpy.typing import NDArray

from optics.metrics import per_colour_correlation

Floats = NDArray[np.float64]
Split = Literal["shot", "read", "equal"]
SPLITS: tuple[Split, ...] = ("shot", "read", "equal")
# Below this share of the taps' sum, what is left of an even scene is rounding of the kernel's own file (float32).
NOTHING_LEFT = 1e-6
# A part of a kernel with less than this share of the other part's sum is rounding.
NEGLIGIBLE = 1e-12


class SignedKernelError(ValueError):
    """A kernel, or what belongs to it, from which no pair can be planned. The message says what was expected."""


@dataclass(frozen=True, slots=True)
class Noise:
    """Noise of an even scene in the output, as a standard deviation over that of something with the same kernel scale.

    shot, read: over one mask of the whole aperture with the kernel's magnitudes |kernel| as its PSF: it carries as much
    structure, but no sign. shot_same_output, read_same_output: over one mask with a non-negative PSF whose output on
    an even scene is equal; infinite where nothing is left of an even scene.
    """

    shot: float
    read: float
    shot_same_output: float
    read_same_output: float


@dataclass(frozen=True, eq=False)
class SignedPlan:
    """How to build one signed kernel as a pair.

    kernel: float64 (h, w), as given. psf_plus, psf_minus: float64 (h, w), not negative, what the two masks are to do;
    each sums to its sub-aperture's share of the light that enters both, times its throughput. aperture_plus,
    aperture_minus: shares of the clear area, together 1 (0 where a kernel has no such part). gain_plus, gain_minus:
    of the analog stage, the smaller one 1. scale: of the difference against the kernel. positive, negative: sums of
    the kernel's positive and negative taps, both positive numbers. noise: see Noise. report: all of it, JSON-able.
    """

    kernel: Floats
    psf_plus: Floats
    psf_minus: Floats
    aperture_plus: float
    aperture_minus: float
    gain_plus: float
    gain_minus: float
    scale: float
    positive: float
    negative: float
    noise: Noise
    report: dict[str, Any]


@dataclass(frozen=True, eq=False)
class PairResult:
    """What two obtained PSFs make together.

    gain_plus, gain_minus: refitted to them. difference: float64 (3, h, w), the kernel that the pair applies.
    correlation: with the planned kernel, per colour. error: root of the mean squared difference over that of the
    scaled kernel, all colours together.
    """

    gain_plus: float
    gain_minus: float
    difference: Floats
    correlation: tuple[float, ...]
    error: float


def plan_signed(
    kernel: NDArray[np.floating],
    split: Split | float = "shot",
    throughput: tuple[float, float] = (1.0, 1.0),
) -> SignedPlan:
    """Plan the pair for a kernel (h, w) of any real dtype.

    kernel: acts by convolution, like every PSF here; rotate one that was learned with a correlation, the paper's
        included, by 180 degrees first (kernel[::-1, ::-1]).
    split: which share of the aperture the positive part gets: the best for "shot" or for "read" noise, "equal", or a
        number between 0 and 1. A kernel without negative (or positive) taps gets the whole aperture for its only part.
    throughput: share of the light that enters the positive and the negative sub-aperture and lands in the window.
    Raises SignedKernelError for another shape, NaN, infinity, a kernel of zeros, or such a share or throughput.
    """
    taps = _checked(kernel)
    if not all(math.isfinite(each) and 0 < each <= 1 for each in throughput) or len(throughput) != 2:
        raise SignedKernelError(f"throughput must be two numbers above 0 and at most 1, got {throughput!r}")
    plus, minus = np.maximum(taps, 0), np.maximum(-taps, 0)
    a, b = float(plus.sum()), float(minus.sum())
    # What rounding leaves of a kernel that was meant to have one sign is no part of its own.
    if b < NEGLIGIBLE * a:
        minus, b = np.zeros_like(minus), 0.0
    if a < NEGLIGIBLE * b:
        plus, a = np.zeros_like(plus), 0.0
    share = _share(a, b, split, throughput)
    # What one unit of each part of the kernel costs: arms of equal gain would carry these.
    carried = [
        part / (area * passed) if part > 0 else 0.0
        for part, area, passed in ((a, share, throughput[0]), (b, 1 - share, throughput[1]))
    ]
    scale = 1 / min(each for each in carried if each > 0)
    noise = _noise(a, b, share, throughput)
    return SignedPlan(
        kernel=taps,
        psf_plus=plus * (share * throughput[0] / a) if a > 0 else plus,
        psf_minus=minus * ((1 - share) * throughput[1] / b) if b > 0 else minus,
        aperture_plus=share,
        aperture_minus=1 - share,
        gain_plus=scale * carried[0],
        gain_minus=scale * carried[1],
        scale=scale,
        positive=a,
        negative=b,
        noise=noise,
        report=_report(taps, a, b, share, (scale * carried[0], scale * carried[1]), scale, noise, throughput),
    )


def combine_pair(plan: SignedPlan, psf_plus: NDArray[np.floating], psf_minus: NDArray[np.floating]) -> PairResult:
    """What the pair does with PSFs as they were obtained, designed or measured, and the gains that suit them best.

    psf_plus, psf_minus: (h, w) or (3, h, w) in the plan's window, not negative, each summing to the share of the light
    that entered its own sub-aperture (as `optics.psf.psf` gives it). The gains, common to the three colours, are the
    non-negative least-squares ones. Raises SignedKernelError for another window.
    """
    arms = []
    for name, obtained, area in (
        ("psf_plus", psf_plus, plan.aperture_plus),
        ("psf_minus", psf_minus, plan.aperture_minus),
    ):
        values = np.asarray(obtained, dtype=np.float64)
        if values.shape[-2:] != plan.kernel.shape or values.ndim not in (2, 3):
            raise SignedKernelError(
                f"{name} must have the kernel's window, {plan.kernel.shape} or (3, ...), got {values.shape}"
            )
        if not np.isfinite(values).all() or values.min() < 0:
            raise SignedKernelError(f"{name} must be finite and not negative: it is a PSF")
        arms.append(np.broadcast_to(values, (3, *plan.kernel.shape)) * area)
    wanted = np.broadcast_to(plan.scale * plan.kernel, arms[0].shape)
    gains, residual = scipy.optimize.nnls(np.stack([arms[0].ravel(), -arms[1].ravel()], axis=1), wanted.ravel())
    difference = gains[0] * arms[0] - gains[1] * arms[1]
    return PairResult(
        gain_plus=float(gains[0]),
        gain_minus=float(gains[1]),
        difference=np.asarray(difference),
        correlation=tuple(float(each) for each in per_colour_correlation(difference, plan.kernel)),
        error=float(residual / np.linalg.norm(wanted)),
    )


def _share(a: float, b: float, split: Split | float, throughput: tuple[float, float]) -> float:
    """Share of the aperture for the positive part."""
    if a == 0 or b == 0:
        return 1.0 if b == 0 else 0.0
    if split == "equal":
        return 0.5
    if split in ("shot", "read"):
        power, root = (1.0, 0.5) if split == "shot" else (2 / 3, 1.0)
        one, other = (
            math.pow(part / math.pow(passed, root), power) for part, passed in zip((a, b), throughput, strict=True)
        )
        return one / (one + other)
    if isinstance(split, str) or not 0 < split < 1:
        raise SignedKernelError(f"split must be one of {', '.join(SPLITS)} or a share between 0 and 1, got {split!r}")
    return float(split)


def _noise(a: float, b: float, share: float, throughput: tuple[float, float]) -> Noise:
    """The module's formulas, with each arm's throughput; the single mask has the mean of the two."""
    shot = read = 0.0
    for part, area, passed in ((a, share, throughput[0]), (b, 1 - share, throughput[1])):
        if part > 0:
            shot += part**2 / (area * passed)
            read += part**2 / (area * passed) ** 2
    alone = share * throughput[0] + (1 - share) * throughput[1]
    shot, read = math.sqrt(shot * alone), math.sqrt(read) * alone
    left = abs(a - b) if abs(a - b) > NOTHING_LEFT * (a + b) else 0.0
    return Noise(
        shot=shot / (a + b),
        read=read / (a + b),
        shot_same_output=shot / left if left else math.inf,
        read_same_output=read / left if left else math.inf,
    )


def _report(
    kernel: Floats,
    a: float,
    b: float,
    share: float,
    gains: tuple[float, float],
    scale: float,
    noise: Noise,
    throughput: tuple[float, float],
) -> dict[str, Any]:
    left = abs(a - b) / (a + b)
    even = left > NOTHING_LEFT
    pedestal = max(0.0, -float(kernel.min()))
    pedestal_light = a - b + pedestal * kernel.size
    report: dict[str, Any] = {
        "negative_taps": float(np.mean(kernel < 0)),
        "sum_positive": a,
        "sum_negative": b,
        "aperture_plus": share,
        "aperture_minus": 1 - share,
        "throughput_plus": throughput[0],
        "throughput_minus": throughput[1],
        "gain_plus": gains[0],
        "gain_minus": gains[1],
        "scale": scale,
        # Against one full-aperture mask with the same PSF, each arm has so much of the light.
        "light_plus": share,
        "light_minus": 1 - share,
        # Of the light that both arms collect from an even scene, what the subtraction leaves and what it cancels.
        "light_left": left,
        "light_cancelled": 1 - left,
        "output_on_an_even_scene": "none" if not even else "positive" if a > b else "negative",
        "noise_shot": noise.shot,
        "noise_read": noise.read,
        "noise_shot_same_output": noise.shot_same_output if even else None,
        "noise_read_same_output": noise.read_same_output if even else None,
        # Relative change of the output on an even scene per relative error of one gain (of the larger arm).
        "gain_error_factor": max(a, b) / abs(a - b) if even else None,
        "splits": {
            name: {
                "aperture_plus": _share(a, b, name, throughput),
                "noise_shot": (other := _noise(a, b, _share(a, b, name, throughput), throughput)).shot,
                "noise_read": other.read,
            }
            for name in SPLITS
        },
        # The alternative with a single mask: the kernel on a pedestal, whose share has to be subtracted again. Exact
        # only if the mean over the window is measured, too; its light falls on one sensor.
        "pedestal": {
            "height": pedestal,
            # Light that carries no structure, over the light of the kernel's magnitudes.
            "light": pedestal * kernel.size / (a + b),
            "noise_shot": pedestal_light / (a + b),
            "noise_read": pedestal_light / (a + b),
        },
    }
    report["sentence"] = _sentence(report)
    return report


def _sentence(report: dict[str, Any]) -> str:
    if report["sum_negative"] == 0:
        return "The kernel has no negative tap: one mask with the whole aperture does it, without any cost."
    if report["sum_positive"] == 0:
        return "The kernel has no positive tap: one mask and an inverting stage do it; every even scene reads below 0."
    gain, arm = max((report["gain_plus"], "PSF+"), (report["gain_minus"], "PSF-"))
    gains = "with equal gains" if gain < 1 + 1e-9 else f"with {gain:.3g} times the gain on {arm}"
    outcome = {
        "none": "nothing is left of an even scene",
        "positive": f"{report['light_left']:.1%} of the collected light is left of an even scene, the rest cancels",
        "negative": f"an even scene gives a negative output of {report['light_left']:.1%} of the collected light, "
        "which thresholds at or above 0 read as code 0 unless an offset is added",
    }[report["output_on_an_even_scene"]]
    same = report["noise_shot_same_output"]
    against = "" if same is None else f", {same:.3g} times that of one mask with the same output on an even scene"
    pedestal = report["pedestal"]["noise_shot"]
    return (
        f"PSF+ gets {report['aperture_plus']:.1%} of the aperture and PSF- {report['aperture_minus']:.1%}, {gains}; "
        f"{outcome}. Shot noise is {report['noise_shot']:.3g} times that of one mask with the kernel's "
        f"magnitudes{against}. With one mask and a pedestal instead it would be {pedestal:.3g} times."
    )


def _checked(kernel: NDArray[np.floating]) -> Floats:
    taps = np.array(kernel)
    if taps.ndim != 2 or 0 in taps.shape or taps.dtype.kind not in "fiu":
        raise SignedKernelError(f"a signed kernel must be numbers of shape (h, w), got {taps.dtype} {taps.shape}")
    if not np.isfinite(taps).all():
        raise SignedKernelError("a signed kernel must be finite, got NaN or infinity")
    if not taps.any():
        raise SignedKernelError("a kernel of zeros passes no light: there is nothing to plan")
    return taps.astype(np.float64)
