"""Whether a sealed board has moved: on the firmware while it measures, and how often the answer is a false alarm."""

import dataclasses
import json
from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import binomtest

from calibration.comparators import chance_high
from calibration.outcome import Outcome
from host.board.bench import ApproachName
from host.board.client import BoardClient
from host.board.errors import BoardProgramError
from host.board.thresholds import COMPARATORS, dac_codes_to_volts
from host.calibrate.acquire_board import board_rig
from host.calibrate.board import drift_check, make_procedure
from host.calibrate.run import run_procedure
from host.calibrate.sessions import RigSession
from host.twin.bench import make_bench
from host.twin.board_process import BoardProcess, board_executable
from optics.bundle import read_bundle, resolve_bundle


@pytest.fixture
def sealed() -> Iterator[tuple[BoardProcess, BoardClient, Outcome]]:
    """A calibrated board that runs with its trims, committed."""
    try:
        board_executable()
    except BoardProgramError as error:
        pytest.skip(f"the firmware's host build is not available: {error}")
    bundle = read_bundle(resolve_bundle("default"))
    procedure = make_procedure(bundle)
    with BoardProcess(**make_bench("board", 11).board) as process, BoardClient(process.pty) as client:
        rig = board_rig(client, bundle)
        outcome, _ = run_procedure(procedure, RigSession(procedure, rig, "twin 11"))
        client.provision(rig.encoding_id, rig.dac_codes, outcome.arrays["trims"])
        yield process, client, outcome


@pytest.mark.parametrize("armed", [False, True])
def test_a_comparator_that_drifts_is_found_and_one_that_comes_back_is_not(
    sealed: tuple[BoardProcess, BoardClient, Outcome], armed: bool
) -> None:
    process, client, outcome = sealed
    if armed:
        client.arm(4, 4, 1)
    assert drift_check(client, outcome.arrays).ok
    offset = _offset(process, 6)
    for volts in (4e-3, -5e-3, 0.06):
        process.control(f"offset 6 {offset + volts}")
        found = drift_check(client, outcome.arrays)
        assert found.moved == (6,)
        assert "comparator 6" in found.reason
        assert np.sign(found.drift_volts[6]) == -np.sign(volts)
    process.control(f"offset 6 {offset}")
    assert drift_check(client, {f"board.{name}": value for name, value in outcome.arrays.items()}).ok
    assert drift_check(client, outcome.arrays, comparators=[6]).comparators == (6,)


def test_still_boards_raise_no_alarm_and_half_a_limit_is_measured(
    sealed: tuple[BoardProcess, BoardClient, Outcome],
) -> None:
    process, client, outcome = sealed
    for _ in range(20):
        assert drift_check(client, outcome.arrays, false_alarm=0.01).ok
    offset = _offset(process, 3)
    process.control(f"offset 3 {offset - 1e-3}")
    found = drift_check(client, outcome.arrays)
    assert found.ok
    assert abs(found.drift_volts[3] - 1e-3) < 4 * found.drift_sigma_volts[3]


@dataclasses.dataclass
class SimulatedComparators:
    """Comparators without a board around them: transitions (15,), one noise and hysteresis."""

    transition_volts: NDArray[np.float64]
    noise_volts: float
    hysteresis_volts: float
    rng: np.random.Generator
    seen: list[tuple[str, float]] = dataclasses.field(default_factory=list)

    def sweep(
        self, comparator: int, start: int, step: int, count: int, reads: int, approach: ApproachName
    ) -> NDArray[np.uint16]:
        levels = dac_codes_to_volts(start + step * np.arange(count))
        edge = self.hysteresis_volts * (0.5 if approach == "below" else -0.5)
        chance = chance_high(levels, self.transition_volts[comparator] + edge, self.noise_volts)
        share = float(chance.mean())
        self.seen.append((approach, share))
        return self.rng.binomial(reads, chance).astype(np.uint16)


def test_false_alarms_come_as_rarely_as_stated_and_each_edge_is_read_where_it_is() -> None:
    rng = np.random.default_rng(6)
    at, noise, hysteresis, u, limit = np.linspace(0.1, 2.4, COMPARATORS), 4e-4, 5e-3, 15e-6, 2e-3
    alarms, checks = 0, 120
    for check in range(checks):
        arrays = {
            "transition_volts": at + rng.normal(0, u, COMPARATORS),
            "transition_sigma_volts": np.full(COMPARATORS, u),
            "noise_volts": np.full(COMPARATORS, noise),
            "hysteresis_volts": np.full(COMPARATORS, hysteresis),
        }
        # The worst that is no drift: every comparator exactly at the limit, half of them up and half of them down.
        moved = at + limit * np.where(np.arange(COMPARATORS) % 2, 1, -1)
        board = SimulatedComparators(moved, noise, hysteresis, rng)
        alarms += not drift_check(board, arrays, limit_volts=limit, false_alarm=0.2).ok
        if check % 8:
            continue
        still = SimulatedComparators(at, noise, hysteresis, rng)
        assert drift_check(still, arrays, limit_volts=limit, false_alarm=0.2).ok
        assert all(0.3 < share < 0.7 for _, share in still.seen)  # every sweep straddles the edge that it is for
    print(f"false alarms: {alarms} of {checks} checks at the limit, at most 20 % stated")  # noqa: T201
    assert binomtest(alarms, checks, 0.2, alternative="greater").pvalue > 1e-3
    assert alarms > 0.05 * checks  # the limit means something: it is not only far beyond it that a check speaks


def test_a_calibration_without_transitions_is_refused(sealed: tuple[BoardProcess, BoardClient, Outcome]) -> None:
    _, client, _ = sealed
    with pytest.raises(ValueError, match="calibrate board"):
        drift_check(client, {})


def _offset(process: BoardProcess, comparator: int) -> float:
    return float(json.loads(process.control("reveal"))["offset_volts"][comparator])
