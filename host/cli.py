"""The `canopic` command: every command and option in one place. What a command does lives in host/commands; each is
imported when it is called, so that `canopic --help` stays quick."""

import math
import os
import sys
import warnings
from pathlib import Path
from typing import Annotated, Literal, TextIO

import typer

from host.cli_learning import evaluate, train_app

app = typer.Typer(
    help="The camera that destroys identity before anything is digital.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
config_app = typer.Typer(help="Check and show configuration files.", no_args_is_help=True)
board_app = typer.Typer(help="Talk to a board (without --board: to a twin started for it).", no_args_is_help=True)
bundle_app = typer.Typer(help="Look into bundles.", no_args_is_help=True)
bench_app = typer.Typer(help="Measure this machine.", no_args_is_help=True)
optics_app = typer.Typer(
    help="From a mask to its PSF, from a wanted blur to a mask, and to the files that a fab takes.",
    no_args_is_help=True,
)
calibrate_app = typer.Typer(
    help="Measure the parts of a camera: guided, resumable, with a figure and a verdict; or a twin's hidden ones.",
    no_args_is_help=True,
)
app.add_typer(optics_app, name="optics")
app.add_typer(calibrate_app, name="calibrate")
app.add_typer(config_app, name="config")
app.add_typer(board_app, name="board")
app.add_typer(bundle_app, name="bundle")
app.add_typer(bench_app, name="bench")
app.add_typer(train_app, name="train")
app.command("evaluate")(evaluate)

AsJson = Annotated[bool, typer.Option("--json", help="JSON on stdout and nothing else there.")]
Configuration = Annotated[Path | None, typer.Option("--config", "-c", help="A canopic.yaml.")]
Scene = Annotated[
    str | None, typer.Option(help="demo, a video file, a .gif, a folder of images, or camera:0 (twin only).")
]
Board = Annotated[str | None, typer.Option("--board", help="Serial port of a board; /dev/serial/by-id/... is stable.")]
BundleName = Annotated[str | None, typer.Option(help="A bundle file, or the name of a shipped one.")]
Seed = Annotated[int | None, typer.Option(help="Seed of the twin.")]
Pace = Annotated[str | None, typer.Option(help="realtime (late frames are dropped) or fast (none is). Twin only.")]
Light = Annotated[str | None, typer.Option(help='Steps in light, "SECONDS:FACTOR,...": 12:0.3,20:1. Twin only.')]
Kernel = Annotated[
    Path | None,
    typer.Option(help="A PSF, a mask or kernels (.npz, .npy) to simulate in place of the bundle's kernel. Twin only."),
]
SensorFile = Annotated[
    Path | None,
    typer.Option("--sensor", help="A sensor.json of `canopic calibrate sensor`: simulate that sensor. Twin only."),
]
Frames = Annotated[int | None, typer.Option(min=1, help="Stop after this many measurements.")]


@app.command()
def run(
    config: Configuration = None,
    scene: Scene = None,
    frames: Frames = None,
    as_json: AsJson = False,
    pace: Pace = None,
    board: Board = None,
    bundle: BundleName = None,
    seed: Seed = None,
    light: Light = None,
    kernel: Kernel = None,
    sensor: SensorFile = None,
    state: Annotated[
        Path | None, typer.Option(help="Directory for events and the learned room (default: temporary).")
    ] = None,
    path: Annotated[
        str | None, typer.Option(help="Capture path: twin, board, camera or loop (default: the configuration's).")
    ] = None,
    camera: Annotated[
        str | None, typer.Option(help="Paths camera and loop: picamera2, or twin to rehearse without one.")
    ] = None,
    twin_fault: Annotated[
        str | None, typer.Option(metavar="NAME[@FRAME]", help="Camera twin: breaks in this way, from a frame on.")
    ] = None,
) -> None:
    """Count people: start the sensor and show what it sees. Ctrl-C stops it."""
    from host.commands.run import run_sensor

    raise typer.Exit(
        run_sensor(
            config, frames, scene=scene, as_json=as_json, pace=pace, board=board, bundle=bundle, seed=seed, light=light,
            kernel=kernel, sensor=sensor, state=state, path=path, camera=camera, twin_fault=twin_fault,
        )
    )  # fmt: skip


@app.command()
def seal(
    bundle: Annotated[
        str, typer.Argument(metavar="BUNDLE", help="A bundle file, or a shipped one's name.")
    ] = "default",
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="The sealed bundle, NAME.canopic.")] = Path(
        "sealed.canopic"
    ),
    calibration: Annotated[
        Path | None, typer.Option(metavar="DIR", help="What `canopic calibrate` kept (default: this sensor's).")
    ] = None,
    mask: Annotated[Path | None, typer.Option(help="The mask in front of the sensor (default: the bundle's).")] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Seal what failed or does not belong together, too; the daemon refuses it.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Bind encoding, mask, calibrations and models into one bundle: the daemon goes blind where a part is another."""
    from host.commands.seal import seal_bundle

    raise typer.Exit(seal_bundle(bundle, calibration, out, mask, force=force, as_json=as_json))


@app.command()
def twin(
    pty: Annotated[Path, typer.Option(help="Where to put the link to the serial port.")],
    scene: Scene = None,
    pace: Pace = None,
    bundle: BundleName = None,
    seed: Seed = None,
    light: Light = None,
    sensor: SensorFile = None,
    loop: Annotated[bool, typer.Option("--loop", help="Begin the scene again when it ends.")] = False,
) -> None:
    """Serve a simulated camera with a real serial port, for `canopic run --board PTY`. Ctrl-C stops it."""
    from host.commands.twin import serve_twin

    raise typer.Exit(
        serve_twin(pty, scene=scene, pace=pace, bundle=bundle, seed=seed, light=light, sensor=sensor, loop=loop)
    )


@app.command()
def doctor(
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="Look at the mounting in this configuration, too.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """What this machine has, what it lacks, and the one command that mends each."""
    from host.commands.doctor import show_doctor

    raise typer.Exit(show_doctor(as_json, config))


@app.command()
def score(
    scene: Scene = None,
    counts: Annotated[Path | None, typer.Option(help="CSV with frame, people, uncertain.")] = None,
    people: Annotated[int | None, typer.Option(min=0, help="The scene shows this many people in every frame.")] = None,
    bundle: BundleName = None,
    seed: Seed = None,
    kernel: Kernel = None,
    frames: Frames = None,
    as_json: AsJson = False,
) -> None:
    """Run a scene through the firmware and compare with the truth: precision, recall and their intervals."""
    from host.commands.score import score_scene

    raise typer.Exit(
        score_scene(
            scene,
            counts=counts,
            people=people,
            bundle=bundle,
            seed=seed,
            kernel=kernel,
            frames=frames,
            as_json=as_json,
        )
    )


@app.command()
def version() -> None:
    """The version of canopic."""
    from importlib.metadata import version as installed

    typer.echo(f"canopic {installed('canopic')}")


Images = Annotated[
    Path | None, typer.Option(help="Folder or .tar of photographs to judge codes on (default: ten of scikit-image).")
]
CalibratePath = Annotated[
    str | None,
    typer.Option("--path", help="twin, camera, loop or board (default: the configuration's)."),
]
TwinSeed = Annotated[int | None, typer.Option("--seed", min=0, help="Twin: which hidden parameters.")]
TwinFault = Annotated[str | None, typer.Option(help="Twin: a wrong set-up; `canopic calibrate faults` lists them.")]
CalibrationDirectory = Annotated[
    Path | None,
    typer.Option("--out", metavar="DIR", help="Gets KIND.json, .npz, .png, and steps to resume (twin: not kept)."),
]
Quick = Annotated[bool, typer.Option("--quick", help="Fewer steps: a first look, or a check.")]
Fresh = Annotated[bool, typer.Option("--fresh", help="Acquire anew what an interrupted run left.")]
Yes = Annotated[
    bool, typer.Option("--yes", help="Ask nothing: the bench is, or arranges itself, as each step needs it.")
]
CalibrationFigure = Annotated[Path | None, typer.Option("--figure", help="Where the figure goes (.png).")]
CALIBRATIONS: dict[Literal["psf", "board", "sensor", "slm", "range"], str] = {
    "psf": "The PSF of the mask that stands in front of the sensor, against a point of light.",
    "board": "Every comparator's transition, noise and hysteresis; trims that put each where the encoding wants it.",
    "sensor": "The sensor's gain, noise, full well and linearity: the photon-transfer curve of EMVA 1288.",
    "slm": "The SLM's phase for each grey level, its settle time and its fixed pattern.",
    "range": "Exposure and gain for the light of the scene, with the shares of saturated and empty cells.",
}


def _calibration(kind: Literal["psf", "board", "sensor", "slm", "range"], text: str) -> None:
    @calibrate_app.command(kind, help=text)
    def command(
        path: CalibratePath = None,
        board: Board = None,
        config: Configuration = None,
        bundle: BundleName = None,
        seed: TwinSeed = None,
        twin_fault: TwinFault = None,
        out: CalibrationDirectory = None,
        quick: Quick = False,
        fresh: Fresh = False,
        yes: Yes = False,
        figure: CalibrationFigure = None,
        as_json: AsJson = False,
    ) -> None:
        from host.commands.calibrate import Wanted, calibrate

        raise typer.Exit(
            calibrate(
                Wanted(kind, path, board, config, bundle, seed, twin_fault, out, quick, fresh, yes, figure, as_json)
            )
        )


for _kind, _text in CALIBRATIONS.items():
    _calibration(_kind, _text)


@calibrate_app.command("verify")
def calibrate_verify(
    config: Configuration = None,
    bundle: BundleName = None,
    path: CalibratePath = None,
    board: Board = None,
    seed: TwinSeed = None,
    twin_fault: TwinFault = None,
    state: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The sensor's state, where the daemon reads the verdict.")
    ] = None,
    unattended: Annotated[
        bool, typer.Option("--unattended", help="Only what needs nobody at the sensor: for a timer.")
    ] = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Look at a deployed sensor again, in a minute: the daemon goes blind where this fails, until it passes."""
    from host.commands.verify import verify_sensor

    raise typer.Exit(
        verify_sensor(
            config, bundle=bundle, path=path, board=board, seed=seed, twin_fault=twin_fault, state=state,
            unattended=unattended, yes=yes, as_json=as_json,
        )
    )  # fmt: skip


