"""One example for each document, shown in OpenAPI. A test checks them against the schemas they illustrate."""

from __future__ import annotations

from typing import Any, Final

_ID: Final = "vid_019a9f6c2b10f3a1c09d5e7b4a62"
_CONVERSATION: Final = "cnv_019a9f6d0c44f0e1d2c3b4a59687"
_WHEN: Final = "2026-11-20T09:30:00Z"

VIDEO_QUEUED: Final[dict[str, Any]] = {
    "id": _ID,
    "client_id": "cam-7/2026-11-20",
    "filename": "crossing.mp4",
    "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "size_bytes": 181_204,
    "language": None,
    "legal_hold": False,
    "created_at": _WHEN,
    "finished_at": None,
    "state": "queued",
    "priority": "normal",
    "deadline_at": None,
    "error": None,
    "progress": {
        "stage": "queued",
        "spans_done": 0,
        "spans_total": 0,
        "stage_fraction": 0.0,
        "fraction": 0.0,
        "eta_s": None,
    },
    "duration_s": None,
    "verdict": None,
    "review": "none",
    "toy_model": None,
    "links": {
        "self": f"/v1/videos/{_ID}",
        "analysis": f"/v1/videos/{_ID}/analysis",
        "content": f"/v1/videos/{_ID}/content",
        "questions": f"/v1/videos/{_ID}/questions",
    },
}

VIDEO_READY: Final[dict[str, Any]] = VIDEO_QUEUED | {
    "finished_at": "2026-11-20T09:30:09Z",
    "state": "ready",
    "progress": {
        "stage": "ready",
        "spans_done": 1,
        "spans_total": 1,
        "stage_fraction": 1.0,
        "fraction": 1.0,
        "eta_s": 0.0,
    },
    "duration_s": 6.0,
    "verdict": {"action": "review", "reason": "weapons.shown reached review (0.91) at 2.0 s"},
    "review": "pending",
    "toy_model": True,
}

VIDEO_CANCELLED: Final[dict[str, Any]] = VIDEO_QUEUED | {
    "finished_at": "2026-11-20T09:30:04Z",
    "state": "cancelled",
    "progress": VIDEO_QUEUED["progress"] | {"stage": "cancelled", "stage_fraction": 1.0, "fraction": 1.0},
}

EVENTS: Final = f"""retry: 2000

id: 4711
event: video.analyzing
data: {{"video_id":"{_ID}","client_id":null,"state":"analyzing","error_code":null,"verdict":null,"toy_model":null,\
"at":"2026-11-20T09:30:02.417000Z"}}

event: progress
data: {{"stage":"analyzing","spans_done":1,"spans_total":2,"stage_fraction":0.5,"fraction":0.525,"eta_s":31.5}}

"""

PAGE: Final[dict[str, Any]] = {"items": [VIDEO_READY], "next_cursor": None}

THUMBNAILS: Final[dict[str, Any]] = {"interval_s": 1.0, "width": 240, "height": 180, "count": 6}

PROVENANCE: Final[dict[str, Any]] = {
    "model_id": "vidlm-tiny",
    "model_revision": "3f1c9a",
    "toy_model": True,
    "pipeline_version": "1",
    "prompt_version": "1",
    "policy_set_version": "5b0c1d2e3f4a",
    "sampling": {"fps": 2.0, "width": 112, "height": 84},
    "libraries": {"torch": "2.13.0", "transformers": "5.23.0", "decord2": "3.4.0"},
    "second_look": None,
}

ANALYSIS: Final[dict[str, Any]] = {
    "video": {
        "sha256": VIDEO_QUEUED["sha256"],
        "filename": "crossing.mp4",
        "size_bytes": 181_204,
        "duration_s": 6.0,
        "width": 640,
        "height": 480,
        "fps": 25.0,
        "variable_fps": False,
        "codec": "h264",
        "container": "mp4",
        "rotation": 0,
        "has_audio": True,
        "hdr": False,
    },
    "provenance": PROVENANCE | {"second_look": {"fps": 4.0, "width": 112, "height": 84}},
    "coverage": {"seconds_seen": 6.0, "seconds_total": 6.0, "gaps": [], "partial": False},
    "segments": [
        {
            "index": 0,
            "start_s": 0.0,
            "end_s": 6.0,
            "frame_times_s": [0.0, 0.5, 1.0, 1.5],
            "caption": "A red car drives to the right past a person holding a gun.",
            "scores": {"weapons.shown": 0.912345, "violence.fight": 0.004321},
        }
    ],
    "summary": {
        "text": "A red car passes a person who holds a gun.",
        "chapters": [{"start_s": 0.0, "end_s": 6.0, "title": "Car and gun"}],
        "highlights": [0],
    },
    "flags": [
        {
            "policy_id": "weapons.shown",
            "start_s": 0.0,
            "end_s": 6.0,
            "score": 0.912345,
            "mean_score": 0.80,
            "severity": "low",
            "action": "review",
            "evidence": [{"time_s": 2.0, "thumbnail": None}],
            "second_look": "confirmed",
        }
    ],
    "verdict": VIDEO_READY["verdict"],
    "second_looks": [
        {
            "policy_id": "weapons.shown",
            "segment": 0,
            "start_s": 0.0,
            "end_s": 6.0,
            "first_score": 0.71,
            "outcome": "confirmed",
            "second_score": 0.912345,
            "peak_score": 0.97,
            "peak_start_s": 2.0,
            "peak_end_s": 3.0,
            "reason": "",
        }
    ],
    "known": [],
}

QUESTION: Final[dict[str, Any]] = {"question": "When does the red car appear?"}

FOLLOW_UP: Final[dict[str, Any]] = {"question": "Where does it go?", "conversation_id": _CONVERSATION}

QUESTION_QUEUED: Final[dict[str, Any]] = {
    "id": "qst_019a9f6d0c44a1b2c3d4e5f60718",
    "video_id": _ID,
    "conversation_id": _CONVERSATION,
    "question": QUESTION["question"],
    "created_at": _WHEN,
    "state": "queued",
    "error": None,
    "answer": None,
    "toy_model": None,
}

QUESTION_READY: Final[dict[str, Any]] = QUESTION_QUEUED | {
    "state": "ready",
    "answer": {
        "question": QUESTION["question"],
        "text": "A red car drives to the right.",
        "confidence": 0.874211,
        "abstained": False,
        "evidence": [{"start_s": 0.0, "end_s": 4.0, "score": 0.951002}],
        "provenance": PROVENANCE,
        "conversation_id": _CONVERSATION,
    },
    "toy_model": True,
}


def shown(description: str, example: Any, media_type: str = "application/json") -> dict[str, Any]:
    """A response's entry in OpenAPI with its example."""
    return {"description": description, "content": {media_type: {"example": example}}}
