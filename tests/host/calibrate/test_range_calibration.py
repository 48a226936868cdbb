"""The range's calibration of twins: the hidden exposure found, wrong set-ups named, only counts of cells let out."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from calibration.full_scale import BINS
from calibration.outcome import Outcome
from host.boundary.rigs import twin_rig
from host.calibrate.procedure import StepData
from host.calibrate.range import make_procedure
from host.calibrate.run import SessionError, run_procedure
from host.calibrate.sessions import RigSession
from host.exposure import ExposureConfig, split_exposure
from host.twin.bench import Bench
from host.twin.bench import make_bench as make_default
from host.twin.bench_range import FAULTS, make
from optics.bundle import Bundle, default_bundle_path, read_bundle
from optics.encoding import Encoding
from optics.exposure import SATURATED_SHARE_TARGET


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    """The default encoding on a small plane: 12 x 16 x 3 cells."""
    return Bundle(read_bundle(default_bundle_path()).encoding, 96, 128)


def calibrated(bundle: Bundle, bench: Bench, quick: bool = False) -> tuple[Outcome, dict[str, StepData]]:
    procedure = make_procedure(bundle, quick=quick)
    with twin_rig(bench) as rig:
        return run_procedure(procedure, RigSession(procedure, rig, "twin"))


def test_the_hidden_full_scale_is_found_within_its_uncertainty(bundle: Bundle) -> None:
    """12 seeds; at least as many within k = 2 as the binomial interval of 95.4 % (99.9 %) asks for."""
    inside = 0
    for seed in range(12):
        bench = make(seed, None, bundle)
        outcome, _ = calibrated(bundle, bench)
        assert outcome.passed, (seed, outcome.reason)
        for name in ("product_us", "full_scale_radiance"):
            within = abs(outcome.result[name] - bench.truth[name]) <= 2 * outcome.result[f"{name}_sigma"]
        inside += within
        # The setting that the camera is left with is the one that was found, to the steps of its exposure and gain.
        set_us = outcome.result["exposure_us"] * outcome.result["gain"]
        assert set_us == pytest.approx(outcome.result["product_us"], rel=0.06)
        low, high = outcome.result["saturated_share_range"]
        assert low <= SATURATED_SHARE_TARGET * 2
        assert high >= SATURATED_SHARE_TARGET / 2
    assert inside >= stats.binom.interval(0.999, 12, 0.954)[0]


@pytest.mark.parametrize("fault", [name for name in FAULTS if name != "controls_ignored"])
def test_every_wrong_set_up_has_its_name(bundle: Bundle, fault: str) -> None:
    for seed in range(50, 54):
        outcome, _ = calibrated(bundle, make(seed, fault, bundle), quick=True)
        assert (seed, outcome.result["wrong_setup"]) == (seed, fault)
        assert outcome.reason.startswith(f"{fault}: ")
    assert calibrated(bundle, make(53, None, bundle), quick=True)[0].passed


def test_ignored_controls_are_the_drivers_word(bundle: Bundle) -> None:
    with pytest.raises(SessionError) as raised:
        calibrated(bundle, make(5, "controls_ignored", bundle))
    assert raised.value.name == "controls_ignored"
    assert calibrated(bundle, make(5, None, bundle))[0].passed


def test_the_covers_own_switch_is_believed(bundle: Bundle) -> None:
    procedure = make_procedure(bundle, quick=True)
    with twin_rig(make(6, None, bundle)) as rig:
        covered = replace(rig, cover_is_on=lambda: True)
        outcome, _ = run_procedure(procedure, RigSession(procedure, covered, "twin"))
        assert outcome.result["wrong_setup"] == "cover_on"
        assert run_procedure(procedure, RigSession(procedure, rig, "twin"))[0].passed


def test_exposures_are_whole_half_periods_of_the_mains(bundle: Bundle) -> None:
    # A light that asks for more than a half-period.
    bench = next(made for seed in range(50) if (made := make(seed, None, bundle)).truth["product_us"] > 12_000)
    for mains_hz, half_us in ((50, 10_000), (60, 8_333)):
        procedure = make_procedure(bundle, quick=True, mains_hz=mains_hz)
        with twin_rig(bench) as rig:
            outcome, _ = run_procedure(procedure, RigSession(procedure, rig, "twin"))
        periods = outcome.result["exposure_us"] / half_us
        assert outcome.passed
        assert periods == pytest.approx(round(periods), abs=0.02)
        expected = split_exposure(outcome.result["product_us"] / 1e4, ExposureConfig(mains_hz=mains_hz))
        assert outcome.result["gain"] == pytest.approx(expected[1], rel=0.05)


def test_the_truth_is_split_for_the_mains_that_are_configured(bundle: Bundle) -> None:
    """At 60 Hz the hidden exposure is the one that the calibration there finds; without a mains it has none."""
    seed = next(seed for seed in range(50) if make(seed, None, bundle).truth["product_us"] > 12_000)
    assert "exposure_us" not in make(seed, None, bundle).truth
    found = []
    for mains_hz in (50, 60):
        bench = make(seed, None, bundle, mains_hz)
        procedure = make_procedure(bundle, quick=True, mains_hz=mains_hz)
        with twin_rig(bench) as rig:
            outcome, _ = run_procedure(procedure, RigSession(procedure, rig, "twin"))
        assert outcome.result["exposure_us"] == pytest.approx(bench.truth["exposure_us"], rel=0.005)
        assert outcome.result["gain"] == pytest.approx(bench.truth["gain"], rel=0.03)
        found.append(bench.truth["exposure_us"])
    assert found[0] != pytest.approx(found[1], rel=0.05)


def test_only_counts_of_cells_leave(bundle: Bundle) -> None:
    """Each exposure gives counts over values and a mean: nothing says where a cell lies."""
    _, data = calibrated(bundle, make(8, None, bundle), quick=True)
    cells = 12 * 16 * 3
    for name, step in data.items():
        for key, array in step.items():
            if key.endswith("counts"):
                assert array.shape[1] == BINS
                assert (array.sum(axis=1) == cells).all()
            else:
                assert array.size <= 128, (name, key)


def test_mirroring_the_scene_changes_no_count_but_by_noise(bundle: Bundle) -> None:
    bench = make(9, None, bundle)
    mirrored = replace(bench, world=replace(bench.world, light=bench.world.light[:, :, ::-1].copy()))  # type: ignore[type-var,union-attr]
    results = [calibrated(bundle, each, quick=True)[0].result for each in (bench, mirrored)]
    assert results[0]["product_us"] == pytest.approx(results[1]["product_us"], rel=0.02)


def test_the_default_bundle_has_a_bench(tmp_path: Path) -> None:
    whole = read_bundle(default_bundle_path())
    bench = make_default("range", 3)
    outcome, data = calibrated(whole, bench, quick=True)
    assert outcome.passed, outcome.reason
    assert outcome.result["cells"] == 60 * 80 * 3
    assert abs(outcome.result["product_us"] / bench.truth["product_us"] - 1) < 0.02
    make_procedure(whole).draw(outcome, data, tmp_path / "range.png")
    assert (tmp_path / "range.png").read_bytes().startswith(b"\x89PNG")


def test_figures_of_wrong_set_ups_are_drawn(bundle: Bundle, tmp_path: Path) -> None:
    outcome, data = calibrated(bundle, make(10, "cover_on", bundle), quick=True)
    make_procedure(bundle).draw(outcome, data, tmp_path / "range.png")
    assert (tmp_path / "range.png").stat().st_size > 1000


def test_an_encoding_that_one_mask_cannot_be_is_refused(bundle: Bundle) -> None:
    signed = -bundle.encoding.kernels
    encoding = Encoding(signed, bundle.encoding.thresholds, bundle.encoding.pool, "fixed")
    with pytest.raises(ValueError, match="negative"):
        make_procedure(Bundle(encoding, 96, 128))


def test_the_scene_of_a_bench_is_behind_the_mask(bundle: Bundle) -> None:
    """The kernel blurs: neighbouring pixels of the light on the plane are nearly alike, those of a photograph not."""
    bench = make(11, None, bundle)
    light = bench.world.light  # type: ignore[union-attr]
    steps = np.abs(np.diff(light, axis=2)).mean() / light.mean()
    sharp = Encoding(np.ones((1, 1, 1), np.float32), bundle.encoding.thresholds, bundle.encoding.pool, "fixed")
    bare = make(11, None, Bundle(sharp, 96, 128)).world.light  # type: ignore[union-attr]
    assert steps < 0.5 * np.abs(np.diff(bare, axis=2)).mean() / bare.mean()
