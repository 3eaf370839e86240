"""Questions with known answers about what can be seen, in the product's own prompts. Pure: facts in, turns out.

A `Turn` is one branch after the visual prefix. Every kind of question says who it may be asked of (only where the
answer is unambiguous), so the same builders serve training and evaluation.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from vidlm import prompts
from vidlm.domain import Policy, Severity
from vidlm.moderation.policies import load_policies
from vidlm.toyworld.scene import HAZARDS, SHAPES, THINGS
from vidlm.toyworld.truth import KNOWN_POLICIES, Fact, at_place, caption, fact_of
from vidlm.toyworld.world import SHAPE_COLOURS, THING_COLOURS, Rng, sample_scene

HELD_OUT: Final = frozenset(
    {("green", "star"), ("purple", "cross"), ("yellow", "triangle"), ("blue", "ring"), ("red", "car")}
)
"""Pairs that are drawn and captioned but never a policy in training: policies "composed of known words"."""

NUMBERS: Final = ("None", "One", "Two", "Three", "Four")


@dataclass(frozen=True, slots=True)
class Turn:
    """One request and its true answer. `kind` names the skill, e.g. "caption", "policy", "colour"."""

    kind: str
    request: str
    answer: str


@dataclass(frozen=True, slots=True)
class Question:
    """A question in plain words as a user would put it, before it is dressed as a prompt."""

    kind: str
    text: str
    answer: str


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
    turns = [Turn("caption", prompts.caption_request(), caption(seen))]
    turns += _policy_turns(rng, seen)
    turns += [_composed_turn(rng, seen)]
    asked = questions(rng, seen)
    rng.shuffle(asked)
    for question in asked[: max(1, count - len(turns) - 3)]:
        turns.append(Turn(question.kind, prompts.answer_request(question.text), question.answer))
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
    return [Turn("policy", prompts.policy_question(policies[p]), yes_no(p in holding)) for p in chosen]


def random_name(rng: Rng) -> tuple[str | None, str]:
    """(colour, kind) of something that could be there."""
    roll = rng.random()
    if roll < 0.6:
        return str(rng.choice(SHAPE_COLOURS)), str(rng.choice(SHAPES))
    if roll < 0.85:
        kind = str(rng.choice(THINGS))
        colours = THING_COLOURS[kind]
        return colours[int(rng.integers(len(colours)))], kind
    return None, str(rng.choice(HAZARDS))


def absent_fact(rng: Rng, seen: Sequence[Fact]) -> Fact:
    """Something that is not there, half the time close to something that is: its kind or its colour changed."""
    present = {fact.name for fact in seen}
    nouns = {fact.noun for fact in seen}
    while True:
        colour, kind = random_name(rng)
        if seen and rng.random() < 0.5:
            near = seen[int(rng.integers(len(seen)))]
            if near.colour and colour and rng.random() < 0.5:
                kind = near.kind  # same kind, another colour
                colours = THING_COLOURS.get(kind, SHAPE_COLOURS)
                colour = colours[int(rng.integers(len(colours)))]
            elif near.colour and kind in SHAPES:
                colour = near.colour  # same colour, another shape
        fact = Fact(kind, colour, "still", "middle", 0.0, 1.0, 0.5)
        part_of_seen = any(kind in noun.split() for noun in nouns) or (kind == "person" and _people(seen))
        if (
            fact.name not in present
            and not (part_of_seen and colour is None)
            and not (kind == "person" and _people(seen))
        ):
            return fact


def _people(seen: Sequence[Fact]) -> bool:
    return any(fact.kind in ("fight", "person_with_knife", "person_with_gun", "person_smoking") for fact in seen)


def _composed_turn(rng: Rng, seen: Sequence[Fact]) -> Turn:
    """A policy in the world's words, half of them true, never one of the held-out pairs."""
    candidates = [fact for fact in seen if (fact.colour, fact.kind) not in HELD_OUT]
    holds = bool(candidates) and rng.random() < 0.5
    while True:
        fact = candidates[int(rng.integers(len(candidates)))] if holds else absent_fact(rng, seen)
        if (fact.colour, fact.kind) not in HELD_OUT:
            break
    words = fact.subject if fact.kind in HAZARDS or rng.random() < 0.8 else f"{fact.subject} anywhere"
    return Turn("composed", prompts.policy_question(composed_policy(words)), yes_no(holds))


def _relevance_turns(rng: Rng, seen: Sequence[Fact], asked: Sequence[Question]) -> list[Turn]:
    absent = absent_question(rng, seen)
    turns = [Turn("relevance", prompts.relevance_question(absent.text), "No")]
    if asked:
        present = asked[int(rng.integers(len(asked)))]
        turns.append(Turn("relevance", prompts.relevance_question(present.text), "Yes"))
    return turns


def absent_question(rng: Rng, seen: Sequence[Fact]) -> Question:
    """A sensible question about something that is not there."""
    name = absent_fact(rng, seen).definite
    subject = name.removeprefix("the ")
    texts = [
        f"When does {name} appear?",
        f"Where is {name}?",
        f"Which way does {name} move?",
        f"Is there {_article(subject)}?",
        f"When can {name} be seen?",
    ]
    return Question("absent", texts[int(rng.integers(len(texts)))], prompts.NOT_SHOWN)


