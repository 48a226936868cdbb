"""The captioning paper's lens, from its published Zernike coefficients, and how far pictures through a PSF are alike.

Arguello, Lopez, Sanchez, Hinojosa, Rueda-Chacon and Arguello, "Learning to Describe Scenes via Privacy-aware Optical
Lens"; the coefficients are those published with it as the lens that its training starts from. The file holds numbers
only: `zernike_coefficients_um` (terms,) in Noll's order, three wavelengths and indices, and scalars. What the paper's
own grid does to the lens: docs/decisions/0013-from-mask-to-psf.md.
"""

import math
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from optics.encoding import convolve_psf
from optics.mask import Geometry, Mask, MaskError
from optics.materials import Material
from optics.metrics import similarity
from optics.zernike import zernike_surface

COEFFICIENTS = "zernike_coefficients_um"
SCALARS = (
    "aperture_m",
    "sensor_distance_m",
    "object_distance_m",
    "height_tolerance_m",
    "wave_grid",
    "sample_interval_m",
    "psf_side_px",
)
SOURCE = "carlosh93/privacy-preserving-vision, Image_Caption: refractive indices as published there, no material named"

Light = Literal["linear", "srgb"]
Brightness = Literal["kept", "maximum"]
Edges = Literal["replicate", "dark"]


@dataclass(frozen=True)
class Similarities:
    """SSIM of pictures with themselves seen through a PSF: mean, standard deviation, number, and each one's."""

    mean: float
    deviation: float
    pictures: int
    each: tuple[float, ...]


def read_caption_lens(path: str | Path) -> Mask:
    """The lens as a smooth mask of 896 x 896 cells of 3 um, PSF 256 x 256 pixels of 10.5 um, colours R, G, B.

    The file's wavelengths may come in any order; three are needed. The Zernike disc is the one of the program that the
    coefficients were found with: its rim runs through the centres of the outermost cells. Cells outside are stopped.
    `about` holds the height tolerance. Raises MaskError, whose message begins with the path, for anything but such a
    file.
    """
    content = _content(path)
    try:
        coefficients_m = np.asarray(content[COEFFICIENTS], dtype=np.float64) * 1e-6
        if coefficients_m.ndim != 1 or not coefficients_m.size or not np.isfinite(coefficients_m).all():
            raise MaskError(f"{COEFFICIENTS} must be a list of finite numbers, got the shape {coefficients_m.shape}")
        wavelengths_m, indices = (
            np.asarray(content[name], dtype=np.float64) for name in ("wavelengths_m", "refractive_indices")
        )
        if wavelengths_m.shape != (3,) or indices.shape != (3,) or len(set(wavelengths_m.tolist())) != 3:
            raise MaskError("wavelengths_m and refractive_indices must be three each, for three different colours")
        scalars = {name: float(np.asarray(content[name])) for name in SCALARS}
        cells, side_px = int(scalars["wave_grid"]), int(scalars["psf_side_px"])
        pitch_m = scalars["sample_interval_m"]
        if not 2 <= cells <= 4096 or side_px < 1 or not math.isclose(cells * pitch_m, scalars["aperture_m"]):
            raise MaskError(
                f"wave_grid {cells}, sample_interval_m {pitch_m:g} and aperture_m {scalars['aperture_m']:g} do not "
                f"belong together, or psf_side_px {side_px} is none"
            )
        geometry = Geometry(
            sensor_distance_m=scalars["sensor_distance_m"],
            pixel_pitch_m=cells * pitch_m / side_px,
            psf_px=(side_px, side_px),
            wavelengths_m=tuple(sorted(wavelengths_m.tolist(), reverse=True)),
            source_distance_m=scalars["object_distance_m"],
        )
        heights_m = zernike_surface(coefficients_m, cells, cells, cells - 1)
        stop = zernike_surface([1.0], cells, cells, cells - 1)
        heights_m = np.where(stop > 0, heights_m - heights_m[stop > 0].min(), 0)
        about = {
            "made_by": "read_caption_lens",
            "zernike_terms": int(coefficients_m.size),
            "height_tolerance_m": scalars["height_tolerance_m"],
        }
        return Mask(
            heights_m, pitch_m, _material(wavelengths_m, indices), geometry, stop, surface="smooth", about=about
        )
    except KeyError as error:
        raise MaskError(f"{path}: {error} is missing: expected the captioning paper's lens") from error
    except (ValueError, TypeError) as error:
        raise MaskError(f"{path}: {error}") from error


