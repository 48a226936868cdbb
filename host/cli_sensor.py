"""Commands around a sensor that runs: canopic run, seal, twin, doctor, score and version. Thin, as `host.cli`."""

from pathlib import Path
from typing import Annotated

import typer

from host.cli_options import (
    AsJson,
    Board,
    BundleName,
    Configuration,
    Frames,
    Kernel,
    Light,
    Pace,
    Scene,
    Seed,
    SensorFile,
)


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


def doctor(
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="Look at the mounting in this configuration, too.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """What this machine has, what it lacks, and the one command that mends each."""
    from host.commands.doctor import show_doctor

    raise typer.Exit(show_doctor(as_json, config))


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


def version() -> None:
    """The version of canopic."""
    from importlib.metadata import version as installed

    typer.echo(f"canopic {installed('canopic')}")
