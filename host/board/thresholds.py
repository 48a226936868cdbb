"""Thresholds as the board holds them: 16-bit DAC codes, their digest, and the id of the encoding they belong to."""

import zlib

import numpy as np
from numpy.typing import ArrayLike, NDArray

COMPARATORS = 15
DAC_FULL_SCALE = 65535
REFERENCE_VOLTS = 2.5
_ENCODING_ID_BYTES = 16


def thresholds_to_dac_codes(thresholds: ArrayLike) -> NDArray[np.uint16]:
    """DAC codes uint16 (15,) nearest to `thresholds`, float (15,) ascending fractions of full scale in [0, 1].

    Code = round(fraction * 65535), computed in float64. Equal neighbours are allowed (learned thresholds do collapse).
    Raises ValueError on another shape, NaN, a fraction outside [0, 1], or a threshold below the one before it.
    """
    fractions = np.asarray(thresholds, dtype=np.float64)
    if fractions.shape != (COMPARATORS,):
        raise ValueError(
            f"the board has {COMPARATORS} comparators and needs thresholds of shape ({COMPARATORS},),"
            f" not {fractions.shape}"
        )
    outside = np.flatnonzero(~((fractions >= 0.0) & (fractions <= 1.0)))
    if outside.size:
        raise ValueError(
            f"threshold {outside[0]} is {fractions[outside[0]]:g}; a threshold is a fraction of full scale, 0 to 1"
            f" ({REFERENCE_VOLTS:g} V): divide volts by {REFERENCE_VOLTS:g}"
        )
    falling = np.flatnonzero(np.diff(fractions) < 0)
    if falling.size:
        below = int(falling[0]) + 1
        raise ValueError(
            f"threshold {below} ({fractions[below]:g}) is below threshold {below - 1} ({fractions[below - 1]:g});"
            " thresholds must ascend: sort them"
        )
    return np.rint(fractions * DAC_FULL_SCALE).astype(np.uint16)


def dac_codes_to_fractions(dac_codes: ArrayLike) -> NDArray[np.float32]:
    """Fractions of full scale, float32 (n,), that DAC codes (n,) stand for; converting back gives the same codes."""
    return (np.asarray(dac_codes, dtype=np.float64) / DAC_FULL_SCALE).astype(np.float32)


def dac_codes_to_volts(dac_codes: ArrayLike) -> NDArray[np.float64]:
    """Volts, float64 (n,), at the comparators' inputs for DAC codes (n,)."""
    return np.asarray(dac_codes, dtype=np.float64) / DAC_FULL_SCALE * REFERENCE_VOLTS


def effective_levels(dac_codes: ArrayLike) -> int:
    """Number of codes that can tell light apart after DAC rounding: distinct thresholds + 1 (2 to 16)."""
    return int(np.unique(np.asarray(dac_codes)).size) + 1


def dac_codes_to_bytes(dac_codes: ArrayLike) -> bytes:
    """The 30 bytes that go over the wire and into the digest: 15 unsigned 16-bit numbers, little endian.

    Raises ValueError where `dac_codes` is not 15 whole numbers in 0..65535.
    """
    codes = np.asarray(dac_codes)
    if codes.shape != (COMPARATORS,) or codes.dtype.kind not in "iu":
        raise ValueError(f"expected {COMPARATORS} whole DAC codes, not shape {codes.shape} of {codes.dtype}")
    if codes.min() < 0 or codes.max() > DAC_FULL_SCALE:
        raise ValueError(f"DAC codes are 0..{DAC_FULL_SCALE}, not {codes.min()}..{codes.max()}")
    return codes.astype("<u2").tobytes()


def thresholds_crc32(dac_codes: ArrayLike) -> int:
    """CRC-32 (ISO-HDLC, as in zlib) over the 30 bytes of 15 DAC codes: what board and host compare."""
    return zlib.crc32(dac_codes_to_bytes(dac_codes))


def thresholds_digest(dac_codes: ArrayLike) -> str:
    """The CRC-32 of 15 DAC codes as 8 hexadecimal digits: the digest in every measurement's provenance."""
    return f"{thresholds_crc32(dac_codes):08x}"


def wire_id(encoding_id: str) -> bytes:
    """The 16 bytes that stand for an encoding on the wire: the first of its hexadecimal id. ValueError if too short."""
    try:
        raw = bytes.fromhex(encoding_id)
    except ValueError as error:
        raise ValueError(f"an encoding id is hexadecimal digits, not {encoding_id!r}") from error
    if len(raw) < _ENCODING_ID_BYTES:
        raise ValueError(f"an encoding id has at least {2 * _ENCODING_ID_BYTES} hexadecimal digits, not {len(raw) * 2}")
    return raw[:_ENCODING_ID_BYTES]
