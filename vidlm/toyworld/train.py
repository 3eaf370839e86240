"""Train the embedded model from nothing: `./run train [--stage N] [--minutes M] [--resume] [--out DIR]`.

Stage 1 (contrastive): the vision tower and a bag-of-words text tower learn to match a frame pair with its description
    (what, colour, place and direction), as CLIP does (Radford et al. 2021, arXiv:2103.00020); beside it each visual token
    names what stands in its cell. Without it the language loss sits on a plateau for long before pictures matter.
Stage 2 (tasks): the whole model on the product's own prompts: captions, policies, attributes, relevance, times, and
    things that are not there, as branches of one shared visual prefix; summaries and titles from text.

A stage's length is wall-clock minutes, so the cosine schedule fits any machine. Every `SAVE_EVERY_S` the whole state goes
to `<out>/stageN.pt`, and `--resume` goes on from there, after a kill at any step. `<out>/model` holds the averaged (EMA)
weights in the hub's layout; config, metrics and git revision stand beside them. Rendering happens in worker processes.
"""

from __future__ import annotations

import copy
import json
import math
import os
import subprocess
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch import Tensor, nn

from vidlm.model.preprocess import FrameGeometry
from vidlm.model.vision import encode_pairs, patchify
from vidlm.toyworld import student
from vidlm.toyworld.dataset import (
    COLOUR_NAMES,
    KIND_NAMES,
    MOTION_NAMES,
    Pairs,
    PairStream,
    Rows,
    RowStream,
    Vocabulary,
    sample_rows,
    tree_mask,
)
from vidlm.toyworld.world import EVAL_SEEDS

SAVE_EVERY_S: Final = 120.0
LOG_EVERY: Final = 20


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """What makes a run; saved beside its weights."""

    stage: int
    minutes: float
    out: Path
    seed: int = 0
    lr: float = 1e-3
    warmup_steps: int = 100
    weight_decay: float = 0.05
    ema: float = 0.997
    clip_norm: float = 1.0
    pairs_per_batch: int = 192
    text_share: float = 0.08
    workers: int = 1
    threads: int = 2


class Towers(nn.Module):
    """Stage 1's own parts: a text tower, the projections into the common space, and the cells' classifiers."""

    def __init__(self, vocabulary: int, width: int, common: int = 128) -> None:
        super().__init__()
        self.words = nn.Embedding(vocabulary, width)
        self.sentence = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
        self.from_text = nn.Linear(width, common)
        self.from_image = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.GELU(), nn.Linear(width, common))
        self.scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))
        self.cells = nn.ModuleList(nn.Linear(width, len(n)) for n in (KIND_NAMES, COLOUR_NAMES, MOTION_NAMES))

    def texts(self, descriptions: list[list[list[int]]]) -> Tensor:
        """Unit vectors `[N, common]` of descriptions given as sentences of token ids: words are a bag within a sentence."""
        flat = [torch.tensor(ids) for sentences in descriptions for ids in sentences]
        device = self.words.weight.device
        offsets = torch.tensor([0, *np.cumsum([len(ids) for ids in flat])[:-1].tolist()], device=device)
        bags = F.embedding_bag(torch.cat(flat).to(device), self.words.weight, offsets, mode="mean")
        sentences = self.sentence(bags)
        owner = torch.tensor([i for i, found in enumerate(descriptions) for _ in found], device=device)
        total = torch.zeros(len(descriptions), sentences.shape[1], device=device, dtype=sentences.dtype)
        return F.normalize(self.from_text(total.index_add(0, owner, sentences)).float(), dim=-1)

    def images(self, tokens: Tensor) -> Tensor:
        """Unit vectors `[N, common]` of visual tokens `[N, n, width]`."""
        return F.normalize(self.from_image(tokens.mean(dim=1)).float(), dim=-1)


