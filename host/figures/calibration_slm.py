"""Figure of a modulator's calibration: its response and table, their errors, how it settles, ripples and is bent."""

import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from calibration.outcome import Outcome
from calibration.phase_lut import two_half_phases, unwrapped_response
from calibration.phase_lut_fringes import GRID, complex_of
from calibration.phase_lut_settling import remaining, settling_of, shares_left
from host.calibrate.procedure import StepData
from host.calibrate.slm import held_phases, sweep_of
from host.figures.style import ACCENT, BLUE, HEIGHTS, INK, MUTED, RED, figure, heading, panels, ruled, strips

LEVELS = np.arange(256)


def draw(outcome: Outcome, data: Mapping[str, StepData], path: Path) -> None:
    """Write the figure. Of a wrong set-up it shows the reason, and how the first look's fringes moved and answered.

    Raises OSError where the file cannot be written.
    """
    if "phase_rad" not in outcome.arrays:
        with figure(path, 9.0, 4.4) as made:
            heading(made, "Phase modulator: not measured", "\n".join(textwrap.wrap(outcome.reason, 120)))
            fringes, answers = panels(strips(made, (1.0, 5.0))[1], 2)
            _look_panels(fringes, answers, data["look"])
        return
    result = outcome.result
    facts = (
        f"reaches {result['phase_range_rad'] / np.pi:.2f} pi   table {result['residual_rms_rad']:.3f} rad rms off   "
        f"stands after {result['settle_ms']:.0f} ms   ripple {result['flicker_percent']:.2f} %   "
        f"{'passed' if outcome.passed else 'not passed'}"
    )
    with figure(path, 12.0, 10.2) as made:
        heading(made, "Phase modulator, measured with the fringes of its two halves", facts)
        above, middle, below = strips(made, (1, 1, 1))
        response, table = panels(above, 2)
        _response_panel(response, outcome, data)
        _table_panel(table, outcome)
        errors, scatter = panels(middle, 2)
        _residual_panel(errors, outcome)
        _scatter_panel(scatter, outcome, data)
        steps, ripple, pattern = panels(below, 3)
        _steps_panel(steps, data["settle"])
        _ripple_panel(ripple, data["hold"])
        _pattern_panel(pattern, outcome)


def _response_panel(axes: Axes, outcome: Outcome, data: Mapping[str, StepData]) -> None:
    phase = outcome.arrays["phase_rad"]
    levels, curves = _curves(data)
    for index, curve in enumerate(curves):
        axes.plot(levels, curve, ".", color=MUTED, markersize=3, label="one sweep" if index == 0 else None)
    axes.plot(LEVELS, phase, color=BLUE, label="response")
    axes.axhline(2 * np.pi, color=RED, linewidth=0.8, linestyle="--", label="one turn")
    ruled(axes)
    axes.set(title="Phase of each grey level", xlabel="grey level", ylabel="phase above level 0 [rad]")
    axes.legend(loc="upper left")


def _table_panel(axes: Axes, outcome: Outcome) -> None:
    turns = LEVELS / 256
    axes.step(turns, outcome.arrays["lut"], where="mid", color=BLUE, label="table")
    axes.plot(turns, LEVELS, color=MUTED, linewidth=0.8, linestyle="--", label="linear to 255")
    ruled(axes)
    axes.set(title="Table: level for a wanted phase", xlabel="wanted phase [turns]", ylabel="grey level")
    axes.legend(loc="lower right")


def _residual_panel(axes: Axes, outcome: Outcome) -> None:
    lut = outcome.arrays["lut"]
    sigma = 2 * outcome.arrays["phase_sigma_rad"][lut]
    error = outcome.arrays["residual_rad"]
    turns = LEVELS / 256
    axes.fill_between(turns, error - sigma, error + sigma, color=BLUE, alpha=0.18, linewidth=0, label="2 sigma")
    axes.plot(turns, error, color=BLUE, linewidth=0.9, label="table")
    ruled(axes)
    axes.set(title="What the table leaves: rounding to levels", xlabel="wanted phase [turns]", ylabel="error [rad]")
    axes.legend(loc="upper left")


def _scatter_panel(axes: Axes, outcome: Outcome, data: Mapping[str, StepData]) -> None:
    levels, curves = _curves(data)
    phase = outcome.arrays["phase_rad"][levels]
    for curve in curves:
        axes.plot(levels, 1e3 * (curve - phase), ".", color=MUTED, markersize=4)
    sigma = 1e3 * outcome.arrays["phase_sigma_rad"]
    for sign in (-2, 2):
        label = "2 sigma of the mean" if sign > 0 else None
        axes.plot(LEVELS, sign * sigma, color=ACCENT, linewidth=1.0, label=label)
    ruled(axes)
    axes.set(title="Single sweeps against their mean (halves differ)", xlabel="grey level", ylabel="difference [mrad]")
    axes.legend(loc="upper left")


