"""One look for all figures, and the way from a figure to a file: no display, no global figure, the same bytes again."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure, SubFigure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from optics.whole_file import whole_file

DPI = 110
RED, GREEN, BLUE = "#c0392b", "#1e8449", "#2259a8"
RGB = (RED, GREEN, BLUE)
COLOUR_NAMES = ("red", "green", "blue")
INK, MUTED, RULE, ACCENT = "#1f2328", "#6a737d", "#d8dee4", "#b35900"
HEIGHTS, LIGHT = "cividis", "inferno"  # perceptually uniform; light on a dark ground, heights on a calm one

STYLE: Any = {  # Matplotlib types its keys one by one
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "axes.labelsize": 8.5,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "axes.linewidth": 0.7,
    "axes.grid": False,
    "grid.color": RULE,
    "grid.linewidth": 0.7,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "text.color": INK,
}


@contextmanager
def figure(path: str | Path, width_in: float, height_in: float) -> Iterator[Figure]:
    """A figure to draw on; at the end of the block it is written to `path` (.png), whole or not at all.

    Its folder is made. Raises OSError, which names `path` or the folder, where it cannot be written.
    """
    with matplotlib.rc_context(STYLE):
        layout = ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.08, wspace=0.03, hspace=0.05)
        made = Figure(figsize=(width_in, height_in), dpi=DPI, layout=layout, facecolor="white")
        canvas = FigureCanvasAgg(made)
        yield made
        with whole_file(Path(path)) as partial, partial.open("wb") as file:
            # Without the name and version of the program, so that the same figure has the same bytes.
            canvas.print_png(file, metadata={"Software": None})  # type: ignore[no-untyped-call]


def heading(made: Figure, title: str, facts: str = "") -> None:
    """Title of a figure, and a line of facts below it."""
    made.suptitle(title + ("\n" if facts else ""), x=0.012, ha="left", fontsize=12.5, fontweight="bold")
    if facts:
        # Placed in the empty second line of the title, for which the layout has left room.
        made.text(0.0125, 1 - 0.36 / made.get_size_inches()[1], facts, fontsize=9, color=MUTED, va="top")


def strips(made: Figure | SubFigure, heights: Sequence[float]) -> list[SubFigure]:
    """The figure cut into strips, one below the other, of these relative heights."""
    return list(made.subfigures(len(heights), 1, height_ratios=heights, squeeze=False).ravel())


def columns(made: Figure | SubFigure, widths: Sequence[float]) -> list[SubFigure]:
    """The figure cut into columns of these relative widths."""
    return list(made.subfigures(1, len(widths), width_ratios=widths, squeeze=False).ravel())


def panels(made: Figure | SubFigure, count: int) -> list[Axes]:
    """So many axes side by side."""
    return list(made.subplots(1, count, squeeze=False).ravel())


def plain(axes: Axes, title: str = "") -> None:
    """A picture without axes."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_title(title)
    for spine in axes.spines.values():
        spine.set_visible(False)


def ruled(axes: Axes) -> None:
    """A plot with a light grid and without a box."""
    axes.grid(visible=True)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