def stage1_loss(model: Any, towers: Towers, batch: Pairs, words: Vocabulary, device: torch.device) -> tuple[Tensor, dict[str, float]]:
    """Symmetric InfoNCE over the batch plus the cells' cross entropies; also accuracies for the log."""
    tokens = see(model, batch.pixels.to(device))
    images = towers.images(tokens)
    texts = towers.texts([[words.encode(sentence) for sentence in found] for found in batch.texts])
    logits = towers.scale.exp().clamp(max=100) * images @ texts.T
    labels = ["|".join(sorted(found)) for found in batch.texts]
    numbers = torch.tensor([labels.index(label) for label in labels], device=device)
    same = (numbers[:, None] == numbers[None, :]) & ~torch.eye(len(labels), dtype=torch.bool, device=device)
    logits = logits.masked_fill(same, -1e4)  # an equal description is not a wrong one
    target = torch.arange(len(labels), device=device)
    loss = 0.5 * (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target))
    figures = {"match": float((logits.argmax(1) == target).float().mean())}
    for name, head, truth in zip(("kind", "colour", "motion"), towers.cells, (batch.kinds, batch.colours, batch.motions), strict=True):
        truth = truth.to(device)
        guess = head(tokens).float()
        loss = loss + F.cross_entropy(guess.flatten(0, 1), truth.flatten())
        something = truth > 0
        figures[f"cell_{name}"] = float((guess.argmax(-1) == truth)[something].float().mean())
    return loss, figures


def see(model: Any, pixels: Tensor) -> Tensor:
    """Visual tokens `[P, n, D]` of uint8 frames `[..., 2, H, W, 3]`, every two frames a pair."""
    rows, grid = patchify(pixels.reshape(-1, *pixels.shape[-3:]), GEOMETRY)
    return encode_pairs(model.model.visual, rows, grid)


GEOMETRY: Final = FrameGeometry(
    patch_size=14,
    temporal_patch_size=2,
    merge_size=2,
    min_pixels=student.MIN_PIXELS,
    max_pixels=student.MAX_PIXELS,
    mean=(0.48145466, 0.4578275, 0.40821073),
    std=(0.26862954, 0.26130258, 0.27577711),
)


