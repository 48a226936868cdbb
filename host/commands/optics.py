"""canopic optics psf | compare: a mask's PSF, two kernels side by side; and what all commands on masks share."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from host import judgement
from host.commands.common import DONE, WRONG_INPUT, expected, out, print_json
from host.figures.cards import Example, comparison_card, depth_card, field_card, psf_card
from host.judgement import Yardstick
from host.optic_files import (
    Optic,
    OpticFileError,
    common_window,
    framed,
    read_any_mask,
    read_optic,
    separate,
    write_psf,
)
from optics.code_change import CodeChange, CodedImage
from optics.fabrication import prepare_path
from optics.field import depth_scan, field_dependence
from optics.mask import Geometry, Mask
from optics.psf import flat_band, light_budget
from optics.psf import psf as psf_of

COLOURS = ("red", "green", "blue")
# For what the materials' temperature coefficients are meant; far beyond it they are no more than a straight line.
COLDEST_CELSIUS, HOTTEST_CELSIUS = -100.0, 300.0
WIDEST_FIELD_DEG = 89.0


class Steps:
    """A bar on standard error: what is being done, and how much of it."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task: TaskID | None = None

    def begin(self, text: str, total: int | None = None) -> None:
        """The next step."""
        self.end()
        self._task = self._progress.add_task(text, total=total)

    def at(self, done: int, total: int, text: str) -> None:
        """How far it is."""
        if self._task is not None:
            self._progress.update(self._task, completed=done, total=total, description=text)

    def end(self) -> None:
        """The step is done."""
        if self._task is not None:
            task = self._progress.tasks[-1]
            self._progress.update(self._task, completed=task.total or 1, total=task.total or 1)
            self._task = None


@contextmanager
def steps() -> Iterator[Steps]:
    """Progress on standard error while the block runs; in a pipe only its last state."""
    with Progress(
        TextColumn("{task.description}"), BarColumn(24), TimeElapsedColumn(), console=Console(stderr=True)
    ) as bar:
        made = Steps(bar)
        yield made
        made.end()


