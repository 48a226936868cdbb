"""Options that several commands share: one name, one help text. `host.cli` has the commands."""

from pathlib import Path
from typing import Annotated

import typer

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
Images = Annotated[
    Path | None, typer.Option(help="Folder or .tar of photographs to judge codes on (default: ten of scikit-image).")
]
FigureFile = Annotated[Path | None, typer.Option("--figure", help="Where the figure goes (.png).")]
