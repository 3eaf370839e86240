"""How well re-uploads are found again, and strangers left alone: `./run bench likeness`, JSON on stdout.

Clips of the toy world and natural-looking ones, as many of each, are all made known. Every clip then comes back changed
in each way of `likeness_clips.TRANSFORMS`, and the whole library is searched for it, mirror images included:

    recall            of the clips that came back in one way, how many were found as themselves
    false_of_pairs    of all pairs of a changed clip and another clip, how many matched
    false_of_queries  of all changed clips, how many matched any other clip

Some toy clips besides go the whole way through ffmpeg: encoded at another size, rate and quality, turned into the
service's proxy, read by decord. Last come speeds of one core. `--quick` takes a tenth of the clips.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
import zlib
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.likeness_clips import HEIGHT, TRANSFORMS, WIDTH, Source, natural, sampled, toy
from vidlm.domain import FrameBatch
from vidlm.likeness.fingerprint import Fingerprint, fingerprint
from vidlm.likeness.index import LikenessIndex
from vidlm.likeness.pdq import BYTES, hash_frames
from vidlm.likeness.voting import RULES

CLIPS: Final = 500
ENCODED: Final = 40
KINDS: Final = ("toy", "natural")
REAL: Final = "ffmpeg"
LIBRARY: Final = 10_000
HASHES: Final = 40


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a search for one changed clip found. Clips go by their number, even ones are the toy world's."""

    transform: str
    clip: int
    found: tuple[int, ...]

    @property
    def right(self) -> bool:
        return self.clip in self.found

    @property
    def wrong(self) -> int:
        return len(self.found) - self.right


@lru_cache(maxsize=1)
def source(clip: int) -> Source:
    return natural(clip) if clip % 2 else toy(clip)


def made_known(clip: int) -> Fingerprint:
    """What is kept of a clip."""
    return fingerprint(sampled(source(clip)), views=False)


def changed(clip: int, transform: str) -> FrameBatch:
    """A clip's frames as they come back, the same ones every time."""
    rng = np.random.default_rng([clip, zlib.crc32(transform.encode())])
    return encoded(clip, rng) if transform == REAL else TRANSFORMS[transform](source(clip), rng)


def encoded(clip: int, rng: np.random.Generator) -> FrameBatch:
    """A toy clip as the service's own proxy shows it, after an encoder at another size, rate and quality."""
    from vidlm.toyworld.encode import encode_clip  # noqa: PLC0415  decord and ffmpeg: for this alone
    from vidlm.video.frames import read_frames  # noqa: PLC0415
    from vidlm.video.normalize import Limits, normalize  # noqa: PLC0415

    def fit(height: int, width: int) -> tuple[int, int]:
        return height // 28 * 28, width // 28 * 28

    limits = Limits(max_duration_s=60, max_bytes=1 << 28, max_pixels=1 << 22, max_side=4096)
    size = [(120, 160), (180, 320), (240, 320), (90, 120)][int(rng.integers(4))]
    fps, crf = float(rng.choice([10, 12.5, 24, 30])), int(rng.integers(28, 38))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "again.mp4"
        encode_clip(toy(clip).clip, path, height=size[0], width=size[1], fps=fps, crf=crf, audio=False)
        done = normalize(path, Path(folder), filename="x", sample_fps=2.0, fit=fit, limits=limits)
        return read_frames(done.proxy, (done.height, done.width), done.frame_times_s)


_LIBRARY = LikenessIndex()  # of each process


def _learn(known: Sequence[Fingerprint]) -> None:
    for clip, video in enumerate(known):
        _LIBRARY.add(str(clip), video)


def look_for(clip: int) -> list[Outcome]:
    """What is found for one clip, changed in every way."""
    ways = [*TRANSFORMS, *([REAL] if clip % 2 == 0 and clip < 2 * ENCODED else [])]
    outcomes = []
    for transform in ways:
        found = _LIBRARY.search(fingerprint(changed(clip, transform)), mirror=True)
        outcomes.append(Outcome(transform, clip, tuple(int(one.video_id) for one in found)))
    return outcomes


