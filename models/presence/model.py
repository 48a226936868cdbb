"""Presence from change against the learned empty room, from 4-bit codes alone: the state and its update.

Every cell holds a belief, an interval of log radiance in which the empty room has been seen. A measurement gives an
interval too; what does not fit is evidence. Four steps:

1. The light: a shift per channel that most unoccupied cells share is no change of the room (`light.py`).
2. Evidence: log(probability of the code if something unknown stands there / if the room is empty), as in a likelihood
   ratio test, averaged over channels; shadows (up to `shadow_nats` darker) keep some probability under "empty".
3. Regions: connected evidence that sums to enough is presence. Someone who stands still stays evidence as long as he
   stands.
4. Learning: only where no evidence, motion or face is. What was added to the room (a moved chair) is absorbed after
   minutes without any motion. What was taken away from it (someone who stood there while the room was learned) is
   recognised by its outline, which is in the belief and no longer in the picture, and absorbed after seconds
   (Cucchiara et al. 2003, doi:10.1109/TPAMI.2003.1233909, separate such ghosts by their lack of motion).
"""

import numpy as np
from numpy.typing import NDArray

from models.presence.light import agreeing_shift, refined_shift, smooth_field
from models.presence.radiance import LEVELS, UNBOUNDED, Array, code_bounds, code_prior, middle, plausibility
from models.presence.regions import (
    OUTLINE_LIMIT_NATS,
    Mask,
    Region,
    body_mask,
    connected,
    dilated,
    grouped,
    outer_cells,
    outline_contrast,
    smoothed,
)
from models.presence.room import Presence, PresenceConfig, Room, empty_room
from models.presence.state import room_from_bytes, room_to_bytes

Codes = NDArray[np.uint8]
NO_FACES: NDArray[np.float32] = np.zeros((0, 4), dtype=np.float32)
# A clock that jumps (a restart, a looped recording, a stalled link) must not count as calm time.
LONGEST_STEP_S = 1.0
# Probability of any code in a cell of the empty room: reflections, insects, a comparator that misfires.
SURPRISE = np.float32(0.02)
# A change of the light between two measurements by more than this (20 %) is a step, not drift.
STEP_NATS = 0.18
# Steps in more than this share of the measurements, over this time, are flicker.
FLICKER_RATE, FLICKER_S = 0.3, 3.0
# After a step, evidence of motion counts again from here on (the filter of the evidence has passed it).
AFTER_STEP_S = 0.3
# Light explains this much less than usual (of 1, usual over the last seconds): something other than a shift has
# happened.
LOSS, USUAL_S = 0.06, 2.0
KNOWN_SHARE = 0.5
# Motion: codes whose plausibility against the last seconds is below UNLIKELY, summed over about MOTION_S. A noisy wall
# at a threshold makes scattered ones, here and there, in its first measurements only; a region of motion has more than
# MOTION_DENSITY of them per cell, and MOTION_SCORE more than that in all.
UNLIKELY = np.float32(0.4)
MOTION_S = 0.5
MOTION_DENSITY = np.float32(0.3)
FIRST_S = 1.0
MOTION_SCORE = 5.0
MOTION_CELLS = 4
# Between two measurements light and exposure together changed by less than this: steady.
STEADY_NATS = 0.02
# How fast the belief of a calm, empty cell follows the room, nats per second and 1 / seconds.
FOLLOW_NATS_PER_S = 0.05
NARROWING_S = 8.0
RECENT_LEAK_NATS_PER_S = 0.03
SHIFT_UNCERTAINTY = np.float32(0.03)
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
DOUBT = np.float32(0.15)
# How far around a region nothing is learned, cells.
GUARD_CELLS = 2
# Regions closer than twice this are judged as one: head, coat and legs of one person.
GROUP_CELLS = 4


