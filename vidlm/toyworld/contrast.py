"""The small image and text encoder: a CLIPModel as the library lays it out, its tokenizer, its loss and its files.

Radford et al. 2021 (arXiv:2103.00020). A text may be true of several pictures of a batch (who asks for "a dog" means
any dog): those are not counted against it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from torch import Tensor
from transformers import CLIPConfig, CLIPModel

from vidlm.toyworld.dataset import IMAGE_SIDE, Images, sample_images
from vidlm.toyworld.losses import autocast
from vidlm.toyworld.scene import COLOURS
from vidlm.toyworld.student import token_id
from vidlm.toyworld.world import EVAL_SEEDS

VOCABULARY: Final = 768
TEXT_TOKENS: Final = 48
MEAN: Final = (0.48145466, 0.4578275, 0.40821073)
STD: Final = (0.26862954, 0.26130258, 0.27577711)
"""Of the published CLIP's processor, in units of full brightness."""
LOOKED_AT: Final = 256
_START, _END = "<|startoftext|>", "<|endoftext|>"
_SPLIT: Final = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
"""How CLIP's tokenizer cuts text before byte-pair merging."""


def train_tokenizer(seed: int = 0) -> Tokenizer:
    """A byte-level BPE tokenizer in CLIP's manner (lower case, a mark at the end of words) from the world's texts."""
    tokenizer = Tokenizer(models.BPE(end_of_word_suffix="</w>", unk_token=_END))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_SPLIT), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - 2,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        end_of_word_suffix="</w>",
        show_progress=False,
    )
    rng = np.random.default_rng(seed)
    texts = sample_images(rng, 600).texts
    colours = [f"{colour} thing, {colour}" for colour in COLOURS]
    tokenizer.train_from_iterator([*texts, *colours], trainer)
    tokenizer.add_special_tokens([_START, _END])
    start, end = token_id(tokenizer, _START), token_id(tokenizer, _END)
    tokenizer.post_processor = processors.RobertaProcessing((_END, end), (_START, start), trim_offsets=False)
    return tokenizer


def new_model(tokenizer: Tokenizer, seed: int = 0) -> Any:
    """Fresh weights, float32: three million."""
    torch.manual_seed(seed)
    start, end = token_id(tokenizer, _START), token_id(tokenizer, _END)
    config = CLIPConfig(
        text_config={
            "vocab_size": VOCABULARY,
            "hidden_size": 160,
            "intermediate_size": 640,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "max_position_embeddings": TEXT_TOKENS,
            "projection_dim": 128,
            "bos_token_id": start,
            "eos_token_id": end,
            "pad_token_id": end,
        },
        vision_config={
            "hidden_size": 192,
            "intermediate_size": 768,
            "num_hidden_layers": 4,
            "num_attention_heads": 3,
            "image_size": IMAGE_SIDE,
            "patch_size": 14,
            "projection_dim": 128,
        },
        projection_dim=128,
    )
    model: Any = CLIPModel(config)
    return model.float()


def encode_texts(model: Any, tokenizer: Tokenizer, texts: list[str], device: torch.device) -> Tensor:
    """Unit vectors `[N, 128]`. A text is cut after `TEXT_TOKENS` tokens, its end mark kept."""
    found = [encoding.ids for encoding in tokenizer.encode_batch(texts)]
    rows = [ids if len(ids) <= TEXT_TOKENS else [*ids[: TEXT_TOKENS - 1], ids[-1]] for ids in found]
    length = max(map(len, rows))
    ids = torch.tensor([[*row, *row[-1:] * (length - len(row))] for row in rows], device=device)
    mask = torch.tensor([[1] * len(row) + [0] * (length - len(row)) for row in rows], device=device)
    pooled = model.text_model(input_ids=ids, attention_mask=mask).pooler_output
    return F.normalize(model.text_projection(pooled).float(), dim=-1)


def encode_images(model: Any, pixels: Tensor) -> Tensor:
    """Unit vectors `[N, 128]` of uint8 pictures `[N, 112, 112, 3]`."""
    mean, std = (torch.tensor(of, device=pixels.device) for of in (MEAN, STD))
    values = ((pixels.float() / 255 - mean) / std).permute(0, 3, 1, 2)
    pooled = model.vision_model(pixel_values=values).pooler_output
    return F.normalize(model.visual_projection(pooled).float(), dim=-1)


def loss(model: Any, tokenizer: Tokenizer, batch: Images, device: torch.device) -> tuple[Tensor, dict[str, float]]:
    """Symmetric InfoNCE over the batch; pictures that a text is also true of are left out of its comparison."""
    images = encode_images(model, batch.pixels.to(device))
    texts = encode_texts(model, tokenizer, batch.texts, device)
    logits = model.logit_scale.exp().clamp(max=100) * texts @ images.T
    also = torch.tensor([[set(said) <= shown for shown in batch.shown] for said in batch.said], device=device)
    logits = logits.masked_fill(also & ~torch.eye(len(also), dtype=torch.bool, device=device), -1e4)
    target = torch.arange(len(also), device=device)
    right = (logits.argmax(1) == target).float().mean()
    total = 0.5 * (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target))
    return total, {"match": float(right)}


@torch.inference_mode()
def retrieval(model: Any, tokenizer: Tokenizer, device: torch.device) -> dict[str, float]:
    """On unseen pictures: how often the first picture found for a text is one it is true of, among 256 at once."""
    batch = sample_images(np.random.default_rng([EVAL_SEEDS.start, 77]), LOOKED_AT, per_scene=1)
    with autocast(device):
        images = encode_images(model, batch.pixels.to(device))
        texts = encode_texts(model, tokenizer, batch.texts, device)
    first = (texts @ images.T).argmax(1).tolist()
    right = [set(said) <= batch.shown[found] for said, found in zip(batch.said, first, strict=True)]
    return {"first_found": round(sum(right) / len(right), 4)}


def save_model(model: Any, tokenizer: Tokenizer, folder: Path) -> None:
    """Weights in bfloat16, config, tokenizer and processor as the hub lays them out."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = {
        name: tensor.to(torch.bfloat16) for name, tensor in model.state_dict().items() if tensor.is_floating_point()
    }
    model.save_pretrained(folder, state_dict=weights)
    tokenizer.save(str(folder / "tokenizer.json"))
    tokenizer.model.save(str(folder))  # vocab.json, merges.txt
    special = {"bos_token": _START, "eos_token": _END, "pad_token": _END, "unk_token": _END}
    _write(
        folder / "tokenizer_config.json",
        {"tokenizer_class": "CLIPTokenizer", "model_max_length": TEXT_TOKENS, "do_lower_case": True, **special},
    )
    _write(
        folder / "preprocessor_config.json",
        {
            "image_processor_type": "CLIPImageProcessor",
            "do_resize": True,
            "size": {"height": IMAGE_SIDE, "width": IMAGE_SIDE},
            "resample": 3,
            "do_center_crop": False,
            "do_rescale": True,
            "do_normalize": True,
            "do_convert_rgb": True,
            "image_mean": list(MEAN),
            "image_std": list(STD),
        },
    )
    _write(folder / "vidlm.json", {"name": "vidlm-tiny-clip", "toy": True})


def _write(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
