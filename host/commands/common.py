"""What commands share: consoles, JSON on stdout, and expected errors as one message without traceback."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer
from rich.console import Console

PIPED_COLUMNS = 160  # a pipe has no width: wide enough that no table is cut
DONE, FAILED, WRONG_INPUT, BLIND = 0, 1, 2, 3


def out() -> Console:
    """The console on stdout; text in it is never parsed as markup or wrapped when piped."""
    piped = not sys.stdout.isatty()
    return Console(markup=False, highlight=False, soft_wrap=piped, width=PIPED_COLUMNS if piped else None)


def say(text: str) -> None:
    """A line on stderr."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def print_json(document: Any) -> None:
    """One JSON object on one line on stdout."""
    sys.stdout.write(json.dumps(document, allow_nan=False) + "\n")
    sys.stdout.flush()


@contextmanager
def expected(*errors: type[Exception], status: int = FAILED, prefix: str = "canopic: ") -> Iterator[None]:
    """End the command with the error's own message on stderr and `status` when one of `errors` comes up."""
    try:
        yield
    except errors as error:
        say("\n".join(prefix + line for line in str(error).splitlines() or [type(error).__name__]))
        raise typer.Exit(status) from None
