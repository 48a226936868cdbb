"""The sampling grid of a field: where its samples lie, and at which spatial frequencies those of its transform."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Grid:
    """Samples on a square lattice: rows x columns, `pitch_m` metres apart in both directions.

    Arrays on a grid are indexed [row, column]. x grows with the column and y with the row (downwards); the sample
    (rows // 2, columns // 2) lies on the optical axis, where x = y = 0. Raises ValueError for anything but whole
    numbers of samples and a positive pitch.
    """

    rows: int
    columns: int
    pitch_m: float

    def __post_init__(self) -> None:
        for name, count in (("rows", self.rows), ("columns", self.columns)):
            if isinstance(count, bool) or not isinstance(count, int | np.integer) or count < 1:
                raise ValueError(f"{name} must be a whole number of samples, at least 1, got {count!r}")
        if not (math.isfinite(self.pitch_m) and self.pitch_m > 0):
            raise ValueError(f"pitch_m must be a positive number of metres, got {self.pitch_m!r}")

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns)."""
        return self.rows, self.columns

    @property
    def x_m(self) -> NDArray[np.float64]:
        """Horizontal position of the samples in metres, float64 (1, columns)."""
        return positions_m(self.columns, self.pitch_m)[np.newaxis, :]

    @property
    def y_m(self) -> NDArray[np.float64]:
        """Vertical position of the samples in metres (downwards), float64 (rows, 1)."""
        return positions_m(self.rows, self.pitch_m)[:, np.newaxis]

    @property
    def fx_per_m(self) -> NDArray[np.float64]:
        """Horizontal spatial frequencies in cycles per metre, float64 (1, columns), in the order of `scipy.fft`."""
        return np.asarray(np.fft.fftfreq(self.columns, self.pitch_m)[np.newaxis, :], dtype=np.float64)

    @property
    def fy_per_m(self) -> NDArray[np.float64]:
        """Vertical spatial frequencies in cycles per metre, float64 (rows, 1), in the order of `scipy.fft`."""
        return np.asarray(np.fft.fftfreq(self.rows, self.pitch_m)[:, np.newaxis], dtype=np.float64)


def positions_m(count: int, pitch_m: float) -> NDArray[np.float64]:
    """Positions in metres of `count` samples, float64 (count,); the one at count // 2 is at 0."""
    return np.asarray((np.arange(count) - count // 2) * pitch_m, dtype=np.float64)
