"""A user's own truth: a CSV file that says which videos show what, and when. Knows files and times; runs no model.

path,policy,start,end
street.mp4,weapons.in_hand,3.5,8       this policy holds in [3.5, 8) seconds
street.mp4,a person on a roof,,        words of one's own become a policy; without times it holds throughout
park.mp4,,,                            nothing is in it: negative for every policy of this file

label          [3.5 ......... 8)
segments   [0 ... 4)[4 .... 8)[8 ... 12)
overlap          .5   4.0      0            half of the shorter is 2, 2, 2: only the second one is positive
"""

from __future__ import annotations

import csv
import difflib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from vidlm.domain import Policy, Span
from vidlm.errors import DatasetError, PolicyError
from vidlm.moderation.policies import PolicySet, custom_policy, policy_set

COLUMNS: Final = ("path", "policy", "start", "end")
_LIKE_AN_ID: Final = re.compile(r"\w+\.\w+")


@dataclass(frozen=True, slots=True)
class Label:
    """A policy that holds in `span`, or in all of the video where that is None. `line` is where it is written."""

    policy_id: str
    span: Span | None
    line: int


@dataclass(frozen=True, slots=True)
class LabelledVideo:
    """A video and all that holds in it: whatever no label says does not hold.

    `name` is the path as it was first written, `line` where.
    """

    name: str
    file: Path
    line: int
    labels: tuple[Label, ...]

    def holds(self, policy_id: str, segment: Span) -> bool:
        """Whether a policy is true of a segment of this video."""
        return any(matches(segment, label.span) for label in self.labels if label.policy_id == policy_id)


@dataclass(frozen=True, slots=True)
class Labels:
    """A whole file: its videos and the policies that occur in it, both in the order of their first lines."""

    name: str
    videos: tuple[LabelledVideo, ...]
    policies: PolicySet


def matches(segment: Span, label: Span | None) -> bool:
    """Whether a segment counts as showing what a label speaks of: they share half of the shorter of the two, or more.

    Half, because people mark times by hand and segments end at cuts: neither should have to fit the other exactly.
    """
    if label is None:
        return True
    shared_s = min(segment.end_s, label.end_s) - max(segment.start_s, label.start_s)
    shorter_s = min(segment.end_s - segment.start_s, label.end_s - label.start_s)
    return shared_s > 0 and shared_s >= 0.5 * shorter_s


def read_labels(path: Path, known: PolicySet) -> Labels:
    """A file of labels, checked to the last line; `known` are the policies that may be named by their id.

    Raises `DatasetError` that names the line, and says what is wrong.
    """
    reading = _Reading(path, known)
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            reader = csv.DictReader(lines, restkey="", restval="", strict=True)
            _check_heading(path, reader.fieldnames)
            for row in reader:
                reading.take(row, reader.line_num)
    except OSError as exc:
        raise DatasetError(f"{path.name}: cannot be read ({exc.strerror})") from exc
    except UnicodeDecodeError as exc:
        raise DatasetError(f"{path.name}: is not UTF-8 text") from exc
    except csv.Error as exc:
        raise DatasetError(f"{path.name}, line {reader.reader.line_num}: {exc}") from exc
    return reading.done()


def _check_heading(path: Path, heading: object) -> None:
    columns = [str(name) for name in heading] if isinstance(heading, list) else []
    for name in columns:
        if name not in COLUMNS or columns.count(name) > 1:
            problem = "twice the column" if name in COLUMNS else "unknown column"
            raise DatasetError(f"{path.name}, line 1: {problem} {name!r}; known are {', '.join(COLUMNS)}")
    for name in COLUMNS[:2]:
        if name not in columns:
            raise DatasetError(f"{path.name}, line 1: the column {name!r} is missing")


@dataclass
class _Reading:
    """What has been read of a file so far. Videos are told apart by where they lie, not by how that is written."""

    path: Path
    known: PolicySet
    rows: dict[Path, tuple[str, int, list[Label]]] = field(default_factory=dict)
    empty: dict[Path, int] = field(default_factory=dict)  # declared to hold nothing, and on which line
    policies: dict[str, Policy] = field(default_factory=dict)  # by the words that name them

    def take(self, row: Mapping[str, str | list[str]], line: int) -> None:
        if "" in row:
            raise self._error(line, "more fields than the heading has")
        cells = {name: str(row.get(name, "")).strip() for name in COLUMNS}
        file = self._file(cells["path"], line)
        _, _, labels = self.rows.setdefault(file, (cells["path"], line, []))
        span = self._span(cells["start"], cells["end"], line)
        if not cells["policy"]:
            if span is not None:
                raise self._error(line, "times without a policy; leave them out for a video with nothing in it")
            self.empty.setdefault(file, line)
        else:
            labels.append(Label(self._policy(cells["policy"], line).id, span, line))
        if file in self.empty and labels:
            raise self._error(line, f"{cells['path']!r} holds nothing (line {self.empty[file]}) and something")

    def done(self) -> Labels:
        if not self.policies:
            raise DatasetError(f"{self.path.name}: no line names a policy, so there is nothing to measure")
        videos = (LabelledVideo(name, file, line, tuple(found)) for file, (name, line, found) in self.rows.items())
        return Labels(self.path.name, tuple(videos), policy_set(tuple(self.policies.values())))

    def _file(self, name: str, line: int) -> Path:
        if not name:
            raise self._error(line, "the path is empty")
        file = self.path.parent / name
        if not file.is_file():
            raise self._error(line, f"{name!r} {'is not a file' if file.exists() else 'does not exist'}")
        return file.resolve()

    def _policy(self, words: str, line: int) -> Policy:
        words = " ".join(words.split())
        same = words.casefold()  # "A dog" is no other policy than "a dog"
        if same not in self.policies:
            self.policies[same] = self.known.get(words) or self._of_words(words, line)
        return self.policies[same]

    def _of_words(self, words: str, line: int) -> Policy:
        ids = [policy.id for policy in self.known.policies]
        if _LIKE_AN_ID.fullmatch(words):
            close = difflib.get_close_matches(words, ids, n=1)
            raise self._error(line, f"no policy has the id {words!r}" + (f"; {close[0]!r} is one" if close else ""))
        try:
            return custom_policy(words, {*ids, *(policy.id for policy in self.policies.values())})
        except PolicyError as exc:
            raise self._error(line, exc.detail) from exc

    def _span(self, start: str, end: str, line: int) -> Span | None:
        if not start and not end:
            return None
        if not start or not end:
            raise self._error(line, "a start without an end, or the other way round; leave out both for all of it")
        try:
            start_s, end_s = float(start), float(end)
        except ValueError as exc:
            raise self._error(line, f"start and end are seconds, not {start!r} and {end!r}") from exc
        if not 0 <= start_s < end_s < math.inf:
            raise self._error(line, f"[{start}, {end}) is no interval: 0 <= start < end")
        return Span(start_s, end_s)

    def _error(self, line: int, what: str) -> DatasetError:
        return DatasetError(f"{self.path.name}, line {line}: {what}")
