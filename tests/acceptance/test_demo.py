"""The demo from outside: everything it promises is shown, the service stays up, and Ctrl-C leaves nothing behind."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEED_INTERRUPTS = (
    sys.executable,
    "-c",
    "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); os.execv(sys.argv[1], sys.argv[1:])",
)
"""As in a terminal. What a shell starts in the background ignores SIGINT, and its children would, too."""


def alive_with(marker: str) -> list[str]:
    """Command lines of the processes whose environment or arguments hold `marker`, zombies left out."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            environment = (folder / "environ").read_bytes().decode(errors="replace")
        except OSError:
            continue  # it ended meanwhile, or is not ours to read
        if command and marker in command + environment:
            found.append(command)
    return found


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc to see what is left behind")
def test_demo_shows_everything_stays_up_and_leaves_nothing_behind(tmp_path: Path) -> None:
    report_file, log = tmp_path / "shown.json", tmp_path / "output.txt"
    marker = str(tmp_path / "data")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("VIDLM_")}
    env = kept | {"PYTHONPATH": str(ROOT), "VIDLM_DATA": marker, "VIDLM_PORT": "0", "COLUMNS": "200"}
    command = [*HEED_INTERRUPTS, sys.executable, "-m", "vidlm.cli", "demo", "--json", str(report_file)]
    with log.open("w") as output:
        process = subprocess.Popen(
            command,
            env=env,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            deadline = time.monotonic() + 240
            while "stays up" not in log.read_text() and process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.2)
            assert process.poll() is None, log.read_text()
            shown = json.loads(report_file.read_text())
            with urllib.request.urlopen(f"{shown['address']}/healthz", timeout=10) as answer:
                assert answer.status == 200
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 0, log.read_text()
        finally:
            process.terminate()
            process.wait(60)
    assert alive_with(marker) == []
    check(shown, log.read_text())


def check(shown: dict[str, object], text: str) -> None:
    """What a person saw, and what was written down of it."""
    clips = shown["clips"]
    assert isinstance(clips, list)
    assert shown["ok"] is True
    assert shown["toy_model"] is True
    assert len(clips) == 8
    for clip in clips:
        assert clip["state"] == "ready"
        assert clip["caption"]
        assert clip["verdict"] in ("allow", "review", "block")
        assert clip["seconds"] > 0
        assert clip["clip"] in text
    question = shown["question"]
    assert isinstance(question, dict)
    assert question["state"] == "ready"
    answer = question["answer"]
    assert answer["abstained"] or answer["evidence"]
    assert answer["text"] in text
    assert "toy model" in text
    assert "VIDLM_MODEL" in text
