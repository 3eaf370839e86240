"""Train the embedded models: `./run train [--stage N] [--minutes M] [--resume] [--out DIR] [--begin MODEL]`.

Stage 1 (contrastive): the vision tower and a bag-of-words text tower learn to match a frame pair with its
    description (what, colour, place and direction), as CLIP does (Radford et al. 2021, arXiv:2103.00020); beside it
    each visual token names what stands in its cell. Without it the language loss sits on a plateau for long.
Stage 2 (tasks): the whole model on the product's own prompts: captions, policies, attributes, relevance, times, things
    that are not there, follow-up questions, as continuations of one visual prefix; summaries and titles from text.
Stage 3 (rough): the same at a lower rate, on longer parts, lettered pictures and what frugal encoders leave of them.
Stage 4 (search): from nothing, the small image and text encoder that search needs, in the layout of CLIPModel.

A stage's length is wall-clock minutes, so the cosine schedule fits any machine. Every `SAVE_EVERY_S` the whole state
goes to `<out>/stageN.pt`, and `--resume` goes on from there, after a kill at any step. `<out>/model` and `<out>/clip`
hold the averaged (EMA) weights in the hub's layout; config, metrics, their picture and git revision stand beside them.
With `--begin`, stages 2 and 3 go on from such a model instead of from nothing. What lies in a run's folder:
`run_folder.py`.
"""

from __future__ import annotations

import copy
import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn

from vidlm.errors import InputError
from vidlm.toyworld.courses import Batches, Tiny, course_of
from vidlm.toyworld.curve import draw_curve
from vidlm.toyworld.descent import follow, optimizers_of, schedule
from vidlm.toyworld.parallel import Descend, Lanes
from vidlm.toyworld.run_folder import Asked, Metrics, plan_of, revision, take_place, write_whole
from vidlm.toyworld.stages import AFTER, AGAIN, CORES, HEADS_FIRST, SETTINGS, STAGES, TrainConfig

SAVE_EVERY_S: Final = 60.0
LOOK_EVERY_S: Final = 240.0
"""Training time between two looks at held-out windows."""
LOG_EVERY: Final = 20


