"""Clients that upload and do not give up: each file with a key of its own, sent until it is acknowledged."""

from __future__ import annotations

import contextlib
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
from sqlmodel import col, func, select

from tests.faults.world import World
from vidlm.jobs.states import OPEN
from vidlm.store.tables import Job


class Uploads:
    """What was acknowledged so far, and when."""

    def __init__(self, world: World) -> None:
        self._world, self._lock = world, threading.Lock()
        self.acknowledged: dict[str, float] = {}
        self.contradictions = 0  # a retry that was answered otherwise than before
        self.slowest_s = 0.0  # from the first try to the answer

    def send(
        self, client: httpx.Client, data: bytes, *, patience_s: float = 120, twice: bool = False, **fields: str
    ) -> str:
        """Send one file until it is acknowledged; its video. `twice`: send it again after that, and compare."""
        key = secrets.token_hex(8)
        began_s = time.monotonic()
        answers: list[str] = []
        while len(answers) < (2 if twice else 1):
            with contextlib.suppress(httpx.HTTPError):
                answer = client.post(
                    "/v1/videos", files={"file": ("a.mp4", data)}, data=fields, headers={"Idempotency-Key": key}
                )
                if answer.status_code == 202:
                    answers.append(str(answer.json()["id"]))
                    continue
            if time.monotonic() - began_s > patience_s:
                raise TimeoutError("an upload was not taken")
            time.sleep(0.05)
        with self._lock:
            self.acknowledged[answers[0]] = time.monotonic()
            self.contradictions += len(set(answers)) - 1
            self.slowest_s = max(self.slowest_s, time.monotonic() - began_s)
        return answers[0]

    def keep_sending(
        self, stop: threading.Event, *, data: bytes = b"", every_s: float = 0.1, most_open: int | None = None
    ) -> None:
        """Send files that begin with `data` until `stop` is set, none while `most_open` jobs are under way."""
        with self._world.client() as client:
            while not stop.wait(every_s):
                if most_open is None or self._count_open() < most_open:
                    self.send(client, data + fresh(0))

    def _count_open(self) -> int:
        with self._world.database.read() as session:
            states = [state.value for state in OPEN]
            return session.exec(select(func.count()).select_from(Job).where(col(Job.state).in_(states))).one()

    def send_many(self, count: int, data: Callable[[int], bytes], *, clients: int = 4, **fields: str) -> list[str]:
        """`count` files, by several clients at once."""
        with ThreadPoolExecutor(clients) as pool, self._world.client() as client:
            return list(pool.map(lambda number: self.send(client, data(number), **fields), range(count)))


def fresh(number: int) -> bytes:
    """Bytes that nobody sent before."""
    return b"good %d " % number + secrets.token_bytes(16)


@contextmanager
def receiver(chance_to_fail: float = 0.0) -> Iterator[tuple[str, dict[str, int]]]:
    """A webhook receiver: its address, and how often each message came and was taken, by id.

    A message fails once at most: it comes again in seconds then, where after two failures it would be minutes.
    """
    taken: dict[str, int] = {}
    failed: set[str] = set()
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            name = self.headers["webhook-id"]
            with lock:
                fails = name not in failed and secrets.randbelow(1000) < 1000 * chance_to_fail
                if fails:
                    failed.add(name)
                else:
                    taken[name] = taken.get(name, 0) + 1
            self.send_response(503 if fails else 204)
            self.end_headers()

        def log_message(self, *_arguments: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/hook", taken
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
