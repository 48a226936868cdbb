"""Child processes run what is installed, and nothing that lies about in a folder or that a variable names."""

import subprocess
import sys
from pathlib import Path

import pytest

from host import children
from host.boundary.child import Child
from host.boundary.client import BoundarySession
from host.boundary.errors import BoundaryFailed
from host.boundary.process import _cannot_load
from host.boundary.wire import INWARDS, OUTWARDS, Kind, Records, json_of
from host.calibrate.run import SessionError
from host.children import command, environment
from host.twin.player import Twin
from tests.host.sensing import board_missing

# Names that the standard library and our dependencies import early, some of them before any sandbox holds.
STRAY = ("resource", "bisect", "tempfile", "numpy", "host", "optics", "json", "sitecustomize")
SPEC = {"acquire": "host.boundary.acquire_sensor:acquire", "twin": {"seed": 3, "fault": None}}


@pytest.fixture
def littered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory full of modules with common names, and variables that lead there; the file that they make."""
    made = tmp_path / "ran"
    for name in STRAY:
        (tmp_path / f"{name}.py").write_text(f"open({str(made)!r}, 'w').write({name!r}); raise SystemExit(7)\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", ":.")
    monkeypatch.setenv("LD_LIBRARY_PATH", "")
    monkeypatch.setenv("PYTHONSTARTUP", str(tmp_path / "json.py"))
    monkeypatch.setenv("PYTHONINSPECT", "1")
    return made


def test_the_boundary_runs_nothing_from_the_working_directory(littered: Path) -> None:
    with BoundarySession("sensor", SPEC) as session:
        assert session.simulated
    assert not littered.exists()


def test_the_twin_runs_nothing_from_the_working_directory(littered: Path) -> None:
    if board_missing():
        pytest.skip(f"no board program: {board_missing()}")
    with Twin("demo") as twin:
        assert twin.pty is not None
    assert not littered.exists()


def test_such_litter_would_run_otherwise(littered: Path) -> None:
    subprocess.run([sys.executable, "-m", "host.boundary.process"], stderr=subprocess.DEVNULL, check=False)
    assert littered.exists()


def test_our_packages_are_the_parents_and_no_other_installation(tmp_path: Path) -> None:
    """Sources that are installed nowhere, run by a Python that has others; nothing else beside them counts."""
    (tmp_path / "host").mkdir()
    (tmp_path / "host/__init__.py").touch()
    (tmp_path / "host/where.py").write_text("import bisect\nprint(__file__)\n")
    (tmp_path / "bisect.py").write_text("raise SystemExit(7)\n")
    copied = tmp_path / "host/children.py"
    copied.write_text(Path(children.__file__).read_text())
    command_line = [sys.executable, "-P", str(copied), "host.where"]
    done = subprocess.run(command_line, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(tmp_path / "host/where.py")


def test_what_stays_of_an_environment() -> None:
    parent = {
        "HOME": "/home/pi",
        "PYTHONPATH": ":/opt/libcamera/python:./here:there",
        "LD_LIBRARY_PATH": "/opt/libcamera/lib:",
        "PYTHONHOME": "/opt/python",
        "PYTHONSTARTUP": "x.py",
        "PYTHONINSPECT": "1",
        "PYTHONWARNINGS": "error::some.module",
        "PYTHONPERFSUPPORT": "1",
        "LD_PRELOAD": "/tmp/x.so",
        "LD_AUDIT": "/tmp/x.so",
    }
    assert environment(parent, OMP_NUM_THREADS="1") == {
        "HOME": "/home/pi",
        "PYTHONPATH": "/opt/libcamera/python",
        "LD_LIBRARY_PATH": "/opt/libcamera/lib",
        "PYTHONHOME": "/opt/python",
        "OMP_NUM_THREADS": "1",
    }
    assert environment({"PYTHONPATH": "", "LD_LIBRARY_PATH": ":"}) == {}
    assert command("host.twin.process")[1:] == [
        "-P",
        children.__file__,
        "host.twin.process",
    ]


@pytest.fixture
def broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installation whose numpy cannot be imported, as with a wrong one of the system."""
    (tmp_path / "numpy.py").write_text("raise ValueError('numpy.dtype size changed\\n')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))


@pytest.mark.usefixtures("broken")
def test_what_cannot_be_imported_is_told_and_not_tried_for_ever() -> None:
    child = Child({"task": "measure"}, OUTWARDS)
    try:
        with pytest.raises(BoundaryFailed, match=r"ValueError: numpy.dtype size changed  \(.*numpy.py\)") as raised:
            child.take(60)
        assert raised.value.latched
        assert raised.value.kind == "boundary_broken"
        assert "fresh environment" in raised.value.advice
    finally:
        child.kill()


@pytest.mark.usefixtures("broken")
def test_a_calibration_tells_it_too() -> None:
    with BoundarySession("sensor", SPEC) as session, pytest.raises(SessionError, match=r"numpy\.dtype size changed"):
        _ = session.device


def test_the_record_that_is_made_by_hand_is_a_record() -> None:
    records = Records(frozenset({Kind.FAILURE}))
    records.add(_cannot_load(ImportError("é" * 5000)))
    record = records.take()
    assert record is not None
    assert json_of(record)["reason"].startswith("the boundary process cannot be loaded: ImportError: éé")
    assert Kind.FAILURE not in INWARDS
