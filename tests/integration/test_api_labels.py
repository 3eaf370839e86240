"""Flags in the words of other taxonomies, over a real socket."""

import pytest
from conftest import Api
from jobs_helpers import ATTEMPTS, must_take
from sqlmodel import col, update
from test_api_videos import finish, job_of, problem, upload

from vidlm.errors import MediaError
from vidlm.jobs import life
from vidlm.queue import Task
from vidlm.store.tables import FlagRow


def test_flags_are_told_in_another_taxonomy(api: Api) -> None:
    video_id = upload(api).json()["id"]
    finish(api, video_id)
    with api.database.write() as session:
        session.exec(update(FlagRow).where(col(FlagRow.policy_id) == "a.b").values(policy_id="violence.armed_attack"))
    told = {
        scheme: api.client.get(f"/v1/videos/{video_id}/labels", params={"scheme": scheme}).json()
        for scheme in ("aws", "llama_guard")
    }
    span = {"policy_id": "violence.armed_attack", "start_s": 0.0, "end_s": 5.0, "confidence": 0.75}
    weapon = {"id": "Weapon Violence", "title": "Weapon Violence", "parents": ["Violence", "Graphic Violence"]}
    assert told == {
        "aws": {"scheme": "aws", "labels": [weapon | span]},
        "llama_guard": {
            "scheme": "llama_guard",
            "labels": [{"id": "S1", "title": "Violent Crimes", "parents": []} | span],
        },
    }


def test_a_flag_without_a_counterpart_is_left_out(api: Api) -> None:
    video_id = upload(api).json()["id"]
    finish(api, video_id)
    assert api.client.get(f"/v1/videos/{video_id}/labels?scheme=aws").json() == {"scheme": "aws", "labels": []}


@pytest.mark.parametrize("asked", ["", "?scheme=", "?scheme=nonsense"])
def test_a_taxonomy_must_be_named(api: Api, asked: str) -> None:
    video_id = upload(api).json()["id"]
    assert problem(api.client.get(f"/v1/videos/{video_id}/labels{asked}")) == (422, "invalid_request")


def test_a_video_without_a_result_has_no_labels(api: Api) -> None:
    video_id = upload(api).json()["id"]
    address = f"/v1/videos/{video_id}/labels?scheme=aws"
    assert problem(api.client.get(address)) == (409, "not_ready")
    held = must_take(api.database, Task.PREPARE, job_of(api, video_id).id)
    with api.database.write() as session:
        life.gave_up(session, held, MediaError("no_frames", "nothing in it"), max_attempts=ATTEMPTS)
    assert problem(api.client.get(address)) == (409, "no_analysis")
