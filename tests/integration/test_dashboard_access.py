"""Pages over a real socket: who may see which, what other sites can make a browser do, and the headers of each."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
from conftest import Api
from fastapi.routing import APIRoute
from review_helpers import analysed, flag
from test_api_access import NOBODYS

from api import browsers, roles
from api.dashboard import PAGES, rendering
from vidlm.domain import Role
from vidlm.people import accounts
from vidlm.people.signing_in import NAME_MOST

PASSWORD = "a-Long-enough-one-7"
SAME = {"Sec-Fetch-Site": "same-origin"}
OPEN = {("GET", "/sign-in"), ("POST", "/sign-in"), ("GET", "/static/{digest}/{name:path}")}
STREAMS = {"/queue/events"}


def pages() -> list[tuple[str, str]]:
    found = [route for module in PAGES for route in module.router.routes if isinstance(route, APIRoute)]
    return [(method, route.path) for route in found for method in sorted(route.methods)]


def filled(path: str, ids: dict[str, str]) -> str:
    """An address of the page, of rows that are nobody's unless `ids` names them."""
    return re.sub(r"\{(\w+)(?::\w+)?\}", lambda found: (NOBODYS | ids).get(found[1], "none_1"), path)


@contextmanager
def browser(api: Api, role: Role, *, restricted: bool = False) -> Iterator[httpx.Client]:
    """A client that is signed in as somebody new."""
    name = f"{role}{'-r' if restricted else ''}"
    with api.database.write() as session:
        if accounts.by_name(session, name) is None:
            accounts.create(session, name, PASSWORD, role=role, restricted=restricted)
    with httpx.Client(base_url=api.url, headers=SAME, timeout=30) as client:
        answer = client.post("/sign-in", data={"name": name, "password": PASSWORD, "next": "/"})
        assert answer.status_code == 303, answer.text
        yield client


def test_every_page_needs_somebody(api: Api) -> None:
    for method, path in pages():
        if (method, path) in OPEN:
            continue
        answer = httpx.request(method, api.url + filled(path, {}), headers=SAME)
        assert (answer.status_code, answer.headers["location"].split("?")[0]) == (303, "/sign-in"), (method, path)
        part = httpx.request(method, api.url + filled(path, {}), headers=SAME | {"HX-Request": "true"})
        assert (part.status_code, part.headers["hx-redirect"]) == (401, "/sign-in")


@pytest.mark.parametrize("role", list(Role))
def test_every_page_is_for_those_it_is_said_to_be_for(api: Api, role: Role) -> None:
    with browser(api, role) as client:
        for method, path in sorted(pages(), key=lambda page: page[1] == "/sign-out"):
            if (method, path) in OPEN or path in STREAMS:
                continue
            answer = client.request(method, filled(path, {}))
            if role.covers(roles.needed(method, path)):
                assert answer.status_code not in (401, 403), (method, path)
                assert "/sign-in" not in answer.headers.get("location", "") or path == "/sign-out", (method, path)
            else:
                assert answer.status_code == 403, (method, path)
                assert "text/html" in answer.headers["content-type"]


def test_roles_are_named_for_pages_and_routes_that_are_there(api: Api) -> None:
    served = {f"{method} {route.path}" for route in api_routes(api) for method in route.methods}
    assert set(roles.NAMED) <= served | {f"{method} {path}" for method, path in pages()}


def api_routes(api: Api) -> list[APIRoute]:
    from api.main import ROUTES  # noqa: PLC0415

    assert api.url
    return [route for module in ROUTES for route in module.router.routes if isinstance(route, APIRoute)]


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {},
    ],
    ids=["cross-site", "same-site", "origin", "null", "nothing"],
)
def test_another_site_changes_nothing(api: Api, headers: dict[str, str]) -> None:
    with browser(api, Role.ADMIN) as client:
        secret = client.cookies[browsers.COOKIE]
    analysed(api.database, flag())
    for path, sent in (("/v1/review/claim", {"json": {}}), ("/review/start", {"data": {}}), ("/sign-out", {})):
        answer = httpx.post(api.url + path, headers=headers, cookies={browsers.COOKIE: secret}, **sent)
        assert answer.status_code == 403, path
        assert "cross_site" in answer.text
    answer = httpx.post(f"{api.url}/sign-in", headers=headers, data={"name": "admin", "password": PASSWORD})
    assert answer.status_code == 403
    assert httpx.get(f"{api.url}/v1/review/items", cookies={browsers.COOKIE: secret}).json()["items"]


