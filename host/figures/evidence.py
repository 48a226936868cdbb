"""Figures of `canopic evaluate`: encodings, what they make of a face, the privacy-utility plane, ROC, and distance.

As Figs. 3 to 6 of the CAnOPIC paper (Tan et al., ICME 2020), for every subject. The face is drawn, not photographed.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from host.figures.style import ACCENT, BLUE, GREEN, INK, MUTED, figure, heading, panels, plain, ruled
from models.evidence.report import (
    EQUAL_ERROR,
    FACE,
    GOAL_CHANCE_FACE,
    GOAL_IDENTITY,
    GOAL_IDENTITY_FACE,
    GOAL_TIMES_CHANCE,
    IDENTITY,
    headline,
)
from models.evidence.subjects import Subject
from optics.encoding import Encoding

Row = dict[str, Any]
KINDS = {
    "baseline": (MUTED, "s", "conventional"),
    "paper": (BLUE, "^", "the paper's encoders"),
    "handmade": (GREEN, "D", "hand-made masks"),
    "ours": (ACCENT, "o", "ours"),
}
PER_ROW = 6
QUICK = "QUICK: not for quoting"
BETTER = "up and to the left is better"


def draw_all(document: Mapping[str, Any], subjects: Sequence[Subject], folder: Path) -> list[Path]:
    """Every figure that the evidence has numbers for, as PNG files in `folder`. Raises OSError."""
    rows = document["subjects"]
    note = QUICK if document["quick"] else ""
    made = []
    encoded = [one for one in subjects if one.encoding is not None]
    if encoded:
        draw_encodings(encoded, folder / "encodings.png")
        made.append(folder / "encodings.png")
    draw_measurements(subjects, folder / "measurements.png")
    made.append(folder / "measurements.png")
    if any(headline(row, IDENTITY) and headline(row, FACE) for row in rows):
        draw_plane(rows, folder / "plane.png", note)
        made.append(folder / "plane.png")
    for name, found, draw in (
        ("verification.png", [row for row in rows if headline(row, EQUAL_ERROR)], draw_verification),
        ("detection.png", [row for row in rows if row.get("detection")], draw_detection),
        ("distance.png", [row for row in rows if row.get("distance")], draw_distance),
    ):
        if found:
            draw(found, folder / name, note)
            made.append(folder / name)
    return made


def draw_encodings(subjects: Sequence[Subject], path: Path) -> None:
    """Kernels (each filter scaled by its largest tap; red lets light count, blue takes it away) and thresholds."""
    lines = -(-len(subjects) // PER_ROW)
    with figure(path, 1.9 * PER_ROW, 0.7 + 3.3 * lines) as made:
        heading(
            made, "Kernels and thresholds", "kernels by their largest tap: red adds, blue subtracts; code over value"
        )
        axes = made.subplots(2 * lines, PER_ROW, squeeze=False, height_ratios=[1.25, 1] * lines)
        for number in range(lines * PER_ROW):
            line, column = divmod(number, PER_ROW)
            top, bottom = axes[2 * line, column], axes[2 * line + 1, column]
            encoding = subjects[number].encoding if number < len(subjects) else None
            if encoding is None:
                top.set_axis_off()
                bottom.set_axis_off()
                continue
            plain(top, _short(subjects[number].name))
            top.imshow(kernel_mosaic(encoding), cmap="RdBu_r", vmin=-1, vmax=1, interpolation="nearest")
            steps = np.concatenate([[0.0], encoding.thresholds, [1.0]])
            bottom.step(steps, [*range(16), 15], where="post", color=KINDS[subjects[number].kind][0])
            bottom.set_ylim(-0.5, 15.8)
            bottom.set_xlim(0, 1)
            bottom.set_yticks([0, 5, 10, 15])
            bottom.set_title(f"{encoding.effective_levels} levels, {encoding.range}", fontsize=7.5, color=MUTED)
            ruled(bottom)


def kernel_mosaic(encoding: Encoding) -> NDArray[np.float64]:
    """The kernels side by side in a square with gaps of one tap, each divided by its largest tap without sign."""
    filters, height, width = encoding.kernels.shape
    across = int(np.ceil(np.sqrt(filters)))
    down = -(-filters // across)
    mosaic = np.full((down * (height + 1) - 1, across * (width + 1) - 1), np.nan)
    for index, kernel in enumerate(encoding.kernels):
        top, left = (index // across) * (height + 1), (index % across) * (width + 1)
        mosaic[top : top + height, left : left + width] = kernel / max(float(np.abs(kernel).max()), 1e-12)
    return mosaic


def draw_measurements(subjects: Sequence[Subject], path: Path) -> None:
    """What every subject makes of a drawn face and of a drawn house: the three colours' codes as a picture."""
    pictures = (("face", drawn_face()), ("no face", drawn_house()))
    names = ["scene", *(one.name for one in subjects)]
    across = min(len(names), 2 * PER_ROW - 3)
    lines = -(-len(names) // across)
    with figure(path, 1.25 * across + 0.3, 0.8 + 2.9 * lines) as made:
        heading(made, "What is measured", "a drawn face and a drawn house; codes of the first filter, red, green, blue")
        axes = made.subplots(2 * lines, across, squeeze=False)
        for each in axes.ravel():
            plain(each)
        for number, name in enumerate(names):
            line, column = divmod(number, across)
            for row, (_, picture) in enumerate(pictures):
                cell = axes[2 * line + row, column]
                shown = picture if number == 0 else seen(subjects[number - 1], picture)
                cell.imshow(shown, interpolation="nearest")
                if row == 0:
                    cell.set_title(_short(name), fontsize=7.5, loc="center")
        for line in range(lines):
            for row, (label, _) in enumerate(pictures):
                axes[2 * line + row, 0].set_ylabel(label, color=MUTED)


def seen(subject: Subject, picture: NDArray[np.uint8]) -> NDArray[np.float64]:
    """One look of a picture as colours in 0..1: the first filter's codes over full scale."""
    look = subject.look(picture[None])
    return np.asarray(look.inputs[0, ..., :3] / look.full_scale, np.float64)


def draw_plane(rows: Sequence[Row], path: Path, note: str = "") -> None:
    """The privacy-utility plane: up and to the left is better. Bars are 95 %; the goals are shaded."""
    known = [row for row in rows if headline(row, IDENTITY) and headline(row, FACE)]
    first = headline(known[0], IDENTITY)
    chance = first["chance"] if first else 0.0
    with figure(path, 11.0, 6.2) as made:
        facts = (
            f"mean of the strongest attacker's seeds; bars: 95 %; up and to the left is better {note and '; ' + note}"
        )
        heading(made, "What attackers learn, and what is left to detect", facts)
        axes = panels(made, 1)[0]
        drawn: set[str] = set()
        tops = []
        for number, row in enumerate(known, 1):
            who, face = headline(row, IDENTITY), headline(row, FACE)
            if who is None or face is None:
                continue
            colour, mark, words = KINDS[row["kind"]]
            x, y = 100 * who["mean"], 100 * face["mean"]
            axes.errorbar(x, y, xerr=_bars(who), yerr=_bars(face), fmt=mark, color=colour, markersize=6, linewidth=0,
                          elinewidth=0.9, alpha=0.9, label=None if words in drawn else words, zorder=3)  # fmt: skip
            axes.annotate(str(number), (x, y), (5, 4), textcoords="offset points", fontsize=8, color=colour, zorder=4)
            drawn.add(words)
            tops.append((number, row["name"], row["build"]))
        right = axes.get_xlim()[1]
        low = min(axes.get_ylim()[0], 100 * GOAL_CHANCE_FACE - 4)
        for width, height in ((GOAL_IDENTITY, GOAL_IDENTITY_FACE), (GOAL_TIMES_CHANCE * chance, GOAL_CHANCE_FACE)):
            size = (100 * width, 100.5 - 100 * height)
            axes.add_patch(Rectangle((0, 100 * height), *size, color=ACCENT, alpha=0.13, linewidth=0, zorder=0))
        axes.axvline(100 * chance, color=MUTED, linestyle="--", linewidth=1)
        axes.text(100 * chance, 1.005, f"chance {100 * chance:.1f} %", transform=axes.get_xaxis_transform(),
                  fontsize=7.5, color=MUTED, va="bottom")  # fmt: skip
        axes.set_xlim(0, right)
        axes.set_ylim(low, 100.5)
        axes.set_xlabel("identity: people named right (%)")
        axes.set_ylabel("face or no face told right (%)")
        ruled(axes)
        words = "\n".join(
            f"{number:2d}  {name}{' *' if build in ('mask', 'pair') else ''}" for number, name, build in tops
        )
        axes.legend(loc="lower right")
        axes.text(1.02, 1.0, words + "\n\n*  can be built\nshaded: the two goals", transform=axes.transAxes, va="top",
                  fontsize=8, linespacing=1.5, color=INK)  # fmt: skip


def draw_verification(rows: Sequence[Row], path: Path, note: str = "") -> None:
    """ROC of verification on unseen people, the strongest attacker of each subject."""
    with figure(path, 9.2, 5.2) as made:
        heading(
            made,
            "Same person or not, for people nobody learned",
            f"strongest attacker, mean of its seeds{note and '; ' + note}",
        )
        axes = panels(made, 1)[0]
        for number, row in enumerate(rows):
            best = headline(row, EQUAL_ERROR)
            if best is None or "curve" not in best:
                continue
            words = f"{row['name']} ({100 * best['mean']:.1f} % equal error)"
            curve = best["curve"]
            axes.plot(100 * np.array(curve["false_accept"]), 100 * np.array(curve["true_accept"]), label=words,
                      **_line(row, number))  # fmt: skip
        points = np.geomspace(0.1, 100, 50)
        axes.plot(points, points, color=MUTED, linestyle="--", linewidth=1, label="chance")
        axes.set_xscale("log")
        axes.set_xlim(0.1, 100)
        axes.set_ylim(0, 100)
        axes.set_xlabel("false accepts (%)")
        axes.set_ylabel("true accepts (%)")
        ruled(axes)
        axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), fontsize=7.5)


