"""Scores -> flags -> verdict: runs merge, the peak decides, and nothing unseen is ever allowed."""

import dataclasses
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidlm.domain import Action, Coverage, Flag, Gap, Policy, Segment, Severity
from vidlm.moderation.flags import EVIDENCE_FRAMES, decide, flags_from_scores
from vidlm.moderation.policies import NEVER, PolicySet

FIGHT = Policy("violence.fight", "Fight", "violence", "a fight", "dancing", Severity.MEDIUM, 0.5, 0.95, 0.4)
KNIFE = Policy("weapons.shown", "Weapon shown", "weapons", "a knife", "a tool", Severity.LOW, 0.6, NEVER, 0.6)
POLICIES = PolicySet("test", (FIGHT, KNIFE))


def segments_of(*scores: tuple[float, float]) -> tuple[Segment, ...]:
    """Segments of two seconds, each with the scores of (fight, knife) and four frames."""
    return tuple(
        Segment(i, 2.0 * i, 2.0 * i + 2, tuple(2 * i + 0.5 * n for n in range(4)), "", {FIGHT.id: a, KNIFE.id: b})
        for i, (a, b) in enumerate(scores)
    )


def seen(segments: tuple[Segment, ...]) -> Coverage:
    return Coverage(2.0 * len(segments), 2.0 * len(segments))


def verdict_of(segments: tuple[Segment, ...], coverage: Coverage | None = None) -> Action:
    return decide(flags_from_scores(segments, POLICIES), coverage or seen(segments), segments, POLICIES).action


def test_neighbours_merge_and_the_peak_speaks() -> None:
    segments = segments_of((0.1, 0), (0.7, 0), (0.9, 0), (0.2, 0), (0.6, 0))
    first, second = flags_from_scores(segments, POLICIES)
    assert (first.start_s, first.end_s, first.score, first.action) == (2.0, 6.0, 0.9, Action.REVIEW)
    assert [evidence.time_s for evidence in first.evidence] == [4.0, 4.5, 5.0, 5.5]
    assert (second.start_s, second.end_s, second.score) == (8.0, 10.0, 0.6)


def test_thresholds_are_inclusive() -> None:
    at = segments_of((0.5, 0), (0.95, 0))
    (flag,) = flags_from_scores(at, POLICIES)
    assert (flag.start_s, flag.end_s, flag.action) == (0.0, 4.0, Action.BLOCK)
    assert not flags_from_scores(segments_of((0.49999, 0.59999)), POLICIES)


def test_never_means_never() -> None:
    (flag,) = flags_from_scores(segments_of((0, 1.0)), POLICIES)
    assert flag.action is Action.REVIEW
    assert flag.severity is Severity.LOW


def test_the_strongest_action_wins_even_on_a_partial_video() -> None:
    segments = segments_of((0.99, 0.7), (0, 0))
    partial = Coverage(4, 8, (Gap(4, 8, "decode_failed"),))
    verdict = decide(flags_from_scores(segments, POLICIES), partial, segments, POLICIES)
    assert verdict.action is Action.BLOCK
    assert verdict.reason == "Flagged: Fight (0.99)."


def test_clean_and_whole_is_allowed() -> None:
    assert verdict_of(segments_of((0.1, 0.2), (0.3, 0.1))) is Action.ALLOW


@pytest.mark.parametrize("score", [math.nan, -0.1, 1.5, math.inf])
def test_an_impossible_score_is_never_allowed(score: float) -> None:
    assert verdict_of(segments_of((score, 0.0))) is not Action.ALLOW


def test_nothing_unseen_is_allowed() -> None:
    clean = segments_of((0, 0), (0, 0), (0, 0))
    whole = seen(clean)
    unscored = (*clean[:2], dataclasses.replace(clean[2], scores={FIGHT.id: 0.0}))
    frameless = (*clean[:2], dataclasses.replace(clean[2], frame_times_s=()))
    for segments, coverage in [
        ((), whole),
        ((), Coverage(0, 0)),
        (clean, Coverage(4, 6, (Gap(4, 6, "truncated"),))),
        (clean, Coverage(4, 6)),
        (clean, Coverage(6, 6, (Gap(4, 4.5, "decode_failed"),))),
        (clean[:2], whole),
        (clean[1:], whole),
        ((clean[0], clean[2]), whole),
        (unscored, whole),
        (frameless, whole),
    ]:
        verdict = decide((), coverage, segments, POLICIES)
        assert verdict.action is Action.REVIEW
        assert verdict.reason
    assert decide((), whole, clean, PolicySet("empty", ())).action is Action.REVIEW


