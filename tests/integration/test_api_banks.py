"""Banks of known videos over a real socket: entries, lists in and out, limits, and whose they are."""

from __future__ import annotations

import json
from typing import Any

import httpx
import numpy as np
import pytest
from conftest import Api
from sqlmodel import col, select
from test_api_videos import problem, upload

from api.middleware import MAX_BODY_BYTES
from api.routes import banks as route
from vidlm.known import banks
from vidlm.likeness.fingerprint import Fingerprint
from vidlm.likeness.hashlists import Form, entries_of, parse_hash_list, videos_of, write_hash_list
from vidlm.likeness.packing import pack
from vidlm.store.ledger import Audit
from vidlm.store.likeness import BankEntry, FingerprintRow, MatchRow
from vidlm.store.tables import DEFAULT_TENANT, Tenant

BAD, OK = "/v1/banks/known_bad", "/v1/banks/known_ok"


def frames(seed: int, count: int = 20) -> Fingerprint:
    hashes = np.random.default_rng(seed).integers(0, 256, (count, 32), np.uint8)
    return Fingerprint(np.arange(count) / 2, hashes, np.full(count, 90, np.uint8))


def listed(*seeds: int, form: Form = Form.JSONL) -> str:
    return write_hash_list([one for seed in seeds for one in entries_of(frames(seed), f"case {seed}", "ex")], form)


def prepared_video(api: Api, seed: int = 0) -> str:
    """An upload that a worker has looked at."""
    video_id: str = upload(api, b"video %d" % seed).json()["id"]
    with api.database.write() as session:
        session.add(
            FingerprintRow(video_id=video_id, tenant_id=DEFAULT_TENANT, frames=pack(frames(seed)), bank_version=0)
        )
    return video_id


def enter(api: Api, video_id: str, bank: str = BAD, **more: Any) -> httpx.Response:
    return api.client.post(f"{bank}/entries", json={"video_id": video_id, "reason": "seen before"} | more)


def import_(
    api: Api, text: str, bank: str = BAD, headers: dict[str, str] | None = None, **query: Any
) -> httpx.Response:
    return api.client.post(f"{bank}/import", content=text, params=query, headers=headers)


def audited(api: Api) -> list[tuple[str, dict[str, Any]]]:
    with api.database.read() as session:
        rows = session.exec(select(Audit).where(col(Audit.event).startswith("bank.")).order_by(col(Audit.id)))
        return [(row.event, row.details) for row in rows]


def test_an_entry_is_made_listed_shown_and_withdrawn(api: Api) -> None:
    video_id = prepared_video(api)
    answer = enter(api, video_id, decision_id="dec_1")
    entry = answer.json()
    assert (answer.status_code, answer.headers["location"]) == (201, f"{BAD}/entries/{entry['id']}")
    assert (entry["bank"], entry["video_id"], entry["frame_count"]) == ("known_bad", video_id, 20)
    assert (entry["reason"], entry["decision_id"], entry["restricted"]) == ("seen before", "dec_1", False)
    assert api.client.get(f"{BAD}/entries").json() == {"items": [entry], "next_before": None}
    assert api.client.get(f"{BAD}/entries/{entry['id']}").json() == entry
    assert problem(api.client.get(f"{OK}/entries/{entry['id']}")) == (404, "not_found")
    gone = api.client.delete(f"{BAD}/entries/{entry['id']}", params={"reason": "a rehearsal"}).json()
    assert (gone["removed_reason"], gone["removed_by"]) == ("a rehearsal", entry["created_by"])
    assert api.client.delete(f"{BAD}/entries/{entry['id']}").json() == gone
    assert api.client.get(f"{BAD}/entries").json()["items"] == []
    assert api.client.get(f"{BAD}/entries?withdrawn=true").json()["items"] == [gone]
    (made, details), (withdrawn, _) = audited(api)
    assert (made, withdrawn, details["video_id"]) == ("bank.entered", "bank.withdrawn", video_id)
    assert "seen before" not in str(details)


