"""The last thing that runs before a decoder does: limits its own process, then becomes the program it was given.

A program, not a module: `python -I -S confine.py LIMITS PROGRAM ARGUMENT...`, LIMITS being a JSON object of `resource`
names (without `RLIMIT_`) to numbers, plus `parent`, the process that must be alive. It knows nothing of video. It
exists because limits set between fork and exec from a threaded Python (`preexec_fn`) can deadlock; here exec happens
first. Exit status 127: the program could not be started.
"""

import json
import os
import resource
import signal
import sys

CANNOT_START = 127
PR_SET_PDEATHSIG = 1  # linux/prctl.h


def _die_with(parent: int) -> None:
    """Have the kernel kill this process when the one that waits for it dies (Linux), so that no decoder is orphaned."""
    if sys.platform == "linux":
        import ctypes  # noqa: PLC0415 -- 10 ms that other systems need not pay

        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            sys.exit(CANNOT_START)


def main(limits: dict[str, int], program: list[str]) -> None:
    """Lower the limits and exec. A limit the system does not know is skipped, never raised."""
    _die_with(limits.pop("parent"))
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
    try:
        os.execv(program[0], program)
    except OSError as exc:
        sys.stderr.write(f"cannot start {os.path.basename(program[0])}: {exc.strerror}\n")  # noqa: PTH119 -- no pathlib: starts fast
        sys.exit(CANNOT_START)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]), sys.argv[2:])
