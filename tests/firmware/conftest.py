"""The host build of the board, built once for the tests of this folder."""

import shutil
import subprocess
from pathlib import Path

import pytest

FIRMWARE = Path(__file__).resolve().parents[2] / "firmware"


@pytest.fixture(scope="session")
def executable(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("make") is None or shutil.which("cc") is None:
        pytest.skip("make or cc is missing: apt install make gcc")
    build = tmp_path_factory.mktemp("firmware")
    subprocess.run(["make", "-C", FIRMWARE, "host", f"BUILD={build}"], check=True, capture_output=True)
    return build / "host" / "canopic-board"
