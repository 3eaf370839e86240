"""What a model is asked of a part, with true answers, in the product's own prompts. Pure: facts in, turns out.

A `Turn` is one branch after the visual prefix: a caption, a policy, a question, whether a part is worth asking.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from vidlm import prompts
from vidlm.domain import Policy, Severity
from vidlm.moderation.policies import load_policies
from vidlm.toyworld.questions import KIND_ONLY, Question, absent_fact, absent_question, half_shown, namesakes, questions
from vidlm.toyworld.scene import HAZARDS
from vidlm.toyworld.truth import KNOWN_POLICIES, Fact, caption
from vidlm.toyworld.world import Rng

HELD_OUT: Final = frozenset(
    {("green", "star"), ("purple", "cross"), ("yellow", "triangle"), ("blue", "ring"), ("red", "car")}
)
"""Pairs that are drawn and captioned but never a policy in training: policies "composed of known words"."""

RARE: Final = frozenset({"direction", "place", "order"})
"""Kinds of question that fit few facts: they are asked twice as readily as the others where they fit."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One request and its true answer. `kind` names the skill, e.g. "caption", "policy", "colour".

    `about`: what the answer rests on; for a caption, one fact a sentence, for an order the first one first. Empty where
    nothing does ("No").
    """

    kind: str
    request: str
    answer: str
    about: tuple[Fact, ...] = ()


@lru_cache(maxsize=1)
def built_in_policies() -> dict[str, Policy]:
    """The built-in taxonomy by policy id."""
    return {policy.id: policy for policy in load_policies().policies}


def composed_policy(name: str) -> Policy:
    """A policy nobody wrote into the taxonomy, in the words of the world: "a green star"."""
    return Policy(f"custom.{name.replace(' ', '_')}", name, "custom", name, "", Severity.LOW, 0.5, 1.01)


def yes_no(holds: bool) -> str:
    return "Yes" if holds else "No"


def sample_turns(rng: Rng, seen: Sequence[Fact], *, count: int = 12) -> list[Turn]:
    """About `count` turns on one part: its caption, policies, attributes, relevance and things that are not there."""
    turns = [Turn("caption", prompts.caption_request(), caption(seen), tuple(seen))]
    turns += _policy_turns(rng, seen)
    turns += [_composed_turn(rng, seen)]
    asked = questions(rng, seen)
    asked.sort(key=lambda question: rng.random() * (0.5 if question.kind in RARE else 1.0))
    for question in asked[: max(1, count - len(turns) - 5)]:
        turns.append(Turn(question.kind, prompts.answer_request(question.text), question.answer, question.about))
    turns += _relevance_turns(rng, seen, asked)
    absent = absent_question(rng, seen)
    turns.append(Turn("absent", prompts.answer_request(absent.text), prompts.NOT_SHOWN))
    return turns


def _policy_turns(rng: Rng, seen: Sequence[Fact]) -> list[Turn]:
    """Built-in policies: up to three that hold, and at least two that do not, mostly of those the world knows."""
    policies = built_in_policies()
    holding = list(dict.fromkeys(policy for fact in seen for policy in fact.policies))
    others = [policy for policy in KNOWN_POLICIES if policy not in holding]
    strangers = [policy for policy in policies if policy not in KNOWN_POLICIES]
    chosen = [str(policy) for policy in rng.permutation(holding)[:3]] if holding else []
    count = len(chosen) + max(2, len(chosen))
    while len(chosen) < count:
        pool = others if rng.random() < 0.75 else strangers
        pick = str(rng.choice(pool))
        if pick not in chosen:
            chosen.append(pick)
    return [
        Turn(
            "policy",
            prompts.policy_question(policies[policy]),
            yes_no(policy in holding),
            tuple(fact for fact in seen if policy in fact.policies),
        )
        for policy in chosen
    ]


def _composed_turn(rng: Rng, seen: Sequence[Fact]) -> Turn:
    """A policy in the world's words, half of them true, never one of the held-out pairs."""
    candidates = [fact for fact in seen if (fact.colour, fact.kind) not in HELD_OUT]
    holds = bool(candidates) and rng.random() < 0.5
    while True:
        fact = candidates[int(rng.integers(len(candidates)))] if holds else absent_fact(rng, seen)
        if (fact.colour, fact.kind) not in HELD_OUT:
            break
    words = fact.subject if fact.kind in HAZARDS or rng.random() < 0.8 else f"{fact.subject} anywhere"
    about = namesakes(seen, fact) if holds else ()
    return Turn("composed", prompts.policy_question(composed_policy(words)), yes_no(holds), about)


def _relevance_turns(rng: Rng, seen: Sequence[Fact], asked: Sequence[Question]) -> list[Turn]:
    """Two that are "No" and two that are "Yes": every question asked of a video passes through this one first."""
    others = [absent_question(rng, seen), absent_question(rng, seen, kinds_only=True)]
    turns = [Turn("relevance", prompts.relevance_question(absent.text), "No") for absent in others]
    for number in range(2 if asked else 0):
        present = asked[int(rng.integers(len(asked)))]
        by_kind = [question for question in asked if question.kind in KIND_ONLY]
        if number == 1 and rng.random() < 0.3:
            present = half_shown(rng, seen)
        elif number == 1 and by_kind:
            present = by_kind[int(rng.integers(len(by_kind)))]
        turns.append(Turn("relevance", prompts.relevance_question(present.text), "Yes", present.about))
    return turns
