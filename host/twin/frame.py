"""A frame: light before anything was removed from it. Only host/twin and host/boundary may name the type."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One picture of a scene.

    `index` counts frames from the start of the recording (a loop keeps counting); `time_s` is on the scene's own clock;
    `radiance` is linear light, float32 (rows, columns, 3) in RGB order, in [0, 1] before a light schedule scales it.
    """

    index: int
    time_s: float
    radiance: NDArray[np.float32]


class SceneError(Exception):
    """A scene cannot be opened or stopped being readable. The message names it and says what is accepted."""
