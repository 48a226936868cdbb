"""Training batches: windows of measured scenes at random exposures, with comparator offsets and noise."""

import math

import numpy as np
from numpy.typing import NDArray

from models.detector.cache import Samples
from models.detector.scenes import plane_cells
from models.detector.targets import make_targets
from optics.encoding import Encoding, quantize

# Comparator offset and noise, as a fraction of full scale: 1.5 mV of 2.5 V.
COMPARATOR_SIGMA = 0.0015 / 2.5
HIGHEST_CODE = 15
# Of a photograph in linear light (the training crops' is 0.21): where that of the scene itself is not known.
MEAN_RADIANCE = 0.2
# Raise it when the noise behind a pair of masks changes: results of pairs alone are then measured again.
PAIR_RECIPE = 2
# What a training window covers of the plane, rows and columns in pixels, whatever the pool.
WINDOW_PX = (320, 384)

Batch = dict[str, NDArray[np.float32]]


def mirror_symmetric(encoding: Encoding) -> bool:
    """Whether mirrored codes are what a mirrored scene would give: each kernel equals its mirror image."""
    kernels = encoding.kernels
    return bool(np.allclose(kernels, kernels[:, :, ::-1], rtol=0, atol=1e-6 * np.abs(kernels).max()))


def subtracts(encoding: Encoding) -> bool:
    """Whether a kernel has negative taps, so that a pair of masks is subtracted behind it."""
    return bool(encoding.kernels.min() < 0)


def noise_recipe(encoding: Encoding | None) -> dict[str, int]:
    """What the key of a kept result says of noise: nothing for one mask a filter, whose noise is as it always was."""
    noisy = encoding is not None and encoding.range == "fixed" and subtracts(encoding)
    return {"pair_noise": PAIR_RECIPE} if noisy else {}


