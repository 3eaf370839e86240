"""`python -m vidlm.child PARENT_PID COMMAND...`: become COMMAND, as a process that does not outlive its parent.

Linux kills it when its parent goes, however that came about. This is a program of its own, and not code that runs
between fork and exec, because the parent has threads and such code can deadlock. Elsewhere it just becomes COMMAND.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # linux/prctl.h


def main() -> None:
    """Tie this process to its parent, then become the command; the setting survives that."""
    parent, command = int(sys.argv[1]), sys.argv[2:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it went before we asked to be told
            sys.exit(1)
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
