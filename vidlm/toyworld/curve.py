"""`metrics.jsonl` as a picture: the losses, and how much of what is asked of unseen windows is answered right."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

SHOWN: Final = ("policy", "composed", "relevance", "caption", "colour", "count", "direction", "place", "order", "when")
"""Kinds of turn that get a line."""


def draw_curve(folder: Path) -> bool:
    """`curve.png` beside the metrics. Training needs no plotting library: without one there is no picture (False)."""
    try:
        import matplotlib  # noqa: PLC0415  a development tool, absent where only training happens
    except ImportError:
        return False
    matplotlib.use("Agg")
    from matplotlib import pyplot  # noqa: PLC0415

    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    minutes = _minutes(lines)
    figure, (above, below) = pyplot.subplots(2, 1, figsize=(9, 8), sharex=True, layout="constrained")
    for name, label in (("loss", "all losses"), ("text", "answers"), ("match", "picture and text match (share)")):
        points = [(at, line[name]) for at, line in zip(minutes, lines, strict=True) if name in line]
        if points:
            above.plot(*zip(*points, strict=True), label=label, linewidth=1)
    above.set_yscale("log")
    for kind in SHOWN:
        found = [(at, line["exact"]) for at, line in zip(minutes, lines, strict=True) if "exact" in line]
        points = [(at, exact[kind]) for at, exact in found if kind in exact]
        if points:
            below.plot(*zip(*points, strict=True), label=kind, linewidth=1.2)
    below.set_ylim(0, 1.02)
    below.set_xlabel("minutes of training")
    below.set_ylabel("unseen windows, every word right")
    for panel in (above, below):
        panel.grid(alpha=0.3)
        if panel.has_data():
            panel.legend(fontsize=8, ncols=2)
    figure.savefig(folder / "curve.png", dpi=110)
    pyplot.close(figure)
    return True


def _minutes(lines: list[dict[str, Any]]) -> list[float]:
    """Minutes since the first stage began: each line counts those of its own stage, and stages follow each other."""
    found: list[float] = []
    before = last = 0.0
    stage = None
    for line in lines:
        if line["stage"] != stage:
            before, stage = before + last, line["stage"]
        last = line["minutes"]
        found.append(before + last)
    return found
