"""Which role each route needs. Looking is for viewers, changing for admins, unless it is said otherwise here.

Keys that were made before there were roles are admins' and may do all. Who may see restricted videos in review is
another question (`vidlm.review.items.visible`).
"""

from __future__ import annotations

from typing import Final

from vidlm.domain import Role

_LOOKING: Final = frozenset({"GET", "HEAD", "OPTIONS"})

_REVIEWERS: Final = (
    "GET /queue",
    "GET /queue/events",
    "GET /review/{item_id}",
    "GET /review/{item_id}/data",
    "POST /queue/views",
    "POST /queue/views/{view_id}/remove",
    "POST /review/start",
    "GET /v1/review/items",
    "GET /v1/review/items/{item_id}",
    "GET /v1/review/me/exposure",
    "GET /v1/review/queues",
    "GET /v1/review/settings",
    "GET /v1/videos/{video_id}/decisions",
    "POST /v1/review/claim",
    "POST /v1/review/items/{item_id}/keep",
    "POST /v1/review/items/{item_id}/release",
    "POST /v1/review/items/{item_id}/decision",
    "POST /v1/review/decisions/{decision_id}/undo",
)
_LEADS: Final = (
    "GET /operations",
    "GET /policies/precisions",
    "GET /policies/{policy_id}/proposals",
    "GET /policies/{policy_id}/quality",
    "GET /quality",
    "GET /quality/golden",
    "GET /quality/policies",
    "GET /quality/report",
    "GET /quality/rules",
    "GET /v1/banks/{bank}/export",
    "GET /v1/policies/{policy_id}/quality",
    "GET /v1/policies/{policy_id}/threshold-proposals",
    "GET /v1/reports/transparency",
    "GET /v1/review/decisions/export",
    "GET /v1/review/drift",
    "GET /v1/review/golden",
    "GET /v1/review/quality",
    "POST /policies/drafts",
    "POST /policy-sets/{policy_set_id}/check",
    "POST /policy-sets/{policy_set_id}/what-if",
    "POST /v1/backfills/{backfill_id}/cancel",
    "POST /v1/banks/{bank}/entries",
    "DELETE /v1/banks/{bank}/entries/{entry_id}",
    "POST /v1/banks/{bank}/import",
    "POST /v1/policies/{policy_id}/backfill",
    "POST /v1/policies/{policy_id}/threshold-proposals",
    "POST /v1/policies/{policy_id}/threshold-proposals/{proposal_id}/accept",
    "POST /v1/policies/{policy_id}/threshold-proposals/{proposal_id}/decline",
    "POST /v1/policy-sets",
    "PATCH /v1/policy-sets/{policy_set_id}",
    "DELETE /v1/policy-sets/{policy_set_id}",
    "POST /v1/policy-sets/{policy_set_id}/activate",
    "POST /v1/policy-sets/what-if",
    "POST /v1/review/golden",
    "DELETE /v1/review/golden/{golden_id}",
    "POST /v1/review/queues",
    "PATCH /v1/review/queues/{name}",
    "DELETE /v1/review/queues/{name}",
    "PATCH /v1/review/settings",
    "POST /v1/videos/{video_id}/appeals",
)
_VIEWERS: Final = (
    "POST /v1/videos/{video_id}/questions",  # to ask is to look
    "POST /settings/password",
    "POST /settings/preferences",
    "POST /settings/sign-out-others",
    "POST /sign-out",
)
_ADMINS: Final = (  # they hold secrets, or what others were told
    "GET /admin",
    "GET /admin/keys",
    "GET /admin/people/{person_id}",
    "GET /admin/webhooks",
    "GET /audit",
    "GET /audit/verify",
    "GET /v1/webhooks",
    "GET /v1/webhooks/{webhook_id}",
    "GET /v1/webhooks/{webhook_id}/deliveries",
    "GET /v1/webhooks/deliveries",
    "GET /v1/webhooks/deliveries/{delivery_id}",
    "GET /v1/webhooks/signing-secret",
)
NAMED: Final[dict[str, Role]] = {
    **dict.fromkeys(_VIEWERS, Role.VIEWER),
    **dict.fromkeys(_REVIEWERS, Role.REVIEWER),
    **dict.fromkeys(_LEADS, Role.LEAD),
    **dict.fromkeys(_ADMINS, Role.ADMIN),
}
"""Routes, by method and path, that need another role than their method says."""


def needed(method: str, path: str) -> Role:
    """The role that a route needs; `path` as it is declared, with names in braces."""
    return NAMED.get(f"{method} {path}", Role.VIEWER if method in _LOOKING else Role.ADMIN)
