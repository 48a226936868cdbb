"""A printed mask: the digits written on it against the mask that the bundle was sealed with."""

import string

from host.causes import Cause
from optics.bundle import Bundle

# Fewer digits would agree by chance: 16 ** 4 masks.
LEAST_DIGITS = 4


def mask_id(bundle: Bundle) -> str | None:
    """SHA-256 (64 hexadecimal digits, `optics.mask.Mask.id`) of the mask in a bundle; None where it holds none."""
    if bundle.mask is None:
        return None
    held = bundle.mask.document.get("id")
    return held.lower() if isinstance(held, str) else None


def printed_cause(written: str | None, bundle: Bundle) -> Cause | None:
    """Why the mask blinds the sensor; None where it is the bundle's, or where nothing was asked to be checked.

    written: the digits on the mask (`mask.id` of the configuration), in either case, with or without spaces.
    """
    if written is None:
        return None
    digits = "".join(written.split()).lower()
    if len(digits) < LEAST_DIGITS or set(digits) - set(string.hexdigits):
        return Cause(
            "mask_id",
            f"mask.id {written!r} is no mask's: on a mask stand at least {LEAST_DIGITS} hexadecimal digits",
            True,
            "copy the digits from the mask, or from the .json beside its fabrication files",
        )
    held = mask_id(bundle)
    if held is None:
        return Cause(
            "mask_id",
            f"mask.id {written!r} is to be checked, and the bundle names no mask",
            True,
            "seal the bundle with its mask (`canopic seal --mask FILE`), or leave mask.id out",
        )
    if not held.startswith(digits):
        return Cause(
            "mask_id",
            f"mask {digits} stands in front of the sensor, the bundle was made for mask {held[: max(8, len(digits))]}",
            True,
            "put the bundle's mask in, or use the bundle of this mask",
        )
    return None