SCORES = st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=20)


@given(SCORES)
def test_flags_are_the_runs_over_keep_that_reach_review(scores: list[tuple[float, float]]) -> None:
    segments = segments_of(*scores)
    flags = flags_from_scores(segments, POLICIES)
    for policy in POLICIES.policies:
        own = [flag for flag in flags if flag.policy_id == policy.id]
        for segment in segments:
            score = segment.scores[policy.id]
            covering = [flag for flag in own if flag.start_s <= segment.start_s and segment.end_s <= flag.end_s]
            assert len(covering) <= (score >= policy.keep_threshold)
            assert len(covering) >= (score >= policy.review_threshold)
            touching = [flag for flag in own if segment.end_s == flag.start_s or segment.start_s == flag.end_s]
            assert not (touching and score >= policy.keep_threshold)  # a flag takes in all that it may
        assert all(flag.score >= policy.review_threshold for flag in own)


def test_a_score_that_wavers_makes_one_flag() -> None:
    wavering = segments_of((0.45, 0), (0.6, 0), (0.42, 0), (0.55, 0), (0.39, 0), (0.45, 0))
    (flag,) = flags_from_scores(wavering, POLICIES)
    assert (flag.start_s, flag.end_s, flag.score) == (0.0, 8.0, 0.6)
    assert flag.mean_score == pytest.approx((0.45 + 0.6 + 0.42 + 0.55) / 4)


def test_the_mean_is_over_time() -> None:
    long, short = segments_of((0.9, 0), (0.5, 0))
    short = dataclasses.replace(short, end_s=short.start_s + 0.5)
    (flag,) = flags_from_scores((long, short), POLICIES)
    assert flag.mean_score == pytest.approx((0.9 * 2 + 0.5 * 0.5) / 2.5)


@pytest.mark.parametrize(
    ("peak", "seconds", "flagged"), [(0.6, 2.0, False), (0.6, 4.0, True), (0.94, 2.0, False), (0.95, 2.0, True)]
)
def test_what_is_too_short_is_no_flag_unless_it_would_block(peak: float, seconds: float, flagged: bool) -> None:
    patient = PolicySet("patient", (dataclasses.replace(FIGHT, min_duration_s=4.0),))
    segments = segments_of((0, 0), *[(peak, 0)] * int(seconds / 2), (0, 0))
    assert bool(flags_from_scores(segments, patient)) is flagged
    verdict = decide(flags_from_scores(segments, patient), seen(segments), segments, patient)
    assert verdict.action is (Action.ALLOW if not flagged else Action.BLOCK if peak >= 0.95 else Action.REVIEW)


@given(SCORES)
def test_a_flag_carries_its_peak_and_frames_from_inside(scores: list[tuple[float, float]]) -> None:
    segments = segments_of(*scores)
    for flag in flags_from_scores(segments, POLICIES):
        inside = [s for s in segments if flag.start_s <= s.start_s < flag.end_s]
        assert flag.score == max(s.scores[flag.policy_id] for s in inside)
        assert min(s.scores[flag.policy_id] for s in inside) <= flag.mean_score + 1e-12 <= flag.score + 2e-12
        assert 0 < len(flag.evidence) <= EVIDENCE_FRAMES
        assert all(flag.start_s <= evidence.time_s < flag.end_s for evidence in flag.evidence)


@given(SCORES, st.integers(0, 19), st.sampled_from([FIGHT.id, KNIFE.id]), st.floats(0, 1))
def test_a_higher_score_never_weakens_the_verdict(
    scores: list[tuple[float, float]], index: int, policy_id: str, score: float
) -> None:
    before = segments_of(*scores)
    target = before[index % len(before)]
    raised = dataclasses.replace(target, scores=target.scores | {policy_id: max(score, target.scores[policy_id])})
    after = tuple(raised if segment is target else segment for segment in before)
    assert verdict_of(after).strength >= verdict_of(before).strength


@given(SCORES)
def test_the_verdict_is_the_strongest_flag(scores: list[tuple[float, float]]) -> None:
    segments = segments_of(*scores)
    flags: tuple[Flag, ...] = flags_from_scores(segments, POLICIES)
    expected = max((flag.action.strength for flag in flags), default=0)
    assert verdict_of(segments).strength == expected
