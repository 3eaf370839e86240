"""Train the embedded model from nothing: `./run train [--stage N] [--minutes M] [--resume] [--out DIR]`.

Stage 1 (contrastive): the vision tower and a bag-of-words text tower learn to match a frame pair with its
    description (what, colour, place and direction), as CLIP does (Radford et al. 2021, arXiv:2103.00020); beside it
    each visual token names what stands in its cell. Without it the language loss sits on a plateau for long.
Stage 2 (tasks): the whole model on the product's own prompts: captions, policies, attributes, relevance, times, things
    that are not there, follow-up questions, as continuations of one visual prefix; summaries and titles from text.
Stage 3 (rough): the same at a lower rate, on longer parts, lettered pictures and what frugal encoders leave of them.

A stage's length is wall-clock minutes, so the cosine schedule fits any machine. Every `SAVE_EVERY_S` the whole state
goes to `<out>/stageN.pt`, and `--resume` goes on from there, after a kill at any step. `<out>/model` holds the averaged
(EMA) weights in the hub's layout; config, metrics and git revision stand beside them. Rendering happens in worker
processes.
"""

from __future__ import annotations

import copy
import json
import math
import os
import subprocess
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from vidlm.toyworld import student
from vidlm.toyworld.curve import draw_curve
from vidlm.toyworld.dataset import ROUGH, TASKS, Pairs, PairStream, RowStream
from vidlm.toyworld.lessons import Towers
from vidlm.toyworld.losses import autocast, exact_by_kind, stage1_loss, stage2_loss
from vidlm.toyworld.parallel import Descend, Lanes
from vidlm.toyworld.rows import Rows, Vocabulary, sample_rows
from vidlm.toyworld.world import EVAL_SEEDS

SAVE_EVERY_S: Final = 60.0
LOOK_EVERY_S: Final = 240.0
"""Training time between two looks at held-out windows."""
LOG_EVERY: Final = 20
PAIR_WEIGHT: Final = 0.4
"""Weight of stage 1's loss where it goes on later."""
STAGES: Final = {1: 0.2, 2: 0.6, 3: 0.2}
"""Each stage's share of a whole run's minutes."""
RATES: Final = {1: 1.0, 2: 1.0, 3: 0.4}
"""What each stage's learning rates are multiplied with."""


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
    processes: int = os.cpu_count() or 1  # on a CPU, each with batches of its own; 0 for this process alone
    workers: int = 0  # processes that draw for each of them


