"""Windows of a prepared video -> visual tokens: kept ones from the store, the others from the proxy through the tower.

    loader thread    store? --yes--------------------------------.
                       |no                                        |
                     read the proxy (decord) --> engine.encode --> tokens of a window, in order --> kept in the store

The loader runs ahead of whoever uses the tokens, so decoding one window overlaps with the model's work on another.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from vidlm import prompts
from vidlm.domain import PIPELINE_VERSION
from vidlm.model.embeddings import TokenKey, TokenStore
from vidlm.model.engine import Engine, Priority, Prompt
from vidlm.model.prefix import VisualTokens
from vidlm.preparation import Prepared, read_windows

if TYPE_CHECKING:
    from vidlm.video.sampling import Window

AHEAD: Final = 16
"""Windows that are loaded before the first of them is used up; at load B on a 2B model, 130 MB of tokens."""
READ_FRAMES: Final = 64
"""Frames that are read from the proxy in one go; the first window is read alone, so that the model can begin."""


@dataclass(frozen=True, slots=True)
class Eyes:
    """Who looks: an engine, how urgently, and where its visual tokens are kept, if anywhere."""

    engine: Engine
    store: TokenStore | None = None
    priority: Priority = Priority.BATCH

    def see(self, prepared: Prepared, windows: Sequence[Window]) -> Generator[VisualTokens, None, None]:
        """The visual tokens of each window, in order. Raises `ToolError` and `ModelError` where they arise.

        Closing the iterator early stops the loading.
        """
        loaded: queue.Queue[_Loaded | BaseException] = queue.Queue(AHEAD)
        stop = threading.Event()
        loader = threading.Thread(
            target=self._load, args=(prepared, windows, loaded, stop), name="vidlm-loader", daemon=True
        )
        loader.start()
        try:
            for _ in windows:
                item = loaded.get()
                if isinstance(item, BaseException):
                    raise item
                visual = item.tokens if isinstance(item.tokens, VisualTokens) else item.tokens.result()
                if self.store is not None and visual is not item.tokens:
                    self.store.put(self.key(prepared), frames_of(item.window), visual)
                yield visual
        finally:
            stop.set()
            while loader.is_alive() or not loaded.empty():  # it may be waiting for room
                with suppress(queue.Empty):
                    item = loaded.get(timeout=0.02)
                    if isinstance(item, _Loaded) and isinstance(item.tokens, Future):
                        item.tokens.cancel()

    def key(self, prepared: Prepared) -> TokenKey:
        """What decides this video's tokens: the file, the model, and how frames were taken."""
        info, sampling = self.engine.info, prepared.sampling
        recipe = f"{PIPELINE_VERSION} {sampling.fps!r} fps {sampling.width}x{sampling.height} {info.dtype}"
        return TokenKey(prepared.info.sha256, info.revision, recipe)

    def prompt(self, visual: VisualTokens) -> Prompt:
        """The prompt that shows a window, each pair after its time."""
        return Prompt(prompts.video_prefix(self.times_s(visual), self.engine.info.family), visual)

    def judge(self, shown: Sequence[VisualTokens], requests: Sequence[str]) -> list[list[float]]:
        """P(Yes) of each of the requests for each of these pieces of video. Raises `ModelError`."""
        asked = self.engine.score_all([self.prompt(tokens) for tokens in shown], requests, priority=self.priority)
        try:
            return [future.result() for future in asked]
        finally:
            for future in asked:  # nothing to those that are done
                future.cancel()

    def times_s(self, visual: VisualTokens) -> tuple[float, ...]:
        """When each pair is shown, as the model's family counts it: Qwen3-VL takes the middle of its frames."""
        if self.engine.info.family != "qwen3_vl":
            return visual.pair_times_s
        pairs = zip(visual.pair_times_s, visual.last_times_s, strict=True)
        return tuple((first + last) / 2 for first, last in pairs)

    def _load(
        self,
        prepared: Prepared,
        windows: Sequence[Window],
        loaded: queue.Queue[_Loaded | BaseException],
        stop: threading.Event,
    ) -> None:
        try:
            for group in _groups(windows):
                kept = [self._kept(prepared, window) for window in group]
                frames = iter(read_windows(prepared, group) if None in kept else ())
                for window, tokens in zip(group, kept, strict=True):
                    batch = next(frames, None)
                    if stop.is_set():
                        return
                    if tokens is None and batch is not None:
                        loaded.put(_Loaded(window, self.engine.encode(batch, priority=self.priority)))
                    elif tokens is not None:
                        loaded.put(_Loaded(window, tokens))
        except BaseException as exc:  # noqa: BLE001  whatever it is, the thread that waits for it is told
            loaded.put(exc)

    def _kept(self, prepared: Prepared, window: Window) -> VisualTokens | None:
        return None if self.store is None else self.store.get(self.key(prepared), frames_of(window))


@dataclass(frozen=True, slots=True)
class _Loaded:
    window: Window
    tokens: VisualTokens | Future[VisualTokens]


def frames_of(window: Window) -> tuple[int, int]:
    """The proxy frames `[first, last)` of a window."""
    return window.first_frame, window.last_frame


def _groups(windows: Sequence[Window]) -> Iterator[list[Window]]:
    """Consecutive windows that are read in one go: the first alone, then as many as `READ_FRAMES` holds."""
    group: list[Window] = []
    for window in windows:
        frames = window.last_frame - group[0].first_frame if group else 0
        if group and (frames > READ_FRAMES or group[0] is windows[0]):
            yield group
            group = []
        group.append(window)
    if group:
        yield group
