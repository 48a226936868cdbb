"""Trims: whole DAC codes that bring every transition onto its wanted level, and how well that can be done at all."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

# Why a trim is not what was asked for. trim_limit: more than the board takes; dac_end: below code 0 or above full
# scale.
Clamped = Literal["", "trim_limit", "dac_end"]


@dataclass(frozen=True, slots=True, eq=False)
class Trims:
    """trims: int16 (n,), to be added to the DAC codes. expected_volts: float64 (n,), where the transitions will be.
    clamped: by comparator, why its trim is less than was needed ("": it is not)."""

    trims: NDArray[np.int16]
    expected_volts: NDArray[np.float64]
    clamped: tuple[Clamped, ...]


def find_trims(
    transition_volts: ArrayLike,
    wanted_volts: ArrayLike,
    dac_codes: ArrayLike,
    lsb_volts: float,
    *,
    gain: float = 1.0,
    largest: int,
    full_scale: int,
) -> Trims:
    """Trims that bring transitions, float (n,) measured with `dac_codes` int (n,) and no trims, onto `wanted_volts`
    (n,).

    One code moves a transition by gain * lsb_volts, so the trim is the distance in such codes, rounded: what remains is
    within half a code where nothing clamps. It is clamped to +-largest and so that code + trim stays in
    0..full_scale. A transition that is no number is left alone (trim 0). Raises ValueError for other shapes, codes
    outside the DAC's range or a gain or LSB that is not positive.
    """
    found, wanted, codes = (np.asarray(values) for values in (transition_volts, wanted_volts, dac_codes))
    if not (found.ndim == 1 and found.shape == wanted.shape == codes.shape) or codes.dtype.kind not in "iu":
        raise ValueError(
            f"transitions {found.shape}, wanted {wanted.shape} and whole DAC codes {codes.shape} must agree"
        )
    codes = codes.astype(np.int64)
    if not (gain > 0 and lsb_volts > 0 and 0 <= largest <= np.iinfo(np.int16).max):
        raise ValueError(f"gain {gain}, LSB {lsb_volts} V must be positive and the largest trim {largest} fit 16 bits")
    if codes.size and (codes.min() < 0 or codes.max() > full_scale):
        raise ValueError(f"DAC codes are 0..{full_scale}, got {codes.min()}..{codes.max()}")
    per_code = gain * lsb_volts
    known = np.isfinite(found)
    needed = np.where(known, np.rint((wanted - np.where(known, found, wanted)) / per_code), 0.0)
    limited = np.clip(needed, -largest, largest)
    trims = np.clip(limited, -codes, full_scale - codes)
    clamped: list[Clamped] = []
    for asked, within, given in zip(needed, limited, trims, strict=True):
        clamped.append("dac_end" if given != within else "trim_limit" if within != asked else "")
    return Trims(trims.astype(np.int16), found + trims * per_code, tuple(clamped))


def residual_limit(
    transition_sigma_volts: ArrayLike, lsb_volts: float, *, again_sigma_volts: ArrayLike = 0.0
) -> NDArray[np.float64]:
    """The physical limit: standard deviation, float64 (n,), of what remains between a trimmed transition and its wanted
    level. A whole number of codes leaves an error uniform over one LSB (variance LSB^2 / 12); what the trim was
    computed from was known within transition_sigma_volts (the comparator's noise, averaged over the readings of its
    ramps); a second measurement, `again_sigma_volts`, adds its own. Independent, so they add in squares (JCGM
    100:2008, 5.1.2).
    """
    first, second = np.asarray(transition_sigma_volts, np.float64), np.asarray(again_sigma_volts, np.float64)
    made: NDArray[np.float64] = np.sqrt(lsb_volts**2 / 12 + first**2 + second**2)
    return made
