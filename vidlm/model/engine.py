"""The one owner of a model in a process: takes work from any thread as futures and decides what runs next.

    threads ---- encode, caption, score, answer ---->  two lanes  ---- one step at a time ---->  device

A step is one call of the tower, one prefix, one row of questions or one token of every text being written. Before each
step the interactive lane goes first, so a question waits for a step and never for a video. Within a lane, frames of one
size share the tower whatever video they are from, and captions are written together once nothing else is waiting.

What does not fit the device's memory is halved and tried again; what nobody waits for is dropped between two steps.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import numpy as np
import torch

from vidlm.domain import FrameBatch
from vidlm.errors import DeadlineError, ModelError
from vidlm.model.generate import Generation, TextRequest
from vidlm.model.lanes import Batch, EncodeWork, Lane, Priority, ScoreWork, TextWork, Work
from vidlm.model.meters import EngineMetrics, Meters
from vidlm.model.prefix import Clip, VisualTokens
from vidlm.model.prompt import Prompt, PromptCache
from vidlm.model.video_model import ROW_TOKENS, ModelInfo, VideoModel, numbers, running

__all__ = ["Clip", "Engine", "Generation", "ModelInfo", "Priority", "Prompt", "VisualTokens"]

QUEUE: Final = 256
"""Requests a lane holds; who brings one more waits."""
ROWS: Final = {"cuda": 96, "cpu": 16}
"""Texts written together at most, by device."""
PROMPTS: Final = 64
"""Prompts opened together at most."""
BATCH_TOKENS: Final = {"cuda": 16_384, "cpu": 2_048}
"""Tokens of a batch of prompts, padding included, by device; a longer prompt has a batch of its own."""
KV_SHARE: Final = 0.25
"""Of the device's free memory, for prefixes that are kept: what a later branch of the same prompt needs again."""
KV_BYTES: Final = 1 << 30
"""The same where the device does not say how much is free."""

T = TypeVar("T")


