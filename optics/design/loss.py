"""What a PSF costs that is not the wanted one: likeness, error in the picture of an average scene, light that is lost.

Images of PSFs are small (a window of pixels), so this is NumPy in float64 for every caller, the descent in PyTorch
included: one definition, one gradient.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.fft
from numpy.typing import NDArray

Floats = NDArray[np.float64]
# Behind the target, an average scene's mean (squared) over the variance of its contrast.
MEAN_OVER_CONTRAST = 4.0
# Called after each iteration with (done, total, state): see `Cost.as_state`.
Progress = Callable[[int, int, dict[str, float]], None]


@dataclass(frozen=True, eq=False)
class Wish:
    """One colour's target and what comparing with it needs.

    target: float64 (rows, columns), unit sum. direction: the target less its mean, of norm one; flat: the target has
    no contrast, and its shape is compared as it is. scenes: float64 (padded rows, padded columns // 2 + 1), power
    spectrum of an average scene; padded: shape of its transform. contrast: what that scene keeps behind the target.
    """

    target: Floats
    direction: Floats
    flat: bool
    scenes: Floats
    padded: tuple[int, int]
    contrast: float


@dataclass(frozen=True, slots=True)
class Weights:
    """Of the parts of the loss beside that of the correlation, which weighs one: see `DesignSettings`."""

    scenes: float
    light: float


@dataclass(frozen=True, slots=True)
class Cost:
    """The loss and its parts, one per colour: Pearson correlation, relative error of the scene, throughput."""

    value: float
    correlations: tuple[float, ...]
    scene_errors: tuple[float, ...]
    throughputs: tuple[float, ...]

    def as_state(self) -> dict[str, float]:
        """For progress and history: the loss, and the means over the colours."""
        return {
            "loss": self.value,
            "correlation": float(np.mean(self.correlations)),
            "scene_error": float(np.mean(self.scene_errors)),
            "throughput": float(np.mean(self.throughputs)),
        }


def make_wish(target: Floats) -> Wish:
    """Prepare one colour's target, float64 (rows, columns) of unit sum."""
    centred = target - target.mean()
    flat = not centred.any()
    direction = target if flat else centred
    padded = tuple(scipy.fft.next_fast_len(2 * side, real=True) for side in target.shape)
    longest = 2 * max(target.shape)
    squared = np.fft.fftfreq(padded[0])[:, np.newaxis] ** 2 + np.fft.rfftfreq(padded[1]) ** 2
    # 1 / f^2, as in natural scenes (D. J. Field, J. Opt. Soc. Am. A 4, 2379 (1987), doi:10.1364/JOSAA.4.002379), level
    # below one cycle in twice the window. Exposure takes care of the mean.
    scenes = 1 / (squared + 1 / longest**2)
    scenes[0, 0] = 0
    wish = Wish(target, direction / np.linalg.norm(direction), flat, scenes, (padded[0], padded[1]), 1.0)
    # A target that leaves no contrast at all (one value throughout a large window) is compared with as it is.
    contrast = max(float((target * _seen(wish, target)).sum()), 1e-12)
    return Wish(target, wish.direction, flat, scenes, wish.padded, contrast)


def cost_and_gradient(wishes: Sequence[Wish], images: Floats, weights: Weights) -> tuple[Cost, Floats]:
    """The loss of a PSF, float64 (3, rows, columns), each colour of which sums to its throughput; and its gradient.

    loss = mean over the colours of (1 - correlation) + scenes * scene error + light * (1 - throughput).

    The scene error is the variance of the difference between an average scene's pictures through the PSF and through
    the target, in terms of the latter's variance. Light that misses the window is taken as an even haze, which brings
    the picture to the target's brightness but no contrast. So the error sees what correlation does not: a background,
    within the window or beyond, takes contrast from a picture as surely as a blur does. Beside it counts how unequal
    shares of the light the colours get in the window.
    """
    sums = images.sum(axis=(1, 2))
    mean = float(sums.mean())
    correlations, errors = [], []
    gradient = np.empty_like(images)
    for number, (wish, image) in enumerate(zip(wishes, images, strict=True)):
        correlation, by_correlation = _correlation(wish, image)
        error, by_error = _picture_error(wish, image)
        gradient[number] = weights.scenes * by_error - by_correlation - weights.light
        correlations.append(correlation)
        errors.append(error)
    if mean > 0:
        gains = sums / mean
        off = gains - 1
        errors = [error + MEAN_OVER_CONTRAST * float(each) ** 2 for error, each in zip(errors, off, strict=True)]
        by_sum = 2 * MEAN_OVER_CONTRAST / mean * (off - float((off * gains).mean()))
        gradient += weights.scenes * by_sum[:, np.newaxis, np.newaxis]
    value = 1 - float(np.mean(correlations)) + weights.scenes * float(np.mean(errors)) + weights.light * (1 - mean)
    throughputs = tuple(float(each) for each in sums)
    return Cost(value, tuple(correlations), tuple(errors), throughputs), gradient / len(images)


def _correlation(wish: Wish, image: Floats) -> tuple[float, Floats]:
    """Pearson's, and its gradient; without contrast zero, and then away from it in the target's direction."""
    centred = image if wish.flat else image - image.mean()
    norm = float(np.linalg.norm(centred))
    if norm <= 0:
        return 0.0, wish.direction
    correlation = float((centred * wish.direction).sum()) / norm
    return correlation, (wish.direction - centred * (correlation / norm)) / norm


def _picture_error(wish: Wish, image: Floats) -> tuple[float, Floats]:
    """What an average scene's picture is off by, and its gradient."""
    difference = image - wish.target
    seen = _seen(wish, difference) / wish.contrast
    return float((difference * seen).sum()), 2 * seen


def _seen(wish: Wish, image: Floats) -> Floats:
    """The image convolved with an average scene's autocovariance, (rows, columns)."""
    spectrum = scipy.fft.rfft2(image, s=wish.padded)
    spectrum *= wish.scenes
    rows, columns = image.shape
    return np.asarray(scipy.fft.irfft2(spectrum, s=wish.padded)[:rows, :columns])
