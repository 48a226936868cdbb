"""Thresholds as the board holds them: wanted DAC codes, trims, their digest, and the encoding that they belong to."""

import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

COMPARATORS = 15
DAC_FULL_SCALE = 65535
REFERENCE_VOLTS = 2.5
TRIM_MAX = 1311  # DAC codes either way, 50 mV
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
    """The 30 bytes of codes that go over the wire and into the digest: 15 unsigned 16-bit numbers, little endian.

    Raises ValueError where `dac_codes` is not 15 whole numbers in 0..65535.
    """
    codes = np.asarray(dac_codes)
    if codes.shape != (COMPARATORS,) or codes.dtype.kind not in "iu":
        raise ValueError(f"expected {COMPARATORS} whole DAC codes, not shape {codes.shape} of {codes.dtype}")
    if codes.min() < 0 or codes.max() > DAC_FULL_SCALE:
        raise ValueError(f"DAC codes are 0..{DAC_FULL_SCALE}, not {codes.min()}..{codes.max()}")
    return codes.astype("<u2").tobytes()


def checked_trims(dac_codes: ArrayLike, trims: ArrayLike | None) -> NDArray[np.int16]:
    """Trims int16 (15,) in DAC codes, for wanted codes (15,); None stands for zeros.

    Raises ValueError where they are not 15 whole numbers of at most TRIM_MAX either way, or where a sum is no DAC code.
    """
    if trims is None:
        return np.zeros(COMPARATORS, np.int16)
    found = np.asarray(trims)
    if found.shape != (COMPARATORS,) or found.dtype.kind not in "iu":
        raise ValueError(f"expected {COMPARATORS} whole trims, not shape {found.shape} of {found.dtype}")
    found = found.astype(np.int64)
    large = np.flatnonzero(np.abs(found) > TRIM_MAX)
    if large.size:
        raise ValueError(
            f"trim {large[0]} is {found[large[0]]}; the board takes up to {TRIM_MAX} DAC codes either way"
            f" ({TRIM_MAX / DAC_FULL_SCALE * REFERENCE_VOLTS * 1000:.0f} mV): a comparator that needs more is defective"
        )
    sums = np.asarray(dac_codes, np.int64) + found
    outside = np.flatnonzero((sums < 0) | (sums > DAC_FULL_SCALE))
    if outside.size:
        raise ValueError(
            f"threshold {outside[0]} with its trim {found[outside[0]]} is DAC code {sums[outside[0]]}, beyond the DAC's"
            f" range 0..{DAC_FULL_SCALE}: a smaller trim, or a threshold further from the end, is needed"
        )
    return found.astype(np.int16)


def thresholds_crc32(dac_codes: ArrayLike, trims: ArrayLike | None = None) -> int:
    """CRC-32 (ISO-HDLC, as in zlib) over the 60 bytes of 15 wanted DAC codes and 15 trims: what board and host compare.

    No trims are zeros. Raises ValueError as dac_codes_to_bytes and checked_trims do.
    """
    return zlib.crc32(dac_codes_to_bytes(dac_codes) + checked_trims(dac_codes, trims).astype("<i2").tobytes())


def thresholds_digest(dac_codes: ArrayLike, trims: ArrayLike | None = None) -> str:
    """That CRC-32 as 8 hexadecimal digits: the digest in every measurement's provenance."""
    return f"{thresholds_crc32(dac_codes, trims):08x}"


@dataclass(frozen=True, slots=True, eq=False)
class BoardThresholds:
    """What a board reads back: `readback` uint16 (15,) DAC codes, with `trims` int16 (15,) in them.

    `crc32` is the board's own digest of both.
    """

    readback: NDArray[np.uint16]
    trims: NDArray[np.int16]
    crc32: int

    @property
    def dac_codes(self) -> NDArray[np.uint16]:
        """Wanted codes, uint16 (15,): what was read back, less the trims."""
        return (self.readback - self.trims.astype(np.uint16)).astype(np.uint16)

    @property
    def digest(self) -> str:
        """The digest as 8 hexadecimal digits."""
        return f"{self.crc32:08x}"


def wire_id(encoding_id: str) -> bytes:
    """The 16 bytes that stand for an encoding on the wire: the first of its hexadecimal id. ValueError if too short."""
    try:
        raw = bytes.fromhex(encoding_id)
    except ValueError as error:
        raise ValueError(f"an encoding id is hexadecimal digits, not {encoding_id!r}") from error
    if len(raw) < _ENCODING_ID_BYTES:
        raise ValueError(f"an encoding id has at least {2 * _ENCODING_ID_BYTES} hexadecimal digits, not {len(raw) * 2}")
    return raw[:_ENCODING_ID_BYTES]
