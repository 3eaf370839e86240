"""Other thresholds over stored scores: the same flags and verdicts as one video at a time, and what would change."""

import dataclasses
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vidlm.domain import Coverage, Policy, Segment, Severity
from vidlm.moderation.flags import decide, flags_from_scores
from vidlm.moderation.policies import NEVER, PolicySet
from vidlm.moderation.whatif import ACTIONS, Decisions, Library, change, outcome, overturned

LEVELS = (0.0, 0.2, 0.4, 0.5, 0.7, 0.95, 1.0)
FIGHT = Policy("violence.fight", "Fight", "violence", "a fight", "", Severity.MEDIUM, 0.5, 0.95, 0.4)
KNIFE = Policy("weapons.shown", "Weapon", "weapons", "a knife", "", Severity.LOW, 0.7, NEVER, 0.5, 3.0)
POLICIES = (FIGHT, KNIFE)


@dataclasses.dataclass(frozen=True)
class Film:
    segments: tuple[Segment, ...]
    coverage: Coverage


@st.composite
def films(draw: st.DrawFn) -> Film:
    """A few seconds of segments that may have holes, missing scores and parts that nobody saw."""
    at_s, segments = 0.0, []
    for index in range(draw(st.integers(0, 8))):
        at_s += draw(st.sampled_from([0.0, 0.0, 0.0, 0.5]))
        end_s = at_s + draw(st.sampled_from([1.0, 2.0]))
        scores = {policy.id: draw(st.sampled_from([*LEVELS, None])) for policy in POLICIES}
        known = {name: score for name, score in scores.items() if score is not None}
        segments.append(Segment(index, at_s, end_s, (at_s,), "", known))
        at_s = end_s
    unseen_s = draw(st.sampled_from([0.0, 0.0, 1.0]))
    return Film(tuple(segments), Coverage(at_s, at_s + unseen_s))


def is_whole(film: Film) -> bool:
    ends = [0.0, *(segment.end_s for segment in film.segments)]
    starts = [*(segment.start_s for segment in film.segments), film.coverage.seconds_total]
    return ends == starts


def library_of(films: list[Film]) -> Library:
    rows = [(number, segment) for number, film in enumerate(films) for segment in film.segments]
    return Library(
        videos=np.array([number for number, _ in rows], np.int64),
        start_s=np.array([segment.start_s for _, segment in rows]),
        end_s=np.array([segment.end_s for _, segment in rows]),
        scores=np.array(
            [[segment.scores.get(policy.id, np.nan) for policy in POLICIES] for _, segment in rows], float
        ).reshape(len(rows), len(POLICIES)),
        cleared=np.array([is_whole(film) for film in films], bool),
    )


def policies_at(levels: list[float]) -> tuple[Policy, ...]:
    """The two policies with other thresholds: (keep, review, block) from three levels each."""
    low, middle, high = sorted(levels[:3])
    other = sorted(levels[3:])
    fight = dataclasses.replace(FIGHT, keep_threshold=low, review_threshold=middle, block_threshold=high)
    knife = dataclasses.replace(KNIFE, keep_threshold=other[0], review_threshold=other[1], block_threshold=other[2])
    return fight, knife


THRESHOLDS = st.lists(st.sampled_from(LEVELS[1:]), min_size=6, max_size=6)


@given(st.lists(films(), min_size=1, max_size=5), THRESHOLDS)
@settings(max_examples=300)
def test_it_decides_as_the_rules_for_one_video_do(films: list[Film], levels: list[float]) -> None:
    policies = policies_at(levels)
    found = outcome(library_of(films), policies)
    told = sorted(zip(*(column.tolist() for column in dataclasses.astuple(found.flags)), strict=True))
    expected, actions = [], []
    for number, film in enumerate(films):
        known = PolicySet("test", policies)
        flags = flags_from_scores(film.segments, known)
        for flag in flags:
            column = [policy.id for policy in policies].index(flag.policy_id)
            blocks = flag.action is ACTIONS[2]
            expected.append((number, column, flag.start_s, flag.end_s, flag.score, blocks))
        actions.append(decide(flags, film.coverage, film.segments, known).action)
    assert told == sorted(expected)
    assert [ACTIONS[place] for place in found.actions.tolist()] == actions


