"""canopic config check | show | schema."""

import json
import sys
from pathlib import Path

from rich.table import Table

from host.commands.common import DONE, WRONG_INPUT, expected, out, print_json, say
from host.config import Config, default_state_directory, json_schema
from host.config_file import ConfigError, effective, load_config
from host.mounting import mounting_warning_of


def check(file: Path) -> int:
    """Say that the file is valid, or everything that is wrong with it."""
    with expected(ConfigError, status=WRONG_INPUT, prefix=""):
        loaded = load_config(file)
    out().print(f"{file}: valid")
    _warn(loaded.config)
    return DONE


def show(file: Path | None, as_json: bool) -> int:
    """Every key, its value and its origin."""
    with expected(ConfigError, status=WRONG_INPUT, prefix=""):
        loaded = load_config(file)
    rows = effective(loaded)
    _warn(loaded.config)
    if as_json:
        print_json({key: {"value": _plain(value), "origin": origin} for key, value, origin in rows})
        return DONE
    table = Table("key", "value", "from", box=None, pad_edge=False)
    for key, value, origin in rows:
        table.add_row(key, _shown(key, value), origin)
    out().print(table)
    return DONE


def schema() -> int:
    """The JSON schema on stdout."""
    sys.stdout.write(json.dumps(json_schema(), indent=2) + "\n")
    return DONE


def _warn(config: Config) -> None:
    """What is valid and still not well, on stderr."""
    if (warning := mounting_warning_of(config)) is not None:
        say(f"warning: {warning}")


def _plain(value: object) -> object:
    return str(value) if isinstance(value, Path) else value


def _shown(key: str, value: object) -> str:
    if value is None and key == "storage.directory":
        return f"null ({default_state_directory()})"
    return json.dumps(_plain(value), ensure_ascii=False)
