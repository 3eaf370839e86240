"""What is learnt in a run's stages: by whom, from what, and how good it is on what it has not learnt.

`Tiny` is the embedded model (stages 1 to 3), `Contrast` the small image and text encoder (stage 4). Knows models and
batches; not how weights are moved, kept or shared between processes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from vidlm.toyworld import contrast, student
from vidlm.toyworld.dataset import ROUGH, SIMPLER, SIZES, ImageStream, Pairs, PairStream, RowStream
from vidlm.toyworld.lessons import Towers
from vidlm.toyworld.losses import autocast, exact_by_kind, stage1_loss, stage2_loss
from vidlm.toyworld.parallel import Descend
from vidlm.toyworld.rows import Rows, sample_rows
from vidlm.toyworld.run_folder import write_whole
from vidlm.toyworld.tokens import Vocabulary
from vidlm.toyworld.world import EVAL_SEEDS

PAIR_WEIGHT: Final = 0.4
"""Weight of stage 1's loss where it goes on later."""
Loss = tuple[Tensor, dict[str, float]]
"""A batch's loss, and figures about it for the log."""


class Course(Protocol):
    """What a stage learns. A course is made anew in every process that learns."""

    def learner(self) -> nn.ModuleDict:
        """All that is learnt, before it has learnt anything: always the same."""

    def carry_on(self, before: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """The state to begin with, from the averaged one that the stage before ended with."""

    def descent(self, learner: nn.ModuleDict, device: torch.device, batches: Batches, share: float) -> Descend:
        """What takes the next batch and adds its gradients, times `share`."""

    def look(self, learner: nn.ModuleDict, device: torch.device) -> dict[str, Any]:
        """Figures on what is never learnt from; empty where there is nothing to look at yet."""

    def save(self, learner: nn.ModuleDict, folder: Path) -> None:
        """What ships, in the hub's layout, into the run's folder."""


class Batches:
    """How a stage's batches are drawn: about `size` frame pairs each, from seeds nobody else has.

    `pair_share`: of those that are single pairs, where a stage has others too, 0..1. `simpler`: by how much
    they are simpler than what the stage is for (`dataset.SIMPLER`).
    """

    def __init__(
        self, seed: Sequence[int], size: int, workers: int, *, pair_share: float = 0.0, simpler: int = 0
    ) -> None:
        self.seed, self.size, self._workers = seed, size, workers
        self.pair_share, self.simpler = pair_share, simpler

    def endless(self, source: torch.utils.data.IterableDataset[Any]) -> Iterator[Any]:
        loader: Any = torch.utils.data.DataLoader(
            source, batch_size=None, num_workers=self._workers, prefetch_factor=4 if self._workers else None
        )
        return iter(loader)


def course_of(stage: int, out: Path, seed: int) -> Course:
    return Contrast(out, seed) if stage == 4 else Tiny(stage, out, seed)


class Tiny:
    """The embedded model, and what only training needs beside it."""

    def __init__(self, stage: int, out: Path, seed: int) -> None:
        self._stage, self._seed = stage, seed
        self.tokenizer = _kept_tokenizer(out / "tokenizer.json", lambda: student.train_tokenizer(seed))
        self._words = Vocabulary(self.tokenizer)
        self._unseen: list[Rows] = []

    def learner(self) -> nn.ModuleDict:
        model = student.new_model(self.tokenizer, self._seed)
        width = model.config.text_config.hidden_size
        return nn.ModuleDict({"model": model, "towers": Towers(student.VOCABULARY, width)})

    def carry_on(self, before: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """The language model starts with the word vectors the text tower learnt, at the scale it was initialised
        with."""
        if self._stage != 2:
            return before
        learnt, name = before["towers.words.weight"], "model.model.language_model.embed_tokens.weight"
        words = learnt * (before[name].std() / learnt.std())
        return {**before, name: words, "model.lm_head.weight": words}

    def shipped(self, folder: Path) -> Mapping[str, Tensor]:
        """The state of a model that was saved there; what only training needs is not part of it.

        Layers that it did not have begin as ones that add nothing: the model says what it said with them, too.
        """
        kept = {f"model.{name}": weight for name, weight in student.saved_weights(folder).items()}
        new = {name: weight for name, weight in self.learner().state_dict().items() if name not in kept}
        adding = (".o_proj.weight", ".down_proj.weight")  # what a layer's two halves add goes through these
        return kept | {name: torch.zeros_like(weight) for name, weight in new.items() if name.endswith(adding)}

    def descent(self, learner: nn.ModuleDict, device: torch.device, batches: Batches, share: float) -> Descend:
        source: Any = PairStream(batches.seed, count=batches.size)
        if self._stage > 1:
            mix = ROUGH if self._stage == 3 else SIMPLER[batches.simpler]
            source = RowStream(
                self._words, batches.seed, mix, pair_share=batches.pair_share, pairs_per_batch=batches.size
            )
        drawn = batches.endless(source)
        model, towers, words = learner["model"], learner["towers"], self._words
        assert isinstance(towers, Towers)

        def loss_of(batch: Any) -> Loss:
            if isinstance(batch, Pairs):
                loss, figures = stage1_loss(model, towers, batch, words, device)
                return (loss if self._stage == 1 else PAIR_WEIGHT * loss), figures
            return stage2_loss(model, towers, batch, words, device)

        return descending(drawn, loss_of, device, share)

    def look(self, learner: nn.ModuleDict, device: torch.device) -> dict[str, Any]:
        """Shares of unseen windows' turns whose every word is right, by kind."""
        if self._stage == 1:
            return {}
        self._unseen = self._unseen or _unseen_rows(self._words)
        return {"exact": exact_by_kind(learner["model"], self._unseen, self._words, device)}

    def save(self, learner: nn.ModuleDict, folder: Path) -> None:
        if self._stage > 1:
            student.save_model(learner["model"], self.tokenizer, folder / "model")


class Contrast:
    """The small image and text encoder, from nothing."""

    def __init__(self, out: Path, seed: int) -> None:
        self._seed = seed
        self._tokenizer = _kept_tokenizer(out / "clip-tokenizer.json", lambda: contrast.train_tokenizer(seed))

    def learner(self) -> nn.ModuleDict:
        return nn.ModuleDict({"clip": contrast.new_model(self._tokenizer, self._seed)})

    def carry_on(self, before: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        return before

    def descent(self, learner: nn.ModuleDict, device: torch.device, batches: Batches, share: float) -> Descend:
        drawn = batches.endless(ImageStream(batches.seed, count=batches.size))
        model, tokenizer = learner["clip"], self._tokenizer

        return descending(drawn, lambda batch: contrast.loss(model, tokenizer, batch, device), device, share)

    def look(self, learner: nn.ModuleDict, device: torch.device) -> dict[str, Any]:
        """How often the right picture is found for a text, and the right text for a picture, among 256 unseen ones."""
        return contrast.retrieval(learner["clip"], self._tokenizer, device)

    def save(self, learner: nn.ModuleDict, folder: Path) -> None:
        contrast.save_model(learner["clip"], self._tokenizer, folder / "clip")


def descending(batches: Iterator[Any], loss_of: Callable[[Any], Loss], device: torch.device, share: float) -> Descend:
    """What takes the next batch and adds the gradients of its loss, times `share`."""

    def descend() -> dict[str, float]:
        batch = next(batches)
        with plainly(device), autocast(device):
            loss, figures = loss_of(batch)
            torch.autograd.backward(loss * share)
        return {**figures, "loss": loss.item()}

    return descend


def plainly(device: torch.device) -> AbstractContextManager[None]:
    """PyTorch's fused attention is slow on a CPU for so few tokens: plain matrix products take less time."""
    return sdpa_kernel(SDPBackend.MATH) if device.type == "cpu" else nullcontext()


def _unseen_rows(words: Vocabulary) -> list[Rows]:
    """The same unseen windows at every look."""
    found = []
    for index, (size, pairs) in enumerate(zip(SIZES[:4], (3, 5, 4, 2), strict=True)):
        rng = np.random.default_rng([EVAL_SEEDS.start, index])
        found.append(sample_rows(rng, words, size=size, pairs=pairs, count=24, asked=8))
    return found


def _kept_tokenizer(path: Path, train: Callable[[], Tokenizer]) -> Tokenizer:
    """The run's tokenizer, trained at its first start."""
    if not path.exists():
        write_whole(path, train().to_str(pretty=True))
    return Tokenizer.from_file(str(path))
