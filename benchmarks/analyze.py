"""How long a ten-second clip with twelve policies takes on this machine: `./run bench analyze`, JSON on stdout.

The model is loaded before the clock starts. Seconds are medians of several runs, by stage: preparing (ffmpeg, shots),
analyzing (tower, prefix, twelve scores and a caption a segment), finishing (summary, chapters, flags).
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

import numpy as np
import torch

from vidlm.config import load_settings
from vidlm.moderation.policies import PolicySet, load_policies
from vidlm.pipeline import analyze_windows, finish
from vidlm.preparation import prepare
from vidlm.running import load_engine
from vidlm.seeing import Eyes
from vidlm.toyworld.files import encode_clip
from vidlm.toyworld.world import EVAL_SEEDS, sample_clip

RUNS: Final = 5
POLICIES: Final = 12


def main() -> None:
    argparse.ArgumentParser(prog="./run bench analyze", description=__doc__).parse_args()
    settings = load_settings()
    built_in = load_policies()
    policies = PolicySet(built_in.version, built_in.policies[:POLICIES])
    seconds: dict[str, list[float]] = {"preparing": [], "analyzing": [], "finishing": []}
    with load_engine(None, settings) as engine, tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "ten.mp4"
        clip = sample_clip(np.random.default_rng(EVAL_SEEDS.start), duration_s=10.0)
        encode_clip(clip, source, height=240, width=320, fps=15, audio=False)
        for run in range(RUNS + 1):
            marks = [time.perf_counter()]
            geometry = engine.info.geometry
            prepared = prepare(
                source, Path(folder) / str(run), filename="ten.mp4", geometry=geometry, settings=settings
            )
            marks.append(time.perf_counter())
            segments = analyze_windows(prepared, prepared.windows, Eyes(engine), policies)
            marks.append(time.perf_counter())
            finish(prepared, segments, engine, policies, settings)
            marks.append(time.perf_counter())
            if run > 0:  # the first warms caches
                for stage, start, end in zip(seconds, marks, marks[1:], strict=False):
                    seconds[stage].append(end - start)
    medians = {stage: round(statistics.median(values), 3) for stage, values in seconds.items()}
    result = {
        "benchmark": "analyze",
        "clip_s": 10,
        "policies": POLICIES,
        "model": engine.info.model_id,
        "device": engine.info.device,
        "threads": torch.get_num_threads(),
        "seconds": medians | {"total": round(sum(medians.values()), 3)},
    }
    json.dump(result, sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main()
