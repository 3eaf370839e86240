"""Video-MME (Fu et al. 2024, arXiv:2405.21075): four options about videos of seconds to an hour.

    videomme/test-00000-of-00001.jsonl      its parquet table, converted: one question a line
    data/<videoID>.mp4

Subtitles are not used: vidlm looks at pictures.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from vidlm.errors import DatasetError
from vidlm.evaluation.files import TABLES, Entry, read_entries
from vidlm.evaluation.items import Choice, Loaded
from vidlm.prompts import LETTERS

_LETTER: Final = re.compile(r"\(?([A-Z])[.):]\s*")
_GROUPS: Final = ("duration", "domain", "task_type")


def load(folder: Path) -> Loaded:
    """Every question of the folder's table. Raises `DatasetError`."""
    name = _table(folder)
    return Loaded(name, tuple(_choice(entry) for entry in read_entries(folder, name)))


def _table(folder: Path) -> str:
    """The one table there is, in `videomme/` or beside it; where only parquet is, how to convert it."""
    for place in (folder / "videomme", folder):
        files = sorted(place.iterdir()) if place.is_dir() else []
        tables = [file.relative_to(folder).as_posix() for file in files if file.suffix in TABLES and file.is_file()]
        if len(tables) > 1:
            raise DatasetError(f"several tables of questions, keep one: {', '.join(tables)}")
        if tables:
            return tables[0]
        parquet = [file.relative_to(folder).as_posix() for file in files if file.suffix == ".parquet"]
        if parquet:
            target = parquet[0].removesuffix(".parquet") + ".jsonl"
            read = f"pandas.read_parquet('{parquet[0]}')"
            convert = f"import pandas; {read}.to_json('{target}', orient='records', lines=True)"
            raise DatasetError(
                f"{parquet[0]}: parquet is not read here; in the folder, with pandas and pyarrow installed, run "
                f'python -c "{convert}"'
            )
    raise DatasetError("no table of questions: expected videomme/test-00000-of-00001.jsonl (or .json, .csv)")


def _choice(entry: Entry) -> Choice:
    options, answer = _bare(entry), entry.text("answer")
    letters = list(LETTERS[: len(options)])
    if answer not in letters:
        raise entry.place.error(f"the answer {answer!r} is none of the options' letters")
    return Choice(
        video=f"data/{entry.relative('videoID')}.mp4",
        question=entry.text("question"),
        options=tuple(options),
        answer=letters.index(answer),
        groups=tuple(f"{group}: {entry.text(group)}" for group in _GROUPS),
    )


def _bare(entry: Entry) -> list[str]:
    """The options without the letters they carry, as long as all carry one ("U.S. troops" alone is no letter)."""
    options = entry.texts("options")
    named = [found for option in options if (found := _LETTER.match(option))]
    if len(named) < len(options):
        return options
    for letter, found in zip(LETTERS, named, strict=False):
        if found[1] != letter:
            raise entry.place.error(f"option {letter} calls itself {found[1]}")
    return [option[found.end() :] for option, found in zip(options, named, strict=True)]
