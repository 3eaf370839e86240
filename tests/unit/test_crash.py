"""Crash points kill where they are armed, as often as was asked, and are nothing anywhere else."""

import os
import signal
import subprocess
import sys

import pytest

from vidlm import crash

PASSAGES = """
from vidlm import crash
crash.point("a")
crash.arm()
for _ in range(200):
    crash.point("b")
print("past b", flush=True)
crash.point("a")
print("past a", flush=True)
"""


@pytest.mark.parametrize(
    ("armed", "printed", "status"),
    [
        ("", "past b past a", 0),
        ("a", "past b", -signal.SIGKILL),
        ("c,a:1", "past b", -signal.SIGKILL),
        ("b:0.5", "", -signal.SIGKILL),  # that it comes through 200 times: 1 in 2**200
        ("b:0,a:0", "past b past a", 0),
    ],
)
def test_a_process_dies_where_it_is_armed(armed: str, printed: str, status: int) -> None:
    environment = os.environ | {crash.VARIABLE: armed}
    done = subprocess.run(
        [sys.executable, "-c", PASSAGES], env=environment, capture_output=True, text=True, check=False
    )
    assert (" ".join(done.stdout.split()), done.returncode) == (printed, status)
