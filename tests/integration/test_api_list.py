"""The list of videos: what each filter lets through, in both orders, page by page, and that little else is read."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from conftest import Api
from sqlalchemy import event
from sqlmodel import Session
from test_api_videos import finish, problem, upload

from api.lists import cursor_after
from vidlm.domain import PIPELINE_VERSION, Action, JobState, Priority
from vidlm.store.engine import Database
from vidlm.store.listing import Filters, Page, list_videos
from vidlm.store.tables import DEFAULT_TENANT, FlagRow, Job, Tenant, Video

BEGIN = datetime(2026, 3, 1, 12, 0, 0, 250_000, tzinfo=UTC)
POLICIES = ("weapons.shown", "violence.fight")
STATES = (*[JobState.READY] * 12, JobState.QUEUED, JobState.ANALYZING, JobState.FAILED, JobState.DELETED)


@dataclass(frozen=True)
class Listed:
    """What is known of a video that was put there."""

    id: str
    created_at: datetime
    state: JobState
    verdict: Action | None
    client_id: str | None
    sha256: str
    priority: Priority
    policies: frozenset[str]


def fill(database: Database, count: int, every_s: float = 60.0, tenant_id: str = DEFAULT_TENANT) -> list[Listed]:
    """Videos of all sorts, one in `every_s`, oldest first."""
    rng = random.Random(count)
    videos = [_one(rng, BEGIN + timedelta(seconds=every_s * number)) for number in range(count)]
    with database.write() as session:
        _insert(session, Video, [_video_row(one, tenant_id) for one in videos])
        _insert(session, Job, [_job_row(one, tenant_id) for one in videos])
        flags = [
            {"id": f"flg{one.id}{policy}", "tenant_id": tenant_id, "job_id": f"job{one.id}", "policy_id": policy,
             "start_s": start_s, "end_s": 9.0, "score": 0.9, "severity": "low", "action": "review"}
            for one in videos for policy in one.policies for start_s in (1.0,)
        ]  # fmt: skip
        _insert(session, FlagRow, flags)
    return videos


def _insert(session: Session, table: type[Any], rows: list[dict[str, Any]]) -> None:
    for begin in range(0, len(rows), 2000):
        session.connection().execute(table.__table__.insert(), rows[begin : begin + 2000])


def _one(rng: random.Random, born: datetime) -> Listed:
    state = rng.choice(STATES)
    deleted = state is JobState.DELETED
    return Listed(
        id=f"vid_{int(born.timestamp() * 1000):012x}{rng.getrandbits(64):016x}",
        created_at=born + timedelta(microseconds=rng.randrange(3_000_000)),  # a row is made after its id
        state=state,
        verdict=rng.choice((Action.ALLOW, Action.ALLOW, Action.REVIEW, Action.BLOCK)) if state == "ready" else None,
        client_id=None if deleted else f"cam-{rng.randrange(40)}",
        sha256=f"{rng.randrange(500):064x}",
        priority=rng.choice(list(Priority)),
        policies=frozenset(policy for policy in POLICIES if state == "ready" and rng.random() < 0.1),
    )


def _video_row(one: Listed, tenant_id: str) -> dict[str, Any]:
    return {"id": one.id, "tenant_id": tenant_id, "client_id": one.client_id, "filename": "a.mp4",
            "sha256": one.sha256, "size_bytes": 5, "legal_hold": False, "created_at": one.created_at,
            "deleted_at": one.created_at if one.state is JobState.DELETED else None}  # fmt: skip


def _job_row(one: Listed, tenant_id: str) -> dict[str, Any]:
    return {"id": f"job{one.id}", "tenant_id": tenant_id, "video_id": one.id, "pipeline_version": PIPELINE_VERSION,
            "state": one.state.value, "priority": one.priority.rank, "turn": 1, "token": 0, "attempts": 0,
            "error_code": "internal" if one.state is JobState.FAILED else None, "prepared_share": 0.0,
            "spans_total": 0, "spans_done": 0, "verdict_action": one.verdict and one.verdict.value,
            "created_at": one.created_at}  # fmt: skip


def pages(api: Api, **query: Any) -> Iterator[list[str]]:
    """The ids of one page after the other."""
    while True:
        response = api.client.get("/v1/videos", params=query)
        assert response.status_code == 200, response.text
        yield [item["id"] for item in response.json()["items"]]
        query["cursor"] = response.json()["next_cursor"]
        if query["cursor"] is None:
            return


def moment(value: datetime) -> str:
    return value.isoformat()


HALF = BEGIN + timedelta(seconds=60 * 150)
ASKED: list[tuple[dict[str, Any], Callable[[Listed], bool]]] = [
    ({}, lambda _: True),
    ({"state": "ready"}, lambda one: one.state == "ready"),
    ({"state": ["queued", "failed", "deleted"]}, lambda one: one.state in ("queued", "failed", "deleted")),
    ({"state": ["failed", "failed"]}, lambda one: one.state == "failed"),
    ({"verdict": "block"}, lambda one: one.verdict == "block"),
    ({"verdict": ["block", "review"]}, lambda one: one.verdict in ("block", "review")),
    ({"verdict": "allow", "state": ["ready", "failed"]}, lambda one: one.verdict == "allow"),
    ({"verdict": "allow", "state": "failed"}, lambda _: False),
    ({"client_id": "cam-7"}, lambda one: one.client_id == "cam-7"),
    ({"client_id": "cam-7", "state": ["ready", "queued"], "verdict": "allow"},
     lambda one: one.client_id == "cam-7" and one.verdict == "allow"),
    ({"client_id": "cam-"}, lambda _: False),
    ({"sha256": f"{3:064x}"}, lambda one: one.sha256 == f"{3:064x}"),
    ({"sha256": f"{3:064x}", "client_id": "cam-7"}, lambda one: one.sha256 == f"{3:064x}" and one.client_id == "cam-7"),
    ({"priority": "high"}, lambda one: one.priority == "high"),
    ({"priority": "bulk", "state": "queued"}, lambda one: (one.priority, one.state) == ("bulk", "queued")),
    ({"policy": "weapons.shown"}, lambda one: "weapons.shown" in one.policies),
    ({"policy": "weapons.shown", "verdict": ["block", "allow"], "created_from": moment(HALF), "client_id": "cam-1"},
     lambda one: "weapons.shown" in one.policies and one.verdict in ("block", "allow") and one.created_at >= HALF
     and one.client_id == "cam-1"),
    ({"policy": "no.such"}, lambda _: False),
    ({"created_from": moment(HALF)}, lambda one: one.created_at >= HALF),
    ({"created_until": moment(HALF)}, lambda one: one.created_at < HALF),
    ({"created_from": "2026-03-01T14:00:00+01:00", "created_until": "2026-03-01T13:30:00.5z", "state": "ready"},
     lambda one: BEGIN.replace(hour=13, microsecond=0) <= one.created_at
     < BEGIN.replace(hour=13, minute=30, microsecond=500_000) and one.state == "ready"),
    ({"created_from": "0001-01-01T00:00:00Z", "created_until": "9999-12-31T23:59:59Z"}, lambda _: True),
    ({"created_from": moment(HALF), "created_until": moment(HALF - timedelta(days=1))}, lambda _: False),
]  # fmt: skip


@pytest.fixture
def filled(api: Api) -> tuple[Api, list[Listed]]:
    """Three hundred videos of ours, and a few of somebody else's with the same names."""
    with api.database.write() as session:
        session.add(Tenant(id="ten_other", name="other"))
    fill(api.database, 50, tenant_id="ten_other")
    return api, fill(api.database, 300)


