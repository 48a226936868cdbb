"""What the difference between two kernels does to the codes of real photographs: the figure that a mask is judged by.

A wanted and an obtained PSF may differ visibly and give the same codes, or the other way round. Both are taken through
the whole encoding here, each at the exposure that the sensor would settle at, and the codes are compared cell by cell.
"""

import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import scipy.ndimage
import skimage
from numpy.typing import NDArray

from optics.encoding import check_scene, checked_thresholds, convolve_psf, pool_planes, quantize
from optics.exposure import steady_exposure

Photograph = tuple[str, NDArray[np.float32]]

ROWS_PX, COLUMNS_PX = 480, 640
# Scenes and surfaces among the pictures that scikit-image's wheel carries; its microscope slides, drawings and texts
# are nothing that this camera looks at, and of a stereo pair one is enough.
BUNDLED = (
    "astronaut.png",
    "brick.png",
    "camera.png",
    "chelsea.png",
    "coffee.png",
    "coins.png",
    "grass.png",
    "moon.png",
    "motorcycle_left.png",
    "rocket.jpg",
)
SUFFIXES = (".jpg", ".jpeg", ".png")
BOOTSTRAP_DRAWS = 2000
INTERVAL = (0.025, 0.975)
# A small sensor at its base gain: electrons at full scale, and electrons of read noise.
FULL_WELL_E, READ_NOISE_E = 10_000.0, 3.0


class PhotographError(ValueError):
    """Pictures that cannot be used. The message says which, and what would do."""


class KernelError(ValueError):
    """A kernel that cannot be compared. The message says what was expected."""


@dataclass(frozen=True, eq=False)
class CodedImage:
    """One photograph through one kernel. codes: uint8 (rows, columns, 3). exposure: factor on the light."""

    name: str
    codes: NDArray[np.uint8]
    exposure: float


