"""Commands that measure this machine: canopic bench ... Thin, as `host.cli`."""

from typing import Annotated

import typer

from host.cli_options import AsJson, BundleName, Frames, Pace, Scene, Seed

bench_app = typer.Typer(help="Measure this machine.", no_args_is_help=True)


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
