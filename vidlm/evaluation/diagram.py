"""A reliability diagram as SVG: what share of the segments with a score really were positive. Numbers in, text out.

A point on the diagonal means that scores are frequencies; above it the model is too timid, below it too sure. Dots grow
with the number of segments behind them, whiskers are 95% Wilson intervals.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final
from xml.sax.saxutils import escape

from vidlm.moderation.intervals import wilson

SIDE: Final = 200
"""Of a panel's square, in pixels."""
LEFT, TOP, RIGHT, BOTTOM = 46, 34, 18, 44
COLUMNS: Final = 3
TITLE_CHARS: Final = 32
"""Of a panel's title, at most: so many fit over the square."""
_STYLE: Final = (
    "text{font:12px sans-serif;fill:#222}.small{font-size:10px;fill:#666}.title{font-weight:bold}"
    ".grid{stroke:#ddd}.ideal{stroke:#999;stroke-dasharray:4 3}.frame{fill:none;stroke:#666}"
    ".whisker{stroke:#1f6fb4}.dot{fill:#1f6fb4;fill-opacity:.75}"
)


def reliability_svg(table: dict[str, Any]) -> str:
    """The diagram of a labels document: a panel over all policies, then one for each."""
    panels = [("all policies", table)] if len(table["policies"]) != 1 else []
    panels += [(policy["policy"], policy) for policy in table["policies"]]
    columns = min(COLUMNS, len(panels))
    width, height = LEFT + SIDE + RIGHT, TOP + SIDE + BOTTOM
    whole = (columns * width, math.ceil(len(panels) / columns) * height)
    drawn = [
        f'<g transform="translate({index % columns * width + LEFT},{index // columns * height + TOP})">'
        f"{_panel(title, part['bins'], part['n'], part['positives'])}</g>"
        for index, (title, part) in enumerate(panels)
    ]
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{whole[0]}" height="{whole[1]}" '
        f'viewBox="0 0 {whole[0]} {whole[1]}"><style>{_STYLE}</style><rect width="100%" height="100%" fill="#fff"/>'
    )
    return "\n".join([head, *drawn, "</svg>"]) + "\n"


def _panel(title: str, bins: Sequence[dict[str, Any]], count: int, positives: int) -> str:
    lines = [f'<line class="grid" x1="{_x(t)}" y1="0" x2="{_x(t)}" y2="{SIDE}"/>' for t in (0.25, 0.5, 0.75)]
    lines += [f'<line class="grid" x1="0" y1="{_y(t)}" x2="{SIDE}" y2="{_y(t)}"/>' for t in (0.25, 0.5, 0.75)]
    lines.append(f'<line class="ideal" x1="0" y1="{SIDE}" x2="{SIDE}" y2="0"/>')
    lines.append(f'<rect class="frame" width="{SIDE}" height="{SIDE}"/>')
    for t in (0, 0.5, 1):
        lines.append(f'<text class="small" x="{_x(t)}" y="{SIDE + 14}" text-anchor="middle">{t:g}</text>')
        lines.append(f'<text class="small" x="-6" y="{_y(t) + 3:g}" text-anchor="end">{t:g}</text>')
    lines += [_dot(part, max(part["count"] for part in bins)) for part in bins if part["count"]]
    lines += [
        f'<text class="title" y="-18">{escape(_short(title))}<title>{escape(title)}</title></text>',
        f'<text class="small" y="-5">{count} segments, {positives} positive</text>',
        f'<text x="{SIDE / 2:g}" y="{SIDE + 32}" text-anchor="middle">score</text>',
        f'<text transform="translate(-30,{SIDE / 2:g}) rotate(-90)" text-anchor="middle">share positive</text>',
    ]
    return "\n".join(lines)


def _dot(part: dict[str, Any], most: int) -> str:
    """A bin's point, as large as its share of the fullest bin, and the interval of its share of positives."""
    count, share = part["count"], part["positive_share"]
    low, high = wilson(round(share * count), count)
    x, radius = _x(part["mean_score"]), 2.5 + 5 * math.sqrt(count / most)
    return (
        f'<line class="whisker" x1="{x}" y1="{_y(low)}" x2="{x}" y2="{_y(high)}"/>'
        f'<circle class="dot" cx="{x}" cy="{_y(share)}" r="{radius:.1f}">'
        f"<title>score {part['mean_score']:.2f}: {round(share * count)} of {count} positive</title></circle>"
    )


def _short(title: str) -> str:
    return title if len(title) <= TITLE_CHARS else title[: TITLE_CHARS - 1] + "…"


def _x(value: float) -> float:
    return round(SIDE * value, 1)


def _y(value: float) -> float:
    return round(SIDE * (1 - value), 1)
