"""The driver of the pins: trigger, status light, point source and cover switch, safe from opening to closing."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

from host.config import Gpio
from host.gpio.errors import GpioDenied, GpioError, PinInUse, PinLost
from host.gpio.software import denied, load_module, permission_advice

# A switch's contacts bounce for a few milliseconds; a level counts as open once it has been so for this long.
DEBOUNCE_S = 0.03
# A switch that does not come to rest within this time while the pins are opened counts as closed.
FIRST_READ_S = 0.5


class Pins:
    """The pins of one configuration. Outputs are low from opening on, and low again when closed or given up.

    module: RPi.GPIO, or what has its API. Nothing of it is touched before `open`. The pins are polled, never waited
    for: edge detection needs a thread, which a sandboxed process does not have. Not for use from several threads.
    """

    def __init__(
        self,
        module: Any,
        wanted: Gpio,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._gpio = module
        self._wanted = wanted
        self._clock = clock
        self._sleep = sleep
        self._outputs = [pin for pin in (wanted.trigger_pin, wanted.status_pin, wanted.source_pin) if pin is not None]
        self._claimed: list[int] = []
        self._open = False
        self._cover = Debounced(clock, DEBOUNCE_S)

    def open(self) -> None:
        """Claim the pins, outputs low; nothing where they are claimed already. Raises GpioDenied, PinInUse or another
        GpioError; then none stays claimed."""
        if self._open:
            return
        try:
            # Its warnings are about pins that another program left as outputs, which they may well have been.
            self._gpio.setwarnings(False)
            self._gpio.setmode(self._gpio.BCM)
        except Exception as error:  # lgpio's own error class derives from Exception alone
            raise _opening_error(error) from error
        self._open = True
        try:
            for pin in self._outputs:
                self._claim(pin, self._gpio.OUT, initial=self._gpio.LOW)
            if self._wanted.cover_pin is not None:
                pull = self._gpio.PUD_UP if self._wanted.cover_closed_is_low else self._gpio.PUD_DOWN
                self._claim(self._wanted.cover_pin, self._gpio.IN, pull_up_down=pull)
                self._first_read()
        except BaseException:  # whatever ended it, Ctrl-C too: no pin is left driven
            self.close()
            raise

    def close(self) -> None:
        """Outputs low, then all pins back to inputs. May be called twice; raises nothing."""
        if not self._open:
            return
        self._open = False
        for pin in self._claimed:
            if pin in self._outputs:
                _attempt(self._gpio.output, pin, self._gpio.LOW)
        # Pin by pin: a cleanup of everything would also reset pins that others in this process have set up.
        for pin in self._claimed:
            _attempt(self._gpio.cleanup, pin)
        self._claimed.clear()

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def status(self, on: bool) -> None:
        """The status light: lit while measurements leave. Without its pin nothing happens. Raises PinLost."""
        self._write(self._wanted.status_pin, on)

    def trigger(self, on: bool) -> None:
        """The trigger output. Raises PinLost."""
        self._write(self._wanted.trigger_pin, on)

    @contextmanager
    def exposing(self) -> Iterator[None]:
        """High around an exposure, low after it in any case. Raises PinLost."""
        self.trigger(True)
        try:
            yield
        finally:
            self.trigger(False)

    @property
    def source(self) -> "Light":
        """The point source on its pin; without one it takes no orders (`Light.switched` is False)."""
        return Light(self, self._wanted.source_pin)

    def cover_is_on(self) -> bool | None:
        """Whether the lens cover is on; None without a switch. Raises PinLost.

        Closing counts at once, opening once the switch has been open for DEBOUNCE_S: in doubt the cover is on.
        """
        pin = self._wanted.cover_pin
        return None if pin is None else self._cover.take(self._closed_now(pin))

    def _first_read(self) -> None:
        pin = self._wanted.cover_pin
        if pin is None:
            return
        end_s = self._clock() + FIRST_READ_S
        while self._cover.take(self._closed_now(pin)) and self._clock() < end_s:
            if self._cover.closed_for_s >= DEBOUNCE_S:
                break
            self._sleep(DEBOUNCE_S / 10)

    def _closed_now(self, pin: int) -> bool:
        try:
            low = not self._gpio.input(pin)
        except Exception as error:  # as in open
            raise PinLost(f"the cover's switch on GPIO {pin} cannot be read: {error}") from error
        return bool(low == self._wanted.cover_closed_is_low)

    def _claim(self, pin: int, direction: int, **options: int) -> None:
        try:
            self._gpio.setup(pin, direction, **options)
        except Exception as error:  # as in open
            raise _opening_error(error, pin) from error
        self._claimed.append(pin)

    def _write(self, pin: int | None, on: bool) -> None:
        if pin is None:
            return
        if not self._open:
            raise PinLost(f"GPIO {pin} was switched after the pins were closed")
        try:
            self._gpio.output(pin, self._gpio.HIGH if on else self._gpio.LOW)
        except Exception as error:  # as in open
            raise PinLost(f"GPIO {pin} cannot be switched: {error}") from error


def pins_for(wanted: Gpio, twin: Any = None) -> Pins | None:
    """The pins that a configuration asks for, not yet opened; None where it asks for none.

    twin: what stands in for the module where `gpio.device` is "twin" (host/twin/gpio.py). Raises GpioError where the
    Pi's pins are asked for and their module is not there.
    """
    used = any(pin is not None for pin in (wanted.trigger_pin, wanted.status_pin, wanted.source_pin, wanted.cover_pin))
    if wanted.device == "none" or not used:
        return None
    if wanted.device == "twin":
        if twin is None:
            raise GpioError("`gpio.device: twin` needs a twin of the pins, and this path simulates none: use `none`")
        return Pins(twin, wanted)
    return Pins(load_module(), wanted)


class Light:
    """A light on a pin, as calibrations switch it (PointLight in host/boundary/rig.py)."""

    def __init__(self, pins: Pins, pin: int | None) -> None:
        self._pins = pins
        self._pin = pin

    @property
    def switched(self) -> bool:
        """Whether there is a pin to switch it by; else a person does."""
        return self._pin is not None

    def set(self, on: bool) -> None:
        """Switch it. That it shines is for the frames to say: `host.gpio.light`. Raises PinLost."""
        self._pins._write(self._pin, on)


class Debounced:
    """A contact: closed at once, open after it has been open for `hold_s`. Starts as closed."""

    def __init__(self, clock: Callable[[], float], hold_s: float) -> None:
        self._clock = clock
        self._hold_s = hold_s
        self._opened_s: float | None = None
        self._closed_s: float | None = None

    @property
    def closed_for_s(self) -> float:
        """How long it has been seen closed without a break; 0 while it is seen open."""
        return 0.0 if self._closed_s is None else self._clock() - self._closed_s

    def take(self, closed: bool) -> bool:
        """One more look at the contact; whether it counts as closed."""
        now_s = self._clock()
        if closed:
            self._opened_s = None
            self._closed_s = now_s if self._closed_s is None else self._closed_s
            return True
        self._closed_s = None
        self._opened_s = now_s if self._opened_s is None else self._opened_s
        return now_s - self._opened_s < self._hold_s


def _attempt(action: Callable[..., object], *arguments: Any) -> None:
    try:
        action(*arguments)
    except Exception:  # noqa: BLE001 - on the way out; the other pins still have to be made safe
        return


def _opening_error(error: Exception, pin: int | None = None) -> GpioError:
    """What an error of the module means while pins are opened, told by its text: the classes say nothing."""
    text = str(error).strip("'")
    where = "the pins" if pin is None else f"GPIO {pin}"
    lower = text.lower()
    if "busy" in lower or "not allocated" in lower:
        return PinInUse(
            f"{where} is held by another program or a device of the kernel ({text}): `gpioinfo` names it; choose "
            "another pin in the configuration, or stop that program"
        )
    if isinstance(error, PermissionError) or denied(error):
        return GpioDenied(f"{where} cannot be opened ({text}): {permission_advice()}")
    if "peripheral base address" in lower:
        return GpioError(f"{where} cannot be opened: RPi.GPIO does not know this Pi; rpi-lgpio does ({text})")
    return GpioError(f"{where} cannot be set up: {text or type(error).__name__}; `canopic doctor` looks at the pins")
