"""The filter of system calls as the kernel of a Pi, and of this computer, would run it: decided call by call."""

import errno
import os
import struct
import tempfile

import pytest

from host.boundary.seccomp import SeccompUnavailable, restrict_calls, write_program

# Numbers from the kernel's tables (arch/x86/entry/syscalls/syscall_64.tbl; include/uapi/asm-generic/unistd.h).
NUMBERS = {
    "x86_64": {
        "read": 0, "write": 1, "close": 3, "mmap": 9, "ioctl": 16, "openat": 257, "clone": 56, "fork": 57,
        "execve": 59, "kill": 62, "tgkill": 234, "ptrace": 101, "prctl": 157, "socket": 41, "connect": 42, "sendto": 44,
        "sendmsg": 46, "bind": 49, "memfd_create": 319, "unlinkat": 263, "mkdirat": 258, "renameat2": 316,
        "ftruncate": 77, "process_vm_writev": 311, "prlimit64": 302, "futex": 202, "add_key": 248, "shmget": 29,
        "mknodat": 259, "linkat": 265, "execveat": 322, "userfaultfd": 323,
    },
    "aarch64": {
        "read": 63, "write": 64, "close": 57, "mmap": 222, "ioctl": 29, "openat": 56, "clone": 220, "execve": 221,
        "kill": 129, "tgkill": 131, "ptrace": 117, "prctl": 167, "socket": 198, "connect": 203, "sendto": 206,
        "sendmsg": 211, "bind": 200, "memfd_create": 279, "unlinkat": 35, "mkdirat": 34, "renameat2": 276,
        "ftruncate": 46, "process_vm_writev": 271, "prlimit64": 261, "futex": 98, "add_key": 217, "shmget": 194,
        "mknodat": 33, "linkat": 37, "execveat": 281, "userfaultfd": 282,
    },
}  # fmt: skip
# The same on both.
for _numbers in NUMBERS.values():
    _numbers |= {
        "clone3": 435,
        "openat2": 437,
        "io_uring_setup": 425,
        "pidfd_getfd": 438,
        "landlock_restrict_self": 446,
    }
AUDIT = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
ALLOW, KILL = 0x7FFF0000, 0x80000000
EPERM, ENOSYS = 0x00050000 | errno.EPERM, 0x00050000 | errno.ENOSYS
O_DIRECTORY_ON_ARM = 0o40000


def run(program: bytes, call: bytes) -> int:
    """What a classic BPF program (linux/filter.h) returns for a call's struct seccomp_data."""
    instructions = list(struct.iter_unpack("<HBBI", program))
    at = accumulator = 0
    while True:
        code, if_true, if_false, k = instructions[at]
        at += 1
        match code:
            case 0x20:  # load a word
                (accumulator,) = struct.unpack_from("<I", call, k)
            case 0x54:  # and
                accumulator &= k
            case 0x05:  # jump
                at += k
            case 0x15:
                at += if_true if accumulator == k else if_false
            case 0x25:
                at += if_true if accumulator > k else if_false
            case 0x35:
                at += if_true if accumulator >= k else if_false
            case 0x45:
                at += if_true if accumulator & k else if_false
            case 0x06:
                return int(k)
            case _:
                raise AssertionError(f"an instruction {code:#x} that libseccomp is not known to write")


@pytest.fixture(scope="module", params=sorted(NUMBERS))
def decide(request: pytest.FixtureRequest):  # type: ignore[no-untyped-def]
    """Gives what the filter of an architecture does with a call and its arguments."""
    architecture = request.param
    with tempfile.TemporaryFile() as file:
        try:
            write_program(file.fileno(), architecture)
        except SeccompUnavailable as error:
            pytest.skip(str(error))
        file.seek(0)
        program = file.read()

    def decision(name: str | int, *arguments: int, audit: int = AUDIT[architecture]) -> int:
        number = name if isinstance(name, int) else NUMBERS[architecture][name]
        padded = (*arguments, *[0] * (6 - len(arguments)))
        return run(program, struct.pack("<IIQ6Q", number, audit, 0, *padded))

    return decision


def test_what_is_needed_passes(decide) -> None:  # type: ignore[no-untyped-def]
    for name in ("read", "write", "close", "mmap", "ioctl", "futex"):
        assert decide(name) == ALLOW, name
    assert decide("openat", 0, 0, os.O_RDONLY | os.O_CLOEXEC) == ALLOW
    assert decide("openat", 0, 0, O_DIRECTORY_ON_ARM) == ALLOW
    assert decide("clone", 0x3D0F00) == ALLOW  # what pthread_create asks for
    assert decide("tgkill", os.getpid(), 1, 6) == ALLOW
    assert decide("prlimit64", 0, 7, 0) == ALLOW
    assert decide("prctl", 15) == ALLOW


def test_what_could_carry_a_frame_away_does_not(decide) -> None:  # type: ignore[no-untyped-def]
    refused = (
        "execve", "execveat", "kill", "ptrace", "socket", "connect", "bind", "sendto", "sendmsg", "memfd_create",
        "unlinkat", "mkdirat", "renameat2", "mknodat", "linkat", "ftruncate", "process_vm_writev", "add_key", "shmget",
        "userfaultfd", "io_uring_setup", "pidfd_getfd", "landlock_restrict_self",
    )  # fmt: skip
    for name in refused:
        assert decide(name) == EPERM, name
    for flags in (os.O_WRONLY, os.O_RDWR, os.O_CREAT, os.O_TRUNC, os.O_APPEND, os.O_RDONLY | os.O_CREAT):
        assert decide("openat", 0, 0, flags) == EPERM
    assert decide("clone", 17) == EPERM  # what fork asks for: SIGCHLD and no thread
    assert decide("clone", 0x10000000) == EPERM  # a namespace
    assert decide("tgkill", 1, 1, 9) == EPERM
    assert decide("prlimit64", 0, 7, 0x7FFF0000) == EPERM
    assert decide("prctl", 4, 1) == EPERM  # to be dumpable again
    assert decide("prctl", 22, 0) == EPERM


def test_calls_that_cannot_be_judged_are_absent(decide) -> None:  # type: ignore[no-untyped-def]
    assert decide("clone3") == ENOSYS
    assert decide("openat2") == ENOSYS


def test_calls_of_the_future_and_of_other_architectures_are_refused(decide) -> None:  # type: ignore[no-untyped-def]
    assert {decide(number) for number in range(480, 2000)} == {EPERM}
    assert decide("read", audit=0x40000003) in (KILL, 0)  # i386 on the same computer: the process or thread ends


def test_without_the_library_it_says_what_to_install() -> None:
    with pytest.raises(SeccompUnavailable, match="apt-get install libseccomp2"):
        restrict_calls("libnothing.so")
