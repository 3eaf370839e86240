"""What a model is asked of a part, with true answers, in the product's own prompts. Pure: facts in, turns out.

A `Turn` is one branch after the visual prefix: a caption, a policy, a question, whether a part is worth asking.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from itertools import chain
from typing import Final

from vidlm import prompts
from vidlm.domain import Policy
from vidlm.moderation.policies import load_policies
from vidlm.toyworld.absent import absent_question, half_shown
from vidlm.toyworld.composed import Composed, in_other_words, sample_composed, sample_contrast
from vidlm.toyworld.questions import Question, both_ways, follow_ups, options_of, questions
from vidlm.toyworld.truth import KNOWN_POLICIES, Fact, caption
from vidlm.toyworld.world import HELD_OUT, Rng

RARE: Final = frozenset({"direction", "place", "order"})
"""Kinds of question that fit few facts: they are asked more readily than others where they fit."""
ABSENT: Final = 0.6
"""Of parts that are asked about something that is not there."""
BOTH_WAYS: Final = 0.6
"""Of parts where it can be asked what comes first and what last, and whether something is so and is not: both, of
the same things. What differs is one word, so that word has to be read."""
LETTERED: Final = 0.2
"""Of parts that are asked to choose by letter, and of those that are asked yes or no, as benchmarks do."""
RELEVANCE: Final = 2
"""Questions that a part shows something of, and as many that it shows nothing of, which it is asked about."""
BY_KIND: Final = 0.4
OF_MOTION: Final = 0.25
"""Of those, questions that name no colour, and that ask what it is that moves so: hardest to see whether they fit."""
COMPOSED: Final = 3
"""Policies in the world's words that a part is asked, besides two that differ in little."""
IN_OTHER_WORDS: Final = 0.2
"""Of composed policies, those written as somebody in a hurry writes them."""
FOLLOW_UPS: Final = 0.35
"""Of parts that are asked a question which only makes sense after another one."""
CAPTIONED: Final = 8
"""Facts that a caption tells, at most: parts that show more are only asked about."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One request and its true answer. `kind` names the skill, e.g. "caption", "policy", "colour".

    `about`: what the answer rests on; for a caption, one fact a sentence, for an order the first one first. Empty where
    nothing does ("No").  `named`: other things that the request names, whether they are there or not.  `mentions`:
    words of the request with the facts that fit them, where that is more than a name says (`Composed.mentions`).
    """

    kind: str
    request: str
    answer: str
    about: tuple[Fact, ...] = ()
    history: tuple[tuple[str, str], ...] = ()
    named: tuple[Fact, ...] = ()
    mentions: tuple[tuple[str, tuple[Fact, ...]], ...] = ()

    @property
    def text(self) -> str:
        """The request as it follows a prefix."""
        return prompts.branch(self.request, self.history)


@lru_cache(maxsize=1)
def built_in_policies() -> dict[str, Policy]:
    """The built-in taxonomy by policy id."""
    return {policy.id: policy for policy in load_policies().policies}


def yes_no(holds: bool) -> str:
    return "Yes" if holds else "No"


def sample_turns(rng: Rng, seen: Sequence[Fact], *, asked: int = 3) -> list[Turn]:
    """About sixteen turns on one part: its caption, policies, `asked` questions, relevance, things that are not there.

    Yes and No come cheap, one word a turn, and are learnt early: what is told and what is asked weigh more here."""
    turns: list[Turn] = []
    if len(seen) <= CAPTIONED:
        turns.append(Turn("caption", prompts.caption_request(), caption(seen), tuple(seen)))
    turns += _policy_turns(rng, seen)
    composed = [*(sample_composed(rng, seen) for _ in range(COMPOSED)), *sample_contrast(rng, seen)]
    turns += [_composed_turn(rng, made, seen) for made in composed]
    found = questions(rng, seen)
    pairs = [pair for pair in both_ways(rng, seen) if rng.random() < BOTH_WAYS]
    turns += [
        Turn(question.kind, prompts.answer_request(question.text), question.answer, question.about)
        for question in (*_varied(rng, found)[:asked], *chain.from_iterable(pairs))
    ]
    turns += _relevance_turns(rng, seen, found)
    if rng.random() < ABSENT:
        absent = absent_question(rng, seen)
        turns.append(Turn("absent", prompts.answer_request(absent.text), prompts.NOT_SHOWN, named=absent.about))
    turns += _benchmark_turns(rng, found)
    if rng.random() < FOLLOW_UPS:
        turns += _follow_up_turns(rng, seen)
    return turns


def _varied(rng: Rng, found: Sequence[Question]) -> list[Question]:
    """The questions, one of every kind before a second of any; kinds that fit few parts come early."""
    shuffled = sorted(found, key=lambda question: rng.random() * (0.4 if question.kind in RARE else 1.0))
    before = Counter[str]()
    rounds = []
    for question in shuffled:
        rounds.append(before[question.kind])
        before[question.kind] += 1
    return [question for _, question in sorted(zip(rounds, shuffled, strict=True), key=lambda item: item[0])]


