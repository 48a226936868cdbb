"""canopic optics design: from a wanted blur to a mask that can be made; a signed kernel becomes a pair of masks."""

import dataclasses
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from host import judgement
from host.commands.common import DONE, WRONG_INPUT, expected, out, print_json
from host.commands.optics import (
    Steps,
    check_out,
    example,
    figure_rows,
    folder_for,
    lengths,
    numbers,
    per_colour_table,
    steps,
)
from host.figures.cards import psf_card
from host.judgement import Yardstick
from host.optic_files import Optic, OpticFileError, read_optic, separate, write_json, write_psf
from optics.code_change import CodedImage, balanced
from optics.design import Design, DesignSettings, design_mask
from optics.mask import Geometry, write_mask
from optics.masks import sub_aperture_pair
from optics.materials import find_material
from optics.psf import psf
from optics.sampling import SamplingError
from optics.signed import combine_pair, plan_signed

# What may be written into the folder, besides figures.
PARTS = ("", "_plus", "_minus")
WRITTEN = ("report.json", "difference.npy", *(f"{kind}{part}.npz" for kind in ("mask", "psf") for part in PARTS))
# Stray light is followed over so many windows.
STRAY_WINDOWS = 3
# What --quick takes in place of the defaults: for a first look, or a test.
QUICK_START, QUICK_ITERATIONS, QUICK_MOVES = 10, 25, 4


def settings_of(
    *,
    levels: int,
    height_range_um: float | None = None,
    min_feature_um: float | None = None,
    smoothness: float = 0.0,
    scenes: float | None = None,
    light: float | None = None,
    material: str = "fused_silica",
    cells: int = 255,
    pitch_um: float = 2.0,
    distance_mm: float = 5.0,
    pixel_um: float = 6.0,
    wavelengths_nm: str = "640,550,460",
    iterations: int | None = None,
    moves: int | None = None,
    descent: bool = True,
) -> DesignSettings:
    """The settings that the options describe, in metres. Levels 0: continuous heights; None: the design's own default.

    Raises ValueError.
    """
    plain = DesignSettings()
    waves = lengths(wavelengths_nm, 1e-9, "--wavelengths-nm")
    if len(waves) != 3:
        raise ValueError(f"--wavelengths-nm: expected three, as in 640,550,460, got {wavelengths_nm!r}")
    return DesignSettings(
        levels=levels or None,
        height_range_m=None if height_range_um is None else height_range_um * 1e-6,
        min_feature_m=None if min_feature_um is None else min_feature_um * 1e-6,
        smoothness=smoothness,
        scenes=plain.scenes if scenes is None else scenes,
        light=plain.light if light is None else light,
        cells=cells,
        pitch_m=pitch_um * 1e-6,
        material=find_material(material),
        geometry=Geometry(
            sensor_distance_m=distance_mm * 1e-3,
            pixel_pitch_m=pixel_um * 1e-6,
            wavelengths_m=(waves[0], waves[1], waves[2]),
        ),
        iterations=plain.iterations if iterations is None else iterations,
        last_moves=plain.last_moves if moves is None else moves,
        use_torch="auto" if descent else False,
    )


def design(
    target: str,
    directory: Path,
    *,
    options: dict[str, Any],
    seed: int,
    quick: bool,
    bundle: str,
    images: Path | None,
    figure: Path | None,
    as_json: bool,
) -> int:
    """Write mask.npz (or a pair), psf.npz, report.json and a figure into `directory`. options: of `settings_of`."""
    began_s = time.monotonic()
    with expected(ValueError, OSError, ImportError, status=WRONG_INPUT), steps() as bar:
        settings = settings_of(**options)
        wanted = read_optic(target)
        if quick:
            settings = replace(
                settings, start_iterations=QUICK_START, iterations=QUICK_ITERATIONS, last_moves=QUICK_MOVES
            )
        if wanted.pitch_m is not None:
            # A target that says how it is sampled is designed at that pitch.
            settings = replace(settings, geometry=replace(settings.geometry, pixel_pitch_m=wanted.pitch_m))
        check_out(figure, ".png")
        folder_for(directory)
        drawn = figure or directory / "design.png"
        separate([target], [drawn, *(directory / name for name in WRITTEN)])
        measure = judgement.yardstick(bundle, images)
        if wanted.signed:
            report = _pair(wanted, directory, settings, seed, measure, drawn, bar)
        else:
            report = _single(wanted, directory, settings, seed, measure, drawn, bar)
        report["seconds"] = round(time.monotonic() - began_s, 2)
        report["figures"] = [
            path.name
            for path in ([_pair_figure(drawn, name) for name in report["masks"]] if wanted.signed else [drawn])
        ]
        write_json(report, directory / "report.json")
    if as_json:
        print_json(report)
    elif wanted.signed:
        _show_pair(report, settings, directory)
    else:
        _show(report, settings, directory)
    return DONE


