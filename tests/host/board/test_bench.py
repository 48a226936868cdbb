"""Sweeps, trims and conversions on boards whose truth is known, and that nothing else is disturbed by them."""

import json
import math
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from host.board import protocol
from host.board.bench import ApproachName, convert_commands, sweep_commands
from host.board.client import BoardClient
from host.board.deadline import Deadline
from host.board.errors import BoardFault, BoardLost, BoardRefused, NotConnected
from host.board.protocol import Approach, State
from host.board.thresholds import dac_codes_to_volts, thresholds_digest
from host.twin.board_process import BoardProcess

LSB_VOLTS = 2.5 / 65535


def truth_of(board: BoardProcess) -> dict[str, NDArray[np.float64]]:
    return {key: np.array(value) for key, value in json.loads(board.control("reveal")).items()}


@pytest.fixture
def provisioned(client: BoardClient, dac_codes: NDArray[np.uint16], encoding_id: str) -> BoardClient:
    client.connect()
    client.provision(encoding_id, dac_codes)
    return client


@given(
    st.integers(0, 65535), st.integers(-400, 400), st.integers(1, 200), st.integers(1, 3000),
    st.sampled_from(["below", "above"]), st.booleans(),
)  # fmt: skip
def test_pieces_read_every_level_as_often_as_wanted(
    start: int, step: int, count: int, reads: int, approach: ApproachName, armed: bool
) -> None:
    last = start + (count - 1) * step
    if not 0 <= last <= 65535:
        with pytest.raises(ValueError, match="beyond the DAC's ends"):
            list(sweep_commands(3, start, step, count, reads, approach, armed))
        return
    done = np.zeros(count, int)
    for first, command in sweep_commands(3, start, step, count, reads, approach, armed):
        command.pack()
        assert command.start == start + first * step
        assert command.approach == Approach[approach.upper()]
        assert 1 <= command.count <= 64
        assert command.count == 1 or command.step == step
        took_us = command.count * command.reads * 2 * (50 + 2)
        assert took_us <= (30_000 if armed else 200_000)
        done[first : first + command.count] += command.reads
    assert (done == reads).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((15, 0, 1, 1, 1, "below", False), "comparators 0 to 14, not 15"),
        ((0, 0, 1, 0, 1, "below", False), "1 level or more"),
        ((0, 0, 1, 1, 0, "below", False), "1 to 65535 reads"),
        ((0, 0, 1, 1, 65536, "below", False), "1 to 65535 reads"),
        ((0, 0, 1, 1, 1, "sideways", False), "not 'sideways'"),
        ((0, 65535, 1, 2, 1, "below", False), "levels from 65535 to 65536 lie beyond"),
        ((0, -1, 1, 2, 1, "below", False), "levels from -1 to 0 lie beyond"),
        ((0, 0, 40000, 2, 1, "below", False), "-32768 to 32767"),
        ((0, 0, 1, 65, 1, "none", False), "65 levels of 1 reads do not fit one command"),
        ((0, 0, 1, 1, 256, "none", False), "do not fit one command"),
        ((0, 0, 1, 64, 255, "none", True), r"30 ms in all \(35.84 ms\)"),
    ],
)
def test_sweeps_that_cannot_be_are_explained(
    arguments: tuple[int, int, int, int, int, ApproachName, bool], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        list(sweep_commands(*arguments))


def test_a_sweep_needs_thresholds(client: BoardClient) -> None:
    with pytest.raises(NotConnected):
        client.sweep(0, 0, 1, 1)
    client.connect()
    with pytest.raises(BoardRefused, match="refused Sweep: wrong_state"):
        client.sweep(0, 0, 1, 1)
    assert client.status().state == State.SAFE


def test_an_ideal_comparator_switches_at_its_threshold(provisioned: BoardClient, dac_codes: NDArray[np.uint16]) -> None:
    for comparator in (0, 7, 14):
        code = int(dac_codes[comparator])
        for approach in ("below", "above", "none"):
            counts = provisioned.sweep(comparator, code - 32, 1, 64, 5, approach)
            assert counts.dtype == np.uint16
            assert counts.tolist() == [0] * 32 + [5] * 32
    # Across pieces, downwards, in steps, more often than one command can.
    counts = provisioned.sweep(7, int(dac_codes[7]) + 3000, -30, 201, 600, "below")
    assert counts.tolist() == [600] * 101 + [0] * 100


@pytest.fixture(scope="module")
def imperfect() -> Iterator[BoardProcess]:
    with BoardProcess(
        serial="BENT", seed=11, offset_volts=0.005, noise_volts=0.0006, hysteresis_volts=0.008, gain_error=0.002,
        spread=0.3, dac_inl_volts=0.0005, dac_dnl_lsb=0.7,
    ) as process:  # fmt: skip
        yield process


def test_sweeps_show_offset_noise_and_hysteresis(
    imperfect: BoardProcess, dac_codes: NDArray[np.uint16], encoding_id: str
) -> None:
    with BoardClient(imperfect.pty) as client:
        client.connect()
        client.provision(encoding_id, dac_codes)
        truth = truth_of(imperfect)
        for comparator in (2, 9):
            codes = int(dac_codes[comparator]) + np.arange(-700, 701, 7)
            # The test cell's voltages as they are, so that only the comparator's own faults are left.
            volts = np.array([float(imperfect.control(f"output 15 {code}").split()[1]) for code in codes[::10]])
            volts = np.interp(codes, codes[::10], volts)
            noise = truth["noise_volts"][comparator]
            for approach, key in (("below", "rising_volts"), ("above", "falling_volts")):
                share = client.sweep(comparator, int(codes[0]), 7, codes.size, 100, approach) / 100  # type: ignore[arg-type]
                expected = [0.5 * (1 + math.erf((v - truth[key][comparator]) / noise / math.sqrt(2))) for v in volts]
                # A binomial share of 100 departs from the normal distribution by less than 5 of its sigmas, 0.25.
                np.testing.assert_allclose(share, expected, atol=0.25)
                transition = volts[0] + (1 - share).sum() * (volts[1] - volts[0])
                assert transition == pytest.approx(truth[key][comparator], abs=noise / 2)
    assert (truth["hysteresis_volts"] > 4 * truth["noise_volts"]).all()


def test_a_sweep_while_armed_disturbs_no_measurement(
    armed: BoardClient, dac_codes: NDArray[np.uint16], expected: list[NDArray[np.uint8]]
) -> None:
    code = int(dac_codes[5])
    for sequence in range(40):
        measurement = armed.read_measurement(5)
        assert measurement is not None
        assert measurement.sequence == measurement.frame == sequence
        np.testing.assert_array_equal(measurement.codes, expected[sequence % 5])
        counts = armed.sweep(5, code - 100, 10, 21, 20, "above")
        assert counts.tolist() == [0] * 10 + [20] * 11
    assert armed.status().state == State.ARMED
    assert armed.counters.bad_frames == 0


def test_sweeps_alone_keep_the_board_armed(armed: BoardClient, dac_codes: NDArray[np.uint16]) -> None:
    # As many as fill the heartbeat's time and more, on the board's own clock.
    started_ms = armed.status().uptime_ms
    while armed.status().uptime_ms - started_ms < protocol.HEARTBEAT_TIMEOUT_MS + 500:
        armed.sweep(5, int(dac_codes[5]) - 100, 1, 200, 100)
    assert armed.status().state == State.ARMED
    assert armed.read_measurement(5) is not None


@pytest.mark.parametrize("streaming", [False, True])
def test_a_dac_that_dies_in_the_middle_of_a_sweep(
    board: BoardProcess,
    provisioned: BoardClient,
    source: Callable[..., object],
    dac_codes: NDArray[np.uint16],
    encoding_id: str,
    expected: list[NDArray[np.uint8]],
    streaming: bool,
) -> None:
    client = provisioned
    if streaming:
        client.arm(60, 80, 3)
        source()
        assert client.read_measurement(5) is not None
    board.control("mute 15 1000")
    with pytest.raises(BoardFault) as caught:
        client.sweep(5, int(dac_codes[5]) - 100, 1, 200, 50)
    assert (caught.value.name, caught.value.channel, caught.value.recoverable) == ("dac_write_failed", 15, False)
    assert client.status().state == State.FAULTED
    with pytest.raises(BoardFault, match="dac_write_failed"):
        client.clear_fault()
    board.control("unmute 15")
    client.clear_fault()
    client.provision(encoding_id, dac_codes)
    assert client.sweep(5, int(dac_codes[5]) - 1, 1, 3, 4).tolist() == [0, 4, 4]
    if streaming:
        client.arm(60, 80, 3)
        while client._leftover:
            client.read_measurement(0)
        measurement = client.read_measurement(5)
        assert measurement is not None
        np.testing.assert_array_equal(measurement.codes, expected[measurement.frame % 5])


def test_a_restart_before_a_sweep_is_picked_up(board: BoardProcess, provisioned: BoardClient) -> None:
    board.control("reset")
    with pytest.raises(BoardLost, match="restarted"):
        provisioned.sweep(5, 0, 1, 200, 50)
    provisioned.resume(Deadline(10, "resuming"))
    assert provisioned.sweep(5, 0, 1, 3, 4).tolist() == [0, 0, 0]


def transitions(client: BoardClient, dac_codes: NDArray[np.uint16]) -> NDArray[np.float64]:
    """How far from its wanted code each comparator rises, DAC codes: a coarse ramp, then a fine one."""
    found = []
    for comparator, code in enumerate(dac_codes.astype(int)):
        coarse = client.sweep(comparator, code - 1280, 40, 65, 1)
        start = code - 1280 + 40 * (int(np.argmax(coarse > 0)) - 1)
        found.append(start + int(np.argmax(client.sweep(comparator, start, 1, 41, 1) > 0)) - code)
    return np.array(found)


def test_trims_cancel_offsets(dac_codes: NDArray[np.uint16], encoding_id: str) -> None:
    with BoardProcess(serial="OFFSETS", seed=4, offset_volts=0.012) as board, BoardClient(board.pty) as client:
        client.connect()
        client.provision(encoding_id, dac_codes)
        before = transitions(client, dac_codes)
        np.testing.assert_allclose(before, -truth_of(board)["offset_volts"] / LSB_VOLTS, atol=1)
        assert np.abs(before).max() > 300
        trims = -before
        digest = client.provision(encoding_id, dac_codes, trims)
        assert digest == thresholds_digest(dac_codes, trims) != thresholds_digest(dac_codes)
        assert f"{client.status().thresholds_crc:08x}" == digest
        found = client.read_thresholds()
        assert found.trims.tolist() == trims.tolist()
        assert found.dac_codes.tolist() == dac_codes.tolist()
        assert found.readback.tolist() == (dac_codes + trims).tolist()
        assert found.digest == digest
        assert np.abs(transitions(client, dac_codes)).max() <= 1
        # A board that lost its power has its trims again.
        client.arm(1, 1, 1)
        board.control("reset")
        client.resume(Deadline(10, "resuming"))
        assert client.read_thresholds().digest == digest
        assert client.status().state == State.ARMED
        client.disarm()
        assert client.read_thresholds().trims.tolist() == [0] * 15


def test_trims_that_the_board_cannot_take_do_not_reach_it(
    provisioned: BoardClient, dac_codes: NDArray[np.uint16], encoding_id: str
) -> None:
    with pytest.raises(ValueError, match="trim 3 is 1312"):
        provisioned.provision(encoding_id, dac_codes, np.eye(15, dtype=int)[3] * 1312)
    assert provisioned.status().state == State.COMMITTED
    # Past the host's own look at them the board refuses them, too.
    stage = protocol.StageThresholds(bytes(16), tuple(dac_codes.tolist()), (*[0] * 14, 1312))
    with pytest.raises(BoardRefused, match=r"bad_value \(code 6, detail 29\)"):
        provisioned._command(stage, protocol.StageThresholdsReply, None)
    assert provisioned.status().state == State.SAFE


def test_converted_levels_get_the_codes_of_a_frame(
    source: Callable[..., object], client: BoardClient, board: BoardProcess, dac_codes: NDArray[np.uint16],
    encoding_id: str,
) -> None:  # fmt: skip
    levels = np.random.default_rng(2).integers(0, 65536, 1003).astype(np.uint16)
    levels[:4] = 0, 65535, dac_codes[3], dac_codes[3] - 1
    for comparator in range(15):
        board.control(f"offset {comparator} {0.002 * (comparator - 7)}")
    client.connect()
    trims = np.round(0.001 * (np.arange(15) - 7) / LSB_VOLTS).astype(int)  # half of the offsets
    client.provision(encoding_id, dac_codes, trims)
    with pytest.raises(BoardRefused, match="refused Convert: wrong_state"):
        client.convert(levels)
    client.arm(1, levels.size, 1)
    # A frame's volts are float32: levels whose rounding could matter are not near a threshold by chance.
    source([dac_codes_to_volts(levels).astype(np.float32).reshape(1, -1, 1)])
    for _ in range(3):
        measurement = client.read_measurement(5)
        assert measurement is not None
        codes = client.convert(levels)
        assert codes.dtype == np.uint8
        shifted = levels / 65535 * 2.5 + 0.002 * (np.arange(15) - 7)[:, None]
        thresholds = (dac_codes + trims) / 65535 * 2.5
        clear = (np.abs(shifted - thresholds[:, None]) > 1e-6).all(axis=0)
        assert clear.mean() > 0.99
        np.testing.assert_array_equal(codes[clear], (shifted >= thresholds[:, None]).sum(axis=0)[clear])
        np.testing.assert_array_equal(codes[clear], measurement.codes.ravel()[clear])
    for size in (0, 1, 2, 239, 240, 241):
        np.testing.assert_array_equal(client.convert(levels[:size].tolist()), codes[:size])


def test_what_comparators_remember_is_the_same_for_cells_and_levels(
    board: BoardProcess,
    client: BoardClient,
    source: Callable[..., object],
    dac_codes: NDArray[np.uint16],
    encoding_id: str,
) -> None:
    board.control("hysteresis 0.03")
    levels = np.random.default_rng(8).integers(0, 65536, 1000).astype(np.uint16)
    levels[:60] = 0  # from low, also where a measurement before left them high
    client.connect()
    client.provision(encoding_id, dac_codes)
    client.arm(1, levels.size, 1)
    source([dac_codes_to_volts(levels).astype(np.float32).reshape(1, -1, 1)])
    measurement = client.read_measurement(5)
    assert measurement is not None
    codes = client.convert(levels)
    np.testing.assert_array_equal(codes, measurement.codes.ravel())
    # Independently: a comparator changes its mind only beyond half of the hysteresis.
    high = np.zeros(15, bool)
    expected = []
    for volts in levels / 65535 * 2.5:
        high = volts >= dac_codes / 65535 * 2.5 + np.where(high, -0.015, 0.015)
        expected.append(high.sum())
    np.testing.assert_array_equal(codes, expected)
    memoryless = (levels[:, None] >= dac_codes).sum(axis=1)
    assert np.count_nonzero(codes != memoryless) > 20


def test_a_bad_line_costs_time_and_nothing_else(
    board: BoardProcess, provisioned: BoardClient, dac_codes: NDArray[np.uint16]
) -> None:
    provisioned.arm(1, 1, 1)
    board.control("noise 0.001")
    board.control("corrupt rx 0.0005")
    board.control("drop tx 0.001")
    code = int(dac_codes[5])
    counts = provisioned.sweep(5, code - 300, 10, 61, 200, deadline=Deadline(30, "sweeping"))
    assert counts.max() == 200  # a level that was swept twice would count more
    assert (counts[:10] == 0).all()
    assert abs(int(counts[30]) - 100) < 50  # half of the readings at the threshold itself
    levels = np.repeat(dac_codes.astype(int) + 2000, 100)
    codes = provisioned.convert(levels, Deadline(30, "converting"))
    assert codes.tolist() == np.repeat(np.arange(1, 16), 100).tolist()
    assert provisioned.counters.retransmits > 0


@pytest.mark.parametrize(
    ("levels", "message"),
    [(np.zeros((2, 2), int), "a row of whole DAC codes"), ([0.5], "whole"), ([65536], "65536"), ([-1, 3], "-1..3")],
)
def test_levels_that_are_no_codes_are_explained(levels: NDArray[np.int64], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        convert_commands(levels)


def test_conversions_while_streaming_lose_nothing(
    armed: BoardClient, dac_codes: NDArray[np.uint16], expected: list[NDArray[np.uint8]]
) -> None:
    levels = np.repeat(dac_codes, 100)
    for sequence in range(40):
        measurement = armed.read_measurement(5)
        assert measurement is not None
        assert measurement.sequence == measurement.frame == sequence
        np.testing.assert_array_equal(measurement.codes, expected[sequence % 5])
        assert armed.convert(levels).tolist() == np.repeat(np.arange(1, 16), 100).tolist()
    assert armed.status().state == State.ARMED


@pytest.mark.parametrize(
    ("injected", "name", "channel"),
    [("mute 15 500", "dac_write_failed", 15), ("stick 4 high", "comparator_stuck", 4)],
)
def test_a_defect_in_the_middle_of_a_conversion(
    board: BoardProcess, provisioned: BoardClient, encoding_id: str, dac_codes: NDArray[np.uint16],
    injected: str, name: str, channel: int,
) -> None:  # fmt: skip
    client = provisioned
    levels = np.linspace(0, 65535, 14400).astype(np.uint16)
    client.arm(60, 80, 3)
    codes = client.convert(levels)
    board.control(injected)
    with pytest.raises(BoardFault) as caught:
        client.convert(levels)
    assert (caught.value.name, caught.value.channel) == (name, channel)
    assert client.status().state == State.FAULTED
    board.control("clear")
    client.clear_fault()
    client.provision(encoding_id, dac_codes)
    client.arm(60, 80, 3)
    np.testing.assert_array_equal(client.convert(levels), codes)
