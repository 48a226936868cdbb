"""A picture from a lensless capture and a calibrated PSF: the test of a PSF that needs nobody's word for it.

The capture is the middle of scene * PSF (a sensor crops what a mask spreads beyond it). Its best non-negative scene by
least squares is found with FISTA, Beck and Teboulle, SIAM J. Imaging Sci. 2, 183 (2009), doi:10.1137/080716542, as
lensless cameras use it: Antipa et al., Optica 5, 1 (2018), doi:10.1364/OPTICA.5.000001. A wrong PSF explains the
capture worse; pixels held out of the fit tell by how much. For judging a mask on a bench, not part of the camera.
"""

import math

import numpy as np
import scipy.fft
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def reconstruct(
    capture: Floats, psf: Floats, iterations: int = 100, known: NDArray[np.bool_] | None = None
) -> tuple[Floats, Floats]:
    """Scene and what it predicts: (float64 (rows, columns) as the sensor is placed, float64 (rows, columns)).

    capture: float64 (rows, columns), background removed. psf: float64 (m, n), axis on pixel n // 2, of any size; the
    scene outside the sensor that the PSF reaches is reconstructed too, and cut off. known: pixels of the capture that
    are fitted, None: all; the prediction covers all. Raises ValueError for a PSF without light or too few iterations.
    """
    if not psf.sum() > 0 or iterations < 1:
        raise ValueError(f"a PSF has light and a reconstruction iterations, got {psf.sum()} and {iterations}")
    fitted = np.ones(capture.shape, dtype=bool) if known is None else known
    margin = [side // 2 for side in psf.shape]
    scene_shape = tuple(side + 2 * room for side, room in zip(capture.shape, margin, strict=True))
    transform = tuple(
        scipy.fft.next_fast_len(side + spread - 1, real=True)
        for side, spread in zip(scene_shape, psf.shape, strict=True)
    )
    spectrum = scipy.fft.rfft2(psf / psf.sum(), transform)
    # The sensor's first pixel within the full convolution: its margin in the scene, and the PSF's own middle.
    first = [2 * room for room in margin]
    sensor = tuple(slice(at, at + side) for at, side in zip(first, capture.shape, strict=True))

    def seen(scene: Floats) -> Floats:
        whole = scipy.fft.irfft2(scipy.fft.rfft2(scene, transform) * spectrum, transform)
        return np.asarray(whole[sensor])

    def back(residual: Floats) -> Floats:
        whole = np.zeros(transform)
        whole[sensor] = residual
        turned = scipy.fft.irfft2(scipy.fft.rfft2(whole) * np.conj(spectrum), transform)
        return np.asarray(turned[: scene_shape[0], : scene_shape[1]])

    step = 1 / float((np.abs(spectrum) ** 2).max())
    scene = np.zeros(scene_shape)
    ahead, momentum = scene, 1.0
    for _ in range(iterations):
        residual = np.where(fitted, seen(ahead) - capture, 0)
        moved = np.maximum(ahead - step * back(residual), 0)
        following = (1 + math.sqrt(1 + 4 * momentum**2)) / 2
        ahead = moved + (momentum - 1) / following * (moved - scene)
        scene, momentum = moved, following
    inside = tuple(slice(room, room + side) for room, side in zip(margin, capture.shape, strict=True))
    return scene[inside], seen(scene)


def unexplained(capture: Floats, predicted: Floats, held_out: NDArray[np.bool_]) -> float:
    """Share of the held-out pixels' variance that a prediction leaves unexplained: 0 is perfect, 1 as good as their
    mean."""
    away = capture[held_out] - predicted[held_out]
    return float((away**2).mean() / capture[held_out].var())
