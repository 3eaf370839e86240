"""Every word vidlm ever says to a model. Pure text: no tokenizer, no tensors.

Training and inference both build their prompts here, so they cannot drift apart. The layout is ChatML, the one every
Qwen2-VL checkpoint was trained with, cut where work can be shared:

    prefix   system turn, opening of the user turn, then for each frame pair its time and its pictures
    branch   one request, the end of the user turn and the opening of the assistant's turn

    <|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n<|im_start|>user\\n
    <0.0s>[pair 0]<1.0s>[pair 1] ...                                        the prefix, computed once a segment
    Does this part show ...? Answer Yes or No.<|im_end|>\\n<|im_start|>assistant\\n    a branch, one of many

Qwen2-VL has no clock of its own: the time before each pair is what lets it say when. File names and metadata never
enter a prompt.
"""

import re
import string
from collections.abc import Sequence
from typing import Final

from vidlm.domain import Policy, Span

PROMPT_VERSION: Final = "1"
"""Changes with any text in this module: scores and captions of different versions are not comparable."""

Part = str | int
"""A piece of a prefix: text, or the index of the frame pair whose visual tokens stand there."""

NOT_SHOWN: Final = "It is not shown."
"""What a model answers when the part does not show what was asked about."""

LETTERS: Final = string.ascii_uppercase
"""What stands before the options of a choice, in order."""

_SYSTEM: Final = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
_USER: Final = "<|im_start|>user\n"
_ASSISTANT: Final = "<|im_end|>\n<|im_start|>assistant\n"
_NEXT: Final = "<|im_end|>\n<|im_start|>user\n"
_TIME: Final = re.compile(r"(\d+(?:\.\d+)?)\s*s\b")
_BETWEEN_TIMES: Final = frozenset(
    {"from", "at", "to", "till", "until", "between", "and", "about", "around", "it", "is", "seen", "shown", "appears"}
)
_SPECIAL: Final = re.compile(r"<\|(.*?)\|>")


def video_prefix(pair_times_s: Sequence[float], family: str = "qwen2_vl") -> list[Part]:
    """The prefix that shows frame pairs; `pair_times_s[i]` is when pair i is on screen.

    `family` is the model's: Qwen3-VL was trained with times of its own spelling, the others with none.
    """
    unit = " seconds" if family == "qwen3_vl" else "s"
    parts: list[Part] = [_SYSTEM + _USER]
    for index, time_s in enumerate(pair_times_s):
        parts += [f"<{time_s:.1f}{unit}>", index]
    return parts


def text_prefix() -> list[Part]:
    """The prefix of a request about text alone."""
    return [_SYSTEM + _USER]


def branch(request: str, history: Sequence[tuple[str, str]] = ()) -> str:
    """A request as it follows a prefix. Control tokens inside it are defused: users' words are only words.

    `history`: (question, answer) of the conversation so far, oldest first; the request may say "it" of what they name.
    """
    said = [_defused(answer_request(question)) + _ASSISTANT + _defused(answer) + _NEXT for question, answer in history]
    return "".join(said) + _defused(request) + _ASSISTANT


def _defused(text: str) -> str:
    return _SPECIAL.sub(r"<\1>", text)


def caption_request() -> str:
    return "Describe this part of the video."


def policy_question(policy: Policy) -> str:
    """A Yes/No question; the score is P(Yes)."""
    exception = f" Not counted: {policy.allowed}." if policy.allowed else ""
    return f"Does this part show {policy.blocked}?{exception} Answer Yes or No."


def relevance_question(question: str) -> str:
    """A Yes/No question: is this part worth asking `question`?"""
    return f"Question: {question}\nDoes this part show what the question is about? Answer Yes or No."


def answer_request(question: str) -> str:
    return f"Question: {question}\nAnswer in a few words, or: {NOT_SHOWN}"


def choice_request(question: str, options: Sequence[str]) -> str:
    """A question with its options under letters, at most as many as there are `LETTERS`; one of them is wanted."""
    lines = "\n".join(f"{letter}. {option}" for letter, option in zip(LETTERS, options, strict=False))
    return f"Question: {question}\n{lines}\nAnswer with the letter of the right option."


def yes_no_request(question: str) -> str:
    """A question whose answer is yes or no, in the words that policies are asked in."""
    return f"{question} Answer Yes or No."


def moment_question(sentence: str) -> str:
    """The question that asks when a sentence is true, as a user would put it."""
    return f"When is this shown: {sentence.rstrip('. ')}?"


def summary_request(captions: Sequence[tuple[float, str]]) -> str:
    """`captions`: (start_s, caption) of consecutive parts."""
    lines = "\n".join(f"<{start_s:.1f}s> {caption}" for start_s, caption in captions)
    return f"{lines}\nSummarise the video."


def title_request(captions: Sequence[str]) -> str:
    """Captions of one chapter's parts, in order."""
    lines = "\n".join(captions)
    return f"{lines}\nGive this chapter a short title."


def is_abstention(text: str) -> bool:
    """Whether an answer says that what was asked about is not there."""
    return text.strip().lower().rstrip(".") in {"", "not shown", "it is not shown", "unanswerable"}


def says_only_times(text: str) -> bool:
    """Whether an answer names times and nothing else: "From 2.0s to 4.5s." or "At 3.0s"."""
    rest, times = _TIME.subn(" ", text.lower())
    return times > 0 and set(re.findall(r"\w+", rest)) <= _BETWEEN_TIMES


def when(spans: Sequence[Span]) -> str:
    """Times as an answer says them: "From 2.0s to 4.5s and from 8.0s to 9.0s" and a full stop."""
    said = " and ".join(f"from {span.start_s:.1f}s to {span.end_s:.1f}s" for span in spans)
    return f"{said[:1].upper()}{said[1:]}."
