"""From scores to flags to a verdict. Numbers in, decisions out: nothing here is read, stored or asked.

    segments       |  0  |  1  |  2  |  3  |  4  |  5  |
    score          | .1  | .4  | .9  | .45 | .2  | .6  |     review = .5, keep = .4, block = .95
    flags                [     peak .9     )     [ .6  )     two runs, two flags, each `review`

Two thresholds keep a score that wavers around one of them from cutting a flag into pieces (hysteresis, as Canny, 1986,
follows edges): a flag needs a segment at `review` and takes in all its neighbours at `keep`. What is shorter than the
policy asks for is no flag, so that one odd moment does not make one, unless it would block.

A flag's action comes from its peak: `block` at or above the policy's block threshold, else `review`. The verdict is the
strongest action among the flags, and it fails closed: what was not seen or not scored never ends `allow`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from vidlm.domain import Action, Coverage, Evidence, Flag, LookOutcome, Policy, SecondLook, Segment, Span, Verdict
from vidlm.moderation.policies import PolicySet

EVIDENCE_FRAMES: Final = 4
"""Frame times a flag points at, at most."""

TOLERANCE_S: Final = 0.002  # times are rounded to a millisecond, each end by up to half of one


Spot = tuple[int, str]
"""A segment's index and a policy's id."""


def flags_from_scores(
    segments: Sequence[Segment],
    policies: PolicySet,
    looks: Sequence[SecondLook] = (),
    parts: Mapping[Spot, Span] | None = None,
) -> tuple[Flag, ...]:
    """One flag for each run of neighbours that a policy's thresholds make one.

    `segments` are in order of time, their scores those after the second `looks`, which only say what became of a flag.
    `parts`: where in its peak each can be seen, as `vidlm.pinpoint` finds it; without, what the looks say of that.
    Flags come in order of start, then of the policies.
    """
    outcomes = {(look.segment, look.policy_id): look.outcome for look in looks}
    telling = best_parts(looks) if parts is None else parts
    flags = [_flag(policy, run, outcomes, telling) for policy in policies.policies for run in _runs(segments, policy)]
    return tuple(sorted(flags, key=lambda flag: flag.start_s))


def peaks(segments: Sequence[Segment], policies: PolicySet) -> list[tuple[Policy, Segment]]:
    """Of every flag, its policy and the segment that its score comes from. `segments` are in order of time."""
    return [(policy, _peak(policy, run)) for policy in policies.policies for run in _runs(segments, policy)]


def best_parts(looks: Sequence[SecondLook]) -> dict[Spot, Span]:
    """Where second looks found what they confirmed."""
    return {
        (look.segment, look.policy_id): Span(look.peak_start_s, look.peak_end_s)
        for look in looks
        if look.outcome is LookOutcome.CONFIRMED and look.peak_start_s is not None and look.peak_end_s is not None
    }


def decide(flags: Sequence[Flag], coverage: Coverage, segments: Sequence[Segment], policies: PolicySet) -> Verdict:
    """The strongest action among the flags; at least `review` where anything was not looked at."""
    strongest = max((flag.action for flag in flags), key=lambda action: action.strength, default=Action.ALLOW)
    if strongest is Action.BLOCK:
        return Verdict(Action.BLOCK, _flagged([flag for flag in flags if flag.action is Action.BLOCK], policies))
    unseen = _why_not_cleared(coverage, segments, policies)
    if strongest is Action.REVIEW:
        reason = _flagged(flags, policies)
        return Verdict(Action.REVIEW, f"{reason} Also, {unseen}" if unseen else reason)
    if unseen:
        return Verdict(Action.REVIEW, unseen[0].upper() + unseen[1:])
    return Verdict(
        Action.ALLOW, f"All of the video was seen and none of {len(policies.policies)} policies was flagged."
    )


def _runs(segments: Sequence[Segment], policy: Policy) -> Iterator[list[Segment]]:
    """The runs of `_kept` that are a flag."""
    for run in _kept(segments, policy):
        peak = max(segment.scores[policy.id] for segment in run)
        lasts = run[-1].end_s - run[0].start_s >= policy.min_duration_s - TOLERANCE_S
        if peak >= policy.block_threshold or (peak >= policy.review_threshold and lasts):
            yield run


def _kept(segments: Sequence[Segment], policy: Policy) -> Iterator[list[Segment]]:
    """Maximal runs of neighbours over the keep threshold; a missing score ends a run, and so does a hole in time."""
    run: list[Segment] = []
    for segment in segments:
        over = segment.scores.get(policy.id, 0.0) >= policy.keep_threshold
        neighbour = not run or segment.start_s - run[-1].end_s <= TOLERANCE_S
        if run and not (over and neighbour):
            yield run
            run = []
        if over:
            run.append(segment)
    if run:
        yield run


def _peak(policy: Policy, run: Sequence[Segment]) -> Segment:
    return max(run, key=lambda segment: segment.scores[policy.id])


def _flag(
    policy: Policy, run: Sequence[Segment], outcomes: Mapping[Spot, LookOutcome], parts: Mapping[Spot, Span]
) -> Flag:
    peak = _peak(policy, run)
    spot = (peak.index, policy.id)
    score = peak.scores[policy.id]
    lengths_s = [segment.end_s - segment.start_s for segment in run]
    weighted = math.fsum(s.scores[policy.id] * length_s for s, length_s in zip(run, lengths_s, strict=True))
    return Flag(
        policy_id=policy.id,
        start_s=run[0].start_s,
        end_s=run[-1].end_s,
        score=score,
        mean_score=min(score, weighted / math.fsum(lengths_s)),
        severity=policy.severity,
        action=Action.BLOCK if score >= policy.block_threshold else Action.REVIEW,
        evidence=tuple(Evidence(time_s) for time_s in spread(_telling(peak, parts.get(spot)), EVIDENCE_FRAMES)),
        second_look=outcomes.get(spot),
    )


def _telling(peak: Segment, part: Span | None) -> Sequence[float]:
    """The times of the segment's frames that speak for a flag: of its best part, where that is known."""
    if part is None:
        return peak.frame_times_s
    return [time_s for time_s in peak.frame_times_s if part.start_s <= time_s < part.end_s] or [part.start_s]


