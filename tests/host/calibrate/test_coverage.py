"""Coverage of stated uncertainties: the arithmetic against known cases, the command on a few twins."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from calibration.outcome import Outcome
from host.calibrate import coverage as module
from host.calibrate.coverage import coverage, z_scores
from host.cli import app
from optics.bundle import Bundle, default_bundle_path, read_bundle


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return read_bundle(default_bundle_path())


def test_only_what_has_an_uncertainty_is_compared() -> None:
    result = {
        "gain": 2.0, "gain_sigma": 0.5, "offsets": [1.0, 2.0, None], "offsets_sigma": [1.0, 0.0, 1.0],
        "rotation_deg": None, "rotation_deg_sigma": None, "serial": "A",
    }  # fmt: skip
    truth = {"gain": 1.0, "offsets": [0.0, 2.5, 1.0], "rotation_deg": 3.0, "serial": "A", "hidden": 1.0}
    scores = z_scores(Outcome("sensor", True, "", result), truth)
    assert {name: z.tolist() for name, (z, _) in scores.items()} == {"gain": [2.0], "offsets": [1.0]}


@pytest.mark.parametrize(("stated", "low", "high"), [(1.0, 0.92, 0.98), (0.5, 0.6, 0.76), (2.0, 0.995, 1.0)])
def test_too_small_and_too_large_uncertainties_show(
    monkeypatch: pytest.MonkeyPatch, bundle: Bundle, stated: float, low: float, high: float
) -> None:
    def calibrated(_kind: str, _bundle: Bundle, seed: int, _quick: bool) -> tuple[Outcome, dict[str, float]]:
        error = float(np.random.default_rng(seed).normal())
        return Outcome("sensor", True, "", {"gain": 5 + error, "gain_sigma": stated}), {"gain": 5.0}

    monkeypatch.setattr(module, "calibrated_twin", calibrated)
    (found,), failed = coverage("sensor", bundle, range(600), True)
    assert not failed
    assert low <= found.within_2 <= high
    assert found.within_2_interval[0] <= found.within_2 <= found.within_2_interval[1]
    assert (found.values, found.setups, found.median_sigma) == (600, 600, stated)


def test_what_does_not_pass_is_listed(monkeypatch: pytest.MonkeyPatch, bundle: Bundle) -> None:
    outcome = Outcome("sensor", False, "too noisy", {})
    monkeypatch.setattr(module, "calibrated_twin", lambda *_: (outcome, {}))
    assert coverage("sensor", bundle, [4], True)[1] == ["seed 4: too noisy"]


@pytest.mark.parametrize("kind", ["psf", "board", "sensor", "slm", "range"])
def test_a_twin_s_hidden_parameters_are_found(kind: str) -> None:
    result = CliRunner().invoke(app, ["calibrate", "coverage", kind, "--setups", "3", "--quick", "--json"])
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert not document["not_passed"]
    assert document["parameters"]
    assert all(each["worst"] < 6 for each in document["parameters"]), document["parameters"]