class Run:
    """A stage's whole state: what is learnt, its running average (EMA), the optimizer, and how far it is."""

    def __init__(self, config: TrainConfig, device: torch.device) -> None:
        config.out.mkdir(parents=True, exist_ok=True)
        self.config, self.device = config, device
        self.tokenizer = load_tokenizer(config.out, config.seed)
        self.learner = new_learner(self.tokenizer, config.seed).to(device)
        self.optimizers = _optimizers(self.learner, config)
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
            for optimizer, stored in zip(self.optimizers, state["optimizers"], strict=True):
                optimizer.load_state_dict(stored)
            self.average, self.step, self.elapsed_s = state["average"], state["step"], state["elapsed_s"]
        elif stage > 1:
            before = torch.load(self.file(stage - 1), map_location=self.device, weights_only=True)["average"]
            self.learner.load_state_dict(_with_words(before) if stage == 2 else before)
            self.average = copy.deepcopy(self.learner.state_dict())

    def update(self) -> None:
        """One step of the optimizer, down the gradients gathered so far, and of the average."""
        rate = RATES[self.config.stage] * _schedule(self.step, self.progress, self.config.warmup_steps)
        nn.utils.clip_grad_norm_(self.learner.parameters(), self.config.clip_norm)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["initial_lr"] * rate
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        keep = min(self.config.ema, (1 + self.step) / (10 + self.step))  # a young average forgets quickly
        with torch.no_grad():
            for name, value in self.learner.state_dict().items():
                self.average[name].lerp_(value, 1 - keep)
        self.step += 1

    def save(self) -> None:
        """The state, in place of the last one only once it is whole."""
        state = {
            "learner": self.learner.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
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
        prefix = "model."
        own = {name.removeprefix(prefix): value for name, value in self.average.items() if name.startswith(prefix)}
        model.load_state_dict(own)
        return model


def train(config: TrainConfig, *, resume: bool) -> None:
    """One stage, from its predecessor's weights (or its own state, with `resume`) to `<out>/model`."""
    run = Run(config, torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    run.start(resume=resume)
    words = Vocabulary(run.tokenizer)
    (config.out / f"stage{config.stage}.json").write_text(json.dumps(_record(run), indent=2) + "\n")
    held_out = _held_out(words) if config.stage > 1 else []
    log = _Log(config)
    saved_s = looked_s = run.elapsed_s
    with _lanes(run) as descend:
        while run.progress < 1:
            began = time.monotonic()
            for figures in descend(config.accumulate):
                log.add(figures)
            run.update()
            run.elapsed_s += time.monotonic() - began
            log.add({"step_s": time.monotonic() - began})
            log.show(run)
            over = run.progress >= 1
            if over or run.elapsed_s - saved_s >= SAVE_EVERY_S:
                run.save()
                saved_s = run.elapsed_s
            if held_out and (over or run.elapsed_s - looked_s >= LOOK_EVERY_S):
                model = run.averaged_model()
                log.write(run, {"exact": exact_by_kind(model, held_out, words, run.device)})
                student.save_model(model, run.tokenizer, config.out / "model")
                looked_s = run.elapsed_s
    draw_curve(config.out)


@contextmanager
def _lanes(run: Run) -> Iterator[Callable[[int], list[dict[str, float]]]]:
    """What gathers the gradients of so many batches: a process a core, or this one with the GPU."""
    build = partial(_lane, run.config, run.step)
    if run.device.type == "cpu" and run.config.processes:
        torch.set_num_threads(run.config.processes)  # for the optimizer, while the lanes wait
        with Lanes(run.learner, min(run.config.processes, run.config.accumulate), build) as lanes:
            yield lanes.descend
    else:
        descend = _descent(run.config, run.step, 0, run.learner, run.device)
        yield lambda batches: [descend() for _ in range(batches)]


def _lane(config: TrainConfig, step: int, number: int) -> tuple[nn.Module, Descend]:
    """A learner of the run's shape in a process of its own, and what it learns from."""
    learner = new_learner(load_tokenizer(config.out, config.seed), config.seed)
    return learner, _descent(config, step, number, learner, torch.device("cpu"))


def _descent(config: TrainConfig, step: int, lane: int, learner: nn.ModuleDict, device: torch.device) -> Descend:
    """A function that takes the next batch and adds its gradients."""
    words = Vocabulary(load_tokenizer(config.out, config.seed))
    batches = _stream(config, words, step, lane)
    model, towers = learner["model"], learner["towers"]
    assert isinstance(towers, Towers)

    def descend() -> dict[str, float]:
        batch = next(batches)
        # PyTorch's fused attention is slow on a CPU for so few tokens: plain matrix products take less time
        plainly = sdpa_kernel(SDPBackend.MATH) if device.type == "cpu" else nullcontext()
        with plainly, autocast(device):
            if isinstance(batch, Pairs):
                loss, figures = stage1_loss(model, towers, batch, words, device)
                loss = loss if config.stage == 1 else PAIR_WEIGHT * loss
            else:
                loss, figures = stage2_loss(model, towers, batch, words, device)
            (loss / config.accumulate).backward()  # type: ignore[no-untyped-call]
        return {**figures, "loss": loss.item()}

    return descend


def new_learner(tokenizer: Tokenizer, seed: int) -> nn.ModuleDict:
    """All that is learnt: the model that ships, and what only training needs."""
    model = student.new_model(tokenizer, seed)
    return nn.ModuleDict({"model": model, "towers": Towers(student.VOCABULARY, model.config.text_config.hidden_size)})


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


def _stream(config: TrainConfig, words: Vocabulary, step: int, lane: int) -> Iterator[Any]:
    # a resumed run draws other clips than it has seen: the step is part of the seed
    seed = [config.seed, config.stage, step, lane]
    source: Any
    if config.stage == 1:
        source = PairStream(seed, count=config.pairs_per_batch)
    else:
        mix = TASKS if config.stage == 2 else ROUGH
        source = RowStream(words, seed, mix, pairs_per_batch=config.pairs_per_batch)
    loader: Any = torch.utils.data.DataLoader(
        source, batch_size=None, num_workers=config.workers, prefetch_factor=4 if config.workers else None
    )
    return iter(loader)


def _schedule(step: int, progress: float, warmup_steps: int) -> float:
    """Linear warm-up, then a cosine to a fiftieth, of the learning rate at `progress` in [0, 1]."""
    cosine = 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * progress))
    return min(1.0, (step + 1) / warmup_steps) * cosine


def _optimizers(learner: nn.Module, config: TrainConfig) -> list[torch.optim.Optimizer]:
    """Muon (Jordan et al. 2024) for the matrices inside blocks, AdamW for all else.

    Muon's steps are scaled to the root mean square of AdamW's (Liu et al. 2025, arXiv:2502.16982). Weight decay is for
    matrices; gains and biases go without.
    """
    inside: list[nn.Parameter] = []
    matrices: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for name, weight in learner.named_parameters():
        if weight.ndim == 2 and any(part in name for part in (".blocks.", ".layers.", ".merger.")):
            inside.append(weight)
        else:
            (matrices if weight.ndim > 1 else others).append(weight)
    groups = [{"params": matrices, "weight_decay": config.weight_decay}, {"params": others, "weight_decay": 0.0}]
    muon = torch.optim.Muon(
        inside, lr=config.matrix_lr, weight_decay=config.weight_decay, adjust_lr_fn="match_rms_adamw"
    )
    optimizers = [muon, torch.optim.AdamW(groups, lr=config.lr, betas=(0.9, 0.98))]
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["initial_lr"] = group["lr"]
    return optimizers


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
    weights = sum(p.numel() for p in run.learner["model"].parameters())
    return {**settings, "weights": weights, "git": revision.stdout.strip(), "torch": torch.__version__}


def main(*, stage: int | None, minutes: float | None, resume: bool, out: Path) -> None:
    """All stages, or one; the minutes given are the whole run's, split as in `STAGES`.

    With `resume`, stages that are over are left alone.
    """
    total = minutes if minutes is not None else (20.0 if torch.cuda.is_available() else 180.0)
    plan = {number: share * total for number, share in STAGES.items()} if stage is None else {stage: total}
    for number, length in plan.items():
        # stage 1 compares all pairs of a batch with each other, so it takes more of them at once
        batch = {"pairs_per_batch": 64, "accumulate": 2} if number == 1 else {}
        if torch.cuda.is_available():
            batch = {"pairs_per_batch": 256, "accumulate": 1, "workers": 14}
        train(TrainConfig(stage=number, minutes=length, out=out, **batch), resume=resume)
