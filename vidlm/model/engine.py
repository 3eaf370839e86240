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
from collections.abc import Sequence
from concurrent.futures import Future
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import torch

from vidlm.domain import FrameBatch
from vidlm.errors import DeadlineError, ModelError
from vidlm.model.generate import Generation
from vidlm.model.lanes import EncodeWork, Lane, Priority, ScoreWork, TextWork, Work
from vidlm.model.meters import EngineMetrics
from vidlm.model.prefix import Clip, VisualTokens
from vidlm.model.prompt import Prompt
from vidlm.model.scheduler import Scheduler
from vidlm.model.video_model import ROW_TOKENS, ModelInfo, VideoModel

__all__ = ["Clip", "Engine", "Generation", "ModelInfo", "Priority", "Prompt", "VisualTokens"]

QUEUE: Final = 256
"""Requests a lane holds; who brings one more waits."""
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
        self._scheduler = Scheduler(model, self._changed, _kv_budget(model) if kv_bytes is None else kv_bytes)
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
        return self._submit([EncodeWork(pairs=pairs, frames=frames, **_common(priority, deadline_s))])[0]

    def score(
        self,
        prompt: Prompt,
        questions: Sequence[str],
        *,
        priority: Priority = Priority.BATCH,
        deadline_s: float | None = None,
    ) -> Future[list[float]]:
        """P(Yes) for each question after the prompt, in [0, 1]."""
        return self.score_all([prompt], questions, priority=priority, deadline_s=deadline_s)[0]

    def score_all(
        self,
        prompts: Sequence[Prompt],
        questions: Sequence[str],
        *,
        priority: Priority = Priority.BATCH,
        deadline_s: float | None = None,
    ) -> list[Future[list[float]]]:
        """`score` of several prompts. Handed over at once, so that short ones begin as one batch."""
        if not all(questions):
            raise ValueError("a question needs at least one token")
        common = _common(priority, deadline_s) | {"questions": tuple(questions), "row_tokens": ROW_TOKENS}
        return self._submit([ScoreWork(prompt=prompt, **common) for prompt in prompts])

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
        work = TextWork(prompt=prompt, request=request, max_new_tokens=max_new_tokens, **common)
        return self._submit([work])[0]

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
            return self._scheduler.meters.read({lane.priority.name.lower(): lane.size for lane in self._lanes.values()})

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

    def _submit(self, works: Sequence[Work[T]]) -> list[Future[T]]:
        """Put work in its lane; waits while the lane is full, at most until the work's deadline."""
        with self._changed:
            for work in works:
                if self._has_room(work):
                    self._lanes[work.priority].add(work)
                else:
                    work.future.set_exception(DeadlineError("the engine's queue stayed full"))
                    self._scheduler.meters.ended("late")
            self._changed.notify_all()
        return [work.future for work in works]

    def _has_room(self, work: Work[Any]) -> bool:
        """Wait for room in the work's lane; False once it is too late. The lock is held, and given up to wait."""
        while self._lanes[work.priority].full and not self._closing:
            self._changed.notify_all()
            if not self._changed.wait(work.seconds_left()):
                return False
        if self._closing:
            raise ModelError("the engine is closed", code="engine_closed")
        return True

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
                if self._abandoned:
                    self._scheduler.fail_all(lane, ModelError("the engine was closed", code="engine_closed"))
                else:
                    self._scheduler.step(lane)
            except Exception as exc:  # noqa: BLE001  a fault of ours must not leave futures that never resolve
                self._scheduler.fail_all(lane, ModelError(f"the engine failed: {type(exc).__name__}: {exc}"))


def _common(priority: Priority, deadline_s: float | None) -> dict[str, Any]:
    until_s = None if deadline_s is None else time.monotonic() + deadline_s
    return {"priority": priority, "until_s": until_s}


def _kv_budget(model: VideoModel) -> int:
    if model.text.device.type != "cuda":
        return KV_BYTES
    free, _ = torch.cuda.mem_get_info(model.text.device)
    return int(free * KV_SHARE)
