"""Small worlds for a camera to look at."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from host.twin.sensor import SensorModel

ROWS, COLUMNS = 24, 40
QUIET = SensorModel(full_well_electrons=1e12, read_noise_electrons=0, dark_current_electrons_per_s=0, prnu_percent=0)


class Fixed:
    """Light that does not change."""

    def __init__(self, planes: NDArray[np.float32]) -> None:
        self.planes = planes
        self.rows_px, self.columns_px = planes.shape[1:]

    def irradiance(self, time_s: float) -> NDArray[np.float32]:
        """The same always."""
        del time_s
        return self.planes


class Changing:
    """Uniform light that depends on the time."""

    def __init__(self, light: Callable[[float], float], rows: int = ROWS, columns: int = COLUMNS) -> None:
        self.light, self.rows_px, self.columns_px = light, rows, columns

    def irradiance(self, time_s: float) -> NDArray[np.float32]:
        """That of this moment."""
        return np.full((3, self.rows_px, self.columns_px), self.light(time_s), np.float32)


def flat(red: float, green: float, blue: float, rows: int = ROWS, columns: int = COLUMNS) -> Fixed:
    """Uniform light of three colours."""
    planes = np.empty((3, rows, columns), np.float32)
    for plane, value in zip(planes, (red, green, blue), strict=True):
        plane.fill(value)
    return Fixed(planes)


def ramp(rows: int = ROWS, columns: int = COLUMNS) -> Fixed:
    """Light that tells every place and colour from every other one."""
    values = np.linspace(0.02, 0.8, 3 * rows * columns, dtype=np.float32)
    return Fixed(values.reshape(rows, columns, 3).transpose(2, 0, 1).copy())
