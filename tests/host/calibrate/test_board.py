"""Calibrating boards, on the real firmware: hidden parameters are covered, wrong boards named, runs resumed."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy.stats import binomtest

from calibration.outcome import Outcome
from host.board.client import BoardClient
from host.board.errors import BoardFault, BoardLost, BoardProgramError, ProtocolViolation, ThresholdMismatch
from host.board.thresholds import COMPARATORS, thresholds_to_dac_codes
from host.calibrate.acquire_board import board_rig, trouble, twin_board_rig
from host.calibrate.board import analyse, make_procedure
from host.calibrate.board_ramps import TRIMMED
from host.calibrate.procedure import Setup, Step, StepData
from host.calibrate.run import SessionError, run_procedure
from host.calibrate.sessions import RigSession
from host.calibrate.store import StepStore
from host.twin.bench import BenchError, make_bench
from host.twin.bench_board import FAULTS, inject, true_board
from host.twin.board_process import BoardProcess, board_executable
from optics.bundle import Bundle, read_bundle, resolve_bundle

SEEDS = 100
# Nothing that the ramps show names these: the board itself says so, before a ramp is over.
BY_THE_BOARD = {"dac_drift", "brown_out", "no_board"}


@pytest.fixture(scope="session", autouse=True)
def _built() -> None:
    try:
        board_executable()
    except BoardProgramError as error:
        pytest.skip(f"the firmware's host build is not available: {error}")


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A port that is not there is given up after a moment."""
    monkeypatch.setattr("host.calibrate.acquire_board.CONNECT_S", 0.3)


@pytest.fixture(scope="session")
def bundle() -> Bundle:
    return read_bundle(resolve_bundle("default"))


def with_thresholds(bundle: Bundle, thresholds: NDArray[Any]) -> Bundle:
    """The bundle with other thresholds, without models, which belong to the old ones."""
    encoding = dataclasses.replace(bundle.encoding, thresholds=np.asarray(thresholds, dtype=np.float32))
    return dataclasses.replace(bundle, encoding=encoding, models={}, metadata={})


def calibrated(bundle: Bundle, seed: int, fault: str | None = None) -> tuple[Outcome, dict[str, StepData]]:
    procedure = make_procedure(bundle)
    with twin_board_rig(bundle, seed, fault) as (rig, _):
        return run_procedure(procedure, RigSession(procedure, rig, "twin"))


def named(bundle: Bundle, seed: int, fault: str | None) -> str | None:
    try:
        return str(calibrated(bundle, seed, fault)[0].result["wrong_setup"])
    except SessionError as error:
        return error.name


@dataclasses.dataclass(frozen=True)
class Board:
    """One calibrated twin and what it really was."""

    outcome: Outcome
    data: dict[str, StepData]
    truth: Mapping[str, Any]


@pytest.fixture(scope="module")
def boards(bundle: Bundle) -> list[Board]:
    """A hundred of them, about a tenth of a second each."""
    procedure = make_procedure(bundle)
    codes = thresholds_to_dac_codes(bundle.encoding.thresholds)
    made = []
    for seed in range(SEEDS):
        with BoardProcess(**make_bench("board", seed).board) as process, BoardClient(process.pty) as client:
            outcome, data = run_procedure(procedure, RigSession(procedure, board_rig(client, bundle), "twin"))
            truth = true_board(process, codes, outcome.arrays.get("trims", np.zeros(COMPARATORS)))
        made.append(Board(outcome, data, truth))
    return made


def test_right_boards_pass_and_are_never_named_wrong(boards: list[Board]) -> None:
    for seed, board in enumerate(boards):
        assert board.outcome.passed, f"seed {seed}: {board.outcome.reason}"
        assert board.outcome.result["wrong_setup"] is None


