"""Labels and public benchmarks against the embedded model, through real files and the product's own pipeline.

How good the model is matters little here: that what is counted is what the pipeline said does.
"""

import json
import math
import re
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clips import H264, numbered, read_number

import vidlm
from vidlm import cli
from vidlm.answer import answer_question
from vidlm.config import EMBEDDED_MODEL, Settings
from vidlm.domain import Span
from vidlm.errors import MediaError
from vidlm.evaluation.asking import Asker, ask_all, read_frames_at, show, spread
from vidlm.evaluation.benchmark import choose, evaluate_benchmark
from vidlm.evaluation.items import Choice, Grounding, Item, YesNo
from vidlm.evaluation.labelled import Wanted, evaluate_labels
from vidlm.evaluation.labels import read_labels
from vidlm.model.engine import Engine
from vidlm.moderation.policies import load_policies
from vidlm.preparation import Prepared, prepare
from vidlm.prompts import moment_question
from vidlm.seeing import Eyes
from vidlm.toyworld.encode import encode_clip
from vidlm.toyworld.scene import Actor, Clip, Scene

SETTINGS = Settings(model=str(EMBEDDED_MODEL), device="cpu", second_look_s=0)
SKY = ((150.0, 178.0, 205.0), (128.0, 150.0, 140.0))
SAND = ((190.0, 180.0, 160.0), (170.0, 158.0, 136.0))
FIGHT, STAR = "violence.fight", "a yellow star"


def still(kind: str, colour: str | None, start_s: float, end_s: float) -> Actor:
    return Actor(kind, colour, 0.55, start_s, end_s, ((start_s, 0.5, 0.5),))


