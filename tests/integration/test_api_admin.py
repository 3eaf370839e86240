"""The pages of admins without a browser: what they hold, what forms do, whom they are for."""

from __future__ import annotations

import csv
import io
import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
from conftest import Api
from sqlalchemy import text
from sqlmodel import col, select
from tampering import unguarded

from vidlm.domain import Role
from vidlm.people import accounts
from vidlm.store import keys
from vidlm.store.chain import audit
from vidlm.store.ledger import Audit
from vidlm.store.people import Person
from vidlm.store.tables import DEFAULT_TENANT, ApiKey, Tenant

PASSWORD = "a-Long-enough-one-7"
OURS = {"Sec-Fetch-Site": "same-origin"}
GENERATED = re.compile(r'id="secret" class="mono">([^<]+)<')


@contextmanager
def browser(api: Api, name: str, password: str = PASSWORD) -> Iterator[httpx.Client]:
    """Somebody's browser, signed in if the password is theirs."""
    with httpx.Client(base_url=api.url, headers=OURS, timeout=20) as client:
        client.post("/sign-in", data={"name": name, "password": password})
        yield client


@pytest.fixture
def admin(api: Api) -> Iterator[httpx.Client]:
    with api.database.write() as session:
        accounts.create(session, "root", PASSWORD, role=Role.ADMIN)
    with browser(api, "root") as client:
        yield client


def person_id(api: Api, name: str) -> str:
    with api.database.read() as session:
        found = accounts.by_name(session, name)
        assert found is not None
        return found.id


def events_of(api: Api, target_id: str) -> list[tuple[str, str]]:
    with api.database.read() as session:
        rows = session.exec(select(Audit).where(Audit.target_id == target_id).order_by(col(Audit.number))).all()
        return [(row.event, row.actor) for row in rows]


def test_pages_of_admins_are_for_admins(api: Api, admin: httpx.Client) -> None:
    with api.database.write() as session:
        accounts.create(session, "lea", PASSWORD, role=Role.LEAD)
    with browser(api, "lea") as lead, httpx.Client(base_url=api.url) as nobody:
        for path in ("/audit", "/audit/verify", "/admin", "/admin/keys", "/admin/webhooks", "/admin/people/usr_1"):
            assert nobody.get(path).status_code == 303
            assert lead.get(path).status_code == 403, path
            assert admin.get(path).status_code in (200, 303, 404), path
        for path in (
            "/audit/verify",
            "/audit/export",
            "/admin/people",
            "/admin/people/usr_1/disable",
            "/admin/keys/make",
        ):
            assert lead.post(path, data={"name": "x"}).status_code == 403, path
        assert (
            admin.post("/admin/keys/make", data={"name": "x"}, headers={"Sec-Fetch-Site": "cross-site"}).status_code
            == 403
        )


def test_somebody_is_added_changed_switched_off_and_on_again(api: Api, admin: httpx.Client) -> None:
    made = admin.post("/admin/people", data={"name": "ann", "role": "reviewer"})
    assert (made.status_code, made.headers["cache-control"]) == (200, "no-store")
    (password,) = GENERATED.findall(made.text)
    ann, root = person_id(api, "ann"), person_id(api, "root")
    with browser(api, "ann", password) as hers:
        assert hers.get("/queue").status_code == 200
        changed = admin.post(f"/admin/people/{ann}/change", data={"role": "lead", "restricted": "1"})
        assert (changed.status_code, changed.headers["location"]) == (303, f"/admin/people/{ann}?said=changed")
        assert hers.get("/operations").status_code != 403
        assert admin.post(f"/admin/people/{ann}/sign-out").status_code == 303
        assert hers.get("/queue").status_code == 303
    with browser(api, "ann", password) as hers:
        (again,) = GENERATED.findall(admin.post(f"/admin/people/{ann}/password").text)
        assert hers.get("/queue").status_code == 303
    with browser(api, "ann", password) as hers:
        assert hers.get("/queue").status_code == 303  # the old one
    with browser(api, "ann", again) as hers:
        assert hers.get("/queue").status_code == 200
        assert admin.post(f"/admin/people/{ann}/disable").status_code == 303
        assert hers.get("/queue").status_code == 303
        assert "disabled" in admin.get("/admin").text
        assert admin.post(f"/admin/people/{ann}/enable").status_code == 303
        assert hers.get("/queue").status_code == 303  # she has to sign in again
    assert [event for event, actor in events_of(api, ann) if actor == root] == [
        "person.made",
        "person.changed",
        "person.signed_out_everywhere",
        "person.password_set",
        "person.changed",
        "person.changed",
    ]


