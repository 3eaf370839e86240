"""What is measured on: a model of some geometry, segments of video at a load, the product's own prompts."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
import transformers

from vidlm import prompts
from vidlm.config import EMBEDDED_MODEL
from vidlm.domain import FrameBatch
from vidlm.model import checkpoint as checkpoints
from vidlm.model.checkpoint import Checkpoint
from vidlm.model.folder import Identity
from vidlm.moderation.policies import load_policies
from vidlm.toyworld.draw import render
from vidlm.toyworld.world import EVAL_SEEDS, sample_clip

FPS: Final = 2.0
SEGMENT_S: Final = 10.0
POLICIES: Final = 12
CAPTION_TOKENS: Final = 60
LOADS: Final = {"A": (280, 504, 1.0), "B": (448, 448, 2.0)}
"""Height, width, frames a second."""

_PUBLISHED: Final[dict[str, dict[str, Any]]] = {
    # config.json of Qwen/Qwen2-VL-2B-Instruct and Qwen/Qwen2-VL-7B-Instruct
    "2b": {"hidden_size": 1536, "intermediate_size": 8960, "num_hidden_layers": 28, "num_attention_heads": 12,
           "num_key_value_heads": 2, "vocab_size": 151936, "tie_word_embeddings": True},
    "7b": {"hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28, "num_attention_heads": 28,
           "num_key_value_heads": 4, "vocab_size": 152064, "tie_word_embeddings": False},
}  # fmt: skip
_TOWER: Final = {"depth": 32, "embed_dim": 1280, "num_heads": 16, "mlp_ratio": 4, "in_chans": 3, "patch_size": 14,
                 "spatial_patch_size": 14, "spatial_merge_size": 2, "temporal_patch_size": 2}  # fmt: skip
GEOMETRIES: Final = ("tiny", *_PUBLISHED)


@dataclass(frozen=True, slots=True)
class Setting:
    """A model and what it is asked. `questions` and `request` are branches as they follow a prefix."""

    checkpoint: Checkpoint
    geometry: str
    segments: list[FrameBatch]
    questions: list[str]
    request: str
    caption_tokens: int


def load_checkpoint(geometry: str, device: str, dtype: str) -> Checkpoint:
    """The embedded model, or one of the published geometry with random weights: speed depends on shapes, not values.

    A random model never stops writing, so every text has its full length. It borrows the embedded tokenizer.
    """
    tiny = checkpoints.load(str(EMBEDDED_MODEL), device, dtype)
    if geometry == "tiny":
        return tiny
    own = json.loads((EMBEDDED_MODEL / "config.json").read_text())
    ids = {key: value for key, value in own.items() if key.endswith("_token_id")}
    shape = _PUBLISHED[geometry]
    library: Any = transformers
    config = library.Qwen2VLConfig(
        **shape,
        **ids,
        rms_norm_eps=1e-6,
        rope_theta=1e6,
        rope_scaling={"type": "mrope", "mrope_section": [16, 24, 24]},
        vision_config=_TOWER | {"hidden_size": shape["hidden_size"]},
    )
    config.text_config.layer_types = ["full_attention"] * shape["num_hidden_layers"]
    torch.manual_seed(0)
    before = torch.get_default_dtype()
    torch.set_default_dtype(tiny.dtype)
    try:
        with tiny.device:
            model: Any = library.Qwen2VLForConditionalGeneration._from_config(config, attn_implementation="sdpa")
    finally:
        torch.set_default_dtype(before)
    return dataclasses.replace(
        tiny,
        model=model.eval().requires_grad_(False),
        ids=dataclasses.replace(tiny.ids, stop=frozenset()),
        identity=Identity(f"random weights, Qwen2-VL {geometry.upper()} geometry", "0", toy=False),
    )


def make_setting(checkpoint: Checkpoint, geometry: str, load: str, segments: int, policies: int = POLICIES) -> Setting:
    """Consecutive ten-second segments of clips from the toy world, drawn at the load's size and rate."""
    height, width, fps = LOADS[load]
    built_in = load_policies().policies
    chosen = [built_in[index % len(built_in)] for index in range(policies)]
    return Setting(
        checkpoint=checkpoint,
        geometry=geometry,
        segments=[draw_segment(index, height, width, fps) for index in range(segments)],
        questions=[prompts.branch(prompts.policy_question(policy)) for policy in chosen],
        request=prompts.branch(prompts.caption_request()),
        caption_tokens=CAPTION_TOKENS,
    )


def draw_segment(index: int, height: int, width: int, fps: float = FPS, seconds: float = SEGMENT_S) -> FrameBatch:
    """Frames of a clip with a little grain, so that no two pairs are the same and nothing is saved by that."""
    rng = np.random.default_rng([EVAL_SEEDS.start, 7, index])
    clip = sample_clip(rng, duration_s=seconds)
    times_s = np.arange(int(seconds * fps)) / fps
    drawn = render(clip, times_s, height, width).astype(np.int16)
    grain = rng.integers(-2, 3, drawn.shape, dtype=np.int16)
    return FrameBatch(np.clip(drawn + grain, 0, 255).astype(np.uint8), times_s + index * seconds)
