"""What the tasks of one worker process work with. Expensive parts are made when first used, and once."""

from __future__ import annotations

import threading
import time
from functools import cached_property
from typing import TYPE_CHECKING

from vidlm.config import Settings
from vidlm.model.folder import locate
from vidlm.model.preprocess import FrameGeometry
from vidlm.moderation.policies import PolicySet, load_policies
from vidlm.store.blobs import BlobStore
from vidlm.store.engine import Database

if TYPE_CHECKING:
    from vidlm.model.engine import VideoModel


class Runtime:
    """Database, files, policies and, where a task asks for it, the model of one process."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.database = Database(settings.sql_url)
        self.blobs = BlobStore(settings.data)
        self.busy = False  # a task is running; the watchdog leaves us alone
        self.last_active_s = time.monotonic()
        self._loading = threading.Lock()
        self._model: VideoModel | None = None

    @cached_property
    def policies(self) -> PolicySet:
        """The policies videos are scored with. Raises `PolicyError`."""
        return load_policies(self.settings.policies)

    @cached_property
    def geometry(self) -> FrameGeometry:
        """The model's frame sizes, from its small files alone: no torch. Raises `CheckpointError`."""
        return FrameGeometry.from_checkpoint(locate(self.settings.model_path, weights=False))

    def model(self) -> VideoModel:
        """The one model of this process, loaded by whoever asks first. Raises `CheckpointError`."""
        from vidlm.pipeline import load_model  # noqa: PLC0415  decord and numpy: not for the relay

        with self._loading:
            if self._model is None:
                self._model = load_model(None, self.settings)
            return self._model
