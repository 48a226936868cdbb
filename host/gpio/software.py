"""Which module drives the pins of this Pi, and what to install or remove where it is not exactly one.

RPi.GPIO writes to registers that the Pi 5 no longer has ("Cannot determine SOC peripheral base address"); rpi-lgpio is
the same module over the kernel's gpiochip devices, for every model. Both packages install `RPi/GPIO`, so with both of
them whichever was written last is imported (github.com/waveform80/rpi-lgpio, docs/install).
"""

import importlib
import importlib.metadata
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import chdir, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from host.gpio.errors import GpioConflict, GpioDenied, GpioError, GpioMissing

REGISTERS, GPIOCHIP = "RPi.GPIO", "rpi-lgpio"
# What Debian calls them.
APT_NAMES = {REGISTERS: "python3-rpi.gpio", GPIOCHIP: "python3-rpi-lgpio"}
# The models whose pins hang on the RP1, which RPi.GPIO cannot drive.
RP1_MODELS = ("Raspberry Pi 5", "Raspberry Pi 500", "Raspberry Pi Compute Module 5")


@dataclass(frozen=True, slots=True)
class Installed:
    """One package that provides the module RPi.GPIO. by_apt: whether apt put it there, else pip did."""

    name: str
    version: str
    by_apt: bool

    @property
    def removal(self) -> str:
        """The command that removes it."""
        return f"sudo apt-get remove {APT_NAMES[self.name]}" if self.by_apt else f"pip uninstall {self.name}"


def board_model(root: Path = Path("/")) -> str | None:
    """What this computer calls itself, such as "Raspberry Pi 5 Model B Rev 1.0"; None where it is no Raspberry Pi."""
    for place in ("proc/device-tree/model", "sys/firmware/devicetree/base/model"):
        try:
            model = (root / place).read_text(errors="replace").strip("\0\n ")
        except OSError:
            continue
        return model if model.startswith("Raspberry Pi") else None
    return None


def has_rp1(model: str | None) -> bool:
    """Whether a model's pins hang on the RP1 (Pi 5, 500, Compute Module 5)."""
    return model is not None and model.startswith(RP1_MODELS)


def installed(search: Sequence[str] | None = None) -> list[Installed]:
    """Packages that provide the module, found without importing it. search: folders to look in, None: sys.path."""
    found = {}
    for each in importlib.metadata.distributions(path=list(sys.path if search is None else search)):
        name = (each.metadata["Name"] or "").lower().replace("_", "-")
        known = {REGISTERS.lower(): REGISTERS, GPIOCHIP: GPIOCHIP}.get(name)
        if known is not None and known not in found:
            found[known] = Installed(known, each.version, "dist-packages" in str(each.locate_file("")))
    return [found[name] for name in sorted(found)]


def installation(machine: str, sees_system: bool) -> str:
    """The one command that gives this machine the module.

    machine: as platform.machine() says. sees_system: whether this Python sees Debian's packages (no virtual
    environment, or one made with --system-site-packages). The 32-bit systems of the first Pis have no wheel of lgpio:
    there it is RPi.GPIO.
    """
    package = REGISTERS if machine in ("armv6l", "armv7l") else GPIOCHIP
    return f"sudo apt-get install {APT_NAMES[package]}" if sees_system else f"pip install {package}"


def superfluous(packages: Sequence[Installed]) -> Installed | None:
    """The package to remove where both are there: RPi.GPIO, which drives no Pi 5; rpi-lgpio drives all."""
    if len(packages) < 2:
        return None
    return next(each for each in packages if each.name == REGISTERS)


def sees_system_packages() -> bool:
    """Whether this Python sees what apt installs."""
    return sys.prefix == sys.base_prefix or any("dist-packages" in folder for folder in sys.path)


def load_module(root: Path = Path("/"), pipes: Path | None = None) -> Any:
    """The module RPi.GPIO, imported now. pipes: a folder where it may make named pipes; None: it gets one of its own.

    Raises GpioMissing, GpioConflict, GpioDenied or GpioError.
    """
    model = board_model(root)
    packages = installed()
    unwanted = superfluous(packages)
    if unwanted is not None:
        raise GpioConflict(f"RPi.GPIO and rpi-lgpio are both installed, only one may be: `{unwanted.removal}`")
    command = installation(os.uname().machine, sees_system_packages())
    if model is None:
        raise GpioMissing(
            "this computer is no Raspberry Pi and has no pins to drive: set `gpio.device: twin` to rehearse with "
            "recorded ones, or `none`"
        )
    if not packages:
        raise GpioMissing(f"no module for the pins of this {model}: `{command}`")
    if has_rp1(model) and packages[0].name == REGISTERS:
        raise GpioMissing(
            f"RPi.GPIO cannot drive the pins of a {model}, rpi-lgpio can: `{packages[0].removal} && {command}`"
        )
    try:
        with _place_for_pipes(pipes):
            return importlib.import_module("RPi.GPIO")
    except ImportError as error:
        raise GpioMissing(f"{packages[0].name} is installed but cannot be imported ({error}): `{command}`") from error
    except Exception as error:  # lgpio's own error class derives from Exception alone
        raise _start_error(error, packages[0].name) from error


def _start_error(error: Exception, package: str) -> GpioError:
    """What it means that a module for the pins does not start. Only where it may not is a group's lack to blame."""
    text = f"{error}"
    if denied(error):
        return GpioDenied(f"{package} refuses to start: {text}; {permission_advice()}")
    if isinstance(error, OSError):
        place = os.environ.get("LG_WD")
        mend = "unset LG_WD, or set it to" if place else "set the environment variable TMPDIR to"
        return GpioError(
            f"{package} cannot make the named pipe that it needs ({text}): {mend} a folder that this user may write to"
        )
    return GpioError(f"{package} refuses to start: {text or type(error).__name__}; `canopic doctor` looks at the pins")


def denied(error: Exception) -> bool:
    """Whether an error of a module for the pins means that this user may not open them: its text says it."""
    signs = ("/dev/mem", "gpiomem", "can not open gpiochip", "no permission", "no access")
    return any(sign in f"{error}".lower() for sign in signs)


@contextmanager
def _place_for_pipes(folder: Path | None) -> Iterator[None]:
    """lgpio 0.2 makes a named pipe in $LG_WD, else in the working directory, when it is imported, opens it in the
    working directory, and fails where it may not write there (github.com/joan2937/lg/issues/22). Both ends stay open,
    so the pipe's name can go again at once.

    folder: where it has to be; else $LG_WD, else a temporary one.
    """
    chosen = os.environ.get("LG_WD")
    if folder is not None:
        # The C library looks there first, whatever the working directory is.
        os.environ["LG_WD"] = str(folder)
        try:
            with chdir(folder):
                yield
        finally:
            del os.environ["LG_WD"]
            if chosen is not None:
                os.environ["LG_WD"] = chosen
    elif chosen is not None:
        with chdir(chosen):
            yield
    else:
        with tempfile.TemporaryDirectory(prefix="canopic-gpio-") as made, chdir(made):
            yield


def permission_advice() -> str:
    """How a user gets at the pins."""
    user = os.environ.get("USER") or "$USER"
    return f"the pins belong to the group gpio: `sudo usermod -aG gpio {user}`, then log in again"
