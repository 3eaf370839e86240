"""Whether two videos are the same from end to end, which is far more than that one matches the other.

    known      k0  k1  k2  k3  k4  k5          a match follows the frames that agree and forgives a few that do not;
    query          q0  q1  xx  q3              here every frame counts, and `xx`, half a second put in between, tells
    alike          +   +   -   +               that nobody has decided about all of this query

Numbers only; what follows from it stands in `vidlm.moderation.known`.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from vidlm.likeness.fingerprint import Fingerprint
from vidlm.likeness.pdq import Hashes

SURE_BITS: Final = 31
"""Bits of 256 up to which two frames show the same. PDQ's own advice ("The TMK+PDQF ... Algorithm", Facebook, 2019)."""


def shares_alike(query: Fingerprint, known: Fingerprint, offset_s: float) -> tuple[float, float]:
    """Of the query's frames and of the known video's, the shares that meet their like in the other, 0..1 each.

    t_known = t_query + offset_s. Frames are compared as they are, without guesses and mirrors, those of poor quality
    too. 0 for a video without frames.
    """
    return _alike(query, known, offset_s), _alike(known, query, -offset_s)


def _alike(one: Fingerprint, other: Fingerprint, offset_s: float) -> float:
    if not len(one) or not len(other):
        return 0.0
    wanted_s = one.times_s + offset_s
    after = np.searchsorted(other.times_s, wanted_s)
    reach_s = 0.6 * other.step_s + 0.05
    found = np.zeros(len(one), bool)
    for at in (np.maximum(after - 1, 0), np.minimum(after, len(other) - 1)):
        near = np.abs(other.times_s[at] - wanted_s) <= reach_s
        found |= near & (_bits(one.hashes, other.hashes[at]) <= SURE_BITS)
    return float(found.mean())


def _bits(one: Hashes, other: Hashes) -> npt.NDArray[np.int64]:
    """How many bits differ between each row of uint8 [N, 32] and the same row of the other, int64 [N]."""
    return np.asarray(np.bitwise_count(one ^ other).sum(axis=1, dtype=np.int64))
