"""The stage that scores some minutes of a video under one more policy, from the tokens that were kept of it.

Where several backfills wait at the same place of the same video, their questions are put together: one look instead of
one each. Every unit keeps its own claim, and is saved or given back by itself.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Final

from vidlm.domain import JobState, Policy
from vidlm.errors import LeaseLost
from vidlm.jobs import backfills, life, rescored
from vidlm.jobs.backfills import Part
from vidlm.jobs.claims import Claim, heartbeat
from vidlm.store.backfill import Backfill, BackfillWork
from vidlm.store.queries import job_of
from workers.runtime import Runtime

if TYPE_CHECKING:
    from vidlm.rescoring import Rescored
    from vidlm.video.sampling import Window

PART_S: Final = 600.0
"""Seconds of video that are scored under one claim, about."""
TURN_S: Final = 10.0
"""Seconds after which a part is saved as far as it is and the unit waits again: whatever is more urgent waits for no
longer, however slow the model is."""


def backfill(runtime: Runtime, held: Claim, lost: threading.Event) -> None:
    """Kept tokens of a part of a video -> its scores. No file of the video is opened."""
    from vidlm.preparation import Prepared  # noqa: PLC0415  decord and numpy: not for the relay
    from vidlm.rescoring import first_part, score_kept  # noqa: PLC0415

    with runtime.database.read() as session:
        unit = session.get_one(BackfillWork, held.target_id)
        job = job_of(session, unit.video_id)
    if job.state != JobState.READY or job.prepared is None:
        with runtime.database.write() as session:
            backfills.gone(session, held)
        return
    prepared = Prepared.from_document(job.prepared, runtime.settings.data)
    windows = first_part(prepared.windows, unit.next_window, PART_S)
    until_s = time.monotonic() + TURN_S
    with _beside(runtime, held) as others:
        claims = [*others, held]
        policies = [_policy(runtime, one) for one in claims]
        found = score_kept(
            prepared,
            windows,
            runtime.eyes(),
            policies,
            go_on=lambda: runtime.go_on(lost),
            enough=lambda: time.monotonic() >= until_s,
        )
        following = unit.next_window + len(found.through)
        next_window = following if following < len(prepared.windows) else None
        for place, one in enumerate(claims):
            part = _part(found, place, next_window, runtime.engine().info.revision)
            with suppress(*([] if one is held else [LeaseLost])), runtime.database.write() as session:
                backfills.scored(session, one, part)


def _policy(runtime: Runtime, held: Claim) -> Policy:
    with runtime.database.read() as session:
        unit = session.get_one(BackfillWork, held.target_id)
        return rescored.policy_of(session.get_one(Backfill, unit.backfill_id))


def _part(found: Rescored, place: int, next_window: int | None, revision: str) -> Part:
    """What was found for the policy at `place`."""
    needs_decode_s = _seconds(found.missing)
    return Part(
        scores={index: scores[place] for index, scores in found.scores.items()},
        scored_s=_seconds(found.through) - needs_decode_s,
        needs_decode_s=needs_decode_s,
        next_window=next_window,
        model_revision=revision,
    )


def _seconds(windows: Sequence[Window]) -> float:
    return sum(window.end_s - window.start_s for window in windows)


@contextmanager
def _beside(runtime: Runtime, held: Claim) -> Iterator[list[Claim]]:
    """The units that are scored along with `held`: claimed while the block runs, and given back where it fails."""
    settings = runtime.settings
    with runtime.database.write() as session:
        others = backfills.join(session, held, lease_s=settings.lease_s, max_attempts=settings.max_attempts)
    try:
        with ExitStack() as beats:
            for other in others:
                beats.enter_context(heartbeat(runtime.database, other, settings.lease_s))
            yield others
    except BaseException:
        for other in others:
            with suppress(LeaseLost), runtime.database.write() as session:
                life.given_back(session, other)
        raise
