"""What a loaded checkpoint can do, one call after the other: frames -> visual tokens -> prefix -> scores and text.

    model = VideoModel.load("checkpoint")
    visual = model.encode(frames)                     # once a video
    prefix = model.open(["...", 0, "...", 1], visual) # once a segment
    model.score(prefix, questions)                    # many branches, one row
    model.generate(prefix, request, max_new_tokens=64)

Knows no prompt and no policy. Works on the caller's thread and is not thread-safe: `engine` gives it a thread of its
own and batches what several callers want.
"""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vidlm.domain import FrameBatch
from vidlm.errors import ModelError
from vidlm.model import checkpoint as checkpoints
from vidlm.model.checkpoint import Checkpoint
from vidlm.model.generate import Generation, Rooms, TextRequest, Writing
from vidlm.model.prefix import Clip, Prefix, VisualTokens, open_prefixes
from vidlm.model.preprocess import FrameGeometry
from vidlm.model.prompt import placed_parts
from vidlm.model.score import branch_states, score_tree
from vidlm.model.text import TextModel
from vidlm.model.tree import Tree, plant
from vidlm.model.vision import Tower

TOWER_PATCHES: Final = {"cuda": 32_768, "cpu": 4_096}
"""Patches that go through the tower together at most, by device: bounds its memory (2 GB on a 2B model in bfloat16) and
how long a question waits for it; on a CPU, a larger batch leaves the caches and is slower."""
ROW_TOKENS: Final = 1024
"""Question tokens in one row at most: the mask grows with their square."""


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """Which model answers, for provenance; `toy` marks the embedded one, which knows the toy world and nothing else.

    `answer_confidence`: how sure an answer of it should be to be given, 0..1.
    """

    model_id: str
    revision: str
    toy: bool
    family: str
    geometry: FrameGeometry
    device: str
    dtype: str
    answer_confidence: float = 0.0


