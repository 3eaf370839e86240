"""Other people's annotation files: JSON, JSON lines and CSV, each mistake explained with its place.

A file is named by its place in the benchmark's folder, never by where that folder is.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final

from vidlm.errors import DatasetError

TABLES: Final = (".json", ".jsonl", ".csv")
MAX_OPTIONS: Final = 26


@dataclass(frozen=True, slots=True)
class Place:
    """Where something stands ("json/action.json, entry 3"), for messages."""

    name: str

    def error(self, what: str) -> DatasetError:
        return DatasetError(f"{self.name}: {what}")

    def entry(self, number: int | str) -> Place:
        return Place(f"{self.name}, entry {number}")


@dataclass(frozen=True, slots=True)
class Entry:
    """One object of an annotation file; its fields are checked as they are read. Raises `DatasetError`."""

    place: Place
    fields: dict[str, Any]

    @classmethod
    def of(cls, value: Any, place: Place) -> Entry:
        if not isinstance(value, dict):
            raise place.error("expected an object with fields")
        return cls(place, value)

    def text(self, name: str) -> str:
        """A field that holds words."""
        value = self.fields.get(name)
        if not isinstance(value, str) or not value.strip():
            raise self.place.error(f"the field {name!r} should be a text, not {_shown(value)}")
        return value.strip()

    def texts(self, name: str) -> list[str]:
        """A field that holds a list of options: two at least; in CSV, written as JSON."""
        value = self.fields.get(name)
        if isinstance(value, str):
            try:
                value = json.loads(value)
            except ValueError as exc:
                raise self.place.error(f"the field {name!r} should be a list written as JSON") from exc
        if not isinstance(value, list) or not all(isinstance(option, str) and option.strip() for option in value):
            raise self.place.error(f"the field {name!r} should be a list of texts, not {_shown(value)}")
        if not 2 <= len(value) <= MAX_OPTIONS:
            raise self.place.error(f"{len(value)} options; expected 2 to {MAX_OPTIONS}")
        return [option.strip() for option in value]

    def number(self, name: str) -> float:
        value = self.fields.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.place.error(f"the field {name!r} should be a number, not {_shown(value)}")
        return float(value)

    def relative(self, name: str) -> str:
        """A field that holds a path inside the benchmark's folder."""
        path = PurePosixPath(self.text(name))
        if path.is_absolute() or ".." in path.parts:
            raise self.place.error(f"the field {name!r} leads out of the folder: {_shown(str(path))}")
        return str(path)


def read_text(folder: Path, name: str) -> str:
    """A text file of the benchmark. Raises `DatasetError`."""
    try:
        return (folder / name).read_text(encoding="utf-8-sig")
    except OSError as exc:
        raise DatasetError(f"{name}: cannot be read ({exc.strerror})") from exc
    except UnicodeDecodeError as exc:
        raise DatasetError(f"{name}: is not UTF-8 text") from exc


def read_json(folder: Path, name: str) -> Any:
    """A JSON file of the benchmark. Raises `DatasetError`."""
    return _parsed(read_text(folder, name), Place(name))


def read_entries(folder: Path, name: str) -> list[Entry]:
    """The objects of a JSON list, of JSON lines, or of a CSV with a heading. Raises `DatasetError`."""
    place = Place(name)
    if name.endswith(".csv"):
        try:
            rows: Sequence[Any] = list(csv.DictReader(io.StringIO(read_text(folder, name)), strict=True))
        except csv.Error as exc:
            raise place.error(f"not valid CSV: {exc}") from exc
    elif name.endswith(".jsonl"):
        lines = read_text(folder, name).splitlines()
        rows = [_parsed(line, place.entry(number)) for number, line in enumerate(lines, start=1) if line.strip()]
    else:
        rows = read_json(folder, name)
    if not isinstance(rows, list):
        raise place.error("expected a list of objects")
    return [Entry.of(row, place.entry(number)) for number, row in enumerate(rows, start=1)]


def _parsed(text: str, place: Place) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise place.error(f"not valid JSON: {exc}") from exc


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
