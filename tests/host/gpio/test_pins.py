"""The pins are safe from opening to closing, the cover is on in doubt, and every failure says what to do."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from host.config import Gpio
from host.gpio.errors import GpioDenied, GpioError, PinInUse, PinLost
from host.gpio.interlock import cover_cause, gpio_cause
from host.gpio.pins import DEBOUNCE_S, Debounced, Pins, pins_for
from host.twin.gpio import TwinGpio

WANTED = Gpio(device="twin", trigger_pin=5, status_pin=6, source_pin=13, cover_pin=19)


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


def rig(flavour="RPi.GPIO", wanted=WANTED):
    clock = Clock()
    twin = TwinGpio(clock, flavour)
    return clock, twin, Pins(twin, wanted, clock, clock.sleep)


@pytest.mark.parametrize("flavour", ["RPi.GPIO", "rpi-lgpio"])
def test_outputs_are_low_before_and_after(flavour):
    _, twin, pins = rig(flavour)
    with pins:
        assert [twin.level(pin) for pin in (5, 6, 13)] == [0, 0, 0]
        pins.status(True)
        pins.source.set(True)
        assert twin.lit(6)
        assert twin.lit(13)
        with pins.exposing():
            assert twin.level(5) == 1
        assert twin.level(5) == 0
    assert [twin.level(pin) for pin in (5, 6, 13)] == [None, None, None]
    # The last that each output did was to go low, before it was let go.
    for pin in (6, 13):
        assert [change.level for change in twin.log if change.pin == pin] == [0, 1, 0]
    pins.close()  # twice does no harm


def test_pins_that_are_open_are_not_claimed_again():
    """They are opened by one and entered by another."""
    calls = []
    _, twin, pins = rig()
    setup = twin.setup
    twin.setup = lambda pin, *rest, **options: (calls.append(pin), setup(pin, *rest, **options))
    pins.open()
    with pins:
        assert sorted(calls) == [5, 6, 13, 19]
    pins.open()  # closed ones are
    assert sorted(calls) == sorted([5, 6, 13, 19] * 2)
    pins.close()


def test_an_exposure_that_fails_ends_the_trigger():
    _, twin, pins = rig()
    with pins, pytest.raises(ValueError, match="lost"), pins.exposing():
        raise ValueError("lost")
    assert [change.level for change in twin.log if change.pin == 5] == [0, 1, 0, 0]


def test_pins_that_are_not_configured_are_not_touched():
    _, twin, pins = rig(wanted=Gpio(device="twin", source_pin=13))
    with pins:
        pins.status(True)
        pins.trigger(True)
        assert pins.cover_is_on() is None
        assert pins.source.switched
    assert {change.pin for change in twin.log} == {13}
    assert not Pins(twin, Gpio()).source.switched


@pytest.mark.parametrize("closed_is_low", [True, False])
def test_cover(closed_is_low):
    clock, twin, pins = rig(wanted=Gpio(device="twin", cover_pin=19, cover_closed_is_low=closed_is_low))
    with pins:
        assert pins.cover_is_on() is False  # an open wire is pulled to the other level
        assert cover_cause(pins) is None
        twin.drive(19, closed_is_low)
        assert pins.cover_is_on() is False
        twin.drive(19, not closed_is_low)
        assert pins.cover_is_on() is True  # at once
        cause = cover_cause(pins)
        assert cause is not None
        assert (cause.kind, cause.latched) == ("cover_on", False)
        twin.drive(19, closed_is_low)
        assert pins.cover_is_on() is True  # only once it has been open for a while
        clock.sleep(DEBOUNCE_S + 1e-9)
        assert pins.cover_is_on() is False
        assert cover_cause(pins) is None


def test_a_cover_that_is_on_at_the_start():
    _, twin, pins = rig()
    twin.drive(19, False)
    with pins:
        assert pins.cover_is_on() is True


def test_a_switch_that_never_rests_counts_as_closed():
    clock, twin, _ = rig()

    def bounce(seconds: float) -> None:
        clock.sleep(seconds)
        twin.drive(19, round(clock.now_s * 1000) % 2 == 0)

    pins = Pins(twin, WANTED, clock, bounce)
    with pins:
        assert pins.cover_is_on() is True
    assert clock.now_s < 1


@given(st.lists(st.tuples(st.floats(0, 0.1), st.booleans()), max_size=60))
def test_open_only_after_it_has_been_open_for_long_enough(looks):
    clock = Clock()
    contact = Debounced(clock, DEBOUNCE_S)
    open_since = None
    for wait_s, closed in looks:
        clock.sleep(wait_s)
        counted = contact.take(closed)
        open_since = None if closed else clock.now_s if open_since is None else open_since
        assert counted is not (open_since is not None and clock.now_s - open_since >= DEBOUNCE_S)


def test_a_switch_that_cannot_be_read_blinds_and_recovers():
    _, twin, pins = rig()
    with pins:
        twin.cleanup(19)
        cause = cover_cause(pins)
        assert cause is not None
        assert cause.kind == "pin_lost"
        assert "wire" in cause.advice
        twin.setup(19, twin.IN, pull_up_down=twin.PUD_UP)
        assert cover_cause(pins) is None


def test_denied_and_busy_pins_are_named_and_the_rest_is_let_go():
    _, twin, pins = rig("rpi-lgpio")
    twin.denied = True
    with pytest.raises(GpioDenied, match=r"usermod -aG gpio") as denied:
        pins.open()
    assert gpio_cause(denied.value).latched
    twin.denied = False
    twin.busy = {13}
    with pytest.raises(PinInUse, match="GPIO 13 is held") as busy:
        pins.open()
    assert not gpio_cause(busy.value).latched
    assert [twin.level(pin) for pin in (5, 6, 13)] == [None, None, None]
    twin.busy = set()
    with pins:
        pins.source.set(True)
        assert twin.lit(13)


def test_denied_registers():
    _, twin, pins = rig("RPi.GPIO")
    twin.denied = True
    with pytest.raises(GpioDenied, match="the group gpio"):
        pins.open()
    twin.denied = False
    with pins:
        assert pins.cover_is_on() is False


def test_an_error_without_a_known_text_is_told_as_it_is(monkeypatch):
    _, twin, pins = rig()
    text = "Cannot determine SOC peripheral base address"

    def fail(*_args: object, **_options: object) -> None:
        raise RuntimeError(text)

    monkeypatch.setattr(twin, "setup", fail)
    with pytest.raises(GpioError, match="rpi-lgpio"):
        pins.open()
    text = "strange"
    with pytest.raises(GpioError, match="strange; `canopic doctor`"):
        pins.open()
    monkeypatch.undo()
    with pins:
        assert twin.level(5) == 0


def test_outputs_after_closing_and_after_somebody_else_took_them():
    _, twin, pins = rig()
    with pins:
        twin.cleanup(6)
        with pytest.raises(PinLost, match="GPIO 6"):
            pins.status(True)
        twin.setup(6, twin.OUT, initial=0)
        pins.status(True)
        assert twin.lit(6)
    with pytest.raises(PinLost, match="closed"):
        pins.status(True)


def test_pins_for():
    assert pins_for(Gpio()) is None
    assert pins_for(Gpio(device="none", status_pin=3)) is None
    twin = TwinGpio()
    made = pins_for(WANTED, twin)
    assert made is not None
    with made:
        assert twin.level(5) == 0
    with pytest.raises(GpioError, match="simulates none"):
        pins_for(WANTED)
