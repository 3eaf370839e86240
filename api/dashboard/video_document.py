"""One video as pages show it: what was seen in it, how it scored, what was flagged and why. Both the desk, where it is
decided about, and its own page are made of this.

Knows rows and the analysis' document; nothing of who looks, and nothing of what people decided.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlmodel import Session

from api.deps import Service
from api.review_views import flags_out
from vidlm.domain import Policy
from vidlm.policy import policy_sets
from vidlm.store.tables import AnalysisRow, Job, Video

MOST_PARTS: Final = 2400
"""Segments that a document holds, about two hours of the embedded model's; the downloads hold all."""
WORTH: Final = 0.5
"""Of the keep threshold: policies whose score came so far in a video are drawn, beside those that were flagged."""


@dataclass(frozen=True, slots=True)
class VideoShown:
    """What scripts draw of a video; all of it plain values.

    verdict: `action` and `reason`, empty before there is one.  flags: in order of time, each with `evidence_s`.
    segments: (start_s, end_s, caption).  bands: by policy, a score for each segment; null where it was not asked.
    policies: all it was asked about, by id.  shots: their starts in seconds.  gaps: what nobody looked at.
    looks: scores that were looked at again.  told_until_s: where `segments` end before the video does, else None.
    preview: there is something to play.
    """

    video: dict[str, Any]
    verdict: dict[str, Any]
    summary: dict[str, Any]
    flags: list[dict[str, Any]]
    segments: list[tuple[float, float, str]]
    bands: dict[str, list[float | None]]
    policies: dict[str, dict[str, Any]]
    shots: list[float]
    gaps: list[dict[str, Any]]
    looks: list[dict[str, Any]]
    provenance: dict[str, Any]
    coverage: dict[str, Any]
    thumbnails: dict[str, Any] | None
    preview: bool
    told_until_s: float | None


def video_shown(session: Session, service: Service, video: Video, job: Job) -> VideoShown:
    """The video as far as its job came."""
    analysis = session.get(AnalysisRow, job.id)
    document: dict[str, Any] = {} if analysis is None else analysis.document
    pinned = policy_sets.pinned(session, job.policy_set_id, service.policies)
    policies = {policy.id: policy for policy in pinned.policies}
    flags = [flag.model_dump(mode="json") for flag in flags_out(session, job.id, document)]
    parts: list[dict[str, Any]] = document.get("segments", [])
    segments = parts[:MOST_PARTS]
    there = video.blob is not None and job.work_folder is not None
    prepared: dict[str, Any] = (job.prepared or {}) if there else {}
    return VideoShown(
        video={
            "id": video.id,
            "duration_s": job.duration_s,
            "client_id": video.client_id,
            "filename": video.filename,
            "language": video.language,
            "created_at": video.created_at,
        },
        verdict={} if job.verdict_action is None else {"action": job.verdict_action, "reason": job.verdict_reason},
        summary=document.get("summary", {}),
        flags=flags,
        segments=[(one["start_s"], one["end_s"], one["caption"]) for one in segments],
        bands=bands(segments, policies, {flag["policy_id"] for flag in flags}),
        policies={policy.id: _policy(policy) for policy in policies.values()},
        shots=[shot["start_s"] for shot in (job.prepared or {}).get("shots", [])],
        gaps=document.get("coverage", {}).get("gaps", []),
        looks=document.get("second_looks", []),
        provenance=document.get("provenance", {}),
        coverage=document.get("coverage", {}),
        thumbnails=prepared.get("thumbnails"),
        preview=bool(prepared.get("preview") or prepared.get("web_type")),
        told_until_s=segments[-1]["end_s"] if len(parts) > len(segments) else None,
    )


def bands(
    segments: Sequence[Mapping[str, Any]], policies: Mapping[str, Policy], flagged: set[str]
) -> dict[str, list[float | None]]:
    """The scores of what was flagged and of what came near it: what was flagged first, then by the highest score."""
    peaks: dict[str, float] = {}
    for segment in segments:
        for policy_id, score in segment["scores"].items():
            peaks[policy_id] = max(score, peaks.get(policy_id, 0.0))

    def worth(policy_id: str) -> bool:
        policy = policies.get(policy_id)
        return policy_id in flagged or (policy is not None and peaks[policy_id] >= WORTH * policy.keep_threshold)

    def score_of(segment: Mapping[str, Any], policy_id: str) -> float | None:
        score = segment["scores"].get(policy_id)
        return None if score is None else round(score, 3)

    shown = sorted((one for one in peaks if worth(one)), key=lambda one: (one not in flagged, -peaks[one]))
    return {policy_id: [score_of(segment, policy_id) for segment in segments] for policy_id in shown}


def _policy(policy: Policy) -> dict[str, Any]:
    return {
        "title": policy.title,
        "severity": policy.severity,
        "blocked": policy.blocked,
        "allowed": policy.allowed,
        "review_threshold": policy.review_threshold,
        "block_threshold": policy.block_threshold,
        "keep_threshold": policy.keep_threshold,
    }
