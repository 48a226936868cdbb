"""A calibration inside the boundary: each step is acquired here, and only its reduced arrays go out."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict
from typing import Any, Protocol

from host.boundary.rig import Rig
from host.boundary.rigs import real_rig, twin_rig
from host.boundary.sandbox import Early, lock_down
from host.boundary.wire import Kind, Record, arrays_of, packed_arrays, packed_json
from host.calibrate.procedure import Setup, Step
from host.calibrate.sessions import acquisition
from host.config import Camera, Gpio, Mask
from host.twin.bench import make_bench
from optics.bundle import read_bundle


class Line(Protocol):
    """The pipes to whoever calibrates."""

    def send(self, data: bytes) -> None:
        """Write a record."""

    def take(self, wait: bool) -> Record | None:
        """The next record."""


def calibrate(spec: Mapping[str, Any], line: Line, held: Early) -> None:
    """Acquire steps as they are asked for, until the other side goes. Raises what a rig and an acquisition raise."""
    acquire = acquisition(spec["acquire"])
    with _rig(spec, held) as rig:
        sandbox = lock_down(held)
        line.send(packed_json(Kind.ABOUT, {"camera": asdict(rig.camera.identity), "sandbox": asdict(sandbox)}))
        while (record := line.take(wait=True)) is not None:
            head, arrays = arrays_of(record)
            step = step_of(head["step"])
            before: dict[str, dict[str, Any]] = {name: {} for name in head["before"]}
            for name, array in arrays.items():
                earlier, _, key = name.partition("/")
                before[earlier][key] = array
            rig.arrange(step.setup)
            line.send(packed_arrays(acquire(rig, step, dict(before)), Kind.STEP))


def _rig(spec: Mapping[str, Any], held: Early) -> AbstractContextManager[Rig]:
    twin = spec.get("twin")
    if twin is not None:
        bundle = read_bundle(twin["bundle"]) if twin.get("bundle") is not None else None
        return twin_rig(make_bench(spec["kind"], twin["seed"], twin["fault"], bundle))
    return real_rig(
        Camera(**spec["camera"]), Gpio(**spec["gpio"]), Mask(**spec["mask"]), spec["rows_px"], spec["columns_px"], held
    )


def step_of(document: Mapping[str, Any]) -> Step:
    """The step that `dataclasses.asdict` wrote, after JSON."""
    setup = dict(document["setup"])
    across, down = setup["source_deg"]
    setup["source_deg"] = (across, down)
    return Step(**{**document, "setup": Setup(**setup)})
