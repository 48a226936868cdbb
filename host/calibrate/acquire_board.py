"""How a board is driven through its ramps: a step's thresholds provisioned, its ramps swept, counts handed back."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from host.board.bench import ApproachName
from host.board.client import BoardClient
from host.board.deadline import Deadline
from host.board.errors import (
    BoardError,
    BoardFault,
    BoardLost,
    DeadlineExceeded,
    NotConnected,
    PortUnavailable,
    ThresholdMismatch,
)
from host.board.protocol import SUPPLY_RECOVERED_MILLIVOLTS
from host.board.thresholds import COMPARATORS, thresholds_to_dac_codes
from host.calibrate.board_ramps import plan_ramps
from host.calibrate.procedure import Setup, Step, StepData, scalar
from host.calibrate.run import SessionError
from optics.bundle import Bundle

CONNECT_S = 5.0
APPROACHES: tuple[ApproachName, ...] = ("below", "above")


def _nothing(_: Setup) -> None:
    """A board's bench needs no hands."""


def _unheard(_: NDArray[np.uint16], __: NDArray[np.int16]) -> None:
    """Nobody asked."""


@dataclass(frozen=True, slots=True, eq=False)
class BoardRig:
    """A board, and what it is to be. client: connected, or to be connected by the first step. dac_codes: uint16 (15,),
    the encoding's thresholds. arrange: hands at the bench (none are needed). swept: told of every finished step's
    dac_codes and trims (a twin then knows which truth belongs to them)."""

    client: BoardClient
    encoding_id: str
    dac_codes: NDArray[np.uint16]
    arrange: Callable[[Setup], None] = _nothing
    swept: Callable[[NDArray[np.uint16], NDArray[np.int16]], None] = _unheard


@contextmanager
def open_board_rig(port: str, bundle: Bundle) -> Iterator[BoardRig]:
    """The board at a serial port, connected. Raises BoardError where it does not answer."""
    with BoardClient(port) as client:
        client.connect()
        yield board_rig(client, bundle)


def board_rig(client: BoardClient, bundle: Bundle) -> BoardRig:
    """A client with a bundle's thresholds."""
    return BoardRig(client, bundle.encoding.id, thresholds_to_dac_codes(bundle.encoding.thresholds))


@contextmanager
def twin_board_rig(bundle: Bundle, seed: int, fault: str | None) -> Iterator[tuple[BoardRig, Mapping[str, Any]]]:
    """A simulated board with hidden parameters drawn from the seed, and the truth about it (see bench_board.py), which
    is kept up: `transition_volts` are those with the trims that were swept last.

    Raises BenchError for a fault that it does not know, SessionError where it cannot be started.
    """
    from host.twin.bench_board import true_board, twin_board

    try:
        thresholds = thresholds_to_dac_codes(bundle.encoding.thresholds)
        with twin_board(seed, fault, thresholds) as (process, truth), BoardClient(process.pty) as client:

            def swept(dac_codes: NDArray[np.uint16], trims: NDArray[np.int16]) -> None:
                if np.array_equal(dac_codes, thresholds):
                    truth["transition_volts"] = true_board(process, dac_codes, trims)["transition_volts"]

            yield replace(board_rig(client, bundle), swept=swept), truth
    except BoardError as error:
        raise SessionError(str(error), "no_board") from error


def acquire(rig: BoardRig, step: Step, before: dict[str, StepData]) -> StepData:
    """One step's ramps of every comparator from below and from above.

    Returns start_codes, step_codes int64 (15, 2), highs uint16 (15, 2, points), reads int64 (), dac_codes uint16 (15,),
    trims int16 (15,) and serial uint8 (n,), the board's serial in UTF-8; or `skipped` alone where the ladder showed a
    wrong set-up, which the conclusion then names. What is wrong with the board for the moment (its cable is out, its
    supply too low) is no result that is kept: SessionError, named as in host.twin.bench_board.FAULTS.
    """
    plan = plan_ramps(str(step.settings["ramp"]), rig.dac_codes, step.settings, before)
    if plan is None:
        return {"skipped": scalar(1)}
    try:
        _connected(rig.client)
        _powered(rig.client)
        rig.client.provision(rig.encoding_id, plan.dac_codes, plan.trims)
        highs = np.zeros((COMPARATORS, 2, plan.points), dtype=np.uint16)
        for comparator in range(COMPARATORS):
            for side, approach in enumerate(APPROACHES):
                start, pitch = int(plan.start_codes[comparator, side]), int(plan.step_codes[comparator, side])
                highs[comparator, side] = rig.client.sweep(comparator, start, pitch, plan.points, plan.reads, approach)
        _powered(rig.client)
        serial = rig.client.identity.board_serial
    except BoardError as error:
        raise SessionError(str(error), trouble(error)) from error
    rig.swept(plan.dac_codes, plan.trims)
    return {
        "start_codes": plan.start_codes,
        "step_codes": plan.step_codes,
        "highs": highs,
        "reads": np.array(plan.reads, dtype=np.int64),
        "dac_codes": plan.dac_codes,
        "trims": plan.trims,
        "serial": np.frombuffer(serial.encode(), dtype=np.uint8),
    }


def _powered(client: BoardClient) -> None:
    """Refuse a supply with which the board would not be armed. It blinds itself within a tenth of a second, but ramps
    that were over before that would look like any."""
    supply = client.status().supply_millivolts
    if supply < SUPPLY_RECOVERED_MILLIVOLTS:
        raise SessionError(
            f"the board's supply is {supply / 1000:.2f} V, at least {SUPPLY_RECOVERED_MILLIVOLTS / 1000:.2f} V is"
            " needed: use a stronger supply or a shorter cable, then go on with the same command",
            "brown_out",
        )


def trouble(error: BoardError) -> str:
    """The short name of what a board's error means for a calibration."""
    if isinstance(error, BoardFault):
        return {"comparator_stuck": "stuck_comparator", "readback_drift": "dac_drift"}.get(error.name, error.name)
    if isinstance(error, ThresholdMismatch):
        return "dac_drift"
    if isinstance(error, (PortUnavailable, BoardLost, NotConnected, DeadlineExceeded)):
        return "no_board"
    return "board_error"


def _connected(client: BoardClient) -> None:
    """Connect where nothing has been, or where the board was lost since."""
    try:
        client.status()
    except (NotConnected, BoardLost):
        client.connect(Deadline(CONNECT_S, f"connecting to the board at {client.path}"))
