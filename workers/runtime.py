"""What the tasks of one worker process work with. Expensive parts are made when first used, and once."""

from __future__ import annotations

import threading
import time
from functools import cached_property
from typing import TYPE_CHECKING, Final

from vidlm.config import Settings
from vidlm.errors import LeaseLost
from vidlm.model.folder import locate
from vidlm.model.preprocess import FrameGeometry
from vidlm.moderation.policies import PolicySet, load_policies
from vidlm.policy import policy_sets
from vidlm.policy.policy_sets import InForce
from vidlm.running import load_engine
from vidlm.store.blobs import TOKENS, BlobStore
from vidlm.store.engine import Database
from vidlm.store.tables import Job

if TYPE_CHECKING:
    from vidlm.jobs.claims import Claim
    from vidlm.known.recognition import Recognizer
    from vidlm.model.embeddings import TokenStore
    from vidlm.model.engine import Engine
    from vidlm.seeing import Eyes


STOP_GRACE_S: Final = 15.0
"""How long work may go on after this process was told to end; shorter than whoever told us waits to kill us."""


class StoppingError(Exception):
    """The work in hand is given back: another process will take it up at once."""


class Runtime:
    """Database, files, policies and, where a task asks for it, the model of one process."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.database = Database(settings.sql_url)
        self.blobs = BlobStore(settings.data)
        self.at: Claim | None = None  # what is worked on now
        self.busy = False  # a task is running; the watchdog leaves us alone
        self.last_active_s = time.monotonic()
        self._stop_at_s: float | None = None
        self._loading = threading.Lock()
        self._engine: Engine | None = None
        self._recipes: dict[str, str] = {}  # by the policies' version: the model's files are looked at once

    @cached_property
    def own_policies(self) -> PolicySet:
        """The policies for tenants that put none of their own in force. Raises `PolicyError`."""
        return load_policies(self.settings.policies)

    def in_force(self, tenant_id: str) -> InForce:
        """The policies that a video of this tenant is scored with from now on. Raises `PolicyError`."""
        with self.database.read() as session:
            return policy_sets.in_force(session, tenant_id, self.own_policies)

    def pinned(self, job: Job) -> PolicySet:
        """The policies that a prepared job is scored with, to its end. Raises `PolicyError`."""
        with self.database.read() as session:
            return policy_sets.pinned(session, job.policy_set_id, self.own_policies)

    @cached_property
    def geometry(self) -> FrameGeometry:
        """The model's frame sizes, from its small files alone: no torch. Raises `CheckpointError`."""
        return FrameGeometry.from_checkpoint(locate(self.settings.model_path, weights=False))

    def recipe(self, policies: PolicySet) -> str:
        """What decides the results of this process under these policies, as a digest. Raises `CheckpointError`."""
        from vidlm.provenance import recipe  # noqa: PLC0415  not for the relay

        if policies.version not in self._recipes:
            self._recipes[policies.version] = recipe(self.settings, policies)
        return self._recipes[policies.version]

    def engine(self) -> Engine:
        """The one engine of this process, made by whoever asks first. Raises `CheckpointError`."""
        with self._loading:
            if self._engine is None:
                self._engine = load_engine(None, self.settings)
            return self._engine

    def stop_soon(self, **_signal: object) -> None:
        """This process was told to end: what is worked on may go on for `STOP_GRACE_S`, then it is given back."""
        self._stop_at_s = time.monotonic() + STOP_GRACE_S

    def go_on(self, lost: threading.Event) -> None:
        """Called by a stage now and then. Raises `LeaseLost` when its work is in vain, `StoppingError` when it has to
        be given back."""
        if lost.is_set():
            raise LeaseLost("nobody wants this work any more, or somebody else is at it")
        if self._stop_at_s is not None and time.monotonic() >= self._stop_at_s:
            raise StoppingError("this process has been told to end")

    def close(self) -> None:
        """End the engine's thread; nothing can be asked of it any more."""
        with self._loading:
            if self._engine is not None:
                self._engine.close()

    def eyes(self, *, urgent: bool = False) -> Eyes:
        """The engine with the tokens that were kept on disk, for a span or, urgently, for a question."""
        from vidlm.model.engine import Priority  # noqa: PLC0415  torch: not for the relay
        from vidlm.seeing import Eyes  # noqa: PLC0415

        return Eyes(self.engine(), self._tokens, Priority.INTERACTIVE if urgent else Priority.BATCH)

    @cached_property
    def recognizer(self) -> Recognizer:
        """What tells whether a video is known."""
        from vidlm.known.recognition import Recognizer  # noqa: PLC0415  numpy: not for the relay

        return Recognizer(self.database, mirror=self.settings.match_mirrored)

    @cached_property
    def _tokens(self) -> TokenStore:
        from vidlm.model.embeddings import TokenStore  # noqa: PLC0415  torch: not for the relay

        return TokenStore(self.settings.data / TOKENS, self.settings.token_bytes)