class Engine:
    """A model with a thread of its own. Close it, or use it as a context manager.

    Every method that gives a future raises `ValueError` for what no model could do, and `ModelError` (`engine_closed`)
    once closed. A future fails with `ModelError` where the device fails, and with `DeadlineError` when `deadline_s`
    seconds have passed; it may be cancelled at any time.
    """

    def __init__(self, model: VideoModel, *, queue: int = QUEUE, kv_bytes: int | None = None) -> None:
        self._model = model
        self._lanes = {priority: Lane(priority, queue) for priority in Priority}
        self._changed = threading.Condition()
        self._closing = self._abandoned = False
        self._prompts = PromptCache(_kv_budget(model) if kv_bytes is None else kv_bytes)
        self._meters = Meters(model.text.device)
        self._rows = _Limit(ROWS.get(model.text.device.type, ROWS["cpu"]))
        self._opens = _Limit(PROMPTS)
        self._batch_tokens = BATCH_TOKENS.get(model.text.device.type, BATCH_TOKENS["cpu"])
        self._pairs: dict[tuple[int, int], _Limit] = {}
        self._thread = threading.Thread(target=self._run, name="vidlm-engine", daemon=True)
        self._thread.start()

    @classmethod
    def load(cls, model: str, *, device: str = "auto", dtype: str = "auto") -> Engine:
        """Load a checkpoint folder or hub id; see `checkpoint.load`. Raises `CheckpointError`, `ModelError`."""
        return cls(VideoModel.load(model, device=device, dtype=dtype))

    @property
    def info(self) -> ModelInfo:
        return self._model.info

    # ---- work

    def encode(
        self, frames: FrameBatch, *, priority: Priority = Priority.BATCH, deadline_s: float | None = None
    ) -> Future[VisualTokens]:
        """Visual tokens of frames that are already at the model's size (`info.geometry.fit`)."""
        pairs = self._model.pairs(frames)
        return self._submit(EncodeWork(pairs=pairs, frames=frames, **_common(priority, deadline_s)))

    def score(
        self,
        prompt: Prompt,
        questions: Sequence[str],
        *,
        priority: Priority = Priority.BATCH,
        deadline_s: float | None = None,
    ) -> Future[list[float]]:
        """P(Yes) for each question after the prompt, in [0, 1]."""
        if not all(questions):
            raise ValueError("a question needs at least one token")
        common = _common(priority, deadline_s)
        return self._submit(ScoreWork(prompt=prompt, questions=tuple(questions), row_tokens=ROW_TOKENS, **common))

    def caption(
        self,
        prompt: Prompt,
        request: str,
        *,
        max_new_tokens: int,
        priority: Priority = Priority.BATCH,
        deadline_s: float | None = None,
    ) -> Future[Generation]:
        """Greedy text after prompt and request; those that are asked for together are written together."""
        if not request or max_new_tokens < 1:
            raise ValueError("generating needs a request of at least one token and room for one more")
        common = _common(priority, deadline_s)
        return self._submit(TextWork(prompt=prompt, request=request, max_new_tokens=max_new_tokens, **common))

    def answer(
        self, prompt: Prompt, request: str, *, max_new_tokens: int, deadline_s: float | None = None
    ) -> Future[Generation]:
        """`caption` for somebody who waits: ahead of all batch work."""
        return self.caption(
            prompt, request, max_new_tokens=max_new_tokens, priority=Priority.INTERACTIVE, deadline_s=deadline_s
        )

    def metrics(self) -> EngineMetrics:
        """What was done so far, and what is waiting."""
        with self._changed:
            return self._meters.read({lane.priority.name.lower(): lane.size for lane in self._lanes.values()})

    def close(self, *, drain: bool = False) -> None:
        """End the thread after the step it is in, or with `drain` after all that is waiting. Safe to call twice.

        What was not done fails with `ModelError` (`engine_closed`).
        """
        with self._changed:
            self._closing, self._abandoned = True, not drain
            self._changed.notify_all()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _submit(self, work: Work[T]) -> Future[T]:
        """Put work in its lane; waits while the lane is full, at most until the work's deadline."""
        lane = self._lanes[work.priority]
        with self._changed:
            while lane.full and not self._closing:
                if not self._changed.wait(work.seconds_left()):
                    work.future.set_exception(DeadlineError("the engine's queue stayed full"))
                    self._meters.ended("late")
                    return work.future
            if self._closing:
                raise ModelError("the engine is closed", code="engine_closed")
            lane.add(work)
            self._changed.notify_all()
        return work.future

    # ---- the engine's own thread

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._closing and not any(lane.size for lane in self._lanes.values()):
                    self._changed.wait()
                lane = next((lane for lane in self._lanes.values() if lane.size), None)
            if lane is None:
                return
            try:
                self._step(lane)
            except Exception as exc:  # noqa: BLE001  a fault of ours must not leave futures that never resolve
                self._fail_all(lane, ModelError(f"the engine failed: {type(exc).__name__}: {exc}"))

    def _step(self, lane: Lane) -> None:
        if self._abandoned:
            self._fail_all(lane, ModelError("the engine was closed", code="engine_closed"))
            return
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
            self._meters.started(work)
        together = np.concatenate([work.pairs[work.done : work.done + count] for work, count in batch])
        try:
            with self._meters.step("encode", len(together)):
                tokens = self._model.encode_pairs(together)
        except ModelError as exc:
            self._halve_or_fail(limit, len(together), exc, lane, head)
            return
        limit.grow()
        self._meters.tokens["visual"] += tokens.shape[0] * tokens.shape[1]
        for (work, _), part in zip(batch, torch.split(tokens, [count for _, count in batch]), strict=True):
            work.pieces.append(part)
            if not work.left:
                self._finish(lane, work, self._model.visual_tokens(work.frames, torch.cat(work.pieces)))

    def _branch(self, lane: Lane, head: ScoreWork | TextWork) -> None:
        """One step of a request about a prompt: the prompt, a row of questions, or into the line of texts to write."""
        self._meters.started(head)
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
            with self._meters.step("open", len(batch)):
                prefixes = self._model.open_many([prompt.parts for prompt in batch])
        except (ModelError, ValueError) as exc:
            self._halve_or_fail(self._opens, len(batch), exc, lane, head)
            return
        self._opens.grow()
        for prompt, prefix in zip(batch, prefixes, strict=True):
            self._meters.tokens["prefix"] += prefix.length
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
            with self._meters.step("score", len(tree.ends) * len(batch)):
                found = self._model.score_tree(prefixes, tree)
        except ModelError as exc:
            if _out_of_memory(exc) and len(batch) == 1 and len(tree.ends) > 1:
                self._meters.out_of_memory += 1
                self._make_room()
                head.row_tokens = max(1, len(tree) // 2)
            else:
                self._halve_or_fail(self._opens, len(batch), exc, lane, head)
            return
        self._meters.tokens["question"] += len(tree) * len(batch)
        for work, scores in zip(batch, found, strict=True):
            self._meters.started(work)
            with self._failing(lane, work):
                work.scores += numbers(scores)
                if len(work.scores) == len(work.questions):
                    self._finish(lane, work, work.scores)

    def _begin_writing(self, lane: Lane) -> None:
        batch = lane.alike(self._rows.value)
        try:
            requests = [TextRequest(w.prefix, w.suffix, w.max_new_tokens) for w in batch if w.prefix is not None]
            with self._meters.step("write", len(batch)):
                lane.write(Batch(self._model.write(requests), batch))
        except ModelError as exc:
            self._halve_or_fail(self._rows, len(batch), exc, lane, batch[0])

    def _write_on(self, lane: Lane, batch: Batch) -> None:
        """One more token for every text that has not ended."""
        writing, left = batch.writing, [work for work in batch.works if not work.ended]
        try:
            if left:
                with self._meters.step("write", len(left)), running():
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
                    self._meters.tokens["written"] += len(said.token_ids)
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
            self._meters.out_of_memory += 1
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

    def _fail_all(self, lane: Lane, error: ModelError) -> None:
        lane.write_again()
        for work in lane.all():
            self._fail(lane, work, error)

    def _end(self, lane: Lane, work: Work[Any], how: str) -> None:
        with self._changed:
            lane.remove(work)
            self._meters.ended(how)
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


def _common(priority: Priority, deadline_s: float | None) -> dict[str, Any]:
    until_s = None if deadline_s is None else time.monotonic() + deadline_s
    return {"priority": priority, "until_s": until_s}


def _out_of_memory(error: Exception) -> bool:
    return isinstance(error, ModelError) and error.code == "model_out_of_memory"


def _kv_budget(model: VideoModel) -> int:
    if model.text.device.type != "cuda":
        return KV_BYTES
    free, _ = torch.cuda.mem_get_info(model.text.device)
    return int(free * KV_SHARE)