def window_cells(pool_px: int) -> tuple[int, int]:
    """Rows and columns of a training window: multiples of 4 that cover WINDOW_PX, within the plane."""
    plane = plane_cells(pool_px)
    wanted = [-(-side // (4 * pool_px)) * 4 for side in WINDOW_PX]
    return min(wanted[0], plane[0] // 4 * 4), min(wanted[1], plane[1] // 4 * 4)


def network_input(codes: NDArray[np.uint8], encoded: bool = True) -> NDArray[np.float32]:
    """Codes uint8 (n, rows, columns, channels) as the network takes them: float32 (n, channels, rows, columns) in 0..1.

    `encoded` False: unencoded sRGB uint8 instead (the ceiling's input).
    """
    scale = np.float32(1 / (HIGHEST_CODE if encoded else 255))
    return np.ascontiguousarray(codes.transpose(0, 3, 1, 2)).astype(np.float32) * scale


def random_batch(
    samples: Samples,
    encoding: Encoding | None,
    rng: np.random.Generator,
    size: int,
    window: tuple[int, int] | None = None,
    encoded: bool = True,
) -> Batch:
    """`size` random windows of `window` (rows, columns; else `window_cells`) cells: "codes" and their targets
    (`make_targets`).

    Seven in ten windows hold a face that is to be found, where their scene has one. With `encoded` False the input is
    the unencoded picture of the same window, under the same exposure, and no encoding is needed.
    """
    inputs, targets = [], []
    cell_px = samples.cell_px(encoded)
    window = window or window_cells(cell_px)
    mirrored_too = encoding is None or mirror_symmetric(encoding)
    plane = (samples.cells if encoded else samples.plain).shape[1:3]
    for index in rng.integers(len(samples), size=size):
        boxes, ignore = samples.boxes_of(int(index))
        top, left = random_window(boxes[~ignore] / np.float32(cell_px), plane, window, rng)
        part = (int(index), slice(top, top + window[0]), slice(left, left + window[1]))
        boxes = boxes - np.array([left, top, 0, 0], np.float32) * cell_px
        exposure = float(np.exp(rng.uniform(np.log(0.55), np.log(1.4))))
        if encoded and encoding is not None:
            bright = samples.mean_radiance(int(index))
            one = exposed_codes(samples.cells[part], float(samples.steady[index] * exposure), encoding, rng, bright)
        else:
            one = _exposed_plain(samples.plain[part], exposure)
        if mirrored_too and rng.random() < 0.5:
            one = one[:, ::-1]
            boxes = boxes.copy()
            boxes[:, 0] = window[1] * cell_px - boxes[:, 0] - boxes[:, 2]
        inputs.append(one)
        targets.append(make_targets(boxes, ignore, *window, cell_px))
    batch = {name: np.stack([target[name] for target in targets]) for name in targets[0]}
    return batch | {"codes": network_input(np.stack(inputs), encoded)}


def exposed_codes(
    cells: NDArray[np.floating],
    exposure: float,
    encoding: Encoding,
    rng: np.random.Generator,
    radiance: float = MEAN_RADIANCE,
) -> NDArray[np.uint8]:
    """Codes of cells at exposure 1 (any shape, as `cache.Samples` holds them) under another, with noise.

    radiance: mean linear radiance of the whole scene at exposure 1 (`noisy_codes`).
    Range "per_frame" is the paper's simulation: it knows neither exposure nor noise, so its codes have none.
    """
    values = cells.astype(np.float32)
    if encoding.range == "per_frame":
        return quantize(values, encoding.thresholds)
    return noisy_codes(values * np.float32(exposure), encoding, rng, exposure, radiance)


def noisy_codes(
    cells: NDArray[np.float32],
    encoding: Encoding,
    rng: np.random.Generator,
    exposure: float,
    radiance: float = MEAN_RADIANCE,
) -> NDArray[np.uint8]:
    """Codes of exposed cells float32 (rows, columns, channels) through imperfect parts, uint8 of the same shape.

    Sensor noise enters before the maximum, so it lifts dark cells more than it spreads them: the maximum of 64 noisy
    pixels lies about 2.4 sigma above their mean (of four times as many, 0.4 sigma higher) and varies by 0.4 sigma.
    Each comparator has its own offset. exposure: the factor that brought the cells where they are; radiance: the mean
    of what was exposed (scene or crop), at exposure 1, in the unit of the light that was convolved. Their product is
    the light behind a pair of masks, whose noise stays where the light itself is subtracted (decision 38); one mask
    does not ask for it.
    """
    shot = np.float32(rng.uniform(0, 0.012))
    read = np.float32(rng.uniform(0, 0.003))
    if subtracts(encoding):
        sigma: NDArray[np.float32] | np.float32 = _pair_sigma(encoding, radiance * exposure, shot, read)
    else:
        sigma = np.sqrt(shot * shot * np.maximum(cells, 0) + read * read)
    # A cell is rarely flat, and then fewer of its pixels compete for the maximum: any part of the full lift occurs.
    lift = np.float32(rng.uniform(0, 2.4 + 0.4 * max(0.0, math.log2(encoding.pool / 8))))
    noisy = cells + sigma * (lift + np.float32(0.4) * rng.standard_normal(cells.shape, np.float32))
    noisy += np.float32(COMPARATOR_SIGMA) * rng.standard_normal(cells.shape, np.float32)
    offsets = rng.normal(0, COMPARATOR_SIGMA, encoding.thresholds.shape).astype(np.float32)
    return quantize(noisy, encoding.thresholds + offsets)


def _pair_sigma(encoding: Encoding, exposed: float, shot: np.float32, read: np.float32) -> np.float32:
    """Noise of a pixel of PSF+ - PSF-, in fractions of full scale after the gain that follows the subtraction.

    exposed: mean radiance times exposure. Both masks' light counts: shot noise of their sum, read noise of two pixels.
    The full well holds three times the mean light (fewer stops would clip what is bright), and the gain behind the
    subtraction makes up the rest.
    """
    light = exposed * float(np.abs(encoding.kernels).sum(axis=(1, 2)).mean())
    gain = max(1.0, 3 * light)
    return np.float32(np.sqrt(shot * shot * gain * light + 2 * read * read * gain * gain))


def _exposed_plain(image: NDArray[np.uint8], exposure: float) -> NDArray[np.uint8]:
    """A plain picture under another exposure: its sRGB values scaled by the exposure as sRGB's exponent sees it."""
    return np.asarray(np.clip(image * np.float32(exposure ** (1 / 2.2)), 0, 255), np.uint8)


def random_window(
    faces: NDArray[np.float32], plane: tuple[int, ...], window: tuple[int, int], rng: np.random.Generator
) -> tuple[int, int]:
    """Top row and left column of a random window of `window` on a plane of `plane` (rows, columns), whole numbers.

    Usually one that holds the centre of a face: boxes float32 (n, 4), in the unit of both.
    """
    room = (plane[0] - window[0], plane[1] - window[1])
    if len(faces) and rng.random() < 0.7:
        x, y, width, height = faces[rng.integers(len(faces))]
        top = (y + height / 2) - rng.uniform(0.1, 0.9) * window[0]
        left = (x + width / 2) - rng.uniform(0.1, 0.9) * window[1]
        return int(np.clip(top, 0, room[0])), int(np.clip(left, 0, room[1]))
    return int(rng.integers(room[0] + 1)), int(rng.integers(room[1] + 1))
