"""How long the library takes to find and to draw a page: `./run bench library`, JSON on stdout.

100,000 ready videos of about 40 words each, drawn as words come in life (Zipf: the n-th word is 1/n as frequent as the
first). What is asked for is drawn in the same way, so most words are in thousands of videos: one to three words, the
last one cut short, now and then with a filter, now and then on a later page; and pages by filters alone. Measured is
all that the server does for a part of the page: the queries, and the template.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import numpy as np
from sqlalchemy import insert

from api.dashboard import rendering
from api.dashboard.pages import library
from api.deps import Service
from api.lists import Order, cursor_after, get_page
from vidlm.config import Settings
from vidlm.domain import PIPELINE_VERSION, JobState, Role
from vidlm.jobs.forecast import Forecast
from vidlm.moderation.policies import load_policies
from vidlm.store.blobs import BlobStore
from vidlm.store.engine import Database, migrate
from vidlm.store.keys import Caller
from vidlm.store.tables import DEFAULT_TENANT, Job, Video
from vidlm.store.words import VideoWord

WORDS_EACH: Final = 40
VOCABULARY: Final = 20_000
_BATCH: Final = 5_000
_CALLER: Final = Caller(DEFAULT_TENANT, "key_bench", Role.ADMIN)


def fill(database: Database, videos: int, rng: np.random.Generator) -> None:
    """So many videos, a minute apart, with their words."""
    owner = {"tenant_id": DEFAULT_TENANT}
    chances = _zipf()
    for first in range(0, videos, _BATCH):
        ids = [_id(number) for number in range(first, min(first + _BATCH, videos))]
        drawn = rng.choice(VOCABULARY, (len(ids), WORDS_EACH), p=chances)
        verdicts = rng.choice(["allow", "review", "block"], len(ids), p=[0.9, 0.08, 0.02]).tolist()
        rows = [owner | {"id": one, "sha256": "0" * 64, "size_bytes": 1, "filename": f"{one}.mp4"} for one in ids]
        jobs = [
            owner
            | {"id": f"job{one}", "video_id": one, "pipeline_version": PIPELINE_VERSION, "worded": True}
            | {"state": JobState.READY.value, "duration_s": 60.0, "verdict_action": verdict}
            for one, verdict in zip(ids, verdicts, strict=True)
        ]
        words = [
            owner | {"video_id": one, "word": _word(number)}
            for one, numbers in zip(ids, drawn, strict=True)
            for number in sorted(set(numbers.tolist()))
        ]
        with database.write() as session:
            for table, made in ((Video, rows), (Job, jobs), (VideoWord, words)):
                session.execute(insert(table), made)


def measure(service: Service, videos: int, rounds: int, rng: np.random.Generator) -> dict[str, Any]:
    """Milliseconds of a page of each kind, of the clock and of the processor, and how many videos it had."""
    forecast = Forecast()
    frame = rendering.frame("library", None)
    found: dict[str, Any] = {}
    for kind in ("all", "filter", "one word", "two words", "three words", "words and filter"):
        took_ms, cpu_ms, counts = [], [], []
        for number in range(rounds + 1):
            asked = _asked(kind, rng)
            place = cursor_after(_id(int(rng.integers(videos))), get_page(Order.NEWEST, 20, None))
            began_s, cpu_began_s = time.perf_counter(), time.process_time()
            page = library.page_of(service, _CALLER, forecast, asked, place if number % 4 == 3 else "")
            rendering.html("parts/library.html", frame, page)
            took_ms.append((time.perf_counter() - began_s) * 1000)
            cpu_ms.append((time.process_time() - cpu_began_s) * 1000)
            counts.append(len(page.cards))
        p50, p99 = np.percentile(took_ms[1:], [50, 99])  # the first one prepares statements
        found[kind] = {
            "p50_ms": round(float(p50), 1),
            "p99_ms": round(float(p99), 1),
            "p99_cpu_ms": round(float(np.percentile(cpu_ms[1:], 99)), 1),
            "cards": round(float(np.mean(counts)), 1),
        }
    return found


def _asked(kind: str, rng: np.random.Generator) -> library.Asked:
    count = {"one word": 1, "two words": 2, "three words": 3, "words and filter": 2}.get(kind, 0)
    words = [_word(int(number)) for number in rng.choice(VOCABULARY, count, p=_zipf())]
    if words:
        words[-1] = words[-1][: int(rng.integers(2, len(words[-1]) + 1))]
    verdict = str(rng.choice(["review", "block"])) if "filter" in kind else ""
    return library.Asked(q=" ".join(words), verdict=verdict)


def _id(number: int) -> str:
    return f"vid_{1_780_000_000_000 + 60_000 * number:012x}{number:016x}"


def _word(number: int) -> str:
    """Letters that do not say how frequent it is."""
    letters, mixed = "", (number * 7919 + 13) % 456_976
    for _ in range(4):
        mixed, letter = divmod(mixed, 26)
        letters += chr(97 + letter)
    return letters


def _zipf() -> np.ndarray[Any, np.dtype[np.float64]]:
    weights = 1.0 / np.arange(1, VOCABULARY + 1)
    return np.asarray(weights / weights.sum(), dtype=np.float64)


def main() -> None:
    parser = argparse.ArgumentParser(prog="./run bench library", description=__doc__)
    parser.add_argument("--videos", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--database", default=None, help="an empty database's URL; SQLite in a new folder when unset")
    parser.add_argument("--quick", action="store_true", help="a tenth of the videos")
    asked = parser.parse_args()
    rng = np.random.default_rng(0)
    videos = asked.videos // 10 if asked.quick else asked.videos
    with tempfile.TemporaryDirectory(prefix="vidlm-library-") as folder:
        settings = Settings(data=Path(folder))
        url = asked.database or settings.sql_url
        migrate(url)
        database = Database(url)
        fill(database, videos, rng)
        print("filled", file=sys.stderr)
        service = Service(settings, database, BlobStore(settings.data), load_policies(), None)
        print(json.dumps({"videos": videos} | measure(service, videos, asked.rounds, rng), indent=2))
        database.close()


if __name__ == "__main__":
    main()
