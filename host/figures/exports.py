"""What a maker gets, on one page: the relief as seen looking at it, a section, the etchings, the display's picture."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from numpy.typing import NDArray
from PIL import Image

from host.figures.panels import height_panel
from host.figures.style import ACCENT, MUTED, RULE, columns, figure, heading, panels, plain, ruled, strips
from optics.fabrication.gds import etch_masks
from optics.fabrication.layout import Faces, Outside, as_made, as_seen
from optics.mask import Mask, cell_positions_m

MOST_ETCHES = 5
ETCHED = "Blues"


def export_card(
    path: Path, mask: Mask, faces: Faces, outside: Outside, picture: Path | None, *, title: str, facts: str
) -> None:
    """The relief, its middle row, each etching of lithography, and the phase picture at `picture`, as one PNG.

    All as seen looking at the structured side, which is how the files show it. Raises FabricationError where the figure
    cannot be written, OSError where the picture cannot be read.
    """
    height = as_seen(as_made(mask, outside), faces)
    seen = replace(
        mask, height_m=height, stop=as_seen(mask.stop, faces), transmission=as_seen(mask.transmission, faces)
    )
    etches = etch_masks(height)[:MOST_ETCHES]
    small = len(etches) + (picture is not None)
    with figure(path, 13, 7.6 if small else 4.4) as made:
        heading(made, title, facts)
        rows = strips(made, [1.25, 1]) if small else strips(made, [1])
        left, right = columns(rows[0], [1, 1.7])
        relief = left.subplots()
        height_panel(
            left, relief, seen, f"relief, structured side ({'as the array' if faces == 'sensor' else 'mirrored'})"
        )
        _corner(relief, seen, faces)
        _section(right.subplots(), seen)
        if not small:
            return
        axes = panels(rows[1], small)
        for number, (place, etch) in enumerate(zip(axes, etches, strict=False)):
            _cells(
                place,
                etch.opened,
                ETCHED,
                f"etching {number + 1}: {etch.depth_m * 1e9:.1f} nm\n{etch.opened.mean():.0%} open",
            )
        if picture is not None:
            with Image.open(picture) as opened:
                drive = np.asarray(opened)
            _cells(axes[-1], drive, "gray", f"{picture.name}: drive levels\n{drive.shape[1]} x {drive.shape[0]} pixels")


def _corner(axes: Axes, mask: Mask, faces: Faces) -> None:
    rows, columns_ = mask.height_m.shape
    side_mm = max(rows, columns_) * mask.pitch_m * 1e3 / 16
    x_mm = (-1 if faces == "sensor" else 1) * columns_ * mask.pitch_m * 1e3 / 2
    y_mm = -rows * mask.pitch_m * 1e3 / 2
    axes.add_patch(Rectangle((min(x_mm, x_mm - side_mm * np.sign(x_mm)), y_mm), side_mm, side_mm, color=ACCENT))
    beside = 1.3 * side_mm if faces == "sensor" else -1.3 * side_mm
    axes.text(
        x_mm + beside, y_mm + side_mm / 2, "[0, 0]", color=ACCENT, fontsize=8, va="center",
        ha="left" if faces == "sensor" else "right",
    )  # fmt: skip


def _section(axes: Axes, mask: Mask) -> None:
    across_mm = cell_positions_m(mask.height_m.shape[1], mask.pitch_m) * 1e3
    line_um = mask.height_m[mask.height_m.shape[0] // 2] * 1e6
    axes.fill_between(across_mm, line_um, step="mid", color=RULE)
    axes.step(across_mm, line_um, where="mid", color=MUTED, linewidth=0.9)
    axes.set_xlabel("x, mm")
    axes.set_ylabel("height, um")
    axes.set_ylim(0, max(float(mask.height_m.max()) * 1e6 * 1.1, 1e-3))
    axes.margins(x=0)
    axes.set_title("section through the middle row (height magnified)")
    ruled(axes)


def _cells(axes: Axes, shown: NDArray[np.generic], colours: str, title: str) -> None:
    axes.imshow(shown, cmap=colours, interpolation="nearest")
    plain(axes, title)
