"""Requests about text alone (summaries, titles) and the corpus a tokenizer is trained on. Pure: facts in, text out."""

from __future__ import annotations

from collections.abc import Sequence

from vidlm import prompts
from vidlm.toyworld.tasks import Turn, built_in_policies, sample_turns
from vidlm.toyworld.truth import Fact, caption, facts_of
from vidlm.toyworld.world import Rng, sample_scene


def sample_text_turn(rng: Rng) -> Turn:
    """A summary of timestamped captions, or a title of a chapter's captions: no video in the prompt."""
    parts: list[tuple[float, list[Fact]]] = []
    start_s = float(rng.integers(0, 40)) / 2
    for _ in range(int(rng.integers(1, 7))):
        parts.append((start_s, facts_of(sample_scene(rng, 0.0, 5.0).actors)))
        start_s += float(rng.integers(4, 21)) / 2
    if rng.random() < 0.6:
        captions = [(at, caption(found)) for at, found in parts]
        return Turn("summary", prompts.summary_request(captions), summary([found for _, found in parts]))
    parts = parts[: int(rng.integers(1, 3))]
    return Turn("title", prompts.title_request([caption(found) for _, found in parts]), title([f for _, f in parts]))


def summary(parts: Sequence[Sequence[Fact]]) -> str:
    """What each part shows, in order: "First a red circle, then a fire and a dog."; hazards come before the rest."""
    said = [phrase for part in parts if (phrase := _subjects(part, 2))]
    said = [phrase for index, phrase in enumerate(said) if index == 0 or phrase != said[index - 1]]
    if not said:
        return "Nothing happens."
    if len(said) == 1:
        return f"The video shows {said[0]}."
    return f"First {said[0]}, then " + ", then ".join(said[1:]) + "."


def title(parts: Sequence[Sequence[Fact]]) -> str:
    """ "A red circle and a dog" """
    every = [fact for part in parts for fact in part]
    words = _subjects(every, 2)
    return words[0].upper() + words[1:] if words else "Nothing happens"


def _subjects(part: Sequence[Fact], most: int) -> str:
    named = list(dict.fromkeys(fact.subject for fact in (*[f for f in part if f.is_hazard], *part)))[:most]
    return " and ".join(named)


def vocabulary_corpus(rng: Rng, count: int) -> list[str]:
    """Texts that hold every word the prompts and answers are made of, for training a tokenizer."""
    lines: list[str] = [prompts.policy_question(policy) for policy in built_in_policies().values()] * 4
    for _ in range(count):
        seen = facts_of(sample_scene(rng, 0.0, 5.0).actors)
        for turn in [*sample_turns(rng, seen), sample_text_turn(rng)]:
            lines += [turn.request, turn.answer]
    return lines
