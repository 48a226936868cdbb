"""A calibration as steps: what the bench has to look like, what is acquired, and what all of it says in the end."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.outcome import Kind, Outcome

# What one step gives: named arrays, already reduced (statistics, an averaged PSF window; never a frame of a scene).
StepData = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Setup:
    """What the bench looks like during a step. A person arranges it, or the twin's own hands do.

    cover_on: lens cover in place. source_deg: (x, y) angles of the point source to the axis, x to the right and y down
    in the picture. distance_mm: of the point source, None: as it stands. field: what else lights the sensor: "dark" (a
    darkened room), "flat" (an even, steady light over the whole sensor), "fringes" (the interferometer), "scene" (what
    it will look at).
    """

    cover_on: bool = False
    source_deg: tuple[float, float] = (0.0, 0.0)
    distance_mm: float | None = None
    field: str = "dark"


@dataclass(frozen=True, slots=True)
class Step:
    """One acquisition. name: short and unique within its procedure; text: what happens, for the progress display;
    ask: what a person has to do first ("" : nothing); settings: numbers for the acquisition, JSON."""

    name: str
    text: str
    setup: Setup = Setup()
    ask: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Procedure:
    """One calibration.

    acquire: "module:function" that takes (rig, step, before) and returns StepData; it runs where the devices are, for a
    camera inside the boundary process, so it is named and not handed over. `before` is what the earlier steps gave.
    conclude: all steps' data to the outcome. draw: the outcome and the data as a figure (.png). options: what was asked
    for (JSON); a run is only resumed with the same. judge_after: names of steps after which `conclude` is asked with
    what there is: where it then names a wrong set-up, the steps that follow are not worth anybody's time.
    """

    kind: Kind
    steps: Sequence[Step]
    acquire: str
    conclude: Callable[[Mapping[str, StepData]], Outcome]
    draw: Callable[[Outcome, Mapping[str, StepData], Path], None]
    options: Mapping[str, Any] = field(default_factory=dict)
    judge_after: Sequence[str] = ()


def scalar(value: float) -> NDArray[np.float64]:
    """A number as StepData holds it: float64 ()."""
    return np.array(value, dtype=np.float64)
