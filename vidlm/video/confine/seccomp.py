"""seccomp: a filter in the kernel that refuses every system call a decoder has no business with.

A list of what is refused, and not of what is allowed, because what a C library calls changes from release to release
and a decoder that dies of a new `futex` helps nobody. Calls younger than this list are refused as unknown, so the list
does not rot. Refused are: other processes and signals to them, the network, mounts and namespaces, shared memory,
owners, modes and times of files, and the kernel's own machinery. Threads are allowed, processes are not.

The filter is classic BPF (Documentation/userspace-api/seccomp_filter.rst); numbers are those of the kernel's tables for
x86-64 and 64-bit Arm.
"""

import ctypes
import errno
import os
import struct
from typing import Final, NamedTuple

from vidlm.video.confine import libc

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06  # BPF opcodes
_NUMBER, _ARCHITECTURE, _FIRST, _SECOND = 0, 4, 16, 24  # offsets in struct seccomp_data; arguments by their low words
_ALLOW, _KILL = 0x7FFF0000, 0x80000000
_FILTER_MODE: Final = 2
_CLONE_THREAD: Final = 0x10000
_CLONE3: Final = 435
_X32: Final = 0x40000000
_YOUNGEST: Final = 463
"""Calls from here on did not exist when this list was made (Linux 6.12)."""


class Machine(NamedTuple):
    """A processor's numbers. `refused`: calls that fail with EPERM."""

    architecture: int
    clone: int
    tgkill: int
    prlimit: int
    refused: tuple[int, ...]


_EVERYWHERE: Final = (
    *(424, 434, 438, 440, 448),  # pidfd_*, process_madvise, process_mrelease
    *(425, 426, 427),  # io_uring
    *(428, 429, 430, 431, 432, 433, 442, 457, 458),  # mounts
    *(443, 452, 447),  # quotactl_fd, fchmodat2, memfd_secret
    *(444, 445, 446),  # Landlock is on already
)
MACHINES: Final = {
    "x86_64": Machine(
        architecture=0xC000003E,
        clone=56,
        tgkill=234,
        prlimit=302,
        refused=(
            *_EVERYWHERE,
            *(41, 42, 43, 44, 46, 49, 50, 53, 288, 299, 307),  # socket, connect, accept, send*, bind, listen, ...
            *(57, 58, 62, 109, 112, 129, 200, 297),  # fork, vfork, kill, setpgid, setsid, rt_sigqueueinfo, tkill
            *(101, 310, 311, 312),  # ptrace, process_vm_*, kcmp
            *(155, 161, 165, 166, 272, 308),  # pivot_root, chroot, mount, umount2, unshare, setns
            *(29, 30, 31, 64, 65, 66, 68, 69, 70, 71, 220, 240, 241, 242, 243, 244, 245),  # System V and POSIX queues
            *(90, 91, 92, 93, 94, 132, 188, 189, 190, 197, 198, 199, 235, 260, 261, 268, 280, 463),  # owners, modes
            *(133, 259),  # mknod
            *(175, 176, 246, 313, 320),  # modules, kexec
            *(135, 153, 154, 159, 163, 164, 167, 168, 169, 170, 171, 172, 173, 179, 227, 305),  # the machine's state
            *(103, 134, 212, 248, 249, 250, 298, 300, 303, 304, 321, 323),  # logs, keys, bpf, perf, handles, faults
        ),
    ),
    "aarch64": Machine(
        architecture=0xC00000B7,
        clone=220,
        tgkill=131,
        prlimit=261,
        refused=(
            *_EVERYWHERE,
            *(198, 199, 200, 201, 202, 203, 206, 211, 242, 243, 269),
            *(129, 130, 138, 154, 157, 240),
            *(117, 270, 271, 272),
            *(39, 40, 41, 51, 97, 268),
            *(180, 181, 182, 183, 184, 185, 186, 187, 188, 189, 190, 191, 192, 193, 194, 195, 196),
            *(5, 6, 7, 14, 15, 16, 52, 53, 54, 55, 88, 463),
            *(33,),
            *(104, 105, 106, 273, 294),
            *(58, 60, 89, 92, 112, 142, 161, 162, 170, 171, 224, 225, 266),
            *(18, 116, 217, 218, 219, 241, 262, 264, 265, 280, 282),
        ),
    ),
}


def restrict() -> None:
    """Put the filter on this process and whatever it becomes. Needs `PR_SET_NO_NEW_PRIVS`. Raises `OSError`."""
    machine = MACHINES.get(libc.MACHINE)
    if machine is None:
        raise OSError(f"no filter is known for {libc.MACHINE} processors")
    code = ctypes.create_string_buffer(program(machine, os.getpid()))
    header = struct.pack("HxxxxxxP", len(code.raw) // 8, ctypes.addressof(code))
    held = ctypes.create_string_buffer(header)
    libc.prctl(libc.PR_SET_SECCOMP, _FILTER_MODE, ctypes.addressof(held))


def program(machine: Machine, pid: int) -> bytes:
    """The filter as BPF instructions, for a process that may signal itself (`pid`, as `abort` does) and nobody else."""
    refuse, unknown = _error(errno.EPERM), _error(errno.ENOSYS)
    lines = [
        _line(_LOAD, _ARCHITECTURE),
        _line(_EQUAL, machine.architecture, 1, 0),  # 32-bit calls have other numbers: they would slip through
        _line(_RETURN, _KILL),
        _line(_LOAD, _NUMBER),
        *_if(_AT_LEAST, _X32, _line(_RETURN, _KILL)),
        *_if(_AT_LEAST, _YOUNGEST + 1, _line(_RETURN, unknown)),
        *_if(_EQUAL, _CLONE3, _line(_RETURN, unknown)),  # its flags lie in memory, out of sight: `clone` is used then
    ]
    for number in machine.refused:
        lines += _if(_EQUAL, number, _line(_RETURN, refuse))
    lines += [
        *_when(machine.clone, _FIRST, _line(_ANY_BIT, _CLONE_THREAD, 1, 0), refuse),
        *_when(machine.tgkill, _FIRST, _line(_EQUAL, pid, 1, 0), refuse),
        *_when(machine.prlimit, _FIRST, _line(_EQUAL, 0, 1, 0), refuse),
        _line(_RETURN, _ALLOW),
    ]
    return b"".join(lines)


def _line(operation: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("HBBI", operation, if_true, if_false, value)


def _if(test: int, value: int, then: bytes) -> list[bytes]:
    return [_line(test, value, 0, 1), then]


def _when(number: int, argument: int, allowed: bytes, verdict: int) -> list[bytes]:
    """For the call `number`: the verdict, unless `allowed` jumps over it. Ends the filter for that call."""
    return [
        _line(_EQUAL, number, 0, 4),
        _line(_LOAD, argument),
        allowed,
        _line(_RETURN, verdict),
        _line(_RETURN, _ALLOW),
    ]


def _error(number: int) -> int:
    return 0x00050000 | number
