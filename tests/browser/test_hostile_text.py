"""Whatever a file, a person or a model writes is shown as text: forty ways to be something else, on every page.

A text that got through would run (`pwned`), open a dialog, or at least be stopped by the page's security policy, which
logs an error, which fails the test.
"""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from browser_helpers import House, Tab
from jobs_helpers import analysis
from playwright.sync_api import Page
from ready_rows import ready
from review_helpers import flag

from vidlm.domain import to_document
from vidlm.store.review import ReviewItem
from vidlm.store.tables import Question

RUN = "window.pwned=1"
PAYLOADS = [
    f"<script>{RUN}</script>",
    f"<SCRIPT SRC=data:,{RUN}></SCRIPT>",
    f"<script type=module>{RUN}</script>",
    f"</script><script>{RUN}</script>",
    f"</SCRIPT ><script>{RUN}//",
    f"<!--<script>-->{RUN}</script>",
    f"<img src=x onerror={RUN}>",
    f"<img src=x onerror='{RUN}'>",
    f'"><img src=x onerror={RUN}>',
    f"'><img src=x onerror={RUN}>",
    f"<svg onload={RUN}>",
    f"<svg><script>{RUN}</script></svg>",
    f"<svg><animate onbegin={RUN} attributeName=x dur=1s>",
    f"<svg><a xlink:href='javascript:{RUN}'><text y=20>x</text></a></svg>",
    f"<body onload={RUN}>",
    f"<iframe src='javascript:{RUN}'></iframe>",
    f"<iframe srcdoc='<script>parent.{RUN}</script>'></iframe>",
    f"<object data='javascript:{RUN}'></object>",
    f"<embed src='javascript:{RUN}'>",
    f"<a href='javascript:{RUN}' autofocus onfocus={RUN}>x</a>",
    f"<input autofocus onfocus={RUN}>",
    f"<select autofocus onfocus={RUN}>",
    f"<textarea autofocus onfocus={RUN}>",
    f"</textarea><script>{RUN}</script>",
    f"</title><script>{RUN}</script>",
    f"</style><script>{RUN}</script>",
    f"<details open ontoggle={RUN}>x</details>",
    f"<video><source onerror={RUN}></video>",
    f"<audio src=x onerror={RUN}>",
    f"<marquee onstart={RUN}>x</marquee>",
    f"<form action='javascript:{RUN}'><button autofocus>x</button></form>",
    f"<math><mtext><table><mglyph><style><img src=x onerror={RUN}>",
    f"<noscript><p title='</noscript><img src=x onerror={RUN}>'>",
    f"<template><script>{RUN}</script></template>",
    f"<base href='javascript:/a/-{RUN}//'>",
    f"<meta http-equiv=refresh content='0;url=javascript:{RUN}'>",
    f"<div hx-get='/x' hx-trigger=load hx-on::load='{RUN}'>x</div>",
    f"{{{{ ''.__class__ }}}}${{{RUN}}}<%= {RUN} %>",
    f"&lt;script&gt;{RUN}&lt;/script&gt;&#60;img src=x onerror={RUN}&#62;",
    f"\u202e<img src=x onerror={RUN}>\u2028{RUN}\u2029",
]
"""Each once; together all that a page could be misled by."""


def planted(house: House, payload: str) -> tuple[str, str]:
    """(video, review item) with the payload in every text that comes from outside."""
    found = to_document(analysis())
    found["summary"] = {
        "text": payload,
        "chapters": [{"start_s": 0.0, "end_s": 1.0, "title": payload}],
        "highlights": [],
    }
    found["verdict"] = {"action": "review", "reason": payload}
    found["segments"] = [segment | {"caption": payload} for segment in found["segments"]]
    found["provenance"] = found["provenance"] | {"model_id": payload}
    item_id = ready(house.database, flag(), text=payload, document=found)
    with house.database.write() as session:
        item = session.get_one(ReviewItem, item_id)
        item.state, item.decided_at = "decided", item.created_at  # nobody is given it
        asked = Question(tenant_id=item.tenant_id, video_id=item.video_id, text=payload, state="done")
        asked.answer = {"question": payload, "text": payload, "confidence": 0.5, "abstained": False, "evidence": []}
        asked.answer |= {"provenance": found["provenance"]}
        session.add_all([item, asked])
        return item.video_id, item_id


def check(page: Page, where: str) -> None:
    page.wait_for_timeout(150)
    assert page.evaluate("window.pwned") is None, where


@pytest.fixture(scope="module")
def hostile(house: House) -> Iterator[list[tuple[str, str, str]]]:
    """(payload, video, item) of each; gone afterwards."""
    assert len(set(PAYLOADS)) == 40
    made = [(payload, *planted(house, payload)) for payload in PAYLOADS]
    yield made
    for _, video_id, _ in made:
        httpx.delete(f"{house.url}/v1/videos/{video_id}", headers={"Authorization": f"Bearer {house.client.key}"})


def test_hostile_texts_stay_texts(tab: Tab, hostile: list[tuple[str, str, str]]) -> None:
    tab.allowed += ["404", "409", "410"]  # there are rows, and no pictures
    page = tab.sign_in("admin")
    dialogs: list[str] = []
    page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    for payload, video_id, item_id in hostile:
        tab.go(f"/videos/{video_id}")
        check(page, f"video: {payload}")
        assert payload.split("\u202e")[-1][:20] in page.locator("main").inner_text().replace("\u202e", "")
        tab.go(f"/review/{item_id}")
        check(page, f"review: {payload}")
        assert payload.split("\u202e")[-1][:20] in page.locator("main").inner_text().replace("\u202e", "")
    for path in ("/queue", "/library", "/quality", "/operations", "/audit", "/policies"):
        tab.go(path)
        check(page, path)
    assert dialogs == []


def test_hostile_words_of_people_stay_words(tab: Tab, house: House, hostile: list[tuple[str, str, str]]) -> None:
    tab.allowed += ["404", "409", "410"]
    for number, payload in enumerate(PAYLOADS[:10]):
        _, video_id, _ = hostile[number]
        house.client.post(
            "/v1/review/golden", {"video_id": video_id, "outcome": "approve", "violated": [], "note": payload}
        )
    made = house.client.post(
        "/v1/review/queues", {"name": "hostile", "title": PAYLOADS[0], "rule": {"languages": ["xx"]}}
    )
    assert made["title"] == PAYLOADS[0]
    draft = house.client.post("/v1/policy-sets", {"name": PAYLOADS[8]})
    page = tab.sign_in("admin")
    ours = ("/quality", "/quality/golden", "/quality/rules")
    for path in ("/queue", "/queue?queue=hostile", *ours, "/policies", "/audit", "/admin", "/settings"):
        tab.go(path)
        check(page, path)
    key = {"Authorization": f"Bearer {house.client.key}"}
    assert httpx.delete(f"{house.url}/v1/review/queues/hostile", headers=key).is_success
    assert httpx.delete(f"{house.url}/v1/policy-sets/{draft['id']}", headers=key).is_success


def test_a_hostile_address_is_no_page(tab: Tab) -> None:
    tab.allowed += ["404", "422"]
    page = tab.sign_in("admin")
    for payload in PAYLOADS[:12]:
        for path in ("/queue?severity=", "/queue?cursor=", "/library?q=", "/videos/", "/review/", "/sign-in?next="):
            page.goto(tab.url + path + "".join(f"%{byte:02x}" for byte in payload.encode()))
            assert page.evaluate("window.pwned") is None, (path, payload)