class Run:
    """A stage's whole state: what is learnt, its running average (EMA), the optimizer, and how far it is."""

    def __init__(self, config: TrainConfig, device: torch.device) -> None:
        config.out.mkdir(parents=True, exist_ok=True)
        self.config, self.device = config, device
        self.course = course_of(config.stage, config.out, config.seed)
        self.learner = self.course.learner().to(device)
        self.optimizers = optimizers_of(
            self.learner,
            lr=config.lr,
            matrix_lr=config.matrix_lr,
            seeing=config.seeing,
            weight_decay=config.weight_decay,
        )
        self.average = copy.deepcopy(self.learner.state_dict())
        self.step, self.elapsed_s = 0, 0.0
        self.logged: int | None = None  # bytes of metrics when the state was kept that this run goes on from

    @property
    def progress(self) -> float:
        """How much of the stage's time is over, 0..1."""
        return min(self.elapsed_s / (self.config.minutes * 60), 1.0)

    @property
    def at(self) -> dict[str, Any]:
        """Where the run is, as every line of metrics says."""
        return {"stage": self.config.stage, "step": self.step, "minutes": round(self.elapsed_s / 60, 2)}

    @property
    def simpler(self) -> int:
        """By how much what it sees is simpler than what the stage is for; 0 from its last share on."""
        return sum(self.progress < share for share in self.config.simpler)

    def file(self, stage: int) -> Path:
        return self.config.out / f"stage{stage}.pt"

    def start(self, *, resume: bool) -> None:
        """Go on from this stage's own state, or begin with what the stage before it learnt."""
        stage = self.config.stage
        if resume and self.file(stage).exists():
            state = torch.load(self.file(stage), map_location=self.device, weights_only=True)
            self.learner.load_state_dict(state["learner"])
            for optimizer, stored in zip(self.optimizers, state["optimizers"], strict=True):
                rates = [group["initial_lr"] for group in optimizer.param_groups]  # today's settings count
                optimizer.load_state_dict(stored)
                for group, rate in zip(optimizer.param_groups, rates, strict=True):
                    group["initial_lr"] = rate
            self.average, self.step, self.elapsed_s = state["average"], state["step"], state["elapsed_s"]
            self.logged = state.get("logged")
        elif self.config.begin is not None:
            assert isinstance(self.course, Tiny)  # `main` sees to it
            self.learner.load_state_dict(self.course.shipped(self.config.begin), strict=False)
            self.average = copy.deepcopy(self.learner.state_dict())
        elif stage in AFTER:
            before = torch.load(self.file(AFTER[stage]), map_location=self.device, weights_only=True)["average"]
            self.learner.load_state_dict(self.course.carry_on(before))
            self.average = copy.deepcopy(self.learner.state_dict())

    def update(self) -> None:
        """One step of the optimizer, down the gradients gathered so far, and of the average."""
        config = self.config
        alone = HEADS_FIRST if config.begin is not None else 0
        if self.step < alone:
            rate = 1.0  # what begins anew is not what the stage's rate spares
            self.learner["model"].zero_grad(set_to_none=True)
        else:
            rate = config.rate * schedule(self.step - alone, self.progress, config.warmup_steps)
        nn.utils.clip_grad_norm_(self.learner.parameters(), self.config.clip_norm)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["initial_lr"] * rate
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        keep = min(self.config.ema, (1 + self.step) / (10 + self.step))  # a young average forgets quickly
        follow(self.average, self.learner.state_dict(), 1 - keep)
        self.step += 1

    def save(self, metrics: Metrics) -> None:
        """The state, in place of the last one only once it is whole."""
        state = {
            "learner": self.learner.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "average": self.average,
            "step": self.step,
            "elapsed_s": self.elapsed_s,
            "logged": metrics.size,
        }
        temporary = self.file(self.config.stage).with_suffix(".tmp")
        torch.save(state, temporary)
        temporary.replace(self.file(self.config.stage))

    def averaged(self) -> nn.ModuleDict:
        """A copy of the learner with the averaged weights, for looking at."""
        learner = self.course.learner().to(self.device).eval()
        learner.load_state_dict(self.average)
        return learner


