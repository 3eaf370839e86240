"""The library from a real file to a whole document, with a real model whose weights are random.

What the model says means nothing here; that every second, frame and score is accounted for does.
"""

import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from clips import H264, numbered

import vidlm
from vidlm import answer as answering
from vidlm.answer import NOT_FOUND
from vidlm.config import Settings
from vidlm.domain import Action, Answer, to_document
from vidlm.errors import MediaError, QuestionError
from vidlm.model.engine import Engine
from vidlm.moderation.policies import PolicySet, load_policies
from vidlm.pipeline import analyze_windows, finish
from vidlm.preparation import Prepared, prepare
from vidlm.seeing import Eyes
from vidlm.video.sampling import Window

POLICIES = PolicySet("few", load_policies().policies[:3])
SETTINGS = Settings(sample_fps=2.0, span_s=8.0, second_look_s=0)  # tests/integration/test_second_look.py


@pytest.fixture(scope="module")
def model(tiny_random_checkpoint: Path) -> Iterator[Engine]:
    with Engine.load(str(tiny_random_checkpoint), device="cpu") as engine:
        yield engine


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """20 seconds at 10 frames a second."""
    return numbered(tmp_path_factory.mktemp("clips") / "twenty.mp4", *H264, frames=200, fps=10).path


@pytest.fixture(scope="module")
def analysis(clip: Path, model: Engine) -> vidlm.Analysis:
    return vidlm.analyze(clip, model=model, policies=POLICIES, settings=SETTINGS)


@pytest.fixture
def prepared(clip: Path, model: Engine, tmp_path: Path) -> Prepared:
    return prepare(clip, tmp_path, filename="twenty.mp4", geometry=model.info.geometry, settings=SETTINGS)


def test_every_second_is_in_one_segment(analysis: vidlm.Analysis) -> None:
    starts = [segment.start_s for segment in analysis.segments]
    ends = [segment.end_s for segment in analysis.segments]
    assert starts == [0.0, *ends[:-1]]
    assert ends[-1] == pytest.approx(20.0, abs=0.001)
    assert [segment.index for segment in analysis.segments] == list(range(len(analysis.segments)))
    assert not analysis.coverage.partial


def test_every_sampled_frame_is_in_its_segment_and_scored(analysis: vidlm.Analysis) -> None:
    times = [time_s for segment in analysis.segments for time_s in segment.frame_times_s]
    assert times == pytest.approx([n / 2 for n in range(40)], abs=0.1)
    for segment in analysis.segments:
        assert all(segment.start_s <= time_s < segment.end_s for time_s in segment.frame_times_s)
        assert list(segment.scores) == [policy.id for policy in POLICIES.policies]
        assert all(0 <= score <= 1 for score in segment.scores.values())


def test_chapters_tile_and_highlights_exist(analysis: vidlm.Analysis) -> None:
    chapters = analysis.summary.chapters
    assert [chapter.start_s for chapter in chapters] == [0.0, *(chapter.end_s for chapter in chapters[:-1])]
    assert chapters[-1].end_s == analysis.segments[-1].end_s
    assert all(chapter.title for chapter in chapters)
    assert set(analysis.summary.highlights) <= {segment.index for segment in analysis.segments}


def test_the_document_is_plain_and_complete(analysis: vidlm.Analysis, model: Engine) -> None:
    document = json.loads(json.dumps(to_document(analysis)))
    assert list(document) == [
        "video",
        "provenance",
        "coverage",
        "segments",
        "summary",
        "flags",
        "verdict",
        "second_looks",
        "known",
    ]
    assert document["video"]["filename"] == "twenty.mp4"
    made = document["provenance"]
    assert (made["model_id"], made["model_revision"]) == (model.info.model_id, model.info.revision)
    assert made["policy_set_version"] == "few"
    assert {"torch", "transformers", "decord2"} <= set(made["libraries"])
    assert document["coverage"]["partial"] is False


def test_one_span_at_a_time_is_the_same_as_all_at_once(
    analysis: vidlm.Analysis, prepared: Prepared, model: Engine
) -> None:
    whole = analyze_windows(prepared, prepared.windows, Eyes(model), POLICIES)
    assert [segment.caption for segment in whole] == [segment.caption for segment in analysis.segments]
    for one, other in zip(whole, analysis.segments, strict=True):
        assert one.scores == pytest.approx(other.scores, abs=1e-5)
    assert analyze_windows(prepared, (), Eyes(model), POLICIES) == []