class PresenceModel:
    """Presence from codes. Feed every measurement to `update`; `to_bytes` and `load` carry the learned room over a
    restart.

    thresholds: float32 (15,), ascending fractions of full scale, duplicates allowed (the encoding's, range "fixed").
    key: what a saved state belongs to (the encoding id). pool: sensor pixels per cell side, to place face boxes.
    """

    def __init__(
        self, thresholds: NDArray[np.float32], key: str = "", config: PresenceConfig | None = None, pool: int = 8
    ) -> None:
        self._thresholds = np.array(thresholds, dtype=np.float32)
        if self._thresholds.shape != (LEVELS - 1,) or not np.isfinite(self._thresholds).all():
            raise ValueError(
                f"thresholds must be 15 finite fractions of full scale, got shape {self._thresholds.shape}"
            )
        if (np.diff(self._thresholds) < 0).any():
            raise ValueError("thresholds must be ascending: sort them, and make sure that they are the encoding's")
        self._key = key
        self._config = config or PresenceConfig()
        self._pool = pool
        self._log_prior = np.log(code_prior(self._thresholds))
        self._room: Room | None = None
        self._last_time_s: float | None = None
        self._fresh = True

    @property
    def room(self) -> Room | None:
        """What is known, to look at (None before the first measurement)."""
        return self._room

    def update(
        self,
        codes: Codes,
        exposure: float,
        faces: NDArray[np.float32] = NO_FACES,
        time_s: float = 0.0,
        gain: float = 1.0,
    ) -> Presence:
        """Take in one measurement.

        codes: uint8 (rows, columns, channels), 0..15. exposure: exposure_us * gain / 10_000, as the measurement
        carries it. faces: float32 (n, 4), x, y, width, height in sensor-plane pixels; people there are not learned.
        time_s: the measurements' clock; a step backwards or of more than a second counts as no time or as a second.
        gain: the gain within exposure, for the noise. Raises ValueError for another shape, code or exposure than
        that.
        """
        self._check(codes, exposure)
        low_of, high_of = code_bounds(self._thresholds, self._config.noise, gain)
        offset = np.float32(np.log(exposure))
        low, high = (low_of - offset)[codes], (high_of - offset)[codes]
        elapsed = 0.0 if self._last_time_s is None else float(np.clip(time_s - self._last_time_s, 0.0, LONGEST_STEP_S))
        self._last_time_s = time_s
        if self._room is None or self._room.low.shape != low.shape:
            self._room = empty_room(low, high)
        room = self._room
        if self._fresh:
            # Motion is only seen against something recent; after a restart there is nothing recent yet.
            room.recent_low, room.recent_high = low - room.shift, high - room.shift
            room.age_s, self._fresh = 0.0, False
        room.age_s += elapsed
        room.lit |= (codes > 0).any(axis=2)
        informed = self._informed(room, codes, elapsed)
        if informed:
            stepped = self._follow_light(room, low, high, elapsed)
            room.step_rate += min(elapsed / FLICKER_S, 1.0) * (float(stepped) - room.step_rate)
            # Steps all the time are flicker: the shift follows it, and waiting for it to settle would never end.
            if stepped and room.step_rate < FLICKER_RATE:
                room.settling_s = self._config.settle_s
            low -= room.shift
            high -= room.shift
            body = body_mask(faces, low.shape[:2], self._pool)
            level = float(room.shift.mean()) + float(offset)
            steady = abs(level - room.level) < STEADY_NATS and abs(room.level - room.level_before) < STEADY_NATS
            room.level, room.level_before = level, room.level
            moving = self._see_motion(room, low, high, elapsed, stepped, steady and not stepped, body)
            self._weigh(room, low, high, codes, elapsed)
            regions = self._judge(room, elapsed)
            self._learn(room, low, high, regions, body, elapsed)
        else:
            moving, regions = False, []
        return Presence(
            present=room.present,
            learned=self._learned_share(room) >= KNOWN_SHARE,
            light_step=room.settling_s > 0,
            informed=informed,
            changed_share=float(room.occupied.mean()),
            regions=len(regions),
            moving=moving,
            light_nats=float(room.shift.mean()),
        )

    def to_bytes(self) -> bytes:
        """The learned room as bytes (beliefs in the domain of codes, no picture), for `load` after a restart."""
        return room_to_bytes(self._room, self._key, self._thresholds)

    def load(self, data: bytes) -> None:
        """Take over a saved room. Raises PresenceStateError for damaged bytes or a room of another encoding."""
        self._room = room_from_bytes(data, self._key, self._thresholds)
        self._last_time_s = None
        self._fresh = True

    def _check(self, codes: Codes, exposure: float) -> None:
        if codes.dtype != np.uint8 or codes.ndim != 3:
            raise ValueError(f"codes must be uint8 (rows, columns, channels), got {codes.dtype} {codes.shape}")
        if codes.size and int(codes.max()) >= LEVELS:
            raise ValueError(f"codes must lie in 0..15, got {int(codes.max())}")
        if not (np.isfinite(exposure) and exposure > 0):
            raise ValueError(f"exposure (exposure_us * gain / 10_000) must be positive, got {exposure}")

    @staticmethod
    def _learned_share(room: Room) -> float:
        lit = int(room.lit.sum())
        return float((room.learned & room.lit).sum() / lit) if lit else 0.0

    def _informed(self, room: Room, codes: Codes, elapsed: float) -> bool:
        """Whether enough cells carry information; false means that presence is held, which dark_hold_s limits.

        How many cells are at 0 or 15 in calm light depends on the thresholds (with one distinct threshold, all), so the
        share is judged against the usual one.
        """
        extreme = ((codes == 0) | (codes == LEVELS - 1))[room.lit]
        share = float(extreme.mean()) if extreme.size else 1.0
        if extreme.size and share <= 1.0 - 0.5 * (1.0 - room.extreme_share):
            if room.settling_s <= 0:
                room.extreme_share += min(elapsed / 5.0, 1.0) * (share - room.extreme_share)
            room.uninformed_s = 0.0
            return True
        room.uninformed_s += elapsed
        room.settling_s = self._config.settle_s
        if room.uninformed_s > self._config.dark_hold_s:
            room.present = False
            room.extreme_share += min(elapsed / 5.0, 1.0) * (share - room.extreme_share)
        return False

    def _follow_light(self, room: Room, low: Array, high: Array, elapsed: float) -> bool:
        """Update the shift per channel (and bend the belief by a smooth field if one fits); true for a step of
        light."""
        known = self._learned_share(room) >= KNOWN_SHARE
        believed = (room.low, room.high) if known else (room.recent_low, room.recent_high)
        usable = room.lit & ~dilated(room.occupied, GUARD_CELLS)
        if known:
            usable &= room.learned
        before = room.shift.copy()
        explained = self._shift_channels(room, low, high, believed, usable)
        stepped = bool(np.abs(room.shift - before).max() > STEP_NATS)
        if known and explained < room.explained_share - 2 * LOSS:
            bent = self._bend(room, low, high, usable, explained)
            if bent is not None:
                explained, stepped = bent, True
        elif known and stepped:
            _doubt(room, usable, np.abs(room.shift - before))
        room.explained_share += min(elapsed / USUAL_S, 1.0) * (explained - room.explained_share)
        room.explained = explained >= room.explained_share - LOSS
        return stepped

    def _shift_channels(
        self, room: Room, low: Array, high: Array, believed: tuple[Array, Array], usable: Mask
    ) -> float:
        """Shift of every channel; returns the share of usable cells that it explains."""
        # Every second row and column: 1200 cells a channel tell the light as well as 4800 do.
        sample = np.s_[::2, ::2]
        chosen = usable[sample]
        explained = 0.0
        channels = low.shape[2]
        for channel in range(channels):
            cells = [array[sample][..., channel][chosen] for array in (low, high, *believed)]
            informative = (cells[1] - cells[0] < UNBOUNDED / 2) | (cells[3] - cells[2] < UNBOUNDED / 2)
            measured_low, measured_high, old_low, old_high = (values[informative] for values in cells)
            start = float(room.shift[channel])
            shift, score = refined_shift(measured_low, measured_high, old_low, old_high, start, tether=0.5)
            share = _explained(measured_low, measured_high, old_low + shift, old_high + shift)
            if share < room.explained_share - LOSS:
                leap, _ = agreeing_shift(measured_low, measured_high, old_low, old_high, shift)
                other, other_score = refined_shift(measured_low, measured_high, old_low, old_high, leap, tether=0.0)
                if other_score > score + 0.05:
                    shift, share = other, _explained(measured_low, measured_high, old_low + other, old_high + other)
            room.shift[channel] = shift
            explained += share / channels
        return explained

    @staticmethod
    def _bend(room: Room, low: Array, high: Array, usable: Mask, explained: float) -> float | None:
        """Change the belief by a smooth field if that explains clearly more cells than the shift alone; the new
        share."""
        cells = usable[..., None] & (high - low < UNBOUNDED / 2) & (room.high - room.low < UNBOUNDED / 2)
        bend = smooth_field(low - room.shift, high - room.shift, room.low, room.high, cells)
        if bend is None:
            return None
        moved = room.shift + bend
        share = _explained(low[usable], high[usable], (room.low + moved)[usable], (room.high + moved)[usable])
        if share < explained + LOSS:
            return None
        for bound in (room.low, room.high, room.recent_low, room.recent_high):
            bound += bend
        _doubt(room, usable, np.abs(bend))
        return share

    @staticmethod
    def _see_motion(
        room: Room, low: Array, high: Array, elapsed: float, stepped: bool, steady: bool, body: Mask
    ) -> bool:
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
        return bool((room.calm_s < 1.0).any())

    def _evidence(self, likely: Array, codes: Codes) -> Array:
        """Log of (probability under an unknown object / under the room), mean over channels: float32 (rows,
        columns)."""
        nats = self._log_prior[codes]
        nats -= np.log(SURPRISE + (1 - SURPRISE) * likely)
        return np.asarray(np.clip(nats.mean(axis=2), -1.0, 2.0))

    def _weigh(self, room: Room, low: Array, high: Array, codes: Codes, elapsed: float) -> None:
        """Evidence of this measurement against the learned room, smoothed in space and time."""
        config = self._config
        likely = plausibility(low, high, room.low, room.high)
        shaded = plausibility(low, high, room.low - np.float32(config.shadow_nats), room.high)
        likely += np.float32(config.shadow_share) * (shaded - likely)
        nats = self._evidence(likely, codes)
        # Where the room is not known yet, only motion tells: someone is there until it has been calm for long.
        nats = np.where(room.learned, nats, np.where(room.moved, np.float32(1.0), np.float32(-1.0)))
        weight = np.float32(1.0 - np.exp(-max(elapsed, 1e-3) / config.smoothing_s))
        room.evidence += weight * (smoothed(nats) - room.evidence)
        room.changed_s = np.where(room.evidence > 0, room.changed_s + np.float32(elapsed), np.float32(0.0))

    def _judge(self, room: Room, elapsed: float) -> list[Region]:
        """Regions of evidence, and presence with hysteresis. While the light settles, what is new and does not move
        is no presence, and presence does not end unless the shift explains the light."""
        config = self._config
        regions = connected(room.evidence, 0.0, config.absent_score, config.least_cells)
        settling = room.settling_s > 0
        counted = regions
        if settling:
            before = dilated(room.occupied, GUARD_CELLS)
            since = config.settle_s - room.settling_s - AFTER_STEP_S
            counted = [r for r in regions if (r.mask & before).any() or float(room.calm_s[r.mask].min()) < since]
            room.settling_s = max(0.0, room.settling_s - elapsed)
            if room.settling_s == 0.0:
                for region in regions:
                    if not any(region is other for other in counted):
                        _absorb(room, region.mask)
                regions, settling = counted, False
        if not room.present:
            counted = [region for region in counted if not _is_patch(room, region.mask)]
        strongest = max((region.score for region in counted), default=0.0)
        present = strongest >= (config.absent_score if room.present else config.present_score)
        room.present = present or (room.present and settling and not room.explained)
        if counted or not settling:
            room.occupied = np.zeros_like(room.occupied)
            for region in counted:
                room.occupied |= region.mask
        return counted

    def _learn(self, room: Room, low: Array, high: Array, regions: list[Region], body: Mask, elapsed: float) -> None:
        """Narrow and follow the belief where nothing is; absorb ghosts and what has been calm for long."""
        config = self._config
        if room.settling_s > 0 or elapsed <= 0:
            return
        for mask in grouped([region.mask for region in regions], GROUP_CELLS):
            calm = float(room.calm_s[mask].min())
            fresh = mask & ~room.learned
            if fresh.any() and float(room.evidence[mask & room.learned].sum()) < config.absent_score:
                # Only motion has made this region.
                if calm >= (config.exit_s if room.exited else config.relearn_s):
                    room.learned |= fresh & ~body
                    _absorb(room, fresh & ~body)
            elif (
                calm >= config.absorb_s
                or (calm >= config.ghost_s and _is_ghost(room, mask))
                or (calm >= PATCH_CALM_S and _is_patch(room, mask))
            ):
                _absorb(room, mask & ~body)
        unknown = ~room.learned
        if unknown.any():
            restless = unknown & (room.calm_s <= 0)
            room.low[restless], room.high[restless] = low[restless], high[restless]
            alone = ~dilated(room.occupied, GUARD_CELLS)
            wait = np.where(room.moved & ~alone, config.relearn_s, config.learn_s)
            room.learned |= unknown & ~body & (room.calm_s >= wait)
        free = ~dilated(room.occupied, GUARD_CELLS) & (room.calm_s > 0)
        _follow(room, low, high, free, unknown, elapsed)


