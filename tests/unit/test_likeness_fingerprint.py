"""From frames to a match: what people do to a video is seen through, and clips that resemble each other stay apart."""

import zlib

import numpy as np
import pytest

from benchmarks.likeness_clips import HEIGHT, TRANSFORMS, WIDTH, Source, natural, sampled, toy
from vidlm.domain import FrameBatch
from vidlm.likeness.fingerprint import Fingerprinter, fingerprint
from vidlm.likeness.index import LikenessIndex
from vidlm.likeness.looks import Bars
from vidlm.likeness.pdq import hash_frames
from vidlm.likeness.voting import RULES


def clips(each: int) -> list[Source]:
    """So many toy clips and as many natural-looking ones, none of which the benchmark's first hundreds hold."""
    return [*(toy(10_000 + n) for n in range(each)), *(natural(10_000 + n) for n in range(each))]


def found_again(each: int) -> tuple[float, int, int]:
    """(share of changed clips that were found, matches with other clips, searches)."""
    sources = clips(each)
    index = LikenessIndex()
    for number, source in enumerate(sources):
        index.add(str(number), fingerprint(sampled(source), views=False))
    right = wrong = searches = 0
    for name, transform in TRANSFORMS.items():
        for number, source in enumerate(sources):
            rng = np.random.default_rng([number, zlib.crc32(name.encode())])
            found = {one.video_id for one in index.search(fingerprint(transform(source, rng)), mirror=True)}
            right += str(number) in found
            wrong += len(found - {str(number)})
            searches += 1
    return right / searches, wrong, searches


def test_changed_copies_are_found_and_strangers_are_not() -> None:
    recall, wrong, searches = found_again(3)
    assert searches == 6 * 13
    assert recall >= 0.9
    assert wrong == 0


@pytest.mark.slow
def test_changed_copies_of_many_clips_are_found_and_strangers_are_not() -> None:
    recall, wrong, searches = found_again(25)
    assert recall >= 0.95
    assert wrong <= 0.001 * searches * 49


def test_what_is_kept_is_plain_pdq() -> None:
    frames = sampled(natural(1))
    found, plain = fingerprint(frames), hash_frames(frames.pixels)
    assert np.array_equal(found.hashes, plain.hashes)
    assert np.array_equal(found.quality, plain.quality)
    assert np.array_equal(found.mirrored[0], plain.mirrored)
    assert len(found.mirrored) == 1 + len(found.views)
    assert len(found.looks(mirror=True)) == 2 * len(found.looks(mirror=False)) == 2 * (1 + len(found.views))
    assert found.kept.looks(mirror=True).shape == (1, len(frames), 32)
    assert len(fingerprint(frames, views=False).views) == 0


def content_box(*parts: np.ndarray) -> tuple[int, int, int, int]:
    """(top, bottom, left, right) of what is inside the bars of frames that come in parts."""
    bars = Bars()
    for part in parts:
        bars.see(part)
    return bars.box


def test_bars_are_left_out_and_pictures_are_not() -> None:
    pixels = sampled(natural(2)).pixels
    assert content_box(pixels) == (0, HEIGHT, 0, WIDTH)
    barred = np.pad(pixels, ((0, 0), (14, 20), (0, 0), (0, 0)), constant_values=10)
    assert content_box(barred) == (14, 14 + HEIGHT, 0, WIDTH)
    noisy = np.clip(barred + np.random.default_rng(0).normal(0, 2, barred.shape), 0, 255).astype(np.uint8)
    assert content_box(noisy) == (14, 14 + HEIGHT, 0, WIDTH)
    both = np.pad(pixels, ((0, 0), (8, 8), (12, 12), (0, 0)))
    assert content_box(both) == (8, 8 + HEIGHT, 12, 12 + WIDTH)


def test_a_dark_film_has_no_bars() -> None:
    dark = np.zeros((5, HEIGHT, WIDTH, 3), np.uint8)
    assert content_box(dark) == (0, HEIGHT, 0, WIDTH)
    dark[2:, 50:70, 70:90] = 200  # a lamp that is switched on
    assert content_box(dark) == (0, HEIGHT, 0, WIDTH)
    assert content_box(dark[:0]) == (0, HEIGHT, 0, WIDTH)


def test_a_fade_from_black_does_not_hide_the_bars() -> None:
    pixels = sampled(natural(3)).pixels.copy()
    pixels[:3] = 0
    barred = np.pad(pixels, ((0, 0), (16, 16), (0, 0), (0, 0)))
    assert content_box(barred) == (16, 16 + HEIGHT, 0, WIDTH)


def test_no_frames_make_an_empty_fingerprint() -> None:
    found = fingerprint(FrameBatch(np.empty((0, HEIGHT, WIDTH, 3), np.uint8), np.empty(0)))
    assert len(found) == 0
    assert LikenessIndex().search(found) == []


def test_frames_that_come_in_pieces_make_the_same_fingerprint() -> None:
    frames = sampled(natural(4))
    barred = FrameBatch(np.pad(frames.pixels, ((0, 0), (16, 16), (0, 0), (0, 0))), frames.times_s)
    for whole in (frames, barred):
        maker = Fingerprinter()
        for first in range(0, len(whole), 7):
            maker.add(FrameBatch(whole.pixels[first : first + 7], whole.times_s[first : first + 7]))
        found, expected = maker.finish(), fingerprint(whole)
        assert np.array_equal(found.times_s, expected.times_s)
        assert np.array_equal(found.looks(mirror=True), expected.looks(mirror=True))


def test_hashes_without_their_bars_are_close_to_those_of_what_is_inside() -> None:
    frames = sampled(natural(5))
    bare = fingerprint(frames, views=False)
    for room in ((14, 20, 0, 0), (0, 0, 23, 23), (17, 17, 9, 30)):
        padded = np.pad(frames.pixels, ((0, 0), room[:2], room[2:], (0, 0)), constant_values=16)
        found = fingerprint(FrameBatch(padded, frames.times_s), views=False)
        apart = np.bitwise_count(found.hashes ^ bare.hashes).sum(axis=1)
        assert apart.mean() <= RULES.sure  # a whole vote each
        assert apart.max() < (RULES.sure + RULES.close) / 2


def kept_of(times_s: np.ndarray) -> np.ndarray:
    """The times of the frames that a fingerprint keeps."""
    rng = np.random.default_rng(0)
    maker = Fingerprinter(views=False)
    for part in np.array_split(times_s, 3):
        maker.add(FrameBatch(rng.integers(0, 256, (len(part), 8, 8, 3), np.uint8), part))
    return maker.finish().times_s


def test_two_frames_a_second_are_enough_and_long_films_have_fewer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vidlm.likeness.fingerprint.MOST_FRAMES", 600)
    assert np.array_equal(kept_of(np.arange(2400) / 8), np.arange(0, 2400, 4) / 8)
    assert np.array_equal(kept_of(np.arange(601) / 2), np.arange(0, 601, 2) / 2)
    assert np.array_equal(kept_of(np.arange(2000) / 2), np.arange(0, 2000, 4) / 2)