def psf(
    mask_file: Path,
    target: Path,
    *,
    window_px: int | None,
    source_mm: float | None,
    celsius: float,
    bandwidth_nm: float,
    depths_mm: str | None,
    fields_deg: str | None,
    bundle: str,
    images: Path | None,
    figure: Path | None,
    as_json: bool,
) -> int:
    """Write the PSF of a mask, say what it is like, and draw it."""
    with expected(ValueError, OSError, status=WRONG_INPUT), steps() as bar:
        if not COLDEST_CELSIUS <= celsius <= HOTTEST_CELSIUS:
            raise OpticFileError(
                f"--celsius {celsius:g}: give a temperature from {COLDEST_CELSIUS:g} to {HOTTEST_CELSIUS:g} degrees"
            )
        if not math.isfinite(bandwidth_nm):
            raise OpticFileError(f"--bandwidth-nm {bandwidth_nm:g}: give a width in nanometres, or leave it out")
        depths_m = None if depths_mm is None else lengths(depths_mm, 1e-3, "--depth-mm")
        angles = None if fields_deg is None else lengths(fields_deg, math.pi / 180, "--field-deg")
        if angles is not None and not all(abs(each) <= math.radians(WIDEST_FIELD_DEG) * (1 + 1e-9) for each in angles):
            raise OpticFileError(
                f"--field-deg {fields_deg}: give angles to the axis from 0 to {WIDEST_FIELD_DEG:g} degrees"
            )
        mask = read_any_mask(mask_file)
        drawn = figure or target.with_suffix(".png")
        drawn_depth, drawn_field = (drawn.with_stem(f"{drawn.stem}-{scan}") for scan in ("depth", "field"))
        check_suffix(target, ".npz")
        check_suffix(drawn, ".png")
        separate([mask_file], [target, drawn, drawn_depth, drawn_field])
        check_out(target, ".npz")
        check_out(drawn, ".png")
        geometry = mask.geometry
        if window_px is not None:
            geometry = replace(geometry, psf_px=(window_px, window_px))
        if source_mm is not None:
            geometry = replace(geometry, source_distance_m=source_mm * 1e-3)
        mask = replace(mask, geometry=geometry)
        bar.begin("PSF in three colours")
        spectra = [flat_band(each, bandwidth_nm * 1e-9) for each in geometry.wavelengths_m] if bandwidth_nm else None
        taps = psf_of(mask, celsius, spectra=spectra)
        more: dict[str, Any] = {"mask": mask_file.name, "celsius": celsius, "bandwidth_m": bandwidth_nm * 1e-9}
        scans = {}
        if depths_m is not None:
            bar.begin(f"PSF at {len(depths_m)} distances")
            depths = depth_scan(mask, depths_m, celsius)
            more |= {"depth_psf": depths, "depth_m": depths_m}
            scans["depth"] = {
                "depth_m": [None if math.isinf(each) else each for each in depths_m],
                "correlation_rgb": [judgement.likeness(each, taps)["correlation_rgb"] for each in depths],
            }
        if angles is not None:
            bar.begin(f"PSF at {len(angles)} angles")
            scans["field"] = field_dependence(mask, angles, celsius=celsius).summary()
        write_psf(target, taps, geometry.pixel_pitch_m, geometry.wavelengths_m, **more)
        measure = judgement.yardstick(bundle, images)
        bar.begin("codes of photographs")
        report = {
            "file": str(target),
            "mask": _about_mask(mask),
            "celsius": celsius,
            "bandwidth_nm": bandwidth_nm,
            **scans,
            "absorbed_rgb": light_budget(mask, taps).absorbed.tolist(),
            **judgement.figures(taps, geometry.pixel_pitch_m, measure.pool),
        }
        shown = measure.images[measure.shown]
        one = replace(measure, images=[shown])
        bar.begin("figure")
        psf_card(
            drawn,
            taps,
            geometry.pixel_pitch_m,
            geometry.wavelengths_m,
            title=f"PSF of {mask_file.name}",
            facts=mask_line(mask),
            mask=mask,
            example=example(one, judgement.code(judgement.sharp(taps), one), "without a mask",
                             judgement.code(taps, one), "with this mask"),
        )  # fmt: skip
        if "depth" in scans:
            report["depth_figure"] = str(drawn_depth)
            found = scans["depth"]["correlation_rgb"]
            title = f"PSF of {mask_file.name} by distance of the point"
            depth_card(drawn_depth, depths, depths_m or [], geometry.pixel_pitch_m, found, title=title)
        if "field" in scans:
            report["field_figure"] = str(drawn_field)
            field_card(drawn_field, scans["field"], title=f"PSF of {mask_file.name} off the axis")
    report["figure"] = str(drawn)
    if as_json:
        print_json(report)
        return DONE
    table = per_colour_table(geometry.wavelengths_m)
    figure_rows(table, report)
    console = out()
    console.print(mask_line(mask))
    console.print(table)
    _show_scans(scans, geometry)
    figures = ", ".join(report[key] for key in ("figure", "depth_figure", "field_figure") if key in report)
    console.print(f"{target}: psf {taps.shape}; {figures}")
    return DONE


def _show_scans(scans: dict[str, Any], geometry: Geometry) -> None:
    """How the PSF changes with the point's distance and angle."""
    console = out()
    if "depth" in scans:
        table = per_colour_table(geometry.wavelengths_m, "correlation with the PSF above, point at")
        for depth_m, found in zip(scans["depth"]["depth_m"], scans["depth"]["correlation_rgb"], strict=True):
            table.add_row("infinity" if depth_m is None else f"{depth_m * 1e3:g} mm", *numbers(found, ".4f"))
        console.print(table)
    if "field" in scans:
        field = scans["field"]
        table = per_colour_table(geometry.wavelengths_m, "correlation with the PSF on the axis, at")
        for angle, found in zip(field["angles_deg"], field["correlation_with_axis"], strict=True):
            table.add_row(f"{angle:g} degrees", *numbers(found, ".4f"))
        console.print(table)
        held = ", ".join(
            f"{name} {'all of them' if angle is None else f'{angle:.1f} degrees'}"
            for name, angle in zip(COLOURS, field["holds_to_deg"], strict=True)
        )
        console.print(f"one PSF holds (correlation {field['held_at_correlation']:g}) up to: {held}")


