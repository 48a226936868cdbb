"""What is wrong with the form of a sweep's grid, in the words of the file."""

from collections.abc import Iterator
from typing import Any

EXAMPLE = "alpha: [5, 20]"


def grid_problems(grid: Any) -> Iterator[str]:
    """What is wrong with the form of a `grid:`, key by key: a dictionary of lists, or a list of such, is expected."""
    if isinstance(grid, list):
        for number, one in enumerate(grid, 1):
            yield from _problems_of_one(one, f"grid {number} of {len(grid)}" if len(grid) > 1 else "grid")
    else:
        yield from _problems_of_one(grid, "grid")


def _problems_of_one(grid: Any, where: str) -> Iterator[str]:
    if not isinstance(grid, dict):
        yield f"{where}: {_shown(grid)} is refused; expected settings of a plan and their values, `{EXAMPLE}`"
        return
    for key, values in grid.items():
        if not isinstance(key, str):
            yield f"{where}: {_shown(key)} is no setting of a plan"
        elif not isinstance(values, list):
            example = f"{key}: [{values}]" if isinstance(values, (int, float, str)) else EXAMPLE
            yield f"{where}.{key}: {_shown(values)} is refused; write its values as a list, `{example}`"


def _shown(value: Any) -> str:
    return "nothing" if value is None else repr(value)
