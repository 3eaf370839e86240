"""From a frame's size to the model's: which sizes a checkpoint takes and how its pixels are scaled.

Knows the checkpoint's `preprocessor_config.json`. Knows neither torch nor video files, so the side that decodes video
(which has no GPU and needs no torch) can ask for the right size before a single pixel is resized.
"""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from vidlm.errors import CheckpointError
from vidlm.model.folder import read_json

MAX_ASPECT_RATIO: Final = 200
PREPROCESSOR_FILES: Final = ("preprocessor_config.json", "video_preprocessor_config.json", "processor_config.json")


def smart_resize(height: int, width: int, *, factor: int = 28, min_pixels: int, max_pixels: int) -> tuple[int, int]:
    """The size Qwen2-VL resizes a `height` x `width` picture to, as `(height, width)`.

    Both sides are multiples of `factor`, the area lies within `[min_pixels, max_pixels]` where that is possible, and
    the aspect ratio is kept as well as those two allow. Raises `ValueError`, as the reference does, for a side shorter
    than `factor` or a ratio above 200 : 1.
    """
    if min(height, width) < factor:
        raise ValueError(f"{height} x {width} is smaller than one cell of {factor} pixels")
    if max(height, width) / min(height, width) > MAX_ASPECT_RATIO:
        raise ValueError(f"aspect ratio of {height} x {width} is above {MAX_ASPECT_RATIO} : 1")
    target_h = round(height / factor) * factor
    target_w = round(width / factor) * factor
    if target_h * target_w > max_pixels:
        shrink = math.sqrt(height * width / max_pixels)
        # max(): a thin picture under a small budget keeps one cell of its short side
        target_h = max(factor, math.floor(height / shrink / factor) * factor)
        target_w = max(factor, math.floor(width / shrink / factor) * factor)
    elif target_h * target_w < min_pixels:
        grow = math.sqrt(min_pixels / (height * width))
        target_h = math.ceil(height * grow / factor) * factor
        target_w = math.ceil(width * grow / factor) * factor
    return target_h, target_w


@dataclass(frozen=True, slots=True)
class FrameGeometry:
    """How a checkpoint wants its frames.

    A patch is `patch_size` pixels square and `temporal_patch_size` frames deep; `merge_size` x `merge_size` patches
    become one token. `mean` and `std` are per RGB channel, of pixels scaled to [0, 1]. `segment_max_s` is how much of a
    video the checkpoint is best asked about at once.
    """

    patch_size: int = 14
    temporal_patch_size: int = 2
    merge_size: int = 2
    min_pixels: int = 56 * 56
    max_pixels: int = 28 * 28 * 1280
    mean: tuple[float, float, float] = (0.48145466, 0.4578275, 0.40821073)
    std: tuple[float, float, float] = (0.26862954, 0.26130258, 0.27577711)
    segment_max_s: float = 10.0

    def __post_init__(self) -> None:
        if min(self.patch_size, self.temporal_patch_size, self.merge_size, self.min_pixels) < 1:
            raise ValueError(f"sizes must be positive: {self}")
        if self.max_pixels < self.min_pixels:
            raise ValueError(f"max_pixels {self.max_pixels} is below min_pixels {self.min_pixels}")
        if len(self.mean) != 3 or len(self.std) != 3 or min(self.std) <= 0:
            raise ValueError("mean and std need three values each, and no std of zero")

    @property
    def factor(self) -> int:
        """Pixels along one side of a token; every frame's sides are multiples of it."""
        return self.patch_size * self.merge_size

    @property
    def patch_values(self) -> int:
        """Length of a patch's row: channels x frames x height x width."""
        return 3 * self.temporal_patch_size * self.patch_size**2

    def fit(self, height: int, width: int, max_pixels: int | None = None) -> tuple[int, int]:
        """The `(height, width)` a frame of that size is resized to; `max_pixels` may lower the checkpoint's own limit.

        A picture smaller than one cell is enlarged first, so that any video has a size. Raises `ValueError` for an
        empty picture or an aspect ratio above 200 : 1.
        """
        if min(height, width) < 1:
            raise ValueError(f"a picture needs a size, not {height} x {width}")
        enlarge = max(1.0, self.factor / min(height, width))
        height, width = round(height * enlarge), round(width * enlarge)
        limit = self.max_pixels if max_pixels is None else min(self.max_pixels, max_pixels)
        lower = min(self.min_pixels, limit)
        size = smart_resize(height, width, factor=self.factor, min_pixels=lower, max_pixels=limit)
        if max_pixels is not None and size[0] * size[1] > limit:  # grown to the fewest pixels, past a limit near
            size = smart_resize(height, width, factor=self.factor, min_pixels=1, max_pixels=limit)
        return size

    @classmethod
    def from_checkpoint(cls, folder: Path) -> FrameGeometry:
        """The geometry in a folder's `preprocessor_config.json`, or in the files later releases write instead.

        Reads both spellings of the pixel budget: `min_pixels`/`max_pixels`, and `size` with `shortest_edge` (the
        fewest pixels) and `longest_edge` (the most). A checkpoint's `vidlm.json`, which only ours have, may name its
        `segment_max_s`. Raises `CheckpointError` where there is no such file or it makes no sense.
        """
        file = next((folder / name for name in PREPROCESSOR_FILES if (folder / name).is_file()), None)
        if file is None:
            raise CheckpointError(f"the checkpoint {folder.name!r} has no preprocessor_config.json")
        try:
            config = json.loads(file.read_text(encoding="utf-8"))
            found = _geometry(config.get("video_processor") or config.get("image_processor") or config)
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as exc:
            raise CheckpointError(f"the checkpoint {folder.name!r} has an unusable {file.name}: {exc}") from exc
        return dataclasses.replace(found, segment_max_s=_segment_max_s(folder, found.segment_max_s))


def _segment_max_s(folder: Path, usual: float) -> float:
    """What the folder's `vidlm.json` names, if it names one. Raises `CheckpointError`."""
    card = folder / "vidlm.json"
    named = read_json(card).get("segment_max_s", usual) if card.is_file() else usual
    if isinstance(named, bool) or not isinstance(named, int | float) or not 0 < named < math.inf:
        raise CheckpointError(f"vidlm.json of the checkpoint {folder.name!r}: segment_max_s of {named!r}")
    return float(named)


def _geometry(config: dict[str, Any]) -> FrameGeometry:
    """Missing entries take the published checkpoints' values, as in the reference processor."""
    usual = FrameGeometry()
    size = config.get("size") or {}
    budget = {
        name: next((int(value) for value in (config.get(name), size.get(edge)) if value is not None), default)
        for name, edge, default in (
            ("min_pixels", "shortest_edge", usual.min_pixels),
            ("max_pixels", "longest_edge", usual.max_pixels),
        )
    }
    return FrameGeometry(
        patch_size=int(config.get("patch_size", usual.patch_size)),
        temporal_patch_size=int(config.get("temporal_patch_size", usual.temporal_patch_size)),
        merge_size=int(config.get("merge_size", usual.merge_size)),
        min_pixels=budget["min_pixels"],
        max_pixels=budget["max_pixels"],
        mean=_channels(config.get("image_mean") or usual.mean),
        std=_channels(config.get("image_std") or usual.std),
    )


def _channels(values: list[float] | tuple[float, ...]) -> tuple[float, float, float]:
    red, green, blue = (float(value) for value in values)
    return red, green, blue
