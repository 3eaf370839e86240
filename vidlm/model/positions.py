"""Where each token of a prompt stands: the three rotary axes (time, height, width) of Qwen2-VL. Arithmetic only.

We compute positions ourselves and hand them to every forward. The library's own (`get_rope_index`, 5.2 to 5.23) advance
by max(h, w) / 2 after a video and forget its length, which is not what the published weights were trained with.

    parts      3 text      video t=2 h=4 w=4 (patches), merged 2 x 2        text ...
    time     0  1  2   3 | 4 4 4 4  5 5 5 5 | 6 ...
    height   0  1  2   3 | 4 4 5 5  4 4 5 5 | 6 ...
    width    0  1  2   3 | 4 5 4 5  4 5 4 5 | 6 ...
                       ^ <|vision_start|>     ^ <|vision_end|>, at 1 + the largest position so far on any axis
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import repeat

import torch
from torch import Tensor

Grid = tuple[int, int, int]
"""A clip's size in patches: (temporal patches, height, width)."""


def prompt_positions(
    parts: Sequence[int | Grid], *, merge_size: int = 2, start: int = 0, time_steps: Iterable[float] = repeat(1.0)
) -> tuple[Tensor, int]:
    """Positions of a prompt's tokens: int64 `[3, L]`, and the position of the token that would follow.

    An integer stands for that many text tokens; a grid `(t, h, w)`, in patches, for `<|vision_start|>`, the
    `t * h * w / merge_size**2` tokens of that clip and `<|vision_end|>`. The first token stands at `start`, so a prompt
    can be continued. time_steps: how far a clip's temporal patches stand apart on the time axis, for each grid in turn.
    Raises `ValueError` for a grid that does not divide into merged cells.
    """
    pieces: list[Tensor] = []
    position, steps = start, iter(time_steps)
    for part in parts:
        if isinstance(part, int):
            pieces.append(text_positions(position, part))
            position += part
        else:
            clip = clip_positions(part, start=position + 1, merge_size=merge_size, time_step=next(steps))
            after = int(clip.max()) + 1
            pieces += [text_positions(position, 1), clip, text_positions(after, 1)]
            position = after + 1
    return (torch.cat(pieces, dim=1) if pieces else torch.empty(3, 0, dtype=torch.long)), position


def text_positions(start: int, count: int) -> Tensor:
    """int64 `[3, count]`: text advances by one on all three axes together."""
    return torch.arange(start, start + count).expand(3, -1)


def clip_positions(grid: Grid, *, start: int, merge_size: int = 2, time_step: float = 1.0) -> Tensor:
    """int64 `[3, t * h * w / merge_size**2]`: a clip's tokens count from `start` along each axis of the merged grid.

    Temporal patch n stands at `start + floor(n * time_step)`: 1 for Qwen2-VL, tokens a second for Qwen2.5-VL.
    """
    t, h, w = grid
    if min(grid) < 1 or h % merge_size or w % merge_size:
        raise ValueError(f"a grid of {t} x {h} x {w} patches does not divide into cells of {merge_size} x {merge_size}")
    times = (torch.arange(t) * time_step).long()
    axes = torch.meshgrid(times, torch.arange(h // merge_size), torch.arange(w // merge_size), indexing="ij")
    return torch.stack([axis.reshape(-1) for axis in axes]) + start
