"""Poster, thumbnails and preview: there once a video is prepared, gone with it."""

from __future__ import annotations

from typing import Any

import pytest
from conftest import Api
from jobs_helpers import prepared
from test_api_videos import job_of, problem, upload

DOCUMENT: dict[str, Any] = {
    "poster": "poster.jpg",
    "thumbnails": {"interval_s": 1.0, "width": 160, "height": 120, "count": 2},
    "preview": None,
    "web_type": "video/mp4",
}


def prepare(api: Api, video_id: str, **changes: object) -> None:
    """Do what a worker would, with invented pictures."""
    job = job_of(api, video_id)
    folder = api.settings.data / "work" / job.id / "1"
    folder.mkdir(parents=True)
    for name in ("poster.jpg", "thumbnail-0.jpg", "thumbnail-1.jpg", "preview.mp4"):
        (folder / name).write_bytes(name.encode())
    prepared(api.database, job, document=DOCUMENT | changes)


def test_pictures_are_there_once_the_video_is_prepared(api: Api) -> None:
    video_id = upload(api).json()["id"]
    for part in ("poster", "thumbnails", "thumbnails/0", "preview"):
        assert problem(api.client.get(f"/v1/videos/{video_id}/{part}")) == (409, "not_ready")
    prepare(api, video_id)
    thumbnails = api.client.get(f"/v1/videos/{video_id}/thumbnails")
    assert thumbnails.json() == DOCUMENT["thumbnails"]
    for part, name in (("poster", "poster.jpg"), ("thumbnails/1", "thumbnail-1.jpg")):
        response = api.client.get(f"/v1/videos/{video_id}/{part}")
        assert (response.content, response.headers["content-type"]) == (name.encode(), "image/jpeg")
    assert problem(api.client.get(f"/v1/videos/{video_id}/thumbnails/2")) == (404, "not_found")
    assert problem(api.client.get(f"/v1/videos/{video_id}/thumbnails/-1"))[0] == 422


@pytest.mark.parametrize(
    ("changes", "content", "media_type"),
    [
        ({}, b"hello", "video/mp4"),
        ({"web_type": "video/webm"}, b"hello", "video/webm"),
        ({"web_type": None, "preview": "preview.mp4"}, b"preview.mp4", "video/mp4"),
    ],
)
def test_the_preview_is_what_browsers_play(
    changes: dict[str, object], content: bytes, media_type: str, api: Api
) -> None:
    video_id = upload(api, b"hello").json()["id"]
    prepare(api, video_id, **changes)
    response = api.client.get(f"/v1/videos/{video_id}/preview")
    assert (response.content, response.headers["content-type"]) == (content, media_type)
    part = api.client.get(f"/v1/videos/{video_id}/preview", headers={"Range": "bytes=1-3"})
    assert (part.status_code, part.content) == (206, content[1:4])


def test_where_no_preview_could_be_made_there_is_none(api: Api) -> None:
    video_id = upload(api).json()["id"]
    prepare(api, video_id, web_type=None)
    assert problem(api.client.get(f"/v1/videos/{video_id}/preview")) == (404, "not_found")


def test_pictures_go_with_their_video(api: Api) -> None:
    video_id = upload(api).json()["id"]
    prepare(api, video_id)
    assert api.client.delete(f"/v1/videos/{video_id}").status_code == 204
    for part in ("poster", "thumbnails", "thumbnails/0", "preview"):
        assert problem(api.client.get(f"/v1/videos/{video_id}/{part}")) == (410, "deleted")
    assert not list((api.settings.data / "work").rglob("*.jpg"))