def write_video(path: Path, *actors: Actor) -> None:
    """Scenes of four seconds, one actor each, on backgrounds whose change is a cut."""
    looks = [(SKY, SAND)[number % 2] for number in range(len(actors))]
    scenes = tuple(
        Scene(actor.start_s, actor.end_s, look, (actor,), 0.1, number)
        for number, (actor, look) in enumerate(zip(actors, looks, strict=True))
    )
    clip = Clip(actors[-1].end_s, scenes, 1.0, 7, (1.0, 1.0), 0.0)
    encode_clip(clip, path, height=168, width=224, fps=8, audio=False)


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with Engine.load(str(EMBEDDED_MODEL), device="cpu") as engine:
        yield engine


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder: a fight behind a star, a tree behind a star, and a file that is no video."""
    folder = tmp_path_factory.mktemp("labelled")
    write_video(folder / "brawl.mp4", still("star", "yellow", 0, 4), still("fight", None, 4, 8))
    write_video(folder / "park.mp4", still("star", "yellow", 0, 4), still("tree", None, 4, 8))
    (folder / "notes.mp4").write_text("not a video\n" * 50)
    return folder


@pytest.fixture
def vidlm_says(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """`vidlm ...` in this process: (exit status, standard output, standard error)."""

    def run(*arguments: object) -> tuple[int, str, str]:
        with monkeypatch.context() as patch:
            patch.setattr(sys, "argv", ["vidlm", *map(str, arguments)])
            patch.setenv("COLUMNS", "200")
            with pytest.raises(SystemExit) as ended:
                cli.main()
        shown = capsys.readouterr()
        return int(ended.value.code or 0), shown.out, shown.err

    return run


# ---- labels


@pytest.fixture(scope="module")
def labelled(videos: Path, engine: Engine) -> dict[str, Any]:
    (videos / "labels.csv").write_text(
        f"path,policy,start,end\nbrawl.mp4,{FIGHT},4,8\nbrawl.mp4,{STAR},0,4\npark.mp4,{STAR},0,4\nnotes.mp4,,,\n"
    )
    labels = read_labels(videos / "labels.csv", load_policies())
    return evaluate_labels(labels, SETTINGS, Wanted(0.9, 0.95), model=engine)


def test_scores_are_the_pipelines_own_and_held_against_the_labels(
    labelled: dict[str, Any], videos: Path, engine: Engine
) -> None:
    """Counted again by hand from what `analyze` says of the same files under the same policies."""
    labels = read_labels(videos / "labels.csv", load_policies())
    scores: dict[str, list[tuple[float, bool]]] = {policy.id: [] for policy in labels.policies.policies}
    for video in labels.videos[:2]:
        analysis = vidlm.analyze(video.file, model=engine, policies=labels.policies, settings=SETTINGS)
        for segment in analysis.segments:
            for policy_id, score in segment.scores.items():
                there = policy_id != FIGHT and segment.end_s <= 4.5
                there |= policy_id == FIGHT and segment.start_s >= 3.5 and video.name == "brawl.mp4"
                scores[policy_id].append((score, there))
    for policy in labelled["policies"]:
        found, rows = scores[policy["policy"]], {row["name"]: row["value"] for row in policy["rows"]}
        assert (policy["n"], policy["positives"]) == (len(found), sum(there for _, there in found))
        flagged = [there for score, there in found if score >= policy["review"]]
        assert rows["precision"] == (pytest.approx(sum(flagged) / len(flagged), abs=1e-4) if flagged else None)
        assert rows["recall"] == pytest.approx(sum(flagged) / policy["positives"], abs=1e-4)
        assert sum(part["count"] for part in policy["bins"]) == policy["n"]
        mean = sum(part["count"] * part["mean_score"] for part in policy["bins"] if part["count"]) / policy["n"]
        assert mean == pytest.approx(np.mean([score for score, _ in found]), abs=1e-3)
    assert labelled["n"] == sum(len(found) for found in scores.values())
    assert labelled["positives"] == sum(there for found in scores.values() for _, there in found) == 6


def test_the_embedded_model_knows_a_fight_from_a_tree(labelled: dict[str, Any]) -> None:
    fight = next(policy for policy in labelled["policies"] if policy["policy"] == FIGHT)
    rows = {row["name"]: row["value"] for row in fight["rows"]}
    assert (fight["positives"], rows["auroc"], rows["average_precision"]) == (2, 1.0, 1.0)


def test_thresholds_keep_what_they_say(labelled: dict[str, Any]) -> None:
    for part in [labelled, *labelled["policies"]]:
        by_precision, by_recall = part["thresholds"]
        assert by_recall["recall"] >= 0.95
        assert by_precision["threshold"] is None or by_precision["precision"] >= 0.9
        assert 0 <= by_recall["threshold"] <= 1


def test_a_file_that_is_no_video_is_skipped_and_said_to_be(labelled: dict[str, Any]) -> None:
    assert labelled["videos"] == 2
    assert [(video["path"], video["line"], video["code"]) for video in labelled["skipped"]] == [
        ("notes.mp4", 5, "not_a_video")
    ]


def test_labels_behind_the_end_are_not_measured_on(videos: Path, engine: Engine) -> None:
    (videos / "late.csv").write_text(f"path,policy,start,end\npark.mp4,{FIGHT},60,70\n")
    table = evaluate_labels(read_labels(videos / "late.csv", load_policies()), SETTINGS, Wanted(), model=engine)
    assert [(video["line"], video["code"]) for video in table["skipped"]] == [(2, "label_outside")]
    assert (table["videos"], table["n"]) == (0, 0)
    assert all(row["value"] is None for row in table["rows"])


def test_labels_on_the_command_line(
    vidlm_says: Callable[..., tuple[int, str, str]], labelled: dict[str, Any], videos: Path, tmp_path: Path
) -> None:
    diagram, each = tmp_path / "diagram.svg", tmp_path / "each.jsonl"
    asked = ("--labels", videos / "labels.csv", "--diagram", diagram, "--each", each)
    status, shown, err = vidlm_says("eval", *asked, "--json")
    assert (status, err) == (0, "")
    document = json.loads(shown)
    assert {key: document[key] for key in ("videos", "n", "positives", "skipped")} == {
        key: labelled[key] for key in ("videos", "n", "positives", "skipped")
    }
    panels = ET.parse(diagram).getroot().findall("{http://www.w3.org/2000/svg}g")
    dots = [len(panel.findall("{http://www.w3.org/2000/svg}circle")) for panel in panels]
    parts = [document, *document["policies"]]
    assert dots == [sum(part["count"] > 0 for part in one["bins"]) for one in parts]
    lines = [json.loads(line) for line in each.read_text().splitlines()]
    for policy in document["policies"]:
        of_policy = [line for line in lines if line["asked"] == policy["policy"]]
        assert (len(of_policy), sum(line["truth"] for line in of_policy)) == (policy["n"], policy["positives"])
        assert all(line["right"] == ((line["said"] >= policy["review"]) == line["truth"]) for line in of_policy)
        assert {(line["video"], line["start_s"]) for line in of_policy} >= {("park.mp4", 0.0), ("brawl.mp4", 4.0)}
    (videos / "short.csv").write_text(f"path,policy\nbrawl.mp4,{FIGHT}\nnotes.mp4\n")
    status, shown, err = vidlm_says("eval", "--labels", videos / "short.csv")
    assert status == 0
    assert all(words in shown for words in ("violence.fight", "average_precision", "Skipped notes.mp4", "toy model"))


def test_bad_labels_and_options_are_one_line(
    vidlm_says: Callable[..., tuple[int, str, str]], videos: Path, tmp_path: Path
) -> None:
    (videos / "bad.csv").write_text("path,policy,start,end\npark.mp4,violence.fight,9,3\n")
    (videos / "good.csv").write_text("path,policy\npark.mp4,violence.fight\n")
    calls = {
        "invalid_dataset: bad.csv, line 2: [9, 3) is no interval": ["--labels", videos / "bad.csv"],
        "invalid_dataset: no benchmark is called 'mmlu'": ["--benchmark", "mmlu", "--folder", tmp_path],
        "invalid_settings: --benchmark lies in a folder": ["--benchmark", "mvbench"],
        "invalid_settings: eval takes --labels": ["--folder", tmp_path],
        "invalid_settings: --limit and --skip-missing are for --benchmark": ["--limit", "3"],
        "storage_failed: ": ["--labels", videos / "good.csv", "--diagram", tmp_path / "nowhere" / "d.svg"],
        "storage_failed: each.jsonl": ["--labels", videos / "good.csv", "--each", tmp_path / "nowhere" / "each.jsonl"],
        "invalid_settings: --precision and --recall": ["--labels", videos / "labels.csv", "--recall", "95"],
    }
    for said, arguments in calls.items():
        status, shown, err = vidlm_says("eval", *arguments)
        assert (status, shown, len(err.splitlines())) == (1 if said.startswith("storage") else 2, "", 1)
        assert err.startswith(said)


# ---- what is shown of a video


@pytest.fixture(scope="module")
def counted(tmp_path_factory: pytest.TempPathFactory, engine: Engine) -> Prepared:
    """Twenty seconds at ten frames a second, every frame with its number on it, as the pipeline prepares it."""
    folder = tmp_path_factory.mktemp("counted")
    path = numbered(folder / "twenty.mp4", *H264, frames=200, fps=10).path
    return prepare(path, folder / "work", filename=path.name, geometry=engine.info.geometry, settings=SETTINGS)


def test_frames_are_the_ones_that_were_on_screen(counted: Prepared) -> None:
    chosen = spread(counted.frame_times_s, Span(5, 15), 6)
    frames = read_frames_at(counted, chosen)
    assert frames.times_s.tolist() == [counted.frame_times_s[index] for index in chosen]
    assert all(5 <= time_s < 15 for time_s in frames.times_s)
    numbers = [read_number(picture) for picture in frames.pixels]
    assert numbers == pytest.approx([10 * time_s for time_s in frames.times_s], abs=1)


@pytest.mark.parametrize(("pairs", "shown"), [(4, 4), (99, 20)])
def test_a_prompt_shows_so_many_pairs_of_the_span(counted: Prepared, engine: Engine, pairs: int, shown: int) -> None:
    def times_s(span: Span | None) -> list[float]:
        words = "".join(part for part in show(counted, span, pairs, engine).parts if isinstance(part, str))
        return [float(time) for time in re.findall(r"<([\d.]+)s>", words)]

    assert len(times_s(None)) == shown  # two frames a second make twenty pairs of twenty seconds
    assert np.ptp(np.diff(times_s(None))) <= 0.5 + 1e-9
    inside = times_s(Span(5, 15))
    assert len(inside) == min(pairs, 10)
    assert all(5 <= time_s < 15 for time_s in inside)


# ---- questions


ITEMS: tuple[Item, ...] = (
    YesNo(video="park.mp4", question="Does this part show a yellow star?", answer=True, pair="p"),
    YesNo(video="park.mp4", question="Does this part show a fight?", answer=False, pair="p"),
    Choice(
        video="park.mp4", question="What is shown?", options=("a car", "a tree", "a dog"), answer=1, span=Span(4, 8)
    ),
    Grounding(video="park.mp4", sentence="a yellow star.", span=Span(0, 4)),
    Grounding(video="brawl.mp4", sentence="the fight", span=Span(4, 8)),
)


def test_every_item_gets_its_reply(videos: Path, engine: Engine) -> None:
    done: list[int] = []
    asker = Asker(engine, SETTINGS, 8)
    asked = ask_all(asker, ITEMS, videos, skip_unreadable=False, on_progress=done.append)
    assert [reply.item for reply in asked.replies] == list(ITEMS)
    assert done == [4, 5]
    assert [len(reply.chosen) for reply in asked.replies] == [1, 1, 3, 0, 0]
    assert [reply.chosen for reply in asked.replies[:2]] == [(1,), (0,)]
    for reply in asked.replies:
        assert all(number is None or 0 <= number < 3 for number in reply.chosen)


def test_sentences_go_the_way_of_users_questions(videos: Path, engine: Engine, tmp_path: Path) -> None:
    (reply,) = ask_all(Asker(engine, SETTINGS, 8), ITEMS[4:], videos, skip_unreadable=False).replies
    prepared = Asker(engine, SETTINGS, 8).prepare(videos / "brawl.mp4", tmp_path, "brawl.mp4")
    said = answer_question(prepared, moment_question("the fight"), Eyes(engine), SETTINGS)
    best = max(said.evidence, key=lambda part: part.score)
    assert reply.found == Span(best.start_s, best.end_s)
    assert reply.found.start_s >= 3.5  # the star before it is no fight


def test_unreadable_videos_stop_it_or_are_counted(videos: Path, engine: Engine) -> None:
    items = [YesNo(video="notes.mp4", question="Is it red?", answer=True)]
    with pytest.raises(MediaError, match=r"notes\.mp4: ") as raised:
        ask_all(Asker(engine, SETTINGS, 8), items, videos, skip_unreadable=False)
    assert raised.value.code == "not_a_video"
    asked = ask_all(Asker(engine, SETTINGS, 8), items, videos, skip_unreadable=True)
    assert (asked.replies, list(asked.unreadable)) == ([], ["notes.mp4"])


# ---- whole benchmarks


def benchmark_folder(folder: Path, videos: Path, places: dict[str, str], files: dict[str, Any]) -> Path:
    """A benchmark's layout: its annotations, and links to videos under the names it gives them."""
    for place, video in places.items():
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        (folder / place).symlink_to(videos / video)
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content if isinstance(content, str) else json.dumps(content))
    return folder


