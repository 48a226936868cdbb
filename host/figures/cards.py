"""Whole figures: the card of a PSF, of a designed mask, of a comparison, of a tolerance run."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from host.figures.panels import (
    change_panel,
    codes_panel,
    energy_panel,
    height_panel,
    history_panel,
    mtf_panel,
    photograph_panel,
    psf_row,
    section_panel,
)
from host.figures.style import figure, heading
from optics.mask import Mask


@dataclass(frozen=True, eq=False)
class Example:
    """One photograph: scene float32 (rows, columns, 3), codes uint8 (cell rows, cell columns, 3) through one kernel
    and, where there are two, through another; what each is called."""

    scene: NDArray[np.float32]
    codes: NDArray[np.uint8]
    name: str
    other_codes: NDArray[np.uint8] | None = None
    other_name: str = ""


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
    """
    with figure(path, 14, 10.4 if example is not None else 7.2) as made:
        heading(made, title, facts)
        rows = made.subfigures(3 if example is not None else 2, 1, height_ratios=[1.06, 1, 1][: 3 if example else 2])
        kernels = 3 + (wanted is not None)
        if mask is not None:
            left, right = rows[0].subfigures(1, 2, width_ratios=[1.35, kernels])
            height_panel(left, left.subplots(), mask)
            psf_row(right, right.subplots(1, kernels), psf, pitch_m, wavelengths_m, wanted)
        else:
            psf_row(rows[0], rows[0].subplots(1, kernels), psf, pitch_m, wavelengths_m, wanted)
        others = [] if wanted is None else [("wanted", wanted)]
        plots = rows[1].subplots(1, 4 if history else 3)
        section_panel(plots[0], psf, pitch_m, wanted)
        mtf_panel(plots[1], psf, pitch_m, others)
        energy_panel(plots[2], psf, pitch_m, others)
        if history:
            history_panel(plots[3], history)
        if example is not None:
            _example_row(rows[2], example)


def _example_row(made: Any, example: Example) -> None:
    if example.other_codes is None:
        axes = made.subplots(1, 2)
        photograph_panel(axes[0], example.scene, "a photograph, as the mask sees it")
        codes_panel(axes[1], example.codes, f"its codes through {example.name}")
        return
    axes = made.subplots(1, 4)
    photograph_panel(axes[0], example.scene, "a photograph, as the mask sees it")
    codes_panel(axes[1], example.codes, f"codes, {example.name}")
    codes_panel(axes[2], example.other_codes, f"codes, {example.other_name}")
    share = float((example.codes != example.other_codes).mean())
    change_panel(made, axes[3], example.codes, example.other_codes, f"{share:.1%} of this photograph's codes differ")
