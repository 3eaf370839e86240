"""One example for each document about webhooks, shown in OpenAPI. A test checks them against their schemas."""

from __future__ import annotations

from typing import Any, Final

from api.examples import VIDEO_QUEUED

_ID: Final = "whk_019a9f6c0a11b2c3d4e5f6071829"
_EVENT: Final = "evt_019a9f6c4e02c3d4e5f607182930"
_DELIVERY: Final = "dlv_019a9f6c4e03d4e5f60718293041"

WEBHOOK_IN: Final[dict[str, Any]] = {
    "url": "https://hooks.example.org/vidlm",
    "events": ["video.ready", "video.rejected", "video.failed"],
    "description": "results into the catalogue",
}

WEBHOOK: Final[dict[str, Any]] = WEBHOOK_IN | {"id": _ID, "enabled": True, "created_at": "2026-11-20T09:00:00Z"}

WEBHOOK_CREATED: Final[dict[str, Any]] = WEBHOOK | {"secret": "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"}

WEBHOOKS: Final[dict[str, Any]] = {"items": [WEBHOOK]}

CHANGE: Final[dict[str, Any]] = {"events": ["flag.created"], "enabled": True}

SECRET_IN: Final[dict[str, Any]] = {"secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}

SECRET: Final[dict[str, Any]] = {"secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}

DELIVERY: Final[dict[str, Any]] = {
    "id": _DELIVERY,
    "webhook_id": _ID,
    "message_id": _EVENT,
    "event": "video.ready",
    "video_id": VIDEO_QUEUED["id"],
    "url": WEBHOOK_IN["url"],
    "replay": 0,
    "state": "waiting",
    "attempts": 1,
    "created_at": "2026-11-20T09:30:09Z",
    "delivered_at": None,
    "next_attempt_at": "2026-11-20T09:30:14Z",
    "error": {"code": "http_503", "detail": "the receiver answered 503"},
}

DELIVERIES: Final[dict[str, Any]] = {"items": [DELIVERY], "next_cursor": None}

DELIVERY_WHOLE: Final[dict[str, Any]] = DELIVERY | {
    "message": {
        "type": "video.ready",
        "timestamp": "2026-11-20T09:30:09.120Z",
        "data": {
            "event_id": _EVENT,
            "video_id": VIDEO_QUEUED["id"],
            "client_id": VIDEO_QUEUED["client_id"],
            "state": "ready",
            "error_code": None,
            "verdict": "review",
            "toy_model": True,
        },
    },
    "tries": [{"number": 1, "at": "2026-11-20T09:30:09Z", "seconds": 0.021, "status": 503, "error": None}],
}

DELIVERY_AGAIN: Final[dict[str, Any]] = DELIVERY | {
    "id": "dlv_019a9f6d1104e5f6071829304152",
    "replay": 1,
    "attempts": 0,
    "next_attempt_at": None,
    "error": None,
}

TESTED: Final[dict[str, Any]] = {
    "message_id": "tst_019a9f6d2205f60718293041526a",
    "seconds": 0.021,
    "status": 204,
    "error": None,
}

REPLAY: Final[dict[str, Any]] = {"since": "2026-11-20T00:00:00Z", "undelivered": True}

REPLAYED: Final[dict[str, Any]] = {"deliveries": 17, "next_cursor": None}
