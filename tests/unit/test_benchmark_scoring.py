"""Replies as they are read, options as they are turned, frames as they are spread, and what is counted in the end."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidlm import prompts
from vidlm.domain import AnswerEvidence, Span
from vidlm.evaluation.asking import read_texts, rotated, spread, top_span
from vidlm.evaluation.items import Choice, Grounding, Reply, YesNo
from vidlm.evaluation.replies import read_choice, read_yes_no
from vidlm.evaluation.scoring import rows_of

OPTIONS = ("a red car", "a blue car", "a dog")
COLOUR = Choice(video="v.mp4", question="What is it?", options=OPTIONS, answer=1, groups=("task: what",))


@pytest.mark.parametrize(
    "text", ["B", "b", " B ", "(B)", "B.", "B)", "B:", "B, I think", "B. a blue car", "(B) a dog", "**B**", '"B."']
)
def test_a_letter_is_read_however_it_is_written(text: str) -> None:
    assert read_choice(text, OPTIONS) == 1


@pytest.mark.parametrize(
    "text", ["The answer is B.", "Answer: B", "Option B", "The best option is (B)", "B a blue car", "A blue car."]
)
def test_a_letter_in_a_phrase_or_the_options_own_text_is_read(text: str) -> None:
    assert read_choice(text, OPTIONS) == 1


@pytest.mark.parametrize(
    "text", ["", "A car", "a cat", "No", "D", "(E)", "Because of the dog", "It is shown.", "Blue", "\u212a."]
)
def test_what_names_no_option_is_not_guessed(text: str) -> None:
    assert read_choice(text, OPTIONS) is None


def test_an_article_is_no_letter_unless_the_option_follows() -> None:
    assert read_choice("A dog", OPTIONS) == 2  # an option's own text goes before its first letter
    assert read_choice("A a red car", OPTIONS) == 0


def test_options_that_look_alike_are_told_apart_by_their_letters_only() -> None:
    assert read_choice("Left.", ("left", "Left")) is None
    assert read_choice("B. left", ("left", "Left")) == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [("Yes", True), ("yes, it is.", True), ("No.", False), ("no", False), ("Nothing", None), ("It is not", None)],
)
def test_yes_and_no(text: str, said: bool | None) -> None:
    assert read_yes_no(text) is said


@given(st.integers(2, 6), st.data())
def test_a_reader_of_options_chooses_the_same_one_in_every_rotation(count: int, data: st.DataObject) -> None:
    """Whoever finds an option wherever it stands is read as choosing that option, whichever letter it had."""
    options = tuple(f"thing {number}" for number in range(count))
    wanted = data.draw(st.integers(0, count - 1))
    item = Choice(video="v.mp4", question="Which?", options=options, answer=wanted)
    letters = [prompts.LETTERS[rotated(options, turn).index(options[wanted])] for turn in range(count)]
    assert sorted(letters) == list(prompts.LETTERS[:count])  # it stood once under each letter
    assert read_texts(item, letters) == (wanted,) * count


def test_a_model_that_always_says_b_is_right_once_and_circularly_wrong() -> None:
    always = Reply(COLOUR, read_texts(COLOUR, ["B", "B", "B"]))
    assert always.chosen == (1, 2, 0)
    rows = {row["name"]: row["value"] for row in rows_of([always])}
    assert (rows["choice_accuracy"], rows["choice_circular"], rows["unreadable"]) == (1.0, 0.0, 0.0)


def test_requests_say_what_is_asked() -> None:
    request = prompts.choice_request("What is it?", OPTIONS)
    assert request.splitlines()[:4] == ["Question: What is it?", "A. a red car", "B. a blue car", "C. a dog"]
    assert prompts.yes_no_request("Is it red?") == "Is it red? Answer Yes or No."
    assert prompts.moment_question("a dog runs.") == "When is this shown: a dog runs?"


# ---- frames


@given(st.integers(1, 60), st.integers(1, 40))
def test_frames_are_spread_evenly_and_never_twice(there: int, count: int) -> None:
    shown = spread([index / 2 for index in range(there)], None, count)
    assert len(shown) == min(there, count)
    gaps = [after - before for before, after in pairwise(shown)]
    assert not gaps or (min(gaps) >= 1 and max(gaps) - min(gaps) <= 1)
    assert shown[0] >= 0
    assert shown[-1] < there
    assert abs(shown[0] - (there - 1 - shown[-1])) <= 1  # as much is left before the first as behind the last


@given(st.integers(1, 40), st.integers(0, 80), st.integers(1, 80), st.integers(1, 8))
def test_a_span_shows_its_own_frames_or_the_one_on_screen(there: int, start: int, length: int, count: int) -> None:
    times = [index / 2 for index in range(there)]
    span = Span(start / 4, (start + length) / 4)
    inside = [index for index, time_s in enumerate(times) if span.start_s <= time_s < span.end_s]
    shown = spread(times, span, count)
    if inside:
        assert set(shown) <= set(inside)
        assert len(shown) == min(count, len(inside))
    else:
        assert shown == [max(index for index, time_s in enumerate(times) if time_s <= span.start_s)]


def test_frames_of_a_case_that_is_drawn() -> None:
    assert spread([0, 1, 2, 3, 4, 5, 6, 7], Span(2, 6), 2) == [3, 5]
    assert spread([0, 1, 2, 3], None, 9) == [0, 1, 2, 3]


# ---- counting


def test_groups_unreadable_replies_and_pairs_are_counted() -> None:
    yes = YesNo(video="v.mp4", question="?", answer=True, pair="v", groups=("yes_no",))
    no = YesNo(video="v.mp4", question="?", answer=False, pair="v", groups=("yes_no",))
    half_yes = YesNo(video="w.mp4", question="?", answer=True, pair="w")
    half_no = YesNo(video="w.mp4", question="?", answer=False, pair="w")
    alone = YesNo(video="x.mp4", question="?", answer=True)
    lost = YesNo(video="y.mp4", question="?", answer=False, pair="y")  # its partner was never asked
    replies = [
        Reply(COLOUR, (1, 1, 1)),
        Reply(COLOUR, (1, None, 1)),
        Reply(COLOUR, (None, 1, 1)),
        *[Reply(yes, (1,)), Reply(no, (0,)), Reply(half_yes, (1,)), Reply(half_no, (1,))],
        *[Reply(alone, (None,)), Reply(lost, (0,))],
    ]
    rows = {row["name"]: (row["value"], row["n"]) for row in rows_of(replies)}
    assert rows == {
        "choice_accuracy": (0.6667, 3),
        "choice_circular": (0.3333, 3),
        "choice_accuracy (task: what)": (0.6667, 3),
        "choice_circular (task: what)": (0.3333, 3),
        "yes_no_accuracy": (0.6667, 6),
        "yes_no_accuracy (yes_no)": (1.0, 2),
        "mme_accuracy": (0.75, 4),
        "mme_accuracy_plus": (0.5, 2),
        "mme_score": (125.0, 2),
        "unreadable": (0.2, 15),
    }


def test_grounding_takes_the_top_interval_and_counts_what_was_not_found() -> None:
    evidence = [AnswerEvidence(0, 2, 0.4), AnswerEvidence(4, 8, 0.9), AnswerEvidence(9, 10, 0.9)]
    assert top_span(evidence) == Span(4, 8)
    assert top_span([]) is None
    items = [Grounding(video=f"{n}.mp4", sentence="a dog runs", span=Span(4, 8)) for n in range(4)]
    found = [Span(4, 8), Span(4, 6.4), Span(0, 4), None]
    rows = {row["name"]: row for row in rows_of([Reply(i, found=f) for i, f in zip(items, found, strict=True)])}
    assert {name: row["value"] for name, row in rows.items()} == {
        "mean_iou": 0.4,
        "r1_iou30": 0.5,
        "r1_iou50": 0.5,
        "r1_iou70": 0.25,
        "not_found": 0.25,
    }
    assert rows["mean_iou"]["low"] < 0.4 < rows["mean_iou"]["high"]  # four videos, drawn again as wholes
    assert all(row["bar"] is None for row in rows.values())


def test_nothing_asked_is_an_empty_table() -> None:
    assert rows_of([]) == []