def _single(
    wanted: Optic, directory: Path, settings: DesignSettings, seed: int, measure: Yardstick, drawn: Path, bar: Steps
) -> dict[str, Any]:
    made = _designed(wanted.taps, settings, seed, bar, "mask")
    geometry = made.mask.geometry
    write_mask(made.mask, directory / "mask.npz")
    write_psf(directory / "psf.npz", made.psf, geometry.pixel_pitch_m, geometry.wavelengths_m, mask="mask.npz")
    bar.begin("codes of photographs")
    codes = [judgement.code(taps, measure) for taps in (made.target, made.psf)]
    changed = judgement.change(codes[0], codes[1], measure)
    report = {
        "target": wanted.name,
        **_figures_of(made, measure),
        "wanted": judgement.figures(made.target, geometry.pixel_pitch_m, measure.pool),
        "code_change": judgement.change_report(changed, measure, made.target),
        "code_change_balanced": _change_balanced(made, codes[0], measure),
        "code_change_with_stray": _change_with_stray(made, codes[0], measure),
        "seed": seed,
        "settings": _settings(settings),
    }
    bar.begin("figure")
    stray = report["code_change_with_stray"]
    psf_card(
        drawn,
        made.psf,
        geometry.pixel_pitch_m,
        geometry.wavelengths_m,
        title=f"{wanted.name} as a mask of {_levels(settings)}",
        facts=f"correlation {report['correlation']:.4f}; {report['efficiency']:.1%} of the light where it is wanted; "
        + changed.sentence()
        + ("" if stray is None else f"; {stray['share_changed']:.1%} with stray light"),
        mask=made.mask,
        wanted=made.target,
        example=example(measure, codes[0], "wanted kernel", codes[1], "this mask"),
        history=made.history,
    )
    return report


def _pair(
    wanted: Optic, directory: Path, settings: DesignSettings, seed: int, measure: Yardstick, drawn: Path, bar: Steps
) -> dict[str, Any]:
    """Two masks whose difference is the signed kernel; see `optics.signed`."""
    if wanted.taps.ndim != 2:
        raise OpticFileError(f"{wanted.name} is signed and differs between the colours: give (height, width)")
    draft = plan_signed(wanted.taps)
    parts = {"plus": draft.psf_plus, "minus": draft.psf_minus}
    # A kernel without positive taps needs one mask only, and an inverting stage.
    made = {
        name: _designed(part, settings, seed, bar, f"mask PSF{'+' if name == 'plus' else '-'}")
        for name, part in parts.items()
        if part.any()
    }
    # Planned again with the light that the designed masks do bring into the window.
    light = tuple(float(made[name].psf.sum(axis=(1, 2)).mean()) if name in made else 1.0 for name in parts)
    plan = plan_signed(wanted.taps, throughput=(min(light[0], 1.0), min(light[1], 1.0)))
    nothing = np.zeros((3, *wanted.taps.shape), np.float32)
    pair = combine_pair(plan, *(made[name].psf if name in made else nothing for name in parts))
    for name, each in made.items():
        geometry = each.mask.geometry
        write_mask(each.mask, directory / f"mask_{name}.npz")
        write_psf(
            directory / f"psf_{name}.npz", each.psf, geometry.pixel_pitch_m, geometry.wavelengths_m,
            mask=f"mask_{name}.npz",
        )  # fmt: skip
    np.save(directory / "difference.npy", pair.difference.astype(np.float32))
    bar.begin("codes of photographs")
    codes = [judgement.code(taps, measure) for taps in (wanted.per_colour, pair.difference)]
    changed = judgement.change(codes[0], codes[1], measure)
    report: dict[str, Any] = {
        "target": wanted.name,
        "signed": True,
        "correlation": float(np.mean(pair.correlation)),
        "correlation_rgb": list(pair.correlation),
        "error": pair.error,
        "plan": plan.report,
        "gain_plus": pair.gain_plus,
        "gain_minus": pair.gain_minus,
        "placement": _placement(made, measure),
        "masks": {name: _figures_of(each, measure) for name, each in made.items()},
        "code_change": judgement.change_report(changed, measure, wanted.per_colour),
        "seed": seed,
        "settings": _settings(settings),
    }
    for name, each in made.items():
        bar.begin("figure")
        geometry = each.mask.geometry
        psf_card(
            _pair_figure(drawn, name),
            each.psf,
            geometry.pixel_pitch_m,
            geometry.wavelengths_m,
            title=f"{wanted.name}, the mask for PSF{'+' if name == 'plus' else '-'}, {_levels(settings)}",
            facts=f"correlation of this mask {each.report['correlation']:.4f}, of the pair "
            f"{report['correlation']:.4f}; {changed.sentence()}",
            mask=each.mask,
            wanted=each.target,
            example=example(measure, codes[0], "wanted kernel", codes[1], "the pair"),
            history=each.history,
        )
    return report