def test_every_filter_lets_through_what_it_says_in_both_orders_and_page_by_page(
    filled: tuple[Api, list[Listed]],
) -> None:
    api, videos = filled
    found = 0
    for query, fits in ASKED:
        wanted = [one.id for one in videos if fits(one) and (one.state != "deleted" or "state" in query)]
        for order, expected in (("oldest", wanted), ("newest", wanted[::-1])):
            begins = range(0, max(1, len(expected)), 100)
            shown = list(pages(api, limit=100, order=order, **query))
            assert shown == [expected[begin : begin + 100] for begin in begins], query
        assert [one for page in pages(api, limit=33, **query) for one in page] == wanted[::-1], query
        found += len(wanted)
    assert found > 1500


def test_a_moment_is_a_border_that_the_earlier_time_does_not_cross(filled: tuple[Api, list[Listed]]) -> None:
    """From is included and until is not, to the microsecond that documents show."""
    api, videos = filled
    kept = [one for one in videos if one.state != "deleted"]
    shown = api.client.get(f"/v1/videos/{kept[5].id}").json()["created_at"]
    since = api.client.get("/v1/videos", params={"created_from": shown, "order": "oldest", "limit": 1}).json()
    assert [item["id"] for item in since["items"]] == [kept[5].id]
    before = api.client.get("/v1/videos", params={"created_until": shown, "limit": 1}).json()
    assert [item["id"] for item in before["items"]] == [kept[4].id]


