"""Figure of a PSF calibration: measured, designed and their difference in sigma, and what limits the measurement."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure, SubFigure
from numpy.typing import NDArray

from calibration.outcome import Outcome
from calibration.registration import placed, spline, transformed
from host.calibrate.procedure import StepData
from host.figures.style import (
    COLOUR_NAMES,
    INK,
    LIGHT,
    MUTED,
    RGB,
    figure,
    heading,
    panels,
    plain,
    ruled,
    strips,
)
from optics.metrics import encircled_energy

DECADES = 4
SIGMAS_SHOWN = 5


def draw(outcome: Outcome, data: Mapping[str, StepData], path: Path) -> None:
    """Write the figure. Of a wrong set-up it shows what there is: the reason, and the room's light over the frames.

    Raises OSError where the file cannot be written.
    """
    if "psf" not in outcome.arrays:
        with figure(path, 9.0, 4.2) as made:
            heading(made, "Point source: not measured", _wrapped(outcome.reason))
            _ambient_panel(made.subplots(), data)
        return
    result = outcome.result
    correlation = result["correlation"]
    facts = (
        f"{result['camera']}   SNR {result['snr']:.0f}   correlation with the design "
        f"{min(correlation['designed']):.3f} as is, {min(correlation['aligned']):.3f} aligned   "
        f"{'passed' if outcome.passed else 'not passed'}"
    )
    with figure(path, 12.0, 12.4) as made:
        heading(made, "PSF measured with a point source", facts)
        pictures, below, last = strips(made, (7.2, 2.6, 2.6))
        _pictures(pictures, outcome)
        profile, energy = panels(below, 2)
        _profile_panel(profile, outcome)
        _energy_panel(energy, outcome)
        snr, elsewhere, ambient = panels(last, 3)
        _snr_panel(snr, data["axis"])
        _elsewhere_panel(elsewhere, result)
        _ambient_panel(ambient, data)


def aligned_design(outcome: Outcome) -> NDArray[np.float64]:
    """The designed PSF where and how the measured one lies, as bright as that: float64 (3, side, side)."""
    result, measured = outcome.result, outcome.arrays["psf"].astype(np.float64)
    design = outcome.arrays["designed"].astype(np.float64)
    side = measured.shape[1]
    if result["scale"] is None:
        shown = placed(design, (side, side))
    else:
        shifts = np.tile(np.array(result["shift_px"]), (3, 1))
        turn = np.radians(result["rotation_deg"] or 0.0)
        shown = transformed(spline(design), (side, side), shifts, float(turn), result["scale"])
    light = (measured * shown).sum(axis=(1, 2)) / (shown**2).sum(axis=(1, 2))
    return np.asarray(np.maximum(shown, 0) * light[:, np.newaxis, np.newaxis])


def _pictures(made: Figure | SubFigure, outcome: Outcome) -> None:
    """Rows: colours; columns: measured, designed, difference in standard uncertainties."""
    measured, sigma, design = outcome.arrays["psf"], outcome.arrays["psf_sigma"], aligned_design(outcome)
    axes = made.subplots(3, 3, squeeze=False)
    brightest = float(measured.max())
    light = LogNorm(brightest * 10.0**-DECADES, brightest)
    for colour, row in enumerate(axes):
        floor = brightest * 10.0**-DECADES
        for panel, picture in zip(row[:2], (measured[colour], design[colour]), strict=True):
            shown = panel.imshow(np.maximum(picture, floor), cmap=LIGHT, norm=light, interpolation="nearest")
        known = np.where(sigma[colour] > 0, sigma[colour], np.inf)
        away = (measured[colour] - design[colour]) / known
        difference = row[2].imshow(away, cmap="RdBu_r", vmin=-SIGMAS_SHOWN, vmax=SIGMAS_SHOWN, interpolation="nearest")
        titles = ("measured", "designed, moved, turned and scaled", "difference in standard uncertainties")
        for panel, title in zip(row, titles, strict=True):
            plain(panel, title if colour == 0 else "")
        row[0].set_ylabel(COLOUR_NAMES[colour], color=RGB[colour])
    made.colorbar(shown, ax=axes[:, :2], fraction=0.03, pad=0.01, label="share of light a pixel (log)")
    made.colorbar(difference, ax=axes[:, 2], fraction=0.06, pad=0.02, label="sigma")


def _radial(picture: NDArray[Any], radius: NDArray[np.int64]) -> NDArray[np.float64]:
    count = np.bincount(radius.ravel())
    return np.bincount(radius.ravel(), picture.ravel().astype(np.float64)) / np.maximum(count, 1)


def _profile_panel(axes: Axes, outcome: Outcome) -> None:
    """Mean light over rings around the axis, the band is twice the typical pixel's uncertainty."""
    measured, sigma, design = outcome.arrays["psf"], outcome.arrays["psf_sigma"], aligned_design(outcome)
    side = measured.shape[1]
    away = np.arange(side) - side // 2
    radius = np.rint(np.hypot(away[:, np.newaxis], away)).astype(np.int64)
    rings = np.arange(side // 2 + 1)
    for colour, name in enumerate(COLOUR_NAMES):
        mean = _radial(measured[colour], radius)[: rings.size]
        spread = _radial(np.where(np.isfinite(sigma[colour]), sigma[colour], 0), radius)[: rings.size]
        axes.plot(rings, mean, color=RGB[colour], label=name)
        floor = measured.max() * 10.0 ** -(DECADES + 1)
        low, high = np.maximum(mean - 2 * spread, floor), np.maximum(mean + 2 * spread, floor)
        axes.fill_between(rings, low, high, color=RGB[colour], alpha=0.18, linewidth=0)
    axes.plot(rings, _radial(design[1], radius)[: rings.size], "--", color=INK, linewidth=1.2, label="designed")
    axes.set_yscale("log")
    axes.set_ylim(measured.max() * 10.0 ** -(DECADES + 1), None)
    axes.set(xlabel="radius, pixels of a plane", ylabel="share of light a pixel")
    axes.set_title("mean over rings; band: a pixel's uncertainty (2 sigma)")
    axes.legend()
    ruled(axes)


def _energy_panel(axes: Axes, outcome: Outcome) -> None:
    measured, design = outcome.arrays["psf"], aligned_design(outcome)
    for colour, name in enumerate(COLOUR_NAMES):
        radius, share = encircled_energy(measured[colour], 1.0)
        axes.plot(radius, share, color=RGB[colour], label=name)
    radius, share = encircled_energy(design[1], 1.0)
    axes.plot(radius, share, "--", color=INK, linewidth=1.2, label="designed")
    axes.set(xlabel="radius, pixels of a plane", ylabel="share of the source's light", ylim=(0, 1.02))
    axes.set_xlim(0, measured.shape[1] / 2)
    axes.set_title(f"encircled energy; the window holds {min(outcome.result['window_share']):.1%}")
    axes.legend(loc="lower right")
    ruled(axes)


def _snr_panel(axes: Axes, step: StepData) -> None:
    """Signal-to-noise ratio of the sites over their light, one set of points for each exposure."""
    for index, exposure_us in enumerate(step["exposure_us"]):
        light = np.asarray(step["difference_dn"][index], dtype=np.float64)
        usable = ~np.asarray(step["saturated"][index], dtype=bool)
        dark = float(step["dark_variance_dn2"][index])
        noise = (dark + float(step["dn_per_electron"][index]) * np.maximum(light, 0)) / step["frames_on"][index]
        ratio = light / np.sqrt(noise + dark / step["frames_off"][index])
        rate = light / (exposure_us * step["gains"][index])
        order = np.argsort(rate[usable])[:: max(1, usable.sum() // 400)]
        axes.plot(rate[usable][order], ratio[usable][order], ".", markersize=3, label=f"{exposure_us / 1000:.3g} ms")
    axes.set(xscale="log", yscale="log", xlabel="light of a site, DN a microsecond", ylabel="signal to noise")
    axes.set_ylim(0.3, None)
    axes.set_title("SNR by exposure, all frames")
    axes.legend(loc="upper left")
    ruled(axes)


def _elsewhere_panel(axes: Axes, result: Mapping[str, Any]) -> None:
    entries = [
        (f"{each['source_deg'][0]:g}, {each['source_deg'][1]:g} deg", each["correlation_with_axis"])
        for each in result["field"]
    ] + [(f"{each['distance_mm'] / 1000:g} m", each["correlation_with_axis"]) for each in result["depth"]]
    axes.set_title("likeness to the PSF on the axis")
    if not entries:
        axes.text(0.5, 0.5, "only the axis was measured", ha="center", color=MUTED, transform=axes.transAxes)
        axes.set_axis_off()
        return
    at = np.arange(len(entries))
    axes.barh(at, [value for _, value in entries], color=MUTED, height=0.6)
    for place, (_, value) in zip(at, entries, strict=True):
        axes.text(value, float(place), f"{value:.4f} ", ha="right", va="center", color="white", fontsize=8)
    axes.axvline(0.9, color=INK, linewidth=0.9, linestyle="--")
    axes.set_yticks(at, [name for name, _ in entries])
    axes.set_xlim(min(0.8, *(value for _, value in entries)), 1.0)
    axes.set_xlabel("correlation; dashed: least allowed")
    axes.invert_yaxis()
    ruled(axes)


def _ambient_panel(axes: Axes, data: Mapping[str, StepData]) -> None:
    """The room's light in the frames without the source, in the order in which they were taken."""
    axes.set_title("the room's light, source off")
    rates = [np.asarray(step["ambient_dn_per_us"]) for step in data.values() if "ambient_dn_per_us" in step]
    if not rates:
        axes.text(0.5, 0.5, "nothing was acquired", ha="center", color=MUTED, transform=axes.transAxes)
        axes.set_axis_off()
        return
    axes.plot(np.concatenate(rates), color=MUTED, linewidth=1.0)
    for end in np.cumsum([len(each) for each in rates])[:-1]:
        axes.axvline(float(end), color=MUTED, linewidth=0.5, linestyle=":")
    axes.set(xlabel="frame; dotted: a new step", ylabel="DN a microsecond")
    ruled(axes)


def _wrapped(text: str, width: int = 120) -> str:
    lines, line = [], ""
    for word in text.split():
        if len(line) + len(word) > width:
            lines.append(line)
            line = ""
        line = f"{line} {word}".strip()
    return "\n".join([*lines, line][:3])
