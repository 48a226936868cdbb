"""The host build of the board as a process: how it starts, what it refuses, when it ends and what it leaves behind."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

PATIENCE_S = 10.0


def ends(folder: Path) -> list[str]:
    """The options that every board needs."""
    return ["--pty", str(folder / "tty"), "--frames", str(folder / "frames"), "--control", str(folder / "control")]


def test_it_cleans_up_when_told_to_stop(executable: Path, tmp_path: Path) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        with subprocess.Popen([executable, *ends(tmp_path)], stdout=subprocess.PIPE) as board:
            assert board.stdout is not None
            assert board.stdout.readline() == b"ready\n"
            assert sorted(path.name for path in tmp_path.iterdir()) == ["control", "frames", "tty"]
            board.send_signal(number)
            assert board.wait(PATIENCE_S) == 0
        assert list(tmp_path.iterdir()) == []


def test_it_takes_the_place_of_one_that_was_killed(executable: Path, tmp_path: Path) -> None:
    for _ in range(2):
        with subprocess.Popen([executable, *ends(tmp_path)], stdout=subprocess.PIPE) as board:
            assert board.stdout is not None
            assert board.stdout.readline() == b"ready\n"
            assert (tmp_path / "tty").resolve().is_char_device()
            board.kill()
    assert (tmp_path / "tty").is_symlink()  # left behind, and no obstacle to the next


def test_it_ends_with_its_parent(executable: Path, tmp_path: Path) -> None:
    script = (
        "import subprocess, sys, time\n"
        "board = subprocess.Popen(sys.argv[1:], stdout=subprocess.PIPE)\n"
        "print(board.stdout.readline().decode().strip(), board.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    command = [sys.executable, "-c", script, str(executable), *ends(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline().startswith("ready ")
        parent.kill()
    end = time.monotonic() + PATIENCE_S
    while any(tmp_path.iterdir()):
        assert time.monotonic() < end, "the board outlived its parent"
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ((), "--pty, --frames and --control are needed"),
        (("--pty", "a", "--frames", "b", "--control", "c", "--seed", "x"), "--seed must be a whole number"),
        (("--pty", "a", "--frames", "b", "--control", "c", "--noise-volts", "-1"), "--noise-volts"),
        (
            ("--pty", "a", "--frames", "b", "--control", "c", "--dac-dnl-lsb", "1"),
            "--dac-dnl-lsb must be a number from",
        ),
        (("--pty", "a", "--frames", "b", "--control", "c", "--spread", "1.5"), "--spread must be a number from"),
        (("--pty", "a", "--frames", "b", "--control", "c", "--volume", "1"), "unknown option"),
        (("--pty", "a", "--frames", "b", "--control", "c", "--serial", "12345678901234567"), "at most 16"),
        (("--pty", "a", "--frames", "b" * 200, "--control", "c"), "is longer than"),
        (("--pty", "/nonexistent/tty", "--frames", "b", "--control", "c"), "/nonexistent/tty"),
    ],
)
def test_wrong_options_are_explained(
    executable: Path, tmp_path: Path, options: tuple[str, ...], complaint: str
) -> None:
    command = [str(executable), *options]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=30)
    assert result.returncode != 0
    assert complaint in result.stderr
    assert list(tmp_path.iterdir()) == []
