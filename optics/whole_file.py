"""Files that are written whole or not at all: beside their place first, then renamed into it."""

import errno
import fcntl
import itertools
import os
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

SUFFIX = ".part"
# Errors of a full disk, which name no file.
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A path to write to that becomes `path` when the block ends well; after an error `path` keeps what it had.

    Missing folders are made. The yielded path is an empty file beside `path`, whose name has more behind it and ends
    with `.part`; it has to be written where it lies, not replaced. Processes and threads that write the same path at
    once each get a file of their own, and the last one stays. What a killed writer leaves, the next one of the same
    path takes for its own. The content is on the disk before it is renamed: a power cut leaves the old file or the new.

    Raises OSError, which names `path`, where that cannot be written; what the block raises comes out of it as it is.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        partial, lock = _claimed(path)
        try:
            yield partial
            os.fsync(lock)
            partial.replace(path)
        except BaseException:
            with suppress(OSError):  # the first error says why
                partial.unlink(missing_ok=True)
            raise
        finally:
            os.close(lock)
    except OSError as error:
        blamed = str(error.filename)
        beside = blamed.startswith(f"{path}.") and blamed.endswith(SUFFIX)
        if beside or (error.filename is None and error.errno in FULL):
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


def write_whole(path: Path, content: str | bytes) -> None:
    """Write text (as UTF-8) or bytes by way of `whole_file`. Raises OSError."""
    with whole_file(path) as partial:
        partial.write_bytes(content.encode() if isinstance(content, str) else content)


def _claimed(path: Path) -> tuple[Path, int]:
    """An empty file beside `path` that nobody else writes, and the descriptor whose lock says so until it is closed."""
    # Its machine is part of the name, for a shared folder may keep each machine's locks to that machine.
    machine = f"{zlib.crc32(os.uname().nodename.encode()):08x}"
    for number in itertools.count():
        partial = path.with_name(f"{path.name}.{machine}-{number}{SUFFIX}")
        try:
            descriptor = _open(partial)
        except PermissionError:
            if not partial.exists():
                raise
            continue  # another person left it
        try:
            if _locked(descriptor, partial):
                os.truncate(descriptor, 0)
                return partial, descriptor
        except OSError:
            # A file system without locks: a name that only this thread has does as well, but nobody clears up after it.
            os.close(descriptor)
            partial.unlink(missing_ok=True)
            own = path.with_name(f"{path.name}.{machine}-{os.getpid()}-{threading.get_native_id()}{SUFFIX}")
            return own, _open(own)
        os.close(descriptor)
    raise AssertionError("numbers do not end")


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)


def _locked(descriptor: int, path: Path) -> bool:
    """Whether the open file is this writer's now. Raises OSError where files cannot be locked."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    try:
        # Between the opening and the lock, the writer before may have renamed or removed it.
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
