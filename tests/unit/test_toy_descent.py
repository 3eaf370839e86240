"""Weights move as fast as is said, and their average follows each of them once."""

import copy

import torch
from tokenizers import Tokenizer

from vidlm.config import EMBEDDED_MODEL
from vidlm.toyworld import student
from vidlm.toyworld.descent import follow


def test_the_average_follows_every_weight_alike() -> None:
    """Embeddings and the head that reads them are one tensor under two names."""
    model = student.new_model(Tokenizer.from_file(str(EMBEDDED_MODEL / "tokenizer.json")))
    average = copy.deepcopy(model.state_dict())
    before = copy.deepcopy(average)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(1.0)
    follow(average, model.state_dict(), 0.25)
    for name, value in average.items():
        if name in dict(model.named_parameters()) or name == "lm_head.weight":
            torch.testing.assert_close(value - before[name], torch.full_like(value, 0.25))
