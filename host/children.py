"""Starts a module of this project as a child process that imports nothing from the working directory.

`python -m` would look there first, before the standard library: whatever lies there under a common name would run. So
this file is run itself, by path and with -P: it finds our packages where the parent's are, and the rest as installed.
Above its functions it imports nothing of ours.
"""

import os
import runpy
import sys
from collections.abc import Mapping, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType

_ROOT = Path(__file__).resolve().parent.parent
_OURS = ("host", "optics", "calibration", "models")
# What else the environment may change of how Python starts; all others would run code, wait for it, or write files.
_PYTHON_KEPT = ("PYTHONPATH", "PYTHONHOME", "PYTHONUSERBASE", "PYTHONNOUSERSITE", "PYTHONUTF8", "PYTHONHASHSEED")
# A libcamera or a Python that was built by hand is found by it.
_LOADER_KEPT = ("LD_LIBRARY_PATH",)
# Lists of folders, in which an empty or relative one is the working directory.
_FOLDERS = ("PYTHONPATH", "LD_LIBRARY_PATH")


def command(module: str) -> list[str]:
    """The command that runs a module of this project, such as "host.twin.process", as `python -m` does."""
    return [sys.executable, "-P", __file__, module]


def environment(parent: Mapping[str, str], **changed: str) -> dict[str, str]:
    """The environment of a child: the parent's, without what would have it load or run something else, and `changed`.

    Of PYTHONPATH and LD_LIBRARY_PATH absolute folders are kept; no other variable of the dynamic loader is (LD_PRELOAD,
    LD_AUDIT), and none of Python's that runs code or writes files (PYTHONSTARTUP, PYTHONINSPECT, PYTHONWARNINGS, ...).
    """
    kept = {}
    for name, value in parent.items():
        if name.startswith("LD_") and name not in _LOADER_KEPT:
            continue
        if name.startswith("PYTHON") and name not in _PYTHON_KEPT:
            continue
        if name in _FOLDERS:
            value = os.pathsep.join(folder for folder in value.split(os.pathsep) if os.path.isabs(folder))  # noqa: PTH117
            if not value:
                continue
        kept[name] = value
    return {**kept, **changed}


class _OurPackages:
    """Finds this project's packages beside this file, and nothing else there."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        """As importlib.abc.MetaPathFinder."""
        del target
        return PathFinder.find_spec(name, [str(_ROOT)]) if path is None and name in _OURS else None


def _main() -> None:
    sys.meta_path.insert(0, _OurPackages)
    module = sys.argv[1]
    sys.argv[:] = sys.argv[1:]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    _main()
