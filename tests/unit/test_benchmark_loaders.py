"""Public benchmarks' own files, small ones of each published shape: what is read, and what every mistake is called."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vidlm.domain import Span
from vidlm.errors import DatasetError
from vidlm.evaluation.benchmark import choose
from vidlm.evaluation.benchmarks import charades_sta, mvbench, tempcompass, video_mme
from vidlm.evaluation.items import Choice, Grounding, Loaded, YesNo

Load = Callable[[Path], Loaded]

MME_ROW = {
    "video_id": "001",
    "duration": "short",
    "domain": "Knowledge",
    "sub_category": "Geography",
    "url": "https://example.org/a",
    "videoID": "fFjv93ACGo8",
    "question_id": "001-1",
    "task_type": "Counting Problem",
    "question": "How many stars are there?",
    "options": ["A. One.", "B. Two.", "C. Three.", "D. Four."],
    "answer": "C",
}
MV_ROW = {
    "video": "ZS9XR.mp4",
    "question": "What happened after the person took the food?",
    "candidates": ["Ate the medicine.", "Tidied up the blanket.", "Put down the cup.", "Took the box."],
    "answer": "Ate the medicine.",
}


def write(folder: Path, name: str, content: Any) -> Path:
    """A file of the benchmark: text as it is, anything else as JSON."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def refused(load: Load, folder: Path) -> str:
    with pytest.raises(DatasetError) as raised:
        load(folder)
    assert str(folder) not in raised.value.detail
    return raised.value.detail


# ---- Video-MME


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("videomme/test-00000-of-00001.jsonl", "\n".join(json.dumps(MME_ROW) for _ in range(2)) + "\n\n"),
        ("videomme/test.json", [MME_ROW, MME_ROW]),
        ("test.json", [MME_ROW, MME_ROW]),
    ],
)
def test_video_mme_rows(name: str, content: Any, tmp_path: Path) -> None:
    write(tmp_path, name, content)
    loaded = video_mme.load(tmp_path)
    assert loaded.source == name
    assert loaded.items == (
        Choice(
            video="data/fFjv93ACGo8.mp4",
            question="How many stars are there?",
            options=("One.", "Two.", "Three.", "Four."),
            answer=2,
            groups=("duration: short", "domain: Knowledge", "task_type: Counting Problem"),
        ),
    ) * len(loaded.items)
    assert len(loaded.items) == 2


def test_video_mme_as_csv_with_options_as_json(tmp_path: Path) -> None:
    cells = [json.dumps(value) if isinstance(value, list) else value for value in MME_ROW.values()]
    line = ",".join('"' + cell.replace('"', '""') + '"' for cell in cells)
    write(tmp_path, "test.csv", ",".join(MME_ROW) + "\n" + line + "\n")
    (item,) = video_mme.load(tmp_path).items
    assert isinstance(item, Choice)
    assert (item.options[3], item.answer) == ("Four.", 2)


def test_video_mme_options_may_have_no_letters(tmp_path: Path) -> None:
    write(tmp_path, "test.json", [MME_ROW | {"options": ["One", "U.S. troops", "Three"]}])
    (item,) = video_mme.load(tmp_path).items
    assert isinstance(item, Choice)
    assert item.options == ("One", "U.S. troops", "Three")


def test_video_mme_parquet_is_told_how_to_be_read(tmp_path: Path) -> None:
    write(tmp_path, "videomme/test-00000-of-00001.parquet", "PAR1")
    said = refused(video_mme.load, tmp_path)
    assert "pandas.read_parquet('videomme/test-00000-of-00001.parquet')" in said
    assert ".to_json('videomme/test-00000-of-00001.jsonl', orient='records', lines=True)" in said
    write(tmp_path, "videomme/test-00000-of-00001.jsonl", json.dumps(MME_ROW))  # what that command writes
    assert len(video_mme.load(tmp_path).items) == 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"answer": "E"}, "test.json, entry 2: the answer 'E' is none of the options' letters"),
        ({"answer": "CD"}, "entry 2: the answer 'CD'"),
        ({"options": ["A. One.", "C. Two."]}, "entry 2: option B calls itself C"),
        ({"options": ["A. One."]}, "entry 2: 1 options; expected 2 to 26"),
        ({"options": "['A. One.' 'B. Two.']"}, "entry 2: the field 'options' should be a list written as JSON"),
        ({"options": [1, 2]}, "entry 2: the field 'options' should be a list of texts"),
        ({"question": None}, "entry 2: the field 'question' should be a text, not None"),
        ({"videoID": "../../etc/passwd"}, "entry 2: the field 'videoID' leads out of the folder"),
        ({"videoID": "/etc/passwd"}, "entry 2: the field 'videoID' leads out of the folder"),
    ],
)
def test_video_mme_mistakes(change: dict[str, Any], said: str, tmp_path: Path) -> None:
    write(tmp_path, "test.json", [MME_ROW, MME_ROW | change])
    assert said in refused(video_mme.load, tmp_path)


