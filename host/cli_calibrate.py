"""Commands that measure the parts of a camera: canopic calibrate ... Thin, as `host.cli`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from host.cli_options import AsJson, Board, BundleName, Configuration, FigureFile, Images

calibrate_app = typer.Typer(
    help="Measure the parts of a camera: guided, resumable, with a figure and a verdict; or a twin's hidden ones.",
    no_args_is_help=True,
)

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
        figure: FigureFile = None,
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
    figure: FigureFile = None,
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