def evaluate(clips: int, processes: int) -> dict[str, Any]:
    """Recall by transform and kind of clip, and false matches over all pairs."""
    with ProcessPoolExecutor(processes) as pool:
        known = list(pool.map(made_known, range(clips), chunksize=4))
    outcomes: list[Outcome] = []
    with ProcessPoolExecutor(processes, initializer=_learn, initargs=(known,)) as pool:
        for number, found in enumerate(pool.map(look_for, range(clips), chunksize=1), start=1):
            outcomes += found
            if number % 50 == 0:
                print(f"{number} of {clips} clips", file=sys.stderr)
    wrong = sum(outcome.wrong for outcome in outcomes)
    return {
        "clips": clips,
        "searches": len(outcomes),
        "recall": _recall(outcomes),
        "transforms": {
            transform: {
                kind: _recall(o for o in outcomes if o.transform == transform and o.clip % 2 == number)
                for number, kind in enumerate(KINDS)
            }
            for transform in [*TRANSFORMS, REAL]
        },
        "false_matches": wrong,
        "false_of_pairs": wrong / max(1, len(outcomes) * (clips - 1)),
        "false_of_queries": sum(outcome.wrong > 0 for outcome in outcomes) / len(outcomes),
        "missed": [[o.transform, o.clip] for o in outcomes if not o.right],
        "wrong": [[o.transform, o.clip, *(set(o.found) - {o.clip})] for o in outcomes if o.wrong],
    }


def _recall(outcomes: Iterable[Outcome]) -> float | None:
    right = [outcome.right for outcome in outcomes]
    return round(sum(right) / len(right), 4) if right else None


def speeds() -> dict[str, float]:
    """Of one core: frames hashed a second, and seconds of a search among 10,000 videos of 20 seconds."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (300, HEIGHT, WIDTH, 3), np.uint8)
    frames = FrameBatch(pixels, np.arange(300.0))
    index = LikenessIndex()
    for number in range(LIBRARY):
        index.add(str(number), _random(rng))
    index.search(_random(rng))  # makes the table
    short, minute = (fingerprint(FrameBatch(pixels[:count], np.arange(count) / 2)) for count in (HASHES, 120))
    return {
        "pdq_frames_per_s": round(300 / _seconds(lambda: hash_frames(pixels))),
        "fingerprint_frames_per_s": round(300 / _seconds(lambda: fingerprint(frames))),
        "search_20_s": round(_seconds(lambda: index.search(short)), 3),
        "search_20_s_mirrored_too": round(_seconds(lambda: index.search(short, mirror=True)), 3),
        "search_60_s_mirrored_too": round(_seconds(lambda: index.search(minute, mirror=True)), 3),
        **bank_speeds(rng),
    }


def bank_speeds(rng: np.random.Generator) -> dict[str, float]:
    """Of one core, over SQLite: 10,000 videos taken into a bank, read by a process, and read again after a change."""
    from vidlm.domain import Bank  # noqa: PLC0415  the database: for this alone
    from vidlm.known import banks  # noqa: PLC0415
    from vidlm.known.recognition import Recognizer  # noqa: PLC0415
    from vidlm.store.engine import Database, migrate  # noqa: PLC0415
    from vidlm.store.tables import DEFAULT_TENANT  # noqa: PLC0415

    def take_in(name: str, count: int) -> None:
        videos = {(f"{name} {number}", "benchmark"): _random(rng) for number in range(count)}
        with database.write() as session:
            banks.take_in(session, videos, tenant_id=DEFAULT_TENANT, bank=Bank.BAD, actor="benchmark", reason="")

    def compare() -> None:
        assert recognizer.compare(DEFAULT_TENANT, "0" * 64, 20.0, query).bank_version is not None

    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/bank.db"
        migrate(url)
        database = Database(url)
        recognizer, query = Recognizer(database, mirror=True), _random(rng)
        found = {"bank_import_s": round(_once_s(lambda: take_in("first", LIBRARY)), 2)}
        found["bank_first_comparison_s"] = round(_once_s(compare), 2)
        take_in("one more", 1)
        found["bank_comparison_after_a_change_s"] = round(_once_s(compare), 3)
        found["bank_comparison_s"] = round(_seconds(compare), 3)
        database.close()
    return found


def _once_s(work: Any) -> float:
    began_s = time.process_time()
    work()
    return time.process_time() - began_s


def _random(rng: np.random.Generator) -> Fingerprint:
    hashes = rng.integers(0, 256, (HASHES, BYTES), np.uint8)
    return Fingerprint(np.arange(HASHES) / 2, hashes, np.full(HASHES, 100, np.uint8))


def _seconds(work: Any) -> float:
    """The processor's seconds for one call, the least of three."""
    return min(_once_s(work) for _ in range(3))


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="./run bench likeness", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a tenth of the clips")
    parser.add_argument("--clips", type=int, default=CLIPS)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--speeds", action="store_true", help="no clips, only how long things take")
    options = parser.parse_args()
    if options.speeds:
        json.dump({"benchmark": "likeness", "speed": speeds()}, sys.stdout, indent=2)
        print()
        return
    clips = options.clips // 10 if options.quick else options.clips
    result = {"benchmark": "likeness", "rules": asdict(RULES), **evaluate(clips, options.processes), "speed": speeds()}
    json.dump(result, sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main()
