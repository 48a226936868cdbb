"""`calibrate slm` on its bench: hidden panels are found, wrong set-ups are named, the table makes the panel linear."""

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binom

from calibration.phase_lut import fit_response
from host.board.deadline import Deadline
from host.boundary.acquire_slm import acquire
from host.boundary.rigs import twin_rig
from host.calibrate.run import SessionError, run_procedure
from host.calibrate.slm import SOME_LEVELS, make_procedure, sweep_of
from host.calibrate.store import StepStore
from host.figures.calibration_slm import draw
from host.mask.slm import Slm
from host.twin.bench import make_bench
from host.twin.bench_slm import FAULTS

ESTIMATES = (
    "phase_range_rad", "level_of_turn", "settle_ms", "rise_constant_ms", "fall_constant_ms", "flicker_percent",
    "fixed_pattern_rms_rad", "response_spread_percent", "vibration_rms_rad",
)  # fmt: skip
# One fringe to two of the panel's pixels, upright: (down, right), cycles per pixel.
ON_THE_PIXELS = (0.0006, 0.1683)


class InProcess:
    device = "the twin's bench"

    def __init__(self, rig, before_step=lambda _step: None):
        self._rig, self._before_step = rig, before_step

    def acquire(self, step, before):
        self._before_step(step)
        return acquire(self._rig, step, before)


def calibrate(seed, fault=None, quick=True):
    return calibrate_bench(make_bench("slm", seed, fault), quick)


def calibrate_bench(bench, quick=True):
    with twin_rig(bench) as rig:
        outcome, data = run_procedure(make_procedure(None, quick), InProcess(rig))
    return bench, outcome, data


@pytest.fixture(scope="module")
def runs():
    """A few right set-ups, for all tests that only look at them."""
    return [calibrate(seed) for seed in range(200, 206)]


@pytest.mark.parametrize("fault", sorted(FAULTS))
def test_every_wrong_setup_is_named(fault, tmp_path):
    for seed in range(300, 302):
        bench, outcome, data = calibrate(seed, fault)
        assert outcome.result["wrong_setup"] == fault, (seed, outcome.reason)
        assert outcome.reason.startswith(f"{fault}: ")
        assert not outcome.passed
        json.dumps(outcome.result, allow_nan=False)
        json.dumps(dict(bench.truth), allow_nan=False)
    draw(outcome, data, tmp_path / "wrong.png")
    assert (tmp_path / "wrong.png").stat().st_size > 5_000


def test_a_right_setup_is_never_called_wrong(runs):
    for bench, outcome, _ in runs:
        assert outcome.passed, (bench.truth, outcome.reason)
        json.dumps(outcome.result, allow_nan=False)


def test_hidden_panels_lie_within_the_stated_uncertainties(runs):
    """Six panels; `canopic calibrate coverage slm` counts a hundred."""
    near = []
    for bench, outcome, _ in runs:
        found, truth = outcome.result, bench.truth
        near += [(found[name] - truth[name]) / found[f"{name}_sigma"] for name in ESTIMATES]
        # Levels of one panel share the error of level 0 and the draw of its ripple: one of them counts.
        level = len(near) % len(SOME_LEVELS)
        off = found["some_phases_rad"][level] - truth["some_phases_rad"][level]
        near.append(off / found["some_phases_rad_sigma"][level])
    least = binom.ppf(0.001, len(near), 0.9545)
    assert (np.abs(near) <= 2).sum() >= least, np.round(near, 1)
    assert np.abs(near).max() < 4.5


def test_truth_and_result_have_the_same_keys(runs):
    bench, outcome, _ = runs[0]
    estimated = {name.removesuffix("_sigma") for name in outcome.result if name.endswith("_sigma")}
    assert {*bench.truth} - {"hidden"} == estimated == {*ESTIMATES, "some_phases_rad"}
    for bench, outcome, _ in runs:
        off = outcome.arrays["phase_rad"] - bench.truth["hidden"]["phase_rad"]
        # All levels of a panel share the draw of its ripple.
        assert np.sqrt(np.mean((off[1:] / outcome.arrays["phase_sigma_rad"][1:]) ** 2)) < 3


