"""Faces and faceless windows cut from the same photographs, so that nothing but the face tells them apart.

Two data sets are told apart by anything: their cameras, their JPEG tables, their subjects. Here every face comes with a
faceless window of the same size from the same photograph: source, light and sharpness are the same by construction.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from models.detector.archives import Photograph
from models.detector.scenes import linear_to_srgb, srgb_to_linear

CROP_PX = 64
# Side of a window over the larger side of its face: in the LFW crops a face takes about 48 of 64 px.
MARGIN = 64 / 48
SMALLEST_FACE_PX = 16.0
TRIES = 60


def same_photograph_windows(
    photographs: list[Photograph],
    rng: np.random.Generator,
    per_photograph: int = 4,
    smallest_face_px: float = SMALLEST_FACE_PX,
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Faces and as many faceless windows: crops uint8 sRGB (n, 64, 64, 3) and labels int64 (n,), 1 face, 0 none.

    At most `per_photograph` faces of each photograph, chosen at random among those that count (not `ignore`) with a
    larger side of `smallest_face_px` or more and whose window lies inside the photograph. Pairs follow one another,
    face first. To split by photograph, split the list: no photograph's windows ever come from another one.
    """
    crops: list[NDArray[np.uint8]] = []
    for photograph in photographs:
        for face, other in window_pairs(photograph, rng, per_photograph, smallest_face_px):
            crops += [cut(photograph.image, face), cut(photograph.image, other)]
    images = np.stack(crops) if crops else np.zeros((0, CROP_PX, CROP_PX, 3), np.uint8)
    return images, np.tile(np.array([1, 0], np.int64), len(crops) // 2)


def window_pairs(
    photograph: Photograph, rng: np.random.Generator, most: int, smallest_face_px: float = SMALLEST_FACE_PX
) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Up to `most` pairs of square windows (left, top, side) in pixels: one round a face, one that touches no face.

    The second has the first one's side, lies anywhere in the photograph and shares no pixel with any labelled face,
    ignored ones too (IoU 0: a stricter bound than a share, since a small face inside a large window has a small IoU).
    A face for which no such place was found in `TRIES` draws is left out with its window, so both kinds always have the
    same sizes.
    """
    height, width = photograph.image.shape[:2]
    pairs: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []
    for index in rng.permutation(len(photograph.boxes)):
        if len(pairs) == most:
            break
        if photograph.ignore[index] or photograph.boxes[index, 2:].max() < smallest_face_px:
            continue
        face = face_window(photograph.boxes[index])
        left, top, side = (int(value) for value in face)
        if left < 0 or top < 0 or left + side > width or top + side > height:
            continue
        lefts, tops = rng.integers(0, width - side + 1, TRIES), rng.integers(0, height - side + 1, TRIES)
        for place in np.stack([lefts, tops, np.full(TRIES, side)], axis=1):
            if not touches(place, photograph.boxes):
                pairs.append((face, place))
                break
    return pairs


def face_window(box: NDArray[np.float32]) -> NDArray[np.int64]:
    """The square (left, top, side), int64, round a face box (x, y, width, height), all in pixels; may overhang."""
    side = max(1, round(float(box[2:].max()) * MARGIN))
    left, top = (round(float(box[axis] + box[axis + 2] / 2 - side / 2)) for axis in (0, 1))
    return np.array([left, top, side], np.int64)


def touches(window: NDArray[np.int64], boxes: NDArray[np.float32]) -> bool:
    """Whether the square (left, top, side) shares any part with a box of `boxes` float32 (n, 4), all in pixels."""
    left, top, side = (int(value) for value in window)
    apart = (boxes[:, 0] >= left + side) | (boxes[:, 0] + boxes[:, 2] <= left)
    apart |= (boxes[:, 1] >= top + side) | (boxes[:, 1] + boxes[:, 3] <= top)
    return not bool(apart.all())


def cut(image: NDArray[np.uint8], window: NDArray[np.int64], side_px: int = CROP_PX) -> NDArray[np.uint8]:
    """The square `window` (left, top, side) of an sRGB uint8 image, as sRGB uint8 (side_px, side_px, 3).

    Resized in linear light, areas averaged when it shrinks, bilinear when it grows. Where the window overhangs the
    image, the image's edge is repeated.
    """
    left, top, side = (int(value) for value in window)
    rows = np.clip(np.arange(top, top + side), 0, image.shape[0] - 1)
    columns = np.clip(np.arange(left, left + side), 0, image.shape[1] - 1)
    patch = srgb_to_linear(image[np.ix_(rows, columns)])
    interpolation = cv2.INTER_AREA if side > side_px else cv2.INTER_LINEAR
    return linear_to_srgb(np.asarray(cv2.resize(patch, (side_px, side_px), interpolation=interpolation), np.float32))
