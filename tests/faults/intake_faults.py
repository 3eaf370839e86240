"""What goes wrong while a file comes in: the API dies, the request comes again, the disk is full, the line breaks."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import secrets
import socket
import struct
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
from sqlmodel import col, func, select

from tests.faults.ledger import Outcome, count_doubled, seconds_open, wait_ended
from tests.faults.load import Uploads, fresh
from tests.faults.world import ROOT, Crew, World
from vidlm.store.tables import Video

POINTS = (
    "upload.received",
    "upload.sealed",
    "upload.placed",
    "upload.recorded",
    "upload.committed",
    "upload.answered",
)


def api_crashes(folder: Path, database_url: str | None, kills: int) -> Outcome:
    """The API is killed at six points while clients upload; every retry carries its key."""
    crew = Crew(crash_at={"api": ",".join(f"{point}:0.06" for point in POINTS)})
    with World(folder, database_url, crew) as world:
        uploads = Uploads(world)
        stop = threading.Event()

        def upload() -> None:
            with world.client(10) as client:
                while not stop.is_set():
                    uploads.send(client, fresh(len(uploads.acknowledged)), twice=random.random() < 0.3)

        threads = [threading.Thread(target=upload) for _ in range(4)]
        for thread in threads:
            thread.start()
        while world.deaths("api") < kills:
            time.sleep(0.1)
        tried = world.deaths("api")
        stop.set()
        for thread in threads:
            thread.join()
        done = wait_ended(world.database, uploads.acknowledged, 60)
        with world.database.read() as session:
            videos = session.exec(select(func.count()).select_from(Video)).one()
        unknown = videos - len(uploads.acknowledged)  # rows that no client was ever told of
        return Outcome(
            "api killed between the first byte and the answer",
            tried,
            lost=len(uploads.acknowledged) - len(done),
            doubled=count_doubled(world.database) + uploads.contradictions + unknown,
            worst_s=seconds_open(world.database, uploads.acknowledged),
            bar="0 lost after 202, stuck <= 60 s",
            held=len(done) == len(uploads.acknowledged) and unknown == 0,
            note=f"{len(uploads.acknowledged)} uploads acknowledged",
        )


def retried_posts(folder: Path, database_url: str | None, count: int) -> Outcome:
    """The same request many times at once, and another one under its key."""
    with World(folder, database_url, Crew()) as world, world.client() as client:
        headers = {"Idempotency-Key": "the-one"}

        def post(data: bytes) -> httpx.Response:
            return client.post("/v1/videos", files={"file": ("a.mp4", data)}, headers=headers)

        began_s = time.monotonic()
        with ThreadPoolExecutor(50) as pool:
            answers = list(pool.map(lambda _: post(b"same"), range(count)))
        seconds = time.monotonic() - began_s
        other = post(b"other")
        with world.database.read() as session:
            videos = session.exec(select(func.count()).select_from(Video)).one()
    alike = len({answer.content for answer in answers}) == 1 and {answer.status_code for answer in answers} == {202}
    return Outcome(
        "the same POST many times at once",
        count,
        lost=0 if alike else 1,
        doubled=videos - 1,
        worst_s=seconds,
        bar="1 row, same body; other body 422",
        held=alike and videos == 1 and other.status_code == 422,
    )


def broken_uploads(folder: Path, database_url: str | None, resets: int) -> Outcome:
    """Resumable uploads whose connections are reset at random places."""
    chooser = random.Random(7)
    done_resets, wrong, files = 0, 0, 0
    with World(folder, database_url, Crew()) as world, world.client() as client:
        wanted: dict[str, str] = {}
        while done_resets < resets:
            data = chooser.randbytes(chooser.randint(50_000, 2_000_000))
            tus = {"Tus-Resumable": "1.0.0"}
            made = client.post("/v1/uploads", headers=tus | {"Upload-Length": str(len(data))})
            place, offset = made.headers["location"], 0
            files += 1
            for _ in range(chooser.randint(2, 8)):
                break_at = chooser.randint(offset, len(data))
                _send_and_reset(world, place, offset, data[offset:], break_at - offset)
                done_resets += 1
                offset = _offset(client, place)
            while offset < len(data):
                kind = {"Content-Type": "application/offset+octet-stream", "Upload-Offset": str(offset)}
                answer = client.patch(place, headers=tus | kind, content=data[offset:])
                if answer.status_code not in (204, 409, 423):
                    break
                offset = _offset(client, place)
            wanted[place.rpartition("/")[2]] = hashlib.sha256(data).hexdigest()
        with world.database.read() as session:
            rows = session.exec(select(Video.id, Video.sha256).where(col(Video.id).in_(wanted))).all()
            wrong = sum(wanted[video_id] != digest for video_id, digest in rows) + len(wanted) - len(rows)
    return Outcome(
        "connections reset in resumable uploads",
        done_resets,
        lost=wrong,
        doubled=0,
        worst_s=None,
        bar="every file's SHA-256 as it was sent",
        held=wrong == 0,
        note=f"{files} files",
    )


def _offset(client: httpx.Client, place: str) -> int:
    for _ in range(100):
        answer = client.head(place, headers={"Tus-Resumable": "1.0.0"})
        if answer.status_code == 200:
            return int(answer.headers["upload-offset"])
        time.sleep(0.05)
    raise RuntimeError(f"HEAD says {answer.status_code}")


def _send_and_reset(world: World, place: str, offset: int, rest: bytes, count: int) -> None:
    host, port = world.url.removeprefix("http://").split(":")
    head = (
        f"PATCH {place} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {world.key}\r\nTus-Resumable: 1.0.0\r\n"
        f"Content-Type: application/offset+octet-stream\r\nUpload-Offset: {offset}\r\n"
        f"Content-Length: {len(rest)}\r\n\r\n"
    )
    with contextlib.suppress(OSError), socket.create_connection((host, int(port))) as line:
        line.sendall(head.encode() + rest[:count])
        line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # close() resets


def full_disk(folder: Path, database_url: str | None, count: int) -> Outcome:
    """A data folder that is full: uploads are refused in words, nothing half is left, and there is a way back."""
    room = folder / "small"
    room.mkdir(parents=True)
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(room)], capture_output=True, check=False
    ).returncode:
        return Outcome(
            "full disk",
            0,
            0,
            0,
            None,
            "507, nothing half visible, recovers",
            held=False,
            note="no right to mount a tmpfs",
        )
    try:
        return _fill(room, database_url, count)
    finally:
        subprocess.run(["umount", "-l", str(room)], check=False)


def _fill(room: Path, database_url: str | None, count: int) -> Outcome:
    refused, odd = 0, 0
    with World(room, database_url, Crew()) as world, world.client() as client:
        uploads = Uploads(world)
        before = uploads.send_many(3, fresh)
        ballast = room / "ballast"
        with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(64 << 10))
        for _ in range(count):
            answer = client.post("/v1/videos", files={"file": ("a.mp4", secrets.token_bytes(300_000))})
            refused += answer.status_code == 507 and answer.headers["content-type"] == "application/problem+json"
            odd += answer.status_code not in (507,)
        half = len(list((world.settings.data / "incoming").iterdir()))
        ballast.unlink()
        began_s = time.monotonic()
        after = uploads.send_many(3, fresh)
        recovered_s = time.monotonic() - began_s
        done = wait_ended(world.database, [*before, *after], 60)
    return Outcome(
        "full disk",
        count,
        lost=6 - len(done),
        doubled=0,
        worst_s=recovered_s,
        bar="507, nothing half visible, recovers without restart",
        held=refused == count and half == 0 and len(done) == 6,
        note=f"{refused} refused with 507, {odd} otherwise, {half} files left half written",
    )


def hung_children(folder: Path, _database_url: str | None, count: int) -> Outcome:
    """Decoders that hang: each is killed soon after its deadline, and none is left as a zombie."""
    folder.mkdir(parents=True, exist_ok=True)
    code = f"import sys; sys.path[:0] = [{str(ROOT)!r}]\nfrom tests.faults.hang import main\nmain({count})"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=folder, env=os.environ
    )
    worst_s, killed, zombies = done.stdout.split()
    return Outcome(
        "hung decoders",
        count,
        lost=count - int(killed),
        doubled=int(zombies),
        worst_s=float(worst_s),
        bar="killed <= 5 s past the deadline, 0 zombies",
        held=int(killed) == count and int(zombies) == 0 and float(worst_s) <= 5,
    )
