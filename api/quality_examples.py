"""What quality looks like: the examples of OpenAPI, checked against the schemas by a test."""

from __future__ import annotations

from typing import Any, Final

_KEY: Final = "key_019a9f6a0c2255ee7d8c9b0a1f2e"
_OTHER: Final = "key_019a9f6a0d3366ff8e9dac1b2a3f"
_WHEN: Final = "2026-11-20T09:41:00Z"


def _share(value: float, low: float, high: float, n: int) -> dict[str, Any]:
    return {"value": value, "low": low, "high": high, "n": n}


_SOURCE: Final[dict[str, Any]] = {"model": "4f1a0c", "prompts": "3"}

QUALITY: Final[dict[str, Any]] = {
    "policy_id": "weapons.shown",
    "source": _SOURCE,
    "counts": {
        "decisions": 684,
        "violations": 271,
        "at_random": 684,
        "golden_violations": 60,
        "golden_clean": 60,
        "left_out": {"waiting": 12, "unreached": 0, "question": 31, "source": 0, "unscored": 2},
    },
    "prevalence": _share(0.079, 0.064, 0.105, 684),
    "at": [
        {
            "action": "review",
            "threshold": 0.5,
            "precision": _share(0.79, 0.741, 0.834, 316),
            "recall": _share(0.81, 0.66, 0.93, 271),
            "flagged": _share(0.079, 0.071, 0.088, 684),
            "true_precision": _share(0.83, 0.75, 0.9, 316),
            "true_recall": None,
        }
    ],
    "calibration": {
        "at_random": True,
        "bins": [
            {
                "low": 0.001,
                "high": 0.044,
                "count": 68,
                "weight": 0.17,
                "mean_score": 0.02,
                "violations": _share(0.0, 0.0, 0.053, 68),
            }
        ],
        "error": 0.06,
        "method": "platt",
        "calibrator": {"method": "platt", "slope": 1.31, "intercept": -0.42},
        "error_after": 0.02,
    },
}

PROPOSAL_IN: Final[dict[str, Any]] = {"goal": "precision", "value": 0.8, "confidence": 0.9}
REASON: Final[dict[str, Any]] = {"reason": "Half of the queue was toys."}
PROPOSAL: Final[dict[str, Any]] = {
    "id": "tpr_019a9f9c11aa0f1e2d3c4b5a6978",
    "policy_id": "weapons.shown",
    "state": "proposed",
    "goal": "precision",
    "value": 0.8,
    "confidence": 0.9,
    "threshold": 0.5831,
    "threshold_before": 0.5,
    "promise": "With probability 0.9, at least 0.8 of what it flags are violations.",
    "basis": {
        "method": "learn then test",
        "decisions": 684,
        "violations": 271,
        "at_random": True,
        "first_decision": "dec_019a9c760d40a7b8c9d0e1f20314",
        "last_decision": "dec_019a9f760d40a7b8c9d0e1f20314",
        "digest": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "since": None,
        "until": None,
        "source": _SOURCE,
        "traffic": 4000,
        "expected": {
            "precision": _share(0.86, 0.81, 0.9, 271),
            "recall": _share(0.74, 0.6, 0.88, 271),
            "flagged": _share(0.069, 0.061, 0.078, 684),
            "queue": {"items_per_day": 9.8, "low": 8.7, "high": 11.1},
        },
    },
    "created_at": _WHEN,
    "created_by": _KEY,
    "settled_at": None,
    "settled_by": None,
    "reason": None,
    "policy_set_id": None,
}
_SETTLED: Final[dict[str, Any]] = PROPOSAL | REASON | {"settled_at": "2026-11-20T10:02:00Z", "settled_by": _KEY}
ACCEPTED: Final[dict[str, Any]] = _SETTLED | {
    "state": "accepted",
    "policy_set_id": "pst_019a9f9d22bb0f1e2d3c4b5a6978",
}
DECLINED: Final[dict[str, Any]] = _SETTLED | {"state": "declined"}
PROPOSALS: Final[dict[str, Any]] = {"proposals": [PROPOSAL]}

_UNKNOWN: Final[dict[str, Any]] = {
    "statistic": None,
    "expected": None,
    "p_value": None,
    "p_corrected": None,
    "alarm": None,
    "reason": "Too few to tell: 812 decided flags in the past and 3 today, 5 needed.",
}
DRIFT: Final[dict[str, Any]] = {
    "past_from": "2026-10-22T09:41:00Z",
    "today_from": "2026-11-19T09:41:00Z",
    "until": _WHEN,
    "false_alarms": 0.01,
    "alarms": [],
    "policies": [
        {
            "policy_id": "weapons.shown",
            "alarm": False,
            "distance": {
                "statistic": 0.031,
                "expected": 0.042,
                "p_value": 0.81,
                "p_corrected": 1.0,
                "alarm": False,
                "reason": None,
            },
            "stability": {
                "statistic": 0.012,
                "expected": 0.02,
                "p_value": 0.87,
                "p_corrected": 1.0,
                "alarm": False,
                "reason": None,
            },
            "overturned": _UNKNOWN,
        }
    ],
}

_AGREEMENT: Final[dict[str, Any]] = {
    "kappa": 0.81,
    "standard_error": 0.04,
    "low": 0.72,
    "high": 0.88,
    "observed": 0.91,
    "expected": 0.53,
    "items": 211,
}
REVIEW_QUALITY: Final[dict[str, Any]] = {
    "reviewers": [
        {
            "actor": _KEY,
            "decisions": 412,
            "outcomes": {"approve": 240, "remove": 165, "escalate": 5, "second_opinion": 2},
            "undone": 3,
            "golden": {
                "accuracy": _share(0.95, 0.835, 0.986, 40),
                "sensitivity": _share(0.9, 0.699, 0.972, 20),
                "specificity": _share(1.0, 0.839, 1.0, 20),
            },
            "overturned": _share(0.08, 0.041, 0.15, 100),
            "median_watched_s": 7.5,
        }
    ],
    "agreement": _AGREEMENT,
    "pairs": [{"first": _KEY, "second": _OTHER, "agreement": _AGREEMENT | {"items": 98}}],
}
