"""The `canopic` command: all commands and groups of commands, in the order of `canopic --help`.

Their options are declared in host/cli_*.py, group by group. What a command does lives in host/commands; each is
imported when it is called, so that `canopic --help` stays quick.
"""

import os
import sys
import warnings
from typing import TextIO

import typer

from host.cli_bench import bench_app
from host.cli_board import board_app
from host.cli_bundle import bundle_app
from host.cli_calibrate import calibrate_app
from host.cli_config import config_app
from host.cli_learning import evaluate, train_app
from host.cli_optics import optics_app
from host.cli_sensor import doctor, run, score, seal, twin, version

app = typer.Typer(
    help="The camera that destroys identity before anything is digital.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(evaluate)
app.command()(run)
app.command()(seal)
app.command()(twin)
app.command()(doctor)
app.command()(score)
app.command()(version)
app.add_typer(optics_app, name="optics")
app.add_typer(calibrate_app, name="calibrate")
app.add_typer(config_app, name="config")
app.add_typer(board_app, name="board")
app.add_typer(bundle_app, name="bundle")
app.add_typer(bench_app, name="bench")
app.add_typer(train_app, name="train")


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