def draw_detection(rows: Sequence[Row], path: Path, note: str = "") -> None:
    """The discrete ROC of face detection in scenes (see `models.evidence.roc`)."""
    with figure(path, 9.2, 5.2) as made:
        heading(made, "Faces found in scenes", f"discrete ROC at IoU 0.5; AP beside each name{note and '; ' + note}")
        axes = panels(made, 1)[0]
        for number, row in enumerate(rows):
            found = row["detection"]
            words = f"{row['name']} (AP {found['ap']['value']:.3f})"
            curve = found["roc"]
            axes.plot(curve["false_positives"], 100 * np.array(curve["true_positive_rate"]), label=words,
                      drawstyle="steps-post", **_line(row, number))  # fmt: skip
        axes.set_xlabel("false positives in all photographs")
        axes.set_ylabel("faces found (%)")
        axes.set_xscale("symlog", linthresh=10)
        axes.set_ylim(0, 100)
        axes.set_xlim(left=0)
        ruled(axes)
        axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), fontsize=7.5)


def draw_distance(rows: Sequence[Row], path: Path, note: str = "") -> None:
    """Identity and face or no face against the size of the face in pixels, bands of 95 %."""
    with figure(path, 11.0, 4.8) as made:
        heading(
            made,
            "Against the size of the face",
            f"the strongest attacker tried at each size; bands: 95 %{note and '; ' + note}",
        )
        both = panels(made, 2)
        for number, row in enumerate(rows):
            found = row["distance"]
            for axes, name in zip(both, ("identity", "face"), strict=True):
                if name in found:
                    _band(axes, found, name, row, number)
        both[0].axhline(100 * rows[0]["distance"]["chance"], color=MUTED, linestyle="--", linewidth=1, label="chance")
        for axes, words in zip(both, ("people named right (%)", "face or no face told right (%)"), strict=True):
            axes.set_xlabel("larger side of the face (px)")
            axes.set_ylabel(words)
            ruled(axes)
        both[0].set_ylim(bottom=0)
        both[0].legend(fontsize=7.5)


