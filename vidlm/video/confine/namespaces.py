"""Namespaces: a root of its own that holds what was granted and nothing else, and a network without any device.

The way of bubblewrap, without its binary: a user namespace gives this process the right to mount in a mount namespace
of its own; there an empty tmpfs becomes `/`, the granted paths are bound into it read-only, one folder writable, and
the old root is let go. Needs no privilege where user namespaces are allowed, and none is left afterwards.
"""

import ctypes
import os
import resource
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from vidlm.video.confine import libc

_NEW_USER, _NEW_MOUNTS, _NEW_NETWORK, _NEW_IPC = 0x10000000, 0x00020000, 0x40000000, 0x08000000
_BIND, _RECURSIVE, _PRIVATE, _NOSUID, _NODEV, _READ_ONLY, _REMOUNT = 4096, 16384, 1 << 18, 2, 4, 1, 32
_DETACH: Final = 2
_PIVOT_ROOT: Final = {"x86_64": 155, "aarch64": 41}
_MOUNT_SETATTR: Final = 442
_AT_FDCWD, _AT_RECURSIVE = -100, 0x8000
_ATTR_READ_ONLY, _ATTR_NOSUID = 0x1, 0x2
_NOBODY: Final = 65534
_OLD: Final = Path("/.old")
_MOST_LINKS: Final = 40
_DEVICES: Final = ("/dev/null", "/dev/zero", "/dev/urandom")


class _Attributes(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_uint64) for name in ("set", "clear", "propagation", "user_namespace"))


def enter(read: Sequence[str], folder: str, processes: int) -> None:
    """See `read` and `folder` only, at the paths they had, with at most `processes` threads. Raises `OSError`."""
    pivot = _PIVOT_ROOT.get(libc.MACHINE)
    if pivot is None:
        raise OSError(f"pivot_root is not known for {libc.MACHINE} processors")
    user, group = os.geteuid(), os.getegid()
    libc.unshare(_NEW_USER | _NEW_MOUNTS | _NEW_NETWORK | _NEW_IPC)
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{_NOBODY} {user} 1")
    Path("/proc/self/gid_map").write_text(f"{_NOBODY} {group} 1")
    # counted from naught in a new user namespace: elsewhere all of a user's processes would count
    resource.setrlimit(resource.RLIMIT_NPROC, (processes, processes))
    libc.mount("none", "/", "", _RECURSIVE | _PRIVATE)
    hidden = Path("/tmp")  # a folder that is everywhere; what it holds is seen again below
    libc.mount("tmpfs", str(hidden), "tmpfs", _NOSUID | _NODEV, "size=64k,mode=0755")
    (hidden / _OLD.name).mkdir()
    os.chdir(hidden)
    libc.call(pivot, b".\0", _OLD.name.encode() + b"\0")
    os.chdir("/")
    for path in (*sorted(read), *_DEVICES):
        _show(Path(path), writable=False)
    _show(Path(folder), writable=True)
    libc.unmount(str(_OLD), _DETACH)
    _OLD.rmdir()
    libc.mount("none", "/", "", _REMOUNT | _BIND | _READ_ONLY | _NOSUID | _NODEV)
    os.chdir(folder)


def _show(path: Path, *, writable: bool) -> None:
    """Bind a path of the old root to the same path of the new one, symbolic links on the way included."""
    real = _follow(path)
    source = _old(real)
    if not source.exists() or (real.exists() and not writable):
        return
    _make_room(real, folder=source.is_dir())
    libc.mount(str(source), str(real), "", _BIND | _RECURSIVE)
    if not writable:
        wanted = _Attributes(_ATTR_READ_ONLY | _ATTR_NOSUID)
        size, target = ctypes.sizeof(wanted), bytes(real) + b"\0"
        libc.call(_MOUNT_SETATTR, _AT_FDCWD, target, _AT_RECURSIVE, ctypes.addressof(wanted), size)


def _follow(path: Path) -> Path:
    """Where a path of the old root leads, with every link on the way made anew."""
    for _ in range(_MOST_LINKS):
        link = next((part for part in (*reversed(path.parents), path) if _old(part).is_symlink()), None)
        if link is None:
            return path
        target = _old(link).readlink()
        if not link.is_symlink() and not link.exists():
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(target)
        path = Path(os.path.normpath(link.parent / target / path.relative_to(link)))
    raise OSError(f"too many links: {path}")


def _old(path: Path) -> Path:
    """The path as it is reached while the old root is still there."""
    return _OLD / path.relative_to("/")


def _make_room(path: Path, *, folder: bool) -> None:
    """Something to bind to: an empty folder or file, unless there is one."""
    if path.exists():
        return
    if folder:
        path.mkdir(parents=True)
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
