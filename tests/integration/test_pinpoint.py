"""The frames a flag points at, with a real model whose weights are random: its scores differ from part to part."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from clips import H264, numbered

from vidlm import prompts
from vidlm.config import Settings
from vidlm.domain import Policy, Segment, Span
from vidlm.errors import LeaseLost, ModelError
from vidlm.evidence import cut_pairs
from vidlm.model.engine import Engine
from vidlm.moderation.flags import best_parts, flags_from_scores
from vidlm.moderation.policies import NEVER, PolicySet, custom_policy, policy_set
from vidlm.pinpoint import pinpoint
from vidlm.pipeline import analyze_windows
from vidlm.preparation import Prepared, prepare
from vidlm.second_look import LookedAgain, look_again
from vidlm.seeing import Eyes

SETTINGS = Settings(segment_max_s=4.0)


@pytest.fixture(scope="module")
def model(tiny_random_checkpoint: Path) -> Iterator[Engine]:
    with Engine.load(str(tiny_random_checkpoint), device="cpu") as engine:
        yield engine


def thing(number: int, block: float) -> Policy:
    made = custom_policy(f"thing {number}")
    return replace(made, review_threshold=0.05, keep_threshold=0.04, block_threshold=block, min_duration_s=0.0)


@pytest.fixture(scope="module")
def policies() -> PolicySet:
    """Whatever a model says, it is flagged and beyond doubt."""
    return policy_set([thing(number, 0.06) for number in range(3)])


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """8 seconds at 10 frames a second."""
    return numbered(tmp_path_factory.mktemp("clips") / "eight.mp4", *H264, frames=80, fps=10).path


@pytest.fixture(scope="module")
def prepared(clip: Path, model: Engine, tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    folder = tmp_path_factory.mktemp("prepared")
    return prepare(clip, folder, filename="eight.mp4", geometry=model.info.geometry, settings=SETTINGS)


@pytest.fixture(scope="module")
def segments(prepared: Prepared, model: Engine, policies: PolicySet) -> list[Segment]:
    return analyze_windows(prepared, prepared.windows, Eyes(model), policies)


def parts_of(eyes: Eyes, prepared: Prepared, index: int) -> list[tuple[Span, list[float]]]:
    """Each second of a window and its scores, asked about one by one."""
    window = prepared.windows[index]
    (visual,) = eyes.see(prepared, [window])
    cut = cut_pairs(visual.pair_times_s, Span(window.start_s, window.end_s), 1.0)
    return [(span, [eyes.judge([visual.slice(first, last)], [request])[0][0] for request in REQUESTS])
            for first, last, span in cut]  # fmt: skip


REQUESTS = [prompts.branch(prompts.policy_question(custom_policy(f"thing {number}"))) for number in range(3)]


def test_a_flag_points_at_the_part_that_scores_highest(
    prepared: Prepared, segments: list[Segment], model: Engine, policies: PolicySet
) -> None:
    eyes = Eyes(model)
    flags = flags_from_scores(segments, policies, (), pinpoint(prepared, segments, (), eyes, policies))
    assert len(flags) == 3
    for number, flag in enumerate(flags):
        peak = max(segments, key=lambda segment: segment.scores[flag.policy_id])
        best, _ = max(parts_of(eyes, prepared, peak.index), key=lambda part: part[1][number])
        assert flag.evidence
        assert all(best.start_s <= one.time_s < best.end_s for one in flag.evidence)


def test_what_a_second_look_found_is_not_asked_again(
    clip: Path, prepared: Prepared, segments: list[Segment], model: Engine
) -> None:
    doubtful = policy_set((thing(0, NEVER),))
    eyes = Eyes(model)
    again: LookedAgain = look_again(prepared, segments, clip, eyes, doubtful, settings=SETTINGS)
    assert again.looks
    before = model.metrics().steps["encode"].items
    found = pinpoint(prepared, again.segments, again.looks, eyes, doubtful)
    assert found == best_parts(again.looks)
    assert model.metrics().steps["encode"].items == before


def test_a_model_that_fails_costs_no_flag(
    prepared: Prepared,
    segments: list[Segment],
    model: Engine,
    policies: PolicySet,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object) -> None:
        raise ModelError("no memory")

    monkeypatch.setattr(Eyes, "judge", fail)
    parts = pinpoint(prepared, segments, (), Eyes(model), policies)
    assert parts == {}
    assert flags_from_scores(segments, policies, (), parts) == flags_from_scores(segments, policies)


def test_lost_work_ends_it(prepared: Prepared, segments: list[Segment], model: Engine, policies: PolicySet) -> None:
    def lost() -> None:
        raise LeaseLost("somebody else has it")

    with pytest.raises(LeaseLost):
        pinpoint(prepared, segments, (), Eyes(model), policies, go_on=lost)
