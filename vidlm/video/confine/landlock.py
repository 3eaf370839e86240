"""Landlock: from here on this process reads what it was granted, writes into one folder, and reaches no network.

The kernel's own interface (Documentation/userspace-api/landlock.rst), Linux 5.13 and later, no privilege needed. What a
kernel does not know yet is left out; `LEAST_ABI` is the first version that can also keep a process from truncating.
"""

import ctypes
import os
import stat
from collections.abc import Sequence
from typing import Final

from vidlm.video.confine import libc

LEAST_ABI: Final = 3
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same numbers on every machine
_VERSION: Final = 1
_PATH_BENEATH: Final = 1

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_REMOVE_FILE, _MAKE_REG, _TRUNCATE = 1 << 5, 1 << 8, 1 << 14
_READ: Final = _EXECUTE | _READ_FILE | _READ_DIR
_WRITE: Final = _WRITE_FILE | _READ_FILE | _READ_DIR | _REMOVE_FILE | _MAKE_REG | _TRUNCATE
_OF_A_FILE: Final = _EXECUTE | _READ_FILE  # rights that make sense for something that is no folder
_HANDLED_FILES: Final = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 5: (1 << 16) - 1}
_HANDLED_NETWORK: Final = 0b11  # ABI 4: TCP bind and connect
_SCOPED: Final = 0b11  # ABI 6: abstract sockets, signals


class _Ruleset(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("network", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _layout_ = "ms"
    _fields_ = (("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32))


def abi() -> int:
    """The kernel's version of Landlock. Raises `OSError` where it has none or it is off."""
    return libc.call(_CREATE_RULESET, None, 0, _VERSION)


def restrict(read: Sequence[str], folder: str) -> None:
    """Allow reading (and executing) below the paths of `read`, and writing files into `folder`; nothing else.

    Needs `PR_SET_NO_NEW_PRIVS`. Paths that do not exist are passed over. Raises `OSError`.
    """
    version = abi()
    if version < LEAST_ABI:
        raise OSError(f"the kernel's Landlock is version {version}, {LEAST_ABI} is needed")
    handled = _HANDLED_FILES[max(known for known in _HANDLED_FILES if known <= version)]
    rules = _Ruleset(handled, _HANDLED_NETWORK if version >= 4 else 0, _SCOPED if version >= 6 else 0)
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    ruleset = libc.call(_CREATE_RULESET, ctypes.addressof(rules), size, 0)
    for path in read:
        _allow(ruleset, path, _READ)
    _allow(ruleset, folder, _WRITE)
    libc.call(_RESTRICT_SELF, ruleset, 0)
    os.close(ruleset)


def _allow(ruleset: int, path: str, rights: int) -> None:
    try:
        handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        if not stat.S_ISDIR(os.fstat(handle).st_mode):
            rights &= _OF_A_FILE
        rule = _PathBeneath(rights, handle)
        libc.call(_ADD_RULE, ruleset, _PATH_BENEATH, ctypes.addressof(rule), 0)
    finally:
        os.close(handle)
