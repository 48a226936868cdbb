"""Automatic exposure from codes alone: steers the share of cells at code 15 to its target, no clock, no frame.

With a fixed range the exposure decides what the codes can tell. The only measure of light is the codes themselves:
how many cells reach the highest threshold and, if too few do, how far below it the brightest ones lie. Controls land
a few frames late, so the controller waits until a measurement carries what it asked for; a device that ignores it is
asked again, ever more rarely, and counted.
"""

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from optics.exposure import SATURATED_SHARE_TARGET

REFERENCE_EXPOSURE_US = 10_000
TOP_CODE = 15
# What a step may be at most: the share at 15 says "too bright", not how much.
TOO_BRIGHT = ((0.9, 0.1), (0.6, 0.25), (0.3, 0.4), (0.12, 0.75))
SLIGHTLY_TOO_BRIGHT = 0.85
# A step down below this comes from new light: where it was too dim before says nothing about it.
NEW_LIGHT = 0.4
LARGEST_RAISE = 16.0
# Nothing is asked for that would change the light by less than this.
LEAST_CHANGE = 0.03
# A correction larger than this (either way) does not wait: the picture is far off.
URGENT = 1.8
# After an urgent step, this many measurements may correct again without patience.
HURRY = 8
SAME_EXPOSURE = 0.02
# In a wide bin the brightest cells may lie anywhere: a raise is at least this, and bisection does the rest.
LEAST_RAISE = 1.12
# Too dim and too bright this close to each other: the dim one is kept, for as many deviating measurements as follow.
NARROW_BRACKET, FORGET_AFTER = 1.08, 300


@dataclass(frozen=True)
class ExposureConfig:
    """Limits of the camera and how calm the control is.

    exposure_us: shortest and longest exposure; gain: lowest and highest. mains_hz: 50 or 60; exposures are then
    multiples of half a mains period where the light allows (lamps flicker at twice the mains frequency), 0 for any
    exposure. target_share: share of lit cells at code 15; nothing changes while it stays within target * deadband.
    patience: measurements that a small deviation must last. latency: measurements after which an unanswered control
    is asked again.
    """

    exposure_us: tuple[int, int] = (100, 33_000)
    gain: tuple[float, float] = (1.0, 16.0)
    mains_hz: int = 50
    target_share: float = SATURATED_SHARE_TARGET
    deadband: tuple[float, float] = (0.25, 3.0)
    patience: int = 6
    latency: int = 10

    def __post_init__(self) -> None:
        low_us, high_us = self.exposure_us
        low_gain, high_gain = self.gain
        if not 0 < low_us < high_us:
            raise ValueError(f"exposure_us must be positive and ascending, got {self.exposure_us}")
        if not 0 < low_gain <= high_gain:
            raise ValueError(f"gain must be positive and ascending, got {self.gain}")
        if self.mains_hz not in (0, 50, 60):
            raise ValueError(f"mains_hz must be 50, 60 or 0 (lamps do not flicker), got {self.mains_hz}")
        if not (0 < self.target_share < 0.5 and 0 <= self.deadband[0] < 1 < self.deadband[1]):
            raise ValueError("target_share must lie in (0, 0.5) and deadband around 1")
        if self.patience < 1 or self.latency < 1:
            raise ValueError("patience and latency are counts of measurements, at least 1")


@dataclass(frozen=True)
class ExposureState:
    """What the controller remembers. asked: exposure_us and gain that have not been seen in a measurement yet.

    waited: measurements since it was asked; ignored: controls in a row that never landed; outside: measurements in a
    row outside the deadband; hurry: measurements left that may correct at once; floor, ceiling: exposure_us * gain /
    10_000 that were last seen too dim and too bright (a wall that jumps over the target as one piece must not make
    the control swing), and bracket_age: corrections since these were forgotten; raises: raises in a row, each at
    least twice (in the logarithm) the one before; lit: bool like the codes, cells that were ever above 0 (the black
    bars of a letterboxed scene never are).
    """

    asked: tuple[int, float] | None = None
    waited: int = 0
    ignored: int = 0
    outside: int = 0
    hurry: int = HURRY
    floor: float = 0.0
    ceiling: float = float("inf")
    bracket_age: int = 0
    raises: int = 0
    lit: NDArray[np.bool_] | None = field(default=None, compare=False)


