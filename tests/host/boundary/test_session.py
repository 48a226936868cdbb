"""A calibration's steps through a boundary process: arrays come out, errors keep their names, and it starts again."""

import json
import os
import signal
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from host.boundary.calibrating import step_of
from host.boundary.client import BoundarySession
from host.boundary.rigs import twin_rig
from host.calibrate.procedure import Setup, Step
from host.calibrate.run import SessionError
from host.calibrate.sensor import make_procedure
from host.calibrate.sessions import acquisition
from host.twin.bench import make_bench
from optics.bundle import default_bundle_path, read_bundle


def test_a_step_survives_json() -> None:
    step = Step("dark", "two frames", Setup(True, (1.5, -2.0), 300.0, "flat"), "cover it", {"frames": 2})
    assert step_of(json.loads(json.dumps(asdict(step)))) == step


def test_a_step_is_acquired_as_in_this_process_but_locked_down() -> None:
    procedure = make_procedure(read_bundle(default_bundle_path()), quick=True)
    first = procedure.steps[0]
    spec = {"acquire": procedure.acquire, "twin": {"seed": 3, "fault": None}}
    with BoundarySession("sensor", spec) as session:
        got = session.acquire(first, {})
        assert session.device.startswith("imx219")
        assert session.device.endswith("twin 3")
        assert session.simulated
        assert session.missing == tuple(session.sandbox["missing"])
        assert session.sandbox["seccomp"] or session.sandbox["landlock"]
    bench = make_bench("sensor", 3)
    with twin_rig(bench) as rig:
        rig.arrange(first.setup)
        wanted = acquisition(procedure.acquire)(rig, first, {})
    assert set(got) == set(wanted)
    assert all(got[name].dtype == wanted[name].dtype and got[name].shape == wanted[name].shape for name in wanted)
    # Which frames of the stream it gets depends on the computer; what it looks at does not.
    assert np.allclose(got["last_mean_dn"], wanted["last_mean_dn"], rtol=0.01)


def test_a_process_that_died_is_named_and_started_again() -> None:
    procedure = make_procedure(read_bundle(default_bundle_path()), quick=True)
    first = procedure.steps[0]
    with BoundarySession("sensor", {"acquire": procedure.acquire, "twin": {"seed": 3, "fault": None}}) as session:
        session.acquire(first, {})
        child = next(pid for pid in _children() if b"host.boundary.process" in _command(pid))
        os.kill(child, signal.SIGKILL)
        with pytest.raises(SessionError, match="SIGKILL"):
            session.acquire(first, {})
        assert session.acquire(first, {})


def test_what_is_no_acquisition_of_ours_is_not_run() -> None:
    spec = {"acquire": "os:system", "twin": {"seed": 0, "fault": None}}
    with BoundarySession("sensor", spec) as session, pytest.raises(SessionError):
        _ = session.device


def test_a_process_that_fails_leaves_no_folder_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    sensor = {"acquire": "host.boundary.acquire_sensor:acquire"}
    for spec in ({"acquire": "os:system"}, {**sensor, "twin": {"seed": -1, "fault": None}}):
        with BoundarySession("sensor", spec) as session, pytest.raises(SessionError):
            _ = session.device
        assert list(tmp_path.iterdir()) == []


def test_without_a_camera_it_says_so() -> None:
    spec = {
        "acquire": "host.boundary.acquire_sensor:acquire",
        "camera": {},
        "gpio": {},
        "mask": {},
        "rows_px": 480,
        "columns_px": 640,
    }
    with BoundarySession("sensor", spec) as session, pytest.raises(SessionError, match="python3-picamera2") as raised:
        _ = session.device
    assert str(raised.value).endswith("no such camera; to rehearse without a camera: --path twin")
    assert str(raised.value).count("twin") == 1
    spec["camera"] = {"device": "twin"}
    with (
        BoundarySession("sensor", spec) as session,
        pytest.raises(SessionError, match="twin with --path twin") as raised,
    ):
        _ = session.device
    assert "python3-picamera2" not in str(raised.value)


def _children() -> list[int]:
    return [int(pid) for task in Path("/proc/self/task").iterdir() for pid in (task / "children").read_text().split()]


def _command(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()
