"""The pictures of docs/conventions.md: frame, orientation, centring, sign of the phase. What can be computed is."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch, Polygon, Rectangle
from numpy.typing import NDArray

from host.figures.style import (
    ACCENT,
    BLUE,
    GREEN,
    HEIGHTS,
    INK,
    LIGHT,
    MUTED,
    RED,
    RULE,
    figure,
    heading,
    panels,
    plain,
)
from optics.encoding import convolve_psf
from optics.fabrication.layout import as_seen
from optics.grid import Grid
from optics.mask import Geometry, Mask, cell_positions_m, circular_stop
from optics.materials import FUSED_SILICA, refractive_index
from optics.propagation import apply_transfer, transfer_function
from optics.psf import psf

# A letter that looks different after every flip and turn.
LETTER = np.array(
    [[1, 1, 1, 1], [1, 0, 0, 0], [1, 1, 1, 0], [1, 0, 0, 0], [1, 0, 0, 0], [1, 0, 0, 0]], dtype=np.float64
)
GREEN_M, WAVE_SIDE = 550e-9, 384
GAMMA = 0.3  # so that the cone beside the focus can be seen


def draw_frame(path: Path) -> None:
    """Light, mask and sensor from the side, and the mask as the sensor sees it."""
    with figure(path, 11, 4.3) as made:
        heading(made, "One frame for mask, sensor, PSF and scene")
        side, front = made.subplots(1, 2, width_ratios=[1.55, 1])
        _side_view(side)
        _front_view(front)


def draw_orientation(path: Path) -> None:
    """A letter as an aperture: its PSF, what it does to three points, and the fabrication files."""
    mask = _letter_mask()
    taps = psf(mask)
    scene = np.zeros((90, 120, 3), np.float32)
    for row, column in ((22, 25), (30, 88), (66, 56)):
        scene[row, column] = 1
    behind = np.moveaxis(convolve_psf(scene, taps), 0, 2)
    with figure(path, 13, 4.1) as made:
        heading(made, "Nothing is flipped on the way; only a file for a mask turned to the scene is mirrored")
        axes = panels(made, 5)
        aperture = mask.transmission * mask.stop
        pictures: list[tuple[NDArray[np.floating], str, str]] = [
            (aperture, "the mask's array\n(aperture; row 0 on top)", "gray"),
            (taps[1], "its PSF, green\n(sensor 0.15 mm behind)", LIGHT),
            (behind[..., 1], "a scene of three points\nbehind it (convolution)", LIGHT),
            (as_seen(aperture, "sensor"), "file, structured side\nfaces the sensor", "gray"),
            (as_seen(aperture, "scene"), "file, structured side\nfaces the scene: mirrored", "gray"),
        ]
        for each, (values, title, colours) in zip(axes, pictures, strict=True):
            each.imshow(values, cmap=colours, interpolation="nearest")
            plain(each, title)
            corner = (0, 0) if "mirrored" not in title else (values.shape[1] - 1, 0)
            side = values.shape[0] * 0.045
            each.add_patch(
                Rectangle((corner[0] - 0.5 if corner[0] == 0 else corner[0] + 0.5 - side, -0.5), side, side,
                          color=ACCENT, linewidth=0)
            )  # fmt: skip
        made.supxlabel("orange: cell or pixel [0, 0]", fontsize=9, color=ACCENT)


def draw_centring(path: Path) -> None:
    """Where the axis lies in a mask, a grid and a kernel, for odd and even sizes."""
    with figure(path, 11, 4.6) as made:
        heading(made, "Where the optical axis lies")
        axes = made.subplots(2, 3)
        for row, count in enumerate((7, 8)):
            for each, name, at in zip(
                axes[row],
                ("mask: the middle of the array", "wave grid: sample n // 2", "PSF, kernel: pixel n // 2"),
                ((count - 1) / 2, count // 2, count // 2),
                strict=True,
            ):
                _cells(each, count, at, f"{name}, n = {count}")


def draw_phase(path: Path) -> None:
    """A lens that is thick in the middle gathers light at its focus; the same relief upside down spreads it."""
    distances_mm = np.linspace(0.5, 9.0, 35)
    cells, pitch_m, focus_m = 128, 4e-6, 5e-3
    across = cell_positions_m(cells, pitch_m)
    squared = across[:, np.newaxis] ** 2 + across**2
    index = refractive_index(FUSED_SILICA, GREEN_M)
    thin = (np.sqrt(squared + focus_m**2) - focus_m) / (index - 1)
    rim_m = float(thin[cells // 2].max())
    with figure(path, 13, 4.2) as made:
        heading(made, "Height delays light: a lens that is thickest in the middle converges")
        axes = made.subplots(1, 4, width_ratios=[1, 1.6, 1, 1.6])
        for number, (height_m, name) in enumerate(
            ((np.maximum(rim_m - thin, 0), "thick in the middle"), (np.minimum(thin, rim_m), "thick at the rim"))
        ):
            _relief(axes[2 * number], across, height_m[cells // 2], name)
            line = [_green_line(height_m, pitch_m, distance_mm * 1e-3) for distance_mm in distances_mm]
            axes[2 * number + 1].imshow(
                np.stack(line, axis=1) ** GAMMA,
                cmap=LIGHT,
                extent=(distances_mm[0], distances_mm[-1], 0.32, -0.32),
                aspect="auto",
            )
            axes[2 * number + 1].set(xlabel="distance behind the mask, mm", ylabel="y, mm (down)")
            axes[2 * number + 1].set_title(f"light behind it, green (to the power of {GAMMA})")


PICTURES: dict[str, Callable[[Path], None]] = {
    "convention-frame.png": draw_frame,
    "convention-orientation.png": draw_orientation,
    "convention-centring.png": draw_centring,
    "convention-phase.png": draw_phase,
}


def _letter_mask() -> Mask:
    """The letter as clear cells, so near to the sensor that its shadow is sharp."""
    side = 60
    transmission = np.zeros((side, side))
    large = np.kron(LETTER, np.ones((7, 7)))
    top, left = (side - large.shape[0]) // 2, (side - large.shape[1]) // 2
    transmission[top : top + large.shape[0], left : left + large.shape[1]] = large
    geometry = Geometry(sensor_distance_m=0.15e-3, pixel_pitch_m=4e-6, psf_px=(31, 31))
    return Mask(np.zeros((side, side)), 2e-6, geometry=geometry, stop=np.ones((side, side)), transmission=transmission)


def _green_line(height_m: NDArray[np.float64], pitch_m: float, distance_m: float) -> NDArray[np.float64]:
    """Light along y through the middle of a square relief, green, at a distance."""
    grid = Grid(WAVE_SIDE, WAVE_SIDE, pitch_m)
    field = np.zeros(grid.shape, dtype=np.complex128)
    cells = len(height_m)
    start = (WAVE_SIDE - cells) // 2
    phase = 2 * np.pi * (refractive_index(FUSED_SILICA, GREEN_M) - 1) * height_m / GREEN_M
    field[start : start + cells, start : start + cells] = circular_stop((cells, cells), pitch_m) * np.exp(1j * phase)
    behind = apply_transfer(field, transfer_function(grid, GREEN_M, distance_m))
    middle = slice(WAVE_SIDE // 2 - cells * 5 // 8, WAVE_SIDE // 2 + cells * 5 // 8)
    return np.asarray(np.abs(behind[middle, WAVE_SIDE // 2]) ** 2)


def _relief(axes: Axes, across_m: NDArray[np.float64], height_m: NDArray[np.float64], name: str) -> None:
    highest_um = float(height_m.max() * 1e6)
    back_um = -0.12 * highest_um
    outline = np.concatenate([[back_um], height_m * 1e6, [back_um]])
    rows = np.concatenate([across_m[:1], across_m, across_m[-1:]]) * 1e3
    axes.add_patch(Polygon(np.stack([outline, rows], axis=1), closed=True, facecolor="#cfe3f5", edgecolor=BLUE))
    axes.set(xlim=(-0.45 * highest_um, 1.3 * highest_um), ylim=(0.32, -0.32))
    axes.set(xlabel="height, um", ylabel="y, mm (down)")
    axes.set_title(name)
    axes.add_patch(_arrow((-0.42 * highest_um, 0), (1.1 * back_um, 0), ACCENT))
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _side_view(axes: Axes) -> None:
    axes.set(xlim=(0, 10), ylim=(4.6, -0.2))
    axes.set_aspect("equal")
    plain(axes, "from the side")
    for y in (1.1, 2.0, 2.9):
        axes.add_patch(_arrow((0.6, y), (2.7, y), ACCENT))
    axes.text(1.6, 3.4, "light from the scene", color=ACCENT, ha="center", fontsize=9)
    relief = [(3.0, 0.8), (3.25, 0.8), (3.25, 1.3), (3.4, 1.3), (3.4, 1.7), (3.25, 1.7), (3.25, 2.1), (3.5, 2.1),
              (3.5, 2.5), (3.3, 2.5), (3.3, 3.2), (3.0, 3.2)]  # fmt: skip
    axes.add_patch(Polygon(relief, closed=True, facecolor="#cfe3f5", edgecolor=BLUE))
    axes.text(3.2, 0.45, "mask", ha="center", fontsize=9, color=BLUE)
    axes.text(3.62, 3.55, "structured side", fontsize=8, color=MUTED)
    axes.add_patch(Rectangle((7.6, 0.8), 0.25, 2.4, facecolor="#d9ead3", edgecolor=GREEN))
    axes.text(7.75, 0.45, "sensor", ha="center", fontsize=9, color=GREEN)
    axes.add_patch(_arrow((3.5, 4.05), (7.6, 4.05), INK, "<->"))
    axes.text(5.5, 4.4, "sensor_distance_m", ha="center", fontsize=9)
    axes.plot([0.3, 9.2], [2.0, 2.0], color=RULE, linewidth=1, linestyle=(0, (6, 3)), zorder=0)
    axes.add_patch(_arrow((8.5, 2.0), (9.6, 2.0), INK))
    axes.text(9.7, 2.05, "z", fontsize=10, va="center")
    axes.add_patch(_arrow((8.5, 2.0), (8.5, 3.1), INK))
    axes.text(8.5, 3.4, "y, rows", fontsize=9, ha="center")
    for x, words in ((2.95, "cell [0, 0]"), (7.55, "pixel [0, 0]")):
        axes.annotate(words, (x, 0.86), xytext=(-8, 10), textcoords="offset points", ha="right", fontsize=8, color=RED,
                      arrowprops={"arrowstyle": "-", "color": RED, "linewidth": 0.8})  # fmt: skip


def _front_view(axes: Axes) -> None:
    count = 8
    shown = np.add.outer(np.arange(count), np.arange(count) * 2.0)
    axes.imshow(shown, cmap=HEIGHTS, alpha=0.35)
    for at in range(count + 1):
        axes.plot([-0.5, count - 0.5], [at - 0.5, at - 0.5], color="white", linewidth=1)
        axes.plot([at - 0.5, at - 0.5], [-0.5, count - 0.5], color="white", linewidth=1)
    axes.add_patch(Rectangle((-0.5, -0.5), 1, 1, color=RED))
    axes.text(0, 0, "[0, 0]", color="white", fontsize=7, ha="center", va="center")
    axes.add_patch(_arrow((-0.5, -1.0), (3.2, -1.0), INK))
    axes.text(3.4, -1.0, "x, columns", va="center", fontsize=9)
    axes.add_patch(_arrow((-1.0, -0.5), (-1.0, 3.2), INK))
    axes.text(-1.0, 3.5, "y,\nrows", ha="center", va="top", fontsize=9)
    axes.plot((count - 1) / 2, (count - 1) / 2, marker="+", color=INK, markersize=12)
    axes.set(xlim=(-2.2, count - 0.3), ylim=(count - 0.3, -1.7))
    plain(axes, "the mask seen from the sensor")


def _cells(axes: Axes, count: int, at: float, title: str) -> None:
    for number in range(count):
        on_axis = number == at
        axes.add_patch(Rectangle((number - 0.46, 0), 0.92, 0.6, color=ACCENT if on_axis else "#dfe6ee", linewidth=0))
        axes.text(number, 0.3, str(number), ha="center", va="center", fontsize=8, color="white" if on_axis else MUTED)
    axes.plot([at, at], [-0.35, 0.95], color=RED, linewidth=1.2)
    axes.text(at, -0.42, "axis", ha="center", va="top", fontsize=8, color=RED)
    axes.set(xlim=(-0.8, 7.8), ylim=(-0.9, 1.1))
    plain(axes, title)


def _arrow(start: tuple[float, float], end: tuple[float, float], colour: str, style: str = "->") -> FancyArrowPatch:
    return FancyArrowPatch(start, end, arrowstyle=style, mutation_scale=11, color=colour, linewidth=1.3)
