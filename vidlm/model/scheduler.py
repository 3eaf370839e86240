"""What the engine does in one step, and how work ends. Runs on the engine's thread; knows the model, not the callers.

    encode    pairs of one size, from whichever requests, through the tower
    open      prompts of about one length
    score     a row of questions, or one row for each of several short prompts
    write     one more word of every text in a batch

A batch that fails is tried again in halves, so that only a culprit fails; one that was too large for the device's
memory makes later ones smaller for a while.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeVar

import numpy as np
import torch

from vidlm.errors import DeadlineError, ModelError
from vidlm.model.generate import TextRequest
from vidlm.model.lanes import Batch, EncodeWork, Lane, ScoreWork, TextWork, Work
from vidlm.model.meters import Meters
from vidlm.model.prompt import PromptCache
from vidlm.model.video_model import VideoModel, numbers, running

ROWS: Final = {"cuda": 96, "cpu": 16}
"""Texts written together at most, by device."""
PROMPTS: Final = 64
"""Prompts opened together at most."""
BATCH_TOKENS: Final = {"cuda": 16_384, "cpu": 4_096}
"""Tokens of a batch of prompts, padding included, by device; a longer prompt has a batch of its own."""

T = TypeVar("T")


class Scheduler:
    """Takes lanes of work through a model, step by step. `changed` is the engine's lock, notified when work ends."""

    def __init__(self, model: VideoModel, changed: threading.Condition, kv_bytes: int) -> None:
        device = model.text.device.type
        self.meters = Meters(model.text.device)
        self._model = model
        self._changed = changed
        self._prompts = PromptCache(kv_bytes)
        self._rows = _Limit(ROWS.get(device, ROWS["cpu"]))
        self._opens = _Limit(PROMPTS)
        self._batch_tokens = BATCH_TOKENS.get(device, BATCH_TOKENS["cpu"])
        self._pairs: dict[tuple[int, int], _Limit] = {}

    def step(self, lane: Lane) -> None:
        """One step of a lane's work, whatever is next."""
        self._drop(lane)
        if lane.batch is not None:
            self._write_on(lane, lane.batch)
        elif lane.ready and (not lane.waiting or self._crowded(lane)):
            self._begin_writing(lane)
        elif lane.waiting:
            head = lane.waiting[0]
            if isinstance(head, EncodeWork):
                self._encode(lane, head)
            elif isinstance(head, ScoreWork | TextWork):
                self._branch(lane, head)

    def _crowded(self, lane: Lane) -> bool:
        """Whether the texts that are ready fill a batch, or their prefixes the memory meant for them."""
        held = sum(work.prefix.bytes for work in lane.ready if work.prefix is not None)
        return len(lane.ready) >= self._rows.value or held > self._prompts.budget_bytes

    def _drop(self, lane: Lane) -> None:
        """Let go of what was cancelled or is late, wherever it stands."""
        for work in lane.all():
            if work.future.cancelled():
                work.future.set_running_or_notify_cancel()  # only then do `wait` and `as_completed` take it for done
                self._end(lane, work, "cancelled")
            elif work.seconds_left() == 0.0:
                self._fail(lane, work, DeadlineError("the request was not done by its deadline"))

    def _encode(self, lane: Lane, head: EncodeWork) -> None:
        """One call of the tower, for as many pairs of the head's size as it takes, from whichever requests."""
        limit = self._pairs.setdefault(head.size, _Limit(self._model.pairs_at_once(*head.size)))
        batch: list[tuple[EncodeWork, int]] = []
        room = limit.value
        for work in lane.waiting:
            if room and isinstance(work, EncodeWork) and work.size == head.size:
                batch.append((work, min(room, work.left)))
                room -= batch[-1][1]
        for work, _ in batch:
            self.meters.started(work)
        together = np.concatenate([work.pairs[work.done : work.done + count] for work, count in batch])
        try:
            with self.meters.step("encode", len(together)):
                tokens = self._model.encode_pairs(together)
        except ModelError as exc:
            self._halve_or_fail(limit, len(together), exc, lane, head)
            return
        limit.grow()
        self.meters.tokens["visual"] += tokens.shape[0] * tokens.shape[1]
        for (work, _), part in zip(batch, torch.split(tokens, [count for _, count in batch]), strict=True):
            work.pieces.append(part)
            if not work.left:
                self._finish(lane, work, self._model.visual_tokens(work.frames, torch.cat(work.pieces)))

    def _branch(self, lane: Lane, head: ScoreWork | TextWork) -> None:
        """One step of a request about a prompt: the prompt, a row of questions, or into the line of texts to write."""
        self.meters.started(head)
        if head.prefix is None:
            self._open(lane, head)
        elif isinstance(head, ScoreWork):
            self._score(lane, head)
        else:
            with self._failing(lane, head):
                head.suffix = tuple(self._model.checkpoint.tokenize(head.request))
                lane.make_ready(head)

    def _open(self, lane: Lane, head: ScoreWork | TextWork) -> None:
        """Open the head's prompt, and with it others of about its length."""
        head.prefix = self._prompts.get(head.prompt)
        if head.prefix is not None:
            return
        batch = lane.unopened(head.prompt, self._opens.value, self._batch_tokens)
        batch = [prompt for prompt in batch if prompt is head.prompt or self._prompts.get(prompt) is None]
        try:
            with self.meters.step("open", len(batch)):
                prefixes = self._model.open_many([prompt.parts for prompt in batch])
        except (ModelError, ValueError) as exc:
            self._halve_or_fail(self._opens, len(batch), exc, lane, head)
            return
        self._opens.grow()
        for prompt, prefix in zip(batch, prefixes, strict=True):
            self.meters.tokens["prefix"] += prefix.length
            self._prompts.keep(prompt, prefix)
            for work in lane.about(prompt):
                work.prefix = prefix

    def _score(self, lane: Lane, head: ScoreWork) -> None:
        """One row of the head's questions, and with it the same questions about other short prompts."""
        left = head.questions[len(head.scores) :]
        if not left:
            self._finish(lane, head, head.scores)
            return
        try:
            tree = self._model.trees(left, head.row_tokens)[0]
        except ValueError as exc:
            self._fail(lane, head, exc)
            return
        batch = lane.asked_the_same(head, len(tree), self._opens.value, self._batch_tokens)
        prefixes = [work.prefix for work in batch if work.prefix is not None]
        try:
            with self.meters.step("score", len(tree.ends) * len(batch)):
                found = self._model.score_tree(prefixes, tree)
        except ModelError as exc:
            if _out_of_memory(exc) and len(batch) == 1 and len(tree.ends) > 1:
                self.meters.out_of_memory += 1
                self._make_room()
                head.row_tokens = max(1, len(tree) // 2)
            else:
                self._halve_or_fail(self._opens, len(batch), exc, lane, head)
            return
        self.meters.tokens["question"] += len(tree) * len(batch)
        for work, scores in zip(batch, found, strict=True):
            self.meters.started(work)
            with self._failing(lane, work):
                work.scores += numbers(scores)
                if len(work.scores) == len(work.questions):
                    self._finish(lane, work, work.scores)

    def _begin_writing(self, lane: Lane) -> None:
        batch = lane.alike(self._rows.value)
        try:
            requests = [TextRequest(w.prefix, w.suffix, w.max_new_tokens) for w in batch if w.prefix is not None]
            with self.meters.step("write", len(batch)):
                lane.write(Batch(self._model.write(requests), batch))
        except (ModelError, ValueError) as exc:
            self._halve_or_fail(self._rows, len(batch), exc, lane, batch[0])

    def _write_on(self, lane: Lane, batch: Batch) -> None:
        """One more token for every text that has not ended."""
        writing, left = batch.writing, [work for work in batch.works if not work.ended]
        try:
            if left:
                with self.meters.step("write", len(left)), running():
                    writing.advance()
        except ModelError as exc:
            lane.write_again()  # greedy text is the same the second time
            self._halve_or_fail(self._rows, len(left), exc, lane, left[0])
            return
        for row, work in enumerate(batch.works):
            if work.ended:
                writing.end(row)
            elif writing.has_ended(row):
                with self._failing(lane, work):
                    said = writing.result(row)
                    self.meters.tokens["written"] += len(said.token_ids)
                    self._finish(lane, work, said)
        if all(work.ended for work in batch.works):
            writing.close()
            lane.batch = None
            self._rows.grow()

    # ---- how work ends

    @contextmanager
    def _failing(self, lane: Lane, work: Work[Any]) -> Iterator[None]:
        try:
            yield
        except (ModelError, ValueError) as exc:
            self._fail(lane, work, exc)

    def _halve_or_fail(self, limit: _Limit, size: int, error: Exception, lane: Lane, first: Work[Any]) -> None:
        """A batch that failed is tried again in halves, whatever it failed of: then only the culprit fails."""
        if _out_of_memory(error):
            self.meters.out_of_memory += 1
            roomier = self._make_room()
            if size == 1 and roomier:
                return
        if size == 1:
            self._fail(lane, first, error)
        else:
            limit.value = size // 2

    def _make_room(self) -> bool:
        """Let go of all that is only kept in case it is needed again; whether there was anything."""
        held = self._prompts.clear() + self._model.rooms.clear()
        if self._model.text.device.type == "cuda":
            torch.cuda.empty_cache()
        return held > 0

    def _finish(self, lane: Lane, work: Work[T], result: T) -> None:
        if work.future.set_running_or_notify_cancel():
            self._end(lane, work, "done")
            work.future.set_result(result)
        else:
            self._end(lane, work, "cancelled")

    def _fail(self, lane: Lane, work: Work[Any], error: Exception) -> None:
        if work.future.set_running_or_notify_cancel():
            self._end(lane, work, "late" if isinstance(error, DeadlineError) else "failed")
            work.future.set_exception(error)
        else:
            self._end(lane, work, "cancelled")

    def fail_all(self, lane: Lane, error: ModelError) -> None:
        """End everything in a lane."""
        lane.write_again()
        for work in lane.all():
            self._fail(lane, work, error)

    def _end(self, lane: Lane, work: Work[Any], how: str) -> None:
        with self._changed:
            lane.remove(work)
            self.meters.ended(how)
            self._changed.notify_all()


class _Limit:
    """How much goes into one step. Halved when it was too much, and grown back step by step."""

    def __init__(self, most: int) -> None:
        self.value = self._most = most
        self._successes = 0

    def grow(self) -> None:
        self._successes += 1
        if self.value < self._most and self._successes % 32 == 0:
            self.value = min(self._most, self.value * 2)


def _out_of_memory(error: Exception) -> bool:
    return isinstance(error, ModelError) and error.code == "model_out_of_memory"
