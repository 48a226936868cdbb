"""What besides board and camera keeps a sensor blind: seal, mask, lens cover; and the light that shows its state."""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from host.capture import Identity
from host.causes import Cause, Interlock
from host.config import Config, Gpio
from host.gpio.errors import GpioError
from host.gpio.interlock import cover_cause, gpio_cause
from host.gpio.pins import Pins
from host.gpio.software import load_module
from host.outputs.report import About, Event, Reading, Standing, Summary
from host.seal.mismatch import SealInterlock
from host.twin.gpio import TwinGpio
from optics.bundle import Bundle


def open_pins(gpio: Gpio, used: tuple[str, ...], load: Callable[[], Any] = load_module) -> Pins | None:
    """The pins of the configuration that are named in `used` ("trigger_pin", ...), opened; None where none is set.

    Each process claims only the pins that it uses. load: gives the module RPi.GPIO. Raises GpioError.
    """
    others = {name: None for name in Gpio.model_fields if name.endswith("_pin") and name not in used}
    mine = gpio.model_copy(update=others)
    if gpio.device == "none" or all(getattr(mine, name) is None for name in used):
        return None
    pins = Pins(TwinGpio() if gpio.device == "twin" else load(), mine)
    pins.open()
    return pins


def interlocks_of(config: Config, bundle: Bundle, directory: Path, pins: Pins | None) -> list[Interlock]:
    """The interlocks of a configuration. directory: of the sensor's state, where its last verification is kept."""
    # It compares mask.id, too, with a seal and without one.
    found: list[Interlock] = [SealInterlock(bundle, config.mask.id, directory)]
    if pins is not None and config.gpio.cover_pin is not None:

        def cover(_identity: Identity | None) -> Cause | None:
            return cover_cause(pins)

        found.append(cover)
    return found


def open_panel(config: Config, stack: ExitStack, load: Callable[[], Any] = load_module) -> Pins | Cause | None:
    """Pins of status light and cover, closed with `stack`; a cause where they are set and cannot be had: a cover that
    nobody can see must be taken for one that is on."""
    try:
        pins = open_pins(config.gpio, ("status_pin", "cover_pin"), load)
    except GpioError as error:
        return gpio_cause(error)
    if pins is not None:
        stack.enter_context(pins)
    return pins


class StatusLight:
    """An output for the status pin: lit while the sensor is sensing, and dark in every other state."""

    wanted = False  # the light alone keeps no sensor running

    def __init__(self, pins: Pins) -> None:
        self._pins = pins

    def standing(self, standing: Standing) -> None:
        self._light(standing.state == "sensing")

    def close(self, summary: Summary) -> None:
        del summary
        self._light(False)

    def start(self, about: About) -> None:
        """Nothing yet."""

    def progress(self, text: str) -> None:
        """Nothing to show."""

    def reading(self, reading: Reading) -> None:
        """Nothing to show."""

    def event(self, event: Event) -> None:
        """Nothing to show."""

    def _light(self, on: bool) -> None:
        try:
            self._pins.status(on)
        except GpioError:
            return  # a light that fails must not stop the sensor; the pin is low once it is closed
