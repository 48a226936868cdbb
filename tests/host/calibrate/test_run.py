"""A calibration goes on where it stopped: with the same options and device only, and never from a damaged step."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from calibration.outcome import Outcome, wrong_setup
from host.calibrate.procedure import Procedure, Setup, Step, StepData, scalar
from host.calibrate.run import SessionError, run_procedure
from host.calibrate.sessions import RigSession, acquisition
from host.calibrate.store import StepStore
from host.camera.errors import CameraHung


def _procedure(count: int = 4, options: Mapping[str, Any] | None = None) -> Procedure:
    steps = [Step(f"step-{number}", f"step {number}", settings={"number": number}) for number in range(count)]

    def conclude(done: Mapping[str, StepData]) -> Outcome:
        return Outcome("psf", True, "fine", {"sum": float(sum(float(data["value"]) for data in done.values()))})

    def draw(*_: object) -> None:
        return None

    return Procedure("psf", steps, "host.boundary.acquire_none:acquire", conclude, draw, options or {})


class Counting:
    """A session that counts what it acquired, and breaks before one step."""

    def __init__(self, breaks_at: str | None = None) -> None:
        self.device = "a camera"
        self.acquired: list[str] = []
        self.known: list[int] = []
        self.breaks_at = breaks_at

    def acquire(self, step: Step, before: dict[str, StepData]) -> StepData:
        if step.name == self.breaks_at:
            raise SessionError("the cable is out", "camera_hung")
        self.acquired.append(step.name)
        self.known.append(len(before))
        return {"value": scalar(10.0 ** step.settings["number"])}


def test_every_step_knows_those_before_it() -> None:
    session = Counting()
    outcome, data = run_procedure(_procedure(), session)
    assert session.known == [0, 1, 2, 3]
    assert outcome.result["sum"] == 1111.0
    assert list(data) == session.acquired


def test_an_interrupted_run_goes_on_where_it_stopped(tmp_path: Path) -> None:
    broken = Counting(breaks_at="step-2")
    with pytest.raises(SessionError, match="cable"):
        run_procedure(_procedure(), broken, StepStore(tmp_path, _procedure(), broken.device))
    seen: list[tuple[str, bool]] = []
    mended = Counting()
    outcome, _ = run_procedure(
        _procedure(),
        mended,
        StepStore(tmp_path, _procedure(), mended.device),
        progress=lambda step, _number, _count, resumed: seen.append((step.name, resumed)),
    )
    assert mended.acquired == ["step-2", "step-3"]
    assert seen == [("step-0", True), ("step-1", True), ("step-2", False), ("step-3", False)]
    assert outcome.result["sum"] == 1111.0


@pytest.mark.parametrize(
    ("procedure", "device"),
    [(_procedure(options={"quick": True}), "a camera"), (_procedure(5), "a camera"), (_procedure(), "another camera")],
)
def test_nothing_is_taken_up_from_other_options_or_another_device(
    tmp_path: Path, procedure: Procedure, device: str
) -> None:
    first = Counting()
    run_procedure(_procedure(), first, StepStore(tmp_path, _procedure(), first.device))
    second = Counting()
    run_procedure(procedure, second, StepStore(tmp_path, procedure, device))
    assert second.acquired == [step.name for step in procedure.steps]


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 half of it", b"\x80\x04\x95"])
def test_a_damaged_step_is_acquired_anew(tmp_path: Path, damage: bytes) -> None:
    first = Counting()
    run_procedure(_procedure(), first, StepStore(tmp_path, _procedure(), first.device))
    (tmp_path / "steps" / "step-1.npz").write_bytes(damage)
    second = Counting()
    outcome, _ = run_procedure(_procedure(), second, StepStore(tmp_path, _procedure(), second.device))
    assert second.acquired == ["step-1"]
    assert outcome.result["sum"] == 1111.0


def test_hands_are_asked_for_only_where_a_step_needs_them_and_is_not_kept(tmp_path: Path) -> None:
    plain = _procedure(2)
    asking = Procedure(
        "psf", [plain.steps[0], Step("step-1", "dark", Setup(cover_on=True), "put the cover on", {"number": 1})],
        plain.acquire, plain.conclude, plain.draw,
    )  # fmt: skip
    asked: list[str] = []
    store = StepStore(tmp_path, asking, "a camera")
    run_procedure(asking, Counting(), store, ask=lambda step: asked.append(step.ask))
    run_procedure(asking, Counting(), store, ask=lambda step: asked.append(step.ask))
    assert asked == ["put the cover on"]


def test_a_wrong_setup_that_shows_early_ends_the_run() -> None:
    plain = _procedure()

    def conclude(done: Mapping[str, StepData]) -> Outcome:
        if len(done) == 2 or len(done) == 4:
            return wrong_setup("psf", "source_off", f"seen after {len(done)} steps")
        return plain.conclude(done)

    for judge_after, steps in (((), 4), (("step-1",), 2), (("step-0", "step-1"), 2), (("step-2",), 4)):
        session = Counting()
        outcome, data = run_procedure(replace(plain, conclude=conclude, judge_after=judge_after), session)
        assert outcome.reason == f"source_off: seen after {steps} steps"
        assert len(data) == len(session.acquired) == steps


@pytest.mark.parametrize("name", ["os:system", "host.boundary.acquire_psf", "host.daemon:main", "acquire_psf:acquire"])
def test_only_an_acquisition_of_this_project_is_one(name: str) -> None:
    with pytest.raises(ValueError, match="names no acquisition"):
        acquisition(name)


def test_what_a_camera_says_reaches_the_person_with_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def hangs(*_: object) -> StepData:
        raise CameraHung("no frame in 5 s: check the cable")

    monkeypatch.setattr("host.calibrate.sessions.acquisition", lambda _name: hangs)

    class Rig:
        def arrange(self, _setup: Setup) -> None:
            return None

    session = RigSession(_procedure(), Rig(), "a camera")
    with pytest.raises(SessionError, match="check the cable") as raised:
        session.acquire(_procedure().steps[0], {})
    assert raised.value.name == "camera_hung"


def test_arrays_come_back_as_they_were(tmp_path: Path) -> None:
    store = StepStore(tmp_path, _procedure(), "a camera")
    data: StepData = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": scalar(0.1)}
    store.keep("one", data)
    kept = store.load("one")
    assert kept is not None
    assert all((kept[name] == data[name]).all() and kept[name].dtype == data[name].dtype for name in data)


def test_steps_are_for_this_user_alone(tmp_path: Path) -> None:
    store = StepStore(tmp_path, _procedure(), "a camera")
    store.keep("one", {"a": scalar(1.0)})
    assert (tmp_path / "steps").stat().st_mode & 0o777 == 0o700
    store.forget()
    assert (StepStore(tmp_path, _procedure(), "a camera").directory).stat().st_mode & 0o777 == 0o700
