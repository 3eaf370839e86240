"""Questions about one video, answered with the seconds they rest on, or not at all.

    windows      |     0     |     1     |     2     |        1. P(Yes) of "does this part show what it is about?"
    relevance    |    .1     |    .8     |    .9     |
    second look              |  .2 |  .9 |  .9 |  .7 |        2. the same question of about one second each
    evidence                       [      .9         )        3. what is left, merged
    single frames                 .9 .9         .1            4. where its ends are (`vidlm.edges`)
    what is told                  [            )

The words come from a third look, at all windows that may be relevant, at once as far as they fit one prompt: which of
two things came first is seen only where both are. If they say that it is not there, or are less sure than an answer has
to be, the windows of the evidence are asked, and those of single stretches of it; then there is no answer. Evidence
comes from these curves and never from the model's own words.

In a conversation every request stands behind the last questions and answers, so that a question may say "it".
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final

from vidlm import prompts
from vidlm.config import Settings, load_settings
from vidlm.domain import Analysis, Answer, AnswerEvidence, Span
from vidlm.edges import frames_at_ends, joined, sharpened
from vidlm.errors import QuestionError, ToolError
from vidlm.evidence import (
    BESIDE_BEST,
    RELEVANT,
    Look,
    around_peak,
    at_their_best,
    cut_pairs,
    evidence_of,
    merge_looks,
    readings,
    relevance_threshold,
    times_put_right,
    windows_of,
)
from vidlm.local import source_of
from vidlm.pipeline import WINDOWS_AT_ONCE, Progress, one_line
from vidlm.preparation import Prepared, prepare
from vidlm.provenance import provenance
from vidlm.running import running_engine
from vidlm.video.sampling import Window
from vidlm.video.scratch import scratch_folder

if TYPE_CHECKING:
    from vidlm.model.engine import Clip, Engine, Generation, VisualTokens
    from vidlm.model.video_model import VideoModel
    from vidlm.seeing import Eyes

CLOSER_S: Final = 1.0
"""Length of the parts that the second look judges: a frame pair each, at two frames a second."""
SHARPENED: Final = 4
"""Stretches of evidence whose ends are looked at frame by frame, best first: six frames each, at most."""
AT_ENDS: Final = 0.5
"""Share of a stretch's P(Yes) from which a frame alone counts as showing the same."""
ANSWER_TOKENS: Final = 48
ANSWER_PAIRS: Final = 32
"""Frame pairs an answer is read from, at most, unless a single window has more: whole windows are read."""
HISTORY_MOST: Final = 3
"""Turns of a conversation that a question is put behind, at most. What "it" stands for was said lately, and a turn
makes every one of a question's many requests longer."""
NOT_FOUND: Final = "Not found in this video."
"""The text of every answer that abstains."""


def check_question(question: str, settings: Settings) -> str:
    """The question on one line. Raises `QuestionError` for one that is empty or too long."""
    text = " ".join(question.split())
    if not text:
        raise QuestionError("the question is empty")
    if len(text) > settings.max_question_chars:
        raise QuestionError(f"the question is longer than {settings.max_question_chars} characters")
    return text


def history_of(answers: Iterable[Answer]) -> list[tuple[str, str]]:
    """(question, answer) of the turns that later questions may build on: where nothing was found, nothing was said."""
    return [(answer.question, answer.text) for answer in answers if not answer.abstained]


def requests_behind(question: str, history: Sequence[tuple[str, str]]) -> tuple[str, str]:
    """Both requests of a question, "is this part relevant?" and "what is the answer?", behind the same last turns."""
    told = history[-HISTORY_MOST:]
    relevance, answer = prompts.relevance_question(question), prompts.answer_request(question)
    return prompts.branch(relevance, told), prompts.branch(answer, told)


