"""What presence knows: its settings, the learned room, and what one measurement says."""

from dataclasses import dataclass, field

import numpy as np

from models.presence.radiance import Array, SensorNoise
from models.presence.regions import Mask

# How far around a region nothing is learned, cells.
GUARD_CELLS = 2


@dataclass(frozen=True)
class PresenceConfig:
    """What an installer may change. Times in seconds on the measurements' clock; scores in nats, and scores and sizes
    of regions as they are in cells of 8 px (`models.presence.grid` brings them to other cells)."""

    learn_s: float = 2.0  # calm time after which a cell that never moved belongs to the empty room
    relearn_s: float = 30.0  # the same where someone moved before the room was known and may still stand
    exit_s: float = 3.0  # the same if the last motion was at the edge of the picture
    ghost_s: float = 3.0  # calm time before what was taken out of the room is absorbed
    absorb_s: float = 900.0  # calm time before what was added to the room is absorbed
    dark_hold_s: float = 30.0  # how long presence is held while the codes say nothing (all 0 or all 15)
    settle_s: float = 1.0  # time for light and exposure to settle after a step, during which presence is held
    present_score: float = 8.0  # evidence of one region that makes presence, about 7 entirely different cells
    absent_score: float = 4.0  # below it presence ends
    least_cells: int = 5  # smallest region
    shadow_nats: float = 0.5  # a shadow darkens by at most this (to 60 %)
    shadow_share: float = 0.25  # prior probability that a cell of the empty room is in a shadow
    smoothing_s: float = 0.12  # time constant of the evidence
    noise: SensorNoise = field(default_factory=SensorNoise)

    def __post_init__(self) -> None:
        for name in ("learn_s", "relearn_s", "ghost_s", "absorb_s", "settle_s", "smoothing_s", "present_score"):
            if not getattr(self, name) > 0:
                raise ValueError(f"presence.{name} must be positive, got {getattr(self, name)}")
        if not 0 < self.absent_score <= self.present_score:
            raise ValueError(f"presence.absent_score must be in (0, present_score], got {self.absent_score}")
        if not 0 <= self.shadow_share < 1:
            raise ValueError(f"presence.shadow_share must be in [0, 1), got {self.shadow_share}")


@dataclass(frozen=True, slots=True)
class Presence:
    """What one measurement says. present: someone is there, as change or motion shows it (faces are counted elsewhere).

    learned: the empty room is known for at least half of the picture. light_step: light or exposure is settling,
    presence is held. informed: enough cells are neither at 0 nor at 15; otherwise presence is held, at most
    dark_hold_s. changed_share: share of the cells that belong to regions of evidence. regions: number of these.
    moving: something moved within the last second. light_nats: change of the light since the room was learned (mean
    over channels, log ratio).
    """

    present: bool
    learned: bool
    light_step: bool
    informed: bool
    changed_share: float
    regions: int
    moving: bool
    light_nats: float


@dataclass
class Room:
    """Everything that is known, in arrays. `low`, `high`: believed bounds of log radiance, float32 (rows, columns,
    channels).

    recent_low, recent_high: the same over the last seconds, against which motion is seen. learned: cells that belong to
    the empty room; moved: cells where something moved since the start. calm_s: seconds since motion, per cell;
    changed_s: since evidence began. lit: cells that have ever been above code 0 (the black bars of a letterboxed scene
    never are). motion: news of the last half second; doubted: by how much the bounds were moved apart since the cell
    was last seen. shift: light now, per channel; level: shift and log exposure of the last measurement.
    """

    low: Array
    high: Array
    recent_low: Array
    recent_high: Array
    learned: Mask
    moved: Mask
    lit: Mask
    calm_s: Array
    changed_s: Array
    evidence: Array
    occupied: Mask
    motion: Array
    doubted: Array
    shift: Array
    level: Array
    present: bool = False
    extreme_share: float = 0.0
    explained_share: float = 0.9
    explained: bool = True
    settling_s: float = 0.0
    uninformed_s: float = 0.0
    step_rate: float = 0.0
    age_s: float = 0.0
    level_change: float = 0.0
    exited: bool = False


def empty_room(low: Array, high: Array) -> Room:
    """Nothing known but the first measurement."""
    shape = low.shape[:2]
    return Room(
        low=low.copy(),
        high=high.copy(),
        recent_low=low.copy(),
        recent_high=high.copy(),
        learned=np.zeros(shape, dtype=bool),
        moved=np.zeros(shape, dtype=bool),
        lit=np.zeros(shape, dtype=bool),
        calm_s=np.zeros(shape, dtype=np.float32),
        changed_s=np.zeros(shape, dtype=np.float32),
        evidence=np.full(shape, -1.0, dtype=np.float32),
        occupied=np.zeros(shape, dtype=bool),
        motion=np.zeros(shape, dtype=np.float32),
        doubted=np.zeros(low.shape, dtype=np.float32),
        shift=np.zeros(low.shape[2], dtype=np.float32),
        level=np.zeros(low.shape[2] + 1, dtype=np.float32),
    )
