"""The `canopic` command: every command and option in one place. What a command does lives in host/commands; each is
imported when it is called, so that `canopic --help` stays quick."""

import sys
from pathlib import Path
from typing import Annotated

import typer

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
app.add_typer(config_app, name="config")
app.add_typer(board_app, name="board")
app.add_typer(bundle_app, name="bundle")
app.add_typer(bench_app, name="bench")

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
    state: Annotated[
        Path | None, typer.Option(help="Directory for events and the learned room (default: temporary).")
    ] = None,
) -> None:
    """Count people: start the sensor and show what it sees. Ctrl-C stops it."""
    from host.commands.run import run_sensor

    raise typer.Exit(
        run_sensor(
            config, frames, scene=scene, as_json=as_json, pace=pace, board=board, bundle=bundle, seed=seed, light=light,
            kernel=kernel, state=state,
        )
    )  # fmt: skip


@app.command()
def twin(
    pty: Annotated[Path, typer.Option(help="Where to put the link to the serial port.")],
    scene: Scene = None,
    pace: Pace = None,
    bundle: BundleName = None,
    seed: Seed = None,
    light: Light = None,
    loop: Annotated[bool, typer.Option("--loop", help="Begin the scene again when it ends.")] = False,
) -> None:
    """Serve a simulated camera with a real serial port, for `canopic run --board PTY`. Ctrl-C stops it."""
    from host.commands.twin import serve_twin

    raise typer.Exit(serve_twin(pty, scene=scene, pace=pace, bundle=bundle, seed=seed, light=light, loop=loop))


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """What this machine has, what it lacks, and the one command that mends each."""
    from host.commands.doctor import show_doctor

    raise typer.Exit(show_doctor(as_json))


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


def main() -> None:
    """Entry point of the `canopic` command."""
    try:
        app()
    except BrokenPipeError:
        # The reader of a short report left (`| head`): nothing to complain about.
        sys.stderr.close()
        raise SystemExit(0) from None
