"""What can go wrong with the pins: each error says what was seen and the one command, or the hand, that mends it."""


class GpioError(Exception):
    """Base of all of them. `latched`: trying again by itself does not help; `name` is the fault's short name."""

    name = "gpio_error"
    latched = False


class GpioMissing(GpioError):  # noqa: N818 - reads as what happened, like the camera's errors
    """No module RPi.GPIO, or no Raspberry Pi to drive. The message names the package for this model."""

    name = "no_gpio"
    latched = True


class GpioConflict(GpioError):  # noqa: N818
    """RPi.GPIO and rpi-lgpio are both installed: they overwrite each other. The message says which to remove."""

    name = "gpio_conflict"
    latched = True


class GpioDenied(GpioError):  # noqa: N818
    """This user may not open the pins."""

    name = "gpio_denied"
    latched = True


class PinInUse(GpioError):  # noqa: N818
    """Another program, or a device of the kernel, holds the pin."""

    name = "pin_in_use"


class PinLost(GpioError):  # noqa: N818
    """A pin could not be read or switched while it was used."""

    name = "pin_lost"


class LightUnsteady(GpioError):  # noqa: N818
    """A light was switched, and the frames did not come to a steady level in time."""

    name = "light_unsteady"
