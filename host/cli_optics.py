"""Commands for masks and their blur: canopic optics ... Thin, as `host.cli`."""

import math
from pathlib import Path
from typing import Annotated

import typer

from host.cli_options import AsJson, FigureFile, Images

optics_app = typer.Typer(
    help="From a mask to its PSF, from a wanted blur to a mask, and to the files that a fab takes.",
    no_args_is_help=True,
)

MaskFile = Annotated[Path, typer.Argument(metavar="MASK.npz", help="A mask, or the captioning paper's lens.")]
ThresholdsOf = Annotated[str, typer.Option("--bundle", help="Bundle whose thresholds make the codes.")]


@optics_app.command("psf")
def optics_psf(
    mask: MaskFile,
    out: Annotated[Path, typer.Option(metavar="PSF.npz", help="Gets `psf` (3, height, width), R, G, B.")],
    window_px: Annotated[int | None, typer.Option(min=1, help="Side of the window (default: the mask's).")] = None,
    source_mm: Annotated[
        float | None, typer.Option(help="Distance of the point of light (default: the mask's).")
    ] = None,
    celsius: Annotated[float, typer.Option(help="Temperature of the mask.")] = 20.0,
    bandwidth_nm: Annotated[float, typer.Option(min=0, help="Width of each colour's band (default: one line).")] = 0.0,
    depth_mm: Annotated[str | None, typer.Option(help="Scan distances of the point: 100,300,1000,inf.")] = None,
    field_deg: Annotated[str | None, typer.Option(help="Scan angles to the axis: 0,5,10,20.")] = None,
    bundle: ThresholdsOf = "default",
    images: Images = None,
    figure: FigureFile = None,
    as_json: AsJson = False,
) -> None:
    """What a mask makes of a point of light, in three colours."""
    from host.commands.optics import psf

    raise typer.Exit(
        psf(
            mask, out, window_px=window_px, source_mm=source_mm, celsius=celsius,
            bandwidth_nm=bandwidth_nm, depths_mm=depth_mm, fields_deg=field_deg, bundle=bundle, images=images,
            figure=figure, as_json=as_json,
        )
    )  # fmt: skip


