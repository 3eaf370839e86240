"""The embedded model before it has learnt anything: tokenizer, architecture and files, as the hub lays them out.

Same classes, config keys, processor files and chat template as the published Qwen2-VL checkpoints, only small: whatever
loads one loads the other.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import Qwen2VLConfig, Qwen2VLForConditionalGeneration

from vidlm.model.preprocess import FrameGeometry
from vidlm.toyworld.texts import vocabulary_corpus

SPECIAL_TOKENS: Final = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
VOCABULARY: Final = 1024
GEOMETRY: Final = FrameGeometry(max_pixels=112 * 200)
"""At least 112 pixels high at 4:3 and at 16:9: at 84 the smallest shapes, 18 pixels wide, were taken for others."""
SEGMENT_MAX_S: Final = 3.0
"""How much of a video it is best asked about at once: it is small, and a second of something is lost in more."""
ANSWER_CONFIDENCE: Final = 0.6
"""How sure its answers should be to be given (docs/design/answers.md): up to here wrong abstentions do not rise."""
LAYERS: Final = 5
"""Of the language model: the first tells tokens where and when they are, the second and third look for what is named
and asked about, the fourth for what follows from both, and the last one says it (`lessons.py`)."""
MROPE: Final = [8, 12, 12]
ROPE_THETA: Final = 10.0
"""Rotary frequencies fall from axis to axis (time, height, width). At the usual 10,000 a step to the right turns a key
by at most 0.003 radians and the language model cannot tell left from right; at 10 it is 0.1 to 0.24 radians a cell."""
_SPLIT: Final = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""How Qwen2's tokenizer cuts text before byte-pair merging: words with their space, single digits, punctuation."""

CHAT_TEMPLATE: Final = (
    "{% for message in messages %}{% if loop.first and message['role'] != 'system' %}"
    "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n{% endif %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}{% for content in message['content'] %}"
    "{% if content['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif content['type'] == 'video' %}<|vision_start|><|video_pad|><|vision_end|>"
    "{% elif 'text' in content %}{{ content['text'] }}{% endif %}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def train_tokenizer(seed: int = 0) -> Tokenizer:
    """A byte-level BPE tokenizer in Qwen2's manner whose merges come from the world's own prompts and answers."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_SPLIT), behavior="isolated", invert=False),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - len(SPECIAL_TOKENS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(vocabulary_corpus(np.random.default_rng(seed), 3000), trainer)
    tokenizer.add_special_tokens(list(SPECIAL_TOKENS))
    return tokenizer


def token_id(tokenizer: Tokenizer, token: str) -> int:
    """The id of a token that must exist."""
    found = tokenizer.token_to_id(token)
    if found is None:
        raise KeyError(token)
    return int(found)


def new_config(tokenizer: Tokenizer) -> Any:
    """The architecture: about seven million weights."""
    ids = {token: token_id(tokenizer, token) for token in SPECIAL_TOKENS}
    return Qwen2VLConfig(
        text_config={
            "vocab_size": VOCABULARY,
            "hidden_size": 256,
            "intermediate_size": 768,
            "num_hidden_layers": LAYERS,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": 32768,
            "rms_norm_eps": 1e-6,
            "rope_parameters": {"rope_type": "default", "rope_theta": ROPE_THETA, "mrope_section": MROPE},
            "bos_token_id": ids["<|endoftext|>"],
            "eos_token_id": ids["<|im_end|>"],
            "tie_word_embeddings": True,
        },
        vision_config={
            "depth": 4,
            "embed_dim": 192,
            "num_heads": 3,
            "mlp_ratio": 4,
            "hidden_size": 256,
            "patch_size": GEOMETRY.patch_size,
            "spatial_merge_size": GEOMETRY.merge_size,
            "temporal_patch_size": GEOMETRY.temporal_patch_size,
            "in_channels": 3,
        },
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
        tie_word_embeddings=True,
    )


def new_model(tokenizer: Tokenizer, seed: int = 0) -> Any:
    """Fresh weights, float32."""
    torch.manual_seed(seed)
    model: Any = Qwen2VLForConditionalGeneration(new_config(tokenizer))
    return model.float()


def save_tokenizer(tokenizer: Tokenizer, folder: Path) -> None:
    """The tokenizer's files and the processor's, as the hub lays them out."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    tokenizer.model.save(str(folder))  # vocab.json, merges.txt
    _write(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "Qwen2Tokenizer",
            "add_prefix_space": False,
            "bos_token": None,
            "eos_token": "<|im_end|>",
            "pad_token": "<|endoftext|>",
            "unk_token": None,
            "errors": "replace",
            "clean_up_tokenization_spaces": False,
            "split_special_tokens": False,
            "model_max_length": 32768,
            "additional_special_tokens": list(SPECIAL_TOKENS[1:]),
            "chat_template": CHAT_TEMPLATE,
        },
    )
    _write(
        folder / "preprocessor_config.json",
        {
            "image_processor_type": "Qwen2VLImageProcessor",
            "processor_class": "Qwen2VLProcessor",
            "min_pixels": GEOMETRY.min_pixels,
            "max_pixels": GEOMETRY.max_pixels,
            "patch_size": GEOMETRY.patch_size,
            "temporal_patch_size": GEOMETRY.temporal_patch_size,
            "merge_size": GEOMETRY.merge_size,
            "image_mean": list(GEOMETRY.mean),
            "image_std": list(GEOMETRY.std),
        },
    )


