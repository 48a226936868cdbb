"""While a sealed board measures: one comparator after the other is compared with where it was calibrated."""

import time
from collections.abc import Callable
from typing import Any

from numpy.typing import NDArray

from host.board.errors import ComparatorDrifted
from host.board.thresholds import COMPARATORS
from host.calibrate.board_drift import FALSE_ALARM, Sweeps, drift_check
from host.seal.sealing import seal_of
from optics.archive import BundleError
from optics.bundle import Bundle

# All fifteen in a minute. What moves a comparator (warmth, age, a supply that sags) takes minutes at the least, and one
# check holds up a real board for some 60 ms.
PAUSE_S = 4.0


class DriftWatch:
    """Checks of one board; `look` as often as you like. A bundle without a sealed board is not watched."""

    def __init__(self, bundle: Bundle, pause_s: float = PAUSE_S, clock: Callable[[], float] = time.monotonic) -> None:
        """pause_s: from one comparator to the next."""
        self._arrays = _sealed_board(bundle)
        self._pause_s, self._clock = pause_s, clock
        self._due_s = clock() + pause_s
        self._next = 0

    def look(self, client: Sweeps) -> None:
        """Check the next comparator where it is due; the board holds its sealed thresholds, committed or armed.

        Raises ComparatorDrifted where it has moved, twice in a row; and what BoardClient.sweep raises.
        """
        if not self._arrays or self._clock() < self._due_s:
            return
        for _ in range(2):  # one disturbance is no drift
            found = drift_check(
                client, self._arrays, comparators=[self._next], false_alarm=FALSE_ALARM / COMPARATORS
            )  # fmt: skip
            if found.ok:
                break
        else:
            raise ComparatorDrifted(found.reason)
        self._next = (self._next + 1) % COMPARATORS
        self._due_s = self._clock() + self._pause_s


def _sealed_board(bundle: Bundle) -> dict[str, NDArray[Any]]:
    try:
        named = seal_of(bundle)
    except BundleError:
        return {}  # the seal's interlock says what is wrong with it
    if named is None or named["board"] is None or bundle.calibration is None:
        return {}
    return dict(bundle.calibration.arrays)
