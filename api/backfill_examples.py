"""What backfills look like: the examples of OpenAPI, checked against the schemas by a test."""

from __future__ import annotations

from typing import Any, Final

from api.policy_examples import POLICY_SET, POLICY_SET_IN

BACKFILL_IN: Final[dict[str, Any]] = {"policy_set_id": POLICY_SET["id"], "created_from": "2026-10-01T00:00:00Z"}

BACKFILL: Final[dict[str, Any]] = {
    "id": "bfl_019aa8c01d3e5a7b90c1d2e3f405",
    "policy_id": "weapons.shown",
    "policy_set_id": POLICY_SET["id"],
    "question_version": "0c9d4f6a1b2e",
    "policy": POLICY_SET_IN["policies"][0],
    "filters": {"created_from": "2026-10-01T00:00:00+00:00"},
    "apply": False,
    "state": "running",
    "fraction": 0.25,
    "videos": {"total": 1200, "done": 290, "needs_decode": 9, "failed": 0, "gone": 1, "flagged": 17},
    "minutes": {"total": 4810.0, "done": 1150.5, "needs_decode": 31.2},
    "flags_added": 0,
    "verdicts_raised": 0,
    "created_at": "2026-11-21T10:00:00Z",
    "created_by": "key_019a9f4e6b1a0b7c5d2e8f90",
    "ended_at": None,
    "cancelled_by": None,
}
CANCELLED: Final[dict[str, Any]] = BACKFILL | {
    "state": "cancelled",
    "ended_at": "2026-11-21T10:04:00Z",
    "cancelled_by": "key_019a9f4e6b1a0b7c5d2e8f90",
}
BACKFILL_PAGE: Final[dict[str, Any]] = {"items": [BACKFILL], "next_before": None}

BACKFILLED: Final[dict[str, Any]] = {
    "items": [
        {
            "policy_id": "weapons.shown",
            "question_version": "0c9d4f6a1b2e",
            "backfill_id": BACKFILL["id"],
            "model_revision": "sha256:4f1d0c9a7be2",
            "segments": [{"index": 0, "start_s": 0.0, "end_s": 8.0, "score": 0.91}],
        }
    ]
}
