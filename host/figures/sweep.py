"""The privacy-utility plane of a sweep: every point with its intervals, the front, and what chance would give."""

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from host.figures.style import ACCENT, BLUE, MUTED, figure, heading, panels, ruled
from models.encoder.sweep_front import Joined

NEAR_CHANCE = 0.2
MOST_NAMES = 12  # more names than this on the front would cover each other


def draw(
    points: Sequence[Joined],
    front: Sequence[int],
    chance: Mapping[str, float],
    counts: Mapping[str, int],
    name: str,
    path: str | Path,
) -> None:
    """Up and to the left is better. `front`: indices of points, by rising identity. Raises OSError."""
    seeds = sorted({len(one.seeds) for one in points})
    with figure(path, 10.4, 5.8) as made:
        heading(
            made,
            f"Sweep {name}: what attackers learn, and what is left to detect",
            f"{len(points)} points, {_range(seeds)} each; bars: 95 %; identity of {counts['people']} people on "
            f"{counts['identity']} images, face on {counts['face']}",
        )
        axes = panels(made, 1)[0]
        for index, one in enumerate(points):
            _point(axes, one, index in front)
        _front(axes, [points[index] for index in front])
        _chances(axes, chance, min(one.face.low for one in points))
        _names(axes, [points[index] for index in front])
        axes.set_xlabel("identity: people named right by the best fresh attacker, balanced over people (%)")
        axes.set_ylabel("face or no face told right (%)")
        ruled(axes)
        axes.legend(loc="upper left", bbox_to_anchor=(1.01, 0.12))


def _point(axes: Axes, one: Joined, on_front: bool) -> None:
    colour = ACCENT if on_front else BLUE
    axes.errorbar(
        100 * one.identity.mean,
        100 * one.face.mean,
        xerr=_bars(one.identity.mean, one.identity.low, one.identity.high),
        yerr=_bars(one.face.mean, one.face.low, one.face.high),
        fmt="o" if on_front else "s",
        markersize=5 if on_front else 3.5,
        color=colour,
        ecolor=colour,
        elinewidth=0.9,
        alpha=1.0 if on_front else 0.45,
        zorder=3 if on_front else 2,
    )


def _front(axes: Axes, front: Sequence[Joined]) -> None:
    """A staircase: what lies below and to the right of it is beaten."""
    axes.step(
        [100 * one.identity.mean for one in front],
        [100 * one.face.mean for one in front],
        where="post",
        color=ACCENT,
        linewidth=1.3,
        label="front: nothing in the sweep is better on both axes",
    )


def _chances(axes: Axes, chance: Mapping[str, float], lowest: float) -> None:
    """Dashed lines; that of face lies below the plane where every point is far from it."""
    axes.axvline(100 * chance["identity"], color=MUTED, linestyle="--", linewidth=1, label="chance")
    axes.set_xlim(0, axes.get_xlim()[1])
    axes.text(100 * chance["identity"], 1.005, f"chance {100 * chance['identity']:.1f} %", color=MUTED, fontsize=7.5,
              transform=axes.get_xaxis_transform(), ha="left", va="bottom")  # fmt: skip
    text = f"chance {100 * chance['face']:.0f} %"
    if lowest - chance["face"] < NEAR_CHANCE:
        axes.axhline(100 * chance["face"], color=MUTED, linestyle="--", linewidth=1)
        axes.text(0.995, 100 * chance["face"], text, color=MUTED, fontsize=7.5,
                  transform=axes.get_yaxis_transform(), ha="right", va="bottom")  # fmt: skip
    else:
        axes.text(0.995, 0.01, f"{text} lies below", color=MUTED, fontsize=7.5, transform=axes.transAxes, ha="right")


def _names(axes: Axes, front: Sequence[Joined]) -> None:
    """Numbers at the points of the front, and beside the plane the names that belong to them."""
    shown = list(front)
    if len(shown) > MOST_NAMES:
        chosen = np.unique(np.linspace(0, len(shown) - 1, MOST_NAMES).round().astype(int))
        shown = [shown[index] for index in chosen]
    places: dict[tuple[float, float], list[int]] = {}
    lines = ["front: identity / face, bits of a measurement"]
    for number, one in enumerate(shown, 1):
        places.setdefault((100 * one.identity.mean, 100 * one.face.mean), []).append(number)
        shares = f"{100 * one.identity.mean:.1f} / {100 * one.face.mean:.1f} %"
        lines += textwrap.wrap(f"{number:>2}  {one.name}: {shares}, {one.bits:.0f}", 52, subsequent_indent="      ")
    for place, numbers in places.items():
        axes.annotate(
            ", ".join(map(str, numbers)), place, xytext=(4, 5), textcoords="offset points",
            color=ACCENT, fontsize=8.5, fontweight="bold",
        )  # fmt: skip
    axes.text(1.02, 1.0, "\n".join(lines), transform=axes.transAxes, va="top", fontsize=7.5)


def _bars(mean: float, low: float, high: float) -> list[list[float]]:
    return [[100 * max(mean - low, 0)], [100 * max(high - mean, 0)]]


def _range(seeds: Sequence[int]) -> str:
    if not seeds:
        return "no seed"
    return f"{seeds[0]} seed{'s' * (seeds[0] != 1)}" if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]} seeds"
