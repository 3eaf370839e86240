"""Metrics 1 to 3: the whole job from frames, against plain and careful transformers, and what the scores add to it."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from benchmarks.measure import interleaved, median_s, ratio
from benchmarks.peers import Plain, Strong
from benchmarks.setting import SEGMENT_S, Setting
from vidlm import prompts
from vidlm.model.engine import Engine, Prompt

SUMMARY_TOKENS = 60


@dataclass(frozen=True, slots=True)
class Result:
    """What a way found: for each segment its scores and caption, and the summary."""

    scores: list[list[float]]
    captions: list[str]
    summary: str


def ours(engine: Engine, setting: Setting, questions: Sequence[str]) -> Result:
    """As the product does it: everything is asked for at once, and the engine batches."""
    seen = [engine.encode(frames) for frames in setting.segments]
    scores, captions = [], []
    for future in seen:
        visual = future.result()
        prompt = Prompt(prompts.video_prefix(visual.pair_times_s), visual)
        scores.append(engine.score(prompt, questions))
        captions.append(engine.caption(prompt, setting.request, max_new_tokens=setting.caption_tokens))
    written = [future.result().text for future in captions]
    found = [future.result() for future in scores]
    told = [(index * SEGMENT_S, caption) for index, caption in enumerate(written)]
    request = prompts.branch(prompts.summary_request(told))
    summary = engine.caption(Prompt(prompts.text_prefix()), request, max_new_tokens=SUMMARY_TOKENS)
    return Result(found, written, summary.result().text)


@torch.inference_mode()
def plain(peer: Plain, setting: Setting) -> Result:
    seen = [peer.look(frames) for frames in setting.segments]
    scores = [peer.scores(one, setting.questions) for one in seen]
    captions = [peer.caption(one, setting.request, setting.caption_tokens) for one in seen]
    return Result(scores, captions, peer.summary(captions, SEGMENT_S, SUMMARY_TOKENS))


@torch.inference_mode()
def strong(peer: Strong, setting: Setting) -> Result:
    seen = [peer.look(frames) for frames in setting.segments]
    shown = [(one, peer.features(one)) for one in seen]
    scores = [peer.scores(one, features, setting.questions) for one, features in shown]
    captions = peer.captions(shown, setting.request, setting.caption_tokens)
    return Result(scores, captions, peer.summary(captions, SEGMENT_S, SUMMARY_TOKENS))


def gate(engine: Engine, setting: Setting) -> dict[str, Any]:
    """Whether all ways say the same, before any of them is timed. A wrong answer has no speed.

    Scores are held against whole prompts in float32; in bfloat16 texts may part where two words are nearly as likely.
    """
    exact = _in_float32(setting)
    ways = [ours(engine, setting, setting.questions), strong(Strong(setting.checkpoint), setting)]
    allowed = 1e-4 if setting.checkpoint.dtype == torch.float32 else 2e-2
    apart = max(
        abs(one - other)
        for way in ways
        for a, b in zip(way.scores, exact.scores, strict=True)
        for one, other in zip(a, b, strict=True)
    )
    same_texts = all((way.captions, way.summary) == (exact.captions, exact.summary) for way in ways)
    passed = apart <= allowed and (same_texts or setting.checkpoint.dtype != torch.float32)
    return {"passed": passed, "scores_apart": apart, "allowed": allowed, "texts_equal": same_texts}


def _in_float32(setting: Setting) -> Result:
    """What whole prompts give in float32; a half-precision model is copied for it, since its own weights are in use."""
    checkpoint = setting.checkpoint
    if checkpoint.dtype != torch.float32:
        checkpoint = replace(checkpoint, model=copy.deepcopy(checkpoint.model).float(), dtype=torch.float32)
    return plain(Plain(checkpoint), setting)


def compare(engine: Engine, setting: Setting, rounds: int, targets: dict[str, float | None]) -> dict[str, Any]:
    """Metrics 1, 2 and 3 over the same segments."""
    one_by_one, careful = Plain(setting.checkpoint), Strong(setting.checkpoint)
    taken = interleaved(
        {
            "vidlm": lambda: ours(engine, setting, setting.questions),
            "captions alone": lambda: ours(engine, setting, []),
            "strong": lambda: strong(careful, setting),
            "plain": lambda: plain(one_by_one, setting),
        },
        rounds,
        warm=False,  # all have run before: see `gate`
    )
    seconds = {name: median_s(values) for name, values in taken.items()}
    name = "whole job from frames, {} transformers over vidlm"
    return {
        "1": ratio(name.format("plain"), targets["1"], taken["plain"], taken["vidlm"], seconds=seconds),
        "2": ratio(name.format("careful"), targets["2"], taken["strong"], taken["vidlm"], seconds=seconds),
        "3": ratio(
            f"caption and {len(setting.questions)} scores over caption alone", targets["3"], taken["vidlm"],
            taken["captions alone"], lower_is_better=True, seconds=seconds,
        ),
    }  # fmt: skip
