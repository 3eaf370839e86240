"""Which scores are to be looked at a second time, and what such a look may change. Numbers in, decisions out.

    score    0 ....... from [ ........ looked at again ........ ) below ....... 1      a band, by policy
                  keep / 2       keep       review          block                      where it lies by default

    segments  |  0  |  1  |  2  |  3  |  4  |        looked at: 1, 2 and 4, as two runs of neighbours
    score     | .1  | .25 | .7  | .97 | .5  |        where there is time for all of them

A look gives two numbers: the score of the whole segment in its denser frames, and that of its best part. Their mean is
the second score: the best of many parts is high by chance, and one second of ten weighs little in a whole. Both have
to be low to clear: nothing may speak for what is cleared. What is severe, or about the safety of children, is never
cleared by looking again. Where nobody could look, nothing changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from vidlm.domain import Band, LookOutcome, Policy, SecondLook, Segment, Severity
from vidlm.moderation.flags import TOLERANCE_S
from vidlm.moderation.policies import PolicySet
from vidlm.moderation.routing import is_restricted

BUDGET_SPENT: Final = "budget_spent"
"""The reason of a look that there was no time for."""
FROM_SHARE: Final = 0.5
"""Of the keep threshold: from where on a policy that says nothing else is looked at again. What lasts a second is often
scored below `keep` at first (docs/design/second-look.md)."""


@dataclass(frozen=True, slots=True)
class Doubt:
    """A segment, and the policies whose scores of it are to be looked at again."""

    segment: Segment
    policies: tuple[Policy, ...]

    @property
    def duration_s(self) -> float:
        return self.segment.end_s - self.segment.start_s

    @property
    def _urgency(self) -> tuple[int, float]:
        """What is looked at first: the worst matter, then the highest score."""
        severities = list(Severity)
        return max(
            (severities.index(policy.severity), self.segment.scores[policy.id] / policy.review_threshold)
            for policy in self.policies
        )


def band_of(policy: Policy) -> Band:
    """Which scores of a policy are looked at again."""
    return policy.second_look or Band(FROM_SHARE * policy.keep_threshold, policy.block_threshold)


def doubts(segments: Sequence[Segment], policies: PolicySet) -> list[Doubt]:
    """All that is to be looked at again, in the order of the segments."""
    bands = [(policy, band_of(policy)) for policy in policies.policies]
    found = []
    for segment in segments:
        unsure = tuple(policy for policy, band in bands if segment.scores.get(policy.id, -1.0) in band)
        found += [Doubt(segment, unsure)] if unsure else []
    return found


def within_budget(found: Sequence[Doubt], budget_s: float) -> tuple[list[Doubt], list[Doubt]]:
    """(looked at, left out), each in the given order: the most urgent ones that together last at most `budget_s`."""
    left_s = budget_s
    taken = set()
    for place in sorted(range(len(found)), key=lambda place: found[place]._urgency, reverse=True):
        if found[place].duration_s <= left_s + TOLERANCE_S:
            left_s -= found[place].duration_s
            taken.add(place)
    return (
        [doubt for place, doubt in enumerate(found) if place in taken],
        [doubt for place, doubt in enumerate(found) if place not in taken],
    )


def neighbours(chosen: Sequence[Doubt], most_s: float) -> list[list[Doubt]]:
    """Runs of touching segments, to be cut out of the source in one go; of several, at most `most_s` together."""
    runs: list[list[Doubt]] = []
    for doubt in chosen:
        touches = bool(runs) and doubt.segment.start_s - runs[-1][-1].segment.end_s <= TOLERANCE_S
        if touches and doubt.segment.end_s - runs[-1][0].segment.start_s <= most_s:
            runs[-1].append(doubt)
        else:
            runs.append([doubt])
    return runs


def unverified(doubt: Doubt, reason: str) -> list[SecondLook]:
    """The looks that nobody could take, of scores that are flagged as they are: a video of which all is in doubt has
    very many others."""
    flagged = [policy for policy in doubt.policies if doubt.segment.scores[policy.id] >= policy.review_threshold]
    return [_look(doubt, policy, LookOutcome.UNVERIFIED, reason=reason) for policy in flagged]


def looked(
    doubt: Doubt, whole: Sequence[float], parts: Sequence[tuple[float, float, Sequence[float]]]
) -> list[SecondLook]:
    """What came of a look: scores in the order of the doubt's policies, of the `whole` segment and of its `parts`,
    each (start_s, end_s, scores); at least one.

    `confirmed` where the whole or any part is still at the policy's keep threshold, from which a flag goes on.
    """
    found = []
    for place, (policy, of_whole) in enumerate(zip(doubt.policies, whole, strict=True)):
        start_s, end_s, scores = max(parts, key=lambda part: part[2][place])
        peak = scores[place]
        outcome = LookOutcome.CONFIRMED if max(of_whole, peak) >= policy.keep_threshold else LookOutcome.REJECTED
        found.append(
            replace(
                _look(doubt, policy, outcome),
                second_score=(of_whole + peak) / 2,
                peak_score=peak,
                peak_start_s=start_s,
                peak_end_s=end_s,
            )
        )
    return found


def may_clear(policy: Policy) -> bool:
    """Whether a machine that looks again may take a flag away."""
    return policy.severity is not Severity.SEVERE and not is_restricted(policy.id)


def score_after(look: SecondLook, policy: Policy) -> float:
    """The score that decides from now on."""
    if look.second_score is None:
        return look.first_score
    if look.outcome is LookOutcome.REJECTED and may_clear(policy):
        return look.second_score
    return max(look.first_score, look.second_score)


def applied(segments: Sequence[Segment], looks: Sequence[SecondLook], policies: PolicySet) -> tuple[Segment, ...]:
    """The segments with the scores that decide after these looks."""
    known = {policy.id: policy for policy in policies.policies}
    changed: dict[int, dict[str, float]] = {}
    for look in looks:
        changed.setdefault(look.segment, {})[look.policy_id] = score_after(look, known[look.policy_id])
    return tuple(
        replace(segment, scores={**segment.scores, **changed[segment.index]}) if segment.index in changed else segment
        for segment in segments
    )


def _look(doubt: Doubt, policy: Policy, outcome: LookOutcome, *, reason: str = "") -> SecondLook:
    segment = doubt.segment
    first = segment.scores[policy.id]
    return SecondLook(policy.id, segment.index, segment.start_s, segment.end_s, first, outcome, reason=reason)
