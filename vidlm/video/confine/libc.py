"""System calls that Python has no name for. Linux only; everything raises `OSError` with the kernel's own reason."""

import ctypes
import os
import platform
from typing import Final

PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h
PR_SET_SECCOMP: Final = 22
PR_SET_NO_NEW_PRIVS: Final = 38

MACHINE: Final = platform.machine()
_library = ctypes.CDLL(None, use_errno=True)


def call(number: int, *arguments: int | bytes | None) -> int:
    """The system call of that number: integers, addresses, and byte strings that end in a zero byte."""
    result: int = _library.syscall(ctypes.c_long(number), *[_word(value) for value in arguments])
    return _checked(result)


def prctl(option: int, *arguments: int) -> None:
    """See prctl(2)."""
    _checked(_library.prctl(ctypes.c_int(option), *[ctypes.c_ulong(value) for value in (*arguments, 0, 0, 0, 0)[:4]]))


def mount(source: str, target: str, kind: str, flags: int, options: str = "") -> None:
    """See mount(2)."""
    texts = [os.fsencode(value) for value in (source, target, kind)]
    _checked(_library.mount(*texts, ctypes.c_ulong(flags), os.fsencode(options)))


def unmount(target: str, flags: int) -> None:
    """See umount2(2)."""
    _checked(_library.umount2(os.fsencode(target), flags))


def unshare(flags: int) -> None:
    """See unshare(2)."""
    _checked(_library.unshare(flags))


def _word(value: int | bytes | None) -> ctypes.c_long | bytes | None:
    return ctypes.c_long(value) if isinstance(value, int) else value


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
