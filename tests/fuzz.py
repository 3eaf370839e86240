"""Good films with some bytes changed, one after the other, through the untrusted side.

`./run fuzz --count N --seed S [--keep FOLDER]` says in one line what became of them, and fails if anything
crashed, took too long or left something behind. Mutation `n` of a seed is the same wherever the same films are, so one
that was found can be made again.
"""

from __future__ import annotations

import argparse
import math
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tests.corpus import Attempt, attempt, base, boxes
from vidlm.video.normalize import Limits

KINDS: Final = ("faststart", "mkv", "webm", "avi", "ts", "flv", "fragmented", "hevc")
LIMITS: Final = Limits(max_duration_s=600, max_bytes=10**7, max_pixels=10**6, max_side=4096, deadline_scale=0.2)
"""A file that runs into every deadline there is takes 20 s with these."""

_TABLES: Final = frozenset(b"stts ctts stsz stco stsc stss elst mvhd mdhd tkhd hdlr avcC hvcC trun tfhd".split())
_TELLING: Final = (0, 1, 0x7FFFFFFF, 0xFFFFFFFF)
_LONGEST: Final = 4096  # bytes that one change of a run or a block may concern


class Fuzz:
    """Mutations of one seed, tried one by one, and what became of them."""

    def __init__(self, seed: int, folder: Path, keep: Path | None = None) -> None:
        self.outcomes: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.slowest: tuple[float, str] = (0.0, "none")
        self._seed, self._folder, self._keep = seed, folder, keep

    def step(self, number: int) -> Attempt:
        """Make mutation `number` and try it."""
        rng = random.Random(f"{self._seed}/{number}")
        kind = KINDS[number % len(KINDS)]
        path = self._folder / "mutant"
        path.write_bytes(mutate(base(self._folder, kind).read_bytes(), rng))
        done = attempt(path, self._folder / "work", LIMITS)
        self.outcomes[done.outcome] += 1
        self.slowest = max(self.slowest, (done.seconds, f"{kind} {number}"))
        self.wrong += [f"mutation {number} ({kind}): {fault}" for fault in done.faults]
        if done.faults and self._keep is not None:
            self._keep.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, self._keep / f"{self._seed}-{number}.{kind}")
        return done

    def __str__(self) -> str:
        counts = ", ".join(f"{count} {outcome}" for outcome, count in self.outcomes.most_common())
        slowest = "{:.1f} s ({})".format(*self.slowest)
        return f"{self.outcomes.total()} mutations: {counts}; slowest {slowest}; {len(self.wrong)} faults"


def mutate(data: bytes, rng: random.Random) -> bytes:
    """`data` with one kind of damage; ISO files have the fields of their tables changed half of the time."""
    if data[4:8] == b"ftyp" and rng.random() < 0.5:
        return _change_fields(data, rng)
    return rng.choice(_WAYS)(data, rng)


def _flip_bits(data: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(round(math.pow(200, rng.random()))):  # few are as likely as many
        changed[_somewhere(data, rng)] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _overwrite(data: bytes, rng: random.Random) -> bytes:
    at, length = _somewhere(data, rng), _length(rng)
    return data[:at] + rng.randbytes(min(length, len(data) - at)) + data[at + length :]


def _blank(data: bytes, rng: random.Random) -> bytes:
    at, length = _somewhere(data, rng), _length(rng)
    return data[:at] + bytes(min(length, len(data) - at)) + data[at + length :]


def _cut(data: bytes, rng: random.Random) -> bytes:
    return data[: _somewhere(data, rng)]


def _duplicate(data: bytes, rng: random.Random) -> bytes:
    source, target, length = _somewhere(data, rng), _somewhere(data, rng), _length(rng)
    return data[:target] + data[source : source + length] + data[target:]


_WAYS: Final[tuple[Callable[[bytes, random.Random], bytes], ...]] = (_flip_bits, _overwrite, _blank, _cut, _duplicate)


def _change_fields(data: bytes, rng: random.Random) -> bytes:
    """One to three 32-bit fields of the tables that say where and when frames are."""
    tables = [(inside, after) for kind, inside, after in boxes(data) if kind in _TABLES and after - inside >= 4]
    changed = bytearray(data)
    for _ in range(rng.randint(1, 3)):
        inside, after = rng.choice(tables)
        at = inside + 4 * rng.randrange((after - inside) // 4)
        value = rng.choice((*_TELLING, rng.getrandbits(32)))
        changed[at : at + 4] = value.to_bytes(4, "big")
    return bytes(changed)


def _somewhere(data: bytes, rng: random.Random) -> int:
    """Any place, every other time one among the first 2 kB, where headers are."""
    return rng.randrange(min(len(data), 2048) if rng.random() < 0.5 else len(data))


def _length(rng: random.Random) -> int:
    return round(math.pow(_LONGEST, rng.random()))


def main(arguments: list[str]) -> int:
    """The exit status: 1 if anything was wrong."""
    parser = argparse.ArgumentParser(prog="./run fuzz", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--count", type=int, default=2000, help="how many mutations")
    parser.add_argument("--seed", type=int, default=0, help="which ones")
    parser.add_argument("--keep", type=Path, help="folder for files that broke something")
    asked = parser.parse_args(arguments)
    if asked.count < 1:
        parser.error("--count: at least 1, or nothing is tried")
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="vidlm-fuzz-") as folder:
        fuzz = Fuzz(asked.seed, Path(folder), asked.keep)
        for number in range(asked.count):
            known = len(fuzz.wrong)
            fuzz.step(number)
            for line in fuzz.wrong[known:]:
                print(line, flush=True)
    print(f"{fuzz}, in {time.monotonic() - started:.0f} s")
    return 1 if fuzz.wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
