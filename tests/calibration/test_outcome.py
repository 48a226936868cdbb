"""An outcome: limits decide, a number that is none keeps no limit, a wrong set-up is named first."""

import json

import numpy as np
import pytest

from calibration.outcome import Limit, judged, wrong_setup


@pytest.mark.parametrize(
    ("value", "at", "holds"),
    [(1.0, "least", True), (0.99, "least", False), (1.0, "most", True), (1.01, "most", False)],
)
def test_a_limit_holds_up_to_its_bound(value: float, at: str, holds: bool) -> None:
    assert Limit("snr", value, 1.0, at, "", "the SNR").holds is holds  # type: ignore[arg-type]


@pytest.mark.parametrize("at", ["least", "most"])
def test_what_is_no_number_keeps_no_limit_and_is_null_in_json(at: str) -> None:
    limit = Limit("snr", float("nan"), 1.0, at, "dB", "the SNR")  # type: ignore[arg-type]
    outcome = judged("psf", {}, [limit], summary="fine")
    assert not outcome.passed
    assert json.loads(json.dumps(outcome.result, allow_nan=False))["limits"][0]["value"] is None


def test_no_number_in_a_result_is_one_that_json_cannot_hold() -> None:
    values = {"a": float("nan"), "b": [1.0, float("inf")], "c": {"d": np.float64("nan")}, "e": 3, "f": "x", "g": True}
    expected = {"a": None, "b": [1.0, None], "c": {"d": None}, "e": 3, "f": "x", "g": True}
    for outcome in (judged("psf", values, [], summary="fine"), wrong_setup("psf", "source_off", "dark", values)):
        assert {name: outcome.result[name] for name in values} == expected
        json.dumps(outcome.result, allow_nan=False)


def test_what_is_not_kept_is_said_with_its_bound_and_advice() -> None:
    low = Limit("snr", 12.0, 30.0, "least", "dB", "the SNR")
    kept = Limit("share", 0.9, 0.5, "least", "", "the light in the window")
    outcome = judged("psf", {"snr": 12.0}, [low, kept], summary="all well", advice="move the source closer")
    assert not outcome.passed
    assert outcome.reason == "the SNR is 12 dB, at least 30 dB is asked for: move the source closer"
    assert [limit["holds"] for limit in outcome.result["limits"]] == [False, True]
    assert outcome.result["wrong_setup"] is None


def test_what_is_kept_gives_the_summary() -> None:
    outcome = judged("psf", {}, [Limit("snr", 40.0, 30.0, "least", "dB", "the SNR")], summary="SNR 40 dB")
    assert outcome.passed
    assert outcome.reason == "SNR 40 dB"


def test_a_wrong_setup_is_named_in_front() -> None:
    outcome = wrong_setup("psf", "source_off", "no light came: switch the source on")
    assert (outcome.passed, outcome.reason) == (False, "source_off: no light came: switch the source on")
    assert outcome.result["wrong_setup"] == "source_off"
