"""What review looks like: the examples of OpenAPI, checked against the schemas by a test."""

from __future__ import annotations

from typing import Any, Final

_VIDEO: Final = "vid_019a9f6c2b10f3a1c09d5e7b4a62"
_KEY: Final = "key_019a9f6a0c2255ee7d8c9b0a1f2e"
_FLAG: Final = "flg_019a9f6c3311a0b1c2d3e4f50617"
_WHEN: Final = "2026-11-20T09:41:00Z"

TOKEN: Final[dict[str, Any]] = {"token": 1}
LOCK: Final[dict[str, Any]] = {"token": 1, "until": "2026-11-20T09:51:00Z"}
ITEM: Final[dict[str, Any]] = {
    "id": "rvi_019a9f6c3a00f1e2d3c4b5a69788",
    "video_id": _VIDEO,
    "queue": "everything",
    "occasion": "flagged",
    "state": "waiting",
    "severity": "low",
    "score": 0.91,
    "restricted": False,
    "waiting_since": "2026-11-20T09:30:09Z",
    "claimed_by": None,
    "lock": None,
}
CASE: Final[dict[str, Any]] = ITEM | {
    "state": "claimed",
    "claimed_by": _KEY,
    "lock": LOCK,
    "duration_s": 6.0,
    "reason": "Flagged: Weapon shown (0.91).",
    "flags": [
        {
            "id": _FLAG,
            "policy_id": "weapons.shown",
            "start_s": 2.0,
            "end_s": 4.0,
            "score": 0.91,
            "severity": "low",
            "action": "review",
            "evidence_s": [2.0, 2.5, 3.0, 3.5],
        }
    ],
    "links": {
        "video": f"/v1/videos/{_VIDEO}",
        "analysis": f"/v1/videos/{_VIDEO}/analysis",
        "content": f"/v1/videos/{_VIDEO}/content",
    },
}
ITEM_PAGE: Final[dict[str, Any]] = {"items": [ITEM], "next_cursor": f"3090:{ITEM['id']}"}
EXPOSURE: Final[dict[str, Any]] = {
    "minutes": 61.5,
    "weighted_minutes": 122.0,
    "stretch_minutes": 18.0,
    "severe_in_a_row": 0,
    "break_because": "budget",
}
CLAIM: Final[dict[str, Any]] = {"item": CASE, "exposure": EXPOSURE | {"weighted_minutes": 31.0, "break_because": None}}
DECISION_IN: Final[dict[str, Any]] = {
    "token": 1,
    "outcome": "approve",
    "flags": [{"flag_id": _FLAG, "verdict": "reject", "reason": "lookalike"}],
    "note": "",
    "watched_s": 7.5,
    "advance": {"queues": []},
}
_PINNED: Final[dict[str, Any]] = {
    "provenance": {
        "model_id": "vidlm/tiny",
        "model_revision": "4f1a0c",
        "toy_model": True,
        "pipeline_version": "1",
        "prompt_version": "3",
        "policy_set_version": "5b0c1d2e3f4a",
        "sampling": {"fps": 2.0, "width": 112, "height": 112},
        "libraries": {"torch": "2.13.0"},
    },
    "verdict": {"action": "review", "reason": "Flagged: Weapon shown (0.91)."},
}
DECISION: Final[dict[str, Any]] = {
    "id": "dec_019a9f760d40a7b8c9d0e1f20314",
    "item_id": ITEM["id"],
    "video_id": _VIDEO,
    "actor": _KEY,
    "occasion": "flagged",
    "outcome": "approve",
    "note": "",
    "watched_s": 7.5,
    "flags": [
        {
            "flag_id": _FLAG,
            "policy_id": "weapons.shown",
            "start_s": 2.0,
            "end_s": 4.0,
            "score": 0.91,
            "severity": "low",
            "review_threshold": 0.45,
            "verdict": "reject",
            "reason": "lookalike",
            "evidence_s": [2.0, 2.5, 3.0, 3.5],
            "right_policy_id": None,
            "right_start_s": None,
            "right_end_s": None,
        }
    ],
    "pinned": _PINNED,
    "created_at": _WHEN,
    "undone_at": None,
    "undone_by": None,
}
DECIDED: Final[dict[str, Any]] = {
    "decision": DECISION,
    "review": "approved",
    "asked_next": None,
    "next": {"item": None, "exposure": CLAIM["exposure"]},
}
HISTORY: Final[dict[str, Any]] = {"review": "approved", "decisions": [DECISION]}
QUEUE_IN: Final[dict[str, Any]] = {
    "name": "urgent",
    "title": "Urgent",
    "rule": {"severities": ["high", "severe"], "score_from": 0.8},
    "needs_role": "reviewer",
    "opinions": 2,
}
QUEUE_CHANGE: Final[dict[str, Any]] = {"opinions": 1, "position": 1}
QUEUE: Final[dict[str, Any]] = QUEUE_IN | {
    "position": 1,
    "restricted": False,
    "built_in": False,
    "waiting": {"total": 3, "by_severity": {"high": 2, "severe": 1}, "claimed": 1, "oldest": _WHEN},
}
QUEUES: Final[dict[str, Any]] = {"queues": [QUEUE]}
SETTINGS_CHANGE: Final[dict[str, Any]] = {"golden_share": 0.02, "doubled_share": 0.05}
SETTINGS: Final[dict[str, Any]] = SETTINGS_CHANGE | {
    "lock_s": 600.0,
    "undo_s": 300.0,
    "weighted_minutes": 120.0,
    "stretch_minutes": 50.0,
    "severe_in_a_row": 5,
    "appeals_most": 3,
}
APPEAL_IN: Final[dict[str, Any]] = {"note": "This is a toy; see the description."}
APPEAL: Final[dict[str, Any]] = APPEAL_IN | {
    "id": "apl_019a9f8011aa0f1e2d3c4b5a6978",
    "video_id": _VIDEO,
    "decision_id": DECISION["id"],
    "created_by": _KEY,
    "created_at": _WHEN,
    "outcome": None,
}
APPEALS: Final[dict[str, Any]] = {"appeals": [APPEAL | {"outcome": "approve"}]}
GOLDEN_IN: Final[dict[str, Any]] = {"video_id": _VIDEO, "outcome": "remove", "violated": [_FLAG], "note": "A knife."}
GOLDEN: Final[dict[str, Any]] = GOLDEN_IN | {
    "id": "gld_019a9f90aabb0f1e2d3c4b5a6978",
    "restricted": False,
    "created_by": _KEY,
    "created_at": _WHEN,
    "retired_at": None,
}
GOLDENS: Final[dict[str, Any]] = {"golden": [GOLDEN]}

_WAITS: Final[dict[str, Any]] = {"count": 212, "median_s": 94.5, "p90_s": 610.0}
TRANSPARENCY: Final[dict[str, Any]] = {
    "since": "2026-10-01T00:00:00Z",
    "until": "2026-11-01T00:00:00Z",
    "videos_received": 5210,
    "videos_deleted": 31,
    "videos_by_end": {"ready": 5120, "rejected": 88, "failed": 2},
    "minutes_analysed": 9120.5,
    "verdicts": {"allow": 4902, "review": 201, "block": 17},
    "policies": {
        "weapons.shown": {
            "flags": 140,
            "blocked": 0,
            "confirmed": 96,
            "rejected": 40,
            "other_policy": 4,
            "missed": 3,
            "overturned": 0.314,
        }
    },
    "decisions": {"approve": 150, "remove": 60, "escalate": 2},
    "decisions_by_occasion": {"flagged": 205, "second": 5, "appeal": 2},
    "decisions_undone": 4,
    "blocks_overturned": 1,
    "appeals": 2,
    "appeals_granted": 1,
    "waits": _WAITS,
    "waits_by_severity": {"low": _WAITS},
}
