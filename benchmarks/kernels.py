"""Metrics 6 and 7: the tower against the library's, and text against the library's growing cache."""

from __future__ import annotations

import statistics
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

from benchmarks.measure import interleaved, ratio
from benchmarks.peers import Strong
from benchmarks.setting import Setting
from vidlm import prompts
from vidlm.model.generate import TextRequest
from vidlm.model.prefix import Prefix
from vidlm.model.video_model import VideoModel, running


def tower(setting: Setting, model: VideoModel, rounds: int, target: float | None) -> dict[str, Any]:
    """Patches a second of the tower, from bytes; the library gets rows that are already cut and normalised."""
    peer = Strong(setting.checkpoint)
    pairs = model.pairs(setting.segments[0])
    seen = peer.look(setting.segments[0])

    def theirs() -> None:
        with torch.inference_mode():
            setting.checkpoint.model.model.get_video_features(seen.rows, seen.grids)

    at_once = model.pairs_at_once(*pairs.shape[2:4])

    def ours() -> None:
        for first in range(0, len(pairs), at_once):
            model.encode_pairs(pairs[first : first + at_once])

    taken = interleaved({"ours": ours, "theirs": theirs}, rounds)
    patches = len(seen.rows)
    per_second = patches / statistics.median(taken["ours"])
    peak = _gemm_flops(model)
    share = per_second * _flops_per_patch(setting, patches // len(pairs)) / peak
    return ratio(
        "vision tower, patches a second, against get_video_features", target, taken["theirs"], taken["ours"],
        patches_per_s=round(per_second), share_of_gemm_peak=round(share, 3), gemm_tflops=round(peak / 1e12, 3),
    )  # fmt: skip


def _flops_per_patch(setting: Setting, patches: int) -> float:
    """Multiplications and additions of the blocks and the merger, for one patch of a pair of so many patches."""
    visual = setting.checkpoint.model.model.visual
    weights = sum(weight.numel() for weight in visual.blocks.parameters() if weight.ndim == 2)
    merger = sum(weight.numel() for weight in visual.merger.parameters() if weight.ndim == 2)
    width, depth = visual.blocks[0].attn.proj.weight.shape[0], len(visual.blocks)
    return float(2.0 * weights + 2.0 * merger / int(visual.spatial_merge_size) ** 2 + 4.0 * patches * width * depth)


def _gemm_flops(model: VideoModel) -> float:
    """What one large matrix product of the model's number format reaches here, in operations a second."""
    size = 8192 if model.text.device.type == "cuda" else 1024
    one = torch.randn(size, size, dtype=model.text.dtype, device=model.text.device)
    seconds = interleaved({"gemm": lambda: one @ one}, 5)["gemm"]
    return float(2.0 * size**3 / statistics.median(seconds))


def decoding(setting: Setting, model: VideoModel, rounds: int, rows: int, target: float | None) -> dict[str, Any]:
    """Tokens a second of many texts behind a prefix each, prefixes not counted."""
    visual = model.encode(setting.segments[0])
    prefix = model.open(prompts.video_prefix(visual.pair_times_s), visual)
    suffix = tuple(setting.checkpoint.tokenize(setting.request))
    requests = [TextRequest(prefix, suffix, setting.caption_tokens)] * rows

    def ours() -> None:
        writing = model.write(requests)
        with running():
            while not writing.advance():
                pass
        writing.close()

    def theirs() -> None:
        with torch.inference_mode():
            _library_decode(setting, prefix, suffix, rows)

    taken = interleaved({"ours": ours, "theirs": theirs}, rounds)
    tokens = rows * len(model.generate(prefix, setting.request, max_new_tokens=setting.caption_tokens).token_ids)
    per_second = tokens / statistics.median(taken["ours"])
    floor = _bytes_per_step(model, prefix, rows) / _bandwidth(model)
    steps = tokens / rows
    return ratio(
        f"caption tokens a second at {rows} rows, against the library's dynamic cache", target, taken["theirs"],
        taken["ours"], tokens_per_s=round(per_second),
        share_of_bandwidth_floor=round(floor * steps / statistics.median(taken["ours"]), 3),
    )  # fmt: skip


def _library_decode(setting: Setting, prefix: Prefix, suffix: tuple[int, ...], rows: int) -> None:
    model, stop = setting.checkpoint.model, setting.checkpoint.ids.stop
    cache: Any = DynamicCache()
    for layer in range(len(prefix.kv)):
        keys, values = (part.expand(rows, -1, -1, -1) for part in prefix.kv[layer])
        cache.update(keys, values, layer)
    ids = torch.tensor([suffix] * rows, device=setting.checkpoint.device)
    position, ended = prefix.next_position, [False] * rows
    for _ in range(setting.caption_tokens):
        places = torch.arange(position, position + ids.shape[1], device=ids.device).expand(3, rows, -1)
        hidden: Tensor = model.model.language_model(
            inputs_embeds=model.get_input_embeddings()(ids), position_ids=places, past_key_values=cache, use_cache=True
        ).last_hidden_state
        position += ids.shape[1]
        ids = model.lm_head(hidden[:, -1:]).argmax(dim=-1)
        ended = [end or token in stop for end, token in zip(ended, ids[:, 0].tolist(), strict=True)]
        if all(ended):
            break


def _bytes_per_step(model: VideoModel, prefix: Prefix, rows: int) -> float:
    """What a step cannot avoid reading: every weight of the language model, and every row's keys and values."""
    network = model.checkpoint.model
    weights = sum(weight.nbytes for weight in network.model.language_model.layers.parameters()) + model.text.head.nbytes
    return float(weights + rows * prefix.bytes)


def _bandwidth(model: VideoModel) -> float:
    """Bytes a second that this machine reads, from the sum of a large tensor."""
    size = 1 << (30 if model.text.device.type == "cuda" else 28)
    data = torch.ones(size // 4, dtype=torch.float32, device=model.text.device)
    return size / statistics.median(interleaved({"read": data.sum}, 5)["read"])
