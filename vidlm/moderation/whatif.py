"""What other thresholds would have made of scores that are stored: a whole library in one pass over arrays.

    videos    0    0    0    1    1    2 ...       segments of all videos, each video's together and in order of time
    scores   .1   .7   .9   .2   .6   .3 ...       one column a policy; NaN where a segment has no score

The rules are those of `vidlm.moderation.flags`, and give the same flags and the same verdicts; only the way is another:
there one video with all its reasons, here a hundred thousand segments in a second. Nothing is read or stored here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from vidlm.domain import Action, Policy
from vidlm.moderation.flags import TOLERANCE_S

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

ACTIONS: Final = (Action.ALLOW, Action.REVIEW, Action.BLOCK)
"""By strength; outcomes name them by their place."""
_ALLOW, _REVIEW, _BLOCK = range(3)


@dataclass(frozen=True, slots=True)
class Library:
    """The stored scores of `V` videos' `S` segments under `P` policies.

    `videos` int64 `[S]` in 0..V-1, never falling; `start_s`, `end_s` float64 `[S]`, in order of time within a video;
    `scores` float64 `[S, P]` in 0..1, NaN where there is none; `cleared` bool `[V]`: all of the video was seen, so that
    no flag means no finding. A video of which nothing was seen has no segments.
    """

    videos: Ints
    start_s: Floats
    end_s: Floats
    scores: Floats
    cleared: Bools

    def __post_init__(self) -> None:
        count = len(self.videos)
        if not (len(self.start_s) == len(self.end_s) == len(self.scores) == count):
            raise ValueError("videos, start_s, end_s and scores must be of one length")
        if count and (self.videos[0] < 0 or self.videos[-1] >= len(self.cleared) or (np.diff(self.videos) < 0).any()):
            raise ValueError("videos must be numbers of `cleared` that never fall")


@dataclass(frozen=True, slots=True)
class Flags:
    """`F` flags: whose, of which policy (its column), `[start_s, end_s)`, the highest score, whether it blocks."""

    videos: Ints
    policies: Ints
    start_s: Floats
    end_s: Floats
    score: Floats
    blocks: Bools

    def __len__(self) -> int:
        return len(self.videos)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a set of policies makes of a library: all flags, and each video's action as its place in `ACTIONS` `[V]`."""

    flags: Flags
    actions: Ints

    @property
    def queue(self) -> int:
        """Videos that a person has to look at: all that are to be reviewed, and those that were blocked unseen."""
        return int(np.count_nonzero(self.actions != _ALLOW))


def outcome(library: Library, policies: Sequence[Policy]) -> Outcome:
    """The flags and actions of these policies, one for each column of the scores."""
    if library.scores.shape[1:] != (len(policies),):
        raise ValueError("there must be one column of scores for each policy")
    found = [_flags(library, column, policy) for column, policy in enumerate(policies)]
    flags = Flags(*(np.concatenate(parts) for parts in zip(*found, strict=True))) if found else _no_flags()
    judged = ((library.scores >= 0) & (library.scores <= 1)).all(axis=1)
    unclear = ~library.cleared | (np.bincount(library.videos, minlength=len(library.cleared)) == 0)
    unclear[library.videos[~judged]] = True
    actions = np.where(unclear | (not policies), _REVIEW, _ALLOW).astype(np.int64)
    np.maximum.at(actions, flags.videos, np.where(flags.blocks, _BLOCK, _REVIEW))
    return Outcome(flags, actions)


def _flags(library: Library, column: int, policy: Policy) -> tuple[Ints, Ints, Floats, Floats, Floats, Bools]:
    """One policy's flags, in order."""
    kept = np.flatnonzero(library.scores[:, column] >= policy.keep_threshold)  # NaN is not
    if not len(kept):
        return _columns(_no_flags())
    scores, videos = library.scores[kept, column], library.videos[kept]
    follows = (np.diff(kept) == 1) & (np.diff(videos) == 0)
    follows &= library.start_s[kept[1:]] - library.end_s[kept[:-1]] <= TOLERANCE_S
    first = np.flatnonzero(np.concatenate([[True], ~follows]))
    last = np.concatenate([first[1:], [len(kept)]]) - 1
    peaks = np.maximum.reduceat(scores, first)
    start_s, end_s = library.start_s[kept[first]], library.end_s[kept[last]]
    lasts = end_s - start_s >= policy.min_duration_s - TOLERANCE_S
    blocks = peaks >= policy.block_threshold
    is_flag = blocks | ((peaks >= policy.review_threshold) & lasts)
    names = np.full(np.count_nonzero(is_flag), column, np.int64)
    return videos[first][is_flag], names, start_s[is_flag], end_s[is_flag], peaks[is_flag], blocks[is_flag]