def _article(subject: str) -> str:
    if subject in ("blood", "fire"):
        return subject
    return f"{'an' if subject[0] in 'aeiou' else 'a'} {subject}"


def plural(noun: str) -> str:
    return f"{noun}es" if noun in ("cross",) else f"{noun}s"


def questions(rng: Rng, seen: Sequence[Fact]) -> list[Question]:
    """Every question whose answer is unambiguous here, one wording each."""
    asked: list[Question] = []
    for build in (_colour, _count, _direction, _place, _order, _when, _what, _present):
        asked += build(rng, seen)
    return asked


def _unique(seen: Sequence[Fact], key: Callable[[Fact], object]) -> list[Fact]:
    counts = Counter(key(fact) for fact in seen)
    return [fact for fact in seen if counts[key(fact)] == 1]


def _pick(rng: Rng, *texts: str) -> str:
    return texts[int(rng.integers(len(texts)))]


def _colour(rng: Rng, seen: Sequence[Fact]) -> list[Question]:
    single = [fact for fact in _unique(seen, lambda fact: fact.kind) if fact.colour]
    single = [fact for fact in single if not (fact.kind == "person" and _people(seen))]
    return [
        Question(
            "colour",
            _pick(rng, f"What colour is the {fact.noun}?", f"Which colour does the {fact.noun} have?"),
            f"{str(fact.colour).capitalize()}.",
        )
        for fact in single
    ]


def _count(_: Rng, seen: Sequence[Fact]) -> list[Question]:
    asked = []
    for kind, number in Counter(fact.kind for fact in seen if fact.kind in (*SHAPES, *THINGS)).items():
        if number < len(NUMBERS) and not (kind == "person" and _people(seen)):
            asked.append(Question("count", f"How many {plural(kind)} are there?", f"{NUMBERS[number]}."))
    return asked


def _named_once(seen: Sequence[Fact]) -> list[Fact]:
    return _unique(seen, lambda fact: fact.name)


def _direction(rng: Rng, seen: Sequence[Fact]) -> list[Question]:
    moving = [fact for fact in _named_once(seen) if fact.motion in ("left", "right", "up", "down")]
    return [
        Question(
            "direction",
            _pick(rng, f"Which way does {fact.definite} move?", f"In which direction does {fact.definite} go?"),
            f"{fact.motion.capitalize()}.",
        )
        for fact in moving
    ]


def _place(_: Rng, seen: Sequence[Fact]) -> list[Question]:
    still = [fact for fact in _named_once(seen) if fact.place and fact.motion == "still"]
    return [Question("place", f"Where is {fact.definite}?", f"{at_place(fact.place).capitalize()}.") for fact in still]


def _order(rng: Rng, seen: Sequence[Fact]) -> list[Question]:
    named = _named_once(seen)
    pairs = [(a, b) for a in named for b in named if b.start_s - a.start_s >= 1.0]
    if not pairs:
        return []
    first, second = pairs[int(rng.integers(len(pairs)))]
    one, other = (first, second) if rng.random() < 0.5 else (second, first)
    text = _pick(
        rng,
        f"Which appears first, {one.definite} or {other.definite}?",
        f"What comes first, {one.definite} or {other.definite}?",
    )
    return [Question("order", text, f"{first.definite.capitalize()}.")]


def _when(rng: Rng, seen: Sequence[Fact]) -> list[Question]:
    return [
        Question(
            "when",
            _pick(rng, f"When does {fact.definite} appear?", f"When can {fact.definite} be seen?"),
            f"From {fact.start_s:.1f}s to {fact.end_s:.1f}s.",
        )
        for fact in _named_once(seen)
    ]


def _what(_: Rng, seen: Sequence[Fact]) -> list[Question]:
    asked = [
        Question("what", f"What moves {fact.motion}?", f"{fact.subject.capitalize()}.")
        for fact in _unique(seen, lambda fact: fact.motion)
        if fact.motion in ("left", "right", "up", "down")
    ]
    still = [fact for fact in seen if fact.motion == "still"]
    if len(still) == len(seen):
        asked += [
            Question("what", f"What is {at_place(fact.place)}?", f"{fact.subject.capitalize()}.")
            for fact in _unique(still, lambda fact: fact.place)
        ]
    if asked or not seen:
        return asked
    return [Question("what", "What can be seen?", ", ".join(fact.subject for fact in seen).capitalize() + ".")]


def _present(_: Rng, seen: Sequence[Fact]) -> list[Question]:
    return [Question("present", f"Is there {fact.subject}?", "Yes.") for fact in seen[:1]]


# ---- text alone: summaries and titles


def sample_text_turn(rng: Rng) -> Turn:
    """A summary of timestamped captions, or a title of a chapter's captions: no video in the prompt."""
    parts: list[tuple[float, list[Fact]]] = []
    start_s = float(rng.integers(0, 40)) / 2
    for _ in range(int(rng.integers(1, 7))):
        scene = sample_scene(rng, 0.0, 5.0)
        found = sorted((fact_of(actor) for actor in scene.actors), key=lambda fact: (fact.start_s, fact.x))
        parts.append((start_s, found))
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
        scene = sample_scene(rng, 0.0, 5.0)
        seen = sorted((fact_of(actor) for actor in scene.actors), key=lambda fact: fact.start_s)
        for turn in [*sample_turns(rng, seen), sample_text_turn(rng)]:
            lines += [turn.request, turn.answer]
    return lines
