"""What follows from a video's likeness to known ones: for its verdict, and for whether it need be looked at at all.

    known_bad    the verdict is at least `review`, whatever else was or was not found
    known_ok     is told as evidence, and weakens nothing
    both, where the setting says so and the video is the known one from end to end: what was decided then holds again

Fails closed: a video that could not be compared ends in `review` at least. Numbers and words; nothing is read here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from vidlm.domain import Action, Bank, Coverage, Known, Verdict

NEARLY_ALL: Final = 0.95
"""Of the frames of each video that meet their like in the other, before a decision is carried over. Of a video that is
to be allowed it has to be every frame: what nobody decided about may be half a second long."""

_NAMED: Final = 3  # matches that a reason names, at most


def weighed(verdict: Verdict, known: Sequence[Known], *, compared: bool) -> Verdict:
    """The verdict of what was seen, with what is known. Not `compared`: there may be more than is known here."""
    bad = [one for one in known if one.bank is Bank.BAD]
    if bad:
        return _at_least_review(verdict, f"Shows what is known as bad: {_named(bad)}.")
    return verdict if compared else _at_least_review(verdict, "The video could not be compared with known ones.")


def carried_over(known: Sequence[Known], coverage: Coverage) -> tuple[Verdict, Known] | None:
    """The verdict that an earlier decision about the same video gives this one, and the match it rests on.

    None: it has to be looked at. `known` is all there is to know: a comparison that failed has nothing to carry over.
    Only what a person decided here is carried over, never what a list from elsewhere says; nothing in a restricted
    matter; and `allow` only where all of the file could be read and none of it is known as bad.
    """
    bad = [one for one in known if one.bank is Bank.BAD]
    if any(one.restricted for one in bad):
        return None
    for one in bad:
        if one.decided and min(one.share, one.known_share) >= NEARLY_ALL:
            return Verdict(
                Action.BLOCK, f"The same video was decided about before: known as bad, {_named([one])}."
            ), one
    if bad or coverage.partial:
        return None
    for one in known:
        if one.decided and one.share >= 1 and one.known_share >= NEARLY_ALL:
            return Verdict(
                Action.ALLOW, f"The same video was decided about before: known as fine, {_named([one])}."
            ), one
    return None


def _at_least_review(verdict: Verdict, why: str) -> Verdict:
    action = max(verdict.action, Action.REVIEW, key=lambda one: one.strength)
    return Verdict(action, f"{why} {verdict.reason}")


def _named(known: Sequence[Known]) -> str:
    named = [f"{one.entry_id} from {one.start_s:.1f} s to {one.end_s:.1f} s" for one in known[:_NAMED]]
    more = len(known) - len(named)
    return ", ".join(named) + (f" and {more} more" if more else "")
