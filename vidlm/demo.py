"""`vidlm demo`: a few drawn clips through the real service, as a client would send them, and what came out of it.

Everything goes over REST. The stages: draw, start, upload, wait, show, ask, and stay up (or stop, with `--exit`).
"""

from __future__ import annotations

import contextlib
import json
import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from rich.table import Column, Table
from rich.text import Text

from vidlm import logs, screen
from vidlm.client import Client
from vidlm.config import Settings
from vidlm.domain import Action, JobState
from vidlm.errors import ServiceError
from vidlm.launch import Service
from vidlm.toyworld.files import DemoClip, demo_clips

FLAGS_SHOWN: Final = 4
POLL_S: Final = 0.5
START_S: Final = 60.0
PATIENCE_S: Final = 900.0
"""All clips must have ended by then; a laptop needs about one."""
ASKED: Final = "kitchen-knife"
"""The clip that is asked its question."""

_ENDS: Final = frozenset(
    {JobState.READY, JobState.REJECTED, JobState.FAILED, JobState.CANCELLED, JobState.EXPIRED, JobState.DELETED}
)


@dataclass(frozen=True, slots=True)
class Shown:
    """One row of the table."""

    clip: str
    video_id: str
    state: str
    error: str | None
    caption: str
    flags: list[str]
    verdict: str | None
    seconds: float


@dataclass(frozen=True, slots=True)
class Report:
    """What the demo showed; `ok` when every clip is ready."""

    ok: bool
    address: str
    model: str
    toy_model: bool
    clips: list[Shown] = field(default_factory=list)
    question: dict[str, Any] | None = None


def run_demo(settings: Settings, *, stay: bool, json_file: Path | None = None) -> bool:
    """Run the demo; True if every clip ended `ready`. With `stay`, goes on until interrupted. Leaves no process behind.

    Raises `ServiceError` where the service does not come up or does not answer, `SettingsError` for a port in use.
    """
    logs.configure("demo")
    logging.getLogger("alembic").setLevel(logging.WARNING)
    clips = _draw(settings.data / "demo")
    console = screen.out()
    console.print("Starting database, queue, workers and API ...")
    with Service(settings) as service:
        service.wait_ready(START_S)
        key = service.api_key or service.create_key("demo")
        report = _show(Client(service.url, key), clips)
        if json_file is not None:
            json_file.write_text(json.dumps(asdict(report), indent=2) + "\n", encoding="utf-8")
        if stay:
            console.print(Text("\nThe service stays up at ").append(service.url, "bold").append(" (Ctrl-C stops it)."))
            screen.print_sign_in(service.url, service.first_password)
            console.print(f"Its API is described at {service.url}/openapi.json; a key for it: {key}", soft_wrap=True)
            with contextlib.suppress(KeyboardInterrupt):
                threading.Event().wait()
    return report.ok


def _draw(folder: Path) -> list[DemoClip]:
    with screen.progress_bar("drawing clips", counted=True) as report:
        return demo_clips(folder, lambda done, count: report("drawing clips", done, count))


def _show(client: Client, clips: Sequence[DemoClip]) -> Report:
    """Upload, wait, show and ask."""
    console = screen.out()
    ids = {clip.name: str(client.upload(clip.path)["id"]) for clip in clips}
    console.print(f"Uploaded {len(ids)} clips to {client.address}/v1/videos")
    videos = _wait(client, ids)
    results = {
        name: client.get(f"/v1/videos/{video_id}/analysis") if videos[name]["state"] == JobState.READY else None
        for name, video_id in ids.items()
    }
    shown = [_row(name, videos[name], results[name]) for name in ids]
    console.print(_table(shown))
    asked = next((clip for clip in clips if clip.name == ASKED and results[clip.name]), None)
    answer = _ask(client, asked, ids[asked.name]) if asked else None
    made = next((result["provenance"] for result in results.values() if result), None)
    toy = bool(made and made["toy_model"])
    screen.print_toy_notice(toy=toy)
    return Report(
        ok=all(row.state == JobState.READY for row in shown),
        address=client.address,
        model=made["model_id"] if made else "",
        toy_model=toy,
        clips=shown,
        question=answer,
    )


