"""A PSF's calibration shows a point of light and nothing that it lights: what more is lit stays in the boundary."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from calibration.point_source_setup import STATUS, lit_elsewhere
from host.boundary.acquire_psf import LARGEST_REGION_PX, acquire
from host.boundary.rigs import twin_rig
from host.calibrate.psf import make_procedure
from host.calibrate.run import run_procedure
from host.calibrate.sessions import RigSession
from host.twin.bench import make_bench
from host.twin.bench_psf import make
from optics.bundle import Bundle, default_bundle_path, read_bundle


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return read_bundle(default_bundle_path())


@pytest.mark.parametrize("seed", range(6))
def test_a_source_that_lights_the_room_is_named_and_none_of_it_leaves(bundle: Bundle, seed: int) -> None:
    bench = make_bench("psf", seed, "lights_the_room")
    procedure = make_procedure(bundle, quick=True)
    with twin_rig(bench) as rig:
        outcome, data = run_procedure(procedure, RigSession(procedure, rig, "twin"))
    assert outcome.result["wrong_setup"] == "lights_the_room", outcome.reason
    assert max(array.size for array in data["axis"].values()) < 200  # lists of rates, no picture
    # Mended: the same bench with a tube around its source.
    world: Any = bench.world
    world.lit = None
    with twin_rig(bench) as rig:
        assert run_procedure(procedure, RigSession(procedure, rig, "twin"))[0].passed


def test_a_faint_pattern_that_the_source_lights_does_not_leave(bundle: Bundle) -> None:
    bench = make_bench("psf", 2, "lights_the_room")
    world: Any = bench.world
    blocks = np.random.default_rng(5).integers(0, 2, (world.rows_px // 16 + 1, world.columns_px // 16 + 1))
    pattern = blocks.repeat(16, 0).repeat(16, 1)[: world.rows_px, : world.columns_px].astype(np.float64)
    world.lit = 0.2 * float(world.ambient.max()) * pattern * world.gains[:, np.newaxis, np.newaxis]
    procedure = make_procedure(bundle, quick=True)
    with twin_rig(bench) as rig:
        outcome, data = run_procedure(procedure, RigSession(procedure, rig, "twin"))
    assert outcome.result["wrong_setup"] == "lights_the_room", outcome.reason
    assert max(array.size for step in data.values() for array in step.values()) < 200


def test_no_more_of_a_plane_than_a_region_leaves_whoever_asks(bundle: Bundle) -> None:
    wide = {"planes_px": (LARGEST_REGION_PX + 41, LARGEST_REGION_PX + 41)}
    bench = make(3, None, wide)
    procedure = make_procedure(bundle, quick=True)
    greedy = [replace(step, settings={**step.settings, "region_px": 10_000}) for step in procedure.steps]
    with twin_rig(bench) as rig:
        dark = acquire(rig, greedy[0], {})
        rig.arrange(greedy[1].setup)
        axis = acquire(rig, greedy[1], {"dark": dark})
    assert int(axis["status"]) == STATUS["measured"]
    assert max(axis["difference_dn"].shape[-2:]) <= LARGEST_REGION_PX
    assert max((array.size for array in dark.values()), default=0) < 200


@pytest.mark.parametrize("share", [0.0, 0.02, 0.2, 0.9])
def test_the_share_of_light_elsewhere(share: float) -> None:
    rng = np.random.default_rng(1)
    light = rng.normal(0, 1.0, (4, 200, 240))
    inside = (slice(60, 140), slice(80, 160))
    light[:, 95:105, 115:125] += 4000 * (1 - share) / 100 / 4 * 25
    light[:, 10:26, 10:26] += 4000 * share / 256 / 4 * 25
    found = lit_elsewhere(light, 1.0, inside)
    assert found == pytest.approx(share, abs=0.04)
