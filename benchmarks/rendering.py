"""How many frames of the toy world one core draws in a second: `./run bench rendering`, `--json FILE` to keep it.

Random clips of eight seconds at 24 frames a second, in memory and without an encoder. Seconds are those the processor
spent on it, so that others on the machine count little.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any, Final

import numpy as np

from vidlm.toyworld.draw import render
from vidlm.toyworld.scene import Clip
from vidlm.toyworld.world import EVAL_SEEDS, sample_clip

CLIPS: Final = 20
SECONDS: Final = 8.0
FPS: Final = 24
HEIGHT, WIDTH = 120, 160


def main() -> None:
    parser = argparse.ArgumentParser(prog="./run bench rendering", description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result there too")
    options = parser.parse_args()
    clips = [sample_clip(np.random.default_rng(EVAL_SEEDS.start + index), duration_s=SECONDS) for index in range(CLIPS)]
    frames_per_s(clips[0])  # warms caches
    found = [frames_per_s(clip) for clip in clips]
    result: dict[str, Any] = {
        "benchmark": "rendering",
        "width": WIDTH,
        "height": HEIGHT,
        "clips": CLIPS,
        "frames_a_clip": round(SECONDS * FPS),
        "frames_per_s": round(statistics.median(found)),
        "lowest": round(min(found)),
        "highest": round(max(found)),
    }
    text = json.dumps(result, indent=2)
    print(text)
    if options.json:
        options.json.write_text(text + "\n", encoding="utf-8")


def frames_per_s(clip: Clip) -> float:
    """Frames drawn in a second of the processor's time."""
    times_s = np.arange(round(SECONDS * FPS)) / FPS
    began_s = time.process_time()
    render(clip, times_s, HEIGHT, WIDTH)
    return len(times_s) / (time.process_time() - began_s)


if __name__ == "__main__":
    main()