def stage2_logits(model: Any, batch: Rows, words: Vocabulary, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Logits at the places that must predict something: (logits [M, V], rows [M], columns [M])."""
    ids = batch.ids.to(device)
    embeds = model.model.language_model.embed_tokens(ids)
    if batch.pixels.shape[1]:
        tokens = see(model, batch.pixels.to(device))
        embeds = embeds.masked_scatter((ids == words.video)[..., None], tokens.to(embeds.dtype))
    branch = batch.branch.to(device)
    hidden = model.model.language_model(
        inputs_embeds=embeds, attention_mask=tree_mask(branch), position_ids=batch.positions.to(device), use_cache=False
    ).last_hidden_state
    rows, columns = (batch.targets.to(device) >= 0).nonzero(as_tuple=True)
    return model.lm_head(hidden[rows, columns]).float(), rows, columns


def stage2_loss(model: Any, batch: Rows, words: Vocabulary, device: torch.device) -> tuple[Tensor, dict[str, float]]:
    logits, rows, columns = stage2_logits(model, batch, words, device)
    losses = F.cross_entropy(logits, batch.targets.to(device)[rows, columns], reduction="none")
    weights = batch.weights.to(device)[rows, columns]
    return (losses * weights).sum() / weights.sum(), {}


@torch.inference_mode()
def exact_by_kind(model: Any, batches: list[Rows], words: Vocabulary, device: torch.device) -> dict[str, float]:
    """Share of held-out turns whose every token is right (teacher forced), by kind of turn."""
    right: dict[str, list[bool]] = defaultdict(list)
    for batch in batches:
        with autocast(device):
            logits, rows, columns = stage2_logits(model, batch, words, device)
        correct = (logits.argmax(-1).cpu() == batch.targets[rows.cpu(), columns.cpu()]).tolist()
        verdicts: dict[tuple[int, int], bool] = {}
        for row, column, good in zip(rows.tolist(), columns.tolist(), correct, strict=True):
            key = (row, int(batch.branch[row, column]))
            verdicts[key] = verdicts.get(key, True) and good
        for (row, number), good in verdicts.items():
            right[batch.kinds[row][number - 1]].append(good)
    return {kind: round(sum(found) / len(found), 4) for kind, found in sorted(right.items())}


def autocast(device: torch.device) -> torch.autocast:
    return torch.autocast(device.type, dtype=torch.bfloat16)


# ---- a run -------------------------------------------------------------------------------------------------------------


def train(config: TrainConfig, *, resume: bool) -> None:
    """One stage, from its predecessor's weights (or its own state, with `resume`) to `<out>/model`."""
    torch.set_num_threads(config.threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    config.out.mkdir(parents=True, exist_ok=True)
    tokenizer = load_tokenizer(config.out, config.seed)
    words = Vocabulary(tokenizer)
    model = student.new_model(tokenizer, config.seed).to(device)
    towers = Towers(student.VOCABULARY, model.config.text_config.hidden_size).to(device)
    learner = nn.ModuleDict({"model": model, "towers": towers}) if config.stage == 1 else nn.ModuleDict({"model": model})
    state_file = config.out / f"stage{config.stage}.pt"
    optimizer = torch.optim.AdamW(_groups(learner, config.weight_decay), lr=config.lr, betas=(0.9, 0.98))
    average = copy.deepcopy(learner.state_dict())
    step, elapsed_s = 0, 0.0
    if resume and state_file.exists():
        state = torch.load(state_file, map_location=device, weights_only=True)
        learner.load_state_dict(state["learner"])
        optimizer.load_state_dict(state["optimizer"])
        average, step, elapsed_s = state["average"], state["step"], state["elapsed_s"]
    elif config.stage > 1:
        before = torch.load(config.out / f"stage{config.stage - 1}.pt", map_location=device, weights_only=True)
        weights = {k.removeprefix("model."): v for k, v in before["average"].items() if k.startswith("model.")}
        if config.stage == 2:
            weights = _with_words(weights, before["average"])
        model.load_state_dict(weights)
        average = copy.deepcopy(learner.state_dict())
    (config.out / f"stage{config.stage}.json").write_text(json.dumps(_record(config, model), indent=2) + "\n")
    log = (config.out / "metrics.jsonl").open("a", encoding="utf-8")
    batches = _stream(config, words, step)
    held_out = _held_out(words) if config.stage > 1 else []
    limit_s = config.minutes * 60
    saved_at = shown_at = time.monotonic()
    figures_sum: dict[str, float] = defaultdict(float)
    while elapsed_s < limit_s:
        began = time.monotonic()
        batch = next(batches)
        waited_s = time.monotonic() - began
        for group in optimizer.param_groups:
            group["lr"] = config.lr * _schedule(step, elapsed_s / limit_s, config.warmup_steps)
        with autocast(device):
            if config.stage == 1:
                loss, figures = stage1_loss(model, towers, batch, words, device)
            else:
                loss, figures = stage2_loss(model, batch, words, device)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(learner.parameters(), config.clip_norm)
        optimizer.step()
        decay = min(config.ema, (1 + step) / (10 + step))
        with torch.no_grad():
            for name, value in learner.state_dict().items():
                average[name].lerp_(value, 1 - decay) if value.is_floating_point() else average[name].copy_(value)
        step += 1
        elapsed_s += time.monotonic() - began
        for name, value in {**figures, "loss": loss.item(), "waited_s": waited_s}.items():
            figures_sum[name] += value
        if step % LOG_EVERY == 0:
            mean = {name: round(total / LOG_EVERY, 4) for name, total in figures_sum.items()}
            seconds = (time.monotonic() - shown_at) / LOG_EVERY
            _log(log, {"stage": config.stage, "step": step, "minutes": round(elapsed_s / 60, 2), "step_s": round(seconds, 3), **mean})
            figures_sum.clear()
            shown_at = time.monotonic()
        done = elapsed_s >= limit_s
        if done or time.monotonic() - saved_at > SAVE_EVERY_S:
            _save(state_file, learner, optimizer, average, step, elapsed_s)
            if held_out:
                _evaluate(log, config, tokenizer, average, held_out, words, device, step, elapsed_s)
            saved_at = shown_at = time.monotonic()


def _evaluate(
    log: Any,
    config: TrainConfig,
    tokenizer: Tokenizer,
    average: dict[str, Tensor],
    held_out: list[Rows],
    words: Vocabulary,
    device: torch.device,
    step: int,
    elapsed_s: float,
) -> None:
    """Held-out figures of the averaged weights, which are then written in the hub's layout."""
    model = student.new_model(tokenizer, config.seed).to(device).eval()
    model.load_state_dict({name.removeprefix("model."): value for name, value in average.items()})
    figures = exact_by_kind(model, held_out, words, device)
    _log(log, {"stage": config.stage, "step": step, "minutes": round(elapsed_s / 60, 2), "exact": figures})
    student.save_model(model, tokenizer, config.out / "model")


def _held_out(words: Vocabulary) -> list[Rows]:
    """The same unseen windows at every look."""
    found = []
    for index, (size, pairs) in enumerate((((84, 112), 3), ((84, 140), 5), ((112, 112), 4), ((112, 84), 2))):
        rng = np.random.default_rng([EVAL_SEEDS.start, index])
        found.append(sample_rows(rng, words, size=size, pairs=pairs, count=24, turns=14))
    return found


def load_tokenizer(out: Path, seed: int) -> Tokenizer:
    """The run's tokenizer, trained at its first start."""
    path = out / "tokenizer.json"
    if not path.exists():
        tokenizer = student.train_tokenizer(seed)
        tokenizer.save(str(path))
    return Tokenizer.from_file(str(path))


def _stream(config: TrainConfig, words: Vocabulary, step: int) -> Iterator[Any]:
    # a resumed run draws other clips than it has seen: the step is part of the seed
    seed = config.seed * 1_000_003 + config.stage * 101 + step
    source: Any
    if config.stage == 1:
        source = PairStream(seed, count=config.pairs_per_batch)
    else:
        source = RowStream(words, seed, pairs_per_batch=config.pairs_per_batch, text_share=config.text_share)
    loader: Any = torch.utils.data.DataLoader(
        source, batch_size=None, num_workers=config.workers, prefetch_factor=4 if config.workers else None
    )
    return iter(loader)


def _schedule(step: int, progress: float, warmup_steps: int) -> float:
    """Linear warm-up, then a cosine to a fiftieth, of the learning rate at `progress` in [0, 1]."""
    cosine = 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))
    return min(1.0, (step + 1) / warmup_steps) * cosine


