"""Whole figures: the card of a PSF, of a designed mask, of a comparison, of a tolerance run."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import SubFigure
from numpy.typing import NDArray

from host.figures.panels import (
    alone_panel,
    angle_panel,
    change_panel,
    changed_panel,
    codes_panel,
    copies_panel,
    depth_panel,
    drift_panel,
    energy_panel,
    height_panel,
    history_panel,
    mtf_panel,
    photograph_panel,
    psf_panel,
    psf_row,
    section_panel,
)
from host.figures.style import GREEN, columns, figure, heading, panels, strips
from optics.mask import Mask

MOST_DEPTHS = 6


@dataclass(frozen=True, eq=False)
class Example:
    """One photograph: scene float32 (rows, columns, 3), its codes uint8 (cell rows, cell columns, 3) through one kernel
    and through another, and what each is called."""

    scene: NDArray[np.float32]
    name: str
    codes: NDArray[np.uint8]
    other_name: str
    other_codes: NDArray[np.uint8]


def psf_card(
    path: Path,
    psf: NDArray[np.floating],
    pitch_m: float,
    wavelengths_m: Sequence[float],
    *,
    title: str,
    facts: str,
    mask: Mask | None = None,
    wanted: NDArray[np.floating] | None = None,
    example: Example | None = None,
    history: Sequence[dict[str, Any]] = (),
) -> None:
    """Height map, PSF per colour, section, MTF, encircled energy, and codes of a photograph, as one PNG.

    psf: (3, rows, columns); wanted: the same shape, for the dashed lines and the first PSF panel.
    Raises OSError where the file cannot be written.
    """
    with figure(path, 14, 10.4 if example is not None else 7.2) as made:
        heading(made, title, facts)
        rows = strips(made, [1.06, 1, 1] if example is not None else [1.06, 1])
        if mask is not None:
            left, right = columns(rows[0], [1.35, 4])
            height_panel(left, left.subplots(), mask)
        else:
            right = rows[0]
        psf_row(right, panels(right, 4), psf, pitch_m, wavelengths_m, wanted)
        plots = panels(rows[1], 4 if history else 3)
        other = None if wanted is None else ("wanted", _as_bright(wanted, psf))
        _plots(plots, psf, pitch_m, other)
        if history:
            history_panel(plots[3], history)
        if example is not None:
            _example_row(rows[2], example)


def comparison_card(
    path: Path,
    kernels: tuple[NDArray[np.floating], NDArray[np.floating]],
    names: tuple[str, str],
    pitch_m: float,
    wavelengths_m: Sequence[float],
    *,
    facts: str,
    example: Example,
) -> None:
    """Two kernels (3, h, w) of one window: each colour, sections, MTF, encircled energy, and codes of a photograph.

    Raises OSError where the file cannot be written.
    """
    brightest = max(float(kernel.max()) for kernel in kernels)
    with figure(path, 14, 13.6) as made:
        heading(made, f"{names[0]} and {names[1]}", facts)
        rows = strips(made, [1.06, 1.06, 1, 1])
        for row, kernel, name in zip(rows, kernels, names, strict=False):
            axes = panels(row, 4)
            psf_row(row, axes, kernel, pitch_m, wavelengths_m, brightest=brightest)
            axes[0].set_title(f"{name}\nall colours, as seen")
        _plots(panels(rows[2], 3), kernels[0], pitch_m, (names[1], kernels[1]))
        _example_row(rows[3], example)


def depth_card(
    path: Path,
    psfs: NDArray[np.floating],
    depths_m: Sequence[float],
    pitch_m: float,
    correlation_rgb: Sequence[Sequence[float]],
    *,
    title: str,
) -> None:
    """The green PSF at each distance of the point, and the correlation of all colours with the mask's own PSF.

    psfs: (distances, 3, rows, columns). Raises OSError where the file cannot be written.
    """
    with figure(path, 14, 6.4) as made:
        heading(made, title)
        above, below = strips(made, [1, 1])
        shown = np.unique(np.linspace(0, len(depths_m) - 1, MOST_DEPTHS).round().astype(int))
        brightest = float(psfs[:, 1].max())
        axes = panels(above, len(shown))
        for each, index in zip(axes, shown, strict=True):
            psf_panel(each, psfs[index, 1], pitch_m, brightest, f"green, point at {_far(depths_m[index])}", GREEN)
        axes[0].set_ylabel("y, um (down)")
        depth_panel(panels(below, 1)[0], [_far(each) for each in depths_m], np.asarray(correlation_rgb))


def field_card(path: Path, field: dict[str, Any], *, title: str) -> None:
    """How far shift-invariance holds: correlation, drift and light by angle. field: of `FieldDependence.summary`.

    Raises OSError where the file cannot be written.
    """
    with figure(path, 13, 4.4) as made:
        heading(made, title)
        axes = panels(made, 3)
        angles = np.asarray(field["angles_deg"])
        angle_panel(axes[0], angles, np.asarray(field["correlation_with_axis"]), "correlation with the PSF on the axis",
                    "how far one PSF holds", field["held_at_correlation"])  # fmt: skip
        angle_panel(axes[1], angles, np.asarray(field["throughput"]), "light in the window", "light by angle")
        drift_panel(axes[2], angles, np.asarray(field["drift_px"]))


def _far(depth_m: float) -> str:
    return "infinity" if math.isinf(depth_m) else f"{depth_m * 1e3:g} mm"


@dataclass(frozen=True, slots=True)
class Bar:
    """What one parameter does by itself: its name, what the correlation loses, and the share of codes that change."""

    name: str
    drop: float
    changed: float | None


def tolerance_card(
    path: Path,
    *,
    title: str,
    facts: str,
    aligned: NDArray[np.floating],
    plain: NDArray[np.floating],
    limit: float,
    changed: NDArray[np.floating],
    alone: Sequence[Bar],
) -> None:
    """Distribution of correlation and of changed codes over the copies, and each parameter by itself.

    aligned, plain, changed: one value per copy (changed may be empty). Raises OSError where it cannot be written.
    """
    with figure(path, 13, 4.6) as made:
        heading(made, title, facts)
        axes = panels(made, 3 if len(changed) else 2)
        copies_panel(axes[0], aligned, plain, limit)
        if len(changed):
            changed_panel(axes[1], changed)
        alone_panel(axes[-1], [(bar.name, bar.drop, bar.changed) for bar in alone])


def _plots(
    axes: Sequence[Axes],
    psf: NDArray[np.floating],
    pitch_m: float,
    other: tuple[str, NDArray[np.floating]] | None,
) -> None:
    section_panel(axes[0], psf, pitch_m, other)
    mtf_panel(axes[1], psf, pitch_m, other)
    energy_panel(axes[2], psf, pitch_m, other)


def _as_bright(wanted: NDArray[np.floating], psf: NDArray[np.floating]) -> NDArray[np.floating]:
    """The wanted kernel, which has no scale of its own, as if it passed what the mask passes (mean of the colours)."""
    light = psf.sum(axis=(1, 2), dtype=np.float64).mean()
    return np.asarray(wanted / wanted.sum(axis=(1, 2), keepdims=True) * light)


def _example_row(made: SubFigure, example: Example) -> None:
    axes = panels(made, 4)
    photograph_panel(axes[0], example.scene, "a photograph")
    codes_panel(axes[1], example.codes, f"codes, {example.name}")
    codes_panel(axes[2], example.other_codes, f"codes, {example.other_name}")
    share = float((example.codes != example.other_codes).mean())
    change_panel(made, axes[3], example.codes, example.other_codes, f"{share:.1%} of this photograph's codes differ")