def test_what_was_prepared_survives_a_document_and_a_move(prepared: Prepared, tmp_path: Path) -> None:
    text = json.dumps(prepared.to_document())
    assert str(tmp_path) not in text
    assert Prepared.from_document(json.loads(text), tmp_path) == prepared
    assert all(isinstance(window, Window) for window in prepared.windows)


@pytest.mark.parametrize(
    ("settings", "longest_s"),
    [
        (SETTINGS, 3.0),
        (SETTINGS.model_copy(update={"segment_max_s": 5.0}), 5.0),
        (SETTINGS.model_copy(update={"segment_min_s": 4.0}), 3.0),
    ],
)
def test_segments_are_as_long_as_suits_the_checkpoint_unless_the_settings_say(
    clip: Path, model: Engine, tmp_path: Path, settings: Settings, longest_s: float
) -> None:
    geometry = replace(model.info.geometry, segment_max_s=3.0)
    windows = prepare(clip, tmp_path, filename="twenty.mp4", geometry=geometry, settings=settings).windows
    assert max(window.end_s - window.start_s for window in windows) == pytest.approx(longest_s, rel=0.15)
    assert all(window.end_s - window.start_s <= longest_s + 1e-6 for window in windows)


def test_a_missing_segment_is_never_allowed(prepared: Prepared, model: Engine) -> None:
    segments = analyze_windows(prepared, prepared.windows[:-1], Eyes(model), POLICIES)
    assert finish(prepared, segments, model, POLICIES, SETTINGS).verdict.action is not Action.ALLOW
    assert finish(prepared, [], model, POLICIES, SETTINGS).verdict.action is Action.REVIEW


def test_progress_is_told_in_order(clip: Path, model: Engine) -> None:
    told: list[tuple[str, float]] = []
    vidlm.analyze(
        clip,
        model=model,
        policies=POLICIES,
        settings=SETTINGS,
        on_progress=lambda stage, done: told.append((stage, done)),
    )
    assert list(dict.fromkeys(stage for stage, _ in told)) == ["preparing", "analyzing", "finishing"]
    analyzing = [done for stage, done in told if stage == "analyzing"]
    assert analyzing == sorted(analyzing)
    assert analyzing[-1] == 1.0


def test_an_answer_points_inside_the_video_or_abstains(clip: Path, analysis: vidlm.Analysis, model: Engine) -> None:
    for asked in (clip, str(clip), analysis):
        answer = vidlm.ask(asked, "What  is\nit?", model=model, settings=SETTINGS)
        assert answer.question == "What is it?"
        assert 0 <= answer.confidence <= 1
        assert answer.abstained == (answer.text == NOT_FOUND) == (not answer.evidence)
        for evidence in answer.evidence:
            assert 0 <= evidence.start_s < evidence.end_s <= analysis.video.duration_s
        json.dumps(to_document(answer))


def test_answers_that_are_not_sure_enough_are_not_given(clip: Path, model: Engine) -> None:
    def asked(settings: Settings) -> vidlm.Answer:
        return vidlm.ask(clip, "What is it?", model=model, settings=settings)

    given = asked(SETTINGS.model_copy(update={"answer_confidence": 0.0}))
    assert not given.abstained
    refused = asked(SETTINGS.model_copy(update={"answer_confidence": min((1 + given.confidence) / 2, 0.999)}))
    assert (refused.text, refused.abstained, refused.evidence) == (NOT_FOUND, True, ())
    assert 0 <= refused.confidence <= 1


@pytest.fixture
def told(analysis: vidlm.Analysis, monkeypatch: pytest.MonkeyPatch) -> list[list[tuple[str, str]]]:
    """The history of each question, of which every second one finds nothing; the answers are numbered."""
    told: list[list[tuple[str, str]]] = []

    def answer_question(
        _prepared: Prepared, question: str, *_: Any, history: Sequence[tuple[str, str]], **__: Any
    ) -> Answer:
        told.append(list(history))
        missing = len(told) % 2 == 0
        return Answer(question, NOT_FOUND if missing else str(len(told)), 0.5, missing, (), analysis.provenance)

    monkeypatch.setattr(answering, "answer_question", answer_question)
    return told