def test_a_page_of_ours_is_told_by_its_origin_too(api: Api) -> None:
    with browser(api, Role.REVIEWER) as client:
        secret = client.cookies[browsers.COOKIE]
    answer = httpx.post(
        f"{api.url}/v1/review/claim", headers={"Origin": api.url}, cookies={browsers.COOKIE: secret}, json={}
    )
    assert answer.status_code == 200


def test_whoever_signed_in_may_use_the_api_as_their_role_allows(api: Api) -> None:
    analysed(api.database, flag())
    with browser(api, Role.REVIEWER) as client:
        item = client.post("/v1/review/claim", json={}).json()["item"]
        assert item["claimed_by"].startswith("usr_")
        assert client.delete(f"/v1/videos/{item['video_id']}").status_code == 403
        client.post("/sign-out")
        assert client.get("/v1/review/items").status_code == 401


def test_the_cookie_is_kept_from_scripts_and_other_sites(api: Api) -> None:
    with api.database.write() as session:
        accounts.create(session, "ann", PASSWORD, role=Role.VIEWER)
    answer = httpx.post(f"{api.url}/sign-in", headers=SAME, data={"name": "ann", "password": PASSWORD})
    cookie = answer.headers["set-cookie"]
    assert {"HttpOnly", "SameSite=lax", "Path=/"} <= {part.strip() for part in cookie.split(";")}
    secure = httpx.post(
        f"{api.url}/sign-in", headers=SAME | {"X-Forwarded-Proto": "https"}, data={"name": "ann", "password": PASSWORD}
    )
    assert "Secure" in secure.headers["set-cookie"]


def test_too_many_wrong_passwords_are_told_when_to_come_back(api: Api) -> None:
    asked = {"name": "somebody", "password": "wrong password", "next": "/"}
    for _ in range(NAME_MOST):
        assert httpx.post(f"{api.url}/sign-in", headers=SAME, data=asked).status_code == 401
    answer = httpx.post(f"{api.url}/sign-in", headers=SAME, data=asked)
    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) > 60


@pytest.mark.parametrize(
    "wanted", ["//evil.example/x", "https://evil.example", "/\\evil.example", "javascript:x", "/a\nb"]
)
def test_signing_in_leads_nowhere_else(api: Api, wanted: str) -> None:
    with api.database.write() as session:
        accounts.create(session, "ann", PASSWORD, role=Role.VIEWER)
    asked = {"name": "ann", "password": PASSWORD, "next": wanted}
    assert httpx.post(f"{api.url}/sign-in", headers=SAME, data=asked).headers["location"] == "/"


def test_every_page_keeps_foreign_scripts_out(api: Api) -> None:
    item = analysed(api.database, flag())
    with browser(api, Role.ADMIN, restricted=True) as client:
        for method, path in pages():
            if method != "GET" or path in STREAMS or path.startswith("/static"):
                continue
            answer = client.get(filled(path, {"video_id": item.video_id}), headers={"Accept": "text/html"})
            if "text/html" in answer.headers.get("content-type", ""):
                assert answer.headers["content-security-policy"] == rendering.CSP, path
                assert not re.search(
                    r"<script(?![^>]*(src=|application/json))|<style|\sstyle=|\son\w+=", answer.text
                ), path
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["cache-control"] == "no-store"


def test_static_files_are_kept_for_ever_under_their_releases_address_only(api: Api) -> None:
    style = rendering.asset("css/base.css")
    assert "immutable" in httpx.get(api.url + style).headers["cache-control"]
    assert httpx.get(f"{api.url}/static/old/css/base.css").headers["cache-control"] == "no-cache"
    for path in ("css/../../words.py", "css%2f..%2f..%2fwords.py", "../rendering.py", "none.css"):
        assert httpx.get(f"{api.url}/static/x/{path}", follow_redirects=True).status_code == 404


def test_an_address_that_is_not_there_is_a_page_for_people_and_a_document_for_programs(api: Api) -> None:
    page = httpx.get(f"{api.url}/nothing", headers={"Accept": "text/html"})
    assert (page.status_code, page.headers["content-type"].split(";")[0]) == (404, "text/html")
    document = httpx.get(f"{api.url}/nothing")
    assert document.headers["content-type"] == "application/problem+json"
    assert httpx.get(f"{api.url}/v1/nothing", headers={"Accept": "text/html"}).json()["code"] == "not_found"