@calibrate_app.command("agreement")
def calibrate_agreement(
    bundle: Annotated[
        str | None, typer.Option(help="One that was sealed on the twin of --seed, or one to calibrate it for.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Twin: which hidden parameters.")] = 0,
    images: Images = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many photographs.")] = None,
    figure: CalibrationFigure = None,
    as_json: AsJson = False,
) -> None:
    """Codes predicted from a sealed bundle beside those of its twin, before and after calibration."""
    from host.commands.agreement import compare_codes

    raise typer.Exit(compare_codes(bundle, seed, images, limit, figure, as_json))


@calibrate_app.command("coverage")
def calibrate_coverage(
    kind: Annotated[Literal["psf", "board", "sensor", "slm", "range"], typer.Argument(help="Which calibration.")],
    setups: Annotated[int, typer.Option(min=1, help="How many twins, each with hidden parameters of its own.")] = 100,
    seed: Annotated[int, typer.Option(min=0, help="Of the first; the others follow.")] = 0,
    bundle: Annotated[str, typer.Option(help="A bundle file, or the name of a shipped one.")] = "default",
    quick: Quick = False,
    as_json: AsJson = False,
) -> None:
    """How often hidden parameters of simulated set-ups lie within the uncertainties that a calibration states."""
    from host.commands.calibrate import show_coverage

    raise typer.Exit(show_coverage(kind, setups, seed, bundle, quick, as_json))