def test_a_conversation_goes_on_from_what_was_found(
    clip: Path, model: Engine, told: list[list[tuple[str, str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared = 0

    def count_and_prepare(*arguments: Any, **named: Any) -> Prepared:
        nonlocal prepared
        prepared += 1
        return prepare(*arguments, **named)

    monkeypatch.setattr(answering, "prepare", count_and_prepare)
    answers = list(vidlm.converse(clip, ["a?", "b?", "c?", "d?"], model=model, settings=SETTINGS))
    assert [answer.question for answer in answers] == ["a?", "b?", "c?", "d?"]
    assert told == [[], [("a?", "1")], [("a?", "1")], [("a?", "1"), ("c?", "3")]]
    assert prepared == 1
    ids = {answer.conversation_id for answer in answers}
    other = next(vidlm.converse(clip, "e?", model=model, settings=SETTINGS))
    assert other.question == "e?"
    assert len(ids | {other.conversation_id}) == 2
    assert all(one is not None and one.startswith("cnv_") for one in ids)
    assert vidlm.ask(clip, "f?", model=model, settings=SETTINGS).conversation_id is None


def test_a_question_may_be_made_from_the_answer_before(
    clip: Path, model: Engine, told: list[list[tuple[str, str]]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    said: list[Answer] = []

    def questions() -> Iterator[str]:
        yield "What is there?"
        while True:
            yield f"What else than {said[-1].text}?"

    answers = vidlm.converse(clip, questions(), model=model, settings=SETTINGS)
    assert list(tmp_path.iterdir()) == []  # nothing is done before it is wanted
    for _ in range(3):
        said.append(next(answers))
    assert [answer.question for answer in said] == [
        "What is there?",
        "What else than 1?",
        f"What else than {NOT_FOUND}?",
    ]
    assert len(told) == 3
    assert list(tmp_path.iterdir()) != []
    answers.close()
    assert list(tmp_path.iterdir()) == []


def test_a_question_needs_words_and_the_same_file(
    clip: Path, analysis: vidlm.Analysis, model: Engine, tmp_path: Path
) -> None:
    with pytest.raises(QuestionError, match="empty"):
        vidlm.ask(clip, " ", model=model, settings=SETTINGS)
    with pytest.raises(QuestionError, match="does not know its file"):
        vidlm.ask(replace(analysis), "What is it?", model=model, settings=SETTINGS)
    with pytest.raises(QuestionError, match="empty"):
        next(vidlm.converse(clip, ["What is it?", " "], model=model, settings=SETTINGS))
    copy = tmp_path / "copy.mp4"
    copy.write_bytes(clip.read_bytes())
    own = vidlm.analyze(copy, model=model, policies=POLICIES, settings=SETTINGS)
    numbered(copy, *H264, frames=30, fps=10)
    with pytest.raises(QuestionError, match="changed"):
        vidlm.ask(own, "What is it?", model=model, settings=SETTINGS)


def test_what_is_no_video_has_a_code(model: Engine, tmp_path: Path) -> None:
    for content in (b"", b"hello\n" * 100):
        file = tmp_path / "note.mp4"
        file.write_bytes(content)
        with pytest.raises(MediaError) as caught:
            vidlm.analyze(file, model=model, policies=POLICIES, settings=SETTINGS)
        assert caught.value.code == "not_a_video"


def test_a_shape_no_model_takes_has_a_code(model: Engine, tmp_path: Path) -> None:
    thin = numbered(tmp_path / "thin.mp4", *H264, "-vf", "scale=6000:16", frames=10, fps=10).path
    with pytest.raises(MediaError) as caught:
        vidlm.analyze(thin, model=model, policies=POLICIES, settings=SETTINGS)
    assert caught.value.code == "too_large_dimensions"


def test_nothing_is_left_behind(clip: Path, model: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    vidlm.analyze(clip, model=model, policies=POLICIES, settings=SETTINGS)
    assert list(tmp_path.iterdir()) == []
