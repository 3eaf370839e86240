"""Lists of known hashes as text, to be given to others and taken from them: JSON lines or CSV, one frame a line.

    {"hash": "54a9...b677", "quality": 97, "time_s": 1.5, "label": "case-17", "source": "hashes.example"}

    hash,quality,time_s,label,source
    54a9...b677,97,1.5,case-17,hashes.example

A list comes from outside, so nothing in it is believed: whatever is not exactly as above is refused, with the line and
what is wrong with it, and so are lists that are too large. Knows text; no files, no storage.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from functools import partial
from typing import Any, Final

import numpy as np

from vidlm.errors import InputError
from vidlm.likeness.fingerprint import Fingerprint
from vidlm.likeness.pdq import BYTES

MAX_BYTES: Final = 64 * 1024 * 1024
MAX_ENTRIES: Final = 250_000
MAX_LINE_CHARS: Final = 2_000
MAX_WORDS_CHARS: Final = 200
"""Of a label, and of a source."""
MAX_TIME_S: Final = 1e6

_HEX: Final = re.compile(r"[0-9a-fA-F]{64}", re.ASCII)
_WHOLE: Final = re.compile(r"[0-9]{1,3}", re.ASCII)
_DECIMAL: Final = re.compile(r"[0-9]{1,7}(\.[0-9]{1,24})?([eE]-?[0-9]{1,3})?", re.ASCII)


class HashListError(InputError):
    """A list of hashes that cannot be used: `detail` says which line, and why."""

    code = "invalid_hash_list"


class Form(StrEnum):
    """How a list is written."""

    JSONL = "jsonl"
    CSV = "csv"


@dataclass(frozen=True, slots=True)
class HashEntry:
    """One frame of a list. Entries of one label and source are one video.

    hash: PDQ in 64 digits, lower case.  quality: 0..100.  time_s: of the frame in its video, 0 or more.  label: what it
    is known as; source: who says so. Both are words without control characters and not empty.
    """

    hash: str
    quality: int
    time_s: float
    label: str
    source: str


COLUMNS: Final = tuple(field.name for field in fields(HashEntry))


def parse_hash_list(data: bytes, form: Form) -> tuple[HashEntry, ...]:
    """All entries of a list in UTF-8, with or without a byte order mark. Empty lines are skipped.

    Raises `HashListError` for the first line that is not as it should be, and for lists that are too large.
    """
    if len(data) > MAX_BYTES:
        raise HashListError(f"the list has {len(data)} bytes, more than {MAX_BYTES}")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        line = data.count(b"\n", 0, exc.start) + 1
        raise HashListError(f"line {line}: not UTF-8 text") from exc
    rows = _json_rows(text) if form is Form.JSONL else _csv_rows(text)
    entries: list[HashEntry] = []
    for line, row in rows:
        if len(entries) == MAX_ENTRIES:
            raise HashListError(f"line {line}: more than {MAX_ENTRIES} entries")
        entries.append(_entry(row, line, typed=form is Form.JSONL))
    return tuple(entries)


def write_hash_list(entries: Iterable[HashEntry], form: Form, *, heading: bool = True) -> str:
    """The entries as text that `parse_hash_list` reads back as they were; without `heading` to go on with a list."""
    if form is Form.JSONL:
        return "".join(json.dumps(asdict(entry), ensure_ascii=False) + "\n" for entry in entries)
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    if heading:
        writer.writeheader()
    writer.writerows(asdict(entry) for entry in entries)
    return text.getvalue()


def entries_of(video: Fingerprint, label: str, source: str) -> tuple[HashEntry, ...]:
    """A video's frames as entries. Raises `HashListError` for a label or source that no list may hold."""
    words = {name: _words(name, value, "the entry") for name, value in (("label", label), ("source", source))}
    frames = zip(video.hashes, video.quality, video.times_s, strict=True)
    return tuple(
        HashEntry(frame.tobytes().hex(), int(quality), round(float(time_s), 3), **words)
        for frame, quality, time_s in frames
    )


def videos_of(entries: Iterable[HashEntry]) -> dict[tuple[str, str], Fingerprint]:
    """The videos of a list by (label, source). Raises `HashListError` where two frames of one have the same time."""
    videos: dict[tuple[str, str], list[HashEntry]] = {}
    for entry in entries:
        videos.setdefault((entry.label, entry.source), []).append(entry)
    return {key: _fingerprint(sorted(frames, key=lambda frame: frame.time_s)) for key, frames in videos.items()}