def roughened(mask: Mask, tolerance_m: float, rng: np.random.Generator) -> Mask:
    """The mask with an error of its own in each cell's height, even between -tolerance and +tolerance, in metres.

    What the captioning paper's program adds to its lens as "height tolerance" (20 nm) whenever it is used. A constant
    keeps the lowest cell at 0 or above.
    """
    heights_m = mask.height_m + rng.uniform(-tolerance_m, tolerance_m, mask.height_m.shape)
    return replace(mask, height_m=heights_m - min(0.0, float(heights_m.min())))


def ssim_through(
    psf: NDArray[np.float32],
    scenes: Iterable[NDArray[np.float32]],
    light: Light = "linear",
    brightness: Brightness = "kept",
    edges: Edges = "replicate",
    grey: bool = False,
    threads: int = 1,
) -> Similarities:
    """How much of a picture is left behind a PSF, as a person would see it: SSIM of sRGB pictures, Wang's settings.

    psf: float32 (3, rows, columns). scenes: linear radiance, float32 (height, width, 3) in [0, 1], sampled like the
    PSF (256 x 256 for the captioning lens). light: "linear", light is what adds up, as in a camera; or "srgb", the PSF
    acts on the values of the sRGB picture, as in the captioning paper's program. brightness: "kept", exposure makes
    good what the PSF loses of each colour, values above 1 clip; "maximum", the result is divided by its largest value
    (that program's way). edges: what lies beyond the picture, its outermost pixels, or nothing (that program's way).
    grey: compare the mean of the colours. Raises ValueError for a word that is none of these, no scene, or a colour of
    the PSF without light.
    """
    for name, value, known in (
        ("light", light, Light),
        ("brightness", brightness, Brightness),
        ("edges", edges, Edges),
    ):
        if value not in get_args(known):
            raise ValueError(f"{name} must be one of {', '.join(get_args(known))}, got {value!r}")
    total = psf.sum(axis=(1, 2), keepdims=True)
    if not (total > 0).all():
        raise ValueError("a colour of the PSF holds no light: there is no picture to compare")
    taps = np.asarray(psf / total, dtype=np.float32)
    each = []
    for scene in scenes:
        picture = _srgb(scene)
        source = scene if light == "linear" else picture
        behind = _convolved(source, taps, edges, threads)
        if brightness == "maximum":
            behind = behind / max(float(behind.max()), 1e-12)
        behind = np.clip(behind, 0, 1)
        seen = _srgb(behind) if light == "linear" else behind
        pair = (seen.mean(axis=2), picture.mean(axis=2)) if grey else (seen, picture)
        each.append(similarity(*pair))
    if not each:
        raise ValueError("no scene to look at: give at least one")
    return Similarities(float(np.mean(each)), float(np.std(each)), len(each), tuple(each))


def _content(path: str | Path) -> dict[str, NDArray[Any]]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, AttributeError, TypeError) as error:
        raise MaskError(f"{path} is not a readable .npz file of the captioning paper's lens: {error}") from error


def _material(wavelengths_m: NDArray[np.float64], indices: NDArray[np.float64]) -> Material:
    order = np.argsort(wavelengths_m)
    micrometres, index = wavelengths_m[order] * 1e6, indices[order]
    # Rounded to the femtometre: 460e-9 m is not quite 0.46 um in binary.
    table = tuple(round(float(value), 9) for pair in zip(micrometres, index, strict=True) for value in pair)
    return Material("caption_lens_paper", "table", table, (table[0], table[-2]), 0.0, 0.0, SOURCE)


def _convolved(
    source: NDArray[np.float32], taps: NDArray[np.float32], edges: Edges, threads: int
) -> NDArray[np.float32]:
    if edges == "replicate":
        return np.ascontiguousarray(convolve_psf(source, taps, threads).transpose(1, 2, 0))
    rows, columns = taps.shape[1:]
    around = np.pad(source, ((rows, rows), (columns, columns), (0, 0)))
    planes = convolve_psf(around, taps, threads)
    return np.ascontiguousarray(planes[:, rows:-rows, columns:-columns].transpose(1, 2, 0))


def _srgb(linear: NDArray[np.float32]) -> NDArray[np.float32]:
    """IEC 61966-2-1."""
    low = linear * np.float32(12.92)
    high = np.float32(1.055) * np.maximum(linear, np.float32(0.0031308)) ** np.float32(1 / 2.4) - np.float32(0.055)
    return np.asarray(np.where(linear <= 0.0031308, low, high), dtype=np.float32)
