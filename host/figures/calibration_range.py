"""The figure of a range's calibration: how cells' values lie against the thresholds, before and after."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from calibration.full_scale import BINS, LOWEST, WIDTH
from calibration.outcome import Outcome
from host.calibrate.procedure import StepData
from host.figures.style import ACCENT, BLUE, INK, MUTED, columns, figure, heading, panels, ruled, strips

# Bins of the figure: of WIDTH there are too many to draw.
COARSE = 16


def draw(outcome: Outcome, data: Mapping[str, StepData], path: Path, thresholds: NDArray[np.float32]) -> None:
    """Write the figure (.png). thresholds: float32 (15,), fractions of full scale. Raises OSError."""
    result = outcome.result
    with figure(path, 9.6, 5.6) as made:
        verdict = "passed" if outcome.passed else f"failed: {result['wrong_setup'] or 'limits not kept'}"
        facts = verdict
        if "product_us" in result:
            facts = f"{result['exposure_us'] / 1000:.4g} ms at gain {result['gain']:.3g}, {verdict}"
        heading(made, f"Range: {result['camera']}", facts)
        left, right = columns(made, [1.7, 1])
        above, below = strips(left, [1, 1])
        _values(panels(above, 1)[0], data["find"], thresholds, "before: 10 ms at gain 1")
        if "check" in data:
            _values(panels(below, 1)[0], data["check"], thresholds, "after: at the setting found")
        upper, lower = strips(right, [1, 1])
        _codes(panels(upper, 1)[0], data, thresholds)
        _looks(panels(lower, 1)[0], data)


def _values(axes: Axes, step: StepData, thresholds: NDArray[np.float32], title: str) -> None:
    ruled(axes)
    counts = np.asarray(step["counts"], dtype=np.float64).sum(axis=0).reshape(-1, COARSE).sum(axis=1)
    edges = LOWEST + np.arange(BINS // COARSE + 1) * WIDTH * COARSE
    axes.stairs(100 * counts / counts.sum(), edges, fill=True, color=BLUE, alpha=0.65)
    for index, level in enumerate(np.unique(thresholds)):
        axes.axvline(level, color=ACCENT, lw=0.8, label="thresholds" if index == 0 else None)
    axes.set_yscale("log")
    axes.set_xlim(-0.05, 1.05)
    axes.set_ylabel("cells, %")
    axes.set_xlabel("pooled value, fraction of full scale")
    axes.set_title(f"{title} ({float(step['exposure_us']) / 1000:.4g} ms, gain {float(step['gain']):.3g})")
    axes.legend(loc="upper right")


def _codes(axes: Axes, data: Mapping[str, StepData], thresholds: NDArray[np.float32]) -> None:
    ruled(axes)
    middles = LOWEST + (np.arange(BINS) + 0.5) * WIDTH
    codes = np.searchsorted(thresholds, middles.astype(np.float32), side="right")
    for offset, name, colour in ((-0.2, "find", MUTED), (0.2, "check", BLUE)):
        if name not in data:
            continue
        counts = np.asarray(data[name]["counts"], dtype=np.float64).sum(axis=0)
        share = 100 * np.bincount(codes, counts, minlength=16) / counts.sum()
        axes.bar(np.arange(16) + offset, share, 0.4, color=colour, label="before" if name == "find" else "after")
    axes.set_xticks(range(0, 16, 3))
    axes.set_xlabel("code")
    axes.set_ylabel("cells, %")
    axes.set_title("codes")
    axes.legend(loc="upper right")


def _looks(axes: Axes, data: Mapping[str, StepData]) -> None:
    ruled(axes)
    levels = [
        np.asarray(step["means"]) / (float(step["exposure_us"]) * float(step["gain"]))
        for name, step in sorted(data.items(), key=lambda item: (item[0] == "check", item[0]))
        if name.startswith("look") or name == "check"
    ]
    if levels:
        light = np.concatenate(levels)
        axes.plot(100 * light / light.mean(), ".-", ms=4, lw=0.8, color=INK)
        low, high = axes.get_ylim()
        axes.set_ylim(min(low, 98), max(high, 102))
    axes.set_xlabel("exposure")
    axes.set_ylabel("light, % of its mean")
    axes.set_title("is the light steady?")