class VideoModel:
    """A loaded checkpoint. Methods raise `ModelError` where the device fails and `ValueError` for impossible work."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.checkpoint: Final = checkpoint
        self.text: Final = TextModel(checkpoint.model)
        self.tower: Final = Tower(checkpoint.model.model.visual, checkpoint.geometry)
        self.rooms: Final = Rooms(self.text)
        self._plant = lru_cache(maxsize=16)(self._planted)

    @classmethod
    def load(cls, model: str, *, device: str = "auto", dtype: str = "auto") -> VideoModel:
        """Load a checkpoint folder or hub id; see `checkpoint.load`. Raises `CheckpointError`."""
        with translated():
            return cls(checkpoints.load(model, device, dtype))

    @property
    def info(self) -> ModelInfo:
        own, who = self.checkpoint, self.checkpoint.identity
        dtype = str(own.dtype).removeprefix("torch.")
        return ModelInfo(
            who.model_id,
            who.revision,
            who.toy,
            own.family,
            own.geometry,
            str(own.device),
            dtype,
            who.answer_confidence,
        )

    def encode(self, frames: FrameBatch) -> VisualTokens:
        """Visual tokens of frames that are already at the model's size (`info.geometry.fit`).

        Pairs are frames (0, 1), (2, 3), ...; an odd count repeats the last frame. A pair has its first frame's time.
        """
        return self.encode_many([frames])[0]

    def encode_many(self, batches: Sequence[FrameBatch]) -> list[VisualTokens]:
        """`encode` of each batch; those of one frame size share the tower's calls."""
        same_size: defaultdict[tuple[int, ...], list[int]] = defaultdict(list)
        for index, batch in enumerate(batches):
            same_size[batch.pixels.shape[1:3]].append(index)
        encoded: dict[int, VisualTokens] = {}
        for size, indices in same_size.items():
            pairs = [self.pairs(batches[index]) for index in indices]
            together, most = np.concatenate(pairs), self.pairs_at_once(size[0], size[1])
            pieces = [self.encode_pairs(together[at : at + most]) for at in range(0, len(together), most)]
            tokens = torch.split(torch.cat(pieces), [len(own) for own in pairs])
            encoded |= {i: self.visual_tokens(batches[i], own) for i, own in zip(indices, tokens, strict=True)}
        return [encoded[index] for index in range(len(batches))]

    def open(self, parts: Sequence[str | int | Clip], visual: VisualTokens | None) -> Prefix:
        """Run a prompt's beginning: text as it is, an integer i as pair i of `visual`, a `Clip` as several pairs.

        Each pair or clip is put between `<|vision_start|>` and `<|vision_end|>`.
        """
        return self.open_many([placed_parts(parts, visual)])[0]

    def score(self, prefix: Prefix, suffixes: Sequence[str]) -> list[float]:
        """P(Yes) for each suffix, in [0, 1]. The prefix stays usable."""
        return [score for tree in self.trees(suffixes) for score in numbers(self.score_tree([prefix], tree)[0])]

    def generate(self, prefix: Prefix, suffix: str, *, max_new_tokens: int) -> Generation:
        """Greedy text after prefix and suffix. The prefix stays usable."""
        return self.generate_many([(prefix, suffix)], max_new_tokens=max_new_tokens)[0]

    def generate_many(self, branches: Sequence[tuple[Prefix, str]], *, max_new_tokens: int) -> list[Generation]:
        """`generate` for each (prefix, suffix), as one batch."""
        requests = [TextRequest(p, tuple(self.checkpoint.tokenize(suffix)), max_new_tokens) for p, suffix in branches]
        if not requests:
            return []
        with running():
            writing = self.write(requests)
            try:
                while not writing.advance():
                    pass
                return [writing.result(row) for row in range(len(requests))]
            finally:
                writing.close()

    def next_logits(self, prefix: Prefix, suffix: str) -> Tensor:
        """float32 `[vocabulary]`: what may follow prefix and suffix."""
        (tree,) = plant([self.checkpoint.tokenize(suffix)], ROW_TOKENS)
        with running():
            return self.text.logits(branch_states(self.text, [prefix], tree))[0, 0]

    # ---- steps: what `engine` schedules one at a time

    def pairs(self, frames: FrameBatch) -> npt.NDArray[np.uint8]:
        """Frames as whole pairs: uint8 `[P, depth, H, W, 3]`, an odd count filled up with the last frame.

        Raises `ValueError` for frames of a size that does not divide into the model's cells, or for none.
        """
        depth, factor = self.checkpoint.geometry.temporal_patch_size, self.checkpoint.geometry.factor
        pixels = frames.pixels
        count, height, width, _ = pixels.shape
        if not count or not height or not width or height % factor or width % factor:
            raise ValueError(f"{count} frames of {height} x {width} do not divide into cells of {factor} pixels")
        if len(pixels) % depth:
            pixels = np.pad(pixels, ((0, -len(pixels) % depth), (0, 0), (0, 0), (0, 0)), mode="edge")
        return pixels.reshape(-1, depth, *pixels.shape[1:])

    def pairs_at_once(self, height: int, width: int) -> int:
        """Pairs of so many pixels that the tower takes in one call."""
        patches = max(1, height * width // self.checkpoint.geometry.patch_size**2)
        return max(1, TOWER_PATCHES.get(self.text.device.type, TOWER_PATCHES["cpu"]) // patches)

    def encode_pairs(self, pairs: npt.NDArray[np.uint8]) -> Tensor:
        """Visual tokens `[P, n, D]` of whole pairs, in one call of the tower. Identical pairs are seen once."""
        seen, places = distinct(pairs)
        pixels = torch.from_numpy(pairs if len(seen) == len(pairs) else pairs[seen]).flatten(0, 1)
        with running():
            tokens, _ = self.tower.encode(pixels.to(self.text.device, non_blocking=True))
            return tokens if len(seen) == len(pairs) else tokens[torch.tensor(places, device=tokens.device)]

    def visual_tokens(self, frames: FrameBatch, tokens: Tensor) -> VisualTokens:
        """Tokens of all of a batch's pairs, with the times they were shown at."""
        geometry = self.checkpoint.geometry
        _, height, width, _ = frames.pixels.shape
        times_s = [float(time_s) for time_s in frames.times_s]
        firsts = range(0, len(times_s), geometry.temporal_patch_size)
        lasts = [min(first + geometry.temporal_patch_size, len(times_s)) - 1 for first in firsts]
        return VisualTokens(
            tokens=tokens,
            pair_times_s=tuple(times_s[first] for first in firsts),
            grid_hw=(height // geometry.patch_size, width // geometry.patch_size),
            last_times_s=tuple(times_s[last] for last in lasts),
        )

    def trees(self, suffixes: Sequence[str], row_tokens: int = ROW_TOKENS) -> list[Tree]:
        """The questions as rows for `score_tree`; a list seen lately is not tokenized again."""
        return self._plant(tuple(suffixes), row_tokens)

    def _planted(self, suffixes: tuple[str, ...], row_tokens: int) -> list[Tree]:
        return plant([self.checkpoint.tokenize(suffix) for suffix in suffixes], row_tokens)

    def open_many(self, prompts: Sequence[Sequence[str | Clip]]) -> list[Prefix]:
        """`open` of several prompts as one batch, padded to the longest."""
        with running():
            return open_prefixes(self.checkpoint, self.text, prompts)

    def score_tree(self, prefixes: Sequence[Prefix], tree: Tree) -> list[list[float]]:
        """P(Yes) of each of a tree's questions behind each prefix; NaN where the weights give no number."""
        with running():
            return score_tree(self.text, self.checkpoint.ids, prefixes, tree)

    def write(self, requests: Sequence[TextRequest]) -> Writing:
        """Begin writing several texts as one batch."""
        with running():
            return Writing(self.checkpoint, self.text, self.rooms, requests)


def distinct(pairs: npt.NDArray[np.uint8]) -> tuple[list[int], list[int]]:
    """Which pairs differ from all before them, and for each pair its place among those. Compared bit for bit.

    pairs   A A B A C        distinct [0, 2, 4], places [0, 0, 1, 0, 2]
    """
    seen: list[int] = []
    places: list[int] = []
    by_sum: defaultdict[int, list[int]] = defaultdict(list)
    for index, pair in enumerate(pairs):
        candidates = by_sum[zlib.crc32(np.ascontiguousarray(pair).data)]
        same = next((place for place in candidates if np.array_equal(pairs[seen[place]], pair)), None)
        if same is None:
            same = len(seen)
            seen.append(index)
            candidates.append(same)
        places.append(same)
    return seen, places


def numbers(scores: list[float]) -> list[float]:
    """The scores, if they are some. Raises `ModelError` (`model_not_finite`): garbage is never a score of a half."""
    if not all(0.0 <= score <= 1.0 for score in scores):  # false for NaN
        raise ModelError("the model gave no number for a score", code="model_not_finite")
    return scores


@contextmanager
def running() -> Iterator[None]:
    """Inference mode, with torch's failures `translated`."""
    with translated(), torch.inference_mode():
        yield


@contextmanager
def translated() -> Iterator[None]:
    """Torch's failures (out of memory, a dead device) leave as `ModelError`."""
    try:
        yield
    except torch.OutOfMemoryError as exc:
        raise ModelError("the model ran out of memory", code="model_out_of_memory") from exc
    except RuntimeError as exc:
        reason = str(exc).strip().splitlines()[0] if str(exc).strip() else "no reason given"
        if "can't allocate memory" in reason or "out of memory" in reason:
            raise ModelError("the model ran out of memory", code="model_out_of_memory") from exc
        raise ModelError(f"the model failed: {reason}") from exc
