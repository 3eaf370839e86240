"""Everything that is wrong with a list of policies, field by field, for whoever is still writing it.

`policies.read_policies` stops at the first mistake. Here a field that is wrong is put right and the row is read again,
until nothing more is found: the rules, and their words, are the reader's own.

    {review: 2, severity: bad}  --read-->  severity is 'bad'  --severity: low-->  review is 2  --review: ...-->  read
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from vidlm.errors import PolicyError
from vidlm.moderation.policies import policy_set, read_policies

_SOUND: Final[Mapping[str, Mapping[str, Any]]] = MappingProxyType(
    {
        "title": {"title": "-"},
        "blocked": {"blocked": "-"},
        "allowed": {"allowed": None},
        "severity": {"severity": "low"},
        "review": {"review": 1e-6, "keep": None},  # `keep` is at most `review`: of a wrong one nothing follows
        "block": {"block": "never"},
        "keep": {"keep": None},
        "at_least_s": {"at_least_s": 0},
        "labels": {"labels": {}},
        "enabled": {"enabled": True},
        "second_look": {"second_look": None},
    }
)
"""What puts a field right, whatever the others say."""
_ANY: Final[Mapping[str, Any]] = MappingProxyType(
    {"id": "any.policy", "title": "-", "blocked": "-", "severity": "low", "review": 0.5, "block": "never"}
)
_FIELD: Final = re.compile(r"policy [^:]*: field `(\w+)`:? (.+)")


@dataclass(frozen=True, slots=True)
class Problem:
    """`place`: of the policy in the list, from 0; None where it is about all of them. `field`: by the file's name."""

    place: int | None
    field: str | None
    text: str


def problems_of(rows: Sequence[Any]) -> tuple[Problem, ...]:
    """What is wrong with a file's list, in its order; nothing, exactly where it makes a set of policies."""
    found = [problem for place, row in enumerate(rows) for problem in _of_row(place, row)]
    ids = Counter(row["id"] for row in rows if isinstance(row, dict) and isinstance(row.get("id"), str))
    twice = [
        Problem(place, "id", "is used twice")
        for place, row in enumerate(rows)
        if isinstance(row, dict) and isinstance(row.get("id"), str) and ids[row["id"]] > 1
    ]
    if found or twice:
        return (*found, *twice)
    try:
        policy_set(read_policies(rows))
    except PolicyError as exc:
        return (Problem(None, None, exc.detail),)
    return ()


def _of_row(place: int, row: Any) -> list[Problem]:
    if not isinstance(row, dict):
        return _read(place, row)[:1]
    alone = {**_ANY, **({"id": row["id"]} if "id" in row else {})}
    if "id" not in row:
        del alone["id"]
    found = [Problem(place, "id", problem.text) for problem in _read(place, alone)]
    left = {**{key: value for key, value in row.items() if key != "parent"}, "id": _ANY["id"]}
    for _ in _SOUND:
        wrong = _read(place, left)
        found += wrong
        sound = _SOUND.get(wrong[0].field or "") if wrong else None
        if sound is None:
            break
        left |= sound
    return found


def _read(place: int, row: Any) -> list[Problem]:
    """The first mistake of one row, if it has any."""
    try:
        read_policies([row])
    except PolicyError as exc:
        if isinstance(row, dict) and row.get("id") != _ANY["id"]:
            return [Problem(place, "id", exc.detail.rpartition("field `id` ")[2])]
        named = _FIELD.fullmatch(exc.detail)
        return [Problem(place, named[1], named[2]) if named else Problem(place, None, exc.detail.partition(": ")[2])]
    return []
