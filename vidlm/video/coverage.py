"""What of a video was seen. PURE: times in, gaps out. Every doubt becomes a gap: "unseen" is never "safe".

due      |  |  |  |  |  |  |  |  |  |  |        frames the file holds
damage            x                             packets the decoder complained of
keys     K           K           K              frames that decode without others
gap               [==)                          from the damage to the next key frame
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from vidlm.domain import Coverage, Gap


def cover(duration_s: float, gaps: Iterable[Gap]) -> Coverage:
    """Coverage of `[0, duration_s)` less the gaps; gaps that touch become one, with the first one's reason."""
    merged: list[Gap] = []
    for gap in sorted(gaps, key=lambda g: (g.start_s, g.end_s)):
        start, end = max(0.0, gap.start_s), min(gap.end_s, duration_s)
        if end <= start:
            continue
        if merged and start <= merged[-1].end_s:
            merged[-1] = Gap(merged[-1].start_s, max(merged[-1].end_s, end), merged[-1].reason)
        else:
            merged.append(Gap(start, end, gap.reason))
    unseen_s = sum(g.end_s - g.start_s for g in merged)
    return Coverage(seconds_seen=max(0.0, duration_s - unseen_s), seconds_total=duration_s, gaps=tuple(merged))


def damage_gaps(
    bad_s: Iterable[float], key_times_s: npt.NDArray[np.float64], duration_s: float, reason: str
) -> list[Gap]:
    """From each damaged or missing packet to the next key frame: what lies between was predicted from it."""
    gaps = []
    for start in bad_s:
        after = key_times_s[key_times_s > start]
        gaps.append(Gap(start, float(after[0]) if len(after) else duration_s, reason))
    return gaps


def stale_gaps(
    sample_s: Sequence[float], shown_s: Sequence[float], due_s: npt.NDArray[np.float64], tolerance_s: float
) -> list[Gap]:
    """Where a sample shows an old frame although the file holds a newer one that was due: frames were lost in decoding.

    sample_s[n]: the time asked for.  shown_s[n]: the time of the source frame that was given.  due_s: all the file
    holds.
    """
    gaps = []
    for time, shown in zip(sample_s, shown_s, strict=True):
        expected = due_s[np.searchsorted(due_s, time + 1e-6, side="right") - 1]
        if expected - shown > tolerance_s:
            lost = due_s[np.searchsorted(due_s, shown + 1e-6, side="right")]
            gaps.append(Gap(float(lost), float(time), "not decoded"))
    return gaps


def tail_gap(
    sample_s: Sequence[float], shown_s: Sequence[float], readable_s: float, duration_s: float, step_s: float
) -> list[Gap]:
    """The end that nobody saw: what was cut off the file, or lies more than a sampling step behind the last sample."""
    if readable_s < duration_s - 1e-3:
        cut = [Gap(readable_s, duration_s, "the file ends or cannot be read any further")]
    else:
        cut = []
    seen_s = min(sample_s[-1], readable_s)
    if readable_s - seen_s > 1.5 * step_s:
        return [Gap(max(shown_s[-1], seen_s), readable_s, "not decoded"), *cut]
    return cut
