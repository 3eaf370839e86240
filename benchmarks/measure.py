"""Seconds that can be compared: every way in the same process, one after the other, over and over."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch


def interleaved(ways: Mapping[str, Callable[[], Any]], rounds: int, *, warm: bool = True) -> dict[str, list[float]]:
    """Seconds of each way in each round. The order turns round every time, so that no way always comes first."""
    if warm:
        for way in ways.values():
            _seconds(way)
    taken: dict[str, list[float]] = {name: [] for name in ways}
    names = list(ways)
    for _ in range(rounds):
        for name in names:
            taken[name].append(_seconds(ways[name]))
        names.reverse()
    return taken


def _seconds(way: Callable[[], Any]) -> float:
    settle()
    began_s = time.perf_counter()
    way()
    settle()
    return time.perf_counter() - began_s


def settle() -> None:
    """Wait for the device: launching is not computing."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def ratio(name: str, target: float | None, over: list[float], under: list[float], **more: Any) -> dict[str, Any]:
    """`over / under` round by round: the median, the lowest and the highest."""
    found = [a / b for a, b in zip(over, under, strict=True)]
    return {
        "name": name,
        "ratio": round(statistics.median(found), 3),
        "low": round(min(found), 3),
        "high": round(max(found), 3),
        "target": target,
        **more,
    }


def not_measured(name: str, target: float | None, why: str) -> dict[str, Any]:
    """A metric that this machine cannot run."""
    return {"name": name, "ratio": None, "low": None, "high": None, "target": target, "not_measured": why}


def median_s(seconds: list[float]) -> float:
    return round(statistics.median(seconds), 4)
