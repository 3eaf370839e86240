"""When two sequences of hashes are the same video and where, and what is never enough for that."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from likeness_hashes import again, changed, joined, random_hashes, still, stranger, video

from vidlm.domain import Span
from vidlm.likeness.alignment import best_stretch, moments_of
from vidlm.likeness.fingerprint import Fingerprint
from vidlm.likeness.voting import RULES, Rules, match

KNOWN = stranger(1, 40)  # 20 seconds, 2 frames a second


def test_a_changed_copy_matches_from_end_to_end() -> None:
    found = match(again(KNOWN, 40), KNOWN)
    assert found is not None
    assert (found.query, found.known) == (Span(0, 20), Span(0, 20))
    assert (found.query_share, found.known_share, found.frames, found.mirrored) == (1, 1, 40, False)
    assert found.mean_distance == 40
    assert abs(found.offset_s) < 0.01


def test_strangers_do_not_match() -> None:
    assert [match(stranger(seed), KNOWN) for seed in range(2, 100)] == [None] * 98


def test_a_trimmed_copy_says_where_it_was_cut_from() -> None:
    found = match(video(changed(KNOWN.hashes[12:26], 30)), KNOWN)
    assert found is not None
    assert (found.query, found.known) == (Span(0, 7), Span(6, 13))
    assert (found.query_share, found.known_share) == (1, pytest.approx(14 / 40))


def test_a_longer_video_says_where_it_holds_the_known_one() -> None:
    found = match(joined(random_hashes(2, 30), changed(KNOWN.hashes, 30), random_hashes(3, 50)), KNOWN)
    assert found is not None
    assert (found.query, found.known) == (Span(15, 35), Span(0, 20))
    assert (found.query_share, found.known_share) == (pytest.approx(40 / 120), 1)


def test_another_rate_and_phase_change_the_frames_that_meet_but_not_the_match() -> None:
    steps = changed(np.zeros((200, 32), np.uint8), 6)  # six bits turn every tenth of a second
    fine = np.bitwise_xor.accumulate(np.concatenate([random_hashes(4, 1), steps]))
    slow, quick = video(fine[::5]), video(changed(fine[2::10], 20), fps=1.0, start_s=0.2)
    found = match(quick, slow)
    assert found is not None
    assert found.query.duration_s >= 18
    assert abs(found.offset_s) <= 0.3


@settings(max_examples=60, deadline=None)
@given(first=st.integers(0, 50), length=st.integers(6, 40), before=st.integers(0, 20), bits=st.integers(0, 45))
def test_every_piece_is_found_at_its_place(first: int, length: int, before: int, bits: int) -> None:
    known = stranger(5, 90)
    query = joined(random_hashes(6, before), changed(known.hashes[first : first + length], bits))
    found = match(query, known)
    if before > length:  # then less than half of the query is known, and of the known one too
        return
    assert found is not None
    assert found.known == Span(first / 2, (first + length) / 2)
    assert found.query == Span(before / 2, (before + length) / 2)
    assert found.offset_s == pytest.approx((first - before) / 2, abs=0.3)


def test_the_further_apart_the_lower_the_score() -> None:
    scores = [found.score for bits in (0, 31, 40, 50, 60) if (found := match(again(KNOWN, bits), KNOWN)) is not None]
    assert len(scores) == 5
    assert scores == sorted(scores, reverse=True)
    assert scores[0] == scores[1] == 40
    assert match(again(KNOWN, 90), KNOWN) is None


def test_the_same_frames_in_another_order_are_another_video() -> None:
    turned = dataclasses.replace(KNOWN, hashes=KNOWN.hashes[::-1].copy())
    assert match(turned, KNOWN) is None


def test_a_still_scene_that_resembles_another_is_no_match() -> None:
    one, other = video(still(7, 40, 2)), video(changed(still(7, 40, 2), 20))
    assert match(other, one) is None


def test_one_still_scene_in_two_videos_is_no_match() -> None:
    """Colour bars for most of both: as many frames as one likes, and one vote."""
    bars = still(8, 60, 3)
    assert match(joined(bars, random_hashes(9, 20)), joined(bars, random_hashes(10, 20))) is None
    assert match(joined(random_hashes(9, 3), bars), joined(bars, random_hashes(10, 20))) is None


def test_two_copies_of_one_still_picture_match() -> None:
    one = video(still(7, 40, 2))
    found = match(video(still(7, 12, 2)), one)
    assert found is not None
    assert found.score <= 1
    assert found.query == Span(0, 6)


def test_a_shared_intro_is_no_match() -> None:
    intro = random_hashes(11, 10)  # five seconds, another picture in every frame
    one = joined(intro, random_hashes(12, 40))
    assert match(joined(changed(intro, 5), random_hashes(13, 40)), one) is None
    assert match(joined(random_hashes(13, 40), changed(intro, 5)), one) is None


def test_half_a_minute_in_common_is_a_match_however_long_the_videos_are() -> None:
    shared = random_hashes(14, 60)
    one = joined(random_hashes(15, 200), shared, random_hashes(16, 200))
    found = match(joined(random_hashes(17, 300), changed(shared, 20)), one)
    assert found is not None
    assert (found.query, found.known) == (Span(150, 180), Span(100, 130))


def test_frames_with_little_in_them_do_not_vote() -> None:
    poor = dataclasses.replace(KNOWN, quality=np.full(40, RULES.gate - 1, np.uint8))
    assert match(poor, KNOWN) is None
    assert match(KNOWN, poor) is None
    half = dataclasses.replace(KNOWN, quality=np.where(np.arange(40) < 20, 0, 100).astype(np.uint8))
    found = match(KNOWN, half)
    assert found is not None
    assert found.query == Span(10, 20)


def test_a_mirror_image_is_found_where_it_is_asked_for() -> None:
    turned = Fingerprint(
        KNOWN.times_s, random_hashes(18, 40), KNOWN.quality, mirrored=changed(KNOWN.hashes, 30)[np.newaxis]
    )
    assert match(turned, KNOWN) is None
    found = match(turned, KNOWN, mirror=True)
    assert found is not None
    assert found.mirrored


def test_one_look_has_to_hold_for_all_frames() -> None:
    """A look that fits here and another that fits there are two accidents."""
    views = np.stack([random_hashes(19 + n, 40) for n in range(8)])
    for n in range(8):
        views[n, 5 * n] = KNOWN.hashes[5 * n]
    query = Fingerprint(KNOWN.times_s, random_hashes(30, 40), KNOWN.quality, views=views)
    assert match(query, KNOWN) is None
    whole = dataclasses.replace(query, views=np.concatenate([views, KNOWN.hashes[np.newaxis]]))
    assert match(whole, KNOWN) is not None


def test_another_speed_is_found_where_it_is_allowed() -> None:
    faster = video(KNOWN.hashes, fps=2.5)
    found = match(faster, KNOWN, rules=Rules(speeds=(1.0, 1.25)))
    assert found is not None
    assert found.speed == 1.25
    assert (found.query, found.known) == (Span(0, 16), Span(0, 20))


def test_times_that_no_video_has_take_neither_memory_nor_a_match() -> None:
    """A list from outside may hold frames a nanosecond apart and a million seconds later."""
    odd = dataclasses.replace(KNOWN, times_s=np.concatenate([np.arange(39) * 1e-9, [1e6]]))
    assert match(KNOWN, odd) is None


def test_nothing_is_no_match() -> None:
    nothing = video(np.empty((0, 32), np.uint8))
    assert match(nothing, KNOWN) is None
    assert match(KNOWN, nothing) is None
    assert match(video(KNOWN.hashes[:1]), KNOWN) is None


@given(st.lists(st.integers(-4, 4), min_size=1, max_size=14))
def test_the_best_stretch_is_none_worse_than_any(votes: list[int]) -> None:
    begin, end = best_stretch(np.array(votes, float))
    assert 0 <= begin < end <= len(votes)
    most = max(sum(votes[a:b]) for a in range(len(votes)) for b in range(a + 1, len(votes) + 1))
    assert sum(votes[begin:end]) == most


def test_frames_that_look_alike_are_one_moment_wherever_they_stand() -> None:
    a, b = random_hashes(20, 2)
    rows = np.stack([a, a, b, a, b, b])
    assert moments_of(changed(rows, 8), 20).tolist() == [0, 0, 1, 0, 1, 1]
    assert moments_of(random_hashes(21, 5), 20).tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("times_s", "hashes", "quality"),
    [
        (np.array([0.0, 0.0]), random_hashes(0, 2), np.zeros(2, np.uint8)),
        (np.array([-1.0, 0.0]), random_hashes(0, 2), np.zeros(2, np.uint8)),
        (np.array([0.0, np.nan]), random_hashes(0, 2), np.zeros(2, np.uint8)),
        (np.array([0.0, 1.0]), random_hashes(0, 3), np.zeros(2, np.uint8)),
        (np.array([0.0, 1.0]), random_hashes(0, 2), np.zeros(2, np.int64)),
    ],
)
def test_a_fingerprint_checks_its_shapes(times_s: np.ndarray, hashes: np.ndarray, quality: np.ndarray) -> None:
    with pytest.raises(ValueError):
        Fingerprint(times_s, hashes, quality)
