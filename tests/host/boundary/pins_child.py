"""A process that locks itself down around pins, as the boundary does, on a computer that passes for a Pi; JSON out.

usage: pins_child FOLDER OPEN LAYERS: FOLDER of pretended modules or "", OPEN "pins" or "module".
usage: pins_child FOLDER: be the boundary's process, with those modules.
"""
# ruff: noqa: PTH102, PTH211, T201 (the system calls themselves are tried; its output is its report)

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

from host.boundary import landlock, process
from host.boundary.sandbox import before_devices, lock_down
from host.boundary.seccomp import restrict_calls
from host.config import Gpio
from host.gpio import software
from host.gpio.pins import Pins
from tests.host.boundary.locked_child import outcome
from tests.host.boundary.pretended_pi import MODEL


def writes(folder: Path, elsewhere: Path) -> dict[str, str]:
    """What becomes of each way to make something in the folder for pipes, beside it, and elsewhere."""
    attempts: dict[str, Callable[[], object]] = {
        "file": lambda: os.open(folder / "file", os.O_WRONLY | os.O_CREAT),
        "pipe": lambda: os.mkfifo(folder / "pipe"),
        "pipe_elsewhere": lambda: os.mkfifo(elsewhere / "pipe"),
        "pipe_beside": lambda: os.mkfifo(folder.parent / f"{folder.name}-beside"),
        "folder_in_it": lambda: os.mkdir(folder / "folder"),
        "folder_again": lambda: os.mkdir(folder),
        "link": lambda: os.symlink(__file__, folder / "link"),
        "device": lambda: os.open("/dev/null", os.O_WRONLY),
    }
    return {name: outcome(attempt) for name, attempt in attempts.items()}


def report(what: str, layers: str) -> None:
    if "landlock" not in layers:
        landlock.restrict = lambda *_, **__: 0
    elsewhere = Path(os.environ["ELSEWHERE"])
    held = before_devices()
    pipes = held.pipes
    if pipes is None:
        raise SystemExit("no folder for pipes")
    module = software.load_module(pipes=pipes)
    said: dict[str, object] = {"names": sorted(path.name for path in pipes.iterdir())}
    said["early"] = writes(pipes, elsewhere) if "landlock" in layers else {}
    pins = Pins(module, Gpio(trigger_pin=17))
    if what == "pins":
        pins.open()
    held.close_pipes()
    said["gone"] = not pipes.exists()
    library = "libseccomp.so.2" if "seccomp" in layers else "libnothing.so"
    sandbox = lock_down(held, lambda: restrict_calls(library))
    said["missing"] = sandbox.missing
    said["late"] = writes(pipes, elsewhere)
    if what == "pins":
        said["in_its_thread"] = module.in_its_thread(lambda: writes(pipes, elsewhere))
        with pins.exposing():
            said["exposed"] = True
        pins.close()
    print(json.dumps(said), flush=True)


def main() -> None:
    modules, *more = sys.argv[1:]
    if modules:
        sys.path.insert(0, modules)
    software.board_model = lambda root=Path(): MODEL if root else None
    if more:
        report(*more)
        os._exit(0)  # lgpio's thread still waits
    sys.exit(process.main())


if __name__ == "__main__":
    main()
