"""Files written whole or not at all: after errors, kills, and by many at once."""

import errno
import fcntl
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from optics.whole_file import whole_file, write_whole

ROOT = Path(__file__).parents[2]
# Writes the file of its argument in two halves and says when it is between them; goes on when its input ends.
WRITER = """
import sys
from pathlib import Path
from optics.whole_file import whole_file
with whole_file(Path(sys.argv[1])) as partial, partial.open("w") as file:
    file.write(sys.argv[2] * 5000)
    file.flush()
    print("half", flush=True)
    sys.stdin.read()
    file.write(sys.argv[2] * 5000)
"""


def writer(path: Path, letter: str) -> "subprocess.Popen[str]":
    """A process that has written half of `path`."""
    command = [sys.executable, "-c", WRITER, str(path), letter]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "half\n"
    return process


def finish(process: "subprocess.Popen[str]") -> None:
    process.communicate(timeout=30)
    assert process.returncode == 0


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_new_content_takes_the_place_of_the_old_at_the_end_only(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "file.txt"
    write_whole(path, "old")
    with whole_file(path) as partial:
        assert partial.parent == path.parent
        assert partial.read_bytes() == b""
        partial.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert names(path.parent) == ["file.txt"]


def test_text_is_utf_8_and_bytes_stay_bytes(tmp_path: Path) -> None:
    write_whole(tmp_path / "text", "PSF±\n")
    write_whole(tmp_path / "bytes", b"\x00\r\n\xff")
    assert (tmp_path / "text").read_bytes() == b"PSF\xc2\xb1\n"
    assert (tmp_path / "bytes").read_bytes() == b"\x00\r\n\xff"


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt(), OSError(errno.EIO, "read", "picture.jpg")])
def test_a_failure_leaves_the_old_file_whole_nothing_beside_it_and_comes_out_as_it_is(
    tmp_path: Path, error: BaseException
) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    def fail() -> None:
        with whole_file(path) as partial:
            partial.write_text("half")
            raise error

    with pytest.raises(type(error)) as caught:
        fail()
    assert caught.value is error
    assert path.read_text() == "old"
    assert names(tmp_path) == ["file"]


def test_a_path_that_cannot_be_written_is_named_and_not_the_file_beside_it(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    (folder / "inside").mkdir(parents=True)
    with pytest.raises(IsADirectoryError) as caught, whole_file(folder) as partial:
        partial.write_text("x")
    assert caught.value.filename == str(folder)
    with pytest.raises(FileExistsError, match="/dev/null"), whole_file(Path("/dev/null/file")):
        pass
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with pytest.raises(OSError, match="No space left") as caught, whole_file(tmp_path / "file"):
        raise full
    assert caught.value.filename == str(tmp_path / "file")
    assert names(tmp_path) == ["folder"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere: run the tests as another user")
def test_a_folder_that_takes_no_files_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(PermissionError) as caught, whole_file(tmp_path / "file"):
        pass
    assert caught.value.filename == str(tmp_path / "file")


def test_two_processes_at_once_each_write_a_whole_file_and_the_last_one_stays(tmp_path: Path) -> None:
    path = tmp_path / "file"
    first, second = writer(path, "a"), writer(path, "b")
    assert len(names(tmp_path)) == 2
    finish(second)
    assert path.read_text() == "b" * 10000
    finish(first)
    assert path.read_text() == "a" * 10000
    assert names(tmp_path) == ["file"]


def test_many_threads_at_once_never_show_half_a_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_whole(path, "a" * 10000)
    seen: set[str] = set()
    failures: list[BaseException] = []

    def write(letter: str) -> None:
        try:
            for _ in range(15):
                with whole_file(path) as partial, partial.open("w") as file:
                    for _ in range(10):
                        file.write(letter * 1000)
                        file.flush()
                seen.add(path.read_text())
        except BaseException as error:  # noqa: BLE001
            failures.append(error)

    threads = [threading.Thread(target=write, args=(letter,)) for letter in "bcde"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert seen <= {letter * 10000 for letter in "bcde"}
    assert names(tmp_path) == ["file"]


def test_what_a_killed_writer_leaves_the_next_one_takes(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    for _ in range(2):
        killed = writer(path, "a")
        killed.send_signal(signal.SIGKILL)
        killed.communicate()
        assert path.read_text() == "old"
        assert len(names(tmp_path)) == 2
    write_whole(path, "new")
    assert path.read_text() == "new"
    assert names(tmp_path) == ["file"]


def test_it_writes_where_files_cannot_be_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    path = tmp_path / "file"
    with whole_file(path) as partial:
        partial.write_text("one")
        other = threading.Thread(target=write_whole, args=(path, "two"))
        other.start()
        other.join()
        assert path.read_text() == "two"
    assert path.read_text() == "one"
    assert names(tmp_path) == ["file"]
