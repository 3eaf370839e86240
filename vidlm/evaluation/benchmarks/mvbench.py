"""MVBench (Li et al. 2024, arXiv:2311.17005): twenty tasks that need more than one frame, on videos of other data sets.

    json/<task>.json        [{video, question, candidates, answer, start, end}, ...]
    video/<place>/<video>   where each task's videos lie, below

The videos were published twice: whole, with the seconds to look at, and cut to those seconds under other names.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Final

from vidlm.domain import Span
from vidlm.errors import DatasetError
from vidlm.evaluation.files import Entry, read_entries
from vidlm.evaluation.items import Choice, Loaded

_CLEVRER, _PERCEPTION = ("clevrer/video_validation", ""), ("perception/videos", "")
_STAR: Final = ("star/Charades_v1_480", "star/Charades_segment")
PLACES: Final = {
    "action_antonym": ("ssv2_video", "ssv2_video_mp4"),
    "action_count": _PERCEPTION,
    "action_localization": ("sta/sta_video", "sta/sta_video_segment"),
    "action_prediction": _STAR,
    "action_sequence": _STAR,
    "character_order": _PERCEPTION,
    "counterfactual_inference": _CLEVRER,
    "egocentric_navigation": ("vlnqa", ""),
    "episodic_reasoning": ("tvqa/frames_fps3_hq", "tvqa/video_fps3_hq_segment"),
    "fine_grained_action": ("Moments_in_Time_Raw/videos", ""),
    "fine_grained_pose": ("nturgbd", "nturgbd_convert"),
    "moving_attribute": _CLEVRER,
    "moving_count": _CLEVRER,
    "moving_direction": _CLEVRER,
    "object_existence": _CLEVRER,
    "object_interaction": _STAR,
    "object_shuffle": _PERCEPTION,
    "scene_transition": ("scene_qa/video", ""),
    "state_change": _PERCEPTION,
    "unexpected_action": ("FunQA_test/test", ""),
}
"""Task -> the folders of its videos as first published, and in the later form ("": the same)."""
TIMED: Final = frozenset(
    {"action_localization", "action_prediction", "action_sequence", "episodic_reasoning", "object_interaction"}
)
"""Tasks that look at `[start, end)` of a whole video."""
ROOTS: Final = ("video", "video/data0613", ".")


def load(folder: Path) -> Loaded:
    """Every question of every task there is; those whose seconds are no interval are counted. `DatasetError`."""
    files = sorted((folder / "json").glob("*.json"))
    if not files:
        raise DatasetError("no questions: expected json/<task>.json")
    found = [
        _choice(folder, file.stem, entry)
        for file in files
        for entry in read_entries(folder, file.relative_to(folder).as_posix())
    ]
    items = tuple(item for item in found if item is not None)
    empty = len(found) - len(items)
    return Loaded("json/", items, {"questions about no interval": empty} if empty else {})


def _choice(folder: Path, task: str, entry: Entry) -> Choice | None:
    options, answer = entry.texts("candidates"), entry.text("answer")
    if options.count(answer) != 1:
        raise entry.place.error(f"the answer {answer!r} is {options.count(answer)} of the candidates, not one")
    video, whole = _find(folder, task, entry.relative("video"))
    timed = whole and task in TIMED
    start_s, end_s = (entry.number("start"), entry.number("end")) if timed else (0.0, 0.0)
    if timed and not 0 <= start_s < end_s < math.inf:
        return None
    return Choice(
        video=video,
        question=entry.text("question"),
        options=tuple(options),
        answer=options.index(answer),
        span=Span(start_s, end_s) if timed else None,
        groups=(f"task: {task}",),
    )


def _find(folder: Path, task: str, video: str) -> tuple[str, bool]:
    """The video's place in the folder and whether it is whole; where it is missing, the place it should have."""
    whole, cut = PLACES.get(task, (task, ""))
    for place, is_whole in ((whole, True), (cut, False)):
        for root in ROOTS if place else ():
            path = (Path(root) / place / video).as_posix()
            if (folder / path).is_file():
                return path, is_whole
    return (Path(ROOTS[0]) / whole / video).as_posix(), True
