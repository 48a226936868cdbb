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

from models.presence.grid import divided, parts_of_a_cell, settings_for
from models.presence.learning import absorb, doubt, is_patch, learn
from models.presence.light import agreeing_shift, refined_shift, smooth_field
from models.presence.motion import see_motion
from models.presence.radiance import (
    LEVELS,
    SURPRISE,
    UNBOUNDED,
    Array,
    code_bounds,
    code_prior,
    noise_floor,
    plausibility,
)
from models.presence.regions import Mask, Region, body_mask, connected, dilated, smoothed
from models.presence.room import GUARD_CELLS, Presence, PresenceConfig, Room, empty_room
from models.presence.state import room_from_bytes, room_to_bytes

Codes = NDArray[np.uint8]
NO_FACES: NDArray[np.float32] = np.zeros((0, 4), dtype=np.float32)
# A clock that jumps (a restart, a looped recording, a stalled link) must not count as calm time.
LONGEST_STEP_S = 1.0
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
# Between two measurements, and the two before, light and exposure each changed by less than this: steady.
STEADY_NATS = 0.02


class PresenceModel:
    """Presence from codes. Feed every measurement to `update`; `to_bytes` and `load` carry the learned room over a
    restart.

    thresholds: float32 (15,), ascending fractions of full scale, duplicates allowed (the encoding's, range "fixed").
    key: what a saved state belongs to (the encoding id). pool: sensor pixels per cell side; the room is kept in cells
    of `cell_px`, which are smaller where the encoding's are large (`models.presence.grid`).
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
        self._parts = parts_of_a_cell(pool)
        self.cell_px = pool / self._parts
        self._config = settings_for(config or PresenceConfig(), self.cell_px)
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
        codes = divided(codes, self._parts)
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
        floor = noise_floor(self._thresholds, self._config.noise, gain)
        informed = self._informed(room, codes, floor, elapsed)
        if informed:
            stepped = self._follow_light(room, low, high, elapsed)
            room.step_rate += min(elapsed / FLICKER_S, 1.0) * (float(stepped) - room.step_rate)
            # Steps all the time are flicker: the shift follows it, and waiting for it to settle would never end.
            if stepped and room.step_rate < FLICKER_RATE:
                room.settling_s = self._config.settle_s
            low -= room.shift
            high -= room.shift
            body = body_mask(faces, low.shape[:2], self.cell_px)
            # Light and exposure apart: coarse codes let one hide the other.
            level = np.append(room.shift, offset)
            change = float(np.abs(level - room.level).max())
            steady = max(change, room.level_change) < STEADY_NATS
            room.level, room.level_change = level, change
            moving = see_motion(room, low, high, elapsed, stepped, steady and not stepped, body)
            self._weigh(room, low, high, codes, elapsed)
            regions = self._judge(room, elapsed)
            learn(room, low, high, regions, body, elapsed, self._config)
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

    def _informed(self, room: Room, codes: Codes, floor: int, elapsed: float) -> bool:
        """Whether enough cells carry information; false means that presence is held, which dark_hold_s limits.

        How many cells are at 0 or 15 in calm light depends on the thresholds (with one distinct threshold, all), so the
        share is judged against the usual one.
        """
        dark, bright = (codes <= floor)[room.lit], (codes == LEVELS - 1)[room.lit]
        extreme = dark | bright
        share = float(extreme.mean()) if extreme.size else 1.0
        if room.age_s == 0 and extreme.size and share > 0 and min(dark.mean(), bright.mean()) > 0.01:
            room.extreme_share = max(room.extreme_share, share)
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
        elif known and stepped and room.step_rate < FLICKER_RATE:
            doubt(room, usable, np.abs(room.shift - before))
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
        doubt(room, usable, np.abs(bend))
        return share

    def _evidence(self, likely: Array, codes: Codes) -> Array:
        """Log of (probability under an unknown object / under the room): float32 (rows, columns).

        The mean over channels: these are not independent, most things differ in brightness and so in all channels,
        while the colour of the light and small errors of the shift show in one.
        """
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
                        absorb(room, region.mask)
                regions, settling = counted, False
        if not room.present:
            counted = [region for region in counted if not is_patch(room, region.mask)]
        strongest = max((region.score for region in counted), default=0.0)
        present = strongest >= (config.absent_score if room.present else config.present_score)
        room.present = present or (room.present and settling and not room.explained)
        if counted or not settling:
            room.occupied = np.zeros_like(room.occupied)
            for region in counted:
                room.occupied |= region.mask
        return regions


def _explained(low: Array, high: Array, believed_low: Array, believed_high: Array) -> float:
    """How well beliefs explain measurements, 0..1; 1 for none: the share of cells, each in proportion to its
    plausibility (up to one half: a belief that covers two bins is no bad one)."""
    if low.size == 0:
        return 1.0
    likely = plausibility(low, high, believed_low, believed_high)
    return float(np.minimum(2 * likely, 1.0).mean())
