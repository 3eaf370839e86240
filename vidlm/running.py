"""Which engine somebody means: one that runs, a loaded model, a folder, a hub's id, or what the settings say."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from vidlm.config import Settings

if TYPE_CHECKING:
    from vidlm.model.engine import Engine
    from vidlm.model.video_model import VideoModel


@contextmanager
def running_engine(model: str | VideoModel | Engine | None, settings: Settings) -> Iterator[Engine]:
    """The engine itself where one is given; else one over that model, or over the settings', closed at the end."""
    from vidlm.model.engine import Engine  # noqa: PLC0415  torch: seconds, and absent on some machines

    if isinstance(model, Engine):
        yield model
        return
    if model is None or isinstance(model, str | Path):
        with load_engine(model, settings) as engine:
            yield engine
        return
    with Engine(model) as engine:
        yield engine


def load_engine(model: str | None, settings: Settings) -> Engine:
    """An engine over a checkpoint folder or hub id, or over the settings' own. Raises `CheckpointError`."""
    from vidlm.model.engine import Engine  # noqa: PLC0415  torch: seconds, and absent on some machines

    return Engine.load(str(model or settings.model_path), device=settings.device, dtype=settings.dtype)
