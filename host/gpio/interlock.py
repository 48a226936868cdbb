"""The lens cover as a reason to be blind."""

from host.causes import Cause
from host.gpio.errors import GpioError
from host.gpio.pins import Pins


def cover_cause(pins: Pins) -> Cause | None:
    """Why the cover blinds the sensor, None where it does not. It mends itself once the cover is off.

    A switch that cannot be read blinds too: its wire may be the one that says "closed".
    """
    try:
        on = pins.cover_is_on()
    except GpioError as error:
        return Cause(error.name, str(error), error.latched, "check the wire of the cover's switch")
    if on:
        return Cause("cover_on", "the lens cover is on", False, "take it off to measure")
    return None


def gpio_cause(error: GpioError) -> Cause:
    """The cause behind an error of the pins."""
    return Cause(error.name, str(error), error.latched)