def next_exposure(
    state: ExposureState,
    codes: NDArray[np.uint8],
    exposure_us: int,
    gain: float,
    thresholds: NDArray[np.float32],
    config: ExposureConfig,
) -> tuple[ExposureState, tuple[int, float] | None]:
    """The state after one measurement, and the exposure_us and gain to ask for (None: leave them).

    codes: uint8 (rows, columns, channels). exposure_us, gain: what this measurement was made with. thresholds: float32
    (15,), fractions of full scale.
    """
    lit = codes > 0 if state.lit is None or state.lit.shape != codes.shape else state.lit | (codes > 0)
    state = replace(state, lit=lit)
    now = exposure_us * gain / REFERENCE_EXPOSURE_US
    if state.asked is not None:
        wanted = state.asked[0] * state.asked[1] / REFERENCE_EXPOSURE_US
        if abs(now / wanted - 1.0) > SAME_EXPOSURE:
            # The first unanswered control is given up after `latency`, the next after twice that, and so on.
            if state.waited + 1 < config.latency * 2 ** min(state.ignored, 6):
                return replace(state, waited=state.waited + 1), None
            state = replace(state, ignored=state.ignored + 1)
        else:
            state = replace(state, ignored=0)
        state = replace(state, asked=None, waited=0)
    histogram = np.bincount(codes[lit].ravel() if lit.any() else codes.ravel(), minlength=TOP_CODE + 1)
    factor = exposure_factor(histogram, thresholds, config)
    state, factor = _restrain(state, factor, now, config)
    request = split_exposure(now * factor, config)
    change = request[0] * request[1] / REFERENCE_EXPOSURE_US / now
    if factor == 1.0 or abs(change - 1.0) < LEAST_CHANGE:
        return state, None
    return replace(state, asked=request, waited=0, outside=0), request


def exposure_factor(histogram: NDArray[np.integer], thresholds: NDArray[np.float32], config: ExposureConfig) -> float:
    """By how much the light on the sensor should change: 1.0 within the deadband. histogram: cells per code, (16,)."""
    total = int(histogram.sum())
    share = float(histogram[TOP_CODE]) / max(total, 1)
    if share > config.target_share * config.deadband[1]:
        return next((factor for least, factor in TOO_BRIGHT if share >= least), SLIGHTLY_TOO_BRIGHT)
    if total == 0 or share >= config.target_share * config.deadband[0]:
        return 1.0
    # The value that the brightest target_share of the cells reach: interpolated in the logarithm within its bin.
    rank = config.target_share * total
    above = np.cumsum(histogram[::-1])[::-1].astype(np.float64)
    code = int(np.flatnonzero(above >= rank)[-1])
    if code == 0:
        return LARGEST_RAISE
    beyond = above[code + 1] if code < TOP_CODE else 0.0
    position = 1.0 - (rank - beyond) / max(above[code] - beyond, 1.0)
    low, high = np.log(np.maximum(np.asarray(thresholds[[code - 1, code]], dtype=np.float64), 1e-6))
    brightest = low + position * (high - low)
    return float(np.clip(np.exp(np.log(float(thresholds[-1])) - brightest), 1.0, LARGEST_RAISE))


