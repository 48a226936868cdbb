"""Whole figures: the card of a PSF, of a designed mask, of a comparison, of a tolerance run."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import SubFigure
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
from host.figures.style import columns, figure, heading, panels, strips
from optics.mask import Mask


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
        others = [] if wanted is None else [("wanted", wanted)]
        plots = panels(rows[1], 4 if history else 3)
        section_panel(plots[0], psf, pitch_m, wanted)
        mtf_panel(plots[1], psf, pitch_m, others)
        energy_panel(plots[2], psf, pitch_m, others)
        if history:
            history_panel(plots[3], history)
        if example is not None:
            _example_row(rows[2], example)


def _example_row(made: SubFigure, example: Example) -> None:
    axes = panels(made, 4)
    photograph_panel(axes[0], example.scene, "a photograph, as the mask sees it")
    codes_panel(axes[1], example.codes, f"codes, {example.name}")
    codes_panel(axes[2], example.other_codes, f"codes, {example.other_name}")
    share = float((example.codes != example.other_codes).mean())
    change_panel(made, axes[3], example.codes, example.other_codes, f"{share:.1%} of this photograph's codes differ")