@given(st.lists(films(), min_size=1, max_size=4), THRESHOLDS, st.data())
def test_a_decision_is_overturned_where_no_flag_is_left(
    films: list[Film], levels: list[float], data: st.DataObject
) -> None:
    after = outcome(library_of(films), policies_at(levels))
    places = st.tuples(
        st.integers(0, len(films) - 1), st.integers(0, 1), st.sampled_from([0.0, 1.0, 2.5, 4.0]), st.booleans()
    )
    rows = data.draw(st.lists(places, max_size=8))
    decisions = Decisions(
        videos=np.array([row[0] for row in rows], np.int64),
        policies=np.array([row[1] for row in rows], np.int64),
        start_s=np.array([row[2] for row in rows], float),
        end_s=np.array([row[2] + 1.5 for row in rows], float),
        confirmed=np.array([row[3] for row in rows], bool),
    )
    told = overturned(decisions, after)
    flags = list(zip(*(column.tolist() for column in dataclasses.astuple(after.flags)), strict=True))
    for row, missed, spared in zip(rows, told.missed.tolist(), told.spared.tolist(), strict=True):
        video, policy, start_s, confirmed = row
        left = any(f[:2] == (video, policy) and f[2] < start_s + 1.5 and f[3] > start_s for f in flags)
        assert (missed, spared) == (not left and confirmed, not left and not confirmed)


def test_a_higher_threshold_empties_the_queue() -> None:
    def film(score: float) -> Film:
        return Film((Segment(0, 0.0, 2.0, (0.0,), "", {FIGHT.id: score, KNIFE.id: 0.0}),), Coverage(2.0, 2.0))

    library = library_of([film(score) for score in (0.1, 0.5, 0.6, 0.97)])
    before = outcome(library, POLICIES)
    stricter = (dataclasses.replace(FIGHT, review_threshold=0.6, keep_threshold=0.6), KNIFE)
    told = change(before, outcome(library, stricter), len(POLICIES))
    assert (told.queue_before, told.queue_after) == (3, 2)
    assert (told.flags_before, told.flags_after) == ((3, 0), (2, 0))
    assert told.moved == ((1, 0, 0), (1, 1, 0), (0, 0, 1))


def test_nothing_seen_and_nothing_asked_are_never_allowed() -> None:
    assert outcome(library_of([Film((), Coverage(0.0, 0.0))]), POLICIES).actions.tolist() == [1]
    seen = Library(np.zeros(1, np.int64), np.zeros(1), np.ones(1), np.zeros((1, 0)), np.ones(1, bool))
    assert outcome(seen, ()).actions.tolist() == [1]


@pytest.mark.parametrize(
    ("videos", "columns"), [([0, 1, 0], 2), ([0, 0, 2], 2), ([-1, 0, 0], 2), ([0, 0], 2), ([0, 0, 1], 3)]
)
def test_arrays_that_do_not_fit_are_refused(videos: list[int], columns: int) -> None:
    with pytest.raises(ValueError, match="must be"):
        outcome(
            Library(
                np.array(videos, np.int64), np.arange(3.0), np.arange(3.0) + 1, np.zeros((3, columns)), np.ones(2, bool)
            ),
            POLICIES,
        )


def test_a_hundred_thousand_segments_take_seconds() -> None:
    generator = np.random.default_rng(4)
    count, kinds = 100_000, 37
    videos = np.sort(generator.integers(0, 5000, count))
    start_s = np.arange(count) * 2.0
    library = Library(videos, start_s, start_s + 2, generator.random((count, kinds)) ** 4, np.ones(5000, bool))
    policies = [dataclasses.replace(FIGHT, id=f"a.b{number}") for number in range(kinds)]
    began_s = time.perf_counter()
    found = outcome(library, policies)
    decisions = Decisions(*(column[:20_000] for column in dataclasses.astuple(found.flags)[:4]), np.ones(20_000, bool))
    assert not overturned(decisions, found).missed.any()
    assert time.perf_counter() - began_s < 5  # a quarter of a second on an idle core
