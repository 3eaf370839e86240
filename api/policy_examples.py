"""What policies, sets of them and labels look like: the examples of OpenAPI, checked against the schemas by a test."""

from __future__ import annotations

from typing import Any, Final

_POLICY: Final[dict[str, Any]] = {
    "id": "weapons.shown",
    "title": "Weapon shown",
    "blocked": "a gun, knife or other weapon that can be seen",
    "allowed": "toys that are plainly toys, kitchen knives in use for cooking",
    "severity": "low",
    "review": 0.45,
    "block": "never",
    "keep": 0.36,
    "at_least_s": 1.0,
    "labels": {"aws": "Weapons", "llava_guard": "O6"},
    "enabled": True,
}

POLICIES: Final[dict[str, Any]] = {
    "version": "5b0c1d2e3f4a",
    "policy_set_id": None,
    "policies": [
        {
            "id": "weapons.shown",
            "title": "Weapon shown",
            "parent": "weapons",
            "blocked": "a gun, knife or other weapon that can be seen",
            "allowed": "toys that are plainly toys, kitchen knives in use for cooking",
            "severity": "low",
            "review_threshold": 0.5,
            "block_threshold": 1.01,
            "keep_threshold": 0.4,
            "min_duration_s": 1.0,
            "labels": {"aws": "Weapons", "llava_guard": "O6"},
            "enabled": True,
            "second_look": None,
        }
    ],
}

LABELS: Final[dict[str, Any]] = {
    "scheme": "aws",
    "labels": [
        {
            "id": "Weapons",
            "title": "Weapons",
            "parents": ["Violence"],
            "policy_id": "weapons.shown",
            "start_s": 4.0,
            "end_s": 8.0,
            "confidence": 0.91,
        }
    ],
}

POLICY_SET_IN: Final[dict[str, Any]] = {"name": "Stricter on weapons", "policies": [_POLICY]}
CHANGE: Final[dict[str, Any]] = {"policies": [_POLICY]}
ACTIVATION: Final[dict[str, Any]] = {"reason": "Too many knives were missed in October."}

_SUMMARY: Final[dict[str, Any]] = {
    "id": "pst_019aa7f2c5e04d2f8f0f5d3c",
    "number": 3,
    "name": "Stricter on weapons",
    "state": "draft",
    "version": "9c41d07b2f6e",
    "based_on": "pst_019aa0031f7711c09be2a640",
    "created_at": "2026-11-21T09:00:00Z",
    "created_by": "key_019a9f4e6b1a0b7c5d2e8f90",
    "changed_at": None,
    "changed_by": None,
    "activated_at": None,
    "activated_by": None,
    "reason": None,
    "retired_at": None,
    "retired_by": None,
}
POLICY_SET: Final[dict[str, Any]] = _SUMMARY | {
    "policies": [_POLICY],
    "changes": [
        {"policy_id": "weapons.shown", "field": "review_threshold", "text": "weapons.shown: review 0.5 -> 0.45"}
    ],
    "unscored": [],
}
ACTIVATED: Final[dict[str, Any]] = POLICY_SET | {
    "state": "active",
    "activated_at": "2026-11-21T10:00:00Z",
    "activated_by": "key_019a9f4e6b1a0b7c5d2e8f90",
    "reason": ACTIVATION["reason"],
}
DISCARDED: Final[dict[str, Any]] = POLICY_SET | {
    "state": "retired",
    "retired_at": "2026-11-21T10:00:00Z",
    "retired_by": "key_019a9f4e6b1a0b7c5d2e8f90",
}
POLICY_SET_PAGE: Final[dict[str, Any]] = {"items": [_SUMMARY], "next_before": None}

WHAT_IF_IN: Final[dict[str, Any]] = {"thresholds": {"weapons.shown": {"review": 0.45}}}
WHAT_IF: Final[dict[str, Any]] = {
    "before_version": "5b0c1d2e3f4a",
    "after_version": "9c1d2e3f4a5b",
    "changes": [
        {"policy_id": "weapons.shown", "field": "review_threshold", "text": "weapons.shown: review 0.5 -> 0.45"},
        {"policy_id": "weapons.shown", "field": "keep_threshold", "text": "weapons.shown: keep 0.4 -> 0.36"},
    ],
    "videos": 1200,
    "segments": 9600,
    "queue_before": 84,
    "queue_after": 91,
    "flags": [{"policy_id": "weapons.shown", "before": 40, "after": 52}],
    "verdicts": [
        {"before": "allow", "after": "allow", "videos": 1109},
        {"before": "allow", "after": "review", "videos": 7},
        {"before": "allow", "after": "block", "videos": 0},
        {"before": "review", "after": "allow", "videos": 0},
        {"before": "review", "after": "review", "videos": 80},
        {"before": "review", "after": "block", "videos": 0},
        {"before": "block", "after": "allow", "videos": 0},
        {"before": "block", "after": "review", "videos": 0},
        {"before": "block", "after": "block", "videos": 4},
    ],
    "missing": [],
    "missing_cost": None,
    "overturned": {"missed": 2, "spared": 31},
}
