"""Small Qwen2.5-VL and Qwen3-VL checkpoints with random weights, in the layouts they are published in.

As in `random_checkpoint`, sizes are odd on purpose: windows that do not divide the picture, heads wider than their
share of the model, towers that speak to several layers, position embeddings of another grid than the picture's.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import transformers
from random_checkpoint import stir, token_ids, vocabulary, write_json, write_tokenizer

CLASSES = {"qwen2_5_vl": "Qwen2_5_VL", "qwen3_vl": "Qwen3VL"}


@dataclass(frozen=True)
class FamilyRecipe:
    """A checkpoint's shape; `text` and `vision` add to the family's usual configuration or change it.

    as_saved: the configuration as today's library writes it, not as it was published.
    """

    kind: str
    tied: bool = True
    mrope: tuple[int, int, int] = (1, 2, 3)
    theta: float = 100.0  # far below the published ones, so that the slowest pair of a head turns visibly too
    patch: int = 14
    depth: int = 2
    merge: int = 2
    as_saved: bool = False
    shard_size: str = "1GB"
    text: dict[str, Any] = field(default_factory=dict)
    vision: dict[str, Any] = field(default_factory=dict)


FAMILY_RECIPES = {
    "qwen2.5, tied": FamilyRecipe("qwen2_5_vl"),
    "qwen2.5, own head, large cells, three frames deep": FamilyRecipe(
        "qwen2_5_vl",
        tied=False,
        mrope=(2, 1, 1),
        theta=30.0,
        patch=6,
        merge=3,
        depth=3,
        as_saved=True,
        shard_size="60KB",
        text={"num_attention_heads": 6, "num_key_value_heads": 1, "rms_norm_eps": 1e-3},
        vision={"depth": 5, "num_heads": 4, "window_size": 36, "fullatt_block_indexes": [1, 4], "tokens_per_second": 3},
    ),
    "qwen3, tied": FamilyRecipe("qwen3_vl", mrope=(4, 3, 3), patch=16),
    "qwen3, own head, large cells, three frames deep": FamilyRecipe(
        "qwen3_vl",
        tied=False,
        mrope=(4, 2, 2),
        theta=30.0,
        patch=6,
        merge=3,
        depth=3,
        as_saved=True,
        shard_size="60KB",
        text={"num_attention_heads": 6, "head_dim": 16, "attention_bias": True, "rms_norm_eps": 1e-3},
        vision={"depth": 3, "num_heads": 4, "num_position_embeddings": 49, "deepstack_visual_indexes": [1, 2]},
    ),
}
TEXT = {
    "hidden_size": 48,
    "intermediate_size": 80,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "hidden_act": "silu",
    "max_position_embeddings": 4096,
    "rms_norm_eps": 1e-6,
    "initializer_range": 0.2,  # large, so that logits differ and a mistake shows
}
VISION = {
    "depth": 4,
    "hidden_size": 32,
    "intermediate_size": 52,
    "num_heads": 2,
    "out_hidden_size": TEXT["hidden_size"],
    "initializer_range": 0.2,
}


def write_family(folder: Path, recipe: FamilyRecipe, *, seed: int = 0) -> Path:
    """A whole checkpoint in `folder`, as a hub repository has it."""
    folder.mkdir(parents=True, exist_ok=True)
    write_tokenizer(folder)
    config = _qwen3(recipe) if recipe.kind == "qwen3_vl" else _qwen2_5(recipe)
    write_json(folder / "config.json", config)
    name = CLASSES[recipe.kind]
    torch.manual_seed(seed)
    model = getattr(transformers, f"{name}ForConditionalGeneration")(
        getattr(transformers, f"{name}Config").from_pretrained(folder)
    )
    stir(model)
    model.save_pretrained(folder, max_shard_size=recipe.shard_size)
    if not recipe.as_saved:
        write_json(folder / "config.json", config)
    ids = vocabulary()
    ends = [ids["<|im_end|>"], ids["<|endoftext|>"]]
    write_json(folder / "generation_config.json", {"eos_token_id": ends, "do_sample": True, "temperature": 0.000001})
    _write_preprocessors(folder, recipe)
    write_json(folder / "chat_template.json", {"chat_template": "{{ messages[0]['content'] }}"})
    return folder


def _qwen2_5(recipe: FamilyRecipe) -> dict[str, Any]:
    """Flat, as in Qwen/Qwen2.5-VL-3B-Instruct."""
    return {
        **token_ids(),
        "architectures": ["Qwen2_5_VLForConditionalGeneration"],
        "model_type": "qwen2_5_vl",
        "tie_word_embeddings": recipe.tied,
        "rope_theta": recipe.theta,
        "rope_scaling": {"type": "mrope", "mrope_section": list(recipe.mrope)},
        "use_sliding_window": False,
        "sliding_window": 32768,
        "max_window_layers": 70,
        **TEXT,
        **recipe.text,
        "vision_config": {
            **VISION,
            "hidden_act": "silu",
            "in_chans": 3,
            "patch_size": recipe.patch,
            "spatial_patch_size": recipe.patch,
            "temporal_patch_size": recipe.depth,
            "spatial_merge_size": recipe.merge,
            "window_size": 56,  # two cells of 28 pixels
            "fullatt_block_indexes": [2],
            "tokens_per_second": 2,
            **recipe.vision,
        },
    }


def _qwen3(recipe: FamilyRecipe) -> dict[str, Any]:
    """Nested, as in Qwen/Qwen3-VL-2B-Instruct."""
    ids = token_ids()
    return {
        "architectures": ["Qwen3VLForConditionalGeneration"],
        "model_type": "qwen3_vl",
        "tie_word_embeddings": recipe.tied,
        **{name: ids[name] for name in ids if name.endswith("_token_id") and name[:3] not in ("bos", "eos")},
        "text_config": {
            **{name: ids[name] for name in ("vocab_size", "bos_token_id", "eos_token_id")},
            "model_type": "qwen3_vl_text",
            "tie_word_embeddings": recipe.tied,
            "attention_bias": False,
            "head_dim": 20,
            "rope_theta": recipe.theta,
            "rope_scaling": {"mrope_interleaved": True, "mrope_section": list(recipe.mrope), "rope_type": "default"},
            **TEXT,
            **recipe.text,
        },
        "vision_config": {
            **VISION,
            "model_type": "qwen3_vl",
            "hidden_act": "gelu_pytorch_tanh",
            "in_channels": 3,
            "patch_size": recipe.patch,
            "temporal_patch_size": recipe.depth,
            "spatial_merge_size": recipe.merge,
            "num_position_embeddings": 25,
            "deepstack_visual_indexes": [0, 1, 3],
            **recipe.vision,
        },
    }


def _write_preprocessors(folder: Path, recipe: FamilyRecipe) -> None:
    patches = {"patch_size": recipe.patch, "temporal_patch_size": recipe.depth, "merge_size": recipe.merge}
    if recipe.kind == "qwen2_5_vl":
        colours = {"image_mean": [0.48, 0.46, 0.41], "image_std": [0.27, 0.26, 0.28]}
        budget = {"min_pixels": 3136, "max_pixels": 50176}
        write_json(folder / "preprocessor_config.json", {**budget, **patches, **colours})
        return
    colours = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}
    for name, least, most in (("", 4096, 65536), ("video_", 1024, 1048576)):  # a picture's pixels, a whole clip's
        budget = {"size": {"shortest_edge": least, "longest_edge": most}}
        write_json(folder / f"{name}preprocessor_config.json", {**budget, **patches, **colours})