def test_video_mme_from_its_files_to_its_figures(videos: Path, engine: Engine, tmp_path: Path) -> None:
    row = {"videoID": "x1", "duration": "short", "domain": "Art", "task_type": "Counting", "question": "What is it?"}
    rows = [
        row | {"options": ["A. a car", "B. a tree"], "answer": "B"},
        row | {"options": ["A. y", "B. z"], "answer": "A"},
    ]
    lost = row | {"videoID": "x2", "options": ["A. y", "B. z"], "answer": "A"}
    broken = row | {"videoID": "x3", "options": ["A. y", "B. z"], "answer": "A"}
    files = {"videomme/test.jsonl": "\n".join(json.dumps(one) for one in [*rows, lost, broken])}
    folder = benchmark_folder(tmp_path, videos, {"data/x1.mp4": "park.mp4", "data/x3.mp4": "notes.mp4"}, files)
    table = evaluate_benchmark(
        choose("video-mme", folder, skip_missing=True), SETTINGS, pairs=4, skip_missing=True, model=engine
    )
    assert table["left_out"] == {
        "missing videos": 1,
        "questions about them": 1,
        "unreadable videos": 1,
        "questions about unreadable ones": 1,
    }
    assert (table["questions"], table["videos"], table["missing"]) == (2, 1, ["data/x2.mp4"])
    found = {row["name"]: row for row in table["rows"]}
    assert found["choice_accuracy"]["n"] == 2
    assert found["choice_circular"]["value"] <= found["choice_accuracy"]["value"]
    assert found["unreadable"]["n"] == 4  # two questions in two rotations
    assert "choice_accuracy (task_type: Counting)" in found


