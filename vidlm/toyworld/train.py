"""Train the embedded model from nothing: `./run train [--stage N] [--minutes M] [--resume] [--out DIR]`.

Stage 1 (contrastive): the vision tower and a bag-of-words text tower learn to match a frame pair with its
    description (what, colour, place and direction), as CLIP does (Radford et al. 2021, arXiv:2103.00020); beside it
    each visual token names what stands in its cell. Without it the language loss sits on a plateau for long.
Stage 2 (tasks): the whole model on the product's own prompts: captions, policies, attributes, relevance, times, and
    things that are not there, as branches of one shared visual prefix; summaries and titles from text.

A stage's length is wall-clock minutes, so the cosine schedule fits any machine. Every `SAVE_EVERY_S` the whole state
goes to `<out>/stageN.pt`, and `--resume` goes on from there, after a kill at any step. `<out>/model` holds the averaged
(EMA) weights in the hub's layout; config, metrics and git revision stand beside them. Rendering happens in worker
processes.
"""

from __future__ import annotations

import copy
import json
import math
import subprocess
import time
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from vidlm.toyworld import student
from vidlm.toyworld.dataset import Pairs, PairStream, RowStream
from vidlm.toyworld.lessons import Towers
from vidlm.toyworld.losses import autocast, exact_by_kind, stage1_loss, stage2_loss
from vidlm.toyworld.rows import Rows, Vocabulary, sample_rows
from vidlm.toyworld.world import EVAL_SEEDS

SAVE_EVERY_S: Final = 180.0
LOG_EVERY: Final = 20
PAIR_WEIGHT: Final = 0.4
"""Weight of stage 1's loss where it goes on in stage 2."""


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """What makes a run; saved beside its weights."""

    stage: int
    minutes: float
    out: Path
    seed: int = 0
    lr: float = 8e-4
    warmup_steps: int = 100
    weight_decay: float = 0.05
    ema: float = 0.997
    clip_norm: float = 1.0
    pairs_per_batch: int = 32  # what one forward and backward takes: small enough for a CPU's cache
    accumulate: int = 4  # of them make a step
    text_share: float = 0.06  # of stage 2's batches: summaries and titles
    pair_share: float = 0.25  # of stage 2's batches: stage 1's game goes on, cheaply, so that seeing keeps improving
    workers: int = 1
    threads: int = 2