def _groups(learner: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    matrices = [p for p in learner.parameters() if p.ndim >= 2]
    others = [p for p in learner.parameters() if p.ndim < 2]
    return [{"params": matrices, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]


def _with_words(weights: dict[str, Tensor], before: dict[str, Tensor]) -> dict[str, Tensor]:
    """The language model starts with the word vectors the text tower learnt, at the scale it was initialised with."""
    learnt = before["towers.words.weight"]
    name = "model.language_model.embed_tokens.weight"
    scale = weights[name].std() / learnt.std()
    return {**weights, name: learnt * scale, "lm_head.weight": learnt * scale}


def _save(path: Path, learner: nn.Module, optimizer: Any, average: dict[str, Tensor], step: int, elapsed_s: float) -> None:
    state = {
        "learner": learner.state_dict(),
        "optimizer": optimizer.state_dict(),
        "average": average,
        "step": step,
        "elapsed_s": elapsed_s,
    }
    temporary = path.with_suffix(".tmp")
    torch.save(state, temporary)
    os.replace(temporary, path)


def _record(config: TrainConfig, model: Any) -> dict[str, Any]:
    revision = subprocess.run(
        ["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False, cwd=Path(__file__).parent
    )
    return {
        **{key: str(value) if isinstance(value, Path) else value for key, value in asdict(config).items()},
        "weights": sum(p.numel() for p in model.parameters()),
        "git": revision.stdout.strip(),
        "torch": torch.__version__,
    }


def _log(log: Any, figures: dict[str, Any]) -> None:
    line = json.dumps(figures)
    print(line, flush=True)
    log.write(line + "\n")
    log.flush()


def main(*, stage: int | None, minutes: float | None, resume: bool, out: Path) -> None:
    """Both stages, or one; the minutes given are the whole run's, split 15 : 85."""
    total = minutes if minutes is not None else (15.0 if torch.cuda.is_available() else 150.0)
    plan = {1: 0.15 * total, 2: 0.85 * total} if stage is None else {stage: total}
    for number, length in plan.items():
        config = TrainConfig(stage=number, minutes=length, out=out)
        train(replace(config, pairs_per_batch=160 if number == 1 else 192), resume=resume)
