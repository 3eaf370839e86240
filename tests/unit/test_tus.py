"""The tus protocol's headers: whatever comes is read as it was meant, or refused in words. Uploads as growing files."""

import base64
import hashlib
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from api.problems import ProblemError
from api.tus import checksum_of, http_date, is_below, length_of, metadata_of, offset_of, wishes_in
from vidlm.errors import StorageError
from vidlm.store.blobs import BlobStore
from vidlm.store.partial import Checksum, ChecksumError, LockedError, OpenPartial, Partial

T = TypeVar("T")
SHORT = ["filename", "client_id", "priority", "deadline_s", "webhook_url"]
VALUES = st.one_of(st.binary(max_size=100), st.sampled_from([b"high", b"5", b"https://a.example"]))
KEYS = st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters=","), min_size=1, max_size=20)


def read_or_refused(read: Callable[[str], T], raw: str) -> T | None:
    """What is read, or None where it was refused as it should be."""
    try:
        return read(raw)
    except ProblemError as exc:
        if (exc.status, exc.code) != (422, "invalid_request"):
            raise
        event("refused")
        return None


@given(st.dictionaries(KEYS, st.binary(max_size=200), max_size=8), st.booleans())
def test_metadata_is_read_as_it_was_written(pairs: dict[str, bytes], bare: bool) -> None:
    written = (f"{key} {base64.b64encode(value).decode()}" for key, value in pairs.items())
    assert metadata_of(",".join(pair.rstrip(" ") if bare else pair for pair in written)) == pairs


@given(st.one_of(st.text(max_size=300), st.text("aQ=, +/filename", max_size=60)))
def test_any_metadata_is_read_or_refused_in_words(raw: str) -> None:
    pairs = read_or_refused(metadata_of, raw)
    if pairs is not None:
        assert raw.isascii()
        assert len(pairs) == (raw.count(",") + 1 if raw.strip() else 0)
        assert all(key and " " not in key and "," not in key for key in pairs)


@given(st.dictionaries(st.sampled_from(SHORT), VALUES))
def test_any_wishes_are_understood_or_refused_in_words(pairs: dict[str, bytes]) -> None:
    raw = ",".join(f"{key} {base64.b64encode(value).decode()}" for key, value in pairs.items())
    wishes = read_or_refused(wishes_in, raw)
    if wishes is not None:
        assert "\0" not in wishes.filename
        assert wishes.deadline_s is None or wishes.deadline_s > 0


@given(st.one_of(st.text(max_size=30), st.text("0123456789", max_size=30)))
def test_any_count_is_a_number_or_refused_in_words(raw: str) -> None:
    count = read_or_refused(offset_of, raw)
    assert count is None or count == int(raw)


@pytest.mark.parametrize(
    ("raw", "deferred", "code"),
    [
        (None, None, "invalid_request"),
        (None, "1", "deferred_length"),
        ("11", None, "too_large"),
        ("٣", None, "invalid_request"),
    ],
)
def test_lengths_that_cannot_be(raw: str | None, deferred: str | None, code: str) -> None:
    with pytest.raises(ProblemError) as refused:
        length_of(raw, deferred, 10)
    assert refused.value.code == code


def test_lengths_offsets_and_checksums_that_can_be() -> None:
    assert (length_of("10", None, 10), length_of("0", None, 10), offset_of("007")) == (10, 0, 7)
    assert checksum_of(None) is None
    assert checksum_of("sha1 AAEC") == Checksum("sha1", bytes([0, 1, 2]))
    for raw in ("sha1 *", "sha512 AAEC", "", "SHA1 AAEC"):
        with pytest.raises(ProblemError):
            checksum_of(raw)


def test_times_and_paths() -> None:
    assert http_date(datetime(2026, 11, 20, 9, 30, tzinfo=UTC)) == "Fri, 20 Nov 2026 09:30:00 GMT"
    assert [is_below(path) for path in ("/v1/uploads", "/v1/uploads/x", "/v1/uploadsx", "/v1")] == [
        True, True, False, False]  # fmt: skip


@pytest.fixture
def partial(tmp_path: Path) -> Partial:
    begun = Partial(BlobStore(tmp_path), "vid_1")
    begun.begin("what was said")
    return begun


def opened(partial: Partial) -> OpenPartial:
    file = partial.open()
    assert file is not None
    return file


def test_an_upload_grows_until_it_is_whole(partial: Partial, tmp_path: Path) -> None:
    data = os.urandom(5000)
    for start in range(0, 5000, 1000):
        assert partial.offset() == start
        with opened(partial) as file:
            chunk = file.chunk()
            chunk.write(data[start : start + 600])
            chunk.write(data[start + 600 : start + 1000])
            chunk.finish()
    with opened(partial) as file:
        sealed = file.seal("ten_1")
        for _ in range(2):  # the first time the process died before it could say so
            file.place(sealed)
        assert partial.offset() == 5000
        file.leave()
    assert (sealed.sha256, sealed.size_bytes) == (hashlib.sha256(data).hexdigest(), 5000)
    assert (tmp_path / sealed.key).read_bytes() == data
    assert (partial.offset(), partial.open(), partial.note()) == (None, None, "what was said")
    assert sorted(path.name for path in (tmp_path / "incoming").iterdir()) == ["vid_1.note"]
    assert BlobStore(tmp_path).remove_partial("vid_1")
    assert list((tmp_path / "incoming").iterdir()) == []


def test_one_writer_at_a_time(partial: Partial) -> None:
    with opened(partial), pytest.raises(LockedError):
        partial.open()
    opened(partial).__exit__(None, None, None)


def test_bytes_that_are_to_be_checked_count_once_they_are_found_good(partial: Partial) -> None:
    good = Checksum("sha256", hashlib.sha256(b"good").digest())
    with opened(partial) as file:
        chunk = file.chunk(good)
        chunk.write(b"good")
        assert (file.offset, partial.offset()) == (4, 0)
        chunk.finish()
        assert partial.offset() == 4
        spoilt = file.chunk(good)
        spoilt.write(b"spoilt")
        with pytest.raises(ChecksumError):
            spoilt.finish()
        assert (file.offset, partial.offset()) == (4, 4)
        broken = file.chunk(good)
        broken.write(b"goo")
        broken.break_off(b"d")
    assert partial.offset() == 4
    with opened(partial) as file:
        assert file.offset == 4
        loose = file.chunk()
        loose.write(b"kept ")
        loose.break_off(b"too")
    assert partial.offset() == 12


def test_half_a_mark_is_no_mark(partial: Partial, tmp_path: Path) -> None:
    with opened(partial) as file:
        file.chunk().write(b"12345")
    (tmp_path / "incoming" / "vid_1.unchecked").write_text("1")  # it was to become "12\n", and the disk was full
    assert partial.offset() == 5
    assert opened(partial).offset == 5


def test_what_has_no_folder_cannot_begin(tmp_path: Path) -> None:
    (tmp_path / "incoming").write_bytes(b"in the way")
    with pytest.raises(StorageError):
        Partial(BlobStore(tmp_path), "vid_1").begin("")
