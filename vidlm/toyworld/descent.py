"""How weights are moved: by which optimizer each of them, and how fast at which time, and their running average."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn


def schedule(step: int, progress: float, warmup_steps: int) -> float:
    """Linear warm-up, then a cosine to a fiftieth, of the learning rate at `progress` in [0, 1]."""
    cosine = 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * progress))
    return min(1.0, (step + 1) / warmup_steps) * cosine


@torch.no_grad()
def follow(average: dict[str, Tensor], values: dict[str, Tensor], share: float) -> None:
    """Move an average by `share` of the way to the values, in place; a tensor with two names (tied) only once."""
    moved: set[int] = set()
    for name, value in values.items():
        if average[name].data_ptr() not in moved:
            average[name].lerp_(value, share)
            moved.add(average[name].data_ptr())


def optimizers_of(
    learner: nn.Module, *, lr: float, matrix_lr: float, seeing: float, weight_decay: float
) -> list[torch.optim.Optimizer]:
    """Muon (Jordan et al. 2024) for the matrices inside blocks, AdamW for all else.

    Muon's steps are scaled to the root mean square of AdamW's (Liu et al. 2025, arXiv:2502.16982). Weight decay is for
    matrices; gains and biases go without. `lr` is AdamW's, `matrix_lr` Muon's; both are multiplied with `seeing` for
    the vision tower. Each group keeps its own rate as "initial_lr".
    """
    inside: dict[bool, list[nn.Parameter]] = {True: [], False: []}
    matrices: dict[bool, list[nn.Parameter]] = {True: [], False: []}
    gains: dict[bool, list[nn.Parameter]] = {True: [], False: []}
    for name, weight in learner.named_parameters():
        sees = ".visual." in name
        if weight.ndim == 2 and any(part in name for part in (".blocks.", ".layers.", ".merger.")):
            inside[sees].append(weight)
        elif weight.ndim > 1:
            matrices[sees].append(weight)
        else:
            gains[sees].append(weight)

    def groups(kind: dict[bool, list[nn.Parameter]], rate: float, decay: float) -> list[dict[str, Any]]:
        rates = {True: rate * seeing, False: rate}
        return [{"params": some, "lr": rates[sees], "weight_decay": decay} for sees, some in kind.items() if some]

    muon = torch.optim.Muon(groups(inside, matrix_lr, weight_decay), adjust_lr_fn="match_rms_adamw")
    adam = torch.optim.AdamW(groups(matrices, lr, weight_decay) + groups(gains, lr, 0.0), lr=lr, betas=(0.9, 0.98))
    found: list[torch.optim.Optimizer] = [muon, adam]
    for optimizer in found:
        for group in optimizer.param_groups:
            group["initial_lr"] = group["lr"]
    return found