def answer_question(
    prepared: Prepared,
    question: str,
    eyes: Eyes,
    settings: Settings,
    on_progress: Progress | None = None,
    *,
    history: Sequence[tuple[str, str]] = (),
) -> Answer:
    """Answer a question about a prepared video. Raises `QuestionError`, `ModelError`, `ToolError`.

    `history`: (question, answer) of the conversation's turns that found something, oldest first; the last
    `HISTORY_MOST` of them count. To which conversation the answer belongs is the caller's to say.
    """
    report = on_progress or (lambda _stage, _done: None)
    question = check_question(question, settings)
    relevance_request, answer_request = requests_behind(question, history)
    looks, wholes = _look_at(prepared, relevance_request, eyes, lambda done: report("looking", done))
    report("answering", 0.0)
    runs = merge_looks(looks, relevance_threshold(looks))
    refused: list[set[int]] = []
    enough = settings.answer_confidence
    enough = eyes.engine.info.answer_confidence if enough is None else enough
    text, confidence = NOT_FOUND, 1.0 - max((look.score for look in looks), default=0.0)
    for tried in readings(runs, wholes):
        said = _read_answer(prepared, tried, answer_request, eyes)
        # that it is to be seen here, and that this is the answer: both have to be so
        sure = said.confidence * max(look.score for look in tried)
        refuses = prompts.is_abstention(said.text)
        if refuses or sure < enough:
            refused.append(windows_of(tried))
            confidence = said.confidence if refuses else 1.0 - sure
            continue
        text, confidence = one_line(said.text), sure
        break
    abstained = text == NOT_FOUND
    shown = [] if abstained else [run for run in runs if windows_of(run) not in refused]
    evidence = tuple(evidence_of(run, prepared.info.duration_s) for run in shown)
    evidence = _sharpen(prepared, evidence, relevance_request, eyes)
    return Answer(
        question=question,
        text=times_put_right(text, evidence),
        confidence=min(max(confidence, 0.0), 1.0),
        abstained=abstained,
        evidence=evidence,
        provenance=provenance(prepared.sampling, eyes.engine, None),
    )


def ask(
    path_or_analysis: str | Path | Analysis,
    question: str,
    *,
    model: str | VideoModel | Engine | None = None,
    settings: Settings | None = None,
    on_progress: Progress | None = None,
) -> Answer:
    """Ask one question of a video file, or of the file an analysis was made from, here and now.

    `model` as in `analyze`. Raises `QuestionError` for a question that cannot be asked or an analysis that does not
    know its file (one read back from a document) or whose file has changed; `MediaError` as `analyze` does.
    """
    answers = _conversation(path_or_analysis, [question], None, model=model, settings=settings, on_progress=on_progress)
    with closing(answers):
        return next(answers)


def converse(
    path_or_analysis: str | Path | Analysis,
    questions: Iterable[str],
    *,
    model: str | VideoModel | Engine | None = None,
    settings: Settings | None = None,
    on_progress: Progress | None = None,
) -> Generator[Answer, None, None]:
    """Ask questions of one video in turn, each of which may say "it" of what those before it were about.

    The video is prepared and the model loaded once, when the first answer is wanted. `questions` may be endless, or
    made from the answers given so far: each is taken when its answer is wanted. A list is checked as a whole before
    anything is loaded. All answers carry the same new `conversation_id`. Closing the iterator early frees the engine
    and removes the working files. Raises as `ask` does, where the answer is wanted.
    """
    from vidlm.store.columns import new_id  # noqa: PLC0415  the database's library: a second that `ask` does without

    return _conversation(
        path_or_analysis, questions, new_id("cnv"), model=model, settings=settings, on_progress=on_progress
    )


def _conversation(
    path_or_analysis: str | Path | Analysis,
    questions: Iterable[str],
    conversation_id: str | None,
    *,
    model: str | VideoModel | Engine | None,
    settings: Settings | None,
    on_progress: Progress | None,
) -> Generator[Answer, None, None]:
    from vidlm.model.engine import Priority  # noqa: PLC0415  torch: seconds, and absent on some machines
    from vidlm.seeing import Eyes  # noqa: PLC0415

    settings = settings or load_settings()
    questions = [questions] if isinstance(questions, str) else questions  # not letter by letter
    for question in questions if isinstance(questions, Sequence) else ():
        check_question(question, settings)
    source = source_of(path_or_analysis) if isinstance(path_or_analysis, Analysis) else Path(path_or_analysis)
    report = on_progress or (lambda _stage, _done: None)
    said: list[Answer] = []
    with running_engine(model, settings) as engine, scratch_folder("vidlm-work-") as folder:
        report("preparing", 0.0)
        geometry = engine.info.geometry
        prepared = prepare(
            source,
            folder,
            filename=source.name,
            geometry=geometry,
            settings=settings,
            on_progress=lambda done: report("preparing", done),
        )
        if isinstance(path_or_analysis, Analysis) and prepared.info.sha256 != path_or_analysis.video.sha256:
            raise QuestionError("the file has changed since it was analysed")
        eyes = Eyes(engine, priority=Priority.INTERACTIVE)
        for question in questions:
            answer = answer_question(prepared, question, eyes, settings, report, history=history_of(said))
            said.append(replace(answer, conversation_id=conversation_id))
            yield said[-1]


