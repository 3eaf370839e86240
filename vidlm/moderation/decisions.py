"""What people may decide about a video and its flags, and what follows from it. Pure: no rows, no clock, no chance.

flagged, sampled --approve, remove--> [ two opinions wanted? ] --no--> final
       |                                        | yes
       |--second_opinion----------------->  second  --the same--> final
       |                                        | another
       '--escalate------------------------> escalated ---------> final           (a lead's word is the last one)

final --appeal--> final            golden: nothing follows; it says something about the reviewer only
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from vidlm.errors import InputError

MAX_NOTE: Final = 4000
"""Characters of a note."""
MAX_MISSED: Final = 50
"""Things that one decision may say were missed."""


class Occasion(StrEnum):
    """Why somebody is asked to look at a video."""

    FLAGGED = "flagged"  # by a policy, or not cleared for another reason
    SAMPLED = "sampled"  # drawn at random, to find what the model misses
    SECOND = "second"  # somebody else has looked already, or asks for help
    ESCALATED = "escalated"
    APPEAL = "appeal"  # its owner says that a decision was wrong
    GOLDEN = "golden"  # the answer is known; the reviewer is not told so


class ItemState(StrEnum):
    """Where a review item stands."""

    WAITING = "waiting"
    CLAIMED = "claimed"  # until its lock expires: then it is anybody's again
    DECIDED = "decided"
    WITHDRAWN = "withdrawn"  # nobody has to look any more: the video was deleted, or what asked for it was undone


class ReviewState(StrEnum):
    """Where a video stands with people; beside, and independent of, its job's state."""

    NONE = "none"
    PENDING = "pending"
    IN_REVIEW = "in_review"
    APPROVED = "approved"
    REMOVED = "removed"
    ESCALATED = "escalated"


class Outcome(StrEnum):
    """What is decided about a video."""

    APPROVE = "approve"
    REMOVE = "remove"
    ESCALATE = "escalate"
    SECOND_OPINION = "second_opinion"


FINAL: Final = {Outcome.APPROVE: ReviewState.APPROVED, Outcome.REMOVE: ReviewState.REMOVED}
"""Outcomes that settle a video, and what it becomes."""


class FlagVerdict(StrEnum):
    """What is decided about a flag."""

    CONFIRM = "confirm"
    REJECT = "reject"
    WRONG_POLICY = "wrong_policy"  # something is there, and another policy's
    WRONG_TIME = "wrong_time"  # it is there, but not then

    @property
    def is_violation(self) -> bool:
        """Whether the flag's own policy is violated somewhere in the video."""
        return self in (FlagVerdict.CONFIRM, FlagVerdict.WRONG_TIME)


class RejectReason(StrEnum):
    """Why a flag is wrong."""

    NOT_THERE = "not_there"
    LOOKALIKE = "lookalike"
    ALLOWED = "allowed"  # it is there, and the policy allows it so
    FICTION = "fiction"  # a game, a film, a drawing
    OTHER = "other"  # the note says what


@dataclass(frozen=True, slots=True)
class KnownFlag:
    """A flag that is to be decided on."""

    id: str
    policy_id: str
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class FlagDecision:
    """A decision about one flag. `reason` with reject; `policy_id` with wrong_policy; both times with wrong_time."""

    flag_id: str
    verdict: FlagVerdict
    reason: RejectReason | None = None
    policy_id: str | None = None
    start_s: float | None = None
    end_s: float | None = None


@dataclass(frozen=True, slots=True)
class Missed:
    """Something in `[start_s, end_s)` that violates a policy and was not flagged."""

    policy_id: str
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class Submission:
    """All that a reviewer says about a video at once. `watched_s`: seconds that they looked at it."""

    outcome: Outcome
    flags: tuple[FlagDecision, ...] = ()
    missed: tuple[Missed, ...] = ()
    note: str = ""
    watched_s: float = 0.0

    @property
    def violations(self) -> bool:
        """Whether anything in the video violates a policy."""
        told = any(one.verdict.is_violation or one.verdict is FlagVerdict.WRONG_POLICY for one in self.flags)
        return told or bool(self.missed)


@dataclass(frozen=True, slots=True)
class Follow:
    """What follows from a decision: what the video becomes (None: what it was), and who is to look at it next."""

    state: ReviewState | None
    next: Occasion | None = None


