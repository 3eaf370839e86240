"""What vidlm is measured against: the same model, weights, prompts and positions through plain transformers.

    Plain     one whole prompt a task: pictures, prefix and question again and again, text by `generate`
    Strong    pictures encoded once a segment, all questions of a segment as one padded batch of whole prompts, captions
              of all segments as one batch over a growing cache

Both are given what a careful user would give them: frames already cut into patches, the patch embedding as a matrix
product, SDPA attention, no gradients; Plain reads scores from a forward pass that computes one row of logits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import DynamicCache

from vidlm import prompts
from vidlm.domain import FrameBatch
from vidlm.model.checkpoint import Checkpoint
from vidlm.model.positions import prompt_positions
from vidlm.model.vision import patchify


class _LinearPatches(nn.Module):
    """The patch embedding without the convolution, which is slow on some machines."""

    def __init__(self, embed: Any) -> None:
        super().__init__()
        self.kernel = embed.proj.weight.detach().flatten(1)

    def forward(self, rows: Tensor) -> Tensor:
        return F.linear(rows.to(self.kernel.dtype), self.kernel)


@dataclass(frozen=True, slots=True)
class Seen:
    """A segment as the library wants it: patch rows `[N, values]`, a grid a pair, the prompt before a request."""

    rows: Tensor
    grids: Tensor
    ids: list[int]
    layout: list[int | tuple[int, int, int]]


class Peer:
    """The library's model with what both ways share."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.checkpoint = checkpoint
        self.model = checkpoint.model
        visual = self.model.model.visual
        if not isinstance(visual.patch_embed, _LinearPatches):
            self.proj = visual.patch_embed.proj  # vidlm's own tower reads it
            visual.patch_embed = _LinearPatches(visual.patch_embed)
            visual.patch_embed.proj = self.proj

    def look(self, frames: FrameBatch) -> Seen:
        """Patches, and ids of the prompt that shows each pair after its time."""
        own = self.checkpoint
        rows, (h, w) = patchify(torch.from_numpy(frames.pixels).to(own.device), own.geometry)
        times_s = [float(time_s) for time_s in frames.times_s[:: own.geometry.temporal_patch_size]]
        ids: list[int] = []
        layout: list[int | tuple[int, int, int]] = []
        for part in prompts.video_prefix(times_s):
            if isinstance(part, str):
                text = own.tokenize(part)
                ids += text
                layout.append(len(text))
            else:
                ids += [
                    own.ids.vision_start,
                    *[own.ids.video] * (h * w // own.geometry.merge_size**2),
                    own.ids.vision_end,
                ]
                layout.append((1, h, w))
        grids = torch.tensor([[1, h, w]] * len(rows), device=own.device)
        return Seen(rows.flatten(0, 1).to(own.dtype), grids, ids, layout)

    def summary(self, captions: list[str], seconds: float, tokens: int) -> str:
        """The text-only request at a video's end, by `generate`."""
        told = [(index * seconds, caption) for index, caption in enumerate(captions)]
        text = str(prompts.text_prefix()[0]) + prompts.branch(prompts.summary_request(told))
        return self._generate({"input_ids": torch.tensor([self.checkpoint.tokenize(text)])}, tokens)

    def _generate(self, inputs: dict[str, Any], tokens: int) -> str:
        inputs = {name: value.to(self.checkpoint.device) for name, value in inputs.items()}
        stop = sorted(self.checkpoint.ids.stop) or None
        out = self.model.generate(
            **inputs,
            attention_mask=torch.ones_like(inputs["input_ids"]),
            max_new_tokens=tokens,
            min_new_tokens=None if stop else tokens,
            do_sample=False,
            temperature=None,
            top_p=None,
            top_k=None,
            repetition_penalty=None,
            eos_token_id=stop,
            pad_token_id=0,
        )
        new = [token for token in out[0, inputs["input_ids"].shape[1] :].tolist() if token not in (stop or ())]
        return self.words(new)

    def words(self, ids: list[int]) -> str:
        text: str = self.checkpoint.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return text.strip()

    def p_yes(self, logits: Tensor) -> list[float]:
        """`[K, vocabulary]` -> P(Yes) against No."""
        words = logits[:, [self.checkpoint.ids.yes, self.checkpoint.ids.no]].float()
        scores: list[float] = words.softmax(dim=-1)[:, 0].tolist()
        return scores


class Plain(Peer):
    """One whole prompt a task."""

    def scores(self, seen: Seen, questions: list[str]) -> list[float]:
        return [self.p_yes(self.model(**self._whole(seen, question), logits_to_keep=1).logits[:, -1])[0]
                for question in questions]  # fmt: skip

    def caption(self, seen: Seen, request: str, tokens: int) -> str:
        return self._generate(self._whole(seen, request), tokens)

    def _whole(self, seen: Seen, suffix: str) -> dict[str, Tensor]:
        ids = torch.tensor([seen.ids + self.checkpoint.tokenize(suffix)], device=self.checkpoint.device)
        return {
            "input_ids": ids,
            "pixel_values_videos": seen.rows,
            "video_grid_thw": seen.grids,
            "mm_token_type_ids": (ids == self.checkpoint.ids.video) * 2,
        }


class Strong(Peer):
    """Vision once, batches wherever there is more than one."""

    def features(self, seen: Seen) -> Tensor:
        """`[1, L, D]`: the prompt's embeddings with the pictures in their places."""
        ids = torch.tensor([seen.ids], device=self.checkpoint.device)
        pictures = self.model.model.get_video_features(seen.rows, seen.grids).pooler_output
        embedded: Tensor = self.model.get_input_embeddings()(ids)
        embedded[ids == self.checkpoint.ids.video] = torch.cat(list(pictures)).to(embedded)
        return embedded

    def scores(self, seen: Seen, shown: Tensor, questions: list[str]) -> list[float]:
        """All questions as one batch of whole prompts, padded on the left."""
        batch, positions, mask = self._padded([(seen, shown)] * len(questions), questions)
        hidden = self._run(batch, positions, mask, None)
        return self.p_yes(self.model.lm_head(hidden[:, -1]))

    def captions(self, shown: list[tuple[Seen, Tensor]], request: str, tokens: int) -> list[str]:
        """All segments as one batch over the library's growing cache, until every row has ended."""
        batch, positions, mask = self._padded(shown, [request] * len(shown))
        cache, ended = DynamicCache(), [False] * len(shown)
        chosen: list[list[int]] = [[] for _ in shown]
        hidden = self._run(batch, positions, mask, cache)
        following = positions.amax(dim=(0, 2)) + 1
        for _ in range(tokens):
            token = self.model.lm_head(hidden[:, -1]).argmax(dim=-1)
            for row, word in enumerate(token.tolist()):
                ended[row] |= word in self.checkpoint.ids.stop
                if not ended[row]:
                    chosen[row].append(word)
            if all(ended):
                break
            mask = torch.cat([mask, mask.new_ones(len(shown), 1)], dim=1)
            embedded = self.model.get_input_embeddings()(token[:, None])
            hidden = self._run(embedded, following.expand(3, -1)[..., None], mask, cache)
            following = following + 1
        return [self.words(ids) for ids in chosen]

    def _run(self, embedded: Tensor, positions: Tensor, mask: Tensor, cache: Any) -> Tensor:
        hidden: Tensor = self.model.model.language_model(
            inputs_embeds=embedded, position_ids=positions, attention_mask=mask, past_key_values=cache,
            use_cache=cache is not None,
        ).last_hidden_state  # fmt: skip
        return hidden

    def _padded(self, shown: list[tuple[Seen, Tensor]], suffixes: list[str]) -> tuple[Tensor, Tensor, Tensor]:
        """Embeddings `[B, L, D]`, positions `[3, B, L]` and mask `[B, L]`."""
        rows = []
        for (seen, embedded), suffix in zip(shown, suffixes, strict=True):
            ids = torch.tensor([self.checkpoint.tokenize(suffix)], device=self.checkpoint.device)
            positions, _ = prompt_positions(
                [*seen.layout, ids.shape[1]], merge_size=self.checkpoint.geometry.merge_size
            )
            rows.append((torch.cat([embedded, self.model.get_input_embeddings()(ids)], dim=1)[0], positions))
        longest = max(len(embedded) for embedded, _ in rows)
        batch = rows[0][0].new_zeros(len(rows), longest, rows[0][0].shape[1])
        positions = torch.zeros(3, len(rows), longest, dtype=torch.long)
        mask = torch.zeros(len(rows), longest, dtype=torch.long)
        for row, (embedded, own) in enumerate(rows):
            batch[row, longest - len(embedded) :] = embedded
            positions[:, row, longest - len(embedded) :] = own
            mask[row, longest - len(embedded) :] = 1
        return batch, positions.to(batch.device), mask.to(batch.device)
