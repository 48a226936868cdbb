"""A recording twin of RPi.GPIO: the module's functions and constants on an object, with a log and inputs to set.

Mirrored from RPi.GPIO 0.7.1 (source/py_gpio.c, common.c) and rpi-lgpio 0.6: setmode, getmode, setwarnings, setup,
output, input, cleanup, add_event_detect, add_event_callback, event_detected, remove_event_detect, gpio_function, their
argument checks, exception types and texts. Not mirrored: PWM, wait_for_edge, pull resistors' currents. Callbacks run
in the caller's thread, when an input is set.
"""

import warnings
from collections.abc import Callable, Iterable
from typing import Any, Literal, NamedTuple

from host.twin.gpio_numbers import BOARD_TO_BCM

Flavour = Literal["RPi.GPIO", "rpi-lgpio"]
HIGHEST_GPIO = 53
NO_MODE = "Please set pin numbering mode using GPIO.setmode(GPIO.BOARD) or GPIO.setmode(GPIO.BCM)"


class LgpioError(Exception):
    """As lgpio.error: no RuntimeError, and its text in quotes."""

    def __str__(self) -> str:
        return repr(str(self.args[0])) if self.args else ""


class Change(NamedTuple):
    """An output that was written: when (clock of the twin, seconds), GPIO number (BCM), level."""

    time_s: float
    pin: int
    level: int


