"""Runs a calibration: step by step, kept as it goes, from where the last run stopped to the outcome."""

from collections.abc import Callable
from typing import Protocol

from calibration.outcome import Outcome
from host.calibrate.procedure import Procedure, Step, StepData
from host.calibrate.store import StepStore


class Session(Protocol):
    """Where steps are acquired: a board on its port, a boundary process with a camera, or a twin of either."""

    @property
    def device(self) -> str:
        """What it acquires with: serial of the board, name of the camera; a twin says its seed and fault, too."""

    def acquire(self, step: Step, before: dict[str, StepData]) -> StepData:
        """One step. Raises SessionError, whose message is for the person at the bench."""


class SessionError(Exception):
    """A step could not be acquired: what was seen, and what to do. What was acquired before is kept.

    `name` is the short name of what went wrong, where there is one (camera_hung, no_board).
    """

    def __init__(self, message: str, name: str = "") -> None:
        super().__init__(message)
        self.name = name


def run_procedure(
    procedure: Procedure,
    session: Session,
    store: StepStore | None = None,
    *,
    ask: Callable[[Step], None] = lambda _step: None,
    progress: Callable[[Step, int, int, bool], None] = lambda *_: None,
) -> tuple[Outcome, dict[str, StepData]]:
    """Acquire every step that is not there yet, and conclude. Returns the outcome and the data of the steps: of all,
    or up to the one that shows a wrong set-up.

    ask: called before a step that needs a person's hands. progress(step, number, count, resumed): before each step.
    Raises SessionError, or OSError where a step cannot be stored.
    """
    done: dict[str, StepData] = {}
    count = len(procedure.steps)
    for number, step in enumerate(procedure.steps):
        kept = store.load(step.name) if store is not None else None
        progress(step, number, count, kept is not None)
        if kept is None:
            if step.ask:
                ask(step)
            kept = session.acquire(step, done)
            if store is not None:
                store.keep(step.name, kept)
        done[step.name] = kept
        if step.name in procedure.judge_after:
            so_far = procedure.conclude(done)
            if so_far.result.get("wrong_setup"):
                return so_far, done
    return procedure.conclude(done), done
