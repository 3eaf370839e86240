"""How texts are taken apart into the words by which videos are found."""

from __future__ import annotations

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from vidlm.store.words import MOST_CHARS, MOST_WORDS, Term, distinct_words, terms_of, words_in

TEXTS = st.text(max_size=60)


def test_names_and_sentences_come_apart_at_whatever_is_no_letter_and_no_digit() -> None:
    assert words_in("IMG_0042 (Red-Car).mp4") == ["img", "0042", "red", "car", "mp4"]
    assert words_in("naïve Straße ΣΊΣΥΦΟΣ") == ["naïve", "strasse", "σίσυφοσ"]
    assert words_in("... !? \0 \n") == []


def test_chinese_and_japanese_characters_each_stand_for_themselves() -> None:
    assert words_in("夜の街道 at night2") == ["夜", "の", "街", "道", "at", "night2"]
    assert words_in("a車b") == ["a", "車", "b"]
    assert words_in("서울 거리") == ["서울", "거리"]  # Korean parts its words with spaces


def test_only_so_many_words_are_kept_and_those_that_come_first() -> None:
    text = " ".join(f"w{number}" for number in range(MOST_WORDS + 50))
    assert (
        distinct_words(["w3 name", text])
        == ["w3", "name", *(f"w{number}" for number in range(MOST_WORDS - 1) if number != 3)][:MOST_WORDS]
    )
    assert [len(word) for word in words_in("x" * 500)] == [MOST_CHARS]


def test_what_is_typed_asks_for_whole_words_and_one_that_may_go_on() -> None:
    assert terms_of("Red red ca") == (Term("red"), Term("ca", open=True))
    assert terms_of("--") == terms_of("") == ()


@given(TEXTS)
def test_a_text_has_the_words_of_its_upper_case_and_of_its_composed_form(text: str) -> None:
    assert words_in(unicodedata.normalize("NFKD", text)) == words_in(text)
    assert all(word == word.strip() and word and len(word) <= MOST_CHARS for word in words_in(text))


@given(st.lists(TEXTS, max_size=5))
def test_words_of_several_texts_are_those_of_each_once(texts: list[str]) -> None:
    assert distinct_words(texts, most=10_000) == list(dict.fromkeys(word for text in texts for word in words_in(text)))


@given(TEXTS)
def test_every_word_is_found_by_itself_and_while_it_is_typed(text: str) -> None:
    for word in words_in(text):
        for end in range(1, len(word) + 1):
            (term,) = terms_of(word[:end])
            assert term.open
            assert word.startswith(term.word)