def _fingerprint(frames: Sequence[HashEntry]) -> Fingerprint:
    hashes = np.frombuffer(bytes.fromhex("".join(frame.hash for frame in frames)), np.uint8).reshape(-1, BYTES)
    times_s = np.array([frame.time_s for frame in frames], np.float64)
    twice = np.flatnonzero(np.diff(times_s) <= 0)
    if len(twice):
        raise HashListError(f"{frames[0].label!r} has two frames at {times_s[twice[0]]:g} s")
    return Fingerprint(times_s, hashes, np.array([frame.quality for frame in frames], np.uint8))


# ---- reading


def _json_rows(text: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for line, words in enumerate(text.split("\n"), start=1):
        if not words.strip():
            continue
        _check_length(words, line)
        try:
            row = json.loads(words, object_pairs_hook=partial(_once, line))
        except (json.JSONDecodeError, RecursionError) as exc:
            raise HashListError(f"line {line}: not valid JSON") from exc
        if not isinstance(row, dict):
            raise HashListError(f"line {line}: expected an object with the fields {', '.join(COLUMNS)}")
        yield line, row


def _once(line: int, pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """An object's fields; JSON would let the last of two with one name win."""
    row = dict(pairs)
    if len(row) < len(pairs):
        raise HashListError(f"line {line}: a field is written twice")
    return row


def _csv_rows(text: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for line, words in enumerate(text.split("\n"), start=1):
        _check_length(words, line)
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        heading = next(reader, [])
        if sorted(heading) != sorted(COLUMNS):
            raise HashListError(f"line 1: expected the columns {','.join(COLUMNS)}")
        for row in reader:
            if not row:
                continue
            if len(row) != len(heading):
                raise HashListError(f"line {reader.line_num}: {len(row)} values instead of {len(heading)}")
            yield reader.line_num, dict(zip(heading, row, strict=True))
    except csv.Error as exc:
        raise HashListError(f"line {reader.line_num}: not valid CSV ({exc})") from exc


def _check_length(words: str, line: int) -> None:
    if len(words) > MAX_LINE_CHARS:
        raise HashListError(f"line {line}: longer than {MAX_LINE_CHARS} characters")


def _entry(row: Mapping[str, Any], line: int, *, typed: bool) -> HashEntry:
    """A row as a checked entry. `typed`: numbers are numbers (JSON); else they are digits (CSV)."""
    where = f"line {line}"
    for name in COLUMNS:
        if name not in row:
            raise HashListError(f"{where}: field `{name}` is missing")
    for name in row:
        if name not in COLUMNS:
            raise HashListError(f"{where}: unknown field {_shown(name)}; known are {', '.join(COLUMNS)}")
    digits = row["hash"]
    if not isinstance(digits, str) or not _HEX.fullmatch(digits):
        raise HashListError(f"{where}: field `hash` must be 64 hexadecimal digits, not {_shown(digits)}")
    return HashEntry(
        hash=digits.lower(),
        quality=_quality(row["quality"], where, typed=typed),
        time_s=_time_s(row["time_s"], where, typed=typed),
        label=_words("label", row["label"], where),
        source=_words("source", row["source"], where),
    )


def _quality(value: object, where: str, *, typed: bool) -> int:
    if not typed and isinstance(value, str) and _WHOLE.fullmatch(value):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 100:
        raise HashListError(f"{where}: field `quality` must be a whole number from 0 to 100, not {_shown(value)}")
    return value


def _time_s(value: object, where: str, *, typed: bool) -> float:
    if not typed and isinstance(value, str) and _DECIMAL.fullmatch(value):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= MAX_TIME_S:  # NaN is not
        raise HashListError(f"{where}: field `time_s` must be seconds from 0 to {MAX_TIME_S:g}, not {_shown(value)}")
    return abs(float(value))  # there is a -0.0


def _words(name: str, value: object, where: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise HashListError(f"{where}: field `{name}` must be a text, not {_shown(value)}")
    if len(value) > MAX_WORDS_CHARS:
        raise HashListError(f"{where}: field `{name}` is longer than {MAX_WORDS_CHARS} characters")
    if not value.isprintable():
        raise HashListError(f"{where}: field `{name}` holds a character that cannot be printed")
    return value


def _shown(value: object) -> str:
    """A foreign value as it may stand in a message."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