def split_exposure(product: float, config: ExposureConfig) -> tuple[int, float]:
    """exposure_us and gain whose product / 10_000 is nearest to `product`: the lowest gain, and no flicker, that
    reach it."""
    low_us, high_us = config.exposure_us
    low_gain, high_gain = config.gain
    wanted_us = product * REFERENCE_EXPOSURE_US / low_gain
    exposure = min(max(wanted_us, low_us), high_us)
    if config.mains_hz:
        period = 500_000 / config.mains_hz
        periods = int(exposure / period + 1e-6)
        if periods >= 1 and round(periods * period) >= low_us:
            exposure = periods * period
    exposure_us = round(exposure)
    gain = min(max(product * REFERENCE_EXPOSURE_US / exposure_us, low_gain), high_gain)
    if gain >= high_gain and exposure_us < high_us:
        # Not even the highest gain is enough at a whole number of periods: light matters more than flicker.
        exposure_us = round(min(max(product * REFERENCE_EXPOSURE_US / high_gain, exposure_us), high_us))
    return exposure_us, round(gain, 3)


def _restrain(state: ExposureState, factor: float, now: float, config: ExposureConfig) -> tuple[ExposureState, float]:
    """Bisection between what was just too dim and too bright, and patience with small deviations."""
    calm = replace(state, outside=0, raises=0, hurry=max(state.hurry - 1, 0))
    if factor == 1.0:
        return replace(calm, floor=0.0, ceiling=float("inf"), bracket_age=0), 1.0
    bracket_age = state.bracket_age + 1
    floor, ceiling = (0.0, float("inf")) if bracket_age > FORGET_AFTER else (state.floor, state.ceiling)
    bracket_age = 0 if bracket_age > FORGET_AFTER else bracket_age
    raises = state.raises
    if factor < 1.0:
        ceiling = min(ceiling, now)
        # Too bright where it was too dim: the light has changed, and the bracket is void.
        floor = floor if floor < now * (1 - SAME_EXPOSURE) and factor >= NEW_LIGHT else 0.0
        if floor * NARROW_BRACKET > now:
            factor = min(floor / now, 1 - LEAST_CHANGE)
        else:
            factor = max(factor, (floor / now) ** 0.5)
        raises = 0
    else:
        floor = max(floor, now)
        ceiling = ceiling if now * factor < ceiling * URGENT and ceiling > now * (1 + SAME_EXPOSURE) else float("inf")
        if ceiling < now * NARROW_BRACKET:
            return replace(calm, floor=floor, ceiling=ceiling, bracket_age=bracket_age), 1.0
        least = min(LEAST_RAISE ** (2**raises), URGENT)
        factor = min(max(factor, least), (ceiling / now) ** 0.5 if np.isfinite(ceiling) else LARGEST_RAISE)
    urgent = factor >= URGENT or factor <= 1.0 / URGENT
    state = replace(
        state,
        floor=floor,
        ceiling=ceiling,
        bracket_age=bracket_age,
        outside=state.outside + 1,
        hurry=HURRY if urgent else max(state.hurry - 1, 0),
    )
    if not urgent and not state.hurry and state.outside < config.patience:
        return state, 1.0
    return replace(state, raises=min(raises + 1, 4) if factor > 1.0 else 0), factor


class ExposureController:
    """`next_exposure` with its state kept. thresholds: float32 (15,), fractions of full scale."""

    def __init__(self, thresholds: NDArray[np.float32], config: ExposureConfig | None = None) -> None:
        self._thresholds = np.asarray(thresholds, dtype=np.float32)
        if self._thresholds.shape != (TOP_CODE,):
            raise ValueError(f"thresholds must have the shape (15,), got {self._thresholds.shape}")
        self._config = config or ExposureConfig()
        self.state = ExposureState()

    @property
    def ignored(self) -> int:
        """Controls in a row that never appeared in a measurement: above 2, the camera does not take them."""
        return self.state.ignored

    def update(self, codes: NDArray[np.uint8], exposure_us: int, gain: float) -> tuple[int, float] | None:
        """exposure_us and gain to ask for after this measurement (made with `exposure_us`, `gain`), None to leave
        them."""
        self.state, request = next_exposure(self.state, codes, exposure_us, gain, self._thresholds, self._config)
        return request
