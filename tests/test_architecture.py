"""Rules that import-linter cannot say: no PyTorch in the base install, frames named in two folders only."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("optics", "calibration", "models", "host")
# What training and audits need, and nothing that the sensor runs may import.
TRAINING_ONLY = {"torch", "onnx", "onnxscript"}
TRAINING_MODULES = {"optics.design.descent"}
# The types that hold more information than a measurement, and the folders that may name them.
FRAME_NAMES = {"Frame", "SceneFrame", "RawFrame"}
FRAME_FOLDERS = ("host/boundary", "host/twin")


def _modules() -> list[Path]:
    return sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def test_base_install_runs_without_training_packages() -> None:
    modules = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in _modules()]
    pure_of_torch = ("host.", "optics.", "calibration.")
    needed = [name.removesuffix(".__init__") for name in modules if name.startswith(pure_of_torch)]
    needed = [name for name in needed if name not in TRAINING_MODULES]
    needed += ["models.detector.runtime", "models.presence"]
    program = f"""
import importlib, importlib.abc, sys
class Refuse(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {TRAINING_ONLY!r}:
            raise ImportError("the base install has no " + name)
sys.meta_path.insert(0, Refuse())
for name in {needed!r}:
    if not name.endswith("__main__"):
        importlib.import_module(name)
"""
    result = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("path", _modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_frames_are_named_only_behind_the_boundary(path: Path) -> None:
    relative = path.relative_to(ROOT).as_posix()
    if relative.startswith(FRAME_FOLDERS):
        return
    tree = ast.parse(path.read_text())
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names}
    names |= {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    names |= {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert not names & FRAME_NAMES, f"{relative} names a frame; only {' and '.join(FRAME_FOLDERS)} may"


@pytest.mark.parametrize("path", _modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_every_file_says_what_it_is(path: Path) -> None:
    docstring = ast.get_docstring(ast.parse(path.read_text()))
    if path.name == "__init__.py" and not path.read_text().strip():
        return
    assert docstring, f"{path.relative_to(ROOT)} has no first line that says what it is for"
