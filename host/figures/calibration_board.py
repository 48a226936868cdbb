"""A board's calibration as a figure: S-curves, the staircase, INL and DNL without and with trims, noise, hysteresis."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from calibration.comparators import chance_high
from calibration.comparators_ladder import NOISY_VOLTS
from calibration.outcome import Outcome
from host.board.thresholds import COMPARATORS, REFERENCE_VOLTS, dac_codes_to_volts
from host.calibrate.board import RESIDUAL_LIMIT_VOLTS, BoardAnalysis, analyse
from host.calibrate.board_ramps import LADDER, LADDER_CODES, LSB_VOLTS, TRIMMED, ladder_of, ramps_of, transitions_of
from host.calibrate.procedure import StepData
from host.figures.style import ACCENT, BLUE, INK, MUTED, RED, columns, figure, heading, panels, ruled, strips

_BEFORE, _AFTER = MUTED, BLUE


def draw(outcome: Outcome, data: Mapping[str, StepData], path: Path) -> None:
    """Write the figure (.png) of a concluded board calibration; of a wrong set-up, what the ladder showed. Raises
    OSError where it cannot be written."""
    verdict = "passed" if outcome.passed else "failed"
    title = f"Board {outcome.result.get('board_serial', '')}: calibration {verdict}"
    if outcome.result.get("wrong_setup"):
        with figure(path, 8.0, 4.2) as made:
            heading(made, title, str(outcome.result["wrong_setup"]).replace("_", " "))
            _ladder_panel(panels(made, 1)[0], data[LADDER])
        return
    codes = np.asarray(data[TRIMMED]["dac_codes"], dtype=np.uint16)
    found = analyse(data, codes)
    result = outcome.result
    facts = (
        f"residual {result['residual_rms_volts'] * 1e6:.0f} uV rms, {result['residual_rms_before_volts'] * 1e3:.2f} mV "
        f"before trimming; physical limit {result['physical_limit_volts'] * 1e6:.0f} uV; effective levels "
        f"{result['effective_levels']['after']} ({result['effective_levels']['wanted']} wanted, "
        f"{result['effective_levels']['before']} before)"
    )
    with figure(path, 13.5, 7.6) as made:
        heading(made, title, facts)
        upper, lower = strips(made, (1.0, 1.0))
        staircase, curves = (panels(half, 1)[0] for half in columns(upper, (1.0, 1.0)))
        _staircase_panel(staircase, found)
        _curves_panel(curves, data[TRIMMED])
        inl, dnl, residual, noise = panels(lower, 4)
        _inl_panel(inl, found)
        _dnl_panel(dnl, found)
        _residual_panel(residual, found)
        _noise_panel(noise, found)


def _staircase_panel(axes: Axes, found: BoardAnalysis) -> None:
    """Code over voltage; in an inset, the neighbourhood of the most crowded wanted level."""
    for levels, colour, width, label in (
        (found.plain.wanted_volts, ACCENT, 3.2, "wanted"),
        (found.plain.level_volts, _BEFORE, 1.2, "without trims"),
        (found.trimmed.level_volts, _AFTER, 1.2, "trimmed"),
    ):
        axes.step(*_stairs(levels), where="post", color=colour, lw=width, label=label)
    ruled(axes)
    axes.set(title="transfer", xlabel="input, V", ylabel="code", ylim=(-0.5, COMPARATORS + 0.5))
    axes.set_xlim(0, REFERENCE_VOLTS)
    axes.legend(loc="upper left")
    wanted, counts = np.unique(found.wanted_volts, return_counts=True)
    centre = wanted[counts.argmax()]
    near = np.abs(found.wanted_volts - centre) < LSB_VOLTS
    reach = 1.6 * float(np.abs(found.before_volts - found.wanted_volts)[near].max()) + 2 * LSB_VOLTS
    inset = axes.inset_axes((0.64, 0.1, 0.35, 0.34))
    for levels, colour, width in (
        (found.plain.wanted_volts, ACCENT, 3.2),
        (found.plain.level_volts, _BEFORE, 1.2),
        (found.trimmed.level_volts, _AFTER, 1.2),
    ):
        x, y = _stairs(levels)
        inset.step((x - centre) * 1e3, y, where="post", color=colour, lw=width)
    lowest = int((found.wanted_volts < centre - LSB_VOLTS).sum())
    inset.set(xlim=(-reach * 1e3, reach * 1e3), ylim=(lowest - 0.5, lowest + counts.max() + 0.5))
    inset.set_yticks(range(lowest, lowest + int(counts.max()) + 1))
    inset.set_title(f"around {centre:.3f} V, mV", fontsize=8)
    ruled(inset)


def _stairs(levels: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    x = np.concatenate([[0.0], levels, [REFERENCE_VOLTS]])
    return x, np.append(np.arange(levels.size + 1), levels.size)


def _curves_panel(axes: Axes, data: StepData) -> None:
    """Shares of high readings with the fitted curves, comparator by comparator above each other."""
    ramps, found = ramps_of(data), transitions_of(data)
    for side, (colour, at, label) in enumerate(
        ((RED, found.rising_volts, "from below"), (BLUE, found.falling_volts, "from above"))
    ):
        for i in np.flatnonzero(found.found):
            x = ramps.levels_volts[i, side]
            zero = found.transition_volts[i]
            share = ramps.highs[i, side] / ramps.reads
            axes.plot((x - zero) * 1e3, i + 0.8 * share, ".", ms=2.2, color=colour, label=label if i == 0 else None)
            fine = np.linspace(x[0], x[-1], 200)
            fitted = chance_high(fine, at[i], found.noise_volts[i])
            axes.plot((fine - zero) * 1e3, i + 0.8 * fitted, color=colour, lw=0.8)
    ruled(axes)
    axes.set(title="S-curves with trims, and fits", xlabel="input - transition, mV", ylabel="comparator")
    axes.set_yticks(range(0, COMPARATORS, 2))
    if found.found.any():
        axes.set_ylim(-1, COMPARATORS + 2.5)
        axes.legend(loc="upper left", markerscale=3, ncols=2)


def _inl_panel(axes: Axes, found: BoardAnalysis) -> None:
    codes = np.arange(1, COMPARATORS + 1)
    axes.plot(codes, found.plain.inl_volts * 1e3, "o", ms=4, color=_BEFORE, label="without trims")
    axes.plot(codes, found.trimmed.inl_volts * 1e3, "o", ms=4, color=_AFTER, label="trimmed")
    axes.axhline(0, color=INK, lw=0.6)
    ruled(axes)
    axes.set(title="INL: level - wanted level", xlabel="code", ylabel="mV")
    _legend(axes, 2)
    _in_lsb(axes)


def _dnl_panel(axes: Axes, found: BoardAnalysis) -> None:
    codes = np.arange(1, COMPARATORS)
    empty = np.isnan(found.plain.dnl_relative)
    for made, colour, label, shift in (
        (found.plain, _BEFORE, "without trims", -0.15),
        (found.trimmed, _AFTER, "trimmed", 0.15),
    ):
        values = made.dnl_volts * 1e3
        axes.vlines(codes + shift, 0, values, color=colour, lw=1.0)
        axes.plot((codes + shift)[~empty], values[~empty], "o", ms=4, color=colour, label=label)
        axes.plot((codes + shift)[empty], values[empty], "o", ms=4, mfc="white", color=colour)
    if empty.any():
        axes.plot([], [], "o", ms=4, mfc="white", color=MUTED, label="code the encoding makes empty")
    axes.axhline(0, color=INK, lw=0.6)
    ruled(axes)
    missing = ", ".join(str(code) for code in found.trimmed.missing) or "none"
    axes.set(title=f"DNL: width - wanted (missing codes: {missing})", xlabel="code", ylabel="mV")
    _legend(axes, 3)
    _in_lsb(axes)


def _residual_panel(axes: Axes, found: BoardAnalysis) -> None:
    """What trimming left, with its uncertainty, beside what it can leave at best and what is accepted."""
    counted = found.seen & ~found.at_the_ends
    comparators = np.arange(COMPARATORS)
    for sign in (-1, 1):
        axes.axhline(sign * RESIDUAL_LIMIT_VOLTS * 1e6, color=RED, lw=1.0, label="limit" if sign > 0 else None)
    axes.fill_between(
        comparators, -found.limit_volts * 1e6, found.limit_volts * 1e6, step="mid", color=ACCENT, alpha=0.25, lw=0,
        label="physical limit (1 sigma)",
    )  # fmt: skip
    axes.errorbar(
        comparators[counted], found.residual_volts[counted] * 1e6, 2e6 * found.after_sigma_volts[counted],
        fmt="o", ms=4, color=_AFTER, lw=1.0, label="trimmed, +- 2 sigma",
    )  # fmt: skip
    axes.axhline(0, color=INK, lw=0.6)
    ruled(axes)
    reach = 1.1 * RESIDUAL_LIMIT_VOLTS * 1e6
    axes.set(title="residual", xlabel="comparator", ylabel="uV", ylim=(-reach, reach))
    _legend(axes, 3)


def _noise_panel(axes: Axes, found: BoardAnalysis) -> None:
    comparators = np.arange(COMPARATORS)
    for values, sigma, colour, label in (
        (found.hysteresis_volts, found.hysteresis_sigma_volts, ACCENT, "hysteresis"),
        (found.noise_volts, found.noise_sigma_volts, BLUE, "noise (standard deviation)"),
    ):
        axes.errorbar(comparators, values * 1e3, 2e3 * sigma, fmt="o", ms=4, color=colour, lw=1.0, label=label)
    ruled(axes)
    axes.set(title="comparators, with +- 2 sigma", xlabel="comparator", ylabel="mV")
    axes.set_ylim(bottom=min(0.0, float(found.hysteresis_volts.min() * 1.1e3)))
    _legend(axes, 2)


def _legend(axes: Axes, entries: int) -> None:
    """A legend at the top, with room made for it above what is drawn; ticks at whole comparators or codes."""
    low, high = axes.get_ylim()
    axes.set_ylim(low, high + 0.085 * entries * (high - low))
    axes.legend(loc="upper left")
    axes.set_xticks(range(0, COMPARATORS + 1, 3))


def _in_lsb(axes: Axes) -> None:
    """A second scale, in LSB of the DAC."""
    second = axes.twinx()
    low, high = axes.get_ylim()
    second.set_ylim(low / (LSB_VOLTS * 1e3), high / (LSB_VOLTS * 1e3))
    second.set_ylabel("LSB of the DAC")
    for side in ("top", "left"):
        second.spines[side].set_visible(False)


def _ladder_panel(axes: Axes, data: StepData) -> None:
    found, judged = transitions_of(data), ladder_of(data)
    wanted = dac_codes_to_volts(LADDER_CODES)
    axes.plot([0, REFERENCE_VOLTS], [0, REFERENCE_VOLTS], color=MUTED, lw=0.8, label="as it should be")
    axes.plot(wanted, found.transition_volts, "o", ms=5, color=BLUE, label="transition")
    for i in np.flatnonzero(~found.found):
        axes.axvline(wanted[i], color=RED, lw=1.0, ls=":", label=f"comparator {i}: {found.state[i].replace('_', ' ')}")
    noisy = found.found & (found.noise_volts > NOISY_VOLTS)
    if noisy.any():
        at, noise = found.transition_volts[noisy], found.noise_volts[noisy]
        axes.errorbar(wanted[noisy], at, noise, fmt="none", color=ACCENT, label="noise")
    ruled(axes)
    axes.set(
        title=f"ladder over the whole range: scale {judged.gain:.3f}", xlabel="threshold, V", ylabel="transition, V"
    )
    axes.legend(loc="upper left")