def test_a_video_is_in_one_bank_at_a_time(api: Api) -> None:
    video_id = prepared_video(api)
    bad = enter(api, video_id).json()
    assert enter(api, video_id).json() == bad
    fine = enter(api, video_id, OK).json()
    assert api.client.get(f"{BAD}/entries").json()["items"] == []
    assert [one["id"] for one in api.client.get(f"{OK}/entries").json()["items"]] == [fine["id"]]


def test_a_retried_request_makes_one_entry(api: Api) -> None:
    video_id, key = prepared_video(api), {"Idempotency-Key": "once"}
    asked = {"video_id": video_id, "reason": "x"}
    first, second = (api.client.post(f"{BAD}/entries", json=asked, headers=key) for _ in range(2))
    assert first.json() == second.json()
    assert second.headers["idempotent-replayed"] == "true"
    other = api.client.post(f"{BAD}/entries", json=asked | {"reason": "y"}, headers=key)
    assert problem(other) == (422, "idempotency_key_reused")
    lists = [import_(api, listed(1), headers={"Idempotency-Key": "list"}) for _ in range(2)]
    assert [one.json()["added"] for one in lists] == [1, 1]  # said again, done once
    assert [event for event, _ in audited(api)] == ["bank.entered", "bank.imported"]


def test_mistakes_are_explained(api: Api) -> None:
    assert problem(enter(api, "vid_nobodys")) == (404, "not_found")
    deleted = prepared_video(api)
    api.client.delete(f"/v1/videos/{deleted}")
    assert problem(enter(api, deleted)) == (410, "deleted")
    assert problem(enter(api, prepared_video(api), reason="")) == (422, "invalid_request")
    assert problem(api.client.get("/v1/banks/known_odd/entries")) == (422, "invalid_request")
    assert problem(api.client.delete(f"{BAD}/entries/bke_none")) == (404, "not_found")
    assert problem(api.client.get(f"{BAD}/entries/%00")) == (404, "not_found")
    assert problem(api.client.get(f"{BAD}/entries?before=%00")) == (422, "invalid_request")
    assert problem(import_(api, '{"hash": "12"}\n')) == (422, "invalid_hash_list")
    answer = import_(api, listed(1) + listed(1))
    assert problem(answer) == (422, "invalid_hash_list")
    assert "two frames at 0 s" in answer.json()["detail"]
    assert api.client.get(f"{BAD}/entries").json()["items"] == []


@pytest.mark.parametrize("form", list(Form))
def test_what_is_exported_can_be_imported_again(api: Api, form: Form) -> None:
    entry = enter(api, prepared_video(api, 3)).json()
    assert import_(api, listed(1, 2, form=form), format=form).json() == {
        "added": 2,
        "unchanged": 0,
        "replaced": 0,
        "frames": 40,
    }
    answer = api.client.get(f"{BAD}/export", params={"format": form})
    assert answer.headers["content-disposition"] == f'attachment; filename="known_bad.{form}"'
    videos = videos_of(parse_hash_list(answer.content, form))
    assert set(videos) == {("case 1", "ex"), ("case 2", "ex"), (entry["id"], "vidlm")}
    assert np.array_equal(videos[entry["id"], "vidlm"].hashes, frames(3).hashes)
    assert import_(api, answer.text, OK, format=form).json()["added"] == 3
    assert api.client.get(f"{OK}/export", params={"format": form}).text.count("vidlm") == 20


def test_a_list_is_brought_up_to_date_by_its_next_edition(api: Api) -> None:
    import_(api, listed(1, 2), reason="first edition")
    other = "".join(json.dumps(json.loads(line) | {"label": "case 2"}) + "\n" for line in listed(9).splitlines())
    done = import_(api, listed(1) + other, reason="second edition").json()
    assert (done["added"], done["unchanged"], done["replaced"]) == (0, 1, 1)
    reasons = {one["label"]: one["reason"] for one in api.client.get(f"{BAD}/entries").json()["items"]}
    assert reasons == {"case 1": "first edition", "case 2": "second edition"}
    assert audited(api)[-1][1] == {"added": 0, "unchanged": 1, "replaced": 1, "restricted": False}


