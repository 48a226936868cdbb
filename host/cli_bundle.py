"""Commands that look into bundles: canopic bundle ... Thin, as `host.cli`."""

from pathlib import Path
from typing import Annotated

import typer

from host.cli_options import AsJson

bundle_app = typer.Typer(help="Look into bundles.", no_args_is_help=True)


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
