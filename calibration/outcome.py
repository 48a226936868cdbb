"""What a calibration says: passed or not against stated limits, why in plain words, its numbers and its arrays."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Kind = Literal["psf", "board", "sensor", "slm", "range"]
KINDS: tuple[Kind, ...] = ("psf", "board", "sensor", "slm", "range")


@dataclass(frozen=True, slots=True)
class Limit:
    """One acceptance limit: `value` (in `unit`) must be at least or at most `bound`. `meaning`: what that is."""

    name: str
    value: float
    bound: float
    at: Literal["least", "most"]
    unit: str
    meaning: str

    @property
    def holds(self) -> bool:
        """Whether it is kept; a value that is no number keeps none."""
        return bool(self.value >= self.bound if self.at == "least" else self.value <= self.bound)

    def __str__(self) -> str:
        unit = f" {self.unit}" if self.unit else ""
        return f"{self.meaning} is {self.value:.4g}{unit}, at {self.at} {self.bound:.4g}{unit} is asked for"


@dataclass(frozen=True, eq=False)
class Outcome:
    """The end of a calibration.

    result: numbers and texts that JSON can hold; every estimate `x` has its standard uncertainty beside it as
    `x_sigma` (k = 1), or says why it has none. It holds `limits` (a list of objects) and `wrong_setup` (the short name
    of a wrong set-up that was recognised, else None). arrays: what does not fit JSON (a PSF, trims), by name. reason:
    one or two sentences for the person at the bench: why it passed or failed and, where it failed, what to do.
    """

    kind: Kind
    passed: bool
    reason: str
    result: dict[str, Any]
    arrays: dict[str, NDArray[Any]] = field(default_factory=dict)


def judged(
    kind: Kind,
    result: dict[str, Any],
    limits: Sequence[Limit],
    arrays: dict[str, NDArray[Any]] | None = None,
    *,
    summary: str,
    advice: str = "",
) -> Outcome:
    """The outcome of a set-up that was right: passed where every limit holds. `summary` tells the main numbers,
    `advice` what to do where a limit is not kept."""
    broken = [limit for limit in limits if not limit.holds]
    reason = summary if not broken else "; ".join(str(limit) for limit in broken) + (f": {advice}" if advice else "")
    described = [
        {
            "name": limit.name,
            "value": finite(limit.value),
            limit.at: limit.bound,
            "unit": limit.unit,
            "meaning": limit.meaning,
            "holds": limit.holds,
        }
        for limit in limits
    ]
    kept: dict[str, Any] = _storable({**result, "limits": described, "wrong_setup": None})
    return Outcome(kind, not broken, reason, kept, arrays or {})


def wrong_setup(kind: Kind, name: str, reason: str, result: dict[str, Any] | None = None) -> Outcome:
    """The outcome of a set-up that is recognised as wrong: `name` is its short name (source_off), `reason` says what
    was seen and what to do. The name is put in front of the reason."""
    kept: dict[str, Any] = _storable({**(result or {}), "limits": [], "wrong_setup": name})
    return Outcome(kind, False, f"{name}: {reason}", kept)


def finite(value: float) -> float | None:
    """The number, or None for what JSON cannot hold."""
    return float(value) if np.isfinite(value) else None


def _storable(value: Any) -> Any:
    """The same with None for every number that JSON cannot hold, at any depth."""
    if isinstance(value, Mapping):
        return {key: _storable(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_storable(each) for each in value]
    if isinstance(value, float | np.floating):
        return finite(float(value))
    return value