class TwinGpio:
    """A stand-in for the module. Tests and benches reach it by `drive`, `lit`, `log`, `dead`, `busy` and `denied`.

    flavour: which package it behaves like where the two differ. clock: stamps the log. pulls: an input that nothing
    drives reads as its pull resistor says, low without one.
    """

    BOARD, BCM, UNKNOWN = 10, 11, -1
    OUT, IN, LOW, HIGH = 0, 1, 0, 1
    PUD_OFF, PUD_DOWN, PUD_UP = 20, 21, 22
    RISING, FALLING, BOTH = 31, 32, 33
    SERIAL, SPI, I2C, HARD_PWM = 40, 41, 42, 43
    VERSION = "0.7.2"
    RPI_REVISION = 3

    def __init__(self, clock: Callable[[], float] = lambda: 0.0, flavour: Flavour = "RPi.GPIO") -> None:
        self.log: list[Change] = []
        # Pins whose light does not shine although it is driven; that others hold; whether the device may not be opened.
        self.dead: set[int] = set()
        self.busy: set[int] = set()
        self.denied = False
        self.listeners: list[Callable[[Change], None]] = []
        self.RPI_INFO = {"P1_REVISION": 3, "TYPE": "Pi 5 Model B" if flavour == "rpi-lgpio" else "Pi 4 Model B"}
        self._flavour = flavour
        self._clock = clock
        self._mode: int | None = None
        self._warnings = True
        self._direction: dict[int, int] = {}
        self._level: dict[int, int] = {}
        self._driven: dict[int, int] = {}
        self._edges: dict[int, int] = {}
        self._detected: set[int] = set()
        self._callbacks: dict[int, list[Callable[[int], object]]] = {}

    # What stands around the pins.

    def drive(self, pin: int, level: bool | None) -> None:
        """Set what an input (BCM number) sees: high, low, or None for an open wire. Runs callbacks of its edges."""
        before = self._seen(pin)
        if level is None:
            self._driven.pop(pin, None)
        else:
            self._driven[pin] = int(level)
        after = self._seen(pin)
        if before == after or pin not in self._edges:
            return
        if self._edges[pin] in (self.BOTH, self.RISING if after else self.FALLING):
            self._detected.add(pin)
            for callback in self._callbacks.get(pin, []):
                callback(self._channel(pin))

    def lit(self, pin: int) -> bool:
        """Whether a light on this output shines: it is driven high, and not dead."""
        return self._direction.get(pin) == self.OUT and self._level.get(pin, 0) == 1 and pin not in self.dead

    def level(self, pin: int) -> int | None:
        """Level of an output, None while the pin is not one."""
        return self._level.get(pin, 0) if self._direction.get(pin) == self.OUT else None

    # The module's functions, with its names.

    def setmode(self, mode: int) -> None:
        """Choose how pins are numbered."""
        if self._mode is not None and mode != self._mode:
            raise ValueError("A different mode has already been set!")
        if mode not in (self.BOARD, self.BCM):
            raise ValueError("An invalid mode was passed to setmode()")
        if self.denied and self._flavour == "rpi-lgpio":
            raise LgpioError("can not open gpiochip")
        self._mode = mode

    def getmode(self) -> int | None:
        """The chosen numbering."""
        return self._mode

    def setwarnings(self, on: bool) -> None:
        """Whether to warn about pins in use and cleanups of nothing."""
        self._warnings = bool(on)

    def setup(self, channel: Any, direction: int, pull_up_down: int = 20, initial: int | None = None) -> None:
        """Make pins outputs or inputs."""
        if direction not in (self.IN, self.OUT):
            raise ValueError("An invalid direction was passed to setup()")
        if direction == self.OUT and pull_up_down != self.PUD_OFF:
            raise ValueError("pull_up_down parameter is not valid for outputs")
        if direction == self.IN and initial is not None:
            raise ValueError("initial parameter is not valid for inputs")
        if pull_up_down not in (self.PUD_OFF, self.PUD_UP, self.PUD_DOWN):
            raise ValueError("Invalid value for pull_up_down - should be either PUD_OFF, PUD_UP or PUD_DOWN")
        for pin in self._pins(channel):
            self._may_open(pin)
            self._direction[pin] = direction
            if direction == self.IN:
                self._level[pin] = 1 if pull_up_down == self.PUD_UP else 0
            else:
                self._put(pin, self._level.get(pin, 0) if initial is None else int(bool(initial)))

    def output(self, channel: Any, value: Any) -> None:
        """Write outputs."""
        pins = self._pins(channel)
        if isinstance(value, list | tuple):
            values = [int(bool(each)) for each in value]
        elif isinstance(value, int):
            values = [int(bool(value))]
        else:
            raise ValueError("Value must be an integer/boolean or a list/tuple of integers/booleans")
        if len(values) == 1 and not isinstance(value, list | tuple):
            values *= len(pins)
        if len(pins) != len(values):
            raise RuntimeError("Number of channels != number of values")
        for pin, level in zip(pins, values, strict=True):
            if self._direction.get(pin) != self.OUT:
                raise RuntimeError("The GPIO channel has not been set up as an OUTPUT")
            self._put(pin, level)

    def input(self, channel: int) -> int:
        """Read a pin."""
        (pin,) = self._pins(channel)
        if pin not in self._direction:
            raise RuntimeError("You must setup() the GPIO channel first")
        return self._level.get(pin, 0) if self._direction[pin] == self.OUT else self._seen(pin)

    def cleanup(self, channel: Any = None) -> None:
        """Make pins inputs again; without a channel all of them, and forget the numbering."""
        pins = list(self._direction) if channel is None else self._pins(channel)
        found = [pin for pin in pins if pin in self._direction]
        for pin in found:
            if self._direction.pop(pin) == self.OUT and self._level.get(pin):
                self._record(pin, 0)
            for kept in (self._level, self._edges, self._callbacks):
                kept.pop(pin, None)
        if channel is None:
            self._mode = None
        if not found and self._warnings:
            warnings.warn(
                "No channels have been set up yet - nothing to clean up!  "
                "Try cleaning up at the end of your program instead!",
                RuntimeWarning if self._flavour == "RPi.GPIO" else Warning,
                stacklevel=2,
            )

    def add_event_detect(
        self,
        channel: int,
        edge: int,
        callback: Callable[[int], object] | None = None,
        bouncetime: int | None = None,
    ) -> None:
        """Watch an input for edges."""
        if callback is not None and not callable(callback):
            raise TypeError("Parameter must be callable")
        (pin,) = self._pins(channel)
        if self._direction.get(pin) != self.IN:
            raise RuntimeError("You must setup() the GPIO channel as an input first")
        if edge not in (self.RISING, self.FALLING, self.BOTH):
            raise ValueError("The edge must be set to RISING, FALLING or BOTH")
        if bouncetime is not None and bouncetime <= 0:
            raise ValueError("Bouncetime must be greater than 0")
        if self._edges.get(pin, edge) != edge:
            raise RuntimeError("Conflicting edge detection already enabled for this GPIO channel")
        self._edges[pin] = edge
        if callback is not None:
            self._callbacks.setdefault(pin, []).append(callback)

    def add_event_callback(self, channel: int, callback: Callable[[int], object]) -> None:
        """Another callback for edges that are already watched."""
        (pin,) = self._pins(channel)
        if pin not in self._edges:
            raise RuntimeError("Add event detection using add_event_detect first before adding a callback")
        self._callbacks.setdefault(pin, []).append(callback)

    def event_detected(self, channel: int) -> bool:
        """Whether an edge came since the last call."""
        (pin,) = self._pins(channel)
        seen = pin in self._detected
        self._detected.discard(pin)
        return seen

    def remove_event_detect(self, channel: int) -> None:
        """Stop watching an input."""
        (pin,) = self._pins(channel)
        self._edges.pop(pin, None)
        self._callbacks.pop(pin, None)

    def gpio_function(self, channel: int) -> int:
        """What a pin is used for; an unclaimed one is an input."""
        (pin,) = self._pins(channel)
        return self._direction.get(pin, self.IN)

    def _pins(self, channel: Any) -> list[int]:
        if self._mode is None:
            raise RuntimeError(NO_MODE)
        channels: Iterable[Any] = channel if isinstance(channel, list | tuple) else [channel]
        pins = []
        for each in channels:
            if not isinstance(each, int):
                raise ValueError("Channel must be an integer or list/tuple of integers")
            pin = each if self._mode == self.BCM else BOARD_TO_BCM.get(each, -1)
            if not 0 <= pin <= HIGHEST_GPIO:
                raise ValueError("The channel sent is invalid on a Raspberry Pi")
            pins.append(pin)
        return pins

    def _channel(self, pin: int) -> int:
        return pin if self._mode == self.BCM else next(key for key, bcm in BOARD_TO_BCM.items() if bcm == pin)

    def _may_open(self, pin: int) -> None:
        if self._flavour == "RPi.GPIO":
            if self.denied:
                raise RuntimeError("No access to /dev/mem.  Try running as root!")
            if pin in self.busy and self._warnings:
                warnings.warn(
                    "This channel is already in use, continuing anyway.  "
                    "Use GPIO.setwarnings(False) to disable warnings.",
                    RuntimeWarning,
                    stacklevel=3,
                )
        elif pin in self.busy:
            raise LgpioError("GPIO busy")

    def _seen(self, pin: int) -> int:
        return self._driven.get(pin, self._level.get(pin, 0))

    def _put(self, pin: int, level: int) -> None:
        self._level[pin] = level
        self._record(pin, level)

    def _record(self, pin: int, level: int) -> None:
        change = Change(self._clock(), pin, level)
        self.log.append(change)
        for listener in self.listeners:
            listener(change)
