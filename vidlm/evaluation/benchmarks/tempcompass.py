"""TempCompass (Liu et al. 2024, arXiv:2403.00476): actions, directions, speeds, orders and changes, asked three ways.

    questions/multi-choice.json      {video: {dimension: [{question, answer}, ...]}}; the options stand in the question
    questions/yes_no.json            the same, with answers "yes" and "no"
    questions/caption_matching.json  the same, with two captions as options
    videos/<video>.mp4

Its fourth way, writing captions, is judged by another model and is left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from vidlm.errors import DatasetError
from vidlm.evaluation.files import MAX_OPTIONS, Entry, Place, read_json
from vidlm.evaluation.items import Choice, Item, Loaded, YesNo

WAYS: Final = ("multi-choice", "yes_no", "caption_matching")
_OPTION: Final = re.compile(r"\s*(?:[A-Z][.)]|(?:Option|Sentence|Caption)\s+\w+:)\s*(\S.*?)\s*")


def load(folder: Path) -> Loaded:
    """Every question of every way there is. Raises `DatasetError`."""
    found = [way for way in WAYS if (folder / f"questions/{way}.json").is_file()]
    if not found:
        raise DatasetError(f"no questions: expected questions/{{{','.join(WAYS)}}}.json")
    items: list[Item] = []
    for way in found:
        for video, dimension, entries in _entries(folder, way):
            if way == "yes_no":
                items += _yes_no(video, dimension, entries)
            else:
                groups = (way, f"{way}: {dimension}")
                items += [_choice(video, entry, groups) for entry in entries]
    return Loaded("questions/", tuple(items))


def _entries(folder: Path, way: str) -> Iterator[tuple[str, str, list[Entry]]]:
    """(video, dimension, questions) of one file."""
    place = Place(f"questions/{way}.json")
    videos = Entry.of(read_json(folder, place.name), place)
    for video in videos.fields:
        if "/" in video or video.startswith("."):
            raise place.error(f"{video!r} is no video's name")
        dimensions = Entry.of(videos.fields[video], place.entry(video))
        for dimension, rows in dimensions.fields.items():
            here = Place(f"{dimensions.place.name}, {dimension}")
            if not isinstance(rows, list):
                raise here.error("expected a list of questions")
            yield f"videos/{video}.mp4", dimension, [Entry.of(row, here) for row in rows]


def _choice(video: str, entry: Entry, groups: tuple[str, ...]) -> Choice:
    """The options are the lines with a label ("A. ", "Caption B: "); the answer is one of those lines."""
    lines = [" ".join(line.split()) for line in entry.text("question").splitlines()]
    labelled = [(line, option[1]) for line in lines if (option := _OPTION.fullmatch(line))]
    asked = " ".join(line for line in lines if not _OPTION.fullmatch(line))
    if not asked or not 2 <= len(labelled) <= MAX_OPTIONS:
        raise entry.place.error(f"{len(labelled)} options under {asked!r}")
    answer = " ".join(entry.text("answer").split())
    right = [number for number, (line, _) in enumerate(labelled) if line == answer]
    if len(right) != 1:
        raise entry.place.error(f"the answer {answer!r} is {len(right)} of the options, not one")
    options = tuple(option for _, option in labelled)
    return Choice(video=video, question=asked, options=options, answer=right[0], groups=groups)


def _yes_no(video: str, dimension: str, entries: list[Entry]) -> list[YesNo]:
    """Two questions of a video and dimension, one with each answer, are a pair; more, or alike, are none."""
    answers = [entry.text("answer").lower() for entry in entries]
    for entry, answer in zip(entries, answers, strict=True):
        if answer not in {"yes", "no"}:
            raise entry.place.error(f"the answer should be yes or no, not {answer!r}")
    pair = f"{video} {dimension}" if sorted(answers) == ["no", "yes"] else ""
    groups = (f"dimension: {dimension}",)
    return [
        YesNo(video=video, question=entry.text("question"), answer=answer == "yes", pair=pair, groups=groups)
        for entry, answer in zip(entries, answers, strict=True)
    ]
