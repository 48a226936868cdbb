"""Which system calls the boundary process may still make once its devices are open: a list of those that it needs.

The filter is made and loaded by libseccomp (github.com/seccomp/libseccomp), which every Debian has, since apt needs it;
it knows the numbers of each architecture. What is not on the list fails with EPERM, so a library that tries it goes on.
"""

import ctypes
import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

LIBRARY = "libseccomp.so.2"

# Reading, waiting, memory, time, threads, and ioctl and mmap on what is open already. No way to make a file, a socket,
# a process, shared memory or a name; `write` only goes to descriptors that were open when the filter was loaded.
_NEEDED = """
    read readv pread64 preadv preadv2 write writev close close_range lseek
    dup dup2 dup3 fcntl fcntl64 ioctl pipe2 recvfrom recvmsg
    stat fstat lstat newfstatat fstatat64 statx access faccessat faccessat2 readlink readlinkat getcwd
    getdents getdents64 statfs fstatfs fadvise64
    mmap mmap2 munmap mremap mprotect madvise brk mlock mlock2 munlock munlockall mincore msync
    poll ppoll select pselect6 epoll_create1 epoll_ctl epoll_wait epoll_pwait epoll_pwait2 eventfd2
    timerfd_create timerfd_settime timerfd_gettime
    clock_gettime clock_getres clock_nanosleep gettimeofday time nanosleep restart_syscall
    futex futex_waitv futex_time64 set_robust_list get_robust_list set_tid_address rseq membarrier
    sched_yield sched_getaffinity sched_setaffinity sched_getparam sched_getscheduler getcpu
    sched_get_priority_max sched_get_priority_min
    rt_sigaction rt_sigprocmask rt_sigreturn rt_sigtimedwait rt_sigpending rt_sigsuspend sigaltstack
    getpid gettid getppid getuid geteuid getgid getegid getrusage getrlimit sysinfo uname getrandom
    exit exit_group
"""
# These answer "no such call", for which the C library has another way.
ABSENT = ("clone3", "openat2")

_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_MASKED_EQUAL, _EQUAL = 7, 4
_TSYNC, _NATIVE = 4, 0
_CLONE_THREAD = 0x00010000
_INT = 0xFFFFFFFF
# Every flag of `open` with which something could be written or made.
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
# prctl: a thread's name, and names of memory areas, which allocators set.
_PRCTL_ALLOWED = (15, 16, 0x53564D41)


class SeccompUnavailable(Exception):  # noqa: N818 - reads as what happened
    """There is no filter: no library, or a kernel that takes none. The message says which and what to install."""


class _Comparison(ctypes.Structure):
    _fields_ = (
        ("argument", ctypes.c_uint),
        ("operation", ctypes.c_int),
        ("a", ctypes.c_uint64),
        ("b", ctypes.c_uint64),
    )


def restrict_calls(library: str = LIBRARY) -> None:
    """Load the filter for every thread of this process; there is no way back. Raises SeccompUnavailable."""
    seccomp = _library(library)
    with _filter(seccomp) as context:
        # All threads, those of a camera's library included.
        _checked(seccomp.seccomp_attr_set(context, _TSYNC, 1), "filtering every thread")
        _checked(seccomp.seccomp_load(context), "loading the filter")


def write_program(descriptor: int, architecture: str, library: str = LIBRARY) -> None:
    """Write the filter of another architecture ("aarch64", "x86_64") to a file, as the kernel would run it: classic BPF
    (linux/filter.h), 8 bytes an instruction. For whoever checks it. Raises SeccompUnavailable."""
    seccomp = _library(library)
    with _filter(seccomp, architecture) as context:
        _checked(seccomp.seccomp_export_bpf(context, descriptor), "writing the filter")


def _library(name: str) -> ctypes.CDLL:
    try:
        seccomp = ctypes.CDLL(name, use_errno=True)
    except OSError as error:
        raise SeccompUnavailable(f"{name} cannot be loaded: sudo apt-get install libseccomp2") from error
    pointer, number = ctypes.c_void_p, ctypes.c_uint32
    seccomp.seccomp_init.restype, seccomp.seccomp_init.argtypes = pointer, [number]
    seccomp.seccomp_release.argtypes = [pointer]
    seccomp.seccomp_load.argtypes = [pointer]
    seccomp.seccomp_export_bpf.argtypes = [pointer, ctypes.c_int]
    seccomp.seccomp_attr_set.argtypes = [pointer, ctypes.c_int, number]
    seccomp.seccomp_arch_resolve_name.restype, seccomp.seccomp_arch_resolve_name.argtypes = number, [ctypes.c_char_p]
    seccomp.seccomp_arch_add.argtypes = seccomp.seccomp_arch_remove.argtypes = [pointer, number]
    seccomp.seccomp_syscall_resolve_name.argtypes = [ctypes.c_char_p]
    seccomp.seccomp_rule_add_array.argtypes = [
        pointer, number, ctypes.c_int, ctypes.c_uint, ctypes.POINTER(_Comparison),
    ]  # fmt: skip
    return seccomp


@contextmanager
def _filter(seccomp: ctypes.CDLL, architecture: str | None = None) -> Iterator[int]:
    """The filter as libseccomp holds it, for this computer's architecture or another one."""
    context = seccomp.seccomp_init(_ERRNO | errno.EPERM)
    if not context:
        raise SeccompUnavailable("libseccomp could not make a filter")
    try:
        if architecture is not None and architecture != os.uname().machine:
            token = seccomp.seccomp_arch_resolve_name(architecture.encode())
            _checked(seccomp.seccomp_arch_add(context, token), f"a filter for {architecture}")
            _checked(seccomp.seccomp_arch_remove(context, _NATIVE), f"a filter for {architecture} alone")
        for name in _NEEDED.split():
            _rule(seccomp, context, _ALLOW, name)
        for name in ABSENT:
            _rule(seccomp, context, _ERRNO | errno.ENOSYS, name)
        _rule(seccomp, context, _ALLOW, "open", _Comparison(1, _MASKED_EQUAL, _WRITING, 0))
        _rule(seccomp, context, _ALLOW, "openat", _Comparison(2, _MASKED_EQUAL, _WRITING, 0))
        _rule(seccomp, context, _ALLOW, "clone", _Comparison(0, _MASKED_EQUAL, _CLONE_THREAD, _CLONE_THREAD))
        # A limit may be read, not set; a signal may go to this process alone.
        _rule(seccomp, context, _ALLOW, "prlimit64", _Comparison(2, _EQUAL, 0, 0))
        _rule(seccomp, context, _ALLOW, "tgkill", _Comparison(0, _MASKED_EQUAL, _INT, os.getpid()))
        for option in _PRCTL_ALLOWED:
            _rule(seccomp, context, _ALLOW, "prctl", _Comparison(0, _MASKED_EQUAL, _INT, option))
        yield context
    finally:
        seccomp.seccomp_release(context)


def _rule(seccomp: ctypes.CDLL, context: int, action: int, name: str, comparison: _Comparison | None = None) -> None:
    number = seccomp.seccomp_syscall_resolve_name(name.encode())
    if number == -1:
        return  # newer than this library: it stays refused
    given = ctypes.byref(comparison) if comparison is not None else None
    _checked(
        seccomp.seccomp_rule_add_array(context, action, number, int(comparison is not None), given),
        f"a rule for {name}",
    )


def _checked(result: int, what: str) -> None:
    if result < 0:
        raise SeccompUnavailable(f"seccomp: {what} failed: {os.strerror(-result)}")