def _placement(made: dict[str, Design], measure: Yardstick) -> dict[str, Any] | None:
    """Where the two sub-apertures stand for pictures of the bundle's size side by side; None where one mask does."""
    if len(made) < 2:
        return None
    return sub_aperture_pair(made["plus"].mask, made["minus"].mask, measure.scene_px).report


def _pair_figure(drawn: Path, name: str) -> Path:
    return drawn.with_stem(f"{drawn.stem}_{name}")


def _designed(taps: NDArray[np.float64], settings: DesignSettings, seed: int, bar: Steps, name: str) -> Design:
    bar.begin(f"{name}: start")

    def progress(done: int, total: int, state: dict[str, Any]) -> None:
        bar.at(done, total, f"{name}: {state['stage']}, correlation {state['correlation']:.4f}")

    return design_mask(taps, settings, np.random.default_rng(seed), progress)


def _change_balanced(made: Design, wanted: list[CodedImage], measure: Yardstick) -> dict[str, Any]:
    """The change of codes that is left after a white balance: a gain per colour for the light that each loses."""
    codes = judgement.code(balanced(made.psf, made.target), measure)
    return judgement.change_report(judgement.change(wanted, codes, measure), measure)


def _change_with_stray(made: Design, wanted: list[CodedImage], measure: Yardstick) -> dict[str, Any] | None:
    """The change of codes when a sensor that is larger than the window sees the light that misses it, too: most of it
    falls nearby. None where the wider window would need too large a grid."""
    rows, columns = made.mask.geometry.psf_px
    try:
        wide = psf(made.mask, psf_px=(rows * STRAY_WINDOWS, columns * STRAY_WINDOWS))
    except SamplingError:
        return None
    return judgement.change_report(judgement.change(wanted, judgement.code(wide, measure), measure), measure)


def _figures_of(made: Design, measure: Yardstick) -> dict[str, Any]:
    """The design's own report, with what figures and tables need."""
    found = judgement.figures(made.psf, made.mask.geometry.pixel_pitch_m, measure.pool)
    aligned: dict[str, Any] = {"aligned_correlation": None, "aligned_shift_px": None}
    # An even target has no contrast to be aligned by.
    if np.ptp(made.target, axis=(1, 2)).min() > 0:
        found_aligned = judgement.likeness(made.psf, made.target)
        aligned = {name: found_aligned[name] for name in aligned}
    return {
        **made.report,
        "efficiency": made.report["share_on_support"],
        "throughput": made.report["share_in_window"],
        **aligned,
        **found,
    }


def _settings(settings: DesignSettings) -> dict[str, Any]:
    # JSON has no infinity: a plane wave's distance becomes null.
    text = json.dumps(dataclasses.asdict(settings)).replace("Infinity", "null")
    plain: dict[str, Any] = json.loads(text)
    return plain


