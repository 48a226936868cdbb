"""The twin of RPi.GPIO refuses what the module refuses, in its words, and records what is done."""

import itertools
import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from host.twin.gpio import LgpioError, TwinGpio


def ready(**options) -> TwinGpio:
    twin = TwinGpio(**options)
    twin.setmode(twin.BCM)
    return twin


@pytest.mark.parametrize(
    ("act", "error", "told"),
    [
        (lambda _: TwinGpio().setmode(3), ValueError, "An invalid mode"),
        (lambda g: g.setmode(g.BOARD), ValueError, "A different mode has already been set!"),
        (lambda g: g.setup(4, 9), ValueError, "An invalid direction"),
        (lambda g: g.setup(4, g.OUT, pull_up_down=g.PUD_UP), ValueError, "not valid for outputs"),
        (lambda g: g.setup(4, g.IN, initial=0), ValueError, "not valid for inputs"),
        (lambda g: g.setup(4, g.IN, pull_up_down=9), ValueError, "Invalid value for pull_up_down"),
        (lambda g: g.setup(54, g.OUT), ValueError, "The channel sent is invalid on a Raspberry Pi"),
        (lambda g: g.setup("4", g.OUT), ValueError, "Channel must be an integer"),
        (lambda g: g.output(4, 1), RuntimeError, "The GPIO channel has not been set up as an OUTPUT"),
        (lambda g: g.input(4), RuntimeError, r"You must setup\(\) the GPIO channel first"),
        (lambda g: g.add_event_detect(4, g.RISING), RuntimeError, "as an input first"),
        (lambda g: g.add_event_callback(4, print), RuntimeError, "add_event_detect first"),
    ],
)
def test_refusals(act, error, told):
    with pytest.raises(error, match=told):
        act(ready())


def test_no_numbering_no_pins():
    twin = TwinGpio()
    for act in (lambda: twin.setup(4, twin.OUT), lambda: twin.output(4, 1), lambda: twin.input(4)):
        with pytest.raises(RuntimeError, match="Please set pin numbering mode"):
            act()
    twin.setmode(twin.BCM)
    twin.setup(4, twin.OUT)
    twin.output(4, 1)
    twin.cleanup()
    assert twin.getmode() is None
    with pytest.raises(RuntimeError, match="Please set pin numbering mode"):
        twin.output(4, 1)


def test_lists_and_board_numbers():
    twin = TwinGpio()
    twin.setmode(twin.BOARD)
    twin.setup([7, 11], twin.OUT, initial=0)
    twin.output([7, 11], [1, 0])
    assert (twin.level(4), twin.level(17)) == (1, 0)
    twin.output((7, 11), 1)
    assert (twin.level(4), twin.level(17)) == (1, 1)
    with pytest.raises(RuntimeError, match="Number of channels"):
        twin.output([7, 11], [1])
    with pytest.raises(ValueError, match="invalid on a Raspberry Pi"):
        twin.setup(1, twin.OUT)  # 3.3 V
    with pytest.raises(ValueError, match="Value must be"):
        twin.output(7, "1")


def test_warnings():
    twin = ready()
    with pytest.warns(RuntimeWarning, match="nothing to clean up"):
        twin.cleanup()
    twin.setmode(twin.BCM)
    twin.busy = {4}
    with pytest.warns(RuntimeWarning, match="already in use"):
        twin.setup(4, twin.OUT)
    other = ready(flavour="rpi-lgpio")
    other.busy = {4}
    with pytest.raises(LgpioError, match="'GPIO busy'"):
        other.setup(4, other.OUT)


def test_edges():
    twin, seen = ready(), []
    twin.setup(4, twin.IN, pull_up_down=twin.PUD_UP)
    twin.add_event_detect(4, twin.FALLING, callback=seen.append, bouncetime=20)
    with pytest.raises(RuntimeError, match="Conflicting edge"):
        twin.add_event_detect(4, twin.BOTH)
    twin.drive(4, False)
    twin.drive(4, False)
    twin.drive(4, True)
    assert seen == [4]
    assert twin.event_detected(4)
    assert not twin.event_detected(4)
    twin.remove_event_detect(4)
    twin.drive(4, False)
    assert seen == [4]
    with pytest.raises(ValueError, match="Bouncetime"):
        twin.add_event_detect(4, twin.RISING, bouncetime=0)


@given(st.lists(st.tuples(st.sampled_from([4, 17, 27]), st.booleans()), max_size=40))
def test_the_log_replays_to_the_levels(writes):
    ticks = itertools.count()
    twin = TwinGpio(clock=lambda: float(next(ticks)))
    heard = []
    twin.listeners.append(heard.append)
    twin.setmode(twin.BCM)
    twin.setup([4, 17, 27], twin.OUT, initial=0)
    for pin, level in writes:
        twin.output(pin, level)
    assert heard == twin.log
    assert [change.time_s for change in twin.log] == sorted(change.time_s for change in twin.log)
    last = {change.pin: change.level for change in twin.log}
    assert last == {pin: twin.level(pin) for pin in (4, 17, 27)}


def test_a_dead_light_is_driven_and_does_not_shine():
    twin = ready()
    twin.setup(4, twin.OUT, initial=1)
    assert twin.lit(4)
    twin.dead.add(4)
    assert not twin.lit(4)
    assert twin.level(4) == 1
    twin.dead.clear()
    assert twin.lit(4)


NAMES = ["BOARD", "BCM", "OUT", "IN", "LOW", "HIGH", "PUD_OFF", "PUD_DOWN", "PUD_UP", "RISING", "FALLING", "BOTH"]
ASK_THE_MODULE = """
import sys
import RPi.GPIO as g
print({name: getattr(g, name) for name in sys.argv[1:]})
for act in (lambda: g.setmode(3), lambda: g.setup(4, 9), lambda: g.output(4, 1), lambda: g.setup(4, g.IN, initial=0)):
    try:
        act()
    except Exception as error:
        print(type(error).__name__, error)
"""


def test_against_the_real_module():
    """Constants and refusals are those of rpi-lgpio, where it is installed (on a PC it imports if told a revision)."""
    done = subprocess.run(
        [sys.executable, "-c", ASK_THE_MODULE, *NAMES],
        capture_output=True, text=True, check=False, timeout=60, env={**os.environ, "RPI_LGPIO_REVISION": "c03114"},
    )  # fmt: skip
    if "No module named" in done.stderr:
        pytest.skip("rpi-lgpio is not installed here: `pip install rpi-lgpio` in a virtual environment to compare")
    first, *refusals = done.stdout.splitlines()
    twin = TwinGpio()
    assert first == str({name: getattr(twin, name) for name in NAMES})
    mine = []
    for act in (
        lambda: twin.setmode(3), lambda: twin.setup(4, 9), lambda: twin.output(4, 1),
        lambda: twin.setup(4, twin.IN, initial=0),
    ):  # fmt: skip
        with pytest.raises((ValueError, RuntimeError)) as refused:
            act()
        mine.append(f"{refused.type.__name__} {refused.value}")
    assert refusals == mine
