"""canopic doctor."""

from dataclasses import asdict
from pathlib import Path

from rich.table import Table

from host.commands.common import DONE, FAILED, out, print_json
from host.doctor import abilities, examine

MARKS = {"ok": "ok", "missing": "MISSING", "wrong": "WRONG", "optional": "-"}


def show_doctor(as_json: bool, config_file: Path | None = None) -> int:
    """Print what was found; exit status 1 when this machine can run nothing. config_file: whose mounting is looked at,
    None: the usual one's where there is one."""
    checks = examine(config_file=config_file)
    able = abilities(checks)
    if as_json:
        print_json({"checks": [asdict(check) for check in checks], "abilities": [asdict(each) for each in able]})
    else:
        table = Table("part", "", "found", "to mend it", box=None, pad_edge=False)
        for check in checks:
            style = "red" if check.verdict in ("missing", "wrong") else "dim" if check.verdict == "optional" else ""
            table.add_row(check.part, MARKS[check.verdict], check.found, check.fix, style=style)
        console = out()
        console.print(table)
        console.print()
        for each in able:
            console.print(f"{'can run' if each.possible else 'cannot run'}: {each.what}"
                          f"{'' if each.possible else ' (' + each.why + ')'}")  # fmt: skip
    return DONE if any(each.possible for each in able) else FAILED
