"""Masks to start from: each builder makes an `optics.mask.Mask`, or a plan for two."""

from optics.masks.slm import Slm, drive_to_phase, phase_to_drive, slm_mask, slm_modulation

__all__ = ["Slm", "drive_to_phase", "phase_to_drive", "slm_mask", "slm_modulation"]