def test_intervals_cover_hidden_parameters_over_a_hundred_boards(
    boards: list[Board], record_property: Callable[[str, object], None]
) -> None:
    for name in ("transition_before_volts", "offset_volts", "transition_volts", "noise_volts", "hysteresis_volts"):
        z = np.concatenate(
            [(np.array(b.outcome.result[name]) - b.truth[name]) / b.outcome.result[f"{name}_sigma"] for b in boards]
        )
        assert z.size == SEEDS * COMPARATORS
        shares = [float((np.abs(z) < k).mean()) for k in (1, 2)]
        record_property(name, f"k=1: {shares[0]:.4f}, k=2: {shares[1]:.4f} of {z.size}")
        print(f"{name}: inside 1 sigma {shares[0]:.4f}, 2 sigma {shares[1]:.4f}, of {z.size}")  # noqa: T201
        # 95.4 % inside two sigma. The comparators of a board are independent, so are boards. Uncertainties may be a
        # little generous (the DAC's unevenness counts with its largest value), never short.
        inside = int((np.abs(z) < 2).sum())
        assert binomtest(inside, z.size, 0.954, alternative="less").pvalue > 1e-3, f"{name}: {inside} of {z.size}"
        assert shares[0] < 0.8, f"{name}: the uncertainties are far too large"


def test_an_uneven_dac_is_in_the_uncertainty_where_little_noise_hides_it(bundle: Bundle) -> None:
    procedure, off = make_procedure(bundle), []
    codes = thresholds_to_dac_codes(bundle.encoding.thresholds)
    for seed in range(20):
        uneven = {**make_bench("board", seed).board, "noise_volts": 1e-4, "dac_dnl_lsb": 0.99}
        with BoardProcess(**uneven) as process, BoardClient(process.pty) as client:
            outcome, _ = run_procedure(procedure, RigSession(procedure, board_rig(client, bundle), "twin"))
            truth = true_board(process, codes, outcome.arrays["trims"])
        at, sigma = outcome.arrays["transition_volts"], outcome.arrays["transition_sigma_volts"]
        off.append((at - truth["transition_volts"]) / sigma)
    inside = int((np.abs(off) < 2).sum())
    assert binomtest(inside, 300, 0.954, alternative="less").pvalue > 1e-3, f"{inside} of 300"


def test_what_remains_after_trimming_is_at_the_physical_limit(boards: list[Board]) -> None:
    measured = np.array([b.outcome.result["residual_rms_volts"] for b in boards])
    limit = np.array([b.outcome.result["physical_limit_volts"] for b in boards])
    before = np.array([b.outcome.result["residual_rms_before_volts"] for b in boards])
    wanted = analyse(boards[0].data, boards[0].data[TRIMMED]["dac_codes"]).wanted_volts
    true = np.array([_rms(np.array(b.truth["transition_volts"]) - wanted) for b in boards])
    print(  # noqa: T201
        f"residual, rms over {SEEDS} boards: {_rms(before) * 1e6:.0f} uV before trimming, "
        f"{_rms(measured) * 1e6:.1f} uV measured after, {_rms(true) * 1e6:.1f} uV true, "
        f"limit {_rms(limit) * 1e6:.1f} uV"
    )
    assert _rms(measured) < 1.15 * _rms(limit)
    assert _rms(true) < 1.15 * _rms(limit)
    assert _rms(before) > 50 * _rms(measured)


def test_the_quantizer_gets_its_levels_back(boards: list[Board], bundle: Bundle) -> None:
    for board in boards:
        levels = board.outcome.result["effective_levels"]
        assert levels["after"] == levels["wanted"] == bundle.encoding.effective_levels
        assert board.outcome.result["after"]["missing_codes"] == []
        assert board.outcome.result["after"]["unwanted_codes"] == []


