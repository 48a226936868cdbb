"""A matched filter as a start: the linear template that best tells face crops from others, made smooth.

A wide blur keeps what a face shares with other faces and with walls alike; a template answers "a face lies here" in one
number per cell, so a coarse pool and few levels still tell faces apart from the rest, and hardly each other. It is the
ridge solution of the two-class problem (Hoerl and Kennard 1970, DOI 10.1080/00401706.1970.10488634; with two balanced
classes that is Fisher's discriminant) with a price for steps between neighbouring taps. It has both signs: a pair.
"""

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from models.detector.scenes import srgb_to_linear

# Each crop is seen at a few shifts, so that the template does not live on one pixel.
SHIFT_PX = 4
LOOKS = 3
# Price of a tap and of a step between neighbours, as shares of the pixels' mean variance.
RIDGE = 0.02
SMOOTH = 0.3


def matched_kernel(
    faces: NDArray[np.uint8],
    others: NDArray[np.uint8],
    side_px: int,
    rng: np.random.Generator,
    smooth: float = SMOOTH,
    ridge: float = RIDGE,
) -> NDArray[np.float32]:
    """The kernel whose answer is largest in the middle of a face: float32 (1, side_px, side_px), sum 0, |taps| sum 1.

    faces, others: sRGB uint8 (n, height, width, 3), of one size. Colours are averaged in linear light and each crop is
    divided by its mean, since exposure is free. It acts by true convolution (the template is turned by 180 degrees).
    Raises ValueError without crops of both kinds, or for a side that is even or leaves no room for shifts.
    """
    if not (len(faces) and len(others)):
        raise ValueError(f"a matched filter needs faces and other crops, got {len(faces)} and {len(others)}")
    room = min(*faces.shape[1:3], *others.shape[1:3]) - side_px
    if side_px % 2 == 0 or room < 0:
        raise ValueError(f"side_px must be odd and at most the crops' side ({room + side_px}), got {side_px}")
    parts = [(_windows(images, side_px, rng), sign) for images, sign in ((faces, 1.0), (others, -1.0))]
    taps = side_px * side_px
    mean = sum(0.5 * windows.mean(axis=0) for windows, _ in parts)
    covariance = np.zeros((taps, taps), np.float32)
    difference = np.zeros(taps, np.float32)
    for windows, sign in parts:
        centred = windows - mean
        covariance += centred.T @ centred * np.float32(0.5 / len(centred))
        difference += np.float32(0.5 * sign) * centred.mean(axis=0)
    scale = float(np.trace(covariance)) / taps
    _add_roughness(covariance, side_px, np.float32(smooth * scale * 10))
    covariance[np.diag_indices(taps)] += np.float32(ridge * scale * 10)
    template = scipy.linalg.solve(covariance, difference, assume_a="pos", overwrite_a=True, check_finite=False)
    kernel = np.asarray(template, np.float64).reshape(side_px, side_px)[::-1, ::-1]
    kernel = kernel - kernel.mean()
    return np.asarray(kernel / np.abs(kernel).sum(), np.float32)[None]


def _windows(images: NDArray[np.uint8], side_px: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Middle windows of each crop at a few shifts and mirrored at random, grey over its mean: (n * LOOKS, taps)."""
    found = np.empty((len(images) * LOOKS, side_px * side_px), np.float32)
    middle = (np.array(images.shape[1:3]) - side_px) // 2
    reach = np.minimum(SHIFT_PX, np.minimum(middle, np.array(images.shape[1:3]) - side_px - middle))
    for index, image in enumerate(images):
        grey = srgb_to_linear(image).mean(axis=2)
        for look in range(LOOKS):
            top, left = middle + rng.integers(-reach, reach + 1)
            window = grey[top : top + side_px, left : left + side_px]
            if rng.random() < 0.5:
                window = window[:, ::-1]
            found[index * LOOKS + look] = (window / max(float(window.mean()), 1e-3)).ravel()
    return found


def _add_roughness(matrix: NDArray[np.float32], side_px: int, weight: np.float32) -> None:
    """Adds `weight` times the sum of squared steps between neighbouring taps, as a quadratic form."""
    index = np.arange(side_px * side_px).reshape(side_px, side_px)
    for one, other in ((index[:, 1:], index[:, :-1]), (index[1:], index[:-1])):
        a, b = one.ravel(), other.ravel()
        for row, column, sign in ((a, a, 1), (b, b, 1), (a, b, -1), (b, a, -1)):
            np.add.at(matrix, (row, column), np.float32(sign) * weight)
