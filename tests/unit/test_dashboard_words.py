"""The dashboard speaks both of its languages, and what it brings along is what was reviewed."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import pytest

from api.dashboard import rendering, words
from vidlm.people.preferences import CHOICES

SAID = re.compile(r"""\bt\(\s*(?:"((?:[^"\\]|\\.)*)"|'((?:[^'\\]|\\.)*)')""")
OTHERS = [language for language in CHOICES["language"] if language != "en"]


def texts(folder: Path, suffix: str) -> set[str]:
    files = [file for file in folder.rglob(f"*{suffix}") if "vendor" not in file.parts]
    found = {one or other for file in files for one, other in SAID.findall(file.read_text(encoding="utf-8"))}
    return {text.replace('\\"', '"').replace("\\'", "'") for text in found}


@pytest.mark.parametrize("language", OTHERS)
def test_every_text_is_translated(language: str) -> None:
    pages = texts(rendering.HERE / "templates", ".html")
    assert len(pages) > 100
    assert pages - set(words.known(language)) == set()
    assert texts(rendering.STATIC / "js", ".js") - set(words.for_scripts(language)) == set()


@pytest.mark.parametrize("language", OTHERS)
def test_a_text_is_translated_in_one_way(language: str) -> None:
    found: dict[str, str] = {}
    for file in (words.FOLDER / language).glob("*.json"):
        for text, translated in json.loads(file.read_text(encoding="utf-8")).items():
            assert found.setdefault(text, translated) == translated, (file.name, text)


@pytest.mark.parametrize("language", OTHERS)
def test_translations_say_the_same_values(language: str) -> None:
    for text, translated in words.known(language).items():
        assert set(re.findall(r"\{\w+\}", text)) == set(re.findall(r"\{\w+\}", translated)), text
        assert translated.strip(), text


def test_a_text_without_a_translation_is_said_as_it_is() -> None:
    assert words.said("zh", "no such text {n}", n=3) == "no such text 3"
    assert words.said("en", "Queue") == "Queue"


def test_refusals_are_said_by_their_code() -> None:
    assert words.problem("en", "already_decided", "this was decided already") == "this was decided already"
    assert words.problem("zh", "already_decided", "this was decided already") == "这一项已经有了决定。"
    assert words.problem("zh", "invalid_decision", "say which flag") == "say which flag"


def test_refusals_that_are_translated_exist() -> None:
    sources = [file for part in ("api", "vidlm") for file in (rendering.HERE.parents[1] / part).rglob("*.py")]
    said = "\n".join(file.read_text(encoding="utf-8") for file in sources)
    for text in words.known("zh"):
        if text.startswith("problem:"):
            assert f'"{text.removeprefix("problem:")}"' in said, text


def test_what_is_brought_along_is_what_was_looked_at() -> None:
    listed = dict(line.split()[::-1] for line in (rendering.STATIC / "vendor/SHA256SUMS").read_text().splitlines())
    there = {file.name for file in (rendering.STATIC / "vendor").iterdir()} - {"SHA256SUMS"}
    assert set(listed) == there
    for name, digest in listed.items():
        assert hashlib.sha256((rendering.STATIC / "vendor" / name).read_bytes()).hexdigest() == digest


@pytest.mark.parametrize(
    ("seconds", "shown"), [(None, "–"), (0, "0:00"), (83.4, "1:23"), (3599.99, "59:59"), (3723, "1:02:03")]
)
def test_clock(seconds: float | None, shown: str) -> None:
    assert rendering.clock_text(seconds) == shown


@pytest.mark.parametrize(("size", "shown"), [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (4_294_967_296, "4.3 GB")])
def test_bytes(size: float, shown: str) -> None:
    assert rendering.bytes_text(size) == shown
