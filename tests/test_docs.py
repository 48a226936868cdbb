"""Guides for people: blocks marked ```sh runs are run as they stand, a page's in one folder; links lead somewhere."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "models" / "bundles").glob("*.md")])
BLOCK = re.compile(r"^```(sh runs|python)\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:|mailto:|#)([^)#]+)")

GUIDES = [
    pytest.param(blocks, id=str(page.relative_to(ROOT)))
    for page in PAGES
    if (blocks := BLOCK.findall(page.read_text()))
]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("blocks", GUIDES)
def test_commands_in_the_guides_run(blocks: list[tuple[str, str]], tmp_path: Path) -> None:
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "XDG_STATE_HOME": str(tmp_path / "state"),
    }
    for kind, text in blocks:
        command = ["sh", "-euc", text] if kind == "sh runs" else [sys.executable, "-c", text]
        result = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=240, check=False
        )
        assert result.returncode == 0, f"{text}\n{result.stderr}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    missing = [link for link in LINK.findall(page.read_text()) if not (page.parent / link).exists()]
    assert not missing, f"{page.relative_to(ROOT)} links to what is not there: {missing}"
