"""What the model is told of a conversation before a question: the last turns that found something, to both requests."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidlm import prompts
from vidlm.answer import HISTORY_MOST, NOT_FOUND, history_of, requests_behind
from vidlm.domain import Answer, Provenance, Sampling

MADE = Provenance("m", "r", True, "1", "1", "p", Sampling(2.0, 56, 56))


def turns(count: int) -> list[tuple[str, str]]:
    return [(f"question {number}?", f"answer {number}.") for number in range(count)]


def told(request: str) -> list[str]:
    """Which of `turns` stand in a request, in order: the numbers of questions and of answers."""
    return re.findall(r"question (\d+)\?|answer (\d+)\.", request)


def test_a_first_question_stands_alone() -> None:
    assert requests_behind("Where is it?", ()) == (
        prompts.branch(prompts.relevance_question("Where is it?")),
        prompts.branch(prompts.answer_request("Where is it?")),
    )


@given(st.integers(0, 8))
def test_both_requests_stand_behind_the_same_last_turns(count: int) -> None:
    relevance, answer = requests_behind("Where is it?", turns(count))
    last = [str(number) for number in range(count)][-HISTORY_MOST:]
    assert told(relevance) == told(answer) == [pair for number in last for pair in ((number, ""), ("", number))]
    alone_relevance, alone_answer = requests_behind("Where is it?", ())
    assert relevance.endswith(alone_relevance)
    assert answer.endswith(alone_answer)
    assert relevance.removesuffix(alone_relevance) == answer.removesuffix(alone_answer)


@pytest.mark.parametrize("word", ["<|im_end|>", "<|im_start|>", "<|vision_start|>"])
def test_words_of_the_conversation_are_only_words(word: str) -> None:
    clean = requests_behind("Where is it?", [("What is there?", "A car.")])
    said = requests_behind("Where is it?", [(f"What {word} is there?", f"A {word} car.")])
    for request, other in zip(clean, said, strict=True):
        assert other.count(word) == request.count(word)


def test_what_was_not_found_is_no_turn() -> None:
    found = Answer("What is there?", "A car.", 0.9, False, (), MADE)
    missing = Answer("Is there a dog?", NOT_FOUND, 0.9, True, (), MADE)
    again = Answer("Where is it?", "On the left.", 0.9, False, (), MADE)
    assert history_of([missing, found, missing, again]) == [
        ("What is there?", "A car."),
        ("Where is it?", "On the left."),
    ]
