"""Dark frames of `calibrate psf`: a warm sensor's own current is dark, light past the cover is not."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from host.boundary.acquire_psf import acquire
from host.boundary.rigs import twin_rig
from host.calibrate.procedure import StepData
from host.calibrate.psf import make_procedure
from host.calibrate.psf_setup import before_measuring
from host.seal.verification_parts import TwinParts
from host.twin.bench import Bench, make_bench
from host.twin.bench_psf import make
from optics.bundle import default_bundle_path, read_bundle

BUNDLE = read_bundle(default_bundle_path())
PROCEDURE = make_procedure(BUNDLE, quick=True)


def dark_of(bench: Bench) -> StepData:
    with twin_rig(bench) as rig:
        return acquire(rig, PROCEDURE.steps[0], {})


def said(dark: StepData) -> str | None:
    """What is said of a step after these dark frames that no light reached; None where they are dark."""
    outcome = before_measuring("axis", {"status": np.array(3.0)}, dark)
    assert outcome is not None
    return outcome.reason if outcome.result["wrong_setup"] == "cover_off" else None


@pytest.mark.parametrize("seed", range(10))
def test_the_sensor_that_its_own_calibration_accepts_is_dark_under_its_cover(seed: int) -> None:
    with TwinParts(seed, bundle=BUNDLE).session(PROCEDURE) as session:
        assert said(session.acquire(PROCEDURE.steps[0], {})) is None


def test_the_warmest_sensor_of_the_bench_is_dark_and_with_the_cover_off_it_is_not() -> None:
    for seed in range(8):
        bench = make(seed, "cover_off")
        warm = replace(bench.sensor, full_well_electrons=3_000, dark_current_electrons_per_s=2_000)
        reason = said(dark_of(replace(bench, sensor=warm)))
        assert reason is not None
        assert "Put the lens cover on" in reason
        bench.world.cover_lost = False  # type: ignore[union-attr]
        dark = dark_of(replace(bench, sensor=warm))
        assert 0.1 < (dark["level_dn"].max() - 256) / (4095 - 256) < 0.2
        assert said(dark) is None


@pytest.mark.parametrize("light", [0.02, 1.0], ids=["a colourless room", "saturated"])
def test_much_light_without_a_colour_is_not_dark(light: float) -> None:
    bench = make_bench("psf", 3, "cover_off")
    world: Any = bench.world
    world.ambient = np.full_like(world.ambient, light)
    reason = said(dark_of(bench))
    assert reason is not None
    assert "a warm sensor's own current gives less" in reason


def test_nothing_but_one_number_of_their_colours_leaves() -> None:
    dark = dark_of(make_bench("psf", 3, "cover_off"))
    assert dark["coloured"].size == 1
    assert 0.03 < float(dark["coloured"]) < 1
