"""Children of the decoder's sandbox that hang, each in its own way, some with children of their own."""

from __future__ import annotations

import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from vidlm.video.sandbox import Confinement, run

DEADLINE_S: Final = 1.0
_WAYS: Final = (
    "import time; time.sleep(600)",
    "while True: pass",
    "import signal, time; [signal.signal(n, signal.SIG_IGN) for n in (1, 2, 3, 15)]; time.sleep(600)",
    "import contextlib, os, time\nwith contextlib.suppress(OSError): os.fork()\ntime.sleep(600)",  # where it may
)


def main(count: int) -> None:
    """Print the longest time past the deadline, how many were killed, and how many zombies are left of them."""

    def hang(number: int) -> float:
        began_s = time.monotonic()
        program = (sys.executable, "-I", "-S", "-c", _WAYS[number % len(_WAYS)])
        finished = run(program, folder=Path.cwd(), confinement=Confinement(deadline_s=DEADLINE_S))
        assert finished.timed_out, finished
        return time.monotonic() - began_s - DEADLINE_S

    with ThreadPoolExecutor(10) as pool:
        late_s = list(pool.map(hang, range(count)))
    print(round(max(late_s), 3), len(late_s), _zombies())


def _zombies() -> int:
    """Children of this process, and of nobody, that ended and were not reaped."""
    found = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = stat.read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue
        found += state == "Z" and int(parent) == os.getpid()
    return found
