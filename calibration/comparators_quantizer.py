"""The quantizer that comparators make: INL, DNL, missing codes and levels against the encoding's thresholds."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

# A code whose width is this much short of its wanted one counts as missing (IEEE Std 1241-2010: DNL of -0.9 or less).
MISSING_DNL = -0.9


@dataclass(frozen=True, slots=True, eq=False)
class Quantizer:
    """Transition levels of codes 1..n (n comparators) beside the wanted ones.

    level_volts, wanted_volts: float64 (n,), ascending: T[k] is where code k begins. inl_volts: float64 (n,),
    level - wanted. width_volts, wanted_width_volts: float64 (n - 1,) of codes 1..n-1 (the first and the last code
    have no width). dnl_volts: width - wanted width. dnl_relative: the same as a share of the wanted width, NaN for
    codes that the encoding made empty by equal thresholds. missing: codes that are wanted and (almost) never occur.
    unwanted: codes that the encoding made empty and that do occur. effective_levels: codes that a reading can tell
    apart; wanted_effective_levels: those of the encoding.
    """

    level_volts: NDArray[np.float64]
    wanted_volts: NDArray[np.float64]
    inl_volts: NDArray[np.float64]
    width_volts: NDArray[np.float64]
    wanted_width_volts: NDArray[np.float64]
    dnl_volts: NDArray[np.float64]
    dnl_relative: NDArray[np.float64]
    missing: tuple[int, ...]
    unwanted: tuple[int, ...]
    effective_levels: int
    wanted_effective_levels: int


def quantizer(
    transition_volts: ArrayLike, wanted_volts: ArrayLike, noise_volts: ArrayLike, lsb_volts: float
) -> Quantizer:
    """Static transfer of a quantizer whose code is the number of comparators that are high.

    transition_volts, wanted_volts, noise_volts: float (n,) by comparator; lsb_volts: one code of the DAC that sets the
    thresholds. As the code only counts, code k begins at the k-th smallest transition, whichever comparator that is:
    the transfer is monotonic, and comparators that cross make a code narrow, not a fall.

    INL is T[k] minus the wanted level, in volts, without a fitted line: gain and offset of the board are errors here,
    since the thresholds mean absolute levels. DNL is the code's width minus the wanted width, relative to the wanted
    width of that very code (for evenly spaced thresholds both are those of IEEE Std 1241-2010; learned thresholds are
    not even, so there is no average width to refer to). A level is effective where it is apart from the one below by
    more than the larger of the DAC's LSB and twice the comparators' noise (root mean square of the two): closer ones
    a single reading cannot tell apart. Raises ValueError for other shapes or values that are no numbers.
    """
    found, wanted, noise = (
        np.asarray(values, dtype=np.float64) for values in (transition_volts, wanted_volts, noise_volts)
    )
    if found.ndim != 1 or found.size < 2 or wanted.shape != found.shape or noise.shape != found.shape:
        raise ValueError(
            f"transitions {found.shape}, wanted {wanted.shape} and noise {noise.shape} must be (n,), n >= 2"
        )
    if not (np.isfinite(found).all() and np.isfinite(wanted).all() and np.isfinite(noise).all() and lsb_volts > 0):
        raise ValueError(
            "transitions, wanted levels and noise must be numbers and the LSB positive: leave comparators out"
        )
    order = np.argsort(found, kind="stable")
    levels, ideal = found[order], np.sort(wanted)
    width, wanted_width = np.diff(levels), np.diff(ideal)
    empty = wanted_width < lsb_volts / 2
    relative = np.full(width.shape, np.nan)
    relative[~empty] = width[~empty] / wanted_width[~empty] - 1.0
    resolution = np.maximum(lsb_volts, 2 * np.sqrt((noise[order][1:] ** 2 + noise[order][:-1] ** 2) / 2))
    apart = width > resolution
    codes = np.arange(1, found.size)
    return Quantizer(
        level_volts=levels,
        wanted_volts=ideal,
        inl_volts=levels - ideal,
        width_volts=width,
        wanted_width_volts=wanted_width,
        dnl_volts=width - wanted_width,
        dnl_relative=relative,
        missing=tuple(int(code) for code in codes[~empty & (relative <= MISSING_DNL)]),
        unwanted=tuple(int(code) for code in codes[empty & apart]),
        effective_levels=2 + int(apart.sum()),
        wanted_effective_levels=2 + int((~empty).sum()),
    )