def _policy_turns(rng: Rng, seen: Sequence[Fact]) -> list[Turn]:
    """Built-in policies: up to two that hold, as many that do not (at least one), mostly of those the world knows."""
    policies = built_in_policies()
    holding = list(dict.fromkeys(policy for fact in seen for policy in fact.policies))
    others = [policy for policy in KNOWN_POLICIES if policy not in holding]
    strangers = [policy for policy in policies if policy not in KNOWN_POLICIES]
    chosen = [str(policy) for policy in rng.permutation(holding)[:2]] if holding else []
    count = len(chosen) + max(1, len(chosen))
    while len(chosen) < count:
        pool = others if others and rng.random() < 0.75 else strangers
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


def _composed_turn(rng: Rng, made: Composed, seen: Sequence[Fact]) -> Turn:
    """A policy in the world's words."""
    if rng.random() < IN_OTHER_WORDS:
        made = replace(made, blocked=in_other_words(rng, made.blocked))
    holds = made.holds(seen)
    about = made.about(seen) if holds else ()
    request = prompts.policy_question(made.policy)
    return Turn("composed", request, yes_no(holds), about, mentions=made.mentions(seen))


def _benchmark_turns(rng: Rng, asked: Sequence[Question]) -> list[Turn]:
    """Questions as benchmarks put them: a choice by letter, yes or no."""
    turns: list[Turn] = []
    listed = [(question, options) for question in asked if (options := options_of(rng, question))]
    if listed and rng.random() < LETTERED:
        question, options = listed[int(rng.integers(len(listed)))]
        letter = prompts.LETTERS[options.index(question.answer.rstrip("."))]
        request = prompts.choice_request(question.text, options)
        turns.append(Turn("choice", request, letter, question.about))
    checks = [question for question in asked if question.kind in ("check", "present")]
    if checks and rng.random() < LETTERED:
        question = checks[int(rng.integers(len(checks)))]
        answer = question.answer.rstrip(".")
        turns.append(Turn("yes_no", prompts.yes_no_request(question.text), answer, question.about))
    return turns


def _follow_up_turns(rng: Rng, seen: Sequence[Fact]) -> list[Turn]:
    """A question about "it" after another one, and whether a part is worth asking it."""
    pairs = follow_ups(rng, seen)
    if not pairs:
        return []
    first, then = pairs[int(rng.integers(len(pairs)))]
    history = ((first.text, first.answer),)
    turns = [Turn("follow_up", prompts.answer_request(then.text), then.answer, then.about, history)]
    if rng.random() < 0.5:
        request = prompts.relevance_question(then.text)
        return [*turns, Turn("relevance", request, "Yes", then.about, history)]
    absent = absent_question(rng, seen)
    said = ((absent.text, str(rng.choice(_ELSEWHERE))),)
    return [*turns, Turn("relevance", prompts.relevance_question(then.text), "No", (), said)]


_ELSEWHERE: Final = ("Left.", "Red.", "In the middle.", "From 2.0s to 4.5s.", "Two.", "A dog.")
"""What an earlier question may have been answered from another part: that part is not this one."""


def _relevance_turns(rng: Rng, seen: Sequence[Fact], asked: Sequence[Question]) -> list[Turn]:
    """As many that are "No" as are "Yes": every question asked of a video passes through this one first."""
    turns: list[Turn] = []
    asked = [question for question in asked if not _names_held_out(question)]
    by_kind = [question for question in asked if question.by_kind]
    of_motion = [question for question in asked if question.of_motion]
    for _ in range(RELEVANCE):
        roll = rng.random()
        moves = roll > 1 - OF_MOTION and (bool(of_motion) or rng.random() < 0.5)  # about as often "No" as "Yes"
        absent = _until_askable(partial(absent_question, rng, seen, by_kind=roll < BY_KIND, of_motion=moves))
        turns.append(Turn("relevance", prompts.relevance_question(absent.text), "No", named=absent.about))
        if not asked:
            break
        present = asked[int(rng.integers(len(asked)))]
        if rng.random() < 0.15 and any((fact.colour, fact.kind) not in HELD_OUT for fact in seen):
            present = _until_askable(partial(half_shown, rng, seen))
        elif by_kind and roll < BY_KIND:
            present = by_kind[int(rng.integers(len(by_kind)))]
        elif of_motion and roll > 1 - OF_MOTION:
            present = of_motion[int(rng.integers(len(of_motion)))]
        turns.append(Turn("relevance", prompts.relevance_question(present.text), "Yes", present.about))
    return turns


def _names_held_out(question: Question) -> bool:
    """Whether it names one of the pairs of which training never asks whether a part shows them."""
    text = question.text.lower()
    return any(f"{colour} {kind}" in text for colour, kind in HELD_OUT)


def _until_askable(draw: Callable[[], Question]) -> Question:
    while _names_held_out(question := draw()):
        pass
    return question