def save_model(model: Any, tokenizer: Tokenizer, folder: Path) -> None:
    """Weights in bfloat16 under the published checkpoints' key names, and the configs beside them."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = {
        _published_name(name): tensor.detach().to(torch.bfloat16).contiguous().cpu()
        for name, tensor in model.state_dict().items()
        if name != "lm_head.weight"  # tied to the embedding
    }
    save_file(weights, str(folder / "model.safetensors"), metadata={"format": "pt"})
    text, vision = model.config.text_config, model.config.vision_config
    _write(
        folder / "config.json",
        {
            "architectures": ["Qwen2VLForConditionalGeneration"],
            "model_type": "qwen2_vl",
            "hidden_act": "silu",
            "hidden_size": text.hidden_size,
            "intermediate_size": text.intermediate_size,
            "num_hidden_layers": text.num_hidden_layers,
            "num_attention_heads": text.num_attention_heads,
            "num_key_value_heads": text.num_key_value_heads,
            "max_position_embeddings": text.max_position_embeddings,
            "rms_norm_eps": text.rms_norm_eps,
            "rope_theta": ROPE_THETA,
            "rope_scaling": {"type": "mrope", "mrope_section": MROPE},
            "tie_word_embeddings": True,
            "use_sliding_window": False,
            "vocab_size": text.vocab_size,
            "bos_token_id": text.bos_token_id,
            "eos_token_id": text.eos_token_id,
            "vision_start_token_id": model.config.vision_start_token_id,
            "vision_end_token_id": model.config.vision_end_token_id,
            "image_token_id": model.config.image_token_id,
            "video_token_id": model.config.video_token_id,
            "torch_dtype": "bfloat16",
            "vision_config": {
                "depth": vision.depth,
                "embed_dim": vision.embed_dim,
                "num_heads": vision.num_heads,
                "mlp_ratio": vision.mlp_ratio,
                "hidden_size": vision.hidden_size,
                "in_chans": 3,
                "patch_size": vision.patch_size,
                "spatial_patch_size": vision.patch_size,
                "spatial_merge_size": vision.spatial_merge_size,
                "temporal_patch_size": vision.temporal_patch_size,
            },
        },
    )
    end = [token_id(tokenizer, "<|im_end|>"), token_id(tokenizer, "<|endoftext|>")]
    _write(
        folder / "generation_config.json",
        {"bos_token_id": end[1], "pad_token_id": end[1], "eos_token_id": end, "do_sample": False},
    )
    # whatever is trained here knows the toy world and nothing else, and is to say so wherever it is used
    suits = {"segment_max_s": SEGMENT_MAX_S, "answer_confidence": ANSWER_CONFIDENCE}
    _write(folder / "vidlm.json", {"name": "vidlm-tiny", "toy": True, **suits})
    save_tokenizer(tokenizer, folder)


def saved_weights(folder: Path) -> dict[str, torch.Tensor]:
    """What `save_model` wrote, float32, under the names of `new_model`'s own state."""
    weights = {_own_name(name): weight.float() for name, weight in load_file(folder / "model.safetensors").items()}
    return {**weights, "lm_head.weight": weights["model.language_model.embed_tokens.weight"]}


def _own_name(name: str) -> str:
    """`_published_name`, the other way round."""
    if name.startswith("visual."):
        return f"model.{name}"
    return name.replace("model.", "model.language_model.", 1)


def _published_name(name: str) -> str:
    """The library's module names of today -> the key names of the published checkpoints."""
    return name.replace("model.language_model.", "model.").replace("model.visual.", "visual.")


def _write(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