def check(said: Submission, flags: Sequence[KnownFlag], policies: Mapping[str, object], duration_s: float) -> None:
    """Raises `InputError` (`invalid_decision`) that says what is missing or contradicts itself.

    `policies`: those there are, by id.
    """
    known = {flag.id: flag for flag in flags}
    decided = [one.flag_id for one in said.flags]
    for flag_id in decided:
        if flag_id not in known:
            raise _invalid(f"{flag_id!r} is no flag of this video")
        if decided.count(flag_id) > 1:
            raise _invalid(f"flag {flag_id} is decided twice")
    for one in said.flags:
        _check_flag(one, known[one.flag_id], policies, duration_s)
    if len(said.missed) > MAX_MISSED:
        raise _invalid(f"at most {MAX_MISSED} things that were missed")
    for missed in said.missed:
        _check_policy(missed.policy_id, policies)
        _check_times(missed.start_s, missed.end_s, duration_s)
    if said.outcome in FINAL and (left := [flag_id for flag_id in known if flag_id not in decided]):
        raise _invalid(f"{len(left)} of {len(known)} flags are not decided: {', '.join(left[:3])}")
    noted = bool(said.note.strip())
    if said.outcome is Outcome.ESCALATE and not noted:
        raise _invalid("a note is needed: say what the lead should look at")
    if said.outcome is Outcome.REMOVE and not said.violations and not noted:
        raise _invalid("confirm a flag, say what was missed, or say in a note why the video is to go")
    if said.outcome is Outcome.APPROVE and said.violations and not noted:
        raise _invalid("say in a note why the video may stay although a policy is violated")


def follows(
    occasion: Occasion,
    outcome: Outcome,
    *,
    opinions: int = 1,
    before: Outcome | None = None,
    doubled: bool = False,
) -> Follow:
    """What follows from `outcome`, decided on that occasion.

    `opinions`: how many people have to look before it counts; `before`: what the first of two decided; `doubled`:
    somebody else is to look as well, for quality, though it counts already. Raises `InputError` (`invalid_decision`)
    where nobody is left to pass it on to.
    """
    if occasion is Occasion.GOLDEN:
        return Follow(None)
    if outcome not in FINAL and occasion is Occasion.ESCALATED:
        raise _invalid("it was escalated to you: approve or remove it")
    disagree = occasion is Occasion.SECOND and (outcome not in FINAL or (before in FINAL and before is not outcome))
    if outcome is Outcome.ESCALATE or disagree:
        return Follow(ReviewState.ESCALATED, Occasion.ESCALATED)
    is_first = occasion in (Occasion.FLAGGED, Occasion.SAMPLED)
    if outcome is Outcome.SECOND_OPINION or (is_first and opinions > 1):
        return Follow(ReviewState.IN_REVIEW, Occasion.SECOND)
    return Follow(FINAL[outcome], Occasion.SECOND if is_first and doubled else None)


def _check_flag(one: FlagDecision, flag: KnownFlag, policies: Mapping[str, object], duration_s: float) -> None:
    needs = {
        FlagVerdict.REJECT: one.reason is not None,
        FlagVerdict.WRONG_POLICY: one.policy_id is not None,
        FlagVerdict.WRONG_TIME: one.start_s is not None and one.end_s is not None,
    }
    if not needs.get(one.verdict, True):
        what = {"reject": "a reason", "wrong_policy": "policy_id", "wrong_time": "start_s and end_s"}[one.verdict]
        raise _invalid(f"flag {one.flag_id}: {one.verdict} needs {what}")
    if one.policy_id is not None:
        _check_policy(one.policy_id, policies)
        if one.policy_id == flag.policy_id:
            raise _invalid(f"flag {one.flag_id}: {one.policy_id} is the policy that it has")
    if one.start_s is not None and one.end_s is not None:
        _check_times(one.start_s, one.end_s, duration_s)


def _check_policy(policy_id: str, policies: Mapping[str, object]) -> None:
    if policy_id not in policies:
        raise _invalid(f"there is no policy {policy_id!r}")


def _check_times(start_s: float, end_s: float, duration_s: float) -> None:
    if not 0 <= start_s < end_s <= duration_s + 0.001:  # documents carry milliseconds
        raise _invalid(f"[{start_s:g}, {end_s:g}) is no part of a video of {duration_s:.3f} s")


def _invalid(why: str) -> InputError:
    return InputError(why, code="invalid_decision")
