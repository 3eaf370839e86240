"""Weights move as fast as is said, and their average follows each of them once."""

import copy
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer
from torch import nn

from vidlm.config import EMBEDDED_MODEL
from vidlm.toyworld import student
from vidlm.toyworld.descent import follow, optimizers_of


def new_model() -> Any:
    return student.new_model(Tokenizer.from_file(str(EMBEDDED_MODEL / "tokenizer.json")))


def test_every_weight_of_the_tower_moves_at_its_rate_and_decays_if_it_is_a_matrix() -> None:
    model = new_model()
    found = optimizers_of(nn.ModuleDict({"model": model}), lr=2e-3, matrix_lr=1e-2, seeing=0.2, weight_decay=0.05)
    groups = [group for optimizer in found for group in optimizer.param_groups]
    rates = {id(weight): (group["lr"], group["weight_decay"]) for group in groups for weight in group["params"]}
    assert len(rates) == sum(len(group["params"]) for group in groups) == len(list(model.parameters()))
    for name, weight in model.named_parameters():
        rate, decay = rates[id(weight)]
        share = 0.2 if ".visual." in name else 1.0
        assert rate in (pytest.approx(2e-3 * share), pytest.approx(1e-2 * share))
        assert decay == (0.05 if weight.ndim > 1 else 0.0)


def test_the_average_follows_every_weight_alike() -> None:
    """Embeddings and the head that reads them are one tensor under two names."""
    model = new_model()
    average = copy.deepcopy(model.state_dict())
    before = copy.deepcopy(average)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(1.0)
    follow(average, model.state_dict(), 0.25)
    for name, value in average.items():
        if name in dict(model.named_parameters()) or name == "lm_head.weight":
            torch.testing.assert_close(value - before[name], torch.full_like(value, 0.25))
