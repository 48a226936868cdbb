"""canopic bundle show | export. What `compare` prints is in `compare_bundles`."""

from pathlib import Path
from typing import Any

from rich.table import Table

from host.commands.common import DONE, WRONG_INPUT, expected, out, print_json, say
from host.commands.compare_bundles import measured, presence_is_anothers
from optics.archive import BundleError
from optics.bundle import read_bundle, resolve_bundle
from optics.bundle_evidence import findings
from optics.description import describe, export_encoding


def show(name: str, as_json: bool) -> int:
    """Print what is in the bundle."""
    with expected(BundleError, status=WRONG_INPUT):
        path = resolve_bundle(name)
        bundle = read_bundle(path)
    about = describe(bundle)
    warnings: list[str] = []
    try:
        found = findings(bundle)
        rows, warnings = measured(found), presence_is_anothers(name, found)
    except BundleError as error:
        rows = {"evidence": str(error)}
    for warning in warnings:
        say(f"canopic: {warning}")
    if as_json:
        print_json({"file": str(path), **about})
        return DONE
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("file", str(path))
    for key, value in _flat({name: part for name, part in about.items() if name != "evidence"}):
        table.add_row(key, value)
    for key, value in rows.items():
        table.add_row(key.strip(), value.replace("\n", "; "))
    out().print(table)
    if about["evidence"]:
        out().print(f"Everything that is known of it, and how it was measured: canopic bundle show {name} --json")
    return DONE


def export(name: str, target: Path) -> int:
    """Write the arrays of the bundle's encoding to `target`."""
    with expected(BundleError, OSError, status=WRONG_INPUT):
        bundle = read_bundle(resolve_bundle(name))
        export_encoding(bundle, target)
    out().print(f"{target}: kernels {bundle.encoding.kernels.shape}, thresholds (15,), pool, range")
    return DONE


def _flat(value: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for key, item in value.items():
        name = f"{prefix}{key}"
        if isinstance(item, dict) and item:
            rows += _flat(item, f"{name}.")
        elif isinstance(item, list):
            rows.append((name, ", ".join(str(each) for each in item)))
        elif item not in (None, {}):
            rows.append((name, str(item)))
    return rows
