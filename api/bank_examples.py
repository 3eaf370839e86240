"""What banks, entries and matches look like: the examples of OpenAPI, checked against the schemas by a test."""

from __future__ import annotations

from typing import Any, Final

_VIDEO: Final = "vid_019a9f6c2b10f3a1c09d5e7b4a62"

ENTRY_IN: Final[dict[str, Any]] = {"video_id": _VIDEO, "reason": "A fight with knives.", "decision_id": "dec_4711"}

ENTRY: Final[dict[str, Any]] = {
    "id": "bke_019aa9d1204e55c0d1e2f3a4",
    "bank": "known_bad",
    "video_id": _VIDEO,
    "label": None,
    "source": None,
    "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "frame_count": 24,
    "restricted": False,
    "decision_id": "dec_4711",
    "reason": "A fight with knives.",
    "created_at": "2026-11-21T09:00:00Z",
    "created_by": "key_019a9f4e6b1a0b7c5d2e8f90",
    "removed_at": None,
    "removed_by": None,
    "removed_reason": None,
}
WITHDRAWN: Final[dict[str, Any]] = ENTRY | {
    "removed_at": "2026-11-22T10:00:00Z",
    "removed_by": "key_019a9f4e6b1a0b7c5d2e8f90",
    "removed_reason": "It was a theatre rehearsal.",
}
ENTRY_PAGE: Final[dict[str, Any]] = {"items": [ENTRY], "next_before": None}

MATCHES: Final[dict[str, Any]] = {
    "video_id": "vid_019aaa0c7f31b2c3d4e5f607a1b2",
    "compared": True,
    "items": [
        {
            "entry_id": ENTRY["id"],
            "bank": "known_bad",
            "exact": False,
            "similarity": 0.871,
            "mirrored": False,
            "start_s": 3.0,
            "end_s": 15.0,
            "known_start_s": 0.0,
            "known_end_s": 12.0,
            "share": 0.706,
            "known_share": 1.0,
            "known_video_id": _VIDEO,
            "label": None,
            "source": None,
            "decision_id": "dec_4711",
            "restricted": False,
            "withdrawn": False,
            "found_at": "2026-11-21T11:20:03Z",
        }
    ],
}

HASH_LIST: Final = (
    '{"hash": "54a977c21d14a86f5f3a8d1b70e2c94b54a977c21d14a86f5f3a8d1b70e2b677",'
    ' "quality": 97, "time_s": 1.5, "label": "case-17", "source": "hashes.example"}\n'
)
IMPORTED: Final[dict[str, Any]] = {"added": 12, "unchanged": 240, "replaced": 1, "frames": 6072}
