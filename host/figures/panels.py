"""The parts that figures are made of: height map, PSF in log scale, MTF, encircled energy, codes of a photograph."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colorbar import Colorbar
from matplotlib.colors import BoundaryNorm, ListedColormap, LogNorm
from matplotlib.figure import Figure, SubFigure
from matplotlib.image import AxesImage
from numpy.typing import NDArray

from host.figures.style import ACCENT, COLOUR_NAMES, HEIGHTS, INK, LIGHT, MUTED, RGB, plain, ruled
from optics.mask import Mask
from optics.metrics import encircled_energy, mtf

# Decades below the brightest pixel that a PSF is shown down to: what lies lower is drawn as this.
DECADES = 4
CHANGED_COLOURS = ("#f3f4f6", "#fdd49e", "#fc8d59", "#b30000")


def height_panel(made: Figure | SubFigure, axes: Axes, mask: Mask, title: str = "height map") -> None:
    """Height in micrometres over the mask in millimetres; grey where the stop is closed."""
    rows, columns = mask.height_m.shape
    pitch_mm = mask.pitch_m * 1e3
    half_x, half_y = columns * pitch_mm / 2, rows * pitch_mm / 2
    shown = np.ma.masked_where(mask.stop == 0, mask.height_m * 1e6)
    extent = (-half_x, half_x, half_y, -half_y)
    levels = np.unique(np.round(shown.compressed(), 9))
    axes.set_facecolor("#e5e7eb")
    if 1 < levels.size <= 16:
        middle = (levels[1:] + levels[:-1]) / 2
        edges = np.concatenate([[levels[0] - (middle[0] - levels[0])], middle, [2 * levels[-1] - middle[-1]]])
        norm = BoundaryNorm(edges, 256)
        image = axes.imshow(shown, cmap=HEIGHTS, norm=norm, extent=extent, interpolation="nearest")
        ticks = levels if levels.size <= 8 else levels[::3]
        bar = made.colorbar(image, ax=axes, fraction=0.046, pad=0.03, ticks=ticks, spacing="proportional")
        bar.ax.set_yticklabels([f"{level:.2f}" for level in ticks])
        bar.ax.minorticks_off()
    else:
        image = axes.imshow(shown, cmap=HEIGHTS, extent=extent, interpolation="nearest")
        bar = made.colorbar(image, ax=axes, fraction=0.046, pad=0.03)
    bar.set_label("height, um")
    _unframed(bar)
    axes.set_xlabel("x, mm")
    axes.set_ylabel("y, mm (down)")
    axes.set_title(title)


def psf_panel(
    axes: Axes, kernel: NDArray[np.floating], pitch_m: float, brightest: float, title: str, colour: str = INK
) -> AxesImage:
    """One colour's PSF over the sensor in micrometres, log scale over DECADES below `brightest`."""
    rows, columns = kernel.shape
    pitch_um = pitch_m * 1e6
    left, top = -(columns // 2 + 0.5) * pitch_um, -(rows // 2 + 0.5) * pitch_um
    extent = (left, left + columns * pitch_um, top + rows * pitch_um, top)
    floor = brightest * 10.0**-DECADES
    image = axes.imshow(
        np.maximum(kernel, floor), cmap=LIGHT, norm=LogNorm(floor, brightest), extent=extent, interpolation="nearest"
    )
    axes.set_title(title, color=colour)
    axes.set_xlabel("x, um")
    axes.tick_params(length=2)
    return image


def psf_row(
    made: Figure | SubFigure,
    axes: Sequence[Axes],
    psf: NDArray[np.floating],
    pitch_m: float,
    wavelengths_m: Sequence[float],
    wanted: NDArray[np.floating] | None = None,
    brightest: float | None = None,
) -> None:
    """Four panels: the wanted kernel or else all colours together, then R, G, B on one scale of light a pixel."""
    panels = list(axes)
    shares = psf.sum(axis=(1, 2), dtype=np.float64)
    brightest = float(psf.max()) if brightest is None else brightest
    if wanted is not None:
        # The wanted kernel has no scale of its own: it is shown as if it passed what the mask passes.
        scaled = wanted.mean(axis=0) / wanted.mean(axis=0).sum() * shares.mean()
        brightest = max(brightest, float(scaled.max()))
    images = []
    if wanted is None:
        _composite_panel(panels.pop(0), psf, pitch_m)
    else:
        title = "wanted" if np.allclose(wanted, wanted[:1]) else "wanted (mean of colours)"
        images.append(psf_panel(panels.pop(0), scaled, pitch_m, brightest, title))
    for index, (panel, wavelength_m) in enumerate(zip(panels, wavelengths_m, strict=True)):
        title = f"PSF, {COLOUR_NAMES[index]} {wavelength_m * 1e9:.0f} nm\n{shares[index]:.1%} of the light"
        images.append(psf_panel(panel, psf[index], pitch_m, brightest, title, RGB[index]))
    axes[0].set_ylabel("y, um (down)")
    for panel in axes[1:]:
        panel.set_yticklabels([])
    bar = made.colorbar(images[-1], ax=list(axes), shrink=0.8, pad=0.01, aspect=24)
    bar.set_label(f"share of light a pixel\n(log, floor {DECADES} decades down)")
    _unframed(bar)


def _composite_panel(axes: Axes, psf: NDArray[np.floating], pitch_m: float) -> None:
    rows, columns = psf.shape[1:]
    pitch_um = pitch_m * 1e6
    left, top = -(columns // 2 + 0.5) * pitch_um, -(rows // 2 + 0.5) * pitch_um
    shown = np.moveaxis(psf / psf.max(), 0, 2) ** (1 / 2.2)
    extent = (left, left + columns * pitch_um, top + rows * pitch_um, top)
    axes.imshow(shown, extent=extent, interpolation="nearest")
    axes.set_title("all colours, as seen\n(linear light)")
    axes.set_xlabel("x, um")
    axes.tick_params(length=2)


def mtf_panel(
    axes: Axes, psf: NDArray[np.floating], pitch_m: float, other: tuple[str, NDArray[np.floating]] | None = None
) -> None:
    """Contrast against frequency, R, G, B; `other`: a name and a kernel (3, h, w), dashed."""

    def curves(kernel: NDArray[np.floating]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        frequency, contrast = mtf(kernel, pitch_m)
        return frequency * 1e-3, contrast

    _two_sets(axes, curves, psf, other)
    cell_per_mm = 1e-3 / (16 * pitch_m)  # half a cycle a cell of 8 pixels
    axes.axvline(cell_per_mm, color=MUTED, linewidth=0.8, linestyle=(0, (2, 2)))
    axes.annotate("half a cycle\na cell", (cell_per_mm, 1.0), xytext=(4, 0), textcoords="offset points", va="top",
                  fontsize=7.5, color=MUTED)  # fmt: skip
    axes.set(xlabel="cycles a millimetre on the sensor", ylabel="contrast kept", ylim=(0, 1.02), xlim=(0, None))
    axes.set_title("MTF (mean over directions)")
    axes.legend(loc="upper right")


def energy_panel(
    axes: Axes, psf: NDArray[np.floating], pitch_m: float, other: tuple[str, NDArray[np.floating]] | None = None
) -> None:
    """Share of the light in the stop within a circle around the axis, R, G, B, and of `other`, dashed."""

    def curves(kernel: NDArray[np.floating]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        radius_m, share = encircled_energy(kernel, pitch_m)
        return radius_m * 1e6, share

    _two_sets(axes, curves, psf, other)
    radius_um, share = curves(psf)
    # A narrow PSF in a wide window would else be a step at the left edge.
    reached = radius_um[np.argmax((share >= 0.995 * share[:, -1:]).all(axis=0))]
    axes.set(xlabel="radius around the axis, um", ylabel="share of the light", ylim=(0, 1.02), xlim=(0, 1.15 * reached))
    axes.set_title("encircled energy")
    axes.legend(loc="lower right")


def section_panel(
    axes: Axes, psf: NDArray[np.floating], pitch_m: float, other: tuple[str, NDArray[np.floating]] | None = None
) -> None:
    """Light along the row through the axis, R, G, B, and of `other`, dashed."""

    def curves(kernel: NDArray[np.floating]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        rows, columns = kernel.shape[1:]
        return (np.arange(columns) - columns // 2) * pitch_m * 1e6, np.asarray(kernel[:, rows // 2], np.float64)

    _two_sets(axes, curves, psf, other)
    axes.set(xlabel="x, um", ylabel="share of light a pixel", ylim=(0, None))
    axes.set_title("section through the axis (y = 0)")
    axes.legend(loc="upper right")


def _two_sets(
    axes: Axes,
    curves: Callable[[NDArray[np.floating]], tuple[NDArray[np.float64], NDArray[np.float64]]],
    psf: NDArray[np.floating],
    other: tuple[str, NDArray[np.floating]] | None,
) -> None:
    """Lines for R, G, B, and dashed ones for `other`: one dark line where its colours are the same."""
    at, lines = curves(psf)
    for index, line in enumerate(lines):
        axes.plot(at, line, color=RGB[index], label=COLOUR_NAMES[index])
    if other is not None:
        name, kernel = other
        at, lines = curves(kernel)
        if np.allclose(lines, lines[:1], rtol=1e-3, atol=1e-9):
            axes.plot(at, lines[0], color=INK, linestyle="--", label=name, linewidth=1.3)
        else:
            for index, line in enumerate(lines):
                label = f"dashed: {name}" if index == 0 else None
                axes.plot(at, line, color=RGB[index], linestyle="--", label=label, linewidth=1.2)
    ruled(axes)


def photograph_panel(axes: Axes, scene: NDArray[np.float32], title: str) -> None:
    """A scene of linear light, (rows, columns, 3), as a person sees it."""
    encoded = np.where(scene <= 0.0031308, 12.92 * scene, 1.055 * np.maximum(scene, 1e-9) ** (1 / 2.4) - 0.055)
    axes.imshow(np.clip(encoded, 0, 1), interpolation="antialiased")
    plain(axes, title)


def codes_panel(axes: Axes, codes: NDArray[np.uint8], title: str) -> None:
    """Codes (rows, columns, 3) as a colour picture of cells."""
    axes.imshow(codes / 15, interpolation="nearest")
    plain(axes, title)


def change_panel(
    made: Figure | SubFigure, axes: Axes, first: NDArray[np.uint8], second: NDArray[np.uint8], title: str
) -> None:
    """In how many of the three colours the code of each cell differs."""
    differs = (first != second).sum(axis=2)
    image = axes.imshow(
        differs, cmap=ListedColormap(CHANGED_COLOURS), norm=BoundaryNorm([-0.5, 0.5, 1.5, 2.5, 3.5], 4),
        interpolation="nearest",
    )  # fmt: skip
    bar = made.colorbar(image, ax=axes, shrink=0.7, pad=0.02, ticks=[0, 1, 2, 3])
    bar.set_label("colours that differ")
    _unframed(bar)
    bar.ax.tick_params(length=0)
    plain(axes, title)


def _unframed(bar: Colorbar) -> None:
    bar.outline.set_visible(False)


def history_panel(axes: Axes, history: Sequence[dict[str, Any]]) -> None:
    """Correlation against iteration, by stage."""
    done = 0
    stages = list(dict.fromkeys(str(entry["stage"]) for entry in history))
    for stage, colour in zip(stages, (MUTED, ACCENT, INK), strict=False):
        values = [float(entry["correlation"]) for entry in history if entry["stage"] == stage]
        axes.plot(np.arange(done, done + len(values)), values, color=colour, label=stage)
        done += len(values)
    axes.set(xlabel="iteration", ylabel="correlation (mean of colours)")
    axes.set_title("how the design went")
    ruled(axes)
    axes.legend(loc="lower right")


def copies_panel(axes: Axes, aligned: NDArray[np.floating], plain: NDArray[np.floating], limit: float) -> None:
    """Share of the copies that reach at least a correlation: as mounted, and after the best shift."""
    reached = np.arange(len(aligned), 0, -1) / len(aligned)
    axes.step(np.sort(plain), reached, where="pre", color=MUTED, label="as mounted", linewidth=1.3)
    axes.step(np.sort(aligned), reached, where="pre", color=ACCENT, label="after the best shift")
    axes.axvline(limit, color=INK, linewidth=0.9, linestyle=(0, (2, 2)))
    axes.annotate(f"wanted {limit:g}", (limit, 0.02), xytext=(-4, 0), textcoords="offset points", ha="right",
                  fontsize=8, color=INK)  # fmt: skip
    lowest = float(np.percentile(np.concatenate([aligned, plain]), 1))
    axes.set(xlim=(min(lowest, limit - 0.02), 1.0), ylim=(0, 1.02))
    axes.set(xlabel="correlation with the nominal PSF", ylabel="share of copies that reach it")
    axes.set_title(f"{len(aligned)} simulated copies")
    ruled(axes)
    axes.legend(loc="lower left")


def changed_panel(axes: Axes, changed: NDArray[np.floating]) -> None:
    """Distribution over the copies of the share of codes that differ from the nominal mask's."""
    shares = np.sort(changed) * 100
    axes.hist(shares, bins=min(20, max(5, len(shares) // 4)), color=ACCENT, edgecolor="white", linewidth=0.6)
    middle = float(np.median(shares))
    axes.axvline(middle, color=INK, linewidth=1)
    axes.annotate(f"median {middle:.1f} %", (middle, 1), xycoords=("data", "axes fraction"), xytext=(4, -3),
                  textcoords="offset points", va="top", fontsize=8)  # fmt: skip
    axes.set(xlabel="codes that change, % (after the best shift)", ylabel="copies", xlim=(0, None))
    axes.set_title(f"codes, {len(shares)} copies")
    ruled(axes)


def alone_panel(axes: Axes, bars: Sequence[tuple[str, float, float | None]]) -> None:
    """What each parameter costs by itself at one standard deviation, the worst on top."""
    names = [name for name, _, _ in bars]
    drops = [drop for _, drop, _ in bars]
    axes.barh(range(len(bars)), drops, color=[ACCENT] + [MUTED] * (len(bars) - 1), height=0.62)
    for row, (_, drop, changed) in enumerate(bars):
        codes = "" if changed is None else f", {changed:.1%} of codes"
        axes.annotate(f"{drop:.4f}{codes}", (drop, row), xytext=(4, 0), textcoords="offset points", va="center",
                      fontsize=7.5)  # fmt: skip
    axes.set_yticks(range(len(bars)), names)
    axes.invert_yaxis()
    axes.set_xlim(0, max([*drops, 1e-9]) * 1.75)
    axes.set(xlabel="1 - correlation (after the best shift)")
    axes.set_title("each parameter alone, one standard deviation")
    ruled(axes)
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)


def depth_panel(axes: Axes, depths: Sequence[str], correlation_rgb: NDArray[np.floating]) -> None:
    """Correlation of each colour (depths, 3) by distance of the point, in the order given."""
    for index, colour in enumerate(RGB):
        axes.plot(correlation_rgb[:, index], color=colour, marker="o", markersize=4, label=COLOUR_NAMES[index])
    axes.set_xticks(range(len(depths)), list(depths))
    axes.set(ylabel="correlation with the PSF asked for", xlabel="distance of the point of light", ylim=(None, 1.02))
    axes.set_title("how the PSF changes with distance")
    ruled(axes)
    axes.legend(loc="lower right")


def angle_panel(
    axes: Axes,
    angles_deg: NDArray[np.floating],
    values_rgb: NDArray[np.floating],
    label: str,
    title: str,
    held: float | None = None,
) -> None:
    """Something of each colour (angles, 3) against the angle to the axis; `held`: a level to keep."""
    for index, colour in enumerate(RGB):
        axes.plot(angles_deg, values_rgb[:, index], color=colour, marker="o", markersize=4, label=COLOUR_NAMES[index])
    if held is not None:
        axes.axhline(held, color=INK, linewidth=0.9, linestyle=(0, (2, 2)))
    axes.set(xlabel="angle to the axis, degrees", ylabel=label, ylim=(min(0.0, float(values_rgb.min())), 1.02))
    axes.set_title(title)
    ruled(axes)
    axes.legend(loc="lower left")


def drift_panel(axes: Axes, angles_deg: NDArray[np.floating], drift_px: NDArray[np.floating]) -> None:
    """By how much the pattern lies beside the chief ray, (angles, 2) rows and columns."""
    axes.plot(angles_deg, drift_px[:, 0], color=INK, marker="o", markersize=4, label="down")
    axes.plot(angles_deg, drift_px[:, 1], color=ACCENT, marker="o", markersize=4, label="to the right")
    axes.set(xlabel="angle to the axis, degrees", ylabel="pixels")
    axes.set_title("drift of the pattern beside the chief ray")
    ruled(axes)
    axes.legend(loc="best")
