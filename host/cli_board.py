"""Commands that talk to a board: canopic board ... Thin, as `host.cli`."""

import typer

from host.cli_options import AsJson, Board, BundleName

board_app = typer.Typer(help="Talk to a board (without --board: to a twin started for it).", no_args_is_help=True)


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
