"""Landlock: this process and all it becomes may read files, and change nothing in any file system.

The kernel's interface is in its documentation (Documentation/userspace-api/landlock.rst). It holds for the thread that
asks and for threads that it starts afterwards, so it is asked for before anything else is imported.
"""

import ctypes
import os
from pathlib import Path

# The three system calls have the same numbers on every architecture (they came after numbers were unified).
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION_FLAG = 1
_PATH_BENEATH = 1
_PR_SET_NO_NEW_PRIVS = 38
# Rights over files, by the bit that the kernel gives them; each version of the interface knows more of them.
_WRITE_FILE, _READ_FILE, _READ_DIR, _IOCTL_DEV = 1 << 1, 1 << 2, 1 << 3, 1 << 15
_REMOVE_DIR, _REMOVE_FILE, _MAKE_FIFO = 1 << 4, 1 << 5, 1 << 10
_KNOWN_BITS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
_NET_FROM, _NET_BIND_AND_CONNECT = 4, 0b11
_SCOPE_FROM, _SCOPE_ABSTRACT_SOCKETS_AND_SIGNALS = 6, 0b11
_IOCTL_FROM = 5


class _RulesetAttr(ctypes.Structure):
    _fields_ = (("fs", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _PathBeneathAttr(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("parent_fd", ctypes.c_int32))


def version() -> int:
    """The kernel's version of Landlock's interface, 0 where it has none."""
    found = _libc().syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(_VERSION_FLAG))
    return max(0, int(found))


def restrict(writable: tuple[Path, ...] = (), pipes: Path | None = None) -> int:
    """Allow this thread to read everywhere and to write existing files under `writable` only; nothing is executed.

    pipes: a folder in which named pipes may be made, used and removed, no files; beside it empty folders may be
    removed, so that it can go itself, and the right with it.

    Where the kernel can, TCP, abstract sockets of others and signals to others are refused, too. Restrictions add up:
    asking again can only take away. Returns the interface's version; 0: the kernel has no Landlock, nothing was done.
    Raises OSError where it has but refuses.
    """
    known = version()
    if not known:
        return 0
    handled = (1 << _KNOWN_BITS[min(known, max(_KNOWN_BITS))]) - 1
    attr = _RulesetAttr(
        handled,
        _NET_BIND_AND_CONNECT if known >= _NET_FROM else 0,
        _SCOPE_ABSTRACT_SOCKETS_AND_SIGNALS if known >= _SCOPE_FROM else 0,
    )
    # A kernel of an older version takes a shorter structure; a longer one is accepted where the rest is 0.
    ruleset = _called(_CREATE_RULESET, ctypes.byref(attr), ctypes.c_size_t(ctypes.sizeof(attr)), ctypes.c_uint32(0))
    try:
        reading = _READ_FILE | _READ_DIR
        device = _IOCTL_DEV if known >= _IOCTL_FROM else 0
        _allow(ruleset, Path("/"), reading)
        for path in writable:
            _allow(ruleset, path, reading | _WRITE_FILE | device)
        if pipes is not None:
            _allow(ruleset, pipes, reading | _WRITE_FILE | _MAKE_FIFO | _REMOVE_FILE)
            _allow(ruleset, pipes.parent, reading | _REMOVE_DIR)
        if _libc().prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
            raise OSError(ctypes.get_errno(), "PR_SET_NO_NEW_PRIVS was refused")
        _called(_RESTRICT_SELF, ctypes.c_int(ruleset), ctypes.c_uint32(0))
    finally:
        os.close(ruleset)
    return known


def _allow(ruleset: int, path: Path, rights: int) -> None:
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return  # what is not there cannot be written
    try:
        beneath = _PathBeneathAttr(rights, descriptor)
        _called(
            _ADD_RULE, ctypes.c_int(ruleset), ctypes.c_int(_PATH_BENEATH), ctypes.byref(beneath), ctypes.c_uint32(0)
        )
    finally:
        os.close(descriptor)


def _called(number: int, *arguments: object) -> int:
    result = int(_libc().syscall(number, *arguments))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"Landlock was refused: {os.strerror(code)}")
    return result


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
