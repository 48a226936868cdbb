"""Bundles in the privacy-utility plane: what an attacker learns, against what is left to detect, with intervals."""

from collections.abc import Mapping
from pathlib import Path

from matplotlib.axes import Axes

from host.figures.style import ACCENT, BLUE, GREEN, INK, MUTED, RED, figure, heading, panels, ruled
from optics.bundle_evidence import FACE, IDENTITY, Findings, Measured

COLOURS = (ACCENT, BLUE, GREEN, RED, INK)
MARKS = ("o", "s", "^", "D", "v")
# Identity, and what is set against it.
Point = tuple[Measured | None, Measured | None]


def draw(found: Mapping[str, Findings], path: str | Path) -> None:
    """Up and to the left is better. found: bundle to what its evidence says. Raises OSError.

    A bundle without both numbers of a plane is not in it, and the plane says so. Bundles that were measured by
    different protocols have marks of different form.
    """
    faces = {name: (one.attacks.get(IDENTITY), one.attacks.get(FACE)) for name, one in found.items()}
    scenes = {name: (one.attacks.get(IDENTITY), one.detection) for name, one in found.items()}
    with figure(path, 11.0, 4.8) as made:
        facts = "bars: 95 %; up and to the left is better"
        if max(len(_protocols(faces)), len(_protocols(scenes))) > 1:
            facts += "; marks of different form were measured by different protocols and do not compare"
        heading(made, "What bundles give away, and what they keep", facts)
        face, detection = panels(made, 2)
        _plane(face, faces)
        face.set_ylabel("face or no face told right (%)")
        face.set_ylim(50, 100)
        _plane(detection, scenes)
        detection.set_ylabel("faces found in scenes (average precision, %)")
        _ceiling(detection, found)
        detection.set_ylim(0, 100)


def _protocols(points: Mapping[str, Point]) -> list[tuple[str, str]]:
    """The pairs of protocols by which the points of a plane were measured."""
    return sorted({(one.protocol, other.protocol) for one, other in points.values() if one and other})


def _plane(axes: Axes, points: Mapping[str, Point]) -> None:
    missing, protocols = [], _protocols(points)
    for number, (name, (identity, utility)) in enumerate(points.items()):
        if identity is None or utility is None:
            missing.append(name)
            continue
        axes.errorbar(
            100 * identity.value,
            100 * utility.value,
            xerr=_bars(identity),
            yerr=_bars(utility),
            fmt=MARKS[protocols.index((identity.protocol, utility.protocol)) % len(MARKS)],
            markersize=6,
            capsize=2,
            color=COLOURS[number % len(COLOURS)],
            label=name,
        )
    chances = [identity.chance for identity, _ in points.values() if identity is not None]
    for chance in sorted({each for each in chances if each is not None}):
        axes.axvline(100 * chance, color=MUTED, linewidth=0.8, linestyle=":")
    axes.set_xlabel("identity: best attacker (%); dotted: chance")
    axes.set_xlim(left=0)
    if missing:
        axes.set_title(f"not measured: {', '.join(missing)}", color=MUTED)
    ruled(axes)
    if len(missing) < len(points):
        axes.legend(loc="lower right")


def _ceiling(axes: Axes, found: Mapping[str, Findings]) -> None:
    """The unencoded picture's precision as a line for each value that bundles name."""
    for value in sorted({one.ceiling.value for one in found.values() if one.ceiling is not None}):
        axes.axhline(100 * value, color=MUTED, linewidth=0.8, linestyle="--")
        axes.annotate(
            "unencoded picture", (0.01, 100 * value), xycoords=("axes fraction", "data"), fontsize=8, color=MUTED,
            va="bottom",
        )  # fmt: skip


def _bars(measured: Measured) -> tuple[list[float], list[float]]:
    """Lengths of the bars below and above; an interval need not hold the value itself (means over seeds)."""
    return [max(0.0, 100 * (measured.value - measured.low))], [max(0.0, 100 * (measured.high - measured.value))]