def _levels(settings: DesignSettings) -> str:
    return "continuous heights" if settings.levels is None else f"{settings.levels} levels"


def _show(report: dict[str, Any], settings: DesignSettings, directory: Path) -> None:
    console = out()
    table = per_colour_table(settings.geometry.wavelengths_m, report["target"], wanted=True)
    table.add_row("correlation with the target", *numbers(report["correlation_rgb"], ".4f"))
    table.add_row("light where the target wants it", *numbers(report["share_on_support_rgb"], ".1%"))
    figure_rows(table, report, report["wanted"])
    console.print(table)
    others = report["to_compare_with"]
    console.print(
        "  to judge the correlation by: "
        + ", ".join(
            f"{what} {others[name]['correlation']:.2f}"
            for name, what in (
                ("transport_only", "refraction alone"),
                ("lens", "a lens focused on the sensor"),
                ("flat_mask", "no relief"),
            )
        )
    )
    console.print(_made_line(report))
    _print_codes(report["code_change"])
    console.print(
        f"  with a gain per colour, as a white balance has it: {report['code_change_balanced']['share_changed']:.1%}"
    )
    if (stray := report["code_change_with_stray"]) is not None:
        console.print(
            f"  with the light that lands beside the window, too (over {STRAY_WINDOWS} x {STRAY_WINDOWS} windows): "
            f"{stray['share_changed']:.1%}"
        )
    console.print(_descent_line(report))
    console.print(f"{directory}: mask.npz, psf.npz, report.json, {report['figures'][0]} ({report['seconds']:.0f} s)")


def _show_pair(report: dict[str, Any], settings: DesignSettings, directory: Path) -> None:
    console = out()
    table = per_colour_table(settings.geometry.wavelengths_m, report["target"])
    table.add_row("correlation of the pair with the kernel", *numbers(report["correlation_rgb"], ".4f"))
    for name, each in report["masks"].items():
        table.add_row(f"mask {name}: correlation", *numbers(each["correlation_rgb"], ".4f"))
        table.add_row(f"mask {name}: light in the window", *numbers(each["light_rgb"], ".1%"))
    console.print(table)
    console.print(report["plan"]["sentence"])
    if report["placement"] is not None:
        console.print(report["placement"]["sentence"])
    console.print(f"gains refitted to these masks: PSF+ {report['gain_plus']:.4g}, PSF- {report['gain_minus']:.4g}")
    _print_codes(report["code_change"])
    for name, each in report["masks"].items():
        console.print(f"mask {name}: {_made_line(each)}")
    console.print(_descent_line(next(iter(report["masks"].values()))))
    files = [f"mask_{name}.npz, psf_{name}.npz" for name in report["masks"]] + report["figures"]
    console.print(f"{directory}: {', '.join(files)}, difference.npy, report.json ({report['seconds']:.0f} s)")


def _print_codes(changed: dict[str, Any]) -> None:
    console = out()
    console.print(f"codes: {changed['sentence']}")
    known = changed["baselines"]
    console.print(
        "  to judge that by: "
        + ", ".join(
            f"{what} {known[name]['share_changed']:.1%}"
            for name, what in (
                ("noise", "noise of the sensor alone"),
                ("half_a_pixel", "the wanted kernel half a pixel off"),
                ("no_mask", "no mask"),
                ("flat", "light spread evenly"),
            )
        )
    )


def _made_line(report: dict[str, Any]) -> str:
    return (
        f"{report['levels_used']} levels up to {report['highest_m'] * 1e6:.3f} um in {report['material']}, smallest "
        f"feature {report['smallest_feature_m'] * 1e6:g} um, {report['cells'][1]} x {report['cells'][0]} cells of "
        f"{report['pitch_m'] * 1e6:g} um, sensor {report['sensor_distance_m'] * 1e3:g} mm behind"
    )


def _descent_line(report: dict[str, Any]) -> str:
    before = report["gerchberg_saxton_only"]["correlation"]
    if report["gradient_descent"]:
        return f"gradient descent: correlation {report['correlation']:.4f}, {before:.4f} after Gerchberg-Saxton alone"
    return str(report.get("note", "gradient descent was not run"))
