"""How large a face is on the sensor at a distance, and from which size on a bundle's evidence says who it is.

A thin lens at a distance much larger than its focal length: a face of height h at distance d is h * f / (d * p) pixels
high on a sensor of pixel pitch p. Everything rests on one assumption, the height of a face, FACE_M.
"""

import math
from collections.abc import Sequence

# From the chin to the crown, as the boxes of the scenes reach: an adult's head is 0.21 to 0.25 m high (NASA-STD-3000,
# 1995, volume I, section 3.3, gives 0.218 to 0.255 m for men). A smaller head is fewer pixels, so this errs on the
# side that warns.
FACE_M = 0.24
# Identity counts as private where the best attacker is right at most this many times as often as by chance.
TIMES_CHANCE = 2.0
# Normal quantile of 95 %, of a bound on one side.
ONE_SIDED_95 = 1.6449


def distance_m(face_px: float, focal_length_m: float, pixel_pitch_m: float, face_m: float = FACE_M) -> float:
    """Distance at which a face of height `face_m` is `face_px` pixels high, metres.

    Raises ValueError unless all are positive.
    """
    _check(face_px=face_px, focal_length_m=focal_length_m, pixel_pitch_m=pixel_pitch_m, face_m=face_m)
    return face_m * focal_length_m / (face_px * pixel_pitch_m)


def face_px(distance_m: float, focal_length_m: float, pixel_pitch_m: float, face_m: float = FACE_M) -> float:
    """How many pixels a face of height `face_m` is high at a distance in metres. Raises ValueError as `distance_m`."""
    _check(distance_m=distance_m, focal_length_m=focal_length_m, pixel_pitch_m=pixel_pitch_m, face_m=face_m)
    return face_m * focal_length_m / (distance_m * pixel_pitch_m)


def private_below_px(
    sizes_px: Sequence[float], bounds: Sequence[float], chance: float, times: float = TIMES_CHANCE
) -> float | None:
    """The largest measured size up to which the best attacker's upper 95 % bound is within `times` chance.

    sizes_px: ascending; bounds: of the best attacker's share at each (`upper_bound`). Every smaller measured size has
    to be within it, too. None where not even the smallest one is. Raises ValueError for sizes that do not ascend or
    bounds of another number.
    """
    if len(sizes_px) != len(bounds) or list(sizes_px) != sorted(set(sizes_px)):
        raise ValueError(f"sizes must ascend and have a bound each, got {list(sizes_px)} and {len(bounds)}")
    found = None
    for size, high in zip(sizes_px, bounds, strict=True):
        if high > times * chance:
            break
        found = float(size)
    return found


def upper_bound(share: float, n: int) -> float:
    """The largest share that a share of n images does not speak against at 95 %: Wilson's score bound, one-sided, since
    only the upper one is claimed (Wilson 1927, DOI 10.1080/01621459.1927.10502953)."""
    square = ONE_SIDED_95**2 / n
    return (share + square / 2 + math.sqrt(square * (share * (1 - share) + square / 4))) / (1 + square)


def guesser_passes(n: int, chance: float, answers: int = 1, times: float = TIMES_CHANCE) -> float:
    """The power of the rule at one size: how probable it is that `answers` independent guessers of n images each, right
    with probability `chance`, all stay with their upper bound within `times` chance."""
    passes = 0.0
    for right in range(n + 1):
        if upper_bound(right / n, n) > times * chance:
            break
        log = math.lgamma(n + 1) - math.lgamma(right + 1) - math.lgamma(n - right + 1)
        passes += math.exp(log + right * math.log(chance) + (n - right) * math.log1p(-chance))
    return min(passes, 1.0) ** answers


def _check(**values: float) -> None:
    for name, value in values.items():
        if not value > 0:
            raise ValueError(f"{name} must be positive, got {value}")
