"""From faces and presence to a count, to `occupied` and to events, on the measurements' clock.

What the words mean:

- **count** of a measurement: max(faces, 1 if present), smoothed: faces are the median over the last `smoothing_s` (at
  most half a second), presence the majority. Someone seen from behind has no face and counts as one; so does a group
  seen from behind. count > 0 if and only if `occupied`.
- **occupied** of a measurement: most of the measurements of the last `smoothing_s` had somebody; on a tie it stays. As
  long as there are fewer because measuring has only begun, or begun again, what was before has one vote.
- **arrived** / **left**: `occupied` has been different from the last of these events without interruption for
  `arrived_hold_s` / `left_hold_s`. They alternate, beginning with arrived: before the first measurement the room is
  empty.
- **count_changed**: while somebody is there, another count has lasted without interruption for `count_hold_s`.

A pause between measurements longer than `gap_s`, or a clock that steps back, interrupts: what happened in between is
not known, so a hold begins anew. All state is one small value: whoever stores it in the same transaction as the
events that came with it can be killed at any time and loses or invents none.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal

LONGEST_SMOOTHING_S = 0.5
EventName = Literal["arrived", "left", "count_changed"]


@dataclass(frozen=True)
class OccupancyConfig:
    """Times in seconds on the measurements' clock; see the head of the file."""

    smoothing_s: float = 0.5
    arrived_hold_s: float = 1.0
    left_hold_s: float = 3.0
    count_hold_s: float = 2.0
    gap_s: float = 2.0

    def __post_init__(self) -> None:
        for entry in fields(self):
            value = getattr(self, entry.name)
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"occupancy.{entry.name} must be a number of seconds, zero or more, got {value}")
        if self.smoothing_s > LONGEST_SMOOTHING_S:
            raise ValueError(
                f"occupancy.smoothing_s must be at most {LONGEST_SMOOTHING_S} s, got {self.smoothing_s}: "
                "use the hold times to make events calmer"
            )


@dataclass(frozen=True)
class OccupancyEvent:
    """event: what happened; time_s: the measurement that completed the hold; since_s: the one that began it; count:
    people."""

    event: EventName
    time_s: float
    since_s: float
    count: int


@dataclass(frozen=True)
class OccupancyState:
    """Everything that the next measurement depends on. recent: (time_s, faces, present) within the smoothing.
    began_s: first measurement since the start or the last interruption.

    occupied, count: smoothed, of the last measurement. announced: what the last event said (count 0: left, or none
    yet). occupied_since_s, count_since_s: when the present deviation from what was announced began, None without one.
    """

    recent: tuple[tuple[float, int, bool], ...] = ()
    began_s: float | None = None
    occupied: bool = False
    count: int = 0
    announced: int = 0
    occupied_since_s: float | None = None
    count_since_s: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, for `from_dict`."""
        return asdict(self)

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> "OccupancyState":
        """The state that `to_dict` wrote. Raises ValueError for anything else."""
        names = {entry.name for entry in fields(OccupancyState)}
        if set(values) != names:
            raise ValueError(
                f"stored occupancy must have {sorted(names)}, got {sorted(values)}: delete it to begin anew"
            )
        try:
            recent = tuple((float(time_s), int(faces), bool(present)) for time_s, faces, present in values["recent"])
            since = [
                None if values[name] is None else float(values[name]) for name in ("occupied_since_s", "count_since_s")
            ]
            count, announced = int(values["count"]), int(values["announced"])
            began_s = None if values["began_s"] is None else float(values["began_s"])
        except (TypeError, ValueError) as cause:
            raise ValueError(f"stored occupancy cannot be read ({cause}): delete it to begin anew") from cause
        if min(count, announced) < 0 or bool(values["occupied"]) != (count > 0):
            raise ValueError("stored occupancy contradicts itself: delete it to begin anew")
        return OccupancyState(recent, began_s, count > 0, count, announced, *since)


def observe(
    state: OccupancyState, time_s: float, faces: int, present: bool, config: OccupancyConfig
) -> tuple[OccupancyState, tuple[OccupancyEvent, ...]]:
    """Take in one measurement: its time, number of faces and presence. The new state (its `occupied` and `count` are
    this measurement's) and the events that it completes, at most one.

    A second measurement with the same time replaces the first. Raises ValueError for a negative number of faces or a
    time that is no number.
    """
    if faces < 0 or not math.isfinite(time_s):
        raise ValueError(f"a measurement needs a finite time and zero or more faces, got {time_s} and {faces}")
    last_s = state.recent[-1][0] if state.recent else None
    interrupted = last_s is not None and not 0 <= time_s - last_s <= config.gap_s
    # A hair less than the smoothing, so that at 10 per second half a second is five measurements however times are
    # rounded.
    oldest_s = time_s - config.smoothing_s + 1e-6
    kept = () if interrupted else tuple(entry for entry in state.recent if oldest_s <= entry[0] < time_s)
    recent = (*kept, (time_s, int(faces), bool(present)))
    began = time_s if interrupted or state.began_s is None else state.began_s
    votes = [present or faces > 0 for _, faces, present in recent]
    if began > oldest_s:
        votes.append(state.occupied)
    occupied = _majority(votes, state.occupied)
    count = max(_median([faces for _, faces, _ in recent]), 1) if occupied else 0
    occupied_since = _since(occupied != (state.announced > 0), state.occupied_since_s, time_s, interrupted)
    deviates = occupied and state.announced > 0 and count != state.announced
    same_deviation = count == state.count and not interrupted
    count_since = _since(deviates, state.count_since_s, time_s, not same_deviation)
    state = replace(
        state,
        recent=recent,
        began_s=began,
        occupied=occupied,
        count=count,
        occupied_since_s=occupied_since,
        count_since_s=count_since,
    )
    hold_s = config.arrived_hold_s if occupied else config.left_hold_s
    if occupied_since is not None and _held(time_s - occupied_since, hold_s):
        name: EventName = "arrived" if occupied else "left"
        event = OccupancyEvent(name, time_s, occupied_since, count)
    elif count_since is not None and _held(time_s - count_since, config.count_hold_s):
        event = OccupancyEvent("count_changed", time_s, count_since, count)
    else:
        return state, ()
    return replace(state, announced=count, occupied_since_s=None, count_since_s=None), (event,)


def _held(elapsed_s: float, hold_s: float) -> bool:
    """Whether the hold is over; a microsecond is forgiven, since times are sums and differences of floats."""
    return elapsed_s >= hold_s - 1e-6


def _since(deviates: bool, since_s: float | None, time_s: float, anew: bool) -> float | None:
    if not deviates:
        return None
    return time_s if since_s is None or anew else since_s


def _majority(votes: list[bool], before: bool) -> bool:
    agreeing = sum(votes)
    return before if 2 * agreeing == len(votes) else 2 * agreeing > len(votes)


def _median(counts: list[int]) -> int:
    """The lower median: of an even number of counts, the smaller of the two in the middle."""
    return sorted(counts)[(len(counts) - 1) // 2]


class Occupancy:
    """`observe` with its state kept; `state` may be stored and given again."""

    def __init__(self, config: OccupancyConfig | None = None, state: OccupancyState | None = None) -> None:
        self._config = config or OccupancyConfig()
        self.state = state or OccupancyState()

    def update(self, time_s: float, faces: int, present: bool) -> tuple[OccupancyEvent, ...]:
        """Take in one measurement; `state.occupied` and `state.count` are then its own. Returns the events it
        completes."""
        self.state, events = observe(self.state, time_s, faces, present, self._config)
        return events
