"""The modulator as a reason to be blind."""

from host.causes import Cause
from host.mask.errors import SlmError
from host.mask.slm import Slm


def slm_cause(slm: Slm) -> Cause | None:
    """Why the modulator blinds the sensor, None where it does not. It mends itself once the panel is on again and its
    image was shown anew: a panel that was off has forgotten it."""
    try:
        slm.check()
    except SlmError as error:
        return Cause(error.name, str(error), error.latched)
    return None
