"""From a wanted PSF to a mask that can be made."""

from optics.design.design import Design, design_mask
from optics.design.settings import DesignError, DesignSettings

__all__ = ["Design", "DesignError", "DesignSettings", "design_mask"]
