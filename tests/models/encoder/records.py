"""What a learning wrote down, for tests that compare two of them."""

import json
from pathlib import Path
from typing import Any


def record(folder: Path) -> dict[str, Any]:
    """learning.json without the times."""
    found: dict[str, Any] = json.loads((folder / "learning.json").read_text())
    found.pop("seconds")
    for entry in found["cycles"]:
        entry.pop("seconds")
    return found
