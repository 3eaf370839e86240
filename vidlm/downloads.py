"""Captions and scores as files that other programs read. Pure: segments in, text out; what serves it stands in the API.

WebVTT: W3C, "WebVTT: The Web Video Text Tracks Format", Candidate Recommendation of 4 April 2019, section 4 (syntax).
CSV: RFC 4180. Which cells spreadsheets take for formulas, and how to stop them: OWASP, "CSV Injection".
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Final

from vidlm.domain import Segment

VTT_TYPE: Final = "text/vtt; charset=utf-8"
CSV_TYPE: Final = "text/csv; charset=utf-8; header=present"
CSV_COLUMNS: Final = ("index", "start_s", "end_s", "caption")
"""What stands before the policies' columns."""

_FORMULA: Final = tuple("=+-@\t\r\n＝＋－＠")
"""What a cell begins with that a spreadsheet would reckon out; the wide forms are the same to some of them."""
_ESCAPES: Final = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "\0": "�"})


def webvtt(segments: Sequence[Segment]) -> str:
    """A cue a caption, in order of time.

    A segment that says nothing, or lasts less than a millisecond, is no cue. Text is written as text: a caption cannot
    mark up, end its cue or begin another one.
    """
    cues = []
    for segment in segments:
        text = cue_text(segment.caption)
        if text and milliseconds(segment.start_s) < milliseconds(segment.end_s):
            cues.append(f"{timestamp(segment.start_s)} --> {timestamp(segment.end_s)}\n{text}\n")
    return "\n".join(["WEBVTT\n", *cues])


def cue_text(text: str) -> str:
    """One line in which `&`, `<` and `>` are escaped: without `>` there is no arrow, without line ends no new cue."""
    return " ".join(text.split()).translate(_ESCAPES)


def timestamp(seconds: float) -> str:
    """3723.4 -> "01:02:03.400". Hours have two digits at least, as the specification wants them."""
    hours, rest_ms = divmod(milliseconds(seconds), 3_600_000)
    minutes, rest_ms = divmod(rest_ms, 60_000)
    return f"{hours:02}:{minutes:02}:{rest_ms // 1000:02}.{rest_ms % 1000:03}"


def milliseconds(seconds: float) -> int:
    return round(1000 * seconds)


def segments_csv(segments: Sequence[Segment], policies: Sequence[str]) -> str:
    """A row a segment: `CSV_COLUMNS`, then the score under each policy, in [0, 1]; empty where it was not asked."""
    out = io.StringIO(newline="")
    rows = csv.writer(out, lineterminator="\r\n")
    rows.writerow([*CSV_COLUMNS, *map(cell, policies)])
    for segment in segments:
        scores = [segment.scores.get(policy_id, "") for policy_id in policies]
        rows.writerow([segment.index, segment.start_s, segment.end_s, cell(segment.caption), *scores])
    return out.getvalue()


def cell(text: str) -> str:
    """Text that no spreadsheet takes for a formula: one that may be taken for one begins with an apostrophe."""
    clean = text.replace("\0", "�")
    return f"'{clean}" if clean.lstrip(" ").startswith(_FORMULA) else clean
