"""Small Qwen2-VL checkpoints with random weights, written to disk in the hub's layout, and what the plain library makes
of a prompt with them. Sizes are chosen odd on purpose, so that nothing passes by coincidence. `random_families` has the
other families."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import repeat
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from torch import Tensor
from transformers import Qwen2VLConfig, Qwen2VLForConditionalGeneration

from vidlm.model.positions import prompt_positions

MARKERS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>",
           "<|image_pad|>", "<|video_pad|>")  # fmt: skip
MERGES = [("Y", "e"), ("Ye", "s"), ("N", "o"), ("t", "h"), ("th", "e"), ("i", "s")]


@dataclass(frozen=True)
class Recipe:
    """A checkpoint's shape. `mrope` is half a head's width, split over time, height and width."""

    hidden: int = 48
    layers: int = 2
    heads: int = 4
    kv_heads: int = 2
    mrope: tuple[int, int, int] = (2, 2, 2)
    theta: float = 1e6
    tied: bool = True
    patch: int = 14
    depth: int = 2
    merge: int = 2
    vision_width: int = 32
    vision_heads: int = 2
    nested: bool = False
    shard_size: str = "1GB"
    text: dict[str, Any] = field(default_factory=dict)


RECIPES = {
    "tied, flat config": Recipe(),
    "own head, nested config, shards": Recipe(tied=False, nested=True, shard_size="60KB", theta=1e4),
    "no grouped heads, wide": Recipe(hidden=64, heads=2, kv_heads=2, mrope=(4, 6, 6), layers=3),
    "small patches": Recipe(patch=8, vision_heads=4, heads=6, kv_heads=1, mrope=(1, 2, 1)),
    "large cells, three frames deep": Recipe(patch=6, merge=3, depth=3, tied=False),
    "names a sliding window": Recipe(text={"use_sliding_window": True, "sliding_window": 8, "max_window_layers": 1}),
}


def vocabulary() -> dict[str, int]:
    """Every byte, a few merges, then the markers."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = letters + [left + right for left, right in MERGES] + list(MARKERS)
    return {word: index for index, word in enumerate(words)}


def write(folder: Path, recipe: Recipe, *, seed: int = 0) -> Path:
    """A whole checkpoint in `folder`, as a hub repository has it."""
    folder.mkdir(parents=True, exist_ok=True)
    write_tokenizer(folder)
    config = _config(recipe)
    torch.manual_seed(seed)
    model = Qwen2VLForConditionalGeneration(Qwen2VLConfig(**config))
    stir(model)
    model.save_pretrained(folder, max_shard_size=recipe.shard_size)
    if not recipe.nested:
        write_json(folder / "config.json", config)
    write_json(folder / "generation_config.json", {"eos_token_id": [vocabulary()["<|endoftext|>"]], "do_sample": True})
    write_json(
        folder / "preprocessor_config.json",
        {
            "min_pixels": 3136,
            "max_pixels": 50176,
            "patch_size": recipe.patch,
            "temporal_patch_size": recipe.depth,
            "merge_size": recipe.merge,
            "image_mean": [0.5, 0.4, 0.3],
            "image_std": [0.25, 0.3, 0.35],
        },
    )
    write_json(folder / "chat_template.json", {"chat_template": "{{ messages[0]['content'] }}"})
    return folder


def write_json(file: Path, content: Any) -> None:
    file.write_text(json.dumps(content), encoding="utf-8")


def stir(model: Any) -> None:
    """Norms and biases, which the library starts at one and zero: then one that is lost or swapped would not show."""
    for weight in model.parameters():
        if weight.ndim == 1:
            weight.data += torch.randn_like(weight) * 0.25


def token_ids() -> dict[str, int]:
    """What every family's configuration says of the vocabulary."""
    ids = vocabulary()
    return {
        "vocab_size": len(ids) + 5,
        "bos_token_id": ids["<|endoftext|>"],
        "eos_token_id": ids["<|im_end|>"],
        "image_token_id": ids["<|image_pad|>"],
        "video_token_id": ids["<|video_pad|>"],
        "vision_start_token_id": ids["<|vision_start|>"],
        "vision_end_token_id": ids["<|vision_end|>"],
    }


