"""A sealed board that measures is watched: a comparator that moves blinds the sensor by name, and only then."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from host.board.client import BoardClient
from host.board.errors import ComparatorDrifted
from host.board.thresholds import COMPARATORS, thresholds_to_dac_codes
from host.commands.agreement import calibrated_twin
from host.drift_watch import DriftWatch
from host.seal.sealing import sealed_trims
from host.twin.bench import make_bench
from host.twin.board_process import BoardProcess
from optics.bundle import Bundle, default_bundle_path, read_bundle, write_bundle
from tests.host.sensing import Running, board_missing, make_room

pytestmark = pytest.mark.skipif(bool(board_missing()), reason=f"no board program: {board_missing()}")
SEED, MOVED, MOVE_VOLTS = 3, 7, 0.012


@pytest.fixture(scope="module")
def sealed() -> Bundle:
    return calibrated_twin(read_bundle(default_bundle_path()), SEED, lambda _text: None)


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_each_comparator_is_looked_at_in_turn_and_what_moves_is_named(sealed: Bundle) -> None:
    with BoardProcess(**make_bench("board", SEED).board) as process, BoardClient(process.pty) as client:
        client.connect()
        wanted = thresholds_to_dac_codes(sealed.encoding.thresholds)
        client.provision(sealed.encoding.id, wanted, sealed_trims(sealed))
        watch = DriftWatch(sealed, pause_s=0.0)
        for _ in range(3 * COMPARATORS):
            watch.look(client)
        offsets = json.loads(process.control("reveal"))["offset_volts"]
        process.control(f"offset {MOVED} {offsets[MOVED] + MOVE_VOLTS}")
        with pytest.raises(ComparatorDrifted, match=f"comparator {MOVED} switches lower .* by more than 2 mV"):
            _look_at_all(watch, client)
        process.control(f"offset {MOVED} {offsets[MOVED]}")
        _look_at_all(watch, client)


def _look_at_all(watch: DriftWatch, client: BoardClient) -> None:
    for _ in range(COMPARATORS):
        watch.look(client)


class Counting:
    """A board that counts sweeps; `high`: in how many readings the comparator is high at each level."""

    def __init__(self) -> None:
        self.swept: list[int] = []

    def sweep(
        self, comparator: int, start: int, step: int, count: int, reads: int, approach: str
    ) -> NDArray[np.uint16]:
        del start, step, approach
        self.swept.append(comparator)
        return np.full(count, reads, np.uint16)  # always high: far below where it was


def test_it_waits_between_two_looks_and_takes_two_for_a_drift(sealed: Bundle) -> None:
    clock, board = Clock(), Counting()
    watch = DriftWatch(sealed, pause_s=4.0, clock=clock)
    watch.look(board)
    clock.now_s += 3.9
    watch.look(board)
    assert board.swept == []
    clock.now_s += 0.2
    with pytest.raises(ComparatorDrifted, match="comparator 0"):
        watch.look(board)
    assert board.swept == [0] * 8  # two checks of four sweeps


def test_a_bundle_that_was_sealed_without_a_board_is_not_watched() -> None:
    clock, board = Clock(), Counting()
    watch = DriftWatch(read_bundle(default_bundle_path()), pause_s=0.0, clock=clock)
    watch.look(board)
    assert board.swept == []


def test_a_drift_blinds_a_running_sensor_until_it_is_mended_and_somebody_has_acted(
    sealed: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("host.capture.DriftWatch", partial(DriftWatch, pause_s=0.02))
    bundle = tmp_path / "sealed.canopic"
    write_bundle(sealed, bundle)
    room = make_room(tmp_path / "room")
    given: dict[str, Any] = {"bundle": str(bundle), "capture.seed": SEED, "capture.pace": "realtime"}
    with Running(room, tmp_path / "state", **given) as running:
        running.until(lambda: len(running.memory.measurements) > 10)
        offset_volts = json.loads(running.control("reveal"))["offset_volts"][MOVED]
        running.control(f"offset {MOVED} {offset_volts + MOVE_VOLTS}")
        running.until(lambda: "blind" in running.memory.states())
        blind = next(event for event in reversed(running.memory.events) if event.get("to") == "blind")
        assert blind["latched"]
        assert blind["kind"] == "comparator drifted"
        assert f"comparator {MOVED} switches lower" in blind["reason"]
        measured = len(running.memory.measurements)
        running.control(f"offset {MOVED} {offset_volts}")
        assert len(running.memory.measurements) == measured
        running.control("reset")
        running.until(lambda: len(running.memory.measurements) > measured + 5)
