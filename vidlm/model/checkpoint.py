"""A checkpoint in the hub's layout (Qwen2-VL, Qwen2.5-VL, Qwen3-VL) -> a model, its tokenizer and its ids.

The one door for transformers' errors, and the place where its types end and ours begin (`Any` stands for its objects).
Reads the flat configurations of 2024 and today's nested ones, one or many safetensors files, old and new weight names.
A checkpoint either loads whole or not at all: a weight that is missing would be random numbers, one left over a model
of another kind. Never runs code from a checkpoint and never unpickles one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
import transformers
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from transformers import AutoTokenizer
from transformers.utils import logging

from vidlm.errors import CheckpointError
from vidlm.model.folder import Identity, identify, locate, read_json
from vidlm.model.preprocess import FrameGeometry

DTYPES: Final = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
FAMILIES: Final = {"qwen2_vl": "Qwen2VL", "qwen2_5_vl": "Qwen2_5_VL", "qwen3_vl": "Qwen3VL"}
"""The `model_type` of a checkpoint that vidlm runs, and the library's name for it."""
_TOKENIZER: Any = AutoTokenizer
_LOGGING: Any = logging
_FOREIGN: Final = (
    OSError, ValueError, TypeError, KeyError, IndexError, AttributeError, ImportError, RuntimeError,
    SafetensorError, StrictDataclassError,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class TokenIds:
    """The token ids vidlm itself writes or reads. `stop` ends a generated text."""

    yes: int
    no: int
    vision_start: int
    vision_end: int
    video: int
    stop: frozenset[int]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A loaded model, ready to run: in eval mode, on its device, nothing requires gradients."""

    model: Any  # transformers.Qwen2VLForConditionalGeneration or one of its successors
    tokenizer: Any  # transformers.PreTrainedTokenizerFast
    geometry: FrameGeometry
    ids: TokenIds
    identity: Identity
    device: torch.device
    dtype: torch.dtype

    @property
    def family(self) -> str:
        """One of `FAMILIES`."""
        return str(self.model.config.model_type)

    @property
    def positions_per_second(self) -> float:
        """How many positions a second of video takes on the time axis; 0 where time is counted in frame pairs."""
        return float(self.model.config.vision_config.tokens_per_second) if self.family == "qwen2_5_vl" else 0.0

    def tokenize(self, text: str) -> list[int]:
        """Token ids of `text`, nothing added. Control tokens (`<|im_end|>`) written in it are control tokens."""
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False)
        return ids


def load(model: str, device: str = "auto", dtype: str = "auto") -> Checkpoint:
    """Load a checkpoint folder or hub id.

    device: `auto` (CUDA where there is one), `cpu`, `cuda` or `cuda:N`.  dtype: `auto` (bfloat16 on CUDA, float32 on a
    CPU), `float32`, `bfloat16` or `float16`. Raises `CheckpointError`, in one sentence, for whatever is wrong.
    """
    where = _device(device)
    precision = _dtype(dtype, where)
    folder = locate(model)
    with _one_door(folder):
        config = _config(folder)
        geometry = _geometry(folder, config)
        tokenizer = _tokenizer(folder)
        network = _network(folder, config, precision).to(where).eval().requires_grad_(False)
        ids = _token_ids(tokenizer, config, network.generation_config.eos_token_id)
        return Checkpoint(network, tokenizer, geometry, ids, identify(model, folder), where, precision)


@contextmanager
def _one_door(folder: Path) -> Iterator[None]:
    """Whatever transformers, safetensors and tokenizers raise over a bad folder becomes one `CheckpointError`."""
    before, bars = _LOGGING.get_verbosity(), _LOGGING.is_progress_bar_enabled()
    _LOGGING.set_verbosity_error()  # a load report is for us to judge, not to print
    _LOGGING.disable_progress_bar()
    try:
        yield
    except _FOREIGN as exc:
        reason = (str(exc).strip() or type(exc).__name__).splitlines()[0].replace(str(folder), folder.name)
        raise CheckpointError(f"the checkpoint {folder.name!r} cannot be loaded: {reason}") from exc
    finally:
        _LOGGING.set_verbosity(before)
        if bars:
            _LOGGING.enable_progress_bar()


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as exc:
        raise CheckpointError(f"{name!r} is not a device") from exc
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise CheckpointError(f"there is no device {name!r} on this machine")
    return device


def _dtype(name: str, device: torch.device) -> torch.dtype:
    if name == "auto":
        return torch.bfloat16 if device.type == "cuda" else torch.float32
    if name not in DTYPES:
        raise CheckpointError(f"{name!r} is not a number format; choose auto, {', '.join(DTYPES)}")
    return DTYPES[name]


def _library(kind: str, what: str) -> Any:
    """The library's class of a family, e.g. `Qwen2VLConfig`."""
    return getattr(transformers, FAMILIES[kind] + what)


def _config(folder: Path) -> Any:
    kind = read_json(folder / "config.json").get("model_type")
    if kind not in FAMILIES:
        known = ", ".join(map(repr, FAMILIES))
        raise CheckpointError(f"the checkpoint {folder.name!r} is of type {kind!r}; vidlm runs {known} models")
    config = _library(kind, "Config").from_pretrained(folder, local_files_only=True)
    # Published configurations name a sliding window that the weights were never used with: every layer sees everything.
    text = config.text_config
    text.use_sliding_window, text.sliding_window = False, None
    text.layer_types = ["full_attention"] * text.num_hidden_layers
    return config


def _geometry(folder: Path, config: Any) -> FrameGeometry:
    """The preprocessor's geometry, which has to agree with the tower it feeds."""
    geometry = FrameGeometry.from_checkpoint(folder)
    vision = config.vision_config
    pairs = (
        ("patch_size", geometry.patch_size, vision.patch_size),
        ("temporal_patch_size", geometry.temporal_patch_size, vision.temporal_patch_size),
        ("merge_size", geometry.merge_size, vision.spatial_merge_size),
        ("number of channels", 3, vision.in_channels),
        ("width of a visual token", config.text_config.hidden_size, _token_width(vision)),
    )
    for name, ours, towers in pairs:
        if ours != towers:
            raise CheckpointError(f"the checkpoint {folder.name!r} contradicts itself: {name} is {ours} and {towers}")
    return geometry


def _token_width(vision: Any) -> int:
    """Values of a visual token: Qwen2-VL calls `hidden_size` what its successors call `out_hidden_size`."""
    return int(vision.hidden_size if vision.model_type.startswith("qwen2_vl") else vision.out_hidden_size)


def _network(folder: Path, config: Any, dtype: torch.dtype) -> Any:
    network, info = _library(config.model_type, "ForConditionalGeneration").from_pretrained(
        folder,
        config=config,
        dtype=dtype,
        attn_implementation="sdpa",
        use_safetensors=True,
        local_files_only=True,
        output_loading_info=True,
    )
    for problem in ("missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs"):
        if found := sorted(map(str, info.get(problem) or ())):
            what = problem.replace("_", " ").replace("keys", "weights").replace("error msgs", "errors")
            shown = ", ".join(found[:3]) + (f" and {len(found) - 3} more" if len(found) > 3 else "")
            raise CheckpointError(f"the checkpoint {folder.name!r} has {what}: {shown}")
    return network


def _tokenizer(folder: Path) -> Any:
    tokenizer = _TOKENIZER.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    template = folder / "chat_template.json"
    if not tokenizer.chat_template and template.is_file():  # the layout of 2024, which AutoTokenizer does not read
        tokenizer.chat_template = read_json(template).get("chat_template")
    return tokenizer


def _token_ids(tokenizer: Any, config: Any, eos: int | list[int] | None) -> TokenIds:
    vocabulary: dict[str, int] = tokenizer.get_vocab()
    if max(vocabulary.values()) >= config.text_config.vocab_size:
        raise CheckpointError(f"the tokenizer has more tokens than the model's {config.text_config.vocab_size}")
    written = {
        "<|im_start|>": None,
        "<|im_end|>": None,
        "<|vision_start|>": config.vision_start_token_id,
        "<|vision_end|>": config.vision_end_token_id,
        "<|video_pad|>": config.video_token_id,
    }
    for token, expected in written.items():
        if vocabulary.get(token) is None or expected not in (None, vocabulary[token]):
            raise CheckpointError(f"tokenizer and configuration disagree about the token {token}")
    yes, no = (_only_token(tokenizer, word) for word in ("Yes", "No"))
    if yes == no:
        raise CheckpointError("the tokenizer writes Yes and No with the same token")
    ends = [] if eos is None else [eos] if isinstance(eos, int) else eos
    return TokenIds(
        yes=yes,
        no=no,
        vision_start=vocabulary["<|vision_start|>"],
        vision_end=vocabulary["<|vision_end|>"],
        video=vocabulary["<|video_pad|>"],
        stop=frozenset([*ends, vocabulary["<|im_end|>"]]),
    )


def _only_token(tokenizer: Any, word: str) -> int:
    """The one token of a word that scores are read from: the first of several would be the start of other words too."""
    ids: list[int] = tokenizer.encode(word, add_special_tokens=False)
    if len(ids) != 1:
        raise CheckpointError(f"the tokenizer writes {word} with {len(ids)} tokens; scores need it to be one")
    return ids[0]