def test_an_export_goes_on_over_many_pieces(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(route, "_EXPORTED", 2)
    import_(api, listed(*range(5)))
    for form in Form:
        text = api.client.get(f"{BAD}/export", params={"format": form}).content
        assert len(videos_of(parse_hash_list(text, form))) == 5


def test_lists_may_be_larger_than_other_bodies_and_not_larger_than_their_own_limit(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = listed(*range(30))
    assert len(text) > MAX_BODY_BYTES
    assert import_(api, text).json()["added"] == 30
    monkeypatch.setattr(route, "MAX_LIST_BYTES", len(text) - 1)
    assert problem(import_(api, text)) == (413, "too_large")
    monkeypatch.setattr(route, "MAX_LIST_VIDEOS", 1)
    assert problem(import_(api, listed(1, 2))) == (422, "invalid_hash_list")


def test_banks_are_bounded(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(banks, "MOST_ENTRIES", 2)
    assert import_(api, listed(1, 2)).status_code == 200
    assert import_(api, listed(1, 2)).status_code == 200  # nothing new
    assert problem(import_(api, listed(3))) == (409, "bank_full")
    assert problem(enter(api, prepared_video(api))) == (409, "bank_full")
    monkeypatch.setattr(banks, "MOST_ENTRIES", 9)
    monkeypatch.setattr(banks, "MOST_FRAMES", 41)
    assert problem(import_(api, listed(3))) == (409, "bank_full")


def test_entries_come_in_pages(api: Api) -> None:
    import_(api, listed(*range(7)))
    page = api.client.get(f"{BAD}/entries?limit=4").json()
    rest = api.client.get(f"{BAD}/entries", params={"limit": 4, "before": page["next_before"]}).json()
    labels = [one["label"] for one in page["items"] + rest["items"]]
    assert sorted(labels) == [f"case {n}" for n in range(7)]
    assert (len(page["items"]), rest["next_before"]) == (4, None)


def test_matches_say_what_where_and_whose_decision(api: Api) -> None:
    fresh = upload(api, b"still waiting").json()["id"]
    assert problem(api.client.get(f"/v1/videos/{fresh}/matches")) == (409, "not_ready")
    entry = enter(api, prepared_video(api, 1), decision_id="dec_9").json()
    video_id = prepared_video(api, 2)
    assert api.client.get(f"/v1/videos/{video_id}/matches").json() == {
        "video_id": video_id,
        "compared": True,
        "items": [],
    }
    with api.database.write() as session:
        session.add(
            MatchRow(
                tenant_id=DEFAULT_TENANT,
                video_id=video_id,
                entry_id=entry["id"],
                exact=False,
                similarity=0.87654,
                mirrored=True,
                start_s=1,
                end_s=3.00049,
                known_start_s=0,
                known_end_s=2,
                share=0.5,
                known_share=0.25,
            )
        )
    (item,) = api.client.get(f"/v1/videos/{video_id}/matches").json()["items"]
    assert (item["entry_id"], item["known_video_id"], item["decision_id"]) == (entry["id"], entry["video_id"], "dec_9")
    assert (item["similarity"], item["end_s"], item["withdrawn"]) == (0.877, 3.0, False)
    api.client.delete(f"{BAD}/entries/{entry['id']}")
    (item,) = api.client.get(f"/v1/videos/{video_id}/matches").json()["items"]
    assert item["withdrawn"]


def test_another_tenant_neither_sees_nor_changes_a_bank(api: Api) -> None:
    import_(api, listed(1))
    with api.database.write() as session:
        session.add(Tenant(id="ten_other", name="other"))
    theirs = api.key("ten_other")
    assert httpx.get(f"{api.url}{BAD}/entries", headers=theirs).json()["items"] == []
    assert httpx.get(f"{api.url}{BAD}/export", headers=theirs).text == ""
    assert httpx.post(f"{api.url}{BAD}/import", content=listed(1), headers=theirs).json()["added"] == 1
    with api.database.read() as session:
        owners = session.exec(select(BankEntry.tenant_id).order_by(col(BankEntry.tenant_id))).all()
    assert owners == [DEFAULT_TENANT, "ten_other"]