@optics_app.command("design")
def optics_design(
    target: Annotated[
        str,
        typer.Argument(
            metavar="TARGET",
            help="The wanted kernel: .npy, a PSF, FILE.npz:NAME, FILE.npz:NAME:FILTER, or a bundle. A signed one "
            "becomes a pair of masks.",
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Gets mask.npz, psf.npz, report.json and the figure.")],
    levels: Annotated[int, typer.Option(min=0, max=256, help="Heights that the process can make; 0: any.")] = 16,
    height_range_um: Annotated[float | None, typer.Option(help="Largest height (default: suits the levels).")] = None,
    min_feature_um: Annotated[float | None, typer.Option(help="No land or gap is narrower (default: a cell).")] = None,
    smoothness: Annotated[float, typer.Option(min=0, help="Weight against steps between neighbouring cells.")] = 0.0,
    scenes: Annotated[float | None, typer.Option(help="Weight of the error in an average scene's picture.")] = None,
    light: Annotated[float | None, typer.Option(help="Weight of light that misses the window.")] = None,
    material: Annotated[str, typer.Option(help="Of the relief.")] = "fused_silica",
    cells: Annotated[int, typer.Option(min=4, max=4096, help="Side of the mask in cells.")] = 255,
    pitch_um: Annotated[float, typer.Option(help="Side of a cell.")] = 2.0,
    distance_mm: Annotated[float, typer.Option(help="From mask to sensor.")] = 5.0,
    pixel_um: Annotated[float, typer.Option(help="Pitch of the target's taps (a PSF file brings its own).")] = 6.0,
    wavelengths_nm: Annotated[str, typer.Option(help="Red, green, blue.")] = "640,550,460",
    iterations: Annotated[int | None, typer.Option(help="Of gradient descent (needs PyTorch).")] = None,
    moves: Annotated[int | None, typer.Option(help="Rounds of moving single features between levels.")] = None,
    descent: Annotated[bool, typer.Option("--descent/--no-descent", help="Gerchberg-Saxton alone without it.")] = True,
    quick: Annotated[bool, typer.Option("--quick", help="A first look: few iterations.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="Of the starting point.")] = 0,
    bundle: ThresholdsOf = "default",
    images: Images = None,
    figure: FigureFile = None,
    as_json: AsJson = False,
) -> None:
    """A mask that can be made, for a wanted blur; with what the difference does to the codes."""
    from host.commands.design import design

    options = {
        "levels": levels, "height_range_um": height_range_um, "min_feature_um": min_feature_um,
        "smoothness": smoothness, "scenes": scenes, "light": light, "material": material, "cells": cells,
        "pitch_um": pitch_um, "distance_mm": distance_mm, "pixel_um": pixel_um, "wavelengths_nm": wavelengths_nm,
        "iterations": iterations, "moves": moves, "descent": descent,
    }  # fmt: skip
    raise typer.Exit(
        design(
            target, out, options=options, seed=seed, quick=quick, bundle=bundle, images=images, figure=figure,
            as_json=as_json,
        )
    )  # fmt: skip


@optics_app.command("tolerance")
def optics_tolerance(
    mask: MaskFile,
    target: Annotated[str | None, typer.Option(help="The wanted kernel, to say how far copies are from it.")] = None,
    samples: Annotated[int, typer.Option(min=1, help="Simulated copies of the mask.")] = 200,
    code_samples: Annotated[int, typer.Option(min=0, help="Of these, how many are taken to codes.")] = 40,
    limit: Annotated[float, typer.Option(help="Correlation with the nominal PSF that a copy has to reach.")] = 0.95,
    height_nm: Annotated[float, typer.Option(min=0, help="1 sigma of each cell's height.")] = 10,
    waviness_nm: Annotated[float, typer.Option(min=0, help="1 sigma of slowly varying height.")] = 20,
    depth_percent: Annotated[float, typer.Option(min=0, help="1 sigma of the etch depth.")] = 2,
    overlay_um: Annotated[float, typer.Option(min=0, help="1 sigma between the etches of a relief.")] = 0.25,
    shift_um: Annotated[float, typer.Option(min=0, help="1 sigma of mask against sensor, each axis.")] = 10,
    distance_um: Annotated[float, typer.Option(min=0, help="1 sigma of the distance to the sensor.")] = 25,
    tilt_degrees: Annotated[float, typer.Option(min=0, help="1 sigma about each axis.")] = 0.57,
    wavelength_nm: Annotated[float, typer.Option(min=0, help="1 sigma of all three colours.")] = 3,
    temperature_k: Annotated[float, typer.Option(min=0, help="1 sigma around 20 degrees Celsius.")] = 10,
    seed: Annotated[int, typer.Option(min=0, help="Of the draws.")] = 0,
    bundle: ThresholdsOf = "default",
    images: Images = None,
    limit_images: Annotated[int | None, typer.Option(min=1, help="Take at most so many photographs.")] = 4,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Gets tolerance.json and the figure.")] = None,
    figure: FigureFile = None,
    as_json: AsJson = False,
) -> None:
    """Simulate copies of a mask that are not made and mounted quite as planned, and name what matters most."""
    from host.commands.tolerance import simulate

    deviations = {
        "height_rms_m": height_nm * 1e-9, "height_waviness_m": waviness_nm * 1e-9, "depth_share": depth_percent / 100,
        "overlay_m": overlay_um * 1e-6, "shift_m": shift_um * 1e-6, "distance_m": distance_um * 1e-6,
        "tilt_rad": math.radians(tilt_degrees), "wavelength_m": wavelength_nm * 1e-9, "temperature_k": temperature_k,
    }  # fmt: skip
    raise typer.Exit(
        simulate(
            mask, deviations, target=target, samples=samples, code_samples=code_samples, limit=limit, seed=seed,
            bundle=bundle, images=images, limit_images=limit_images, directory=out, figure=figure, as_json=as_json,
        )
    )  # fmt: skip


@optics_app.command("export")
def optics_export(
    mask: MaskFile,
    tiff: Annotated[Path | None, typer.Option(help="16-bit height map with a sidecar.")] = None,
    png: Annotated[Path | None, typer.Option(help="The same as PNG.")] = None,
    stl: Annotated[Path | None, typer.Option(help="Watertight solid in millimetres, for a printer.")] = None,
    gds: Annotated[Path | None, typer.Option(help="Levels and marks for lithography.")] = None,
    slm: Annotated[Path | None, typer.Option(help="8-bit phase picture for a display.")] = None,
    faces: Annotated[str, typer.Option(help="Where the structured side looks: sensor, or scene.")] = "sensor",
    outside: Annotated[str, typer.Option(help="Heights that no light passes: flat, or keep.")] = "flat",
    base_mm: Annotated[float, typer.Option(help="STL: thickness of the plate under the relief.")] = 0.5,
    rim_mm: Annotated[float, typer.Option(help="STL: width of the plate around the relief.")] = 0.1,
    display_px: Annotated[str | None, typer.Option(help="SLM: COLUMNSxROWS (default: a pixel for each cell).")] = None,
    display_pitch_um: Annotated[float | None, typer.Option(help="SLM: side of a pixel.")] = None,
    display_lut: Annotated[Path | None, typer.Option(help="SLM: phase in radians of each level, .npy or text.")] = None,
    display_bits: Annotated[int, typer.Option(help="SLM: bits of a level.")] = 8,
    wavelength_nm: Annotated[float | None, typer.Option(help="SLM: for which the phase is right.")] = None,
    figure: FigureFile = None,
    as_json: AsJson = False,
) -> None:
    """The files that a fab, a printer or a phase display takes."""
    from host.commands.export import export

    raise typer.Exit(
        export(
            mask, files={"stl": stl, "gds": gds, "tiff": tiff, "png": png, "slm": slm},
            display={"pixels": display_px, "pitch_um": display_pitch_um, "lut": display_lut, "bits": display_bits},
            wavelength_nm=wavelength_nm, base_mm=base_mm, rim_mm=rim_mm, faces=faces, outside=outside, figure=figure,
            as_json=as_json,
        )
    )  # fmt: skip


@optics_app.command("compare")
def optics_compare(
    first: Annotated[str, typer.Argument(metavar="A", help="A PSF, a mask, a kernel (.npy) or a bundle.")],
    second: Annotated[str, typer.Argument(metavar="B", help="Another.")],
    pitch_um: Annotated[float | None, typer.Option(help="Pixel pitch where neither says (default: 6).")] = None,
    bundle: ThresholdsOf = "default",
    images: Images = None,
    figure: FigureFile = None,
    as_json: AsJson = False,
) -> None:
    """Two kernels side by side: correlation, light, contrast, codes, and what photographs keep."""
    from host.commands.optics import compare

    raise typer.Exit(
        compare(first, second, pitch_um=pitch_um, bundle=bundle, images=images, figure=figure, as_json=as_json)
    )


@optics_app.command("figures", hidden=True)
def optics_figures(
    out: Annotated[Path, typer.Option(metavar="DIR")] = Path("docs/images"),
    sketch: Annotated[bool, typer.Option("--sketch", help="Of a toy mask and short calibrations.")] = False,
) -> None:
    """Draw every picture of the documentation again (some minutes)."""
    from host.commands.figures import draw_all

    raise typer.Exit(draw_all(out, sketch))
