"""Named points at which a process can be made to die at once, as by SIGKILL: for `./run faults` and nothing else.

    VIDLM_CRASH_AT="upload.placed:0.1,relay.taken"    die at the first in one of ten passages, at the second always

An entry point arms them (`arm`); where nobody did, `point` does nothing.
"""

from __future__ import annotations

import os
import random
import signal
from typing import Final

VARIABLE: Final = "VIDLM_CRASH_AT"

_armed: dict[str, float] = {}


def arm() -> None:
    """Take the points from the environment, once, when a process begins."""
    for part in filter(None, os.environ.get(VARIABLE, "").split(",")):
        name, _, chance = part.partition(":")
        _armed[name] = float(chance or 1)


def point(name: str) -> None:
    """Die here, if that is wanted."""
    if _armed and random.random() < _armed.get(name, 0.0):
        os.kill(os.getpid(), signal.SIGKILL)