def test_what_is_new_meanwhile_does_not_shift_the_next_page(api: Api) -> None:
    ids = [upload(api).json()["id"] for _ in range(4)]
    first = api.client.get("/v1/videos", params={"limit": 2}).json()
    upload(api)
    second = api.client.get("/v1/videos", params={"limit": 2, "cursor": first["next_cursor"]}).json()
    assert [item["id"] for item in first["items"] + second["items"]] == sorted(ids, reverse=True)


def test_a_cursor_belongs_to_its_order_and_says_nothing_plain(api: Api) -> None:
    for _ in range(3):
        upload(api)
    page = api.client.get("/v1/videos", params={"limit": 1, "order": "oldest"}).json()
    cursor = page["next_cursor"]
    assert page["items"][0]["id"] not in cursor
    assert problem(api.client.get("/v1/videos", params={"cursor": cursor})) == (422, "invalid_request")
    assert problem(api.client.get("/v1/videos", params={"cursor": cursor, "order": "newest"}))[0] == 422
    going_on = api.client.get("/v1/videos", params={"cursor": cursor, "order": "oldest"}).json()
    assert len(going_on["items"]) == 2


def test_flags_and_verdicts_that_workers_wrote_are_found(api: Api) -> None:
    video_id = upload(api).json()["id"]
    upload(api)
    finish(api, video_id)
    for query in ({"policy": "a.b"}, {"verdict": "review"}, {"policy": "a.b", "verdict": "review", "state": "ready"}):
        items = api.client.get("/v1/videos", params=query).json()["items"]
        assert [item["id"] for item in items] == [video_id], query
    api.client.delete(f"/v1/videos/{video_id}")
    for query in ({"policy": "a.b"}, {"verdict": "review"}):
        assert api.client.get("/v1/videos", params=query).json()["items"] == []


@pytest.mark.parametrize(
    "query",
    [
        "state=ready&state=asleep",
        "verdict=maybe",
        "priority=urgent",
        "order=random",
        "client_id=",
        "client_id=" + "x" * 201,
        "sha256=abc",
        "policy=A%00",
        "created_from=2026-03-01",
        "created_from=2026-03-01T12:00:00",
        "created_from=1700000000",
        "created_from=2026-03-01T12:00:00+01:00",  # a plus is a space here
        "created_until=2026-02-30T12:00:00Z",
        "created_until=0001-01-01T00:00:00%2B14:00",
        "cursor=vid_019a9f6c2b10f3a1c09d5e7b4a62",
        "cursor=%00",
        "cursor=%C3%A9",
        "cursor=" + cursor_after("vid_%", Page(1)),
    ],
)
def test_what_makes_no_sense_is_refused_in_words(api: Api, query: str) -> None:
    assert problem(api.client.get(f"/v1/videos?{query}")) == (422, "invalid_request")