def test_video_mme_files_that_are_no_table(tmp_path: Path) -> None:
    assert "no table of questions" in refused(video_mme.load, tmp_path)
    write(tmp_path, "test.json", "[{")
    assert "test.json: not valid JSON" in refused(video_mme.load, tmp_path)
    write(tmp_path, "test.json", MME_ROW)
    assert "test.json: expected a list of objects" in refused(video_mme.load, tmp_path)
    write(tmp_path, "test.json", [3])
    assert "test.json, entry 1: expected an object" in refused(video_mme.load, tmp_path)
    write(tmp_path, "test.jsonl", "{}")
    assert "several tables of questions, keep one: test.json, test.jsonl" in refused(video_mme.load, tmp_path)


# ---- MVBench


def test_mvbench_looks_at_the_seconds_of_whole_videos(tmp_path: Path) -> None:
    write(tmp_path, "json/action_sequence.json", [MV_ROW | {"start": 1.3, "end": 15.4}])
    write(tmp_path, "json/moving_count.json", [MV_ROW | {"start": 1.3, "end": 15.4, "answer": "Took the box."}])
    write(tmp_path, "video/star/Charades_v1_480/ZS9XR.mp4", "")
    first, second = mvbench.load(tmp_path).items
    assert first == Choice(
        video="video/star/Charades_v1_480/ZS9XR.mp4",
        question="What happened after the person took the food?",
        options=tuple(MV_ROW["candidates"]),
        answer=0,
        span=Span(1.3, 15.4),
        groups=("task: action_sequence",),
    )
    assert isinstance(second, Choice)
    assert (second.video, second.span, second.answer) == ("video/clevrer/video_validation/ZS9XR.mp4", None, 3)


@pytest.mark.parametrize("root", ["video/", "video/data0613/", ""])
def test_mvbench_finds_videos_where_they_were_published(root: str, tmp_path: Path) -> None:
    write(tmp_path, "json/episodic_reasoning.json", [MV_ROW | {"start": 2, "end": 5, "fps": 3}])
    write(tmp_path, f"{root}tvqa/video_fps3_hq_segment/ZS9XR.mp4", "")
    (item,) = mvbench.load(tmp_path).items
    assert isinstance(item, Choice)
    assert item.video == f"{root}tvqa/video_fps3_hq_segment/ZS9XR.mp4"
    assert item.span is None  # it is cut to those seconds already


def test_mvbench_counts_questions_about_no_interval(tmp_path: Path) -> None:
    rows = [MV_ROW | {"start": 5, "end": 5}, MV_ROW | {"start": 5, "end": 6}]
    write(tmp_path, "json/action_localization.json", rows)
    loaded = mvbench.load(tmp_path)
    assert len(loaded.items) == 1
    assert loaded.left_out == {"questions about no interval": 1}


def test_every_mvbench_task_has_a_place() -> None:
    assert len(mvbench.PLACES) == 20
    assert set(mvbench.PLACES) > mvbench.TIMED


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"answer": "Nothing."}, "json/action_count.json, entry 1: the answer 'Nothing.' is 0 of the candidates"),
        ({"candidates": ["a", "a"], "answer": "a"}, "entry 1: the answer 'a' is 2 of the candidates"),
        ({"video": "../x.mp4"}, "entry 1: the field 'video' leads out of the folder"),
    ],
)
def test_mvbench_mistakes(change: dict[str, Any], said: str, tmp_path: Path) -> None:
    write(tmp_path, "json/action_count.json", [MV_ROW | change])
    assert said in refused(mvbench.load, tmp_path)