class Run:
    """A stage's whole state: what is learnt, its running average (EMA), the optimizer, and how far it is."""

    def __init__(self, config: TrainConfig, device: torch.device) -> None:
        config.out.mkdir(parents=True, exist_ok=True)
        self.config, self.device = config, device
        self.tokenizer = load_tokenizer(config.out, config.seed)
        self.model = student.new_model(self.tokenizer, config.seed).to(device)
        self.model.set_attn_implementation("eager")  # short masked rows: a third less time on a CPU than SDPA
        self.towers = Towers(student.VOCABULARY, self.model.config.text_config.hidden_size).to(device)
        self.learner = nn.ModuleDict({"model": self.model, "towers": self.towers})
        self.optimizer = torch.optim.AdamW(_groups(self.learner, config.weight_decay), lr=config.lr, betas=(0.9, 0.98))
        self.average = copy.deepcopy(self.learner.state_dict())
        self.step, self.elapsed_s = 0, 0.0

    @property
    def progress(self) -> float:
        """How much of the stage's time is over, 0..1."""
        return min(self.elapsed_s / (self.config.minutes * 60), 1.0)

    def file(self, stage: int) -> Path:
        return self.config.out / f"stage{stage}.pt"

    def start(self, *, resume: bool) -> None:
        """Go on from this stage's own state, or begin with what the stage before it learnt."""
        stage = self.config.stage
        if resume and self.file(stage).exists():
            state = torch.load(self.file(stage), map_location=self.device, weights_only=True)
            self.learner.load_state_dict(state["learner"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.average, self.step, self.elapsed_s = state["average"], state["step"], state["elapsed_s"]
        elif stage > 1:
            before = torch.load(self.file(stage - 1), map_location=self.device, weights_only=True)["average"]
            self.learner.load_state_dict(_with_words(before) if stage == 2 else before)
            self.average = copy.deepcopy(self.learner.state_dict())

    def update(self) -> None:
        """One step of the optimizer, down the gradients gathered so far, and of the average."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.lr * _schedule(self.step, self.progress, self.config.warmup_steps)
        nn.utils.clip_grad_norm_(self.learner.parameters(), self.config.clip_norm)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        keep = min(self.config.ema, (1 + self.step) / (10 + self.step))  # a young average forgets quickly
        with torch.no_grad():
            for name, value in self.learner.state_dict().items():
                self.average[name].lerp_(value, 1 - keep)
        self.step += 1

    def save(self) -> None:
        """The state, in place of the last one only once it is whole."""
        state = {
            "learner": self.learner.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": self.average,
            "step": self.step,
            "elapsed_s": self.elapsed_s,
        }
        temporary = self.file(self.config.stage).with_suffix(".tmp")
        torch.save(state, temporary)
        temporary.replace(self.file(self.config.stage))

    def averaged_model(self) -> Any:
        """A copy of the model with the averaged weights, for looking at."""
        model = student.new_model(self.tokenizer, self.config.seed).to(self.device).eval()
        model.set_attn_implementation("eager")
        prefix = "model."
        own = {name.removeprefix(prefix): value for name, value in self.average.items() if name.startswith(prefix)}
        model.load_state_dict(own)
        return model


def train(config: TrainConfig, *, resume: bool) -> None:
    """One stage, from its predecessor's weights (or its own state, with `resume`) to `<out>/model`."""
    run = Run(config, torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    # one lane a core, each with a batch of its own, beats all cores at one small batch
    lanes = min(config.threads, config.accumulate) if run.device.type == "cpu" else 1
    torch.set_num_threads(max(1, config.threads // lanes))
    run.start(resume=resume)
    words = Vocabulary(run.tokenizer)
    (config.out / f"stage{config.stage}.json").write_text(json.dumps(_record(run), indent=2) + "\n")
    batches = _stream(config, words, run.step)
    held_out = _held_out(words) if config.stage > 1 else []
    log = _Log(config)
    saved_at = time.monotonic()

    def descend(batch: Any) -> dict[str, float]:
        """Add one batch's gradients to those gathered so far; autograd guards each sum against the other lanes."""
        with autocast(run.device):
            if isinstance(batch, Pairs):
                loss, figures = stage1_loss(run.model, run.towers, batch, words, run.device)
                loss = loss if config.stage == 1 else PAIR_WEIGHT * loss
            else:
                loss, figures = stage2_loss(run.model, run.towers, batch, words, run.device)
        (loss / config.accumulate).backward()  # type: ignore[no-untyped-call]
        return {**figures, "loss": loss.item()}

    # PyTorch's fused attention is slow on a CPU for so few tokens: plain matrix products take less time
    plainly = sdpa_kernel(SDPBackend.MATH) if run.device.type == "cpu" else nullcontext()
    with plainly, ThreadPoolExecutor(lanes) as pool:
        while run.progress < 1:
            began = time.monotonic()
            for figures in pool.map(descend, islice(batches, config.accumulate)):
                log.add(figures)
            run.update()
            run.elapsed_s += time.monotonic() - began
            log.add({"step_s": time.monotonic() - began})
            log.show(run)
            if run.progress >= 1 or time.monotonic() - saved_at > SAVE_EVERY_S:
                run.save()
                if held_out:
                    model = run.averaged_model()
                    log.write(run, {"exact": exact_by_kind(model, held_out, words, run.device)})
                    student.save_model(model, run.tokenizer, config.out / "model")
                saved_at = time.monotonic()


class _Log:
    """`metrics.jsonl`: the mean of every figure over `LOG_EVERY` steps, and held-out figures at every save."""

    def __init__(self, config: TrainConfig) -> None:
        self._file = (config.out / "metrics.jsonl").open("a", encoding="utf-8")
        self._seen: dict[str, list[float]] = defaultdict(list)

    def add(self, figures: dict[str, float]) -> None:
        for name, value in figures.items():
            self._seen[name].append(value)

    def show(self, run: Run) -> None:
        if run.step % LOG_EVERY == 0:
            self.write(run, {name: round(sum(values) / len(values), 4) for name, values in self._seen.items()})
            self._seen.clear()

    def write(self, run: Run, figures: dict[str, Any]) -> None:
        at = {"stage": run.config.stage, "step": run.step, "minutes": round(run.elapsed_s / 60, 2)}
        line = json.dumps({**at, **figures})
        print(line, flush=True)
        self._file.write(line + "\n")
        self._file.flush()


def _held_out(words: Vocabulary) -> list[Rows]:
    """The same unseen windows at every look."""
    found = []
    for index, (size, pairs) in enumerate((((84, 112), 3), ((84, 140), 5), ((112, 112), 4), ((112, 84), 2))):
        rng = np.random.default_rng([EVAL_SEEDS.start, index])
        found.append(sample_rows(rng, words, size=size, pairs=pairs, count=24, turns=16))
    return found


def load_tokenizer(out: Path, seed: int) -> Tokenizer:
    """The run's tokenizer, trained at its first start."""
    path = out / "tokenizer.json"
    if not path.exists():
        student.train_tokenizer(seed).save(str(path))
    return Tokenizer.from_file(str(path))


def _stream(config: TrainConfig, words: Vocabulary, step: int) -> Iterator[Any]:
    # a resumed run draws other clips than it has seen: the step is part of the seed
    seed = config.seed * 1_000_003 + config.stage * 101 + step
    source: Any
    if config.stage == 1:
        source = PairStream(seed, count=config.pairs_per_batch)
    else:
        source = RowStream(
            words,
            seed,
            pairs_per_batch=config.pairs_per_batch,
            text_share=config.text_share,
            pair_share=config.pair_share,
        )
    loader: Any = torch.utils.data.DataLoader(
        source, batch_size=None, num_workers=config.workers, prefetch_factor=4 if config.workers else None
    )
    return iter(loader)


def _schedule(step: int, progress: float, warmup_steps: int) -> float:
    """Linear warm-up, then a cosine to a fiftieth, of the learning rate at `progress` in [0, 1]."""
    cosine = 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * progress))
    return min(1.0, (step + 1) / warmup_steps) * cosine


def _groups(learner: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Weight decay is for matrices; gains and biases go without."""
    matrices = [p for p in learner.parameters() if p.ndim >= 2]
    others = [p for p in learner.parameters() if p.ndim < 2]
    return [{"params": matrices, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]


def _with_words(before: dict[str, Tensor]) -> dict[str, Tensor]:
    """The language model starts with the word vectors the text tower learnt, at the scale it was initialised with."""
    learnt, name = before["towers.words.weight"], "model.model.language_model.embed_tokens.weight"
    words = learnt * (before[name].std() / learnt.std())
    return {**before, name: words, "model.lm_head.weight": words}


def _record(run: Run) -> dict[str, Any]:
    """What makes the run again: its settings, its code, its size."""
    command = ["git", "rev-parse", "HEAD"]
    revision = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parent)
    settings = {key: str(value) if isinstance(value, Path) else value for key, value in asdict(run.config).items()}
    weights = sum(p.numel() for p in run.model.parameters())
    return {**settings, "weights": weights, "git": revision.stdout.strip(), "torch": torch.__version__}


def main(*, stage: int | None, minutes: float | None, resume: bool, out: Path) -> None:
    """Both stages, or one; the minutes given are the whole run's, split 25 : 75."""
    total = minutes if minutes is not None else (15.0 if torch.cuda.is_available() else 150.0)
    plan = {1: 0.25 * total, 2: 0.75 * total} if stage is None else {stage: total}
    for number, length in plan.items():
        # stage 1 compares all pairs of a batch with each other, so it takes more of them at once
        batch = {"pairs_per_batch": 80, "accumulate": 2} if number == 1 else {}
        if torch.cuda.is_available():
            batch = {"pairs_per_batch": 384, "accumulate": 1, "workers": 12}
        train(TrainConfig(stage=number, minutes=length, out=out, **batch), resume=resume)
