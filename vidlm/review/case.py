"""All that a decision rests on, and the rows that keep it. Makes rows; reads and writes none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from vidlm.domain import Policy, Severity
from vidlm.moderation.decisions import Submission
from vidlm.moderation.flags import EVIDENCE_FRAMES, spread
from vidlm.store.review import FlagDecision, ReviewDecision, ReviewItem, ReviewLook
from vidlm.store.tables import FlagRow, Job

MISSED: Final = "missed"
"""The verdict on what was there and nobody had flagged."""


def evidence_of(document: Mapping[str, Any], flag: FlagRow) -> list[float]:
    """The times, in seconds, of the frames that a flag rests on; of one that came later, its segments' frames."""
    for told in document["flags"]:
        if (told["policy_id"], told["start_s"]) == (flag.policy_id, flag.start_s):
            return [frame["time_s"] for frame in told["evidence"]]
    inside = (part for part in document["segments"] if flag.start_s <= part["start_s"] < flag.end_s)
    return spread([time_s for part in inside for time_s in part["frame_times_s"]], EVIDENCE_FRAMES)


@dataclass(frozen=True, slots=True)
class Case:
    """A video in front of somebody. `policies`: those that it was scored with, by id; `document`: its analysis."""

    item: ReviewItem
    job: Job
    flags: Sequence[FlagRow]
    policies: Mapping[str, Policy]
    document: Mapping[str, Any]

    def decision(self, said: Submission, actor: str, now: datetime) -> ReviewDecision:
        """The decision, pinned to what made the scores."""
        item = self.item
        held_s = (now - (item.claimed_at or now)).total_seconds()
        return ReviewDecision(
            tenant_id=item.tenant_id,
            item_id=item.id,
            video_id=item.video_id,
            job_id=item.job_id,
            actor=actor,
            occasion=item.occasion,
            outcome=said.outcome.value,
            state_before=self.job.review_state,
            note=said.note.strip(),
            watched_s=min(said.watched_s, held_s),  # nobody looked for longer than they held it
            severity=item.severity,
            restricted=item.restricted,
            inclusion=item.inclusion,
            pinned={name: self.document[name] for name in ("provenance", "verdict")},
            created_at=now,
        )

    def flag_decisions(self, said: Submission, decision: ReviewDecision) -> list[FlagDecision]:
        """What is said about flags, and what nobody had flagged."""
        flags = {flag.id: flag for flag in self.flags}
        rows = []
        for one in said.flags:
            flag = flags[one.flag_id]
            row = self._about(decision, flag.policy_id, flag.start_s, flag.end_s)
            row.flag_id, row.score, row.severity = flag.id, flag.score, flag.severity
            row.verdict, row.reason = one.verdict.value, None if one.reason is None else one.reason.value
            row.evidence_s = evidence_of(self.document, flag)
            row.right_policy_id, row.right_start_s, row.right_end_s = one.policy_id, one.start_s, one.end_s
            rows.append(row)
        for missed in said.missed:
            row = self._about(decision, missed.policy_id, missed.start_s, missed.end_s)
            row.score = self._peak(missed.policy_id)  # what the model gave it, also once the video is gone
            rows.append(row)
        return rows

    def look(self, said: Submission, decision: ReviewDecision) -> ReviewLook:
        """How long they looked at what: the worst that was really there, by their own word."""
        there = {one.flag_id for one in said.flags if one.verdict.is_violation}
        seen = [Severity(flag.severity) for flag in self.flags if flag.id in there]
        seen += [self.policies[one.policy_id].severity for one in said.missed]
        worst = max(seen, key=list(Severity).index, default=Severity.NONE)
        return ReviewLook(
            tenant_id=decision.tenant_id,
            actor=decision.actor,
            item_id=decision.item_id,
            seconds=decision.watched_s,
            severity=worst.value,
            at=decision.created_at,
        )

    def _peak(self, policy_id: str) -> float | None:
        """The highest score of the policy in the video, in [0, 1]; None where it was not scored."""
        scores = [segment["scores"].get(policy_id) for segment in self.document["segments"]]
        return max((score for score in scores if score is not None and 0 <= score <= 1), default=None)

    def _about(self, decision: ReviewDecision, policy_id: str, start_s: float, end_s: float) -> FlagDecision:
        policy = self.policies.get(policy_id)  # a flag's policy may have been disabled since
        return FlagDecision(
            tenant_id=decision.tenant_id,
            decision_id=decision.id,
            policy_id=policy_id,
            start_s=start_s,
            end_s=end_s,
            severity=Severity.NONE.value if policy is None else policy.severity.value,
            review_threshold=None if policy is None else policy.review_threshold,
            verdict=MISSED,
        )