def _look_at(
    prepared: Prepared, request: str, eyes: Eyes, on_progress: Callable[[float], None]
) -> tuple[list[Look], list[Look]]:
    """Judge all windows, and those that may be evidence a second time in shorter parts.

    The looks that evidence is made of, and every window as a whole with the best score of it and of its parts.
    """
    looks: list[Look] = []
    judged: list[Look] = []
    best = 0.0
    windows = prepared.windows
    with closing(eyes.see(prepared, windows)) as seen:
        for first in range(0, len(windows), WINDOWS_AT_ONCE):
            some = windows[first : first + WINDOWS_AT_ONCE]
            visual = list(islice(seen, len(some)))
            scores = _relevance(visual, request, eyes)
            wholes = [
                Look(Span(window.start_s, window.end_s), score, window.index, len(tokens))
                for window, tokens, score in zip(some, visual, scores, strict=True)
            ]
            best = max(best, *scores)
            closer = _look_closer(wholes, visual, max(RELEVANT, BESIDE_BEST * best), request, eyes)
            looks += closer
            judged += at_their_best(wholes, closer)
            on_progress((first + len(some)) / len(windows))
    return looks, judged


def _look_closer(
    wholes: Sequence[Look], visual: Sequence[VisualTokens], from_score: float, request: str, eyes: Eyes
) -> list[Look]:
    """Windows that scored `from_score` or more in parts of about `CLOSER_S`, the others as they are."""
    cut = [
        cut_pairs(tokens.pair_times_s, whole.span, CLOSER_S) if whole.score >= from_score else []
        for whole, tokens in zip(wholes, visual, strict=True)
    ]
    cut = [parts if len(parts) > 1 else [] for parts in cut]
    shown = [tokens.slice(first, last) for parts, tokens in zip(cut, visual, strict=True) for first, last, _ in parts]
    scores = iter(_relevance(shown, request, eyes))
    looks: list[Look] = []
    for whole, parts in zip(wholes, cut, strict=True):
        closer = [Look(span, next(scores), whole.window, last - first) for first, last, span in parts]
        # what takes longer than a part to be seen (a movement, an order) shows in none of them: keep the whole
        looks += closer if any(look.score >= RELEVANT for look in closer) else [whole]
    return looks


def _sharpen(
    prepared: Prepared, evidence: Sequence[AnswerEvidence], request: str, eyes: Eyes
) -> tuple[AnswerEvidence, ...]:
    """The evidence with the ends of its `SHARPENED` best stretches where single frames say."""
    times_s = prepared.frame_times_s
    best = sorted(evidence, key=lambda stretch: -stretch.score)[:SHARPENED]
    wanted = sorted({index for stretch in best for index in frames_at_ends(stretch, times_s)})
    alone = [Window(index, times_s[index], times_s[index], index, index + 1) for index in wanted]
    try:  # one by one: what lies between stretches that are far apart is not to be read
        visual = [tokens for frame in alone for tokens in eyes.see(prepared, [frame])]
    except ToolError:  # the proxy is gone, and windows were read from what was kept of them: no finer than that
        return tuple(evidence)
    scores = dict(zip(wanted, _relevance(visual, request, eyes), strict=True))
    duration_s = prepared.info.duration_s
    ends = [
        sharpened(one, times_s, {index: score >= AT_ENDS * one.score for index, score in scores.items()}, duration_s)
        for one in best
    ]
    return joined([*ends, *(one for one in evidence if one not in best)])


def _relevance(visual: Sequence[VisualTokens], request: str, eyes: Eyes) -> list[float]:
    """P(Yes) of "does this part show what the question is about?" for each part."""
    return [scores[0] for scores in eyes.judge(visual, [request])]


def _read_answer(prepared: Prepared, wholes: Sequence[Look], request: str, eyes: Eyes) -> Generation:
    """What the model says of these windows around the best of them, seen in one prompt."""
    from vidlm.model.engine import Prompt  # noqa: PLC0415  torch: seconds, and absent on some machines

    read = windows_of(around_peak(wholes, ANSWER_PAIRS))
    times_s: list[float] = []
    clips: list[Clip] = []
    # one by one: what lies between windows that are far apart is not to be read
    for window in (window for window in prepared.windows if window.index in read):
        for visual in eyes.see(prepared, [window]):
            times_s += eyes.times_s(visual)
            clips += [visual.clip(pair, pair + 1) for pair in range(len(visual))]
    prefix = prompts.video_prefix(times_s, eyes.engine.info.family)
    prompt = Prompt([part if isinstance(part, str) else clips[part] for part in prefix])
    return eyes.engine.answer(prompt, request, max_new_tokens=ANSWER_TOKENS).result()
