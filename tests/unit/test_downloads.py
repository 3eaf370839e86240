"""What is written as WebVTT and CSV is what a reader of these formats reads."""

from __future__ import annotations

import csv
import html
import io
import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidlm.domain import Segment
from vidlm.downloads import CSV_COLUMNS, cell, cue_text, segments_csv, timestamp, webvtt

POLICIES = ("weapons.shown", "=cmd()", "violence.fight")
HOSTILE = st.sampled_from(
    [
        "-->",
        "00:00.000 --> 00:01.000",
        "\n\n",
        "\r",
        "<b>",
        "</c>",
        "&amp;",
        "NOTE",
        "STYLE",
        "WEBVTT",
        '"',
        ",",
        "=1+1",
        "@SUM(A1)",
        "＝1",
        "\t",
        "\0",
        "'",
    ]
)
TEXTS = st.lists(st.one_of(HOSTILE, st.text(st.characters(exclude_categories=["Cs"]), max_size=12)), max_size=6).map(
    "".join
)
MILLISECONDS = st.integers(0, 200 * 3_600_000)


@st.composite
def segment_lists(draw: st.DrawFn) -> list[Segment]:
    cuts = sorted(draw(st.lists(MILLISECONDS, max_size=8)))
    scores = st.dictionaries(st.sampled_from(POLICIES), st.floats(0, 1))
    return [
        Segment(index, start / 1000, end / 1000, (start / 1000,), draw(TEXTS), draw(scores))
        for index, (start, end) in enumerate(itertools.pairwise(cuts))
    ]


def read_vtt(text: str) -> list[tuple[float, float, str]]:
    """(start_s, end_s, text) of each cue, read as the specification's parser does: blocks end at an empty line."""
    lines = re.split(r"\r\n|\r|\n", text.replace("\0", "�"))
    assert lines[0] == "WEBVTT"
    assert lines[1] == ""
    cues = []
    for block in re.split(r"\n{2,}", "\n".join(lines[2:]).strip("\n")):
        if not block:
            continue
        times, *said = block.split("\n")
        start, end = times.split(" --> ")
        assert not any("-->" in line for line in said)
        shown = "\n".join(said)
        assert not re.search(r"<|&(?!amp;|lt;|gt;)", shown)
        cues.append((seconds_of(start), seconds_of(end), html.unescape(shown)))
    return cues


def seconds_of(stamp: str) -> float:
    found = re.fullmatch(r"(\d{2,}):([0-5]\d):([0-5]\d)\.(\d{3})", stamp)
    assert found is not None, stamp
    hours, minutes, seconds, thousandths = map(int, found.groups())
    return (3_600_000 * hours + 60_000 * minutes + 1000 * seconds + thousandths) / 1000


@given(segment_lists())
def test_captions_are_read_back_from_webvtt(segments: list[Segment]) -> None:
    said = [(one.start_s, one.end_s, " ".join(one.caption.split()).replace("\0", "�")) for one in segments]
    assert read_vtt(webvtt(segments)) == [cue for cue in said if cue[2] and cue[0] < cue[1]]


@given(segment_lists())
def test_rows_are_read_back_from_csv(segments: list[Segment]) -> None:
    text = segments_csv(segments, POLICIES)
    assert text.endswith("\r\n")
    head, *rows = csv.reader(io.StringIO(text, newline=""))
    assert head == [*CSV_COLUMNS, "weapons.shown", "'=cmd()", "violence.fight"]
    assert len(rows) == len(segments)
    for row, segment in zip(rows, segments, strict=True):
        assert (int(row[0]), float(row[1]), float(row[2])) == (segment.index, segment.start_s, segment.end_s)
        assert row[3].removeprefix("'") == segment.caption.replace("\0", "�").removeprefix("'")
        scores = {policy: float(value) for policy, value in zip(POLICIES, row[4:], strict=True) if value}
        assert scores == segment.scores


@given(TEXTS)
def test_no_cell_is_a_formula(text: str) -> None:
    assert not re.match(r" *[=+\-@\t\r\n＝＋－＠]", cell(text))
    assert cell(text) in (text.replace("\0", "�"), "'" + text.replace("\0", "�"))


@given(TEXTS)
def test_a_caption_is_one_line_without_markup(text: str) -> None:
    shown = cue_text(text)
    assert not re.search(r"[<>\r\n]", shown)
    assert html.unescape(shown) == " ".join(text.split()).replace("\0", "�")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "00:00:00.000"), (3723.4, "01:02:03.400"), (59.9996, "00:01:00.000"), (360_000, "100:00:00.000")],
)
def test_times_are_written_to_the_millisecond(seconds: float, text: str) -> None:
    assert timestamp(seconds) == text


def test_without_captions_there_is_a_head_alone() -> None:
    assert webvtt([]) == "WEBVTT\n"
    assert segments_csv([], []) == "index,start_s,end_s,caption\r\n"
