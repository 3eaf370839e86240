"""What the API makes of words that come from outside: file names, questions, preferences."""

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from api.problems import ProblemError
from api.routes.questions import MAX_WAIT_S, clean_question, wait_s
from api.uploads import clean_filename


@given(st.binary(max_size=2000))
def test_any_name_becomes_text_that_databases_keep(raw: bytes) -> None:
    name = clean_filename(raw)
    assert "\0" not in name
    assert len(name) <= 255
    name.encode()


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=255))
def test_an_ordinary_name_is_kept_to_the_letter(name: str) -> None:
    assert clean_filename(name.encode()) == name


def test_a_long_name_keeps_its_extension() -> None:
    name = clean_filename(b"n" * 10_000 + b".mp4")
    assert name.startswith("nnn")
    assert name.endswith("n.mp4")


@given(st.text(max_size=300))
def test_any_question_is_cleaned_or_refused(raw: str) -> None:
    try:
        text = clean_question(raw, 200)
    except ProblemError as exc:
        event(exc.code)
        return
    assert 0 < len(text) <= 200
    assert "\0" not in text
    assert text == " ".join(text.split())
    text.encode()


def test_half_a_surrogate_pair_is_no_reason_to_fall_over() -> None:
    assert clean_question("what \ud800 is it?", 200) == "what ? is it?"


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("", None),
        ("respond-async", None),
        ("wait=5", 5),
        ("respond-async, wait=30", 30),
        ("wait = 7 ; foo", 7),
        ('WAIT="3"', 3),
        ("wait=9999", MAX_WAIT_S),
        ("wait=-1", None),
        ("await=3", None),
        ("wait=3s", None),
    ],
)
def test_preferred_waits(header: str | None, seconds: float | None) -> None:
    assert wait_s(header) == seconds
