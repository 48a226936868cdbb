"""Generates what depends on protocol.yaml: C codec, Python module, test helper and the tables of docs/protocol.md.

Usage: python firmware/generate_protocol.py [--check]. With --check nothing is written; the exit status is 1 and
the stale files are named when a committed file differs from what protocol.yaml says.
"""

import argparse
import sys
from pathlib import Path

from generate_protocol_c import c_header, c_source, c_text_helper
from generate_protocol_docs import with_tables
from generate_protocol_python import python_module
from protocol_definition import read_specification

FIRMWARE = Path(__file__).resolve().parent


def render(firmware: Path) -> dict[Path, str]:
    """Path and text of every generated file of the repository whose firmware folder is given."""
    specification = read_specification(firmware / "protocol.yaml")
    reference = firmware.parent / "docs" / "protocol.md"
    files = {
        firmware / "src" / "protocol.h": c_header(specification),
        firmware / "src" / "protocol.c": c_source(specification),
        firmware / "tests" / "protocol_text.h": c_text_helper(specification),
        firmware.parent / "host" / "board" / "protocol.py": python_module(specification),
    }
    if reference.exists():
        files[reference] = with_tables(specification, reference.read_text(encoding="utf-8"))
    return files


def main(arguments: list[str]) -> int:
    """Writes the generated files, or with --check only compares them. Returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a generated file is stale")
    parser.add_argument("--firmware", type=Path, default=FIRMWARE, help="the firmware folder (default: this one)")
    options = parser.parse_args(arguments)
    stale = []
    for path, text in render(options.firmware.resolve()).items():
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        stale.append(path)
        if not options.check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    if stale and options.check:
        names = ", ".join(path.name for path in stale)
        sys.stderr.write(f"stale: {names}; run `make -C firmware protocol` and commit the result\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
