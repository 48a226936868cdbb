"""What is asked of the board's test cell, cut into commands that each take the board only a short while."""

from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from host.board import protocol
from host.board.assembly import Geometry, unpack_codes
from host.board.protocol import Approach, Convert, ConvertReply, Sweep

ApproachName = Literal["none", "below", "above"]

# Not armed, the board would serve a command of nearly two seconds, but look at nothing else meanwhile.
IDLE_SWEEP_US = 200_000
_READS_MAX = 255
_READS_IN_ALL = 0xFFFF  # what a count, uint16, can hold
_VISIT_US = protocol.DAC_WRITE_MICROSECONDS + protocol.COMPARATORS_MICROSECONDS


def sweep_commands(
    comparator: int, start: int, step: int, count: int, reads: int, approach: ApproachName, armed: bool
) -> Iterator[tuple[int, Sweep]]:
    """Commands that together read `count` levels `reads` times each, with the number of the first level of each.

    Counts of commands that start at the same level add up. Without approach ("none") hysteresis carries over from each
    reading to the next, which only holds within one command. Raises ValueError where a level is beyond the DAC's ends,
    or where the readings without approach do not fit one command.
    """
    if not 0 <= comparator < protocol.COMPARATORS:
        raise ValueError(f"the board has comparators 0 to {protocol.COMPARATORS - 1}, not {comparator}")
    if approach not in ("none", "below", "above"):
        raise ValueError(f"a level is approached from below, from above or not at all (none), not {approach!r}")
    if count < 1 or not 1 <= reads <= _READS_IN_ALL:
        raise ValueError(f"a sweep has 1 level or more and 1 to {_READS_IN_ALL} reads of each, not {count} and {reads}")
    last = start + (count - 1) * step
    if not 0 <= min(start, last) <= max(start, last) <= protocol.DAC_FULL_SCALE:
        raise ValueError(
            f"levels from {start} to {last} lie beyond the DAC's ends, 0 and {protocol.DAC_FULL_SCALE}:"
            " start elsewhere, or take fewer or smaller steps"
        )
    if count > 1 and not -0x8000 <= step <= 0x7FFF:
        raise ValueError(f"a step is -32768 to 32767 DAC codes, not {step}")
    limit_us = protocol.SWEEP_ARMED_MICROSECONDS if armed else IDLE_SWEEP_US
    step = step if count > 1 else 0
    code = Approach[approach.upper()]
    if code == Approach.NONE:
        took_us = count * protocol.DAC_WRITE_MICROSECONDS + count * reads * protocol.COMPARATORS_MICROSECONDS
        if count > protocol.SWEEP_LEVELS_MAX or reads > _READS_MAX or took_us > limit_us:
            raise ValueError(
                f"{count} levels of {reads} reads do not fit one command, and without approach they have to: take at"
                f" most {protocol.SWEEP_LEVELS_MAX} levels, {_READS_MAX} reads and {limit_us / 1000:g} ms in all"
                f" ({took_us / 1000:g} ms), or approach from below or above"
            )
        yield 0, Sweep(comparator, start, step, count, reads, code)
        return
    affordable = limit_us // (2 * _VISIT_US)
    left = reads
    while left > 0:
        now = min(left, _READS_MAX, affordable)
        levels = min(protocol.SWEEP_LEVELS_MAX, affordable // now)
        for first in range(0, count, levels):
            yield first, Sweep(comparator, start + first * step, step, min(levels, count - first), now, code)
        left -= now


def sweep_seconds(count: int, reads: int) -> float:
    """Seconds that a sweep takes the board at most, without what the link takes."""
    return count * reads * 2 * _VISIT_US / 1e6


def convert_commands(levels: ArrayLike) -> list[Convert]:
    """Commands that together convert `levels`, whole DAC codes (n,), in order. Raises ValueError for other levels."""
    wanted = np.asarray(levels)
    if wanted.ndim != 1 or (wanted.size and wanted.dtype.kind not in "iu"):
        raise ValueError(f"expected a row of whole DAC codes, not shape {wanted.shape} of {wanted.dtype}")
    if wanted.size and not 0 <= wanted.min() <= wanted.max() <= protocol.DAC_FULL_SCALE:
        raise ValueError(f"levels are DAC codes 0..{protocol.DAC_FULL_SCALE}, not {wanted.min()}..{wanted.max()}")
    most = protocol.CONVERT_LEVELS_MAX
    pieces = [wanted[first : first + most].tolist() for first in range(0, wanted.size, most)]
    return [Convert(len(piece), (*piece, *[0] * (most - len(piece)))) for piece in pieces]


def codes_of(command: Convert, reply: ConvertReply) -> NDArray[np.uint8]:
    """Codes uint8 (count,) that a command was answered with."""
    packed = reply.codes[: (command.count + 1) // 2]
    return unpack_codes(packed, Geometry(1, command.count, 1)).ravel()


def convert_seconds(commands: Sequence[Convert]) -> float:
    """Seconds that conversions take the board at most, without what the link takes."""
    return sum(command.count for command in commands) * _VISIT_US / 1e6