def _config(recipe: Recipe) -> dict[str, Any]:
    return {
        **token_ids(),
        "architectures": ["Qwen2VLForConditionalGeneration"],
        "model_type": "qwen2_vl",
        "hidden_size": recipe.hidden,
        "intermediate_size": recipe.hidden * 2,
        "num_hidden_layers": recipe.layers,
        "num_attention_heads": recipe.heads,
        "num_key_value_heads": recipe.kv_heads,
        "rope_theta": recipe.theta,
        "rope_scaling": {"type": "mrope", "mrope_section": list(recipe.mrope)},
        "rms_norm_eps": 1e-6,
        "tie_word_embeddings": recipe.tied,
        "initializer_range": 0.25,  # large, so that logits differ and a mistake shows
        "vision_config": {
            "depth": 2,
            "embed_dim": recipe.vision_width,
            "num_heads": recipe.vision_heads,
            "hidden_size": recipe.hidden,
            "mlp_ratio": 2,
            "in_chans": 3,
            "patch_size": recipe.patch,
            "spatial_patch_size": recipe.patch,
            "temporal_patch_size": recipe.depth,
            "spatial_merge_size": recipe.merge,
            "initializer_range": 0.25,
        },
        **recipe.text,
    }


def write_tokenizer(folder: Path) -> None:
    ids = vocabulary()
    words = {word: index for word, index in ids.items() if word not in MARKERS}
    tokenizer = Tokenizer(models.BPE(vocab=words, merges=MERGES))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(list(MARKERS))
    tokenizer.save(str(folder / "tokenizer.json"))
    write_json(folder / "vocab.json", words)
    (folder / "merges.txt").write_text("\n".join(" ".join(pair) for pair in MERGES), encoding="utf-8")
    write_json(folder / "tokenizer_config.json", {"tokenizer_class": "Qwen2Tokenizer", "eos_token": "<|im_end|>"})


Piece = str | tuple[Tensor, tuple[int, int, int]]
"""Text, or a clip: patch rows and their grid."""


@dataclass(frozen=True)
class PlainLibrary:
    """The library's own whole-prompt forward: its tower, no cache, no tree. Positions are ours, or its own.

    seconds: how far the temporal patches of each clip stand apart, where the model asks for it (Qwen2.5-VL).
    """

    model: Any
    tokenizer: Any
    merge: int
    own_positions: bool = False
    seconds: tuple[float, ...] = ()

    def last_logits(self, pieces: Sequence[Piece], more: list[int] | None = None) -> Tensor:
        """float32 `[vocabulary]` after a prompt of texts and clips, then the tokens `more`."""
        config = self.model.config
        ids: list[int] = []
        layout: list[int | tuple[int, int, int]] = []
        for piece in pieces:
            if isinstance(piece, str):
                text = self.tokenizer.encode(piece, add_special_tokens=False)
                ids += text
                layout.append(len(text))
            else:
                t, h, w = piece[1]
                pads = [config.video_token_id] * (t * h * w // self.merge**2)
                ids += [config.vision_start_token_id, *pads, config.vision_end_token_id]
                layout.append(piece[1])
        row = torch.tensor([ids + (more or [])])
        clips = [piece for piece in pieces if not isinstance(piece, str)]
        inputs: dict[str, Any] = {}
        if clips:
            inputs = {
                "pixel_values_videos": torch.cat([rows for rows, _ in clips]),
                "video_grid_thw": torch.tensor([grid for _, grid in clips]),
                "mm_token_type_ids": (row == config.video_token_id) * 2,
            }
        if not self.own_positions:
            rate = getattr(config.vision_config, "tokens_per_second", 1)
            steps = [apart * rate for apart in self.seconds] or repeat(1.0)
            positions, _ = prompt_positions([*layout, len(more or [])], merge_size=self.merge, time_steps=steps)
            inputs["position_ids"] = positions[:, None]
        elif self.seconds:
            inputs["second_per_grid_ts"] = torch.tensor(self.seconds)
        with torch.no_grad():
            logits: Tensor = self.model(input_ids=row, use_cache=False, **inputs).logits
        return logits[0, -1]

    def greedy(self, pieces: Sequence[Piece], count: int, stop: frozenset[int]) -> list[int]:
        chosen: list[int] = []
        while len(chosen) < count and (token := int(self.last_logits(pieces, chosen).argmax())) not in stop:
            chosen.append(token)
        return chosen
