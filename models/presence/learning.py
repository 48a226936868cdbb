"""Learning the empty room: following it where nobody is, and absorbing what has become, or never was, part of it."""

import numpy as np

from models.presence.radiance import SHIFT_UNCERTAINTY, UNBOUNDED, Array, middle
from models.presence.regions import OUTLINE_LIMIT_NATS, Mask, Region, dilated, grouped, outline_contrast
from models.presence.room import GUARD_CELLS, PresenceConfig, Room

# How fast the belief of a calm, empty cell follows the room, nats per second and 1 / seconds.
FOLLOW_NATS_PER_S = 0.05
NARROWING_S = 8.0
# A ghost's outline is in the belief, not in the picture: at most this share of it is left there.
GHOST_CONTRAST = 0.45
GHOST_LEAST_NATS = 0.3
GHOST_SEEN = 0.8
# A patch of light: the change fades out at its outline (a person's does not), goes one way, and began all at once.
PATCH_SHARPNESS = 0.55
PATCH_ONE_WAY = 0.95
PATCH_ONSET_S = 0.6
PATCH_CALM_S, PATCH_LATEST_S = 1.0, 3.0
# A change of light by so many nats is uncertain by this share of it where it could not be seen.
DOUBT, MOST_DOUBT = np.float32(0.15), np.float32(0.3)
# Regions closer than twice this are judged as one: head, coat and legs of one person.
GROUP_CELLS = 4


def learn(
    room: Room, low: Array, high: Array, regions: list[Region], body: Mask, elapsed: float, config: PresenceConfig
) -> None:
    """Narrow and follow the belief where nothing is; absorb ghosts and what has been calm for long."""
    if room.settling_s > 0 or elapsed <= 0:
        return
    for mask in grouped([region.mask for region in regions], GROUP_CELLS):
        calm = float(room.calm_s[mask].min())
        fresh = mask & ~room.learned
        if fresh.any() and float(room.evidence[mask & room.learned].sum()) < config.absent_score:
            # Only motion has made this region.
            if calm >= (config.exit_s if room.exited else config.relearn_s):
                room.learned |= fresh & ~body
                absorb(room, fresh & ~body)
        elif (
            calm >= config.absorb_s
            or (calm >= config.ghost_s and is_ghost(room, mask))
            or (calm >= PATCH_CALM_S and is_patch(room, mask))
        ):
            absorb(room, mask & ~body)
    unknown = ~room.learned
    if unknown.any():
        restless = unknown & (room.calm_s <= 0)
        room.low[restless], room.high[restless] = low[restless], high[restless]
        alone = ~dilated(room.occupied, GUARD_CELLS)
        wait = np.where(room.moved & ~alone, config.relearn_s, config.learn_s)
        room.learned |= unknown & ~body & (room.calm_s >= wait)
    free = ~dilated(room.occupied, GUARD_CELLS) & (room.calm_s > 0)
    _follow(room, low, high, free, unknown, elapsed)


def is_ghost(room: Room, mask: Mask) -> bool:
    """Whether the region's outline is in the belief and no longer in the picture (which has to be bright enough)."""
    bounded = room.recent_high - room.recent_low < UNBOUNDED / 2
    if bounded[mask].mean() < GHOST_SEEN * (room.high - room.low < UNBOUNDED / 2)[mask].mean():
        return False
    now = outline_contrast(middle(room.recent_low, room.recent_high), mask, room.lit)
    then = outline_contrast(middle(room.low, room.high), mask, room.lit)
    return then >= GHOST_LEAST_NATS and now <= GHOST_CONTRAST * then


def is_patch(room: Room, mask: Mask) -> bool:
    """Whether the region looks like a lamp or a soft shadow that came at once and has not moved."""
    first, last = np.quantile(room.changed_s[mask], (0.9, 0.1))
    if first - last > PATCH_ONSET_S or first > PATCH_LATEST_S:
        return False
    change = middle(room.recent_low, room.recent_high) - middle(room.low, room.high)
    np.clip(change, -OUTLINE_LIMIT_NATS, OUTLINE_LIMIT_NATS, out=change)
    inside = change[mask].mean(axis=1)
    one_way = max(float((inside > 0).mean()), float((inside < 0).mean()))
    size = float(np.abs(change[mask]).mean())
    return one_way >= PATCH_ONE_WAY and outline_contrast(change, mask, room.lit) < PATCH_SHARPNESS * size


def doubt(room: Room, usable: Mask, change: Array) -> None:
    """Where somebody stood while the light changed, nobody could see how it changed: the belief there becomes wider.

    usable: cells where nobody stands. change: nats, (channels,) or like the beliefs. However often the light changes,
    the belief of a cell grows by MOST_DOUBT at most until the cell is seen again.
    """
    margin = np.broadcast_to(DOUBT * change, room.low.shape)
    margin = np.minimum(margin, np.maximum(MOST_DOUBT - room.doubted, 0.0)) * ~usable[..., None]
    room.doubted = np.where(usable[..., None], np.float32(0.0), room.doubted + margin)
    room.low -= margin
    room.high += margin


def absorb(room: Room, mask: Mask) -> None:
    """The room now looks there as it did over the last seconds."""
    if not mask.any():
        return
    mask = dilated(mask, 1)
    room.low[mask], room.high[mask] = room.recent_low[mask], room.recent_high[mask]
    room.evidence[mask] = -1.0
    room.occupied &= ~mask


def _follow(room: Room, low: Array, high: Array, free: Mask, unknown: Mask, elapsed: float) -> None:
    """Beliefs of free cells narrow to what fits, and move slowly towards what does not; unknown cells do both at
    once."""
    low = low - SHIFT_UNCERTAINTY
    high = high + SHIFT_UNCERTAINTY
    narrow = np.where(unknown, np.float32(1.0), np.float32(1.0 - np.exp(-elapsed / NARROWING_S)))[..., None]
    follow = np.where(unknown, np.float32(UNBOUNDED), np.float32(FOLLOW_NATS_PER_S * elapsed))[..., None]
    narrow = narrow * free[..., None]
    follow = follow * free[..., None]
    above, below = low > room.high, high < room.low
    raised = room.high + np.minimum(low - room.high, follow)
    lowered = room.low - np.minimum(room.low - high, follow)
    fits = ~(above | below)
    new_low = np.where(fits, room.low + narrow * np.maximum(low - room.low, 0), np.where(below, lowered, room.low))
    new_high = np.where(fits, room.high - narrow * np.maximum(room.high - high, 0), np.where(above, raised, room.high))
    # The shift of the light is only defined relative to the beliefs: if those of the free cells drift together, the
    # others have to drift along, or whoever stands there for long slowly changes.
    steady = (
        (free & ~unknown)[..., None] & (room.high - room.low < UNBOUNDED / 2) & (new_high - new_low < UNBOUNDED / 2)
    )
    number = steady.sum(axis=(0, 1))
    if number.all() and not free.all():
        change = np.where(steady, middle(new_low, new_high) - middle(room.low, room.high), np.float32(0.0))
        drift = change.sum(axis=(0, 1)) / number
        new_low[~free] += drift
        new_high[~free] += drift
    room.low, room.high = new_low.astype(np.float32), new_high.astype(np.float32)