@calibrate_app.command("faults")
def calibrate_faults(as_json: AsJson = False) -> None:
    """Wrong set-ups that a twin can be given, by calibration."""
    from host.commands.calibrate import list_faults

    raise typer.Exit(list_faults(as_json))


@config_app.command("check")
def config_check(file: Annotated[Path, typer.Argument(help="A canopic.yaml.")]) -> None:
    """Say everything that is wrong with a file; exit status 2 if anything is."""
    from host.commands.config import check

    raise typer.Exit(check(file))


@config_app.command("show")
def config_show(config: Configuration = None, as_json: AsJson = False) -> None:
    """The configuration in effect, defaults included, and where each value comes from."""
    from host.commands.config import show

    raise typer.Exit(show(config, as_json))


@config_app.command("schema")
def config_schema() -> None:
    """JSON schema of canopic.yaml, for editors."""
    from host.commands.config import schema

    raise typer.Exit(schema())


@board_app.command("info")
def board_info(board: Board = None, as_json: AsJson = False) -> None:
    """Who the board is, its firmware, state and faults."""
    from host.commands.board import info

    raise typer.Exit(info(board, as_json))


@board_app.command("selftest")
def board_selftest(board: Board = None, as_json: AsJson = False) -> None:
    """Test every DAC channel and comparator; exit status 1 if one fails."""
    from host.commands.board import selftest

    raise typer.Exit(selftest(board, as_json))


