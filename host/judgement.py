"""What an optics engineer wants to know of a PSF, in numbers: light, likeness, radii, contrast, codes."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from host.optic_files import Optic, common_window, framed
from optics.bundle import read_bundle, resolve_bundle
from optics.caption_lens import ssim_through
from optics.code_change import (
    CodeChange,
    CodedImage,
    Photograph,
    baselines,
    code_images,
    compare_codes,
    load_photographs,
    photographs,
)
from optics.encoding import THROUGHPUT_TOLERANCE
from optics.metrics import (
    MetricError,
    aligned_correlation,
    energy_radius,
    mtf,
    per_colour_correlation,
    throughput,
)

# The picture that figures show; where it is not among the photographs, the first one.
SHOWN = "astronaut"


@dataclass(frozen=True, eq=False)
class Yardstick:
    """What codes are compared with: thresholds float32 (15,), pool and sensor (rows, columns) of a bundle, and the
    photographs."""

    bundle: str
    thresholds: NDArray[np.float32]
    pool: int
    scene_px: tuple[int, int]
    images: list[Photograph]

    @property
    def shown(self) -> int:
        """Which photograph the figures show."""
        return next((index for index, (name, _) in enumerate(self.images) if name == SHOWN), 0)


def yardstick(bundle: str, folder: Path | None, limit: int | None = None) -> Yardstick:
    """Thresholds of a bundle and photographs: a person's own, or those that come with scikit-image.

    Raises BundleError or PhotographError.
    """
    found = read_bundle(resolve_bundle(bundle))
    images = photographs()[:limit] if folder is None else load_photographs(folder, limit)
    scene_px = (found.rows_px, found.columns_px)
    return Yardstick(bundle, found.encoding.thresholds, found.encoding.pool, scene_px, images)


def code(taps: NDArray[np.floating], measure: Yardstick) -> list[CodedImage]:
    """The codes of every photograph through a kernel (3, h, w)."""
    return code_images(taps, measure.thresholds, measure.pool, measure.images)


def change(wanted: Sequence[CodedImage], obtained: Sequence[CodedImage], measure: Yardstick) -> CodeChange:
    """How two sets of codes of the same photographs differ."""
    return compare_codes(wanted, obtained, measure.thresholds)


def change_report(
    changed: CodeChange, measure: Yardstick, wanted: NDArray[np.floating] | None = None
) -> dict[str, Any]:
    """The change for report.json, with the baselines to judge it by where the wanted kernel is given."""
    report = changed.as_json() | {"sentence": changed.sentence(), "bundle": measure.bundle}
    if wanted is not None:
        known = baselines(wanted, measure.thresholds, measure.pool, measure.images)
        report["baselines"] = {
            name: {"share_changed": each.share_changed, "interval": [each.interval_low, each.interval_high]}
            for name, each in known.items()
        }
    return report


def figures(psf: NDArray[np.floating], pitch_m: float, pool: int) -> dict[str, Any]:
    """Of a PSF (3, h, w), for each colour: light, radii of the circles with half and 80 % of it, contrast kept."""
    frequency, contrast = mtf(psf, pitch_m)
    cell_per_m = 1 / (2 * pool * pitch_m)
    return {
        "light_rgb": _rounded(throughput(psf)),
        "radius_50_um_rgb": _rounded(energy_radius(psf, pitch_m, 0.5) * 1e6),
        "radius_80_um_rgb": _rounded(energy_radius(psf, pitch_m, 0.8) * 1e6),
        "contrast_at_half_a_cycle_a_cell_rgb": _rounded([np.interp(cell_per_m, frequency, line) for line in contrast]),
        "half_a_cycle_a_cell_per_mm": cell_per_m * 1e-3,
    }


def likeness(psf: NDArray[np.floating], wanted: NDArray[np.floating]) -> dict[str, Any]:
    """Correlation of two kernels (3, h, w) of any two windows: as they lie, and after the best shift."""
    rows, columns = common_window(psf, wanted)
    one, other = framed(psf, rows, columns), framed(wanted, rows, columns)
    per_colour = per_colour_correlation(one, other)
    aligned, (down, right) = aligned_correlation(other, one)
    return {
        "correlation": float(per_colour.mean()),
        "correlation_rgb": _rounded(per_colour),
        "aligned_correlation": aligned,
        "aligned_shift_px": [down, right],
    }


def structure_left(taps: NDArray[np.floating], images: Sequence[Photograph]) -> dict[str, float]:
    """SSIM of the photographs with themselves behind a kernel (3, h, w): mean and standard deviation."""
    found = ssim_through(taps.astype(np.float32), [scene for _, scene in images], threads=2)
    return {"mean": found.mean, "standard_deviation": found.deviation, "images": found.pictures}


def sharp(like: NDArray[np.floating]) -> NDArray[np.float64]:
    """A single tap in the window of `like`: no mask at all."""
    taps = np.zeros((3, *like.shape[-2:]))
    taps[:, like.shape[-2] // 2, like.shape[-1] // 2] = 1
    return taps


def as_light(optic: Optic) -> NDArray[np.float64]:
    """The taps as a PSF (3, h, w): those that sum to more than all light are a kernel without scale, and sum to 1 then.

    Raises MetricError where taps are negative, or there are none.
    """
    if optic.signed:
        raise MetricError(
            f"{optic.name} has negative taps (down to {optic.taps.min():.3g}): it is no PSF. "
            "`canopic optics design` makes a pair of masks for it, whose report has the comparison"
        )
    taps = optic.per_colour
    most = float(taps.sum(axis=(1, 2)).max())
    if not most > 0:
        raise MetricError(f"{optic.name} is zero everywhere: it passes no light")
    return taps / max(most, 1.0) if most > 1 + THROUGHPUT_TOLERANCE else taps


def _rounded(values: Any) -> list[float]:
    return [round(float(value), 6) for value in values]
