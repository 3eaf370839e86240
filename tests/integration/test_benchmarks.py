"""The benchmark says what it does: all ways agree, ratios are of what they name, pages show what was measured."""

import json

import pytest
import torch

from benchmarks import curves, jobs, measure, report
from benchmarks.setting import draw_segment, load_checkpoint, make_setting
from vidlm.model.engine import Engine
from vidlm.model.video_model import VideoModel


@pytest.fixture(scope="module")
def setting():
    """The embedded model at its own frame size: two short segments, few questions."""
    made = make_setting(load_checkpoint("tiny", "cpu", "float32"), "tiny", "B", 0, policies=3)
    made.segments.extend(draw_segment(index, 84, 112, seconds=3.0) for index in range(2))
    return made


@pytest.fixture(scope="module")
def engine(setting):
    with Engine(VideoModel(setting.checkpoint)) as engine:
        yield engine


def test_all_ways_say_the_same_and_only_then_is_anything_timed(engine, setting):
    found = jobs.gate(engine, setting)
    assert found["passed"]
    assert found["texts_equal"]
    assert found["scores_apart"] < 1e-5
    with torch.inference_mode():
        mine = jobs.ours(engine, setting, setting.questions)
        careful = jobs.strong(jobs.Strong(setting.checkpoint), setting)
    assert mine.captions == careful.captions
    assert mine.summary == careful.summary
    for ours, theirs in zip(mine.scores, careful.scores, strict=True):
        assert ours == pytest.approx(theirs, abs=1e-5)


def test_a_wrong_answer_does_not_pass_the_gate(engine, setting, monkeypatch):
    real = jobs.ours

    def wrong(*arguments):
        result = real(*arguments)
        result.scores[0][0] += 0.001
        return result

    monkeypatch.setattr(jobs, "ours", wrong)
    assert not jobs.gate(engine, setting)["passed"]


def test_ratios_are_taken_round_by_round():
    found = measure.ratio("x", 2.0, [4.0, 9.0, 8.0], [2.0, 3.0, 1.0], more=1)
    assert (found["ratio"], found["low"], found["high"], found["more"]) == (3.0, 2.0, 8.0, 1)
    order = []
    taken = measure.interleaved({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, 2)
    assert order == ["a", "b", "a", "b", "b", "a"]
    assert all(len(seconds) == 2 for seconds in taken.values())


def test_questions_of_the_curves_are_different():
    asked = curves.questions(64)
    assert len(set(asked)) == 64
    assert curves.questions(3) == asked[:3]


def test_what_was_not_measured_says_so():
    result = {
        "geometry": "2b", "rounds": 3, "dtype": "bfloat16", "versions": {"torch": "2", "transformers": "5"},
        "hardware": {"gpu": "a GPU", "cpu": "x", "cores": 1},
        "metrics": {"1": {"ratio": 15.0, "low": 14.0, "high": 16.0}, "4": measure.not_measured("x", 20, "needs av")},
    }  # fmt: skip
    lines = report.table([result]).splitlines()
    assert lines[2].endswith("| not measured | **15.00** (14.00 to 16.00) | not measured |")
    assert lines[5].endswith("| not measured | not measured | not measured |")
    assert "a GPU" in lines[-1]


@pytest.mark.parametrize("page", report.PAGES)
def test_pages_show_the_committed_results(page):
    results = [json.loads(file.read_text()) for file in sorted(report.RESULTS.glob("*.json"))]
    assert results
    text = (report.ROOT / page).read_text()
    assert report.between_markers(text, report.table(results)) == text
    for result in results:
        assert result["gate"]["passed"]