def test_mvbench_without_seconds_or_questions(tmp_path: Path) -> None:
    assert "no questions: expected json/<task>.json" in refused(mvbench.load, tmp_path)
    write(tmp_path, "json/action_sequence.json", [MV_ROW])
    assert "the field 'start' should be a number, not None" in refused(mvbench.load, tmp_path)


# ---- TempCompass


def ask(question: str, answer: str) -> dict[str, str]:
    return {"question": question, "answer": answer}


def test_tempcompass_options_stand_in_the_question(tmp_path: Path) -> None:
    what = ask("What is the man doing?\nA. dunking\nB. dribbling\nC. passing", "B. dribbling")
    write(tmp_path, "questions/multi-choice.json", {"1034419625": {"action": [what]}})
    captions = [
        ask("Which fits?\nOption 1: A man.\nOption 2: A dog.", "Option 2: A dog."),
        ask("Which fits?\nSentence A: A man.\nSentence B:  A dog.", "Sentence A: A man."),
        ask("Which fits?\nCaption A: A man.\nCaption B: A dog.", "Caption B: A dog."),
    ]
    write(tmp_path, "questions/caption_matching.json", {"1034419625": {"direction": captions}})
    first, *others = tempcompass.load(tmp_path).items
    assert first == Choice(
        video="videos/1034419625.mp4",
        question="What is the man doing?",
        options=("dunking", "dribbling", "passing"),
        answer=1,
        groups=("multi-choice", "multi-choice: action"),
    )
    choices = [item for item in others if isinstance(item, Choice)]
    assert [(item.options, item.answer) for item in choices] == [(("A man.", "A dog."), answer) for answer in (1, 0, 1)]
    assert {item.groups for item in choices} == {("caption_matching", "caption_matching: direction")}


def test_tempcompass_two_questions_with_either_answer_are_a_pair(tmp_path: Path) -> None:
    two, three = [ask("Left?", "yes"), ask("Right?", "no")], [ask("1?", "yes"), ask("2?", "no"), ask("3?", "no")]
    alike = [ask("Left?", "no"), ask("Right?", "no")]
    write(tmp_path, "questions/yes_no.json", {"a": {"direction": two, "order": three}, "b": {"direction": alike}})
    items = [item for item in tempcompass.load(tmp_path).items if isinstance(item, YesNo)]
    assert [item.answer for item in items] == [True, False, True, False, False, False, False]
    assert [bool(item.pair) for item in items] == [True, True, False, False, False, False, False]
    assert items[0].pair == items[1].pair
    assert items[0].groups == ("dimension: direction",)


@pytest.mark.parametrize(
    ("way", "content", "said"),
    [
        ("yes_no", {"a": {"order": [ask("Left?", "maybe")]}}, "questions/yes_no.json, entry a, order: the answer"),
        ("yes_no", {"../a": {"order": []}}, "'../a' is no video's name"),
        ("yes_no", {"a": []}, "questions/yes_no.json, entry a: expected an object"),
        ("yes_no", {"a": {"order": {}}}, "entry a, order: expected a list of questions"),
        ("multi-choice", {"a": {"order": [ask("What?\nA. x", "A. x")]}}, "1 options under 'What?'"),
        ("multi-choice", {"a": {"order": [ask("What?\nA. x\nB. y", "C. z")]}}, "is 0 of the options, not one"),
    ],
)
def test_tempcompass_mistakes(way: str, content: Any, said: str, tmp_path: Path) -> None:
    write(tmp_path, f"questions/{way}.json", content)
    assert said in refused(tempcompass.load, tmp_path)


def test_tempcompass_without_questions(tmp_path: Path) -> None:
    assert "no questions: expected questions/{multi-choice,yes_no,caption_matching}.json" in refused(
        tempcompass.load, tmp_path
    )


# ---- Charades-STA


