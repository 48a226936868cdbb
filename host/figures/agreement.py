"""Shares of equal codes, one row for each calibration that the model knows, beside two exposures of the twin."""

from pathlib import Path

import numpy as np

from host.figures.style import ACCENT, BLUE, MUTED, figure, heading, panels, ruled
from host.seal.agreement import Agreement


def draw(found: Agreement, path: str | Path) -> None:
    """Points are photographs, bars their mean with its 95 % interval. Raises OSError."""
    rows = [*found.rows, found.exposures]
    with figure(path, 9.2, 1.2 + 0.5 * len(rows)) as made:
        heading(
            made,
            "Codes predicted from the sealed bundle, and the twin's",
            f"{len(found.names)} photographs, {found.cells} cells each, {found.levels} effective levels",
        )
        axes = panels(made, 1)[0]
        for place, row in enumerate(rows):
            colour = ACCENT if row is found.exposures else BLUE
            axes.barh(place, row.share, height=0.55, color=colour, alpha=0.25)
            error = [[max(row.share - row.low, 0)], [max(row.high - row.share, 0)]]
            axes.errorbar(row.share, place, xerr=error, color=colour, capsize=4, fmt="none", linewidth=1.8)
            spread = place + np.linspace(-0.2, 0.2, len(row.per_image))
            axes.plot(row.per_image, spread, "o", color=MUTED, markersize=2.5, alpha=0.8)
            axes.text(1.02, place, f"{row.share:.1%}", va="center", color=colour, fontweight="bold")
        axes.set_yticks(range(len(rows)), [*(row.name for row in found.rows), "two exposures (limit)"])
        axes.invert_yaxis()
        axes.set_xlim(0, 1)
        axes.set_xlabel("share of cells with equal codes")
        ruled(axes)
