"""Commands that learn and judge encoders: canopic train ... and canopic evaluate. Thin, as `host.cli`."""

from pathlib import Path
from typing import Annotated

import typer

from host.cli_options import AsJson

train_app = typer.Typer(
    help="Learn encoders: one, a sweep of many, or the paper's. Needs PyTorch (extra train).", no_args_is_help=True
)

Data = Annotated[Path | None, typer.Option("--data", help="Folder with the image archives.")]
Device = Annotated[str, typer.Option("--device", help="cpu, cuda, or auto: a GPU where PyTorch sees one.")]
Out = Annotated[Path, typer.Option("--out", help="Folder to write to, and to go on from.")]


@train_app.command("encoder")
def train_encoder(
    plan: Annotated[str, typer.Argument(help="A plan (YAML), a shipped one's name, or a row of the paper's Table 1.")],
    out: Out,
    data: Data = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Instead of the plan's.")] = None,
    device: Device = "cpu",
    as_json: AsJson = False,
) -> None:
    """Learn one encoder against recognition and detection networks. Interrupted, it goes on where it stopped."""
    from host.commands.train import train_encoder as run

    raise typer.Exit(run(plan, data=data, directory=out, seed=seed, device=device, as_json=as_json))


@train_app.command("sweep")
def train_sweep(
    file: Annotated[str, typer.Argument(help='A sweep (YAML), or a shipped one: "quick", "realisable".')],
    out: Out,
    data: Data = None,
    cluster: Annotated[
        str | None,
        typer.Option(help='On Ray: "here" (started on this machine), "auto", or HOST:PORT. Needs Ray (extra cluster).'),
    ] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Points at a time; else one per core.")] = None,
    device: Device = "cpu",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List the points and what they cost.")] = False,
    as_json: AsJson = False,
) -> None:
    """Learn and judge every point of a grid; a live table, and the privacy-utility figure at the end."""
    from host.commands.sweep import train_sweep as run

    raise typer.Exit(
        run(
            file,
            data=data,
            directory=out,
            cluster=cluster,
            workers=workers,
            device=device,
            dry_run=dry_run,
            as_json=as_json,
        )
    )


@train_app.command("paper")
def train_paper(
    config: Annotated[
        Path,
        typer.Argument(
            metavar="CONFIG.yaml", help="A copy of docs/paper.yaml: where the data sets are and what to run."
        ),
    ],
    device: Device = "cpu",
    as_json: AsJson = False,
) -> None:
    """Table 1 and Fig. 6 of the CAnOPIC paper again, on its own data sets."""
    from host.commands.paper import rerun_paper

    raise typer.Exit(rerun_paper(config, device=device, as_json=as_json))


def evaluate(
    encodings: Annotated[
        list[str] | None, typer.Argument(help="Bundles by name or file, or .npz files of encodings.")
    ] = None,
    data: Data = None,
    out: Out = Path("evidence"),
    against: Annotated[
        str, typer.Option(help="Beside them: clean, blur, pixelate, paper, handmade; separated by commas.")
    ] = "clean,blur,pixelate",
    questions: Annotated[
        str,
        typer.Option(help="identity, verification, retrieval, face, same-photographs, detection, distance."),
    ] = "identity,verification,retrieval,face,same-photographs",
    attackers: Annotated[
        str | None,
        typer.Option(
            help='small, resnet18, googlenet (each also with " x8": on codes upsampled), pretrained, nearest, linear. '
            "Else all of these, without x8; with --quick small."
        ),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Attackers of each kind.")] = 3,
    pretrained_seeds: Annotated[
        int | None, typer.Option(min=1, help="Of the pretrained attacker, which takes longest; else as many.")
    ] = None,
    detection_seeds: Annotated[
        int | None, typer.Option(min=1, help="Of the detectors of scenes; else as many.")
    ] = None,
    width: Annotated[float, typer.Option(min=0.01, help="Width of the attackers' networks; 1 as published.")] = 0.25,
    looks: Annotated[int, typer.Option(min=1, help="Measurements of each test face, for several looks.")] = 16,
    sizes: Annotated[
        str | None, typer.Option(help="Of faces in pixels, for distance: 12,16,24, say. Else ten from 12 to 120.")
    ] = None,
    paper: Annotated[Path | None, typer.Option(help="The paper's released parameters (.npz).")] = None,
    teacher: Annotated[Path | None, typer.Option(help="Face embedding (ONNX) that teaches an attacker.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
    device: Device = "cpu",
    quick: Annotated[
        bool,
        typer.Option(
            "--quick",
            help="A trial: the small attacker unless --attackers says more, one seed, few images and steps. "
            "Its numbers are not to be quoted.",
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """What fresh attackers and detectors get out of encodings, side by side: table, figures, evidence.json."""
    from host.commands.evaluate import evaluate_encodings

    status = evaluate_encodings(
        encodings or [], against, data, out, questions, attackers, seeds, width, looks,
        pretrained_seeds=pretrained_seeds, detection_seeds=detection_seeds, sizes=sizes, paper=paper, teacher=teacher,
        workers=workers, device=device, quick=quick, as_json=as_json,
    )  # fmt: skip
    raise typer.Exit(status)