def test_charades_sentences_and_their_seconds(tmp_path: Path) -> None:
    lines = "3MSZA 24.3 30.4##person turn a light on.\n\n3MSZA 24.3 24.3##nothing.\nAO8RW 0.0 6.9##a person ## sits.\n"
    write(tmp_path, "charades_sta_test.txt", lines)
    write(tmp_path, "charades_sta_train.txt", "X 0 1##never read.\n")
    write(tmp_path, "videos/AO8RW.mp4", "")
    loaded = charades_sta.load(tmp_path)
    assert loaded.source == "charades_sta_test.txt"
    assert loaded.left_out == {"sentences without an interval": 1}
    assert loaded.items == (
        Grounding(video="Charades_v1_480/3MSZA.mp4", sentence="person turn a light on.", span=Span(24.3, 30.4)),
        Grounding(video="videos/AO8RW.mp4", sentence="a person ## sits.", span=Span(0.0, 6.9)),
    )


def test_charades_training_lines_where_there_are_no_others(tmp_path: Path) -> None:
    write(tmp_path, "charades_sta_train.txt", "AO8RW 0.0 6.9##a person sits.\n")
    assert charades_sta.load(tmp_path).source == "charades_sta_train.txt"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("AO8RW 0.0 6.9 a person sits.", "charades_sta_test.txt, line 2: expected VIDEO start end##sentence"),
        ("../AO8RW 0.0 6.9##a person sits.", "line 2: expected VIDEO"),
        ("AO8RW 0.0 later##a person sits.", "line 2: start and end are seconds, not '0.0' and 'later'"),
    ],
)
def test_charades_mistakes(line: str, said: str, tmp_path: Path) -> None:
    write(tmp_path, "charades_sta_test.txt", f"AO8RW 0.0 6.9##a person sits.\n{line}\n")
    assert said in refused(charades_sta.load, tmp_path)


def test_charades_without_sentences(tmp_path: Path) -> None:
    assert "no sentences: expected charades_sta_test.txt" in refused(charades_sta.load, tmp_path)


# ---- which questions are asked


@pytest.fixture
def charades(tmp_path: Path) -> Path:
    """Ten sentences about five videos, of which the last is not there."""
    lines = [f"V{number // 2} 0 {number + 1}##sentence {number}." for number in range(10)]
    write(tmp_path, "charades_sta_test.txt", "\n".join(lines))
    for number in range(4):
        write(tmp_path, f"videos/V{number}.mp4", "")
    return tmp_path


def test_missing_videos_are_named_before_anything_is_opened(charades: Path) -> None:
    with pytest.raises(DatasetError) as raised:
        choose("charades-sta", charades, limit=1)
    assert raised.value.detail.startswith("Charades_v1_480/V4.mp4 does not exist; 1 of 5 videos are missing")
    (charades / "Charades_v1_480/V4.mp4").mkdir(parents=True)
    with pytest.raises(DatasetError, match="is a folder of pictures"):
        choose("charades-sta", charades)


def test_missing_videos_may_be_left_out_and_are_counted(charades: Path) -> None:
    chosen = choose("charades-sta", charades, skip_missing=True)
    assert chosen.missing == {"Charades_v1_480/V4.mp4": 2}
    assert len(chosen.items) == 8


def test_a_limit_takes_questions_from_everywhere(charades: Path) -> None:
    chosen = choose("charades-sta", charades, limit=4, skip_missing=True)
    assert [item.video for item in chosen.items] == [f"videos/V{number}.mp4" for number in range(4)]
    assert len(choose("charades-sta", charades, limit=99, skip_missing=True).items) == 8


def test_what_cannot_be_chosen_from(charades: Path, tmp_path: Path) -> None:
    for name, folder, said in [
        ("imagenet", charades, "no benchmark is called 'imagenet'; known are video-mme, mvbench, "),
        ("mvbench", charades / "gone", "'gone' does not exist"),
        ("mvbench", charades / "charades_sta_test.txt", "'charades_sta_test.txt' is not a folder"),
    ]:
        with pytest.raises(DatasetError) as raised:
            choose(name, folder)
        assert raised.value.detail.startswith(said)
    for number in range(4):
        (tmp_path / f"videos/V{number}.mp4").unlink()
    with pytest.raises(DatasetError, match="no question is left to ask"):
        choose("charades-sta", charades, skip_missing=True)
