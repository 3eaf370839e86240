"""The filter's instructions, run one by one: what the kernel will do, on processors that are not at hand as well."""

from __future__ import annotations

import errno
import struct

import pytest

from vidlm.video.confine import seccomp

ALLOW, KILL = 0x7FFF0000, 0x80000000
REFUSE, UNKNOWN = 0x00050000 | errno.EPERM, 0x00050000 | errno.ENOSYS
PID = 4321
THREAD = 0x003D0F00  # the flags glibc starts a thread with
FORK = 0x01200011

# from the kernel's tables: read, openat, mmap, futex, execve, exit_group, close
USED = {"x86_64": (0, 257, 9, 202, 59, 231, 3), "aarch64": (63, 56, 222, 98, 221, 94, 57)}
# socket, connect, ptrace, mount, unshare, setns, bpf, kill
HARMFUL = {"x86_64": (41, 42, 101, 165, 272, 308, 321, 62), "aarch64": (198, 203, 117, 40, 97, 268, 280, 129)}


def verdict(program: bytes, *, architecture: int, number: int, first: int = 0) -> int:
    """What classic BPF (Documentation/networking/filter.rst) makes of one system call."""
    data = struct.pack("<iIQ6Q", number & 0x7FFFFFFF, architecture, 0, first, 0, 0, 0, 0, 0)
    lines = list(struct.iter_unpack("<HBBI", program))
    at, accumulator = 0, 0
    while True:
        operation, if_true, if_false, value = lines[at]
        at += 1
        if operation == 0x20:
            (accumulator,) = struct.unpack_from("<I", data, value)
        elif operation == 0x06:
            return int(value)
        else:
            test = {0x15: accumulator == value, 0x35: accumulator >= value, 0x45: bool(accumulator & value)}[operation]
            at += if_true if test else if_false


@pytest.mark.parametrize("name", seccomp.MACHINES)
def test_every_call_gets_the_verdict_it_should(name: str) -> None:
    machine = seccomp.MACHINES[name]
    program = seccomp.program(machine, PID)

    def of(number: int, first: int = 0) -> int:
        return verdict(program, architecture=machine.architecture, number=number, first=first)

    assert {of(number) for number in USED[name]} == {ALLOW}
    assert {of(number) for number in (*machine.refused, *HARMFUL[name])} == {REFUSE}
    assert of(seccomp._CLONE3) == UNKNOWN
    assert {of(number) for number in (470, 500, 5000)} == {UNKNOWN}
    assert (of(machine.clone, THREAD), of(machine.clone, FORK)) == (ALLOW, REFUSE)
    assert (of(machine.tgkill, PID), of(machine.tgkill, 1)) == (ALLOW, REFUSE)
    assert (of(machine.prlimit, 0), of(machine.prlimit, 1)) == (ALLOW, REFUSE)


@pytest.mark.parametrize("name", seccomp.MACHINES)
def test_calls_of_another_architecture_end_the_process(name: str) -> None:
    machine = seccomp.MACHINES[name]
    program = seccomp.program(machine, PID)
    assert verdict(program, architecture=0x40000003, number=3) == KILL  # 32-bit x86
    assert verdict(program, architecture=machine.architecture, number=0x40000000) == KILL  # x32
