"""The model as the rest of vidlm sees it: frames in, visual tokens; words in, scores and text.

    model = VideoModel.load("checkpoint")
    visual = model.encode(frames)                     # once a video
    prefix = model.open(["...", 0, "...", 1], visual) # once a segment
    model.score(prefix, questions)                    # many branches, one row
    model.generate(prefix, request, max_new_tokens=64)

Knows no prompt and no policy. One lock: calls from several threads take turns on the device.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import Tensor

from vidlm.domain import FrameBatch
from vidlm.errors import ModelError
from vidlm.model import checkpoint as checkpoints
from vidlm.model.checkpoint import Checkpoint
from vidlm.model.decode import Generation, generate_branch, score_branches
from vidlm.model.prefix import Clip, Prefix, VisualTokens, open_prefix
from vidlm.model.preprocess import FrameGeometry
from vidlm.model.vision import encode_pairs, patchify

__all__ = ["Clip", "Generation", "ModelInfo", "Prefix", "VideoModel", "VisualTokens"]

TOWER_PATCHES: Final = 32_768
"""Patches that go through the tower together at most; bounds its memory (about 2 GB on a 2B model in bfloat16)."""


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """Which model answers, for provenance; `toy` marks the embedded one, which knows the toy world and nothing else."""

    model_id: str
    revision: str
    toy: bool
    geometry: FrameGeometry
    device: str
    dtype: str


class VideoModel:
    """A loaded Qwen2-VL. Every method raises `ModelError` where the device fails, `ValueError` for impossible input."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._checkpoint = checkpoint
        self._lock = threading.RLock()

    @classmethod
    def load(cls, model: str, *, device: str = "auto", dtype: str = "auto") -> VideoModel:
        """Load a checkpoint folder or hub id; see `checkpoint.load`. Raises `CheckpointError`."""
        return cls(checkpoints.load(model, device, dtype))

    @property
    def info(self) -> ModelInfo:
        own = self._checkpoint
        who = own.identity
        return ModelInfo(
            who.model_id, who.revision, who.toy, own.geometry, str(own.device), str(own.dtype).removeprefix("torch.")
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
        with self._running():
            for indices in same_size.values():
                encoded |= zip(indices, self._encode_same_size([batches[index] for index in indices]), strict=True)
        return [encoded[index] for index in range(len(batches))]

    def _encode_same_size(self, batches: Sequence[FrameBatch]) -> Iterator[VisualTokens]:
        geometry, device = self._checkpoint.geometry, self._checkpoint.device
        depth = geometry.temporal_patch_size
        whole = [np.pad(b.pixels, ((0, -len(b) % depth), (0, 0), (0, 0), (0, 0)), mode="edge") for b in batches]
        pixels = torch.from_numpy(np.concatenate(whole))
        _, height, width, _ = pixels.shape
        pairs = max(1, TOWER_PATCHES * geometry.patch_size**2 // (height * width))
        pieces: list[Tensor] = []
        for chunk in torch.split(pixels, pairs * depth):
            rows, grid_hw = patchify(chunk.to(device), geometry)
            pieces.append(encode_pairs(self._checkpoint.model.model.visual, rows, grid_hw))
        counts = [len(frames) // depth for frames in whole]
        for batch, tokens in zip(batches, torch.split(torch.cat(pieces), counts), strict=True):
            yield VisualTokens(tokens, tuple(map(float, batch.times_s[::depth])), grid_hw)

    def open(self, parts: Sequence[str | int | Clip], visual: VisualTokens | None) -> Prefix:
        """Run a prompt's beginning: text as it is, an integer i as pair i of `visual`, a `Clip` as several pairs.

        Each pair or clip is put between `<|vision_start|>` and `<|vision_end|>`.
        """
        with self._running():
            return open_prefix(self._checkpoint, [_part(part, visual) for part in parts])

    def score(self, prefix: Prefix, suffixes: Sequence[str]) -> list[float]:
        """P(Yes) for each suffix, in [0, 1]. The prefix stays usable."""
        with self._running():
            return score_branches(self._checkpoint, prefix, suffixes)

    def generate(self, prefix: Prefix, suffix: str, *, max_new_tokens: int) -> Generation:
        """Greedy text after prefix and suffix. The prefix stays usable."""
        with self._running():
            return generate_branch(self._checkpoint, prefix, suffix, max_new_tokens)

    @contextmanager
    def _running(self) -> Iterator[None]:
        """Take the model's turn; torch's failures (out of memory, a dead device) leave as `ModelError`."""
        with self._lock, torch.inference_mode():
            try:
                yield
            except torch.OutOfMemoryError as exc:
                raise ModelError("the model ran out of memory") from exc
            except RuntimeError as exc:
                raise ModelError(
                    f"the model failed: {str(exc).splitlines()[0] if str(exc) else 'no reason given'}"
                ) from exc


def _part(part: str | int | Clip, visual: VisualTokens | None) -> str | Clip:
    if not isinstance(part, int):
        return part
    if visual is None or not 0 <= part < len(visual):
        raise ValueError(f"frame pair {part} is not among the {0 if visual is None else len(visual)} given")
    return visual.clip(part, part + 1)
