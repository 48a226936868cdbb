"""What an attacker gets to see of a face crop: the clean picture, a conventional way to hide it, or codes."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from models.detector.scenes import linear_to_srgb, srgb_to_linear
from optics.encoding import Encoding, pooled, quantize
from optics.exposure import steady_exposure

BLUR_SIGMA_PX = 8.0
PIXEL_PX = 8


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """Crops as an attacker sees them. `inputs`: uint8 (n, rows, columns, channels); `full_scale`: its largest value."""

    name: str
    inputs: NDArray[np.uint8]
    full_scale: float


def clean_view(crops: NDArray[np.uint8]) -> View:
    """The crops themselves, sRGB uint8 (n, 64, 64, 3)."""
    return View("clean", crops, 255)


def blurred_view(crops: NDArray[np.uint8], sigma_px: float = BLUR_SIGMA_PX) -> View:
    """Blurred by a Gaussian in linear light, back to sRGB, at full size: blur as a lens makes it, read with 8 bits."""
    blurred = []
    for crop in crops:
        soft = cv2.GaussianBlur(srgb_to_linear(crop), (0, 0), sigma_px, borderType=cv2.BORDER_REPLICATE)
        blurred.append(linear_to_srgb(np.asarray(soft, np.float32)))
    return View("blur", np.stack(blurred), 255)


def pixelated_view(crops: NDArray[np.uint8], pixel_px: int = PIXEL_PX) -> View:
    """The mean of every 8 x 8 px in linear light, as sRGB uint8 (n, 8, 8, 3)."""
    count, height, width, _ = crops.shape
    blocks = srgb_to_linear(crops).reshape(count, height // pixel_px, pixel_px, width // pixel_px, pixel_px, 3)
    means = np.asarray(blocks.mean(axis=(2, 4)), np.float32)
    return View("pixelate", linear_to_srgb(means), 255)


def pooled_crops(crops: NDArray[np.uint8], encoding: Encoding) -> NDArray[np.float32]:
    """Pooled values of each crop at exposure 1, before the thresholds: float32 (n, 8, 8, channels)
    for crops of 64 x 64 px."""
    return np.stack([pooled(srgb_to_linear(crop), encoding, threads=1) for crop in crops])


def codes_view(cells: NDArray[np.float32], encoding: Encoding) -> View:
    """Codes of pooled crops (`pooled_crops`), uint8 (n, 8, 8, channels).

    Every crop is exposed on its own, as if it were the whole scene (`optics.exposure.steady_exposure`). That is kind to
    the attacker: each face is as well lit as the thresholds allow, which a face in a corner of a room is not.
    """
    codes = [
        quantize(one * np.float32(steady_exposure(one, encoding.thresholds)), encoding.thresholds) for one in cells
    ]
    return View("codes", np.stack(codes), 15)
