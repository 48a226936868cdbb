"""What a PSF costs that is not the wanted one: likeness, error in the picture of an average scene, light that is lost.

Images of PSFs are small (a window of pixels), so this is NumPy in float64 for every caller, the descent in PyTorch
included: one definition, one gradient.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.fft
from numpy.typing import NDArray

Floats = NDArray[np.float64]
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
    contrast = float((target * _seen(wish, target)).sum())
    return Wish(target, wish.direction, flat, scenes, wish.padded, contrast)


def cost_of_colour(wish: Wish, image: Floats, weights: Weights) -> tuple[float, float, float, float, Floats]:
    """(loss, correlation, scene error, throughput, gradient of the loss with respect to the image) of one colour.

    image: float64 (rows, columns), a PSF whose sum is its throughput. loss = (1 - correlation) + scenes * scene error +
    light * (1 - throughput). The scene error is the variance of the difference between an average scene's pictures
    through the PSF and through the target, both at the exposure that makes them equally bright, over the variance of
    the latter. It sees what correlation does not: a faint background over the whole window, which takes contrast from
    a picture as surely as a blur does.
    """
    throughput = float(image.sum())
    centred = image if wish.flat else image - image.mean()
    norm = float(np.linalg.norm(centred))
    if throughput <= 0 or norm <= 0:
        return 1 + weights.scenes + weights.light, 0.0, 1.0, throughput, -wish.direction
    correlation = float((centred * wish.direction).sum()) / norm
    gradient = (centred * (correlation / norm) - wish.direction) / norm - weights.light
    difference = image / throughput - wish.target
    seen = _seen(wish, difference)
    # A target that leaves no contrast at all (one value throughout) is compared with as it is.
    scale = max(wish.contrast, 1e-300)
    error = float((difference * seen).sum()) / scale
    if weights.scenes:
        seen *= 2 / scale
        gradient += (weights.scenes / throughput) * (seen - float((seen * image).sum()) / throughput)
    value = (1 - correlation) + weights.scenes * error + weights.light * (1 - throughput)
    return value, correlation, error, throughput, gradient


def _seen(wish: Wish, image: Floats) -> Floats:
    """The image convolved with an average scene's autocovariance, (rows, columns)."""
    spectrum = scipy.fft.rfft2(image, s=wish.padded)
    spectrum *= wish.scenes
    rows, columns = image.shape
    return np.asarray(scipy.fft.irfft2(spectrum, s=wish.padded)[:rows, :columns])
