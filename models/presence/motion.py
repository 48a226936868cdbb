"""Motion: what differs from the last seconds, in codes. Also what keeps a cell from being learned."""

import numpy as np

from models.presence.radiance import SHIFT_UNCERTAINTY, SURPRISE, Array, plausibility
from models.presence.regions import Mask, connected, dilated, outer_cells, smoothed
from models.presence.room import Room

# Motion: codes whose plausibility against the last seconds is below UNLIKELY, summed over about MOTION_S. A noisy wall
# at a threshold makes scattered ones, here and there, in its first measurements only; a region of motion has more than
# MOTION_DENSITY of them per cell, and MOTION_SCORE more than that in all.
UNLIKELY = np.float32(0.4)
MOTION_S = 0.5
MOTION_DENSITY = np.float32(0.3)
# At first every cell near a threshold is news once: the density asked for is higher, and falls in about this time.
FIRST_S = 1.0
MOTION_SCORE = 5.0
MOTION_CELLS = 4
# The belief about the last seconds forgets, so that a cell that changes slowly is not pinned to where it was.
RECENT_LEAK_NATS_PER_S = 0.03


def see_motion(room: Room, low: Array, high: Array, elapsed: float, stepped: bool, steady: bool, body: Mask) -> bool:
    """Compare with the last seconds, and let these follow. Updates calm_s and moved."""
    likely = plausibility(low, high, room.recent_low, room.recent_high)
    room.calm_s += np.float32(elapsed)
    if steady:
        # The light is as it was, so even a neighbouring code is news, unless the cell lies at a threshold; whether
        # it does shows after a few measurements, and single cells do not count anyway.
        news = np.clip(1.0 - likely.min(axis=2) / UNLIKELY, 0.0, 1.0)
    else:
        news = (likely < SURPRISE).all(axis=2) & (not stepped)
    room.motion *= np.float32(np.exp(-elapsed / MOTION_S))
    room.motion += news
    changed = np.zeros(low.shape[:2], dtype=bool)
    # At first every cell near a threshold is news once.
    density = MOTION_DENSITY * np.float32(1.0 + 1.5 * np.exp(-room.age_s / FIRST_S))
    moving = smoothed(np.minimum(room.motion, 1.5)) - density
    for region in connected(moving, 0.0, MOTION_SCORE, MOTION_CELLS):
        changed |= region.mask
    if changed.any():
        changed = dilated(changed, 1)
        room.calm_s[changed] = 0.0
        room.moved |= changed
        room.exited = bool((changed & outer_cells(room.lit)).any())
    room.calm_s[body] = 0.0
    fits = likely > 0
    leak = np.float32(RECENT_LEAK_NATS_PER_S * elapsed)
    low, high = low - SHIFT_UNCERTAINTY, high + SHIFT_UNCERTAINTY
    room.recent_low = np.where(fits, np.maximum(room.recent_low - leak, low), low)
    room.recent_high = np.where(fits, np.minimum(room.recent_high + leak, high), high)
    return bool(((room.calm_s < 1.0) & room.moved).any())