def compare(
    first: str,
    second: str,
    *,
    bundle: str,
    images: Path | None,
    figure: Path | None,
    pitch_um: float | None,
    as_json: bool,
) -> int:
    """Two kernels side by side: likeness, light, contrast, codes, and what structure photographs keep behind each."""
    with expected(ValueError, OSError, status=WRONG_INPUT), steps() as bar:
        bar.begin("reading")
        one, other = read_optic(first), read_optic(second)
        drawn = figure or Path(f"compare-{_stem(one)}-{_stem(other)}.png")
        check_suffix(drawn, ".png")
        separate([first, second], [drawn])
        check_out(drawn, ".png")
        taps = [judgement.as_light(optic) for optic in (one, other)]
        pitch_m = _common_pitch(one, other, pitch_um)
        window = common_window(*taps)
        a, b = (framed(each, *window) for each in taps)
        measure = judgement.yardstick(bundle, images)
        bar.begin("codes of photographs")
        codes = [judgement.code(each, measure) for each in (a, b)]
        changed = judgement.change(codes[0], codes[1], measure)
        bar.begin("structure of photographs (SSIM)")
        report: dict[str, Any] = {
            "first": {"name": one.name, **judgement.figures(a, pitch_m, measure.pool)},
            "second": {"name": other.name, **judgement.figures(b, pitch_m, measure.pool)},
            "pixel_pitch_m": pitch_m,
            **judgement.likeness(b, a),
            "code_change": judgement.change_report(changed, measure),
            "ssim": {
                "first": judgement.structure_left(a, measure.images),
                "second": judgement.structure_left(b, measure.images),
            },
        }
        bar.begin("figure")
        waves = one.wavelengths_m or other.wavelengths_m or Geometry().wavelengths_m
        comparison_card(
            drawn,
            (a, b),
            (one.name, other.name),
            pitch_m,
            waves,
            facts=f"correlation {report['correlation']:.4f}; {changed.sentence()}",
            example=example(measure, codes[0], one.name, codes[1], other.name),
        )
    report["figure"] = str(drawn)
    if as_json:
        print_json(report)
        return DONE
    _show_comparison(report, one, other, changed)
    return DONE


def _show_comparison(report: dict[str, Any], one: Optic, other: Optic, changed: CodeChange) -> None:
    waves = one.wavelengths_m or other.wavelengths_m or Geometry().wavelengths_m
    console = out()
    for optic, key in ((one, "first"), (other, "second")):
        table = per_colour_table(waves, optic.name)
        figure_rows(table, report[key])
        console.print(table)
    table = per_colour_table(waves, "likeness")
    table.add_row("correlation", *numbers(report["correlation_rgb"], ".4f"))
    console.print(table)
    down, right = report["aligned_shift_px"]
    console.print(
        f"after the best shift ({down:+.2f} pixels down, {right:+.2f} right): {report['aligned_correlation']:.4f}"
    )
    console.print(f"codes: {changed.sentence()}")
    structure = report["ssim"]
    console.print(
        "SSIM of photographs to themselves behind "
        + ", ".join(
            f"{name} {structure[key]['mean']:.2f} +- {structure[key]['standard_deviation']:.2f}"
            for name, key in ((one.name, "first"), (other.name, "second"))
        )
    )
    console.print(f"figure {report['figure']}")


# What several optics commands share


def per_colour_table(wavelengths_m: tuple[float, ...], title: str = "", wanted: bool = False) -> Table:
    """A table with a column for the mean, one for each colour, and one for what is wanted, if that is known."""
    heads = [f"{name} {wavelength_m * 1e9:.0f} nm" for name, wavelength_m in zip(COLOURS, wavelengths_m, strict=True)]
    table = Table(title, box=None, pad_edge=False)
    for head in ("mean", *heads, *(["wanted"] if wanted else [])):
        table.add_column(head, justify="right")
    return table


def numbers(values: list[float], form: str) -> list[str]:
    """The mean of three colours, then each, as text."""
    return [format(value, form) for value in (float(np.mean(values)), *values)]


