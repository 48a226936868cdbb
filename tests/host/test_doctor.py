"""The doctor finds what is there and what is not, and every problem comes with one command."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from host import doctor
from host.doctor import Check, abilities, examine

ROOT = Path(__file__).resolve().parents[2]


def found(part: str) -> Check:
    return next(check for check in examine() if check.part == part)


def test_every_problem_has_one_command():
    for check in examine():
        assert check.found
        if check.verdict in ("missing", "wrong"):
            assert check.fix, check.part
            assert "\n" not in check.fix
        if check.verdict == "ok":
            assert check.fix == ""


def test_what_this_test_runs_on_is_found():
    assert found("Python").verdict == "ok"
    assert found("package numpy").verdict == "ok"
    assert found("default bundle").verdict == "ok"
    assert found("SQLite").verdict == "ok"


def test_a_wrong_board_program(monkeypatch, tmp_path):
    monkeypatch.setenv("CANOPIC_BOARD", str(tmp_path / "absent"))
    check = found("board program")
    assert (check.verdict, check.fix) == ("wrong", "unset CANOPIC_BOARD")
    assert not abilities(examine())[0].possible


def test_missing_tools_are_named(monkeypatch, tmp_path):
    monkeypatch.delenv("CANOPIC_BOARD", raising=False)
    monkeypatch.setattr(doctor, "SOURCE_ROOT", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    check = found("board program")
    assert check.verdict == "missing"
    assert "sudo apt-get install gcc make" in check.fix


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "serial", None)
    check = next(check for check in doctor._packages() if check.part == "package pyserial")
    assert check.verdict == "missing"
    able = abilities([check])
    assert not any(each.possible for each in able)
    assert "package pyserial" in able[0].why


def test_a_state_directory_that_cannot_be(monkeypatch, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("STATE_DIRECTORY", str(blocked / "state"))
    check = found("state directory")
    assert check.verdict == "wrong"
    assert check.fix.startswith("sudo install -d")


class Port:
    def __init__(self, device: str, vid: int | None) -> None:
        self.device, self.vid, self.description = device, vid, "USB serial"


def test_ports_with_and_without_permission(monkeypatch, tmp_path):
    good, bad = tmp_path / "ttyACM0", tmp_path / "ttyACM1"
    good.write_text("")
    ports = [Port(str(good), 0x0483), Port(str(bad), 0x0483), Port("/dev/ttyS0", None)]
    monkeypatch.setattr(doctor.list_ports, "comports", lambda: ports)
    checks = list(doctor._serial())
    assert [check.verdict for check in checks] == ["ok", "wrong"]
    assert "dialout" in checks[1].fix
    assert abilities(checks)[1].possible
    assert not abilities(checks[1:])[1].possible


@pytest.mark.parametrize("as_json", [True, False])
def test_command(as_json):
    done = subprocess.run(
        [sys.executable, "-c", "from host.cli import main; main()", "doctor", *(["--json"] if as_json else [])],
        capture_output=True, text=True, cwd=ROOT, timeout=60, check=False,
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    if as_json:
        report = json.loads(done.stdout)
        assert {check["part"] for check in report["checks"]} > {"Python", "default bundle", "board program"}
    else:
        assert "can run: " in done.stdout or "cannot run: " in done.stdout
