"""The board's process: built, private, restarted, gone with its parent, and clear about what is missing."""

import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from host.board.deadline import Deadline
from host.board.errors import BoardProgramError
from host.twin import board_process
from host.twin.board_process import EXECUTABLE_VARIABLE, BoardProcess, board_executable


@pytest.fixture(autouse=True)
def _built() -> None:
    try:
        board_executable()
    except BoardProgramError as error:
        pytest.skip(f"the firmware's host build is not available: {error}")


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until(condition: object, within_s: float = 10.0) -> bool:
    end_s = time.monotonic() + within_s
    while time.monotonic() < end_s:
        if condition():  # type: ignore[operator]
            return True
        time.sleep(0.02)
    return False


def test_it_runs_in_a_directory_of_its_own_and_leaves_nothing() -> None:
    with BoardProcess() as process:
        directory = process.pty.parent
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
        assert process.pty.is_symlink()
        assert process.frames_socket.is_socket()
        assert process.control("stats").startswith("ok")
        pid = process.pid
        assert pid is not None
        assert alive(pid)
    assert not directory.exists()
    assert not alive(pid)
    assert process.pid is None
    process.close()


def test_it_is_started_again_and_counts() -> None:
    with BoardProcess() as process:
        for restarts in range(1, 4):
            before = process.pid
            process.kill()
            process.wait_ready(Deadline(10, "waiting"))
            assert process.control("stats").startswith("ok")
            assert process.pid != before
            assert process.restarts == restarts


def test_it_dies_with_its_parent(tmp_path: Path) -> None:
    program = (
        "from host.twin.board_process import BoardProcess; import time\n"
        "process = BoardProcess(); print(process.pid, process.pty.parent, flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, env={**os.environ, "TMPDIR": str(tmp_path)}
    ) as parent:
        assert parent.stdout is not None
        pid, directory = parent.stdout.readline().split()
        assert alive(int(pid))
        parent.send_signal(signal.SIGKILL)
    assert wait_until(lambda: not alive(int(pid)))
    assert Path(directory).exists()


def test_directories_of_killed_processes_are_removed_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    left = tmp_path / "canopic-board-left"
    left.mkdir()
    (left / "lock").touch()
    with BoardProcess() as first, BoardProcess() as second:
        assert not left.exists()
        assert first.pty.exists()
        assert second.pty.exists()
    assert not list(tmp_path.iterdir())


def test_the_port_can_be_put_elsewhere(tmp_path: Path) -> None:
    port = tmp_path / "port"
    with BoardProcess(pty=port):
        assert port.is_symlink()
    assert not port.is_symlink()


def test_a_refused_control_line_raises() -> None:
    with BoardProcess() as process, pytest.raises(BoardProgramError, match=r"answered 'stick 99 high' with error"):
        process.control("stick 99 high")


def test_a_start_that_fails_says_why(tmp_path: Path) -> None:
    with pytest.raises(BoardProgramError, match=r"ended with status \d+ before it was ready"):
        BoardProcess(pty=tmp_path / "no" / "such" / "directory" / "port")
    with pytest.raises(BoardProgramError, match="cannot be started"):
        BoardProcess(executable=tmp_path)


def test_one_that_never_gets_ready_ends_at_the_deadline(tmp_path: Path) -> None:
    script = tmp_path / "board"
    script.write_text("#!/bin/sh\nexec sleep 60\n")
    script.chmod(0o755)
    with pytest.raises(BoardProgramError, match=r"is not ready after 0\.3 s"):
        BoardProcess(executable=script, ready_s=0.3)


def test_another_executable_can_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(EXECUTABLE_VARIABLE, "/bin/true")
    assert board_executable() == Path("/bin/true").resolve()
    monkeypatch.setenv(EXECUTABLE_VARIABLE, str(tmp_path / "none"))
    with pytest.raises(BoardProgramError, match=f"{EXECUTABLE_VARIABLE} names .*none, which is no executable file"):
        board_executable()


def test_what_is_missing_to_build_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(EXECUTABLE_VARIABLE, raising=False)
    monkeypatch.setattr(board_process, "_BUILT", tmp_path / "build" / "host" / "canopic-board")
    monkeypatch.setattr(board_process, "_FIRMWARE", tmp_path)
    with pytest.raises(BoardProgramError, match="run from a source checkout, or set CANOPIC_BOARD"):
        board_executable()
    (tmp_path / "Makefile").write_text("host:\n\t@echo the compiler said no; exit 3\n")
    with pytest.raises(BoardProgramError, match=r"(?s)exit status 2.*the compiler said no"):
        board_executable()
    (tmp_path / "Makefile").write_text("host:\n\tmkdir -p build/host; cp /bin/true build/host/canopic-board\n")
    assert board_executable() == tmp_path / "build" / "host" / "canopic-board"
    monkeypatch.setattr(board_process, "_BUILT", tmp_path / "build" / "host" / "other")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BoardProgramError, match=r"make and cc not found; install the Debian packages .*gcc make"):
        board_executable()