@dataclass(frozen=True, slots=True)
class CodeChange:
    """How the codes through one kernel differ from those through another, on the same photographs.

    share_changed: of all cells (three colours), those with another code. A step is from one distinct threshold to the
    next: learned thresholds collapse, and a code then jumps by two or three at once. share_changed_by_more_than_one:
    cells more than one step apart; mean_absolute_change: steps, mean over all cells. levels: distinct thresholds + 1.
    interval_low, interval_high: 95 % bootstrap interval of share_changed over the photographs (0 and 1 for a single
    one, which says nothing about others). exposures_reference, exposures_other: factor on the light per photograph.
    """

    share_changed: float
    share_changed_by_more_than_one: float
    mean_absolute_change: float
    interval_low: float
    interval_high: float
    cells: int
    images: int
    levels: int
    names: tuple[str, ...]
    share_per_image: tuple[float, ...]
    exposures_reference: tuple[float, ...]
    exposures_other: tuple[float, ...]

    def as_json(self) -> dict[str, Any]:
        """Plain numbers and lists."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    def sentence(self) -> str:
        """The result in words."""
        return (
            f"{self.share_changed:.1%} of {self.cells} cells of {self.images} photographs change their code "
            f"(95 % interval {self.interval_low:.1%} to {self.interval_high:.1%}), "
            f"{self.share_changed_by_more_than_one:.1%} by more than one of {self.levels} levels"
        )


def code_change(
    reference: NDArray[np.floating],
    other: NDArray[np.floating],
    thresholds: NDArray[np.float32],
    pool: int,
    images: Sequence[Photograph],
    rng: np.random.Generator | None = None,
) -> CodeChange:
    """Compare the codes through `other` with those through `reference`.

    reference, other: kernels (h, w), the same for each colour, or (3, h, w), one each for red, green and blue; signed
        or not, not necessarily of one size; see `code_images` for their scale. thresholds: float32 (15,). pool: side
        of a cell in pixels. images: (name, scene float32 (rows, columns, 3)), as `photographs` gives them.
    rng: for the bootstrap; by default one with a fixed seed, so that the same input gives the same interval.
    Raises KernelError or PhotographError, and what the encoding raises for scenes and thresholds.
    """
    return compare_codes(
        code_images(reference, thresholds, pool, images), code_images(other, thresholds, pool, images), thresholds, rng
    )


def baselines(
    reference: NDArray[np.floating],
    thresholds: NDArray[np.float32],
    pool: int,
    images: Sequence[Photograph],
    rng: np.random.Generator | None = None,
) -> dict[str, CodeChange]:
    """What to judge a code change by: that of some kernels whose difference from `reference` is known.

    "noise": the reference itself, photographed twice with shot and read noise of a small sensor (10,000 electrons at
        full scale, 3 of read noise): less than this cannot be told from no change at all.
    "half_a_pixel": the reference moved by half a pixel to the right, as any mount may move it.
    "no_mask": the reference's light as a single tap, a sharp picture. "flat": spread evenly over the window.
        Change that comes near these two says that the mask does not do what was wanted.
    """
    rng = rng or np.random.default_rng(0)
    kernel = _checked(reference)
    coded = code_images(kernel, thresholds, pool, images)
    light = np.abs(kernel).sum(axis=(1, 2), keepdims=True)
    sharp, flat = np.zeros_like(kernel), np.broadcast_to(light / kernel[0].size, kernel.shape)
    sharp[:, kernel.shape[1] // 2, kernel.shape[2] // 2] = light[:, 0, 0]
    wider = np.pad(kernel, ((0, 0), (0, 0), (1, 1)))
    moved = scipy.ndimage.shift(wider, (0, 0, 0.5), order=1)
    noisy = [code_images(kernel, thresholds, pool, images, noise=rng) for _ in range(2)]
    return {
        "noise": compare_codes(noisy[0], noisy[1], thresholds, rng),
        **{
            name: compare_codes(coded, code_images(one, thresholds, pool, images), thresholds, rng)
            for name, one in (("half_a_pixel", moved), ("no_mask", sharp), ("flat", flat))
        },
    }


def code_images(
    kernel: NDArray[np.floating],
    thresholds: NDArray[np.float32],
    pool: int,
    images: Sequence[Photograph],
    noise: np.random.Generator | None = None,
) -> list[CodedImage]:
    """Codes of every photograph through one kernel, each at the exposure where automatic exposure settles.

    A kernel whose taps, without their signs, add up to more than one is scaled down to one: nothing passive passes
    more light than enters it, and a wanted kernel's scale means nothing. A darker one stays as dark as it is, and the
    exposure makes up for it within the sensor's limits.
    noise: draws shot and read noise before the maximum; both arms of a signed kernel's pair contribute, see
    optics.signed (the split with the least noise).
    """
    checked_thresholds(thresholds)
    taps = _checked(kernel)
    if not images:
        raise PhotographError("there are no photographs to compare codes on")
    result = []
    for name, scene in images:
        check_scene(scene, pool)
        planes = convolve_psf(scene, taps)
        exposure = steady_exposure(pool_planes(planes, pool), thresholds)
        if noise is not None:
            planes = _noisy(planes, scene, taps, exposure, thresholds, pool, noise)
            codes = quantize(pool_planes(planes, pool), thresholds)
        else:
            codes = quantize(pool_planes(planes, pool) * np.float32(exposure), thresholds)
        result.append(CodedImage(name, codes, exposure))
    return result


def _noisy(
    planes: NDArray[np.float32],
    scene: NDArray[np.float32],
    taps: NDArray[np.float32],
    exposure: float,
    thresholds: NDArray[np.float32],
    pool: int,
    rng: np.random.Generator,
) -> NDArray[np.float32]:
    """Planes at their exposure, with shot and read noise.

    The two arms of a signed kernel hold more light than their difference. They fill their pixels at an exposure of
    their own, and the rest is gain behind the subtraction, which the noise goes through.
    """
    light, exposed, readings = planes, exposure, 1
    if taps.min() < 0:
        readings = 2
        light = convolve_psf(scene, np.abs(taps))
        exposed = min(exposure, steady_exposure(pool_planes(light, pool), thresholds))
    variance = np.maximum(light, 0) * (exposed / FULL_WELL_E) + readings * (READ_NOISE_E / FULL_WELL_E) ** 2
    drawn = rng.standard_normal(planes.shape, dtype=np.float32)
    return np.asarray(planes * exposure + np.sqrt(variance) * (exposure / exposed) * drawn, dtype=np.float32)


def balanced(kernel: NDArray[np.floating], reference: NDArray[np.floating]) -> NDArray[np.float64]:
    """The kernel (3, h, w) with a gain per colour that gives each as much light as in `reference`: float64 (3, h, w).

    What white balance does, or a calibration before an even wall. Two masks of one shape of PSF pass the colours in
    different proportions, and then all codes differ that hang on colour; this tells how many are left. reference:
    (h, w) or (3, h, w). For kernels of light: raises KernelError where a colour of either has none in all.
    """
    sums = [np.asarray(each, np.float64).sum(axis=(-2, -1)) for each in (kernel, reference)]
    if np.ndim(kernel) != 3 or np.min(sums[0]) <= 0 or np.min(sums[1]) <= 0:
        raise KernelError("colours can be balanced where each has light: a kernel (3, h, w) of positive sums is needed")
    return np.asarray(kernel * (sums[1] / sums[0])[:, np.newaxis, np.newaxis])


def compare_codes(
    reference: Sequence[CodedImage],
    other: Sequence[CodedImage],
    thresholds: NDArray[np.float32],
    rng: np.random.Generator | None = None,
) -> CodeChange:
    """The difference between two sets of codes of the same photographs, in the same order (see `code_change`)."""
    rng = rng or np.random.default_rng(0)
    # Code to effective level: how many distinct thresholds are at or below what has this code.
    level = np.searchsorted(np.unique(thresholds), np.concatenate([[-1], thresholds]), side="right")
    steps = [np.abs(level[a.codes] - level[b.codes]) for a, b in zip(reference, other, strict=True)]
    cells = np.array([step.size for step in steps])
    changed = np.array([np.count_nonzero(step) for step in steps])
    low, high = 0.0, 1.0
    if len(steps) > 1:
        drawn = rng.integers(0, len(steps), (BOOTSTRAP_DRAWS, len(steps)))
        low, high = np.quantile(changed[drawn].sum(axis=1) / cells[drawn].sum(axis=1), INTERVAL)
    return CodeChange(
        share_changed=float(changed.sum() / cells.sum()),
        share_changed_by_more_than_one=float(sum(np.count_nonzero(step > 1) for step in steps) / cells.sum()),
        mean_absolute_change=float(sum(step.sum() for step in steps) / cells.sum()),
        interval_low=float(low),
        interval_high=float(high),
        cells=int(cells.sum()),
        images=len(steps),
        levels=int(level.max()) + 1,
        names=tuple(one.name for one in reference),
        share_per_image=tuple((changed / cells).tolist()),
        exposures_reference=tuple(one.exposure for one in reference),
        exposures_other=tuple(one.exposure for one in other),
    )


def photographs(rows_px: int = ROWS_PX, columns_px: int = COLUMNS_PX) -> list[Photograph]:
    """Ten photographs that come with scikit-image, without any download: (name, scene) in alphabetical order.

    scene: float32 (rows_px, columns_px, 3), linear radiance in [0, 1], the middle of the picture at the wanted aspect
    ratio, resized in linear light (the smaller ones are enlarged). Four of the ten are grey: their colours are equal.
    """
    folder = Path(skimage.__file__).parent / "data"
    missing = [name for name in BUNDLED if not (folder / name).is_file()]
    if missing:
        raise PhotographError(f"{folder} lacks {', '.join(missing)}: install scikit-image from its wheel (pip)")
    return [(Path(name).stem, _scene((folder / name).read_bytes(), name, rows_px, columns_px)) for name in BUNDLED]


def load_photographs(
    path: str | Path, limit: int | None = None, rows_px: int = ROWS_PX, columns_px: int = COLUMNS_PX
) -> list[Photograph]:
    """A person's own pictures, .jpg or .png in a folder (and its folders) or a .tar: (name, scene) in order of name.

    limit: at most so many, evenly spread over all of them. Scenes as `photographs` gives them; pictures are taken to be
    sRGB, and turned as their EXIF data says. Raises PhotographError for a path, a file or a limit that is of no use.
    """
    if limit is not None and limit < 1:
        raise PhotographError(f"limit must be at least 1 picture, got {limit}")
    source = Path(path)
    if not source.exists():
        raise PhotographError(f"{source} does not exist: name a folder, or a .tar, with .jpg or .png pictures")
    return [
        (name, _scene(data, f"{source}: {name}", rows_px, columns_px))
        for name, data in (_from_folder(source, limit) if source.is_dir() else _from_tar(source, limit))
    ]


def _from_folder(folder: Path, limit: int | None) -> Iterator[tuple[str, bytes]]:
    found = sorted(one for one in folder.rglob("*") if one.suffix.lower() in SUFFIXES and one.is_file())
    for number in _spread(len(found), limit, folder):
        yield found[number].relative_to(folder).as_posix(), found[number].read_bytes()


def _from_tar(archive_path: Path, limit: int | None) -> Iterator[tuple[str, bytes]]:
    try:
        with tarfile.open(archive_path) as archive:
            found = [one for one in archive.getmembers() if one.isfile() and one.name.lower().endswith(SUFFIXES)]
            found.sort(key=lambda one: one.name)
            for number in _spread(len(found), limit, archive_path):
                file = archive.extractfile(found[number])
                if file is not None:
                    yield found[number].name, file.read()
    except tarfile.TarError as error:
        raise PhotographError(f"{archive_path} is neither a folder nor a .tar with pictures: {error}") from error


def _spread(count: int, limit: int | None, source: Path) -> list[int]:
    if not count:
        raise PhotographError(f"{source} holds no picture: expected files that end in {', '.join(SUFFIXES)}")
    wanted = count if limit is None else min(limit, count)
    return [number * count // wanted for number in range(wanted)]


def _scene(data: bytes, name: str, rows_px: int, columns_px: int) -> NDArray[np.float32]:
    """The middle of a picture as linear radiance, float32 (rows_px, columns_px, 3)."""
    if rows_px < 1 or columns_px < 1:
        raise PhotographError(f"a scene must have at least one pixel, got {rows_px} x {columns_px}")
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    if picture is None:
        raise PhotographError(f"{name} is not a picture that can be read: expected .jpg or .png")
    encoded = np.arange(256) / 255
    # IEC 61966-2-1, the inverse of sRGB's curve.
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4).astype(np.float32)
    height, width = picture.shape[:2]
    high, wide = min(height, width * rows_px / columns_px), min(width, height * columns_px / rows_px)
    rows, columns = max(1, round(high)), max(1, round(wide))
    top, left = (height - rows) // 2, (width - columns) // 2
    middle = linear[picture[top : top + rows, left : left + columns, ::-1]]
    # Shrinking by area keeps the mean light; enlarging in a straight line makes no new minimum or maximum.
    shrinks = rows_px < rows
    resized = cv2.resize(middle, (columns_px, rows_px), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    return np.ascontiguousarray(np.clip(resized, 0, 1), dtype=np.float32)


def _checked(kernel: NDArray[np.floating]) -> NDArray[np.float32]:
    """The kernel as float32 (3, h, w), passing no more than all light, or the reason why it is none."""
    taps = np.asarray(kernel)
    if taps.dtype.kind not in "fiu" or taps.ndim not in (2, 3) or 0 in taps.shape:
        raise KernelError(f"a kernel must be numbers of shape (h, w) or (3, h, w), got {taps.dtype} {taps.shape}")
    if taps.ndim == 3 and taps.shape[0] != 3:
        raise KernelError(f"a kernel must have one plane per colour, (3, h, w), got {taps.shape}")
    if not np.isfinite(taps).all():
        raise KernelError("a kernel must be finite, got NaN or infinity")
    taps = taps.astype(np.float64)
    light = float(np.abs(taps).sum(axis=(-2, -1)).max())
    if light == 0:
        raise KernelError("a kernel of zeros passes no light")
    scaled = (taps / max(light, 1)).astype(np.float32)
    return np.ascontiguousarray(np.broadcast_to(scaled, (3, *scaled.shape[-2:])))