def _steps_panel(axes: Axes, watched: StepData) -> None:
    for falling, colour, name in ((False, BLUE, "up"), (True, RED, "down")):
        after_s, left = shares_left(watched, falling)
        fit = settling_of(watched, falling)
        axes.plot(1e3 * after_s, np.maximum(left, 1e-4), ".", color=colour, markersize=4)
        times_s = np.linspace(0, fit.settle_s * 1.3, 200)
        shape = remaining(fit.delay_s, fit.constant_s, times_s)
        axes.plot(1e3 * times_s, shape, color=colour, label=f"{name}: {1e3 * fit.constant_s:.1f} ms")
    axes.axhline(0.01, color=INK, linewidth=0.8, linestyle="--")
    axes.set(
        yscale="log", ylim=(5e-4, 2), xlim=(0, 350), title="Steps: 1 % left is standing", xlabel="after writing [ms]",
        ylabel="share of the step left",
    )  # fmt: skip
    ruled(axes)
    axes.legend(loc="upper right")


def _ripple_panel(axes: Axes, held: StepData) -> None:
    still, dark = held_phases(held)
    axes.plot(1e3 * (still - still.mean()), ".-", color=BLUE, linewidth=0.6, markersize=3, label="level 255")
    axes.plot(1e3 * (dark - dark.mean()), ".-", color=MUTED, linewidth=0.6, markersize=3, label="level 0")
    ruled(axes)
    low, high = axes.get_ylim()
    axes.set(ylim=(low, high + 0.35 * (high - low)), title="Held still", xlabel="picture", ylabel="phase [mrad]")
    axes.legend(loc="upper right", ncols=2)


def _pattern_panel(axes: Axes, outcome: Outcome) -> None:
    pattern: NDArray[np.float64] = outcome.arrays["fixed_pattern_rad"].reshape(GRID)
    gains = outcome.arrays["region_gains"].reshape(GRID)
    image = axes.imshow(pattern, cmap=HEIGHTS)
    middle = (pattern.max() + pattern.min()) / 2
    for (row, column), gain in np.ndenumerate(gains):
        colour = "white" if pattern[row, column] < middle else "black"
        axes.text(column, row, f"{100 * (gain - 1):+.1f} %", ha="center", va="center", fontsize=7.5, color=colour)
    axes.set(title="The panel's own phase, and response", xticks=[], yticks=[])
    bar = axes.figure.colorbar(image, ax=axes, shrink=0.85)
    bar.set_label("phase less plane [rad]")


def _look_panels(fringes: Axes, answers: Axes, look: Mapping[str, NDArray[Any]]) -> None:
    if look["off"]:
        for axes, title in ((fringes, "No modulator, no fringes"), (answers, "")):
            axes.set_axis_off()
            axes.set_title(title)
        return
    still = complex_of(look, "still")
    common = np.unwrap(np.angle((still * np.conj(still[0])).sum(axis=1)))
    fringes.plot(common, ".-", color=BLUE)
    ruled(fringes)
    fringes.set(title="Fringes while nothing changes", xlabel="picture", ylabel="phase [rad]")
    size = np.abs(complex_of(look, "answers"))
    test = np.asarray(look["test"], dtype=bool)
    answers.plot(look["levels"], size[:, test].mean(axis=1), ".-", color=BLUE, label="half that shows the level")
    answers.plot(look["levels"], size[:, ~test].mean(axis=1), ".-", color=MUTED, label="other half, level 0")
    ruled(answers)
    answers.set_ylim(bottom=0)
    answers.set(title="Amplitude of the fringes", xlabel="grey level", ylabel="fraction of full scale")
    answers.legend(loc="lower left")


def _curves(data: Mapping[str, StepData]) -> tuple[NDArray[np.int64], list[NDArray[np.float64]]]:
    """Levels, and the mean phase over the half under test for every sweep."""
    curves = []
    levels = np.zeros(0, np.int64)
    for name in sorted(data):
        if name.startswith("sweep"):
            sweep = sweep_of(data[name])
            levels, of_regions = unwrapped_response(sweep.levels, two_half_phases(sweep)[0])
            curves.append(np.asarray(of_regions[:, sweep.test].mean(axis=1)))
    return levels, curves
