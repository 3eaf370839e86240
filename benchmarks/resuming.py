"""Does training that is killed end where training that is not ends? `./run bench resuming`, `--json FILE` to keep it.

Stage 1 by its own command, for the same minutes: once left alone, once killed (SIGKILL, its processes with it) at
random moments and gone on with. Both are then shown the same frame pairs that nobody learns from. Seeds tell what is
noise: how far two runs differ that were both left alone.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
from itertools import combinations
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from vidlm.toyworld.courses import Tiny, plainly
from vidlm.toyworld.dataset import SMALLER, sample_pairs
from vidlm.toyworld.losses import stage1_loss
from vidlm.toyworld.tokens import Vocabulary
from vidlm.toyworld.world import EVAL_SEEDS

PAIRS: Final = 96
"""Frame pairs that are shown of each size."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="./run bench resuming", description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0, help="of training, each run")
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=2, help="runs of each kind")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result there too")
    options = parser.parse_args()
    if options.seeds < 2:
        parser.error("--seeds: at least 2, or nobody can tell what is noise")
    alone, killed = [], []
    for seed in range(options.seeds):
        with tempfile.TemporaryDirectory(prefix="vidlm-resuming-") as folder:
            alone.append(run(Path(folder) / "alone", options.minutes, seed, kills=0))
            killed.append(run(Path(folder) / "killed", options.minutes, seed, kills=options.kills))
    names = ("kinds", "colours", "motions", "matched")
    result: dict[str, Any] = {
        "benchmark": "resuming",
        "minutes": options.minutes,
        "alone": alone,
        "killed": killed,
        "gap": {name: round(mean(killed, name) - mean(alone, name), 4) for name in names},
        "noise": {
            name: round(statistics.mean(abs(one[name] - other[name]) for one, other in combinations(alone, 2)), 4)
            for name in names
        },
    }
    text = json.dumps(result, indent=2)
    print(text)
    if options.json:
        options.json.write_text(text + "\n", encoding="utf-8")


def mean(runs: list[dict[str, float]], name: str) -> float:
    return statistics.mean(one[name] for one in runs)


def run(out: Path, minutes: float, seed: int, *, kills: int) -> dict[str, float]:
    """A whole run, killed so often on its way; what it can do then."""
    command = [sys.executable, "-m", "vidlm.cli", "train", "--stage", "1", "--minutes", str(minutes)]
    command += ["--seed", str(seed), "--out", str(out), "--resume"]
    when = random.Random(seed)
    happened = 0
    while True:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)
        try:
            # a state is kept every minute of training: some kills come before the first, and lose all since the last
            status = process.wait(timeout=when.uniform(20, 100) if happened < kills else None)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            happened += 1
            continue
        if status != 0:
            raise SystemExit(f"training ended with {status}")
        return {"kills": happened, **look(out, seed)}


@torch.inference_mode()
def look(out: Path, seed: int) -> dict[str, float]:
    """Shares of cells and pairs that nobody learnt from and that the averaged weights get right."""
    course = Tiny(1, out, seed)
    state = torch.load(out / "stage1.pt", weights_only=True)
    learner = course.learner().eval()
    learner.load_state_dict(state["average"])
    model: Any = learner["model"]
    towers: Any = learner["towers"]
    device = torch.device("cpu")
    found: list[dict[str, float]] = []
    with plainly(device):
        for number, size in enumerate(SMALLER):
            batch = sample_pairs(np.random.default_rng([EVAL_SEEDS.start, number]), size=size, count=PAIRS)
            found.append(stage1_loss(model, towers, batch, Vocabulary(course.tokenizer), device)[1])
    figures = {"kinds": "cell_kind", "colours": "cell_colour", "motions": "cell_motion", "matched": "match"}
    shares = {name: round(mean(found, figure), 4) for name, figure in figures.items()}
    return {"steps": state["step"], **shares}


if __name__ == "__main__":
    main()
