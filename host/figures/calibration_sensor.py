"""The figure of a sensor's calibration: photon transfer, signal to noise, linearity, dark signal over time."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from calibration.outcome import Outcome
from calibration.photon_fits import QUANTISATION_DN2
from calibration.photon_stacks import StackStatistics, from_arrays
from calibration.photon_transfer import GAIN_RANGE, LINEARITY_RANGE
from host.calibrate.procedure import StepData
from host.figures.style import ACCENT, BLUE, GREEN, INK, MUTED, RED, figure, heading, panels, ruled, strips

COLOURS = {"R": RED, "G": GREEN, "B": BLUE}


def draw(outcome: Outcome, data: Mapping[str, StepData], path: Path) -> None:
    """Write the figure (.png). Where the set-up was wrong, what was measured until then. Raises OSError."""
    result = outcome.result
    light = sorted([*_stacks(data, "light"), *_stacks(data, "reference")], key=lambda stack: stack.exposure_us)
    dark = sorted(_stacks(data, "dark"), key=lambda stack: stack.exposure_us)
    bayer = bytes(np.asarray(data["meter"]["bayer"], np.uint8)).decode(errors="replace")
    colours = [COLOURS.get(name, INK) for name in bayer] if len(bayer) == 4 else [INK] * 4
    with figure(path, 9.6, 7.4) as made:
        verdict = "passed" if outcome.passed else f"failed: {result['wrong_setup'] or 'limits not kept'}"
        heading(made, f"Sensor: {result['camera']}", f"photon transfer at gain 1, {result['bits']} bits, {verdict}")
        above, below = strips(made, [1, 1])
        transfer, noise = panels(above, 2)
        linear, darkness = panels(below, 2)
        _transfer(transfer, outcome, light, colours)
        _signal_to_noise(noise, outcome, light, colours)
        _linearity(linear, outcome, light, colours)
        _darkness(darkness, outcome, dark, colours)


def _stacks(data: Mapping[str, StepData], kind: str) -> list[StackStatistics]:
    found = [step for name, step in data.items() if name.startswith(kind) and "skipped" not in step]
    return [from_arrays({key: value for key, value in step.items() if key != "cover"}) for step in found]


def _black(outcome: Outcome, stacks: Sequence[StackStatistics]) -> NDArray[np.float64]:
    return outcome.arrays.get("black_sites_dn", stacks[0].reported_black_dn if stacks else np.zeros(4))


def _empty(axes: Axes, title: str) -> None:
    axes.set_title(title)
    axes.text(0.5, 0.5, "not measured", ha="center", va="center", color=MUTED, transform=axes.transAxes)
    axes.set_xticks([])
    axes.set_yticks([])


def _transfer(axes: Axes, outcome: Outcome, light: Sequence[StackStatistics], colours: list[str]) -> None:
    title = "photon transfer: variance over mean"
    if not light:
        return _empty(axes, title)
    ruled(axes)
    black = _black(outcome, light)
    for site in range(4):
        x = np.array([stack.mean_dn[site] for stack in light]) - black[site]
        y = np.array([stack.temporal_dn2[site] for stack in light])
        seen = (x > 0) & (y > 1e-4)
        axes.plot(x[seen], y[seen], ".", ms=5, color=colours[site], alpha=0.8)
    gain, noise = outcome.result.get("system_gain_dn_per_e"), outcome.result.get("read_noise_e")
    if gain and noise is not None:
        end = outcome.result["full_well_e"] * gain
        x = np.geomspace(end / 3000, end, 100)
        offset = (noise * gain) ** 2 + QUANTISATION_DN2
        used = x <= GAIN_RANGE[1] * end
        most = "at most " if outcome.result["read_noise_is_upper_limit"] else ""
        axes.plot(x[used], offset + gain * x[used], color=INK, lw=1.2, label=f"K = {gain:.4g} DN per electron")
        axes.plot(x[~used], offset + gain * x[~used], color=INK, lw=1, ls=":")
        axes.axhline(offset, color=MUTED, lw=0.9, ls="--", label=f"in the dark: {most}{noise:.2f} e, and rounding")
        axes.axvline(outcome.result["saturation_capacity_e"] * gain, color=ACCENT, lw=0.9, label="saturation capacity")
        axes.legend(loc="upper left")
        axes.set_ylim(bottom=offset / 3)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("mean above black level, DN")
    axes.set_ylabel("temporal variance, DN$^2$")
    axes.set_title(title)
    return None


def _signal_to_noise(axes: Axes, outcome: Outcome, light: Sequence[StackStatistics], colours: list[str]) -> None:
    title = "signal to noise"
    gain = outcome.result.get("system_gain_dn_per_e")
    if not (light and gain):
        return _empty(axes, title)
    ruled(axes)
    black = _black(outcome, light)
    end = outcome.result["saturation_capacity_e"]
    for site in range(4):
        x = (np.array([stack.mean_dn[site] for stack in light]) - black[site]) / gain
        y = np.array([stack.temporal_dn2[site] for stack in light])
        seen = (x > 0) & (x <= 1.02 * end)
        axes.plot(x[seen], 20 * np.log10(x[seen] * gain / np.sqrt(y[seen])), ".", ms=5, color=colours[site], alpha=0.8)
    x = np.geomspace(max(outcome.result["threshold_e"], 1), end, 100)
    noise = outcome.result["read_noise_e"] ** 2 + QUANTISATION_DN2 / gain**2
    spread = outcome.result["prnu_percent"] / 100
    axes.plot(x, 20 * np.log10(x / np.sqrt(noise + x)), color=INK, lw=1.2, label="one pixel over time")
    total = noise + x + outcome.result["dsnu_e"] ** 2 + (spread * x) ** 2
    axes.plot(x, 20 * np.log10(x / np.sqrt(total)), color=INK, lw=1, ls="--", label="one exposure over pixels")
    axes.plot(x, 10 * np.log10(x), color=MUTED, lw=0.9, ls=":", label="photons alone")
    axes.set_xscale("log")
    axes.set_xlabel("electrons")
    axes.set_ylabel("signal to noise, dB")
    axes.legend(loc="upper left")
    decibels = outcome.result["dynamic_range_db"]
    axes.set_title(
        f"{title}: at most {20 * np.log10(outcome.result['snr_max']):.1f} dB, dynamic range {decibels:.1f} dB"
    )
    return None


def _linearity(axes: Axes, outcome: Outcome, light: Sequence[StackStatistics], colours: list[str]) -> None:
    deviations = outcome.arrays.get("deviations_percent")
    if deviations is None or not light:
        return _empty(axes, "linearity")
    ruled(axes)
    exposure = outcome.arrays["linear_exposure_us"] / 1000
    for site in range(4):
        seen = np.isfinite(deviations[:, site])
        axes.plot(exposure[seen], deviations[seen, site], ".-", ms=5, lw=0.8, color=colours[site], alpha=0.8)
    low, high = axes.get_ylim()
    axes.set_ylim(min(low, -0.5), max(high, 0.5))
    axes.axhline(0, color=INK, lw=0.8)
    axes.set_xlabel("exposure, ms")
    axes.set_ylabel("deviation from a straight line, %")
    error = outcome.result["linearity_error_percent"]
    part = " to ".join(f"{100 * end:.0f}" for end in LINEARITY_RANGE)
    axes.set_title(f"linearity, {part} % of saturation: error {error:.2f} %")
    return None


def _darkness(axes: Axes, outcome: Outcome, dark: Sequence[StackStatistics], colours: list[str]) -> None:
    if not dark:
        return _empty(axes, "dark signal")
    ruled(axes)
    black = _black(outcome, dark)
    for site in range(4):
        x = np.array([stack.exposure_us for stack in dark]) / 1000
        y = np.array([stack.mean_dn[site] for stack in dark]) - black[site]
        axes.errorbar(
            x, y, [stack.mean_sigma_dn[site] for stack in dark], fmt=".", ms=5, color=colours[site], capsize=2
        )
    rate, gain = outcome.result.get("dark_current_e_per_s"), outcome.result.get("system_gain_dn_per_e")
    title = "dark signal"
    if rate is not None and gain:
        x = np.array([0, dark[-1].exposure_us / 1000])
        axes.plot(x, rate * gain * x / 1000, color=INK, lw=1)
        sigma = outcome.result["dark_current_e_per_s_sigma"]
        title += f": {rate:.3g} $\\pm$ {sigma:.1g} electrons per second"
    axes.set_xlabel("exposure, ms")
    axes.set_ylabel("mean above black level, DN")
    axes.set_title(title)
    return None
