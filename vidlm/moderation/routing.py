"""Which queue a video goes to for people to look at: the first whose rule it meets. Pure; knows no rows.

    video    flags, verdict, language, one draw in [0, 1)
    queues   child_safety   policies child_safety            first, whatever else was found
             urgent         severities high, severe
             spanish        languages es
             quality        verdicts allow, share 0.01       a random sample of what nobody would look at otherwise
             everything     verdicts review, block

A part of a rule that is not given lets everything through. Parts about flags (policies, severities, scores) must be met
together by one flag, not each by another one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from vidlm.domain import Action, Flag, Severity
from vidlm.errors import InputError

RESTRICTED: Final = "child_safety"
"""The parent of policies whose videos only people with the grant for them may see."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a video when its analysis ends.

    `draw`: a random number in [0, 1), one a video, so that samples of different shares hold one another.
    """

    flags: tuple[Flag, ...]
    verdict: Action
    language: str | None
    draw: float


@dataclass(frozen=True, slots=True)
class Rule:
    """What a queue takes. Empty parts take everything.

    `policies`: ids, or parents of ids ("weapons" takes "weapons.shown"); `languages`: BCP 47, of which "es" takes
    "es-MX" too; a flag's score is in `[score_from, score_to]`; `share` in (0, 1]: of all that meet the rest, at random.
    """

    policies: tuple[str, ...] = ()
    severities: tuple[Severity, ...] = ()
    score_from: float = 0.0
    score_to: float = 1.0
    verdicts: tuple[Action, ...] = ()
    languages: tuple[str, ...] = ()
    share: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.score_from <= self.score_to <= 1:
            raise ValueError("score_from and score_to: 0 <= score_from <= score_to <= 1")
        if not 0 < self.share <= 1:
            raise ValueError("share: more than 0 and at most 1")

    @property
    def asks_for_a_flag(self) -> bool:
        """Whether a video without flags cannot meet it."""
        return bool(self.policies or self.severities) or (self.score_from, self.score_to) != (0.0, 1.0)


ANYTHING_FLAGGED: Final = Rule(verdicts=(Action.REVIEW, Action.BLOCK))
"""The last queue's: what is to be looked at is looked at, whatever the other rules say."""


def meets(rule: Rule, facts: Facts) -> bool:
    """Whether the video is one for this rule."""
    return (
        facts.draw < rule.share
        and (not rule.verdicts or facts.verdict in rule.verdicts)
        and (not rule.languages or any(_is_in(facts.language or "", one, "-") for one in rule.languages))
        and (not rule.asks_for_a_flag or any(_meets_flag(rule, flag) for flag in facts.flags))
    )


def first_met(rules: Iterable[Rule], facts: Facts) -> int | None:
    """The place of the first rule that the video meets, or None where nobody has to look at it."""
    return next((place for place, rule in enumerate(rules) if meets(rule, facts)), None)


def chance(rules: Sequence[Rule], facts: Facts) -> float:
    """How probable it was, whatever was drawn, that the video meets any of the rules: 0 to 1.

    What estimates weigh a decision on it with (`vidlm.moderation.estimates`).
    """
    least = dataclasses.replace(facts, draw=0.0)
    return max((rule.share for rule in rules if meets(rule, least)), default=0.0)


def is_restricted(policy_id: str) -> bool:
    """Whether only people with the grant may see what is flagged by this policy, and no machine settles it."""
    return _is_in(policy_id, RESTRICTED, ".")


def rule_of(document: Mapping[str, Any]) -> Rule:
    """A rule out of its document. Raises `InputError` (`invalid_rule`) that names the part."""
    known = {field.name for field in dataclasses.fields(Rule)}
    for name in document:
        if name not in known:
            raise _invalid(f"{name!r} is no part of a rule: {', '.join(sorted(known))}")
    values: dict[str, Any] = {}
    for name, value in document.items():
        if name in ("score_from", "score_to", "share"):
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise _invalid(f"{name}: a number")
            values[name] = float(value)
        else:
            if not isinstance(value, list | tuple) or not all(isinstance(one, str) and one for one in value):
                raise _invalid(f"{name}: a list of texts")
            values[name] = tuple(_one(name, one) if name in _PARTS else one for one in value)
    try:
        return Rule(**values)
    except ValueError as exc:
        raise _invalid(str(exc)) from exc


def to_document(rule: Rule) -> dict[str, Any]:
    """The rule as JSON types, without the parts that let everything through."""
    plain = Rule()
    return {
        field.name: list(value) if isinstance(value, tuple) else value
        for field in dataclasses.fields(Rule)
        if (value := getattr(rule, field.name)) != getattr(plain, field.name)
    }


_PARTS: Final[dict[str, type[Severity] | type[Action]]] = {"severities": Severity, "verdicts": Action}


def _one(name: str, value: str) -> Severity | Action:
    kind = _PARTS[name]
    try:
        return kind(value)
    except ValueError as exc:
        raise _invalid(f"{name}: {value!r} is none of {', '.join(kind)}") from exc


def _meets_flag(rule: Rule, flag: Flag) -> bool:
    return (
        rule.score_from <= flag.score <= rule.score_to
        and (not rule.severities or flag.severity in rule.severities)
        and (not rule.policies or any(_is_in(flag.policy_id, one, ".") for one in rule.policies))
    )


def _is_in(name: str, group: str, mark: str) -> bool:
    """Whether `name` is the group itself or stands below it. Languages are compared without case."""
    name, group = name.lower(), group.lower()
    return name == group or name.startswith(group + mark)


def _invalid(why: str) -> InputError:
    return InputError(why, code="invalid_rule")
