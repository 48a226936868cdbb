"""The boundary's process, on benches of twins that show the canary in place of what they would show."""

import sys
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.outcome import Kind
from host.boundary import calibrating, process
from host.calibrate.procedure import Step, StepData
from host.calibrate.sessions import Acquire, acquisition
from host.twin.bench import Bench, World, make_bench
from optics.bundle import Bundle
from tests.host.boundary.canary import BRIGHT, Canary

# A lamp's bench is too small for the search, which looks at 64 neighbours.
LEAST_ROWS, LEAST_COLUMNS = 64, 128


@dataclass(eq=False)
class CanaryWorld:
    """As bright as a bench's own world at its brightest, colour by colour, and patterned (World in host/twin/bench.py).

    Dark where that is dark: covers and switches do what they do.
    """

    inner: World

    def __post_init__(self) -> None:
        self.rows_px = max(self.inner.rows_px, LEAST_ROWS)
        self.columns_px = max(self.inner.columns_px, LEAST_COLUMNS)
        picture = Canary().picture[: self.rows_px, : self.columns_px]
        self._pattern = (picture / BRIGHT).astype(np.float32)

    def irradiance(self, time_s: float) -> NDArray[np.float32]:
        """float32 (3, rows_px, columns_px)."""
        brightest = self.inner.irradiance(time_s).max(axis=(1, 2))
        return np.ascontiguousarray(brightest[:, None, None] * self._pattern)


def with_canary(kind: Kind, seed: int, fault: str | None = None, bundle: Bundle | None = None) -> Bench:
    """The bench, and the canary in front of its camera."""
    bench = make_bench(kind, seed, fault, bundle)
    if bench.world is None:
        raise ValueError(f"{kind} has no camera")
    changed: dict[str, Any] = {"world": CanaryWorld(bench.world)}
    return replace(bench, **changed)


def leaky(name: str) -> Acquire:
    """An acquisition that also carries out a few rows, in other numbers than the camera's."""
    acquire = acquisition(name)

    def carrying(rig: Any, step: Step, before: dict[str, StepData]) -> StepData:
        data = acquire(rig, step, before)
        return {**data, "rows": rig.camera.capture(lambda mosaic, _about: mosaic[:8].astype(np.float64) / 7 - 3)}

    return carrying


if __name__ == "__main__":
    if sys.argv[1:] == ["leaky"]:
        calibrating.acquisition = leaky  # type: ignore[attr-defined]
    calibrating.make_bench = with_canary  # type: ignore[attr-defined]
    sys.exit(process.main())
