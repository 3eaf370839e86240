"""Many videos: what is found, what is forgotten, and that looking is quick. Answers equal those of one by one."""

import dataclasses
import time

import numpy as np
import pytest
from likeness_hashes import again, changed, joined, random_hashes, stranger, video

from vidlm.likeness.fingerprint import Fingerprint
from vidlm.likeness.index import LikenessIndex, low_bits
from vidlm.likeness.voting import RULES, match


def library(videos: dict[str, Fingerprint]) -> LikenessIndex:
    index = LikenessIndex()
    for video_id, known in videos.items():
        index.add(video_id, known)
    return index


KNOWN = {f"v{n}": stranger(n, 20) for n in range(300)}


def test_a_copy_is_found_among_strangers() -> None:
    index = library(KNOWN)
    for n in (0, 150, 299):
        (found,) = index.search(again(KNOWN[f"v{n}"], 45))
        assert found.video_id == f"v{n}"
        assert found.match == match(again(KNOWN[f"v{n}"], 45), KNOWN[f"v{n}"])
    assert index.search(stranger(1000)) == []


def test_all_that_a_query_holds_are_found_best_first() -> None:
    index = library(KNOWN)
    parts = [changed(KNOWN["v7"].hashes[:12], 50), KNOWN["v8"].hashes, changed(KNOWN["v9"].hashes, 45)]
    found = index.search(joined(*parts))
    assert [one.video_id for one in found] == ["v8", "v9", "v7"]
    assert [one.video_id for one in index.search(joined(*parts), limit=2)] == ["v8", "v9"]


def test_the_index_answers_as_comparing_with_each_would() -> None:
    known = {f"v{n}": joined(random_hashes(n % 7, 12), random_hashes(n, 8)) for n in range(40)}
    index = library(known)
    for seed in (3, 11, 50):
        query = joined(changed(random_hashes(seed % 7, 12), 30), changed(random_hashes(seed, 8), 40))
        each = {video_id for video_id, other in known.items() if match(query, other) is not None}
        assert {one.video_id for one in index.search(query, limit=40)} == each
        assert each


def test_what_is_removed_is_not_found_and_what_is_replaced_is_found_as_it_is_now() -> None:
    index = library(KNOWN)
    assert "v5" in index
    assert index.remove("v5")
    assert not index.remove("v5")
    assert (len(index), "v5" in index) == (299, False)
    assert index.search(KNOWN["v5"]) == []
    index.add("v6", KNOWN["v5"])
    assert [one.video_id for one in index.search(KNOWN["v5"])] == ["v6"]
    assert index.search(KNOWN["v6"]) == []


def test_mirror_images_and_other_looks_are_looked_for() -> None:
    index = library(KNOWN)
    copy = changed(KNOWN["v3"].hashes, 30)[np.newaxis]
    look = dataclasses.replace(stranger(500, 20), views=copy)
    turned = dataclasses.replace(stranger(500, 20), mirrored=copy)
    assert [one.video_id for one in index.search(look)] == ["v3"]
    assert index.search(turned) == []
    (found,) = index.search(turned, mirror=True)
    assert (found.video_id, found.match.mirrored) == ("v3", True)


def test_an_empty_index_and_an_empty_query_find_nothing() -> None:
    assert LikenessIndex().search(stranger(1)) == []
    index = library(KNOWN)
    assert index.search(video(np.empty((0, 32), np.uint8))) == []
    assert index.search(dataclasses.replace(KNOWN["v1"], quality=np.full(20, RULES.gate - 1, np.uint8))) == []
    with pytest.raises(ValueError, match="limit"):
        index.search(stranger(1), limit=0)


def test_a_long_query_is_looked_for_by_frames_from_all_of_it() -> None:
    index = library(KNOWN)
    query = joined(random_hashes(900, 1500), changed(KNOWN["v2"].hashes, 20), random_hashes(901, 1000))
    (found,) = index.search(query)
    assert (found.video_id, found.match.query.start_s, found.match.query.end_s) == ("v2", 750, 760)


def test_the_low_bits_are_those_of_the_lowest_frequencies() -> None:
    hashes = random_hashes(1, 50)
    numbers = [int(row.tobytes().hex(), 16) for row in hashes]
    mask = sum(1 << (16 * i + j) for i in range(8) for j in range(8))
    found = np.bitwise_count(low_bits(hashes) ^ low_bits(hashes[:1]))
    assert found.tolist() == [((number ^ numbers[0]) & mask).bit_count() for number in numbers]


def test_ten_thousand_videos_are_searched_in_well_under_a_second() -> None:
    index = LikenessIndex()
    hashes = random_hashes(0, 200_000).reshape(10_000, 20, 32)
    for number in range(10_000):
        index.add(str(number), video(hashes[number]))
    index.search(stranger(1, 20))  # the first search after adding makes the table
    began_s = time.process_time()
    (found,) = index.search(again(video(hashes[4321]), 40))
    assert time.process_time() - began_s < 0.5
    assert found.video_id == "4321"
