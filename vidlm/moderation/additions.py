"""What scores that came later add to a video that was judged before: more flags, and a verdict that only gets stronger.

    known flags      [ review )              [  block  )
    found later   [  review  )  [ review )      [ review )  [ block )
                     dropped        new          dropped       new

Nothing is ever taken away: that one more policy finds nothing does not clear what others found. Values in, values out;
nothing here is read or stored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from vidlm.domain import Action, Flag, Policy, Verdict


class BackfillState(StrEnum):
    """Where the scoring of a library under one more policy stands. Only `running` is no end."""

    RUNNING = "running"
    DONE = "done"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Known:
    """A flag that a video has under the policy: `[start_s, end_s)`, and what is to be done with it."""

    id: str
    start_s: float
    end_s: float
    action: Action


@dataclass(frozen=True, slots=True)
class Additions:
    """`new` flags, and `raised`: known ones (by id) that begin with a stronger one that was found, and become it."""

    new: tuple[Flag, ...] = ()
    raised: tuple[tuple[str, Flag], ...] = ()

    @property
    def flags(self) -> tuple[Flag, ...]:
        """All that was added, in order of time."""
        return tuple(sorted((*self.new, *(flag for _, flag in self.raised)), key=lambda flag: flag.start_s))


def additions(found: Sequence[Flag], known: Sequence[Known]) -> Additions:
    """What `found` says beyond `known`, all of one policy and video.

    A flag is dropped where a known one that shares time with it asks for at least as much. A policy has one flag that
    begins at a moment, so a stronger one that begins there raises it.
    """
    new: list[Flag] = []
    raised: list[tuple[str, Flag]] = []
    for flag in found:
        meets = [one for one in known if _meet(one, flag)]
        if any(one.action.strength >= flag.action.strength for one in meets):
            continue
        same = next((one for one in meets if one.start_s == flag.start_s), None)
        if same is None:
            new.append(flag)
        else:
            raised.append((same.id, flag))
    return Additions(tuple(new), tuple(raised))


def _meet(one: Known, flag: Flag) -> bool:
    return one.start_s == flag.start_s or (one.start_s < flag.end_s and flag.start_s < one.end_s)


def strengthened(before: Action, policy: Policy, added: Sequence[Flag]) -> Verdict | None:
    """The verdict with these flags of `policy`, or None where it is as strong without them."""
    strongest = max((flag.action for flag in added), key=lambda action: action.strength, default=Action.ALLOW)
    if strongest.strength <= before.strength:
        return None
    peak = max(flag.score for flag in added)
    return Verdict(strongest, f"Flagged when the library was scored again: {policy.title} ({peak:.2f}).")
