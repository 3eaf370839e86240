"""How a question may be put. Every kind has wordings that training uses, and others that only evaluation asks.

Templates name their blanks: {noun}, {nouns}, {the}, {one} and {other} ("the red car"), {a} ("a red car"), {way}, and
{at} ("on the left"). Pure text.
"""

from __future__ import annotations

from typing import Final

from vidlm.toyworld.world import Rng

TRAINED: Final[dict[str, tuple[str, ...]]] = {
    "colour": (
        "What colour is the {noun}?",
        "Which colour does the {noun} have?",
        "What is the colour of the {noun}?",
        "What color is the {noun}?",
        "What color does the {noun} have?",
        "Tell me the colour of the {noun}.",
    ),
    "count": (
        "How many {nouns} are there?",
        "How many {nouns} can be seen?",
        "How many {nouns} do you see?",
        "Count the {nouns}.",
        "What is the number of {nouns}?",
    ),
    "direction": (
        "Which way does {the} move?",
        "In which direction does {the} go?",
        "Which way does {the} go?",
        "In what direction does {the} move?",
        "Which direction is {the} moving in?",
        "Does {the} move left, right, up or down?",
    ),
    "place": (
        "Where is {the}?",
        "Where can {the} be seen?",
        "In which part of the picture is {the}?",
        "Where does {the} stand?",
        "On which side is {the}?",
        "Tell me where {the} is.",
    ),
    "order": (
        "Which appears first, {one} or {other}?",
        "What comes first, {one} or {other}?",
        "Which is seen first, {one} or {other}?",
        "Does {one} or {other} come first?",
        "Which of the two is there first, {one} or {other}?",
    ),
    "later": (
        "Which appears last, {one} or {other}?",
        "What comes second, {one} or {other}?",
        "Which appears later, {one} or {other}?",
    ),
    "when": (
        "When does {the} appear?",
        "When can {the} be seen?",
        "When is {the} there?",
        "From when to when is {the} there?",
        "At what time can {the} be seen?",
        "Tell me when {the} is seen.",
    ),
    "from": ("When does {the} first appear?", "When is {the} first seen?", "When does {the} come in?"),
    "until": ("When does {the} disappear?", "When is {the} last seen?", "When does {the} go away?"),
    "moves": ("What moves {way}?", "What is moving {way}?", "What goes {way}?"),
    "grows": ("What grows?", "What is growing?", "What gets larger?"),
    "stands": ("What is {at}?", "What can be seen {at}?", "What stands {at}?"),
    "present": ("Is there {a}?", "Can you see {a}?", "Do you see {a}?", "Can {a} be seen?"),
    "all": ("What can be seen?", "What is there?", "What do you see?"),
    "then_colour": ("What colour is it?", "And what colour is it?", "Which colour does it have?"),
    "then_direction": ("Which way does it move?", "And which way does it go?", "In which direction does it move?"),
    "then_place": ("Where is it?", "And where is it?", "Where can it be seen?"),
    "then_when": ("When does it appear?", "And when can it be seen?", "When is it there?"),
}
"""Those that begin with "then" follow a question and its answer: what "it" is, was said there."""

UNSEEN: Final[dict[str, tuple[str, ...]]] = {
    "colour": ("The {noun}: what colour is it?", "Which color is the {noun}?", "What is the {noun}'s colour?"),
    "count": (
        "How many {nouns} can you see?",
        "What number of {nouns} is there?",
        "Tell me how many {nouns} there are.",
    ),
    "direction": ("Which way is {the} moving?", "Where does {the} move to?", "Tell me which way {the} goes."),
    "place": ("Where in the picture is {the}?", "Where do you see {the}?", "Which part of the picture is {the} in?"),
    "order": ("Is {one} or {other} seen first?", "What appears first, {one} or {other}?"),
    "later": ("What comes last, {one} or {other}?",),
    "when": ("At what time does {the} appear?", "When do you see {the}?"),
    "from": ("At what time does {the} first appear?",),
    "until": ("At what time does {the} disappear?",),
    "moves": ("Which thing moves {way}?",),
    "grows": ("Which thing grows?",),
    "stands": ("What do you see {at}?",),
    "present": ("Does {a} appear?",),
    "all": ("What is to be seen?",),
    "then_colour": ("And its colour?",),
    "then_direction": ("Which way is it moving?",),
    "then_place": ("Where in the picture is it?",),
    "then_when": ("At what time does it appear?",),
}
"""Never trained on: whether a question is understood, or only recognised."""


def phrase(rng: Rng, kind: str, *, unseen: bool = False, **names: str) -> str:
    """One of a kind's wordings with its blanks filled."""
    wordings = (UNSEEN if unseen else TRAINED)[kind]
    return wordings[int(rng.integers(len(wordings)))].format(**names)
