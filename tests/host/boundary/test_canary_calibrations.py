"""A canary in front of a calibration's camera: no step carries it out, neither in its arrays nor in any byte."""

import importlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from calibration.outcome import Kind
from host.boundary.client import BoundarySession
from host.boundary.rigs import twin_rig
from host.calibrate.procedure import Procedure, StepData
from host.calibrate.sessions import RigSession
from host.twin.bench import make_bench
from optics.bundle import default_bundle_path, read_bundle
from tests.host.boundary.canary import Canary
from tests.host.boundary.canary_child import with_canary

ROOT = Path(__file__).resolve().parents[3]
SEED = 3
KINDS: tuple[Kind, ...] = ("range", "sensor", "slm")


@pytest.fixture(scope="module")
def canary() -> Canary:
    return Canary()


def procedure_of(kind: Kind) -> Procedure:
    made: Procedure = importlib.import_module(f"host.calibrate.{kind}").make_procedure(
        read_bundle(default_bundle_path()), quick=True
    )
    return made


def holds(canary: Canary, data: bytes) -> bool:
    """Whether it is in these bytes, wherever its numbers begin."""
    return any(canary.found_in(data[start:]) for start in range(8))


@pytest.mark.parametrize("kind", KINDS)
def test_the_camera_does_show_it(canary: Canary, kind: Kind) -> None:
    bench = with_canary(kind, SEED)
    with twin_rig(bench) as rig:
        rig.arrange(procedure_of(kind).steps[0].setup)
        rig.light.set(True)
        # Bright pixels at half of the scale, so that it is not cut off.
        assert bench.world is not None
        level = float(bench.world.irradiance(1.0)[1].max())
        rig.camera.set_exposure(5_000 / level, 1.0)
        # A step's bytes begin anywhere.
        assert rig.camera.capture(lambda mosaic, _about: holds(canary, b"npz" + mosaic.tobytes()))


class Watched:
    """Calibrations behind the canary, and every byte that their processes say."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seen = bytearray()
        self.options: tuple[str, ...] = ()
        read, started = os.read, subprocess.Popen

        def tapped(descriptor: int, length: int) -> bytes:
            data = read(descriptor, length)
            self.seen.extend(data)
            return data

        def popen(_command: list[str], **options: Any) -> "subprocess.Popen[bytes]":
            return started(
                [sys.executable, "-m", "tests.host.boundary.canary_child", *self.options], **options, cwd=ROOT
            )

        monkeypatch.setattr("host.boundary.child.os.read", tapped)
        monkeypatch.setattr("host.boundary.child.subprocess.Popen", popen)

    def run(self, kind: Kind, procedure: Procedure, without: dict[str, StepData]) -> dict[str, StepData]:
        """The data of all steps; `without`: what the steps before are said to have found, where it is in there."""
        done: dict[str, StepData] = {}
        spec = {"acquire": procedure.acquire, "twin": {"seed": SEED, "fault": None}}
        with BoundarySession(kind, spec) as boundary:
            for step in procedure.steps:
                done[step.name] = boundary.acquire(step, {name: without.get(name, done[name]) for name in list(done)})
        return done


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Watched:
    return Watched(monkeypatch)


@pytest.mark.parametrize("kind", KINDS)
def test_no_step_carries_it_out(canary: Canary, kind: Kind, watched: Watched) -> None:
    procedure = procedure_of(kind)
    # A modulator's later steps look at nothing where the first saw no fringes: they are told what it finds without it.
    without: dict[str, StepData] = {}
    if kind == "slm":
        with twin_rig(make_bench(kind, SEED)) as rig:
            session = RigSession(procedure, rig, "twin")
            for step in procedure.steps:
                without[step.name] = session.acquire(step, without)
    done = watched.run(kind, procedure, without)
    assert not any("skipped" in data for data in done.values())
    for name, data in done.items():
        for key, array in data.items():
            assert not canary.found_in(np.ascontiguousarray(array).tobytes()), (name, key)
    assert len(watched.seen) > sum(array.nbytes for data in done.values() for array in data.values())
    assert not holds(canary, bytes(watched.seen))


def test_a_step_that_carried_rows_out_would_be_found(canary: Canary, watched: Watched) -> None:
    watched.options = ("leaky",)
    done = watched.run("range", procedure_of("range"), {})
    assert canary.found_in(done["find"]["rows"].tobytes())
    assert holds(canary, bytes(watched.seen))
