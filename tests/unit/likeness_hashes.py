"""Videos that are only hashes, for tests of what is made of hashes. Strangers differ in about 128 of 256 bits."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from vidlm.likeness.fingerprint import Fingerprint

Hashes = npt.NDArray[np.uint8]


def random_hashes(seed: int, count: int) -> Hashes:
    return np.random.default_rng(seed).integers(0, 256, (count, 32), dtype=np.uint8)


def changed(hashes: Hashes, bits: int, seed: int = 0) -> Hashes:
    """The hashes with `bits` bits of each turned, which ones by chance."""
    rng = np.random.default_rng([seed, bits])
    flips = np.zeros((len(hashes), 256), np.uint8)
    for row in flips:
        row[rng.choice(256, bits, replace=False)] = 1
    return hashes ^ np.packbits(flips, axis=1)


def video(hashes: Hashes, *, fps: float = 2.0, start_s: float = 0.0, quality: int = 100) -> Fingerprint:
    times_s = start_s + np.arange(len(hashes)) / fps
    return Fingerprint(times_s, hashes, np.full(len(hashes), quality, np.uint8))


def stranger(seed: int, count: int = 30) -> Fingerprint:
    return video(random_hashes(seed, count))


def joined(*parts: Hashes) -> Fingerprint:
    return video(np.concatenate(parts))


def still(seed: int, count: int, bits: int = 0) -> Hashes:
    """One picture `count` times, each time with a few bits turned otherwise."""
    return changed(np.repeat(random_hashes(seed, 1), count, axis=0), bits, seed)


def again(known: Fingerprint, bits: int, seed: int = 0) -> Fingerprint:
    """The same video with `bits` bits of each hash turned."""
    return dataclasses.replace(known, hashes=changed(known.hashes, bits, seed))