def _band(axes: Axes, found: Mapping[str, Any], name: str, row: Row, number: int) -> None:
    line = _line(row, number)
    bounds = 100 * np.array(found[f"{name}_95"])
    axes.fill_between(found["sizes_px"], bounds[:, 0], bounds[:, 1], color=line["color"], alpha=0.12, linewidth=0)
    axes.plot(found["sizes_px"], 100 * np.array(found[name]), marker="o", markersize=3, label=row["name"], **line)


def drawn_face() -> NDArray[np.uint8]:
    """A face of nobody, sRGB uint8 (64, 64, 3): ellipses for hair, skin, eyes, brows, nose and mouth."""
    image = np.empty((256, 256, 3), np.uint8)
    image[:] = np.linspace(70, 120, 256).astype(np.uint8)[:, None, None] * np.array([0.9, 1.0, 1.15])
    cv2.ellipse(image, (128, 270), (110, 60), 0, 0, 360, (52, 70, 110), -1)
    cv2.ellipse(image, (128, 118), (84, 104), 0, 0, 360, (58, 40, 28), -1)
    cv2.ellipse(image, (128, 134), (66, 88), 0, 0, 360, (214, 168, 138), -1)
    cv2.ellipse(image, (146, 140), (46, 74), 0, 0, 360, (226, 184, 154), -1)
    for x in (102, 154):
        cv2.ellipse(image, (x, 104), (17, 4), 0, 180, 360, (60, 42, 32), 5)
        cv2.ellipse(image, (x, 120), (13, 7), 0, 0, 360, (244, 240, 236), -1)
        cv2.circle(image, (x, 120), 6, (52, 38, 30), -1)
    cv2.ellipse(image, (128, 152), (9, 14), 0, 20, 160, (176, 124, 100), 4)
    cv2.ellipse(image, (128, 184), (24, 8), 0, 0, 360, (172, 84, 82), -1)
    return np.asarray(cv2.resize(image, (64, 64), interpolation=cv2.INTER_AREA), np.uint8)


