"""Masks to start from: each builder makes an `optics.mask.Mask`, or a plan for two."""

from optics.masks.apertures import aperture_mask, cyclic_correlation
from optics.masks.contour import contour_mask, contour_target, gradient_noise
from optics.masks.diffuser import diffuser_mask
from optics.masks.fresnel import fresnel_lens_mask
from optics.masks.heights import height_map_mask, picture_heights, wave_height_m, wrap_heights
from optics.masks.mls import mls_decoder, mls_mask, mls_pattern, mls_sequence
from optics.masks.mura import mura_decoder, mura_mask, mura_pattern
from optics.masks.pair import AperturePair, cut_pictures, pair_mask, sub_aperture_pair
from optics.masks.slm import Slm, drive_to_phase, phase_to_drive, slm_mask, slm_modulation
from optics.masks.zernike import zernike_mask

__all__ = [
    "AperturePair",
    "Slm",
    "aperture_mask",
    "contour_mask",
    "contour_target",
    "cut_pictures",
    "cyclic_correlation",
    "diffuser_mask",
    "drive_to_phase",
    "fresnel_lens_mask",
    "gradient_noise",
    "height_map_mask",
    "mls_decoder",
    "mls_mask",
    "mls_pattern",
    "mls_sequence",
    "mura_decoder",
    "mura_mask",
    "mura_pattern",
    "pair_mask",
    "phase_to_drive",
    "picture_heights",
    "slm_mask",
    "slm_modulation",
    "sub_aperture_pair",
    "wave_height_m",
    "wrap_heights",
    "zernike_mask",
]