def figure_rows(table: Table, found: dict[str, Any], wanted: dict[str, Any] | None = None) -> None:
    """What `judgement.figures` found, as rows, and beside it the mean of what it found of the wanted kernel."""
    frequency = found["half_a_cycle_a_cell_per_mm"]
    for key, what, form in (
        ("light_rgb", "light that lands in the window", ".1%"),
        ("radius_50_um_rgb", "radius with half of it, um", ".1f"),
        ("radius_80_um_rgb", "radius with 80 % of it, um", ".1f"),
        ("contrast_at_half_a_cycle_a_cell_rgb", f"contrast at {frequency:.1f} cycles/mm (half a cycle a cell)", ".3f"),
    ):
        beside = [] if wanted is None else [numbers(wanted[key], form)[0]]
        table.add_row(what, *numbers(found[key], form), *beside)


def example(
    measure: Yardstick, codes: list[CodedImage], name: str, other: list[CodedImage], other_name: str
) -> Example:
    """The photograph that figures show, with its codes through two kernels."""
    scene: NDArray[np.float32] = measure.images[measure.shown][1]
    return Example(scene, name, codes[measure.shown].codes, other_name, other[measure.shown].codes)


def folder_for(path: Path) -> None:
    """Make a folder for what is written. Raises OpticFileError where that cannot be."""
    try:
        if path.exists() and not path.is_dir():
            raise OpticFileError(f"{path} is a file: name a folder for what is written")
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        why = error.strerror or type(error).__name__
        raise OpticFileError(f"the folder {path} cannot be made ({why}): name another for what is written") from error


def lengths(text: str, unit_m: float, option: str) -> list[float]:
    """ "640,550" to lengths in metres. Raises ValueError."""
    try:
        return [float(part) * unit_m for part in text.split(",")]
    except ValueError:
        raise ValueError(f"{option}: {text!r} is not a list of numbers, as in 1,2,3") from None


def _about_mask(mask: Mask) -> dict[str, Any]:
    return {
        "cells": list(mask.height_m.shape),
        "pitch_m": mask.pitch_m,
        "levels": mask.levels,
        "highest_m": float(mask.height_m.max()),
        "material": mask.material.name,
        "sensor_distance_m": mask.geometry.sensor_distance_m,
        "source_distance_m": None if math.isinf(mask.geometry.source_distance_m) else mask.geometry.source_distance_m,
        "pixel_pitch_m": mask.geometry.pixel_pitch_m,
        "psf_px": list(mask.geometry.psf_px),
        "wavelengths_m": list(mask.geometry.wavelengths_m),
    }


def mask_line(mask: Mask) -> str:
    """A mask in a line: cells, levels, material, where the sensor stands."""
    geometry = mask.geometry
    rows, columns = mask.height_m.shape
    levels = f"{mask.levels} levels" if mask.levels <= 256 else "continuous heights"
    source = "" if math.isinf(geometry.source_distance_m) else f", point {geometry.source_distance_m * 1e3:g} mm away"
    return (
        f"{columns} x {rows} cells of {mask.pitch_m * 1e6:g} um, {levels} up to {mask.height_m.max() * 1e6:.2f} um in "
        f"{mask.material.name}; sensor {geometry.sensor_distance_m * 1e3:g} mm behind, pixels of "
        f"{geometry.pixel_pitch_m * 1e6:g} um{source}"
    )


def _common_pitch(one: Optic, other: Optic, pitch_um: float | None) -> float:
    """The pixel pitch of two kernels. Raises OpticFileError where they differ: they would not be of one scale."""
    known = [optic.pitch_m for optic in (one, other) if optic.pitch_m is not None]
    if len(known) == 2 and not math.isclose(*known, rel_tol=1e-6):
        raise OpticFileError(
            f"{one.name} is sampled at {known[0] * 1e6:g} um and {other.name} at {known[1] * 1e6:g} um: compare PSFs "
            "of one pixel pitch"
        )
    return known[0] if known else (pitch_um or Geometry().pixel_pitch_m * 1e6) * 1e-6


def _stem(optic: Optic) -> str:
    return "".join(
        letter if letter.isalnum() else "-" for letter in optic.name.removesuffix(".npz").removesuffix(".npy")
    )


def check_out(path: Path | None, suffix: str) -> None:
    """Refuse a file that could not be written at the end, before the work begins; make its folder. ValueError."""
    if path is not None:
        check_suffix(path, suffix)
        prepare_path(path)


def check_suffix(path: Path, suffix: str) -> None:
    """Refuse a name that is not that of the file that is written. Raises OpticFileError."""
    if path.suffix != suffix:
        raise OpticFileError(f"{path} does not end in {suffix}: that is the file that is written")