def drawn_house() -> NDArray[np.uint8]:
    """No face: a house in front of the sky, sRGB uint8 (64, 64, 3)."""
    image = np.empty((256, 256, 3), np.uint8)
    image[:] = (150, 186, 222)
    image[176:] = (96, 132, 74)
    cv2.rectangle(image, (56, 108), (204, 208), (196, 178, 150), -1)
    cv2.fillPoly(image, [np.array([[40, 112], [130, 44], [220, 112]], np.int32)], (136, 62, 50))
    for x in (76, 158):
        cv2.rectangle(image, (x, 126), (x + 28, 154), (64, 84, 104), -1)
    cv2.rectangle(image, (116, 148), (146, 208), (84, 58, 44), -1)
    return np.asarray(cv2.resize(image, (64, 64), interpolation=cv2.INTER_AREA), np.uint8)


def _line(row: Row, number: int) -> dict[str, Any]:
    return {"color": KINDS[row["kind"]][0], "linestyle": ("-", "--", "-.", ":")[number % 4], "linewidth": 1.4}


def _bars(found: Mapping[str, Any]) -> list[list[float]]:
    low, high = found["interval_95"]
    return [[100 * max(0.0, found["mean"] - low)], [100 * max(0.0, high - found["mean"])]]


def _short(name: str) -> str:
    """A name on two lines where it is long."""
    words = name.replace("_", " ").split()
    half = -(-len(words) // 2)
    return name if len(name) <= 14 else " ".join(words[:half]) + "\n" + " ".join(words[half:])
