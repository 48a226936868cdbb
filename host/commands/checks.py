"""What a command checks of its options before it reads or writes anything."""

import importlib.util
import math
import os
from pathlib import Path


class OptionError(ValueError):
    """An option that the command cannot work with. The message names it, its value, and what was expected."""


def check_out(folder: Path, option: str = "--out") -> None:
    """Raises OptionError where `folder` is no folder that can be written, and none can be made there."""
    there = folder
    while not there.exists() and there != there.parent:
        there = there.parent
    if not there.is_dir():
        raise OptionError(f"{option} {folder}: {there} is a file; give a folder, or a name that is not taken")
    if not os.access(there, os.W_OK | os.X_OK):
        raise OptionError(f"{option} {folder}: {there} cannot be written; give a folder of your own")


def check_positive(value: float, option: str) -> None:
    """Raises OptionError for what is no finite number above zero."""
    if not math.isfinite(value) or value <= 0:
        raise OptionError(f"{option} {value:g}: expected a finite number above 0")


def check_torch() -> None:
    """Raises OptionError where PyTorch is not installed. Does not import it."""
    if importlib.util.find_spec("torch") is None:
        raise OptionError("networks learn with PyTorch, which is not installed: pip install 'canopic[train]'")


def check_ray() -> None:
    """Raises OptionError where Ray is not installed. Does not import it."""
    if importlib.util.find_spec("ray") is None:
        raise OptionError("a cluster needs Ray, which is not installed: pip install 'canopic[train,cluster]'")


def asked_device(word: str) -> str:
    """The device that --device stands for: "cpu" or "cuda". Raises OptionError where it is not to be had.

    PyTorch takes seconds to import: it is asked only about what is not the processor.
    """
    if word == "cpu":
        return word
    check_torch()
    from models.attackers.device import DeviceError, chosen_device

    try:
        return chosen_device(word)
    except DeviceError as error:
        raise OptionError(str(error)) from None