def test_tempcompass_and_charades_on_the_command_line(
    vidlm_says: Callable[..., tuple[int, str, str]], videos: Path, tmp_path: Path
) -> None:
    questions = [
        {"question": "Does this part show a yellow star?", "answer": "yes"},
        {"question": "Does this part show a fight?", "answer": "no"},
    ]
    files = {"questions/yes_no.json": {"7": {"attribute_change": questions}}}
    folder = benchmark_folder(tmp_path / "tc", videos, {"videos/7.mp4": "park.mp4"}, files)
    each = tmp_path / "each.jsonl"
    asked = ("--benchmark", "tempcompass", "--folder", folder, "--pairs", 8, "--each", each)
    status, shown, err = vidlm_says("eval", *asked, "--json")
    assert (status, err) == (0, "")
    lines = [json.loads(line) for line in each.read_text().splitlines()]
    assert [(line["asked"], line["truth"], line["right"]) for line in lines] == [
        (one["question"], one["answer"] == "yes", True) for one in questions
    ]
    assert [line["said"][:2].lower() for line in lines] == ["ye", "no"]
    rows = {row["name"]: row["value"] for row in json.loads(shown)["rows"]}
    assert (rows["yes_no_accuracy"], rows["mme_score"], rows["unreadable"]) == (1.0, 200.0, 0.0)
    assert rows["yes_no_accuracy (dimension: attribute_change)"] == 1.0

    sentences = {"charades_sta_test.txt": "AB 4.0 8.0##the fight.\nAB 0.0 4.0##a green car.\n"}
    folder = benchmark_folder(tmp_path / "sta", videos, {"videos/AB.mp4": "brawl.mp4"}, sentences)
    status, shown, err = vidlm_says("eval", "--benchmark", "charades-sta", "--folder", folder, "--each", each)
    assert (status, err) == (0, "")
    assert all(words in shown for words in ("charades-sta: questions 2, videos 1", "r1_iou50", "toy model"))
    lines = [json.loads(line) for line in each.read_text().splitlines()]
    assert [line["truth"] for line in lines] == [[4.0, 8.0], [0.0, 4.0]]
    assert all(line["right"] == (line["said"] == line["truth"]) for line in lines)  # its cuts are where the truth's are


def test_mvbench_from_its_files_to_its_figures(videos: Path, engine: Engine, tmp_path: Path) -> None:
    row = {
        "video": "v.mp4",
        "question": "What is shown?",
        "candidates": ["a car", "a tree", "a dog"],
        "answer": "a tree",
    }
    files = {"json/action_sequence.json": [row | {"start": 4.0, "end": 8.0}], "json/action_count.json": [row]}
    places = {"video/star/Charades_v1_480/v.mp4": "park.mp4", "video/perception/videos/v.mp4": "park.mp4"}
    folder = benchmark_folder(tmp_path, videos, places, files)
    table = evaluate_benchmark(choose("mvbench", folder, limit=1), SETTINGS, model=engine)
    assert (table["questions"], table["left_out"], table["pairs"]) == (1, {}, 16)
    table = evaluate_benchmark(choose("mvbench", folder), SETTINGS, model=engine)
    found = {row["name"]: row["n"] for row in table["rows"]}
    assert found["choice_circular (task: action_sequence)"] == found["choice_circular (task: action_count)"] == 1
    assert found["unreadable"] == 6
    assert not math.isnan(table["rows"][0]["value"])