MANY = 20_000
OFTEN = [
    Filters(),
    Filters(states=frozenset({JobState.READY})),
    Filters(states=frozenset({JobState.FAILED})),
    Filters(states=frozenset({JobState.QUEUED, JobState.ANALYZING, JobState.FAILED})),
    Filters(verdicts=frozenset({Action.BLOCK})),
    Filters(verdicts=frozenset({Action.BLOCK, Action.REVIEW}), states=frozenset({JobState.READY})),
    Filters(client_id="cam-7"),
    Filters(client_id="cam-7", states=frozenset({JobState.READY})),
    Filters(sha256=f"{3:064x}"),
    Filters(priority=Priority.HIGH),
    Filters(created_from=BEGIN + timedelta(days=5), created_until=BEGIN + timedelta(days=6)),
    Filters(states=frozenset({JobState.FAILED}), created_until=BEGIN + timedelta(days=6)),
    Filters(verdicts=frozenset({Action.BLOCK}), created_from=BEGIN + timedelta(days=5)),
]


def test_no_common_page_scans_or_sorts_a_table(database: Database) -> None:
    """Asked of the database itself: how it finds a page, and how many rows that reads."""
    videos = fill(database, MANY)
    postgres = _is_postgres(database)
    if not postgres:  # nothing in the service has it look at what it holds; PostgreSQL does so by itself
        _ask_for_plans(database, videos, _is_lean_sqlite)
    with database.write() as session:
        session.connection().exec_driver_sql("ANALYZE")
    _ask_for_plans(database, videos, _is_lean_postgres if postgres else _is_lean_sqlite)


def _is_postgres(database: Database) -> bool:
    with database.read() as session:
        return bool(session.get_bind().dialect.name == "postgresql")


def _ask_for_plans(database: Database, videos: list[Listed], check: Callable[[Any, Filters, int], None]) -> None:
    for filters in OFTEN:
        for page in (Page(21), Page(21, newest_first=False), Page(21, after=videos[MANY // 2].id)):
            with database.read() as session:
                statement, parameters, found = _listed(session, filters, page)
                assert found, filters
                check(_explain(session, statement, parameters), filters, len(found))


def _is_lean_sqlite(explained: Any, filters: Filters, _found: int) -> None:
    """Every table is entered through an index and nothing is sorted; only what a part found is read from end to end."""
    plan = [row[3] for row in explained]
    assert not [line for line in plan if "TEMP B-TREE" in line], (filters, plan)
    assert not [line for line in plan if line.startswith("SCAN") and not line.startswith("SCAN anon_")], (filters, plan)
    assert [line for line in plan if line.startswith("SEARCH")]


def _listed(session: Session, filters: Filters, page: Page) -> tuple[str, Any, list[str]]:
    """The one statement a page takes, and the ids it finds."""
    seen: list[tuple[str, Any]] = []

    def keep(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        seen.append((statement, parameters))

    event.listen(session.connection(), "before_cursor_execute", keep)
    found = list_videos(session, DEFAULT_TENANT, filters, page)
    event.remove(session.connection(), "before_cursor_execute", keep)
    assert len(seen) == 1
    return *seen[0], [status.id for status in found]


def _explain(session: Session, statement: str, parameters: Any) -> Any:
    postgres = session.get_bind().dialect.name == "postgresql"
    asked = "EXPLAIN (ANALYZE, FORMAT JSON) " if postgres else "EXPLAIN QUERY PLAN "
    return session.connection().exec_driver_sql(asked + statement, parameters).all()


def _is_lean_postgres(explained: Any, filters: Filters, found: int) -> None:
    """No sort, no scan of a whole table, and hardly more rows read than shown, several values of a filter included."""
    nodes = list(_nodes(explained[0][0][0]["Plan"]))
    assert not [one for one in nodes if one["Node Type"] in ("Sort", "Seq Scan", "Incremental Sort")], (filters, nodes)
    read = sum(
        (one["Actual Rows"] + one.get("Rows Removed by Filter", 0)) * one["Actual Loops"]
        for one in nodes
        if "Scan" in one["Node Type"] and one["Node Type"] != "Subquery Scan"
    )
    assert read <= 20 * found, (filters, read, nodes)


def _nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield {key: value for key, value in node.items() if key != "Plans"}
    for part in node.get("Plans", ()):
        yield from _nodes(part)
