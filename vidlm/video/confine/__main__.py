"""The last thing that runs before a decoder does: confines its own process, then becomes the program it was given.

    python -I -S FOLDER_OF_THIS_FILE PLAN PROGRAM ARGUMENT...

PLAN is a JSON object (see `sandbox.py`, which writes it): `parent`, the process that must be alive; `limits`, names of
`resource` without `RLIMIT_`; `layers`, those of `LAYERS` to put on; `read`, paths to see; `processes`, how many threads
it may have. A program and not a `preexec_fn`, because what runs between fork and exec of a threaded Python can
deadlock. A layer that was asked for and cannot be put on ends it with `CANNOT_START`: never does a program start with
less than it was planned to have.
"""

import json
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))  # the folder that holds the package

from vidlm.video.confine import CANNOT_START, LANDLOCK, NAMESPACES, SECCOMP


def main(plan: dict[str, Any], program: list[str]) -> None:
    """Put on what the plan says, and exec."""
    try:
        if sys.platform == "linux":
            _die_with(plan["parent"])
        if plan["layers"]:
            _put_on(plan)
        _limit(plan["limits"])  # last: the memory limit is the program's, not this one's
        os.execve(program[0], program, {})
    except Exception as exc:  # noqa: BLE001  whatever it is, it is no fault of the file the program was to read
        reason = exc.strerror if isinstance(exc, OSError) else None
        sys.stderr.write(f"cannot start {Path(program[0]).name}: {reason or exc}\n")
        sys.exit(CANNOT_START)


def _die_with(parent: int) -> None:
    """Have the kernel kill this process when the one that waits for it dies, so that no decoder is orphaned."""
    from vidlm.video.confine import libc  # noqa: PLC0415  ctypes: 10 ms that other systems need not pay

    libc.prctl(libc.PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        raise OSError("whoever waited for it is gone")


def _put_on(plan: dict[str, Any]) -> None:
    from vidlm.video.confine import landlock, libc, namespaces, seccomp  # noqa: PLC0415

    layers, folder = plan["layers"], str(Path.cwd())
    if NAMESPACES in layers:
        namespaces.enter(plan["read"], folder, plan["processes"])
    libc.prctl(libc.PR_SET_NO_NEW_PRIVS, 1)
    if LANDLOCK in layers:
        landlock.restrict(plan["read"], folder)
    if SECCOMP in layers:
        seccomp.restrict()


def _limit(limits: dict[str, int]) -> None:
    """Lower the limits. One that the system does not know is skipped, and none is ever raised."""
    for name, value in limits.items():
        kind = getattr(resource, f"RLIMIT_{name}", None)
        if kind is None:
            continue
        hard = resource.getrlimit(kind)[1]
        ceiling = value if hard == resource.RLIM_INFINITY else min(value, hard)
        try:
            resource.setrlimit(kind, (ceiling, ceiling))
        except (OSError, ValueError):
            continue  # macOS refuses RLIMIT_AS; the wall deadline holds everywhere


if __name__ == "__main__":
    main(json.loads(sys.argv[1]), sys.argv[2:])
