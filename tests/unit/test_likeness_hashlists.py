"""Lists of hashes: what is written is read back as it was, and every mistake is named with its line."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from likeness_hashes import stranger

from vidlm.errors import InputError
from vidlm.likeness import hashlists
from vidlm.likeness.hashlists import (
    Form,
    HashEntry,
    HashListError,
    entries_of,
    parse_hash_list,
    videos_of,
    write_hash_list,
)

GOOD = {"hash": "0f" * 32, "quality": 90, "time_s": 1.5, "label": "case-17", "source": "hashes.example"}
ENTRY = HashEntry(**GOOD)
HEADING = "hash,quality,time_s,label,source\n"
WORDS = st.text(st.characters(categories=("L", "N", "P", "S", "Mn")), min_size=1, max_size=60)
ENTRIES = st.builds(
    HashEntry,
    hash=st.binary(min_size=32, max_size=32).map(bytes.hex),
    quality=st.integers(0, 100),
    time_s=st.floats(0, 1e6),
    label=WORDS,
    source=WORDS,
)


def complaint(text: str | bytes, form: Form) -> str:
    with pytest.raises(HashListError) as caught:
        parse_hash_list(text.encode() if isinstance(text, str) else text, form)
    assert isinstance(caught.value, InputError)
    return caught.value.detail


def row(**changes: object) -> str:
    return json.dumps(GOOD | changes) + "\n"


@pytest.mark.parametrize("form", list(Form))
@given(entries=st.lists(ENTRIES, max_size=8))
def test_what_is_written_is_read_back(form: Form, entries: list[HashEntry]) -> None:
    assert parse_hash_list(write_hash_list(entries, form).encode(), form) == tuple(entries)


def test_what_a_list_looks_like() -> None:
    assert write_hash_list([ENTRY], Form.CSV) == HEADING + "0f" * 32 + ",90,1.5,case-17,hashes.example\n"
    assert json.loads(write_hash_list([ENTRY], Form.JSONL)) == GOOD


def test_order_of_columns_case_of_digits_and_line_ends_do_not_matter() -> None:
    text = "\ufefflabel,source,time_s,quality,hash\r\n\r\ncase-17,hashes.example,1.5,90," + "0F" * 32 + "\r\n"
    assert parse_hash_list(text.encode(), Form.CSV) == (ENTRY,)
    assert parse_hash_list(("\n" + row(hash="0F" * 32) + "\r\n").encode(), Form.JSONL) == (ENTRY,)
    assert parse_hash_list(b"", Form.JSONL) == ()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"hash": "0f" * 31}, "`hash` must be 64 hexadecimal digits"),
        ({"hash": "0g" * 32}, "`hash` must be 64 hexadecimal digits"),
        ({"hash": 15}, "`hash` must be 64 hexadecimal digits"),
        ({"quality": 101}, "`quality` must be a whole number from 0 to 100, not 101"),
        ({"quality": 5.0}, "`quality` must be a whole number"),
        ({"quality": True}, "`quality` must be a whole number"),
        ({"quality": "90"}, "`quality` must be a whole number"),
        ({"time_s": -0.1}, "`time_s` must be seconds"),
        ({"time_s": float("nan")}, "`time_s` must be seconds"),
        ({"time_s": 10**400}, "`time_s` must be seconds"),
        ({"time_s": None}, "`time_s` must be seconds"),
        ({"label": " "}, "`label` must be a text"),
        ({"label": "a" * 201}, "`label` is longer than 200 characters"),
        ({"source": "a\nb"}, "`source` holds a character that cannot be printed"),
        ({"source": "\ud800"}, "`source` holds a character that cannot be printed"),
        ({"colour": 1}, "unknown field 'colour'"),
    ],
)
def test_a_wrong_field_is_named_with_its_line(changes: dict[str, object], words: str) -> None:
    said = complaint(row() + "\n" + row(**changes) + row(), Form.JSONL)
    assert said.startswith("line 3: ")
    assert words in said


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("nonsense", "not valid JSON"),
        ("[" * 1500, "not valid JSON"),
        ("[]", "expected an object"),
        ('{"hash": "' + "0f" * 32 + '"}', "field `quality` is missing"),
        (row().strip()[:-1] + ', "quality": 3}', "a field is written twice"),
        ('{"label": "' + "a" * 3000 + '"}', "longer than 2000 characters"),
    ],
)
def test_a_line_that_is_no_entry_is_named(line: str, words: str) -> None:
    assert complaint(row() + line + "\n", Form.JSONL).startswith(f"line 2: {words}")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "line 1: expected the columns"),
        ("hash,quality\n", "line 1: expected the columns"),
        (HEADING + "0f,90,1,a,b\n", "line 2: field `hash`"),
        (HEADING + "\n" + "0f" * 32 + ",90,1,a\n", "line 3: 4 values instead of 5"),
        (HEADING + "0f" * 32 + ",+9,1,a,b\n", "line 2: field `quality`"),
        (HEADING + "0f" * 32 + ",9,inf,a,b\n", "line 2: field `time_s`"),
        (HEADING + "0f" * 32 + ",9,1,a,b\n" + "0f" * 32 + ',9,1,"a"c,b\n', "line 3: not valid CSV"),
        (HEADING + '"' + "x\n" * 90_000 + '"', "line"),
    ],
)
def test_a_wrong_line_of_csv_is_named(text: str, words: str) -> None:
    assert complaint(text, Form.CSV).startswith(words)


def test_bytes_that_are_no_text_are_named_with_their_line() -> None:
    assert complaint(row().encode() + b"\xff\n", Form.JSONL) == "line 2: not UTF-8 text"


def test_lists_that_are_too_large_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashlists, "MAX_ENTRIES", 2)
    assert complaint(row() * 3, Form.JSONL) == "line 3: more than 2 entries"
    monkeypatch.setattr(hashlists, "MAX_BYTES", 100)
    assert complaint(row(), Form.CSV).startswith("the list has ")


def test_a_video_becomes_entries_and_a_video_again() -> None:
    videos = {("a", "x"): stranger(1), ("b", "x"): stranger(2), ("a", "y"): stranger(3)}
    entries = [entry for (label, origin), video in videos.items() for entry in entries_of(video, label, origin)]
    found = videos_of(reversed(entries))
    assert set(found) == set(videos)
    for key, video in videos.items():
        assert np.array_equal(found[key].hashes, video.hashes)
        assert found[key].times_s.tolist() == video.times_s.tolist()
        assert found[key].quality.tolist() == video.quality.tolist()


def test_two_frames_at_one_time_are_no_video() -> None:
    with pytest.raises(HashListError, match=r"'case-17' has two frames at 1\.5 s"):
        videos_of([ENTRY, ENTRY])


def test_a_label_that_no_list_may_hold_is_not_exported() -> None:
    with pytest.raises(HashListError, match="the entry: field `label`"):
        entries_of(stranger(1), "", "x")