def spread(times_s: Sequence[float], count: int) -> list[float]:
    """At most `count` of the times, evenly spread, first and last among them."""
    if len(times_s) <= count:
        return list(times_s)
    return [times_s[round(i * (len(times_s) - 1) / (count - 1))] for i in range(count)]


def _why_not_cleared(coverage: Coverage, segments: Sequence[Segment], policies: PolicySet) -> str | None:
    """The first reason why the absence of flags proves nothing, or None where it does prove something."""
    if not segments:
        return "no part of the video was analysed."
    if not policies.policies:
        return "no policy was scored."
    if coverage.partial or coverage.seconds_seen < coverage.seconds_total - TOLERANCE_S:
        unseen_s = max(coverage.seconds_total - coverage.seconds_seen, 0.0)
        return f"{unseen_s:.1f} of {coverage.seconds_total:.1f} seconds were not seen."
    if not _tile(segments, coverage.seconds_total):
        return "the analysed parts do not cover the whole video."
    reasons = (_why_unjudged(segment, policies) for segment in segments)
    return next((reason for reason in reasons if reason), None)


def _why_unjudged(segment: Segment, policies: PolicySet) -> str | None:
    """Why this segment's scores prove nothing, or None."""
    where = f"from {segment.start_s:.1f} s to {segment.end_s:.1f} s"
    if not segment.frame_times_s:
        return f"no frame was seen of the part {where}."
    for policy in policies.policies:
        score = segment.scores.get(policy.id)
        if score is None or not 0 <= score <= 1:  # not a probability; NaN is none either
            return f"{policy.title} was not scored {where}."
    return None


def _tile(segments: Sequence[Segment], total_s: float) -> bool:
    """Whether the segments follow one another from 0 to `total_s` without a hole or an overlap."""
    ends = [0.0, *(segment.end_s for segment in segments)]
    starts = [*(segment.start_s for segment in segments), total_s]
    return all(abs(start_s - end_s) <= TOLERANCE_S for end_s, start_s in zip(ends, starts, strict=True))


def _flagged(flags: Sequence[Flag], policies: PolicySet) -> str:
    """Which policies were flagged, strongest score first: "Flagged: Fight (0.93), Blood or gore (0.71)." """
    peaks: dict[str, float] = {}
    for flag in flags:
        peaks[flag.policy_id] = max(flag.score, peaks.get(flag.policy_id, 0.0))
    named = [
        f"{policy.title if (policy := policies.get(policy_id)) else policy_id} ({score:.2f})"
        for policy_id, score in sorted(peaks.items(), key=lambda item: -item[1])
    ]
    return f"Flagged: {', '.join(named)}."