def _wait(client: Client, ids: dict[str, str]) -> dict[str, dict[str, Any]]:
    """Poll until every video's job has ended; their documents by clip name."""
    ended: dict[str, dict[str, Any]] = {}
    give_up = time.monotonic() + PATIENCE_S
    with screen.progress_bar("waiting", len(ids), counted=True) as bar:
        while len(ended) < len(ids):
            if time.monotonic() > give_up:
                raise ServiceError(
                    f"{len(ids) - len(ended)} of {len(ids)} clips had not ended after {PATIENCE_S:.0f} s"
                )
            part = 0.0
            for name, video_id in ids.items():
                if name in ended:
                    continue
                video = client.get(f"/v1/videos/{video_id}")
                part += video["progress"]["fraction"]
                if video["state"] in _ENDS:
                    ended[name] = video
                    bar.say(f"  {name}: {video['state']}")
                elif video["state"] != JobState.QUEUED:
                    bar(f"{video['state']} {name}", len(ended) + part)
            time.sleep(POLL_S)
    return ended


def _row(name: str, video: dict[str, Any], result: dict[str, Any] | None) -> Shown:
    problem = video["error"]
    caption, flags = "", []
    if result is not None:
        segments = result["segments"]
        telling = [*result["summary"]["highlights"], 0][0]
        caption = segments[telling]["caption"] if segments else ""
        flags = list(dict.fromkeys(flag["policy_id"] for flag in result["flags"]))
    return Shown(
        clip=name,
        video_id=video["id"],
        state=video["state"],
        error=f"{problem['code']}: {problem['detail']}" if problem else None,
        caption=caption,
        flags=flags,
        verdict=video["verdict"]["action"] if video["verdict"] else None,
        seconds=_seconds(video),
    )


def _seconds(video: dict[str, Any]) -> float:
    """From the upload to the job's end, waiting for the clips before it included."""
    if not video["finished_at"]:
        return 0.0
    start, end = (datetime.fromisoformat(video[name]) for name in ("created_at", "finished_at"))
    return round((end - start).total_seconds(), 1)


def _table(rows: Sequence[Shown]) -> Table:
    table = Table(
        Column("clip", no_wrap=True),
        "caption",
        Column("flags", overflow="fold", max_width=24),
        "verdict",
        Column("seconds", justify="right"),
    )
    for row in rows:
        verdict = Text(row.verdict, screen.COLOURS[Action(row.verdict)]) if row.verdict else Text(row.state, "red")
        caption = screen.plain(row.error or row.caption)
        shown = row.flags[:FLAGS_SHOWN]
        more = [f"and {len(row.flags) - FLAGS_SHOWN} more"] if len(row.flags) > FLAGS_SHOWN else []
        table.add_row(row.clip, caption, "\n".join([*shown, *more]) or "-", verdict, f"{row.seconds:.1f}")
    return table


def _ask(client: Client, clip: DemoClip, video_id: str) -> dict[str, Any]:
    """Ask a clip its question and print the answer; the question's document."""
    console = screen.out()
    asked = client.post(f"/v1/videos/{video_id}/questions", {"question": clip.question}, {"Prefer": "wait=30"})
    give_up = time.monotonic() + PATIENCE_S
    while asked["state"] in ("queued", "answering") and time.monotonic() < give_up:
        time.sleep(POLL_S)
        asked = client.get(f"/v1/questions/{asked['id']}")
    console.print(Text("\nAsked ").append(clip.name, "bold").append(f": {clip.question}"))
    answer = asked["answer"]
    if answer is None:
        console.print(f"  no answer: {asked['state']}")
        return dict(asked)
    console.print(Text("  ").append_text(screen.plain(answer["text"])), style="bold")
    for evidence in answer["evidence"]:
        console.print(f"  {screen.span(evidence['start_s'], evidence['end_s'])}   relevance {evidence['score']:.2f}")
    console.print(f"  confidence {answer['confidence']:.2f}")
    return dict(asked)
