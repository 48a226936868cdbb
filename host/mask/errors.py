"""What can go wrong with the mask: each error says what was seen and what to do."""


class SlmError(Exception):
    """Base of all of them. `latched`: trying again by itself does not help; `name` is the fault's short name."""

    name = "slm_error"
    latched = False


class SlmOff(SlmError):  # noqa: N818 - reads as what happened, like the camera's errors
    """The modulator is unplugged or off: what stands before the sensor is a mirror and no mask."""

    name = "slm_off"


class SlmUnsuitable(SlmError):  # noqa: N818
    """The display cannot show this phase: wrong size, too few levels, no permission, no such device."""

    name = "slm_unsuitable"
    latched = True