def test_fringes_that_the_panel_s_pixels_mirror_are_in_the_uncertainty_and_said():
    """Without ripple, which would hide it: phases are off by ten times what their scatter says."""
    blind, allowed = [], []
    for seed in (3031, 7004, 211):
        bench = make_bench("slm", seed)
        bench.world.carrier = ON_THE_PIXELS
        bench.world.__post_init__()
        bench.slm.display.panel = replace(bench.slm.display.panel, flicker=0.0)
        _, outcome, data = calibrate_bench(bench)
        found, truth = outcome.result, bench.truth
        assert found["mirrored_fringes_percent"] > 0.3
        assert outcome.passed
        assert "tilt the mirror until" in outcome.reason
        steady = ("phase_range_rad", "settle_ms", "rise_constant_ms", "fall_constant_ms")
        allowed += [(found[name] - truth[name]) / found[f"{name}_sigma"] for name in steady]
        off = np.subtract(found["some_phases_rad"], truth["some_phases_rad"])
        allowed += list(off / found["some_phases_rad_sigma"])
        sweeps = [sweep_of(step) for name, step in data.items() if name.startswith("sweep")]
        blind.append(np.abs(off / fit_response(sweeps, found["fringe_snr"]).sigma_rad[list(SOME_LEVELS)]).max())
    assert max(blind) > 8
    assert (np.abs(allowed) <= 2).mean() > 0.85
    assert np.abs(allowed).max() < 3.5


def test_tilted_as_asked_there_is_nothing_mirrored():
    bench = make_bench("slm", 3031)
    bench.world.carrier = (0.0006, 35 / bench.world.columns_px)
    bench.world.__post_init__()
    _, outcome, _ = calibrate_bench(bench)
    assert outcome.result["mirrored_fringes_percent"] < 0.1
    assert "tilt" not in outcome.reason
    assert "32 to 38 upright fringes" in make_procedure(None).steps[0].ask


def test_the_table_makes_the_panel_linear(runs):
    bench, outcome, _ = runs[0]
    twin = bench.slm.display
    wanted = np.broadcast_to(np.linspace(0, 2 * np.pi * 0.99, twin.columns), (twin.rows, twin.columns))
    off = {}
    for name, lut in (("linear", None), ("measured", outcome.arrays["lut"])):
        # In the steady light of one moment after another: the twin's clock stands still while nobody captures.
        start_s = bench.world.now_s
        Slm(twin, lut, settle_s=0).show(wanted, Deadline(10, "showing"), lambda: np.inf)
        bench.world.now_s = start_s + 1
        seen = twin.phase_rad(bench.world.now_s)[:, 4:-4]
        off[name] = np.angle(np.exp(1j * (seen - wanted[:, 4:-4]))).std()
    # What is left is the wedge of the panel's gain, of a few per cent, and rounding.
    assert off["measured"] < 0.1
    assert off["linear"] > 3 * off["measured"]


def test_a_camera_that_sees_left_and_right_exchanged(runs):
    seen = {bool(bench.world.mirrored) for bench, _, _ in runs}
    assert seen == {True, False}
    for bench, _, data in runs:
        assert bool(data["look"]["mirrored"]) == bench.world.mirrored


def test_what_leaves_is_no_picture(runs):
    bench, _, data = runs[0]
    pixels = bench.world.rows_px * bench.world.columns_px
    for step in data.values():
        for name, values in step.items():
            # One number for each region, frequency and picture, sixteen regions.
            assert values.ndim <= 3, name
            assert values.ndim < 2 or values.shape[-1] == 16, name
            assert values[0].size < pixels / 50 if values.ndim else True


def test_figure(runs, tmp_path):
    _, outcome, data = runs[1]
    draw(outcome, data, tmp_path / "slm.png")
    assert (tmp_path / "slm.png").stat().st_size > 30_000
    make_procedure(None).draw(outcome, data, tmp_path / "again.png")
    assert (tmp_path / "again.png").read_bytes() == (tmp_path / "slm.png").read_bytes()


def test_a_modulator_that_goes_off_in_between_is_an_error_and_the_run_goes_on(tmp_path):
    bench = make_bench("slm", 211)
    procedure = make_procedure(None, True)
    store = StepStore(tmp_path, procedure, "twin")

    def pull(step):
        bench.slm.display.off = step.name == "sweep-3"

    with twin_rig(bench) as rig:
        with pytest.raises(SessionError, match=r"off or unplugged.+goes on with this step"):
            run_procedure(procedure, InProcess(rig, pull), store)
        bench.slm.display.off = False
        asked = []
        outcome, _ = run_procedure(procedure, InProcess(rig, lambda step: asked.append(step.name)), store)
    assert asked == ["sweep-3", "sweep-4", "hold"]
    assert outcome.passed


def test_without_a_modulator():
    bench = make_bench("slm", 212)
    with twin_rig(bench) as rig:
        step = make_procedure(None, True).steps[0]
        bare = type(rig)(rig.camera, rig.light, rig.arrange)
        with pytest.raises(SessionError, match=r"mask\.slm_display"):
            acquire(bare, step, {})
        assert acquire(rig, step, {})["usable"]


def test_quick_and_full_measure_levels_in_common():
    for quick in (True, False):
        orders = [step.settings["order"] for step in make_procedure(None, quick).steps if "order" in step.settings]
        assert all(order[0] == 0 and {0, *SOME_LEVELS, 255} <= set(order) for order in orders)
        assert len({tuple(order) for order in orders}) == len(orders)