def test_trims_bring_equal_thresholds_together_that_offsets_pull_apart(bundle: Bundle) -> None:
    eight = with_thresholds(bundle, np.linspace(0.1, 0.9, 7)[np.arange(COMPARATORS) * 7 // COMPARATORS])
    levels = [calibrated(eight, seed)[0].result["effective_levels"] for seed in range(5)]
    assert all(one["after"] == one["wanted"] == 8 for one in levels)
    assert np.mean([one["before"] for one in levels]) > 10


def test_the_shipped_encodings_pass_with_the_comparators_they_are_made_for() -> None:
    for name in ("default", "useful", "private"):
        shipped = read_bundle(resolve_bundle(name))
        bench = make_bench("board", 3).board | {"hysteresis_volts": 3e-3}
        with BoardProcess(**bench) as process, BoardClient(process.pty) as client:
            procedure = make_procedure(shipped)
            outcome, _ = run_procedure(procedure, RigSession(procedure, board_rig(client, shipped), "twin"))
        assert outcome.passed, f"{name}: {outcome.reason}"


@pytest.mark.parametrize("fault", sorted(FAULTS))
def test_every_wrong_board_is_named(bundle: Bundle, fault: str) -> None:
    for seed in range(12):
        assert named(bundle, seed, fault) == fault, f"seed {seed}"


@pytest.mark.parametrize("fault", sorted(BY_THE_BOARD - {"no_board"}))
def test_a_board_that_is_mended_is_calibrated_by_the_same_command(bundle: Bundle, tmp_path: Path, fault: str) -> None:
    procedure = make_procedure(bundle)
    with BoardProcess(**make_bench("board", 5).board) as process, BoardClient(process.pty) as client:
        session = RigSession(procedure, board_rig(client, bundle), "twin 5")
        store = StepStore(tmp_path, procedure, session.device)
        inject(process, 5, fault)
        with pytest.raises(SessionError) as caught:
            run_procedure(procedure, session, store)
        assert caught.value.name == fault
        process.control("clear")
        outcome, _ = run_procedure(procedure, session, store)
        assert outcome.passed, outcome.reason


class Stopped(Exception):  # noqa: N818
    """The person at the bench had enough."""


@dataclasses.dataclass
class StoppingSession:
    """A session that is interrupted before its step number `last`."""

    inner: RigSession
    last: int
    asked: list[str]

    @property
    def device(self) -> str:
        return self.inner.device

    def acquire(self, step: Step, before: dict[str, StepData]) -> StepData:
        if len(self.asked) == self.last:
            raise Stopped
        self.asked.append(step.name)
        return self.inner.acquire(step, before)


def test_what_the_board_says_is_called_by_the_names_of_the_faults() -> None:
    assert trouble(BoardFault(2, "readback_drift", 3)) == "dac_drift"
    assert trouble(BoardFault(3, "comparator_stuck", 3)) == "stuck_comparator"
    assert trouble(BoardFault(4, "brown_out", None)) == "brown_out"
    assert trouble(ThresholdMismatch("another code", 3)) == "dac_drift"
    assert trouble(BoardLost("the port is gone")) == "no_board"
    assert trouble(ProtocolViolation("nonsense")) == "board_error"


@pytest.mark.parametrize("last", [1, 2, 3, 4])
def test_an_interrupted_run_goes_on_where_it_stopped(bundle: Bundle, tmp_path: Path, last: int) -> None:
    procedure = make_procedure(bundle)
    with BoardProcess(**make_bench("board", 7).board) as process:
        with BoardClient(process.pty) as client:
            inner = RigSession(procedure, board_rig(client, bundle), "twin 7")
            with pytest.raises(Stopped):
                run_procedure(procedure, StoppingSession(inner, last, []), StepStore(tmp_path, procedure, "twin 7"))
        process.control("reset")  # a board that was switched off in between knows nothing any more
        with BoardClient(process.pty) as client:
            inner = RigSession(procedure, board_rig(client, bundle), "twin 7")
            session = StoppingSession(inner, 99, [])
            outcome, _ = run_procedure(procedure, session, StepStore(tmp_path, procedure, "twin 7"))
        truth = true_board(process, thresholds_to_dac_codes(bundle.encoding.thresholds), outcome.arrays["trims"])
    assert session.asked == [step.name for step in procedure.steps[last:]]
    assert outcome.passed, outcome.reason
    off = (outcome.arrays["transition_volts"] - truth["transition_volts"]) / outcome.arrays["transition_sigma_volts"]
    assert np.abs(off).max() < 4.5


def test_a_cable_pulled_in_the_middle_is_no_board_and_nothing_else(bundle: Bundle) -> None:
    procedure = make_procedure(bundle)
    with BoardProcess(**make_bench("board", 1).board) as process, BoardClient(process.pty) as client:
        session = RigSession(procedure, board_rig(client, bundle), "twin")
        first = session.acquire(procedure.steps[0], {})
        process.close()
        with pytest.raises(SessionError) as caught:
            session.acquire(procedure.steps[1], {"ladder": first})
    assert caught.value.name == "no_board"


def test_thresholds_at_the_ends_of_the_range_are_told_as_out_of_the_ramps_reach(bundle: Bundle) -> None:
    thresholds = np.concatenate([[0.0, 0.0], np.linspace(0.1, 0.9, 12), [1.0]])
    ends = with_thresholds(bundle, thresholds)
    for seed in range(6):
        outcome, _ = calibrated(ends, seed)
        assert outcome.passed, f"seed {seed}: {outcome.reason}"
        assert set(outcome.result["beyond_the_ramp"]) <= set(outcome.result["at_the_ends"]) <= {0, 1, 14}
        assert ("at the end of the DAC's range" in outcome.reason) == bool(outcome.result["at_the_ends"])
        assert np.isfinite(outcome.arrays["transition_volts"]).all()
        assert np.abs(outcome.arrays["transition_volts"][2:14] - thresholds[2:14] * 2.5).max() < 3e-4


def test_an_encoding_finer_than_the_board_fails_and_says_why(bundle: Bundle) -> None:
    fine = with_thresholds(bundle, 0.5 + np.arange(COMPARATORS) * 4e-4)  # steps of 1 mV
    outcome, _ = calibrated(fine, 3)
    assert not outcome.passed
    assert outcome.result["wrong_setup"] is None
    assert "noise" in outcome.reason
    assert "wider steps" in outcome.reason


def test_offsets_beyond_the_largest_trim_are_told(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("host.calibrate.board_ramps.TRIM_MAX", 20)
    outcome, _ = calibrated(bundle, 0)
    assert not outcome.passed
    assert "trim_limit" in outcome.result["trims_clamped"].values()
    assert "trims at their limit" in outcome.reason
    assert np.abs(outcome.arrays["trims"]).max() == 20


def test_a_quick_run_finds_the_same_with_fewer_readings(bundle: Bundle, boards: list[Board]) -> None:
    procedure = make_procedure(bundle, quick=True)
    with twin_board_rig(bundle, 0, None) as (rig, truth):
        outcome, data = run_procedure(procedure, RigSession(procedure, rig, "twin"))
    assert outcome.passed, outcome.reason
    off = np.array(outcome.result["transition_before_volts"]) - truth["transition_before_volts"]
    assert (np.abs(off) < 4.5 * np.array(outcome.result["transition_before_volts_sigma"])).all()
    sealed = outcome.arrays["transition_volts"] - truth["transition_volts"]  # with the trims of this very run
    assert (np.abs(sealed) < 4.5 * outcome.arrays["transition_sigma_volts"]).all()
    slow = boards[0]
    assert data[TRIMMED]["reads"] * 4 == slow.data[TRIMMED]["reads"]
    ratio = outcome.arrays["transition_sigma_volts"] / slow.outcome.arrays["transition_sigma_volts"]
    assert 1.3 < np.median(ratio) < 2.3  # twice, but for the DAC's share, which readings do not average


def test_an_unknown_fault_is_refused_with_those_there_are(bundle: Bundle) -> None:
    with pytest.raises(BenchError, match="stuck_comparator"), twin_board_rig(bundle, 0, "gremlins"):
        pass


def test_a_bench_asks_nobody_to_arrange_anything() -> None:
    bench = make_bench("board", 3)
    bench.arrange(Setup())
    assert make_bench("board", 3).board == bench.board
    assert make_bench("board", 4).board != bench.board


def test_figures_are_drawn_for_boards_that_pass_and_for_wrong_ones(
    bundle: Bundle, boards: list[Board], tmp_path: Path
) -> None:
    procedure = make_procedure(bundle)
    procedure.draw(boards[0].outcome, boards[0].data, tmp_path / "right.png")
    outcome, data = calibrated(bundle, 0, "stuck_comparator")
    procedure.draw(outcome, data, tmp_path / "wrong.png")
    for name, size in (("right.png", (1485, 836)), ("wrong.png", (880, 462))):
        with Image.open(tmp_path / name) as picture:
            assert picture.size == size
            assert np.unique(np.asarray(picture.convert("L").resize((64, 64)))).size > 8  # it shows something


def _rms(values: NDArray[np.float64]) -> float:
    return float(np.sqrt(np.mean(values**2)))


@pytest.mark.parametrize("level", [0.0, 0.01, 1.0])
def test_thresholds_that_are_all_at_an_end_are_refused(level: float) -> None:
    bundle = read_bundle(resolve_bundle("default"))
    encoding = dataclasses.replace(bundle.encoding, thresholds=np.full(15, level, np.float32))
    with pytest.raises(ValueError, match="at an end of the board's range"):
        make_procedure(Bundle(encoding, bundle.rows_px, bundle.columns_px))
    make_procedure(bundle)
