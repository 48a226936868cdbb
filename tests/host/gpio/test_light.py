"""A light is on when frames that were exposed after the switching agree, and not when time has passed."""

import itertools

import pytest

from host.board.deadline import Deadline
from host.config import Gpio
from host.gpio.errors import LightUnsteady
from host.gpio.light import IN_FLIGHT_FRAMES, STEADY_FRAMES, switch_and_settle
from host.gpio.pins import Pins
from host.twin.gpio import TwinGpio


class Scene:
    """Frames that are late by some, of a lamp that warms up over some more."""

    def __init__(self, late: int = 3, warming: float = 0.5, dead: bool = False, flicker: float = 0.0) -> None:
        self.twin = TwinGpio()
        self.pins = Pins(self.twin, Gpio(device="twin", source_pin=13))
        self.pins.open()
        if dead:
            self.twin.dead.add(13)
        self.number, self.late, self.warming, self.flicker = 0, late, warming, flicker
        self.queue = [0.1] * late
        self.level = 0.1

    def observe(self) -> tuple[int, float]:
        target = 0.8 if self.twin.lit(13) else 0.1
        self.level = target + (self.level - target) * self.warming
        self.number += 1
        self.queue.append(self.level + self.flicker * (-1) ** self.number)
        return self.number, self.queue.pop(0)


@pytest.mark.parametrize(("late", "warming"), list(itertools.product([0, 3, IN_FLIGHT_FRAMES], [0.0, 0.5, 0.9])))
def test_the_level_after_it_is_the_steady_one(late, warming):
    scene = Scene(late, warming)
    done = switch_and_settle(scene.pins.source, True, scene.observe, Deadline(10, "lighting"), 0.01)
    assert done.before == pytest.approx(0.1)
    assert done.changed
    # Three frames within the tolerance: what is left of an exponential is less than tolerance / (1 - decay^2) more.
    assert done.after == pytest.approx(0.8, abs=0.01 / (1 - min(warming, 0.9) ** 2) + 1e-9)
    assert done.frames >= 1 + IN_FLIGHT_FRAMES + STEADY_FRAMES
    off = switch_and_settle(scene.pins.source, False, scene.observe, Deadline(10, "darkening"), 0.01)
    assert off.changed
    assert off.after < 0.2


def test_a_dead_light_changes_nothing_and_a_mended_one_does():
    scene = Scene(dead=True)
    assert not switch_and_settle(scene.pins.source, True, scene.observe, Deadline(10, "lighting"), 0.01).changed
    scene.twin.dead.clear()
    scene.pins.source.set(False)
    assert switch_and_settle(scene.pins.source, True, scene.observe, Deadline(10, "lighting"), 0.01).changed


def test_light_that_never_rests_ends_at_the_deadline():
    scene = Scene(flicker=0.2)
    with pytest.raises(LightUnsteady, match=r"differ by 0\.4"):
        switch_and_settle(scene.pins.source, True, scene.observe, Deadline(0.05, "lighting"), 0.01)
    scene.flicker = 0.0
    assert switch_and_settle(scene.pins.source, False, scene.observe, Deadline(10, "darkening"), 0.01).after < 0.2