def _is_ghost(room: Room, mask: Mask) -> bool:
    """Whether the region's outline is in the belief and no longer in the picture (which has to be bright enough)."""
    bounded = room.recent_high - room.recent_low < UNBOUNDED / 2
    if bounded[mask].mean() < GHOST_SEEN * (room.high - room.low < UNBOUNDED / 2)[mask].mean():
        return False
    now = outline_contrast(middle(room.recent_low, room.recent_high), mask, room.lit)
    then = outline_contrast(middle(room.low, room.high), mask, room.lit)
    return then >= GHOST_LEAST_NATS and now <= GHOST_CONTRAST * then


def _is_patch(room: Room, mask: Mask) -> bool:
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


def _explained(low: Array, high: Array, believed_low: Array, believed_high: Array) -> float:
    """How well beliefs explain measurements, 0..1; 1 for none: the share of cells, each in proportion to its
    plausibility (up to one half: a belief that covers two bins is no bad one)."""
    if low.size == 0:
        return 1.0
    likely = plausibility(low, high, believed_low, believed_high)
    return float(np.minimum(2 * likely, 1.0).mean())


def _doubt(room: Room, usable: Mask, change: Array) -> None:
    """Where somebody stood while the light changed, nobody could see how it changed: the belief there becomes wider."""
    hidden = ~usable
    margin = np.broadcast_to(DOUBT * change, room.low.shape)[hidden]
    room.low[hidden] -= margin
    room.high[hidden] += margin


def _absorb(room: Room, mask: Mask) -> None:
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
    steady = free & ~unknown
    if steady.any() and not steady.all():
        drift = 0.5 * ((new_low - room.low)[steady].mean(axis=0) + (new_high - room.high)[steady].mean(axis=0))
        new_low[~free] += drift
        new_high[~free] += drift
    room.low, room.high = new_low.astype(np.float32), new_high.astype(np.float32)