@board_app.command("thresholds")
def board_thresholds(board: Board = None, bundle: BundleName = None, as_json: AsJson = False) -> None:
    """The thresholds as the board reads them back, beside those of a bundle."""
    from host.commands.board import thresholds

    raise typer.Exit(thresholds(board, bundle or "default", as_json))


@board_app.command("clear")
def board_clear(board: Board = None) -> None:
    """Clear a latched fault once its cause is gone (and restart the board if none is latched)."""
    from host.commands.board import clear

    raise typer.Exit(clear(board))


@bundle_app.command("show")
def bundle_show(
    file: Annotated[str, typer.Argument(help="A bundle file, or the name of a shipped one.")] = "default",
    as_json: AsJson = False,
) -> None:
    """What is in a bundle: encoding, effective levels, models, evidence."""
    from host.commands.bundle import show

    raise typer.Exit(show(file, as_json))


@bundle_app.command("export")
def bundle_export(
    files: Annotated[list[str], typer.Argument(help="[BUNDLE] OUT.npz; without BUNDLE the default one.")],
) -> None:
    """Write the encoding as plain arrays: kernels, thresholds, pool, range."""
    from host.commands.bundle import export

    if len(files) > 2:
        raise typer.BadParameter("expected OUT.npz, or BUNDLE OUT.npz")
    raise typer.Exit(export(files[0] if len(files) == 2 else "default", Path(files[-1])))


@bundle_app.command("compare")
def bundle_compare(
    bundles: Annotated[
        list[str] | None, typer.Argument(help="Bundle files or names of shipped ones; without any, all shipped ones.")
    ] = None,
    figure: Annotated[Path | None, typer.Option(help="Picture to draw (.png, .svg, .pdf).")] = None,
    as_json: AsJson = False,
) -> None:
    """What bundles give away and what they are good for, side by side."""
    from host.commands.compare_bundles import compare

    raise typer.Exit(compare(bundles or [], figure, as_json))


@bench_app.command("encode")
def bench_encode(as_json: AsJson = False) -> None:
    """Time of one encoding, against OpenCV and NumPy and against the memory bandwidth."""
    from host.commands.bench import encode

    raise typer.Exit(encode(as_json))


@bench_app.command("pipeline")
def bench_pipeline(
    scene: Scene = None,
    frames: Frames = None,
    pace: Pace = None,
    bundle: BundleName = None,
    seed: Seed = None,
    as_json: AsJson = False,
) -> None:
    """Frames per second, time of each stage, latency from frame to event, memory."""
    from host.commands.bench import pipeline

    raise typer.Exit(pipeline(scene or "demo", frames or 300, pace or "fast", bundle or "default", seed or 0, as_json))


@bench_app.command("optics")
def bench_optics(
    grids: Annotated[str, typer.Option(help="Sides of the fields in samples, separated by commas.")] = "512,1024",
    rounds: Annotated[int, typer.Option(min=1, help="Rounds; times are medians over them.")] = 15,
    tasks: Annotated[
        str, typer.Option(help="Some of angular_spectrum, propagate, scaling, gradient_step, separated by commas.")
    ] = "angular_spectrum,propagate,scaling,gradient_step",
    as_json: AsJson = False,
) -> None:
    """Time of a propagation, against prysm, poppy, torchoptics and N log N, and of a step of design."""
    from host.commands.bench import optics

    raise typer.Exit(optics(grids, rounds, tasks, as_json))


FigureFile = Annotated[Path | None, typer.Option("--figure", help="Where the figure goes (.png).")]
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


def _show_warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, file: TextIO | None = None,
    line: str | None = None,
) -> None:  # fmt: skip
    """A warning for the person at the command line has no place in the source."""
    from optics.bundle import ShadowedNameWarning

    if issubclass(category, ShadowedNameWarning):
        sys.stderr.write(f"canopic: {message}\n")
    else:
        print(warnings.formatwarning(message, category, filename, lineno, line), end="", file=file or sys.stderr)


def main() -> None:
    """Entry point of the `canopic` command."""
    # Threads of PyTorch that wait spin by default: beside other work a design then takes many times as long. Read by
    # the OpenMP library when it is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    warnings.showwarning = _show_warning
    try:
        app()
    except BrokenPipeError:
        # The reader of a short report left (`| head`): nothing to complain about.
        sys.stderr.close()
        raise SystemExit(0) from None
