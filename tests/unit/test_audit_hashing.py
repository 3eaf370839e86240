"""How rows of the audit are hashed and chained, and that no change to a chain goes unseen; no database."""

import hashlib
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidlm.audit.anchors import Anchor
from vidlm.audit.reading import Entry, Head
from vidlm.audit.verifying import Fault, Flaw, examine
from vidlm.store.chain import HASHED, START, chained, digest, time_text

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


def rows(count: int, start: int = 1) -> list[dict[str, Any]]:
    return [
        {
            "tenant_id": "ten_1",
            "id": 2 * place,
            "at": NOON + timedelta(microseconds=place),
            "actor": "key_1",
            "event": "video.accepted",
            "target_id": f"vid_{place}",
            "details": "{}",
        }
        for place in range(start, start + count)
    ]


def entries(count: int) -> list[Entry]:
    return [Entry(**row | {"at": time_text(row["at"])}) for row in chained(rows(count), 0, START)]


def look(
    chain: list[Entry], head: Head | None, anchors: dict[int, Anchor] | None = None, places: tuple[int, ...] = ()
) -> Fault | None:
    return examine("ten_1", chain, head, anchors or {}, lambda entry: [(number, entry.id) for number in places])[1]


def head_of(chain: list[Entry]) -> Head:
    return Head(chain[-1].number, chain[-1].hash) if chain else Head(0, START)


def anchor(entry: Entry) -> dict[int, Anchor]:
    return {entry.number: Anchor("2026-01-31T13:00:00.000000Z", "ten_1", entry.number, entry.hash)}


def test_the_first_row_is_hashed_as_the_page_says() -> None:
    said = (
        b"13:vidlm-audit-1,5:ten_1,1:1,1:2,27:2026-01-31T12:00:00.000001Z,5:key_1,14:video.accepted,5:vid_1,2:{},"
        b"64:0000000000000000000000000000000000000000000000000000000000000000,"
    )
    assert entries(1)[0].hash == hashlib.sha256(said).hexdigest()


@given(at=st.datetimes(timezones=st.just(UTC)), hours=st.integers(-12, 12))
def test_a_time_is_written_the_same_in_every_zone_and_to_the_microsecond(at: datetime, hours: int) -> None:
    if datetime(2, 1, 1, tzinfo=UTC) < at < datetime(9999, 1, 1, tzinfo=UTC):
        written = time_text(at)
        assert len(written) == 27
        assert time_text(at.astimezone(timezone(timedelta(hours=hours)))) == written
        assert datetime.fromisoformat(written) == at


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="zone"):
        time_text(datetime(2026, 1, 1))  # noqa: DTZ001


texts = st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=6), min_size=3, max_size=3)


@given(one=texts, other=texts)
def test_different_values_have_different_hashes(one: list[str], other: list[str]) -> None:
    """Also where they read the same one after the other."""
    assert (digest(one) == digest(other)) == (one == other)


@given(count=st.integers(0, 8), cut=st.integers(0, 8))
def test_a_chain_is_the_same_in_one_piece_and_in_two(count: int, cut: int) -> None:
    whole = chained(rows(count), 0, START)
    first = chained(rows(min(cut, count)), 0, START)
    end = first[-1]["hash"] if first else START
    assert first + chained(rows(count - len(first), len(first) + 1), len(first), end) == whole


@given(count=st.integers(0, 8))
def test_a_chain_that_nobody_touched_has_no_fault(count: int) -> None:
    chain = entries(count)
    assert examine("ten_1", chain, head_of(chain), anchor(chain[-1]) if chain else {}, lambda _: ()) == (count, None)


@given(
    data=st.data(), count=st.integers(1, 8), name=st.sampled_from([name for name in Entry._fields if name != "number"])
)
def test_any_value_changed_is_an_altered_row(data: st.DataObject, count: int, name: str) -> None:
    chain = entries(count)
    place = data.draw(st.integers(0, count - 1))
    value: object = 999 if name == "id" else "x"
    changed = [*chain]
    changed[place] = chain[place]._replace(**{name: value})
    fault = look(changed, head_of(chain))
    assert fault is not None
    assert (fault.number, fault.flaw) == (place + 1, Flaw.ALTERED)


@given(data=st.data(), count=st.integers(1, 8))
def test_any_row_left_out_is_missed(data: st.DataObject, count: int) -> None:
    chain = entries(count)
    place = data.draw(st.integers(0, count - 1))
    fault = look(chain[:place] + chain[place + 1 :], head_of(chain))
    assert fault is not None
    assert (fault.number, fault.flaw) == (place + 1, Flaw.MISSING)


@given(order=st.permutations(range(6)))
def test_any_other_order_is_found_at_the_first_row_that_moved(order: list[int]) -> None:
    chain = entries(6)
    moved = [chain[place]._replace(number=number) for number, place in enumerate(order, 1)]
    fault = look(moved, head_of(chain), places=tuple(range(1, 7)))
    first = next((number for number, place in enumerate(order, 1) if place != number - 1), None)
    assert (fault is None) == (first is None)
    if fault is not None:
        assert (fault.number, fault.flaw) == (first, Flaw.OUT_OF_ORDER)


@pytest.mark.parametrize("number", [None, "x", 2.5])
def test_a_number_that_is_none_is_an_altered_row(number: object) -> None:
    chain = entries(3)
    fault = look([*chain[:2], chain[2]._replace(number=number)], head_of(chain))  # type: ignore[arg-type]
    assert fault is not None
    assert (fault.number, fault.flaw) == (3, Flaw.ALTERED)


def test_two_rows_of_one_number_are_one_too_many() -> None:
    chain = entries(4)
    twin = chain[1]._replace(id=99)
    twin = twin._replace(hash=digest(twin[:-1]))
    fault = look([*chain[:2], twin, *chain[2:]], head_of(chain))
    assert fault is not None
    assert (fault.number, fault.flaw) == (2, Flaw.EXTRA)
    assert "id 4 and as id 99" in fault.detail


def test_other_rows_in_the_place_of_these_do_not_follow_what_an_anchor_vouches_for() -> None:
    """Of two rows that do not belong together the earlier is the wrong one, unless it is known to be right."""
    chain = entries(4)
    others = chained(rows(2, 3), 2, "f" * 64)
    replaced = chain[:2] + [Entry(**row | {"at": time_text(row["at"])}) for row in others]
    suspected = look(replaced, head_of(replaced))
    assert suspected is not None
    assert (suspected.number, suspected.flaw) == (2, Flaw.ALTERED)
    known = look(replaced, head_of(replaced), anchor(chain[1]))
    assert known is not None
    assert (known.number, known.flaw) == (3, Flaw.UNLINKED)


def test_a_chain_that_begins_in_the_middle_is_found() -> None:
    others = chained(rows(2), 0, "f" * 64)
    chain = [Entry(**row | {"at": time_text(row["at"])}) for row in others]
    fault = look(chain, head_of(chain))
    assert fault is not None
    assert (fault.number, fault.flaw) == (1, Flaw.UNLINKED)


def test_every_value_of_a_row_is_hashed() -> None:
    assert (*HASHED, "hash") == Entry._fields
