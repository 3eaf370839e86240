"""Whether two videos are the same from end to end; and fingerprints as bytes."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from likeness_hashes import again, changed, joined, random_hashes, stranger, video

from vidlm.likeness.packing import pack, unpack
from vidlm.likeness.sameness import SURE_BITS, shares_alike

KNOWN = stranger(1, 40)


def test_a_copy_is_the_same_up_to_the_bits_that_are_sure() -> None:
    assert shares_alike(again(KNOWN, SURE_BITS), KNOWN, 0.0) == (1.0, 1.0)
    assert shares_alike(again(KNOWN, SURE_BITS + 1), KNOWN, 0.0) == (0.0, 0.0)
    assert shares_alike(stranger(2, 40), KNOWN, 0.0) == (0.0, 0.0)


@settings(max_examples=50)
@given(at=st.integers(0, 40), length=st.integers(1, 5))
def test_what_was_put_in_tells_however_short_it_is(at: int, length: int) -> None:
    more = joined(KNOWN.hashes[:at], random_hashes(5, length), KNOWN.hashes[at:])
    for offset_s in (0.0, -length / 2):
        share, known_share = shares_alike(more, KNOWN, offset_s)
        assert share < 1
        assert known_share <= 1


def test_a_part_is_all_known_and_not_all_of_the_known_one() -> None:
    assert shares_alike(video(KNOWN.hashes[10:30]), KNOWN, 5.0) == (1.0, 0.5)
    assert shares_alike(KNOWN, video(KNOWN.hashes[10:30]), -5.0) == (0.5, 1.0)


def test_frames_of_poor_quality_count_too() -> None:
    poor = dataclasses.replace(KNOWN, quality=np.zeros(40, np.uint8))
    assert shares_alike(poor, KNOWN, 0.0) == (1.0, 1.0)
    hidden = dataclasses.replace(KNOWN, hashes=KNOWN.hashes.copy(), quality=KNOWN.quality.copy())
    hidden.hashes[7], hidden.quality[7] = random_hashes(9, 1)[0], 0
    assert shares_alike(hidden, KNOWN, 0.0) == (39 / 40, 39 / 40)


def test_another_rate_finds_the_frames_that_are_near() -> None:
    still = video(changed(np.repeat(random_hashes(3, 1), 40, axis=0), 5))
    other = video(changed(np.repeat(random_hashes(3, 1), 20, axis=0), 5, seed=1), fps=1.0)
    assert shares_alike(other, still, 0.0) == (1.0, 1.0)


def test_nothing_is_the_same_as_nothing() -> None:
    nothing = video(np.empty((0, 32), np.uint8))
    assert shares_alike(nothing, KNOWN, 0.0) == shares_alike(KNOWN, nothing, 0.0) == (0.0, 0.0)


@given(st.integers(0, 50), st.integers(0, 1000))
def test_what_was_packed_is_unpacked_as_it_was(frames: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    one = dataclasses.replace(
        video(random_hashes(seed, frames)),
        times_s=np.cumsum(rng.uniform(1e-9, 1, frames)),
        quality=rng.integers(0, 101, frames, np.uint8),
    )
    data = pack(one)
    assert len(data) == 4 + 41 * frames
    found = unpack(data)
    for name in ("times_s", "hashes", "quality"):
        assert np.array_equal(getattr(found, name), getattr(one, name))


@pytest.mark.parametrize("data", [b"", b"pdq1x", b"pdq2" + bytes(41), pack(KNOWN)[:-1], pack(KNOWN) + b"\0"])
def test_other_bytes_are_no_fingerprint(data: bytes) -> None:
    with pytest.raises(ValueError):
        unpack(data)
