"""What others call it: a flag in the words of a vendor's or a model's taxonomy, for systems that speak those.

Knows the published vocabularies below and which of our policies correspond to which of their labels (`labels:` in the
policies' file). A policy that has no counterpart in a taxonomy says nothing in it; nothing is guessed.

    aws          Amazon Rekognition content moderation, model version 7      (labels up to three levels deep)
    llama_guard  Llama Guard 3, the hazards of MLCommons                     (S1 .. S14)
    llava_guard  LlavaGuard (Helff et al., 2024)                             (O1 .. O9)
    safewatch    SafeWatch (Chen et al., 2024)                               (C1 .. C6)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol

from vidlm.domain import Policy


class Scheme(StrEnum):
    """A taxonomy that flags can be told in."""

    AWS = "aws"
    LLAMA_GUARD = "llama_guard"
    LLAVA_GUARD = "llava_guard"
    SAFEWATCH = "safewatch"


@dataclass(frozen=True, slots=True)
class Label:
    """One entry of a taxonomy. `id` is what its own users know it by; `parent` is None at the top."""

    id: str
    title: str
    parent: str | None = None


@dataclass(frozen=True, slots=True)
class LabelledSpan:
    """A flag's `[start_s, end_s)` under a foreign label. `confidence` is the flag's score, 0..1."""

    label: Label
    policy_id: str
    start_s: float
    end_s: float
    confidence: float


class Flagged(Protocol):
    """What of a flag is told: a `vidlm.domain.Flag`, or a row of one."""

    @property
    def policy_id(self) -> str: ...

    @property
    def start_s(self) -> float: ...

    @property
    def end_s(self) -> float: ...

    @property
    def score(self) -> float: ...


def _numbered(letter: str, *titles: str) -> dict[str, Label]:
    return {f"{letter}{number}": Label(f"{letter}{number}", title) for number, title in enumerate(titles, start=1)}


def _tree(levels: Mapping[str, Mapping[str, tuple[str, ...]]]) -> dict[str, Label]:
    found: dict[str, Label] = {}
    for first, seconds in levels.items():
        found[first] = Label(first, first)
        for second, thirds in seconds.items():
            found[second] = Label(second, second, first)
            found |= {third: Label(third, third, second) for third in thirds}
    return found


_AWS_INTIMATE: Final = "Non-Explicit Nudity of Intimate parts and Kissing"
_AWS_DRUG_USE: Final = "Drugs & Tobacco Paraphernalia & Use"
LABELS: Final[Mapping[Scheme, Mapping[str, Label]]] = {
    Scheme.AWS: _tree(
        {
            "Explicit": {
                "Explicit Nudity": (
                    "Exposed Male Genitalia",
                    "Exposed Female Genitalia",
                    "Exposed Buttocks or Anus",
                    "Exposed Female Nipple",
                ),
                "Explicit Sexual Activity": (),
                "Sex Toys": (),
            },
            _AWS_INTIMATE: {
                "Non-Explicit Nudity": (
                    "Bare Back",
                    "Exposed Male Nipple",
                    "Partially Exposed Buttocks",
                    "Partially Exposed Female Breast",
                    "Implied Nudity",
                ),
                "Obstructed Intimate Parts": ("Obstructed Female Nipple", "Obstructed Male Genitalia"),
                "Kissing on the Lips": (),
            },
            "Swimwear or Underwear": {"Female Swimwear or Underwear": (), "Male Swimwear or Underwear": ()},
            "Violence": {
                "Weapons": (),
                "Graphic Violence": (
                    "Weapon Violence",
                    "Physical Violence",
                    "Self-Harm",
                    "Blood & Gore",
                    "Explosions and Blasts",
                ),
            },
            "Visually Disturbing": {
                "Death and Emaciation": ("Emaciated Bodies", "Corpses"),
                "Crashes": ("Air Crash",),
            },
            "Drugs & Tobacco": {"Products": ("Pills",), _AWS_DRUG_USE: ("Smoking",)},
            "Alcohol": {"Alcohol Use": ("Drinking",), "Alcoholic Beverages": ()},
            "Rude Gestures": {"Middle Finger": ()},
            "Gambling": {},
            "Hate Symbols": {"Nazi Party": (), "White Supremacy": (), "Extremist": ()},
        }
    ),
    Scheme.LLAMA_GUARD: _numbered(
        "S",
        "Violent Crimes",
        "Non-Violent Crimes",
        "Sex-Related Crimes",
        "Child Sexual Exploitation",
        "Defamation",
        "Specialized Advice",
        "Privacy",
        "Intellectual Property",
        "Indiscriminate Weapons",
        "Hate",
        "Suicide & Self-Harm",
        "Sexual Content",
        "Elections",
        "Code Interpreter Abuse",
    ),
    Scheme.LLAVA_GUARD: _numbered(
        "O",
        "Hate, Humiliation, Harassment",
        "Violence, Harm, or Cruelty",
        "Sexual Content",
        "Nudity Content",
        "Criminal Planning",
        "Weapons or Substance Abuse",
        "Self-Harm",
        "Animal Cruelty",
        "Disasters or Emergencies",
    ),
    Scheme.SAFEWATCH: _numbered(
        "C",
        "Sexual Content",
        "Harassment & Bullying",
        "Threats, Violence & Harm",
        "False & Deceptive Information",
        "Illegal/Regulated Activities",
        "Hateful Content & Extremism",
    ),
}


def export(flags: Iterable[Flagged], policies: Iterable[Policy], scheme: Scheme) -> tuple[LabelledSpan, ...]:
    """The flags whose policies have a counterpart in `scheme`, in the same order, under its labels."""
    known = {policy.id: LABELS[scheme][policy.labels[scheme]] for policy in policies if scheme in policy.labels}
    return tuple(
        LabelledSpan(known[flag.policy_id], flag.policy_id, flag.start_s, flag.end_s, flag.score)
        for flag in flags
        if flag.policy_id in known
    )


def ancestors(scheme: Scheme, label: Label) -> tuple[Label, ...]:
    """From the top of the taxonomy down to the label's parent."""
    found: list[Label] = []
    while label.parent is not None:
        label = LABELS[scheme][label.parent]
        found.append(label)
    return tuple(reversed(found))
