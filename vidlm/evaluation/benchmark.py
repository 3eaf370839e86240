"""A public benchmark in a local folder, from its files to its figures: `vidlm eval --benchmark NAME --folder DIR`.

Nothing is downloaded. A video that is missing, or that cannot be analysed, is an error unless such are to be left out;
what was left out is in the result.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from vidlm.config import Settings
from vidlm.errors import DatasetError
from vidlm.evaluation.asking import Asker, ask_all
from vidlm.evaluation.benchmarks import charades_sta, mvbench, tempcompass, video_mme
from vidlm.evaluation.items import Item, Loaded
from vidlm.evaluation.scoring import rows_of, single_of
from vidlm.evaluation.singles import Tell, tell_nobody
from vidlm.prompts import PROMPT_VERSION
from vidlm.running import running_engine

if TYPE_CHECKING:
    from vidlm.model.engine import Engine

LOADERS: Final[dict[str, Callable[[Path], Loaded]]] = {
    "video-mme": video_mme.load,
    "mvbench": mvbench.load,
    "tempcompass": tempcompass.load,
    "charades-sta": charades_sta.load,
}
PAIRS: Final = 16


@dataclass(frozen=True, slots=True)
class Chosen:
    """What is to be asked, and the videos that are not there with the number of questions about each."""

    name: str
    folder: Path
    loaded: Loaded
    items: tuple[Item, ...]
    missing: dict[str, int]


def choose(name: str, folder: Path, *, limit: int | None = None, skip_missing: bool = False) -> Chosen:
    """Read a benchmark and see whether its videos are there: all before the first one is opened.

    `limit` takes so many questions, spread evenly over all that can be asked, so that every task occurs. Raises
    `DatasetError` for an unknown name, a folder without its files, and missing videos unless they are skipped.
    """
    if name not in LOADERS:
        raise DatasetError(f"no benchmark is called {name!r}; known are {', '.join(LOADERS)}")
    if not folder.is_dir():
        raise DatasetError(f"{folder.name!r} {'is not a folder' if folder.exists() else 'does not exist'}")
    loaded = LOADERS[name](folder)
    missing: dict[str, int] = {}
    for item in loaded.items:
        if item.video in missing or not (folder / item.video).is_file():
            missing[item.video] = missing.get(item.video, 0) + 1
    if missing and not skip_missing:
        videos = len({item.video for item in loaded.items})
        first = next(iter(missing))
        what = "is a folder of pictures" if (folder / first).is_dir() else "does not exist"
        count = f"{len(missing)} of {videos} videos are missing"
        raise DatasetError(f"{first} {what}; {count}, and --skip-missing leaves them out")
    there = [item for item in loaded.items if item.video not in missing]
    if not there:
        raise DatasetError(f"{loaded.source}: no question is left to ask")
    return Chosen(name, folder, loaded, tuple(_spread(there, limit)), missing)


def _spread(items: Sequence[Item], limit: int | None) -> Sequence[Item]:
    if limit is None or limit >= len(items):
        return items
    return [items[(2 * part + 1) * len(items) // (2 * limit)] for part in range(limit)]


def evaluate_benchmark(
    chosen: Chosen,
    settings: Settings,
    *,
    pairs: int = PAIRS,
    skip_missing: bool = False,
    model: Engine | None = None,
    on_progress: Callable[[int], None] = lambda _items: None,
    tell: Tell = tell_nobody,
) -> dict[str, Any]:
    """The document: `rows`, what they rest on, and what was left out.

    `model` is a running engine, the settings' own when None; `on_progress` is told how many questions are done, `tell`
    every reply as it comes. Raises what `ask_all` does, and `CheckpointError`.
    """
    with running_engine(model, settings) as engine:
        asker = Asker(engine, settings, pairs)
        asked = ask_all(
            asker,
            chosen.items,
            chosen.folder,
            skip_unreadable=skip_missing,
            on_progress=on_progress,
            on_reply=lambda reply: tell(single_of(reply)),
        )
        info = engine.info
    left_out = dict(chosen.loaded.left_out)
    if chosen.missing:
        left_out |= {"missing videos": len(chosen.missing), "questions about them": sum(chosen.missing.values())}
    if asked.unreadable:
        lost = sum(item.video in asked.unreadable for item in chosen.items)
        left_out |= {"unreadable videos": len(asked.unreadable), "questions about unreadable ones": lost}
    return {
        "benchmark": chosen.name,
        "source": chosen.loaded.source,
        "model": {"id": info.model_id, "revision": info.revision, "toy": info.toy},
        "prompt_version": PROMPT_VERSION,
        "sample_fps": settings.sample_fps,
        "pairs": pairs,
        "questions": len(asked.replies),
        "videos": len({reply.item.video for reply in asked.replies}),
        "left_out": left_out,
        "missing": list(chosen.missing),
        "unreadable": asked.unreadable,
        "rows": rows_of(asked.replies),
    }
