"""What the stages of training are: their shares of a run, what each begins with, and how fast it learns.

`train.py` says what each of them is for. A stage's settings are where it departs from `TrainConfig`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

CORES: Final = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
"""That this process may use."""
STAGES: Final = {1: 0.18, 2: 0.54, 3: 0.2, 4: 0.08}
"""Each stage's share of a whole run's minutes."""
AFTER: Final = {2: 1, 3: 2}
"""The stage whose weights another one begins with; the others begin from nothing."""
SETTINGS: Final[dict[int, dict[str, Any]]] = {
    # stages 1 and 4 compare all pictures of a batch with each other, so they take more of them at once
    1: {"pairs_per_batch": 64, "accumulate": 2},
    # at full rate the vision tower forgets half of stage 1 at once, and the language model walks at random
    2: {"matrix_lr": 1e-2, "rate": 0.5, "seeing": 0.4, "pair_share": 0.2, "simpler": (0.2, 0.55)},
    3: {"matrix_lr": 1e-2, "seeing": 0.2, "pair_share": 0.25, "rate": 0.2},
    4: {"pairs_per_batch": 128, "accumulate": 2, "rate": 0.5},
}
"""Where a stage departs from `TrainConfig`."""
AGAIN: Final[dict[int, dict[str, Any]]] = {
    2: {"rate": 0.2, "seeing": 0.9, "pair_share": 0.4, "simpler": ()},
    3: {"rate": 0.1, "seeing": 0.9, "pair_share": 0.3},
}
"""And where it goes on from a model that has been through it: at higher rates the language model loses within a hundred
steps what it takes most of a run to learn again; the tower, which gets better all the time, may move faster."""
HEADS_FIRST: Final = 40
"""Steps for which only the heads of lessons move then: they begin anew, and their first guesses say nothing about what
the model should be."""


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """What makes a run; saved beside its weights."""

    stage: int
    minutes: float
    out: Path
    seed: int = 0
    lr: float = 2e-3  # of what AdamW moves: embeddings, gains, biases, heads
    matrix_lr: float = 8e-3  # of what Muon moves: the matrices inside blocks
    warmup_steps: int = 60
    weight_decay: float = 0.05
    ema: float = 0.995
    clip_norm: float = 1.0
    pairs_per_batch: int = 32  # what one forward and backward takes: small enough for a CPU's cache
    accumulate: int = 4  # of them make a step
    pair_share: float = 0.0  # of batches that are single pairs, in stages that have others too
    simpler: tuple[float, ...] = ()  # shares of the stage's time after which batches show more (`dataset.SIMPLER`)
    rate: float = 1.0  # what all rates are multiplied with
    seeing: float = 1.0  # what the vision tower's are multiplied with besides
    begin: Path | None = None  # a model whose weights the stage goes on from, instead of those of the stage before
    processes: int = CORES  # on a CPU, each with batches of its own; 0 for this process alone
    workers: int = 0  # processes that draw for each of them