def test_what_is_refused_is_said_beside_the_field_and_what_was_typed_stays(api: Api, admin: httpx.Client) -> None:
    hostile = "<img src=x onerror=alert(1)>"
    for name, said in ((hostile, "A name has up to 64"), ("root", "somebody called so"), ("", "A name has up to 64")):
        refused = admin.post("/admin/people", data={"name": name, "role": "lead", "restricted": "1"})
        assert refused.status_code == 422
        assert said in refused.text
        assert hostile not in refused.text
        assert '<option value="lead" selected>' in refused.text
    root = person_id(api, "root")
    for path in ("change", "disable"):
        refused = admin.post(f"/admin/people/{root}/{path}", data={"role": "viewer"})
        assert (refused.status_code, "Somebody has to stay admin" in refused.text) == (422, True)
    assert admin.post("/admin/people/usr_nobody/disable").status_code == 404
    assert admin.post("/admin/people/%00/disable").status_code == 404
    assert admin.get("/admin").status_code == 200


def test_one_tenants_admin_sees_nothing_of_another(api: Api, admin: httpx.Client) -> None:
    with api.database.write() as session:
        session.add(Tenant(id="ten_other", name="other"))
        session.flush()
        other = accounts.create(session, "stranger", PASSWORD, role=Role.ADMIN, tenant_id="ten_other")
        keys.create_key(session, "theirs", "ten_other")
        theirs = session.exec(select(ApiKey.id).where(ApiKey.name == "theirs")).one()
        audit(session, tenant_id="ten_other", actor=other.id, event="secret.event", target_id="vid_theirs")
    for path in ("/admin", "/admin/keys", "/audit", "/audit?target=vid_theirs"):
        page = admin.get(path).text
        assert "stranger" not in page
        assert "secret.event" not in page
        assert theirs not in page
    assert admin.get(f"/admin/people/{other.id}").status_code == 404
    assert admin.post(f"/admin/people/{other.id}/disable").status_code == 404
    assert admin.post(f"/admin/keys/{theirs}/revoke").status_code == 404
    assert "secret.event" not in admin.post("/audit/export", data={"format": "json"}).text


def test_a_key_is_made_used_and_revoked(api: Api, admin: httpx.Client) -> None:
    made = admin.post("/admin/keys/make", data={"name": "<b>cam & co</b>", "role": "viewer"})
    assert made.headers["cache-control"] == "no-store"
    assert "<b>cam" not in made.text
    (key,) = GENERATED.findall(made.text)
    with api.database.read() as session:
        row = session.exec(select(ApiKey).where(ApiKey.name == "<b>cam & co</b>")).one()
        assert (row.role, row.used_at, row.revoked_at) == ("viewer", None, None)
    headers = {"Authorization": f"Bearer {key}"}
    assert httpx.get(f"{api.url}/v1/videos", headers=headers).status_code == 200
    with api.database.read() as session:
        first = session.get_one(ApiKey, row.id).used_at
        assert first is not None
    assert httpx.get(f"{api.url}/v1/videos", headers=headers).status_code == 200
    with api.database.read() as session:
        assert session.get_one(ApiKey, row.id).used_at == first  # to the hour: nothing was written again
    assert key not in admin.get("/admin/keys").text
    for _ in range(2):
        assert admin.post(f"/admin/keys/{row.id}/revoke").status_code == 303
    assert httpx.get(f"{api.url}/v1/videos", headers=headers).status_code == 401
    assert [event for event, _ in events_of(api, row.id)] == ["key.made", "key.revoked"]
    assert "revoked" in admin.get("/admin/keys").text
    assert admin.post("/admin/keys/make", data={"name": " "}).status_code == 422


def noted(api: Api, count: int) -> None:
    with api.database.write() as session:
        for number in range(count):
            details = {"policy": "weapons.in_hand", "threshold": {"before": 0.5, "after": 0.25}, "frames": [1.0, 2.5]}
            audit(
                session,
                tenant_id=DEFAULT_TENANT,
                actor="key_1" if number % 2 else "key_2",
                event="flag.seen" if number % 3 else "flag.lost",
                target_id=f"vid_{number}",
                details=details,
            )


def numbers(page: httpx.Response) -> list[int]:
    assert page.status_code == 200
    return [int(found) for found in re.findall(r'<td class="number">(\d+)</td>', page.text)]