def _columns(flags: Flags) -> tuple[Ints, Ints, Floats, Floats, Floats, Bools]:
    return flags.videos, flags.policies, flags.start_s, flags.end_s, flags.score, flags.blocks


def _no_flags() -> Flags:
    whole, real = np.zeros(0, np.int64), np.zeros(0, np.float64)
    return Flags(whole, whole, real, real, real, np.zeros(0, np.bool_))


@dataclass(frozen=True, slots=True)
class Decisions:
    """`D` past decisions of people on flags: whose video, which policy's column, `[start_s, end_s)`, and whether the
    flag was confirmed."""

    videos: Ints
    policies: Ints
    start_s: Floats
    end_s: Floats
    confirmed: Bools


@dataclass(frozen=True, slots=True)
class Overturned:
    """Past decisions that another set of policies would not have led to, or led to again. Each bool `[D]`.

    `missed`: a confirmed flag that would be none.  `spared`: a rejected one that would be none.
    """

    missed: Bools
    spared: Bools


def overturned(decisions: Decisions, after: Outcome) -> Overturned:
    """Which decisions were about something that is no flag any more: nothing of that policy overlaps it."""
    still = _overlapped(decisions, after.flags)
    return Overturned(missed=~still & decisions.confirmed, spared=~still & ~decisions.confirmed)


def _overlapped(decisions: Decisions, flags: Flags) -> Bools:
    """Whether a flag of the same video and policy shares time with the decision's.

    Flags of one video and policy do not overlap, so of those that begin before the decision ends, the last one ends
    last. To find it, flags by their starts and decisions by their ends stand in one line.
    """
    if not len(flags):
        return np.zeros(len(decisions.videos), np.bool_)
    wide = int(max(flags.policies.max(), decisions.policies.max(initial=0))) + 1
    keys = np.concatenate([flags.videos * wide + flags.policies, decisions.videos * wide + decisions.policies])
    times_s = np.concatenate([flags.start_s, decisions.end_s])
    is_flag = np.arange(len(keys)) < len(flags)
    line = np.lexsort((is_flag, times_s, keys))  # at one time the decision first: what begins as it ends is not in it
    in_line = np.maximum.accumulate(np.where(is_flag[line], np.arange(len(line)), -1))
    last = np.empty(len(line), np.int64)
    last[line] = in_line
    last = last[len(flags) :]
    nearest = line[np.maximum(last, 0)]
    same = (last >= 0) & (keys[nearest] == keys[len(flags) :])
    overlaps: Bools = same & (flags.end_s[np.where(same, nearest, 0)] > decisions.start_s)
    return overlaps


@dataclass(frozen=True, slots=True)
class Change:
    """What a change of policies would do to a library. Counts; `moved[a][b]`: videos that go from `ACTIONS[a]` to
    `ACTIONS[b]`; `flags_before`, `flags_after` by policy."""

    queue_before: int
    queue_after: int
    flags_before: tuple[int, ...]
    flags_after: tuple[int, ...]
    moved: tuple[tuple[int, ...], ...]


def change(before: Outcome, after: Outcome, policies: int) -> Change:
    """Two outcomes of one library side by side, each of so many policies in the same columns."""
    width = len(ACTIONS)
    moved = np.bincount(before.actions * width + after.actions, minlength=width * width).reshape(width, width)
    return Change(
        queue_before=before.queue,
        queue_after=after.queue,
        flags_before=tuple(np.bincount(before.flags.policies, minlength=policies).tolist()),
        flags_after=tuple(np.bincount(after.flags.policies, minlength=policies).tolist()),
        moved=tuple(tuple(row) for row in moved.tolist()),
    )
