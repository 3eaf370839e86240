"""How a question may be put. Every kind has wordings that training uses, and others that only evaluation asks.

Templates name their blanks: {noun}, {nouns}, {the}, {one} and {other} ("the red car"), {a} ("a red car"), {way},
{at} ("on the left") and {said}, what is asked about. Pure text.
"""

from __future__ import annotations

import re
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
        "Which colour is the {noun} in the video?",
        "Of what colour is the {noun}?",
        "Name the colour of the {noun}.",
        "The colour of the {noun} is what?",
        "What colour has the {noun}?",
        "I see a {noun}. What color is it?",
        "There is a {noun}: which colour does it have?",
        "What would you call the color of the {noun}?",
        "Tell me the {noun}'s color.",
        "Name the {noun}'s colour.",
        "The {noun}'s colour is what?",
        "Do you know the {noun}'s color?",
        "Can you tell what colour the {noun} is?",
        "I want to know the colour of the {noun}.",
    ),
    "count": (
        "How many {nouns} are there?",
        "How many {nouns} can be seen?",
        "How many {nouns} do you see?",
        "Count the {nouns}.",
        "What is the number of {nouns}?",
        "How many {nouns} are in the picture?",
        "How many {nouns} appear?",
        "How many {nouns} does the video show?",
        "Give me the number of {nouns}.",
        "{nouns}: how many of them are there?",
        "Are there any {nouns}, and how many?",
        "Say how many {nouns} can be seen.",
        "What is the count of {nouns}?",
        "I want to know how many {nouns} there are.",
        "How many of the things are {nouns}?",
        "Can you count the {nouns}?",
    ),
    "direction": (
        "Which way does {the} move?",
        "In which direction does {the} go?",
        "Which way does {the} go?",
        "In what direction does {the} move?",
        "Which direction is {the} moving in?",
        "Does {the} move left, right, up or down?",
        "Where is {the} moving?",
        "Where is {the} going?",
        "What is the direction of {the}?",
        "Tell me the direction in which {the} moves.",
        "Is {the} moving left, right, up or down?",
        "Where does {the} go?",
        "Say which way {the} is going.",
        "{the} moves in which direction?",
        "What is {the}'s direction?",
        "Tell me {the}'s direction.",
        "Can you tell which way {the} goes?",
        "I want to know where {the} is going.",
    ),
    "place": (
        "Where is {the}?",
        "Where can {the} be seen?",
        "In which part of the picture is {the}?",
        "Where does {the} stand?",
        "On which side is {the}?",
        "Tell me where {the} is.",
        "In what place is {the}?",
        "Where can I find {the}?",
        "Whereabouts is {the}?",
        "What is the place of {the} in the picture?",
        "Say where {the} is to be seen.",
        "{the} is where?",
        "Is {the} on the left, on the right, at the top, at the bottom or in the middle?",
        "On what side of the frame is {the}?",
        "What is {the}'s place?",
        "Can you tell where {the} is?",
        "I want to know where {the} is.",
    ),
    "order": (
        "Which appears first, {one} or {other}?",
        "What comes first, {one} or {other}?",
        "Which is seen first, {one} or {other}?",
        "Does {one} or {other} come first?",
        "Which of the two is there first, {one} or {other}?",
        "Of {one} and {other}, which comes first?",
        "Which one is earlier, {one} or {other}?",
        "{one} or {other}: which appears first?",
        "What can be seen first, {one} or {other}?",
        "Which comes before the other, {one} or {other}?",
        "Who comes in first, {one} or {other}?",
        "Can you tell which comes first, {one} or {other}?",
        "Is it {one} or {other} that comes first?",
    ),
    "later": (
        "Which appears last, {one} or {other}?",
        "What comes second, {one} or {other}?",
        "Which appears later, {one} or {other}?",
        "Which is seen last, {one} or {other}?",
        "Of {one} and {other}, which comes later?",
        "{one} or {other}: which appears last?",
        "Which comes after the other, {one} or {other}?",
        "Does {one} or {other} come last?",
        "Can you tell which comes last, {one} or {other}?",
        "Is it {one} or {other} that comes last?",
    ),
    "when": (
        "When does {the} appear?",
        "When can {the} be seen?",
        "When is {the} there?",
        "From when to when is {the} there?",
        "At what time can {the} be seen?",
        "Tell me when {the} is seen.",
        "When is {the} in the picture?",
        "During which seconds is {the} there?",
        "In which seconds can {the} be seen?",
        "Between what times is {the} shown?",
        "Say when {the} can be seen.",
        "When does the video show {the}?",
    ),
    "from": (
        "When does {the} first appear?",
        "When is {the} first seen?",
        "When does {the} come in?",
        "At which second does {the} come in?",
        "From what time on is {the} there?",
    ),
    "until": (
        "When does {the} disappear?",
        "When is {the} last seen?",
        "When does {the} go away?",
        "At which second does {the} go away?",
        "Until what time is {the} there?",
    ),
    "moves": (
        "What moves {way}?",
        "What is moving {way}?",
        "What goes {way}?",
        "Name what moves {way}.",
        "What is it that goes {way}?",
        "Which object is moving {way}?",
        "Tell me what moves {way}.",
    ),
    "grows": (
        "What grows?",
        "What is growing?",
        "What gets larger?",
        "What is getting bigger?",
        "Name what grows.",
        "Which object gets larger?",
    ),
    "stands": (
        "What is {at}?",
        "What can be seen {at}?",
        "What stands {at}?",
        "Name what is {at}.",
        "Which object is {at}?",
        "Tell me what is {at}.",
    ),
    "present": (
        "Is there {a}?",
        "Can you see {a}?",
        "Do you see {a}?",
        "Can {a} be seen?",
        "Is {a} in the video?",
        "Does the video show {a}?",
        "Is {a} shown?",
        "Is there {a} anywhere?",
        "Have you seen {a}?",
        "Tell me whether there is {a}.",
    ),
    "is_colour": (
        "Is the {noun} {said}?",
        "Is the colour of the {noun} {said}?",
        "Would you call the {noun} {said}?",
    ),
    "is_direction": (
        "Does {the} move {said}?",
        "Is {the} moving {said}?",
        "Does {the} go {said}?",
    ),
    "is_place": (
        "Is {the} {said}?",
        "Can {the} be seen {said}?",
        "Does {the} stand {said}?",
    ),
    "all": (
        "What can be seen?",
        "What is there?",
        "What do you see?",
        "What does the video show?",
        "What is in the picture?",
        "Name all that can be seen.",
        "List what is there.",
    ),
    "then_colour": (
        "What colour is it?",
        "And what colour is it?",
        "Which colour does it have?",
        "Tell me what colour it is.",
        "And what color does it have?",
    ),
    "then_direction": (
        "Which way does it move?",
        "And which way does it go?",
        "In which direction does it move?",
        "Where does it go?",
        "Is it moving left, right, up or down?",
    ),
    "then_place": (
        "Where is it?",
        "And where is it?",
        "Where can it be seen?",
        "On which side is it?",
        "And where does it stand?",
    ),
    "then_when": (
        "When does it appear?",
        "And when can it be seen?",
        "When is it there?",
        "And from when to when is it there?",
        "When is it in the picture?",
    ),
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
    "is_colour": ("Does the {noun} look {said}?",),
    "is_direction": ("Do you see {the} move {said}?",),
    "is_place": ("Do you see {the} {said}?",),
    "all": ("What is to be seen?",),
}
"""Never trained on: whether a question is understood, or only recognised."""


OPENINGS: Final = (
    "Please tell me: ",
    "In this video: ",
    "In this clip, ",
    "Look closely: ",
    "Question: ",
    "Hello, ",
    "So, ",
)
"""What people put before a question."""
OPENED: Final = 0.12
CARELESS: Final = 0.15
SHORTENED: Final = 0.15
"""Of questions in trained wordings: those with an opening, those written without capitals and question marks, and, of
those that can be, those that say "What's" for "What is"."""


_SHORT: Final = re.compile(r"^(What|Where|Who) is (?=the |a |an |it\b)")


def phrase(rng: Rng, kind: str, *, unseen: bool = False, **names: str) -> str:
    """One of a kind's wordings with its blanks filled, as people write: carefully or not."""
    wordings = (UNSEEN if unseen else TRAINED)[kind]
    said = wordings[int(rng.integers(len(wordings)))].format(**names)
    said = said[0].upper() + said[1:]
    if unseen:
        return said
    if rng.random() < SHORTENED:
        said = _SHORT.sub(r"\1's ", said)
    if rng.random() < OPENED:
        said = OPENINGS[int(rng.integers(len(OPENINGS)))] + said[0].lower() + said[1:]
    return said.lower().rstrip("?.") if rng.random() < CARELESS else said