def test_the_audit_is_paged_by_number_and_filtered_by_its_address(api: Api, admin: httpx.Client) -> None:
    noted(api, 120)
    first = admin.get("/audit")
    seen, page = numbers(first), first
    while (more := re.search(r'href="(/audit\?cursor=\d+)">Older', page.text)) is not None:
        page = admin.get(more[1])
        seen += numbers(page)
    assert seen == list(range(len(seen), 0, -1))
    assert len(seen) >= 122
    assert "threshold.before" in first.text
    assert "1.0, 2.5" in first.text
    ours = numbers(admin.get("/audit?who=key_1&event=flag.lost"))
    assert len(ours) == 20
    assert len(numbers(admin.get("/audit?target=vid_7"))) == 1
    by_name = admin.get("/audit?who=root")
    assert numbers(by_name)
    assert "flag.seen" not in re.sub(r"<option.*?</option>", "", by_name.text)
    assert numbers(admin.get("/audit?who=root")) == numbers(admin.get(f"/audit?who={person_id(api, 'root')}"))
    assert numbers(admin.get("/audit?from=2000-01-01&until=2001-01-01")) == []
    assert len(numbers(admin.get("/audit?from=2000-01-01T00:00:00Z&target=vid_7"))) == 1
    for wrong in ("from=yesterday", "until=99999999999", "who=%00"):
        assert admin.get(f"/audit?{wrong}").status_code == 422, wrong
    assert numbers(admin.get("/audit?who=" + "x" * 100 + "&event=%3Cscript%3E")) == []


def test_what_was_put_there_by_hand_is_shown_as_it_is(api: Api, admin: httpx.Client) -> None:
    noted(api, 3)
    hostile = "<script>alert(1)</script>"
    with api.database.write() as session, unguarded(session):
        statement = text("UPDATE audit SET details = 'no json', event = :hostile WHERE target_id = 'vid_1'")
        session.connection().execute(statement, {"hostile": hostile})
    page = admin.get("/audit")
    assert "no json" in page.text
    assert hostile not in page.text
    assert "&lt;script&gt;alert(1)" in page.text


def verified(admin: httpx.Client) -> str:
    assert admin.post("/audit/verify").status_code == 303
    until_s = time.monotonic() + 20
    while time.monotonic() < until_s:
        part = admin.get("/audit/verify", headers={"HX-Request": "true"}).text
        if 'aria-busy="false"' in part:
            return part
        time.sleep(0.02)
    raise AssertionError("the chain was not verified in time")


def test_the_chain_is_verified_in_the_background_and_the_first_bad_row_is_named(api: Api, admin: httpx.Client) -> None:
    noted(api, 40)
    assert re.search(r"Yes: \d+ rows verified in \d+\.\d\d s", verified(admin))
    assert admin.get("/audit/verify").headers["location"] == "/audit"
    with api.database.read() as session:
        told = session.exec(select(Audit).where(Audit.event == "audit.verified")).one()
        assert told.actor == person_id(api, "root")
        assert told.details == {"rows": told.number - 1, "flaw": None, "number": None}
        bad = session.exec(select(Audit.number).where(Audit.target_id == "vid_20")).one()
    with api.database.write() as session, unguarded(session):
        session.connection().execute(text("UPDATE audit SET actor = 'x' WHERE target_id = 'vid_20'"))
    part = verified(admin)
    assert "A row was altered." in part
    assert f"Number {bad} (id " in part
    assert f'href="/audit?cursor={bad + 1}"' in part
    assert f'<td class="number">{bad}</td>' in admin.get(f"/audit?cursor={bad + 1}").text


def test_the_audit_is_taken_away_and_that_stands_in_it(api: Api, admin: httpx.Client) -> None:
    noted(api, 1200)
    taken = admin.post("/audit/export", data={"format": "csv"})
    assert taken.headers["content-disposition"] == 'attachment; filename="audit.csv"'
    rows = list(csv.DictReader(io.StringIO(taken.text)))
    assert [int(row["number"]) for row in rows] == list(range(1, len(rows) + 1))
    assert (rows[-1]["event"], rows[-1]["actor"]) == ("audit.exported", person_id(api, "root"))
    lines = admin.post("/audit/export", data={"format": "json", "until": "2000-01-01T00:00"})
    assert (lines.text, lines.headers["content-type"]) == ("", "application/x-ndjson")
    whole = admin.post("/audit/export", data={"format": "json"}).text.splitlines()
    assert json.loads(whole[0])["number"] == 1
    assert admin.post("/audit/export", data={"from": "soon"}).status_code == 422
    assert numbers(admin.get("/audit?event=audit.exported"))


def test_everybody_is_listed_with_where_they_are_signed_in(api: Api, admin: httpx.Client) -> None:
    with api.database.write() as session:
        accounts.create(session, "never", PASSWORD, role=Role.VIEWER)
    with browser(api, "root"):
        page = admin.get("/admin").text
    rows = {
        name: next(row for row in page.split("<tr>") if f"/admin/people/{person_id(api, name)}" in row)
        for name in ("root", "never")
    }
    assert '<td class="number">2</td>' in rows["root"]
    assert '<td class="number">0</td>' in rows["never"]
    assert ">never</span>" in rows["never"]
    with api.database.read() as session:
        assert len(session.exec(select(Person)).all()) == 2
