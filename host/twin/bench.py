"""A twin's bench: simulated parts with hidden parameters, drawn from a seed, that a calibration has to find.

Each kind of calibration has a module host/twin/bench_KIND.py with

    FAULTS: dict[str, str]                  wrong set-ups: short name to what is wrong, in words
    make(seed: int, fault: str | None) -> Bench

and, where what is calibrated depends on the bundle (OF_BUNDLE), make(seed, fault, bundle=...).
"""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from calibration.outcome import KINDS, Kind
from host.calibrate.procedure import Setup
from host.twin.sensor import SensorModel
from optics.bundle import Bundle

# A mask is made to a bundle's design, and a scene is seen through it.
OF_BUNDLE: frozenset[Kind] = frozenset({"psf", "range"})

CAMERA_MODEL = "imx219"


class World(Protocol):
    """What falls on the sensor plane, behind the mask."""

    rows_px: int
    columns_px: int

    def irradiance(self, time_s: float) -> NDArray[np.float32]:
        """Light at this moment, float32 (3, rows_px, columns_px), planes R, G, B, one value for each quad of the
        sensor's mosaic. 1.0 fills the scale in 10 ms at gain 1; more saturates. Not to be changed by the caller."""


@dataclass(frozen=True, eq=False)
class Bench:
    """One simulated set-up.

    world, sensor: what the camera twin is given. camera_options: further arguments of the camera twin (bits, black
    level, Bayer order, faults). gpio: the twin of RPi.GPIO that its lights hang on, None: `light` does. light: switches
    the source. arrange: its hands. slm: twin of the modulator. board: arguments of BoardProcess (board_process.py).
    truth: the hidden parameters, under the names that the calibration's result uses; JSON.
    """

    kind: Kind
    world: World | None
    sensor: SensorModel
    light: Any
    arrange: Callable[[Setup], None]
    truth: Mapping[str, Any]
    camera_options: Mapping[str, Any] = field(default_factory=dict)
    gpio: Any = None
    slm: Any = None
    board: Mapping[str, Any] = field(default_factory=dict)


class BenchError(ValueError):
    """No such bench or fault. The message lists those that there are."""


def faults(kind: Kind) -> dict[str, str]:
    """Wrong set-ups that a twin of this calibration can be given: short name to what is wrong."""
    return dict(_module(kind).FAULTS)


def all_faults() -> dict[str, dict[str, str]]:
    """The same for every calibration."""
    return {kind: faults(kind) for kind in KINDS}


def make_bench(
    kind: Kind, seed: int, fault: str | None = None, bundle: Bundle | None = None, mains_hz: int | None = None
) -> Bench:
    """The bench of a seed, with one thing wrong where `fault` says so; bundle: whose mask stands there (None: the
    default one's). mains_hz: of the room's lamps, where a range is found. Raises BenchError."""
    known = faults(kind)
    if fault is not None and fault not in known:
        raise BenchError(
            f"the twin of `calibrate {kind}` knows no fault {fault!r}; it knows {', '.join(sorted(known))}"
        )
    if seed < 0:
        raise BenchError(f"a seed is 0 or more, got {seed}")
    options: dict[str, Any] = {"bundle": bundle} if bundle is not None and kind in OF_BUNDLE else {}
    if kind == "range":
        options["mains_hz"] = mains_hz
    made: Bench = _module(kind).make(seed, fault, **options)
    if made.world is None:
        return made
    # One camera for all calibrations, as a seal wants it; what it is called says nothing about its hidden parameters.
    return replace(made, camera_options={**made.camera_options, "model": CAMERA_MODEL})


def _module(kind: str) -> Any:
    return importlib.import_module(f"host.twin.bench_{kind}")
