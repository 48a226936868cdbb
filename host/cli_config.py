"""Commands for configuration files: canopic config ... Thin, as `host.cli`."""

from pathlib import Path
from typing import Annotated

import typer

from host.cli_options import AsJson, Configuration

config_app = typer.Typer(help="Check and show configuration files.", no_args_is_help=True)


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