def train(config: TrainConfig, *, resume: bool) -> None:
    """One stage, from its predecessor's weights (or its own state, with `resume`) to what ships, in `<out>`."""
    run = Run(config, torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    run.start(resume=resume)
    if run.progress >= 1:
        return
    write_whole(config.out / f"stage{config.stage}.json", json.dumps(_record(run, resume=resume), indent=2) + "\n")
    metrics = Metrics(config.out, config.stage, run.logged)
    if run.logged is None:
        run.save(metrics)  # from the very beginning a kill leaves something to go on from
    saved_s = looked_s = run.elapsed_s
    while run.progress < 1:
        simpler = run.simpler
        with _lanes(run) as descend:
            while run.progress < 1 and run.simpler == simpler:
                began = time.monotonic()
                for figures in descend(config.accumulate):
                    metrics.add(figures)
                run.update()
                run.elapsed_s += time.monotonic() - began
                metrics.add({"step_s": time.monotonic() - began})
                if run.step % LOG_EVERY == 0:
                    metrics.write_means(run.at)
                over = run.progress >= 1
                if over or run.elapsed_s - looked_s >= LOOK_EVERY_S:
                    _look(run, metrics)
                    looked_s = run.elapsed_s
                # last of all: a stage whose state says that it is over has shown and shipped what it learnt
                if over or run.elapsed_s - saved_s >= SAVE_EVERY_S:
                    run.save(metrics)
                    saved_s = run.elapsed_s


def _look(run: Run, metrics: Metrics) -> None:
    """Figures of the averaged weights on what is never learnt from, and those weights as what ships."""
    averaged = run.averaged()
    metrics.write(run.at, run.course.look(averaged, run.device))
    made = run.config.out / ".new"
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir()
    run.course.save(averaged, made)
    take_place(made, run.config.out)


@contextmanager
def _lanes(run: Run) -> Iterator[Callable[[int], list[dict[str, float]]]]:
    """What gathers the gradients of so many batches: a process a core, or this one with the GPU."""
    build = partial(_lane, run.config, run.step, run.simpler)
    if run.device.type == "cpu" and run.config.processes:
        torch.set_num_threads(run.config.processes)  # for the optimizer, while the lanes wait
        with Lanes(run.learner, min(run.config.processes, run.config.accumulate), build) as lanes:
            yield lanes.descend
    else:
        batches = _batches(run.config, run.step, run.simpler, 0)
        descend = run.course.descent(run.learner, run.device, batches, 1 / run.config.accumulate)
        yield lambda batches: [descend() for _ in range(batches)]


def _lane(config: TrainConfig, step: int, simpler: int, number: int) -> tuple[nn.Module, Descend]:
    """A learner of the run's shape in a process of its own, and what it learns from."""
    course = course_of(config.stage, config.out, config.seed)
    learner = course.learner()
    batches = _batches(config, step, simpler, number)
    return learner, course.descent(learner, torch.device("cpu"), batches, 1 / config.accumulate)


def _batches(config: TrainConfig, step: int, simpler: int, lane: int) -> Batches:
    # a resumed run draws other clips than it has seen: the step is part of the seed
    seed = [config.seed, config.stage, step, lane]
    return Batches(seed, config.pairs_per_batch, config.workers, pair_share=config.pair_share, simpler=simpler)


def _record(run: Run, *, resume: bool) -> dict[str, Any]:
    """What makes the run again: its settings, its code, its size."""
    settings = {key: value for key, value in asdict(run.config).items() if key not in ("out", "begin")}
    device = torch.cuda.get_device_name() if run.device.type == "cuda" else "cpu"
    weights = sum(p.numel() for p in next(iter(run.learner.values())).parameters())
    begin, path = run.config.begin, run.config.out / f"stage{run.config.stage}.json"
    before = [json.loads(path.read_text()) for path in sorted(begin.glob("training-stage*.json"))] if begin else []
    last = json.loads(path.read_text()) if resume and path.exists() else {}
    return {
        **settings,
        "after": before,
        "weights": weights,
        "git": revision(),
        "git_before": [*last.get("git_before", []), *([last["git"]] if last and last["git"] != revision() else [])],
        "torch": torch.__version__,
        "device": device,
    }


def main(out: Path, asked: Asked, *, resume: bool) -> None:
    """All stages, or one; the minutes asked for are the whole run's, split as in `STAGES`.

    With `resume`, the run in `out` goes on; stages that are over are left alone. To begin from the folder of a model
    that has been through stages 1 to 3 means stages 2 and 3 once more. Raises `InputError` (`plan_of`), and for a stage
    whose predecessor is not there.
    """
    on_gpu = torch.cuda.is_available()
    plan = plan_of(out, asked, resume=resume, all_stages=tuple(STAGES), minutes=20.0 if on_gpu else 180.0)
    for stage in plan.stages:
        needs = AFTER.get(stage) if plan.begin is None and not (out / f"stage{stage}.pt").exists() else None
        if needs and needs not in plan.stages and not (out / f"stage{needs}.pt").exists():
            lacking = f"stage {stage} goes on from stage {needs}, which is not in {str(out)!r}"
            raise InputError(lacking, code="invalid_request")
    for stage, length in plan.lengths(STAGES).items():
        settings = SETTINGS[stage]
        if on_gpu:
            settings = settings | {"pairs_per_batch": 256, "accumulate": 1, "workers": max(0, CORES - 2)}
        if plan.begin is not None:
            settings = settings | AGAIN[stage] | {"begin": plan.begin if stage == min(plan.stages) else None}
        train(TrainConfig(stage=stage, minutes=length, out=out, seed=plan.seed, **settings), resume=resume)
        draw_curve(out)
