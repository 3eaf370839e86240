"""Many continuations of one prompt as a single row of tokens. Arithmetic on token ids; no model.

Continuations that begin with the same words share those tokens, so the row is a tree. A token sees its ancestors and
itself (and the whole prompt before the tree), and stands as deep as it has ancestors: each leaf sees exactly what it
would see at the end of a prompt of its own.

    Does this part show a knife?          Does - this - part - show - a - knife - ?
    Does this part show blood?                                   |- blood - ?
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Tree:
    """N distinct tokens of K continuations.

    ids, depths: int64 `[N]`; a continuation's first token has depth 0.  sees: bool `[N, N]`, True where a token (row)
    sees another (column).  ends: int64 `[K]`, each continuation's last token.
    """

    ids: Tensor
    depths: Tensor
    sees: Tensor
    ends: Tensor

    def __len__(self) -> int:
        return len(self.ids)


def plant(branches: Sequence[Sequence[int]], most_tokens: int) -> list[Tree]:
    """Trees of consecutive continuations, at most `most_tokens` in each; a longer continuation has one of its own.

    Raises `ValueError` for an empty continuation.
    """
    if not all(branches):
        raise ValueError("a question needs at least one token")
    trees: list[Tree] = []
    growing = _Growing()
    for branch in branches:
        if growing.ends and len(growing.ids) + growing.new_tokens(branch) > most_tokens:
            trees.append(growing.tree())
            growing = _Growing()
        growing.add(branch)
    return [*trees, growing.tree()] if growing.ends else trees


class _Growing:
    """A tree while continuations are added. `children[n]` finds the token that follows token n; -1 is the prompt."""

    def __init__(self) -> None:
        self.ids: list[int] = []
        self.parents: list[int] = []
        self.ends: list[int] = []
        self.children: dict[tuple[int, int], int] = {}

    def new_tokens(self, branch: Sequence[int]) -> int:
        node = -1
        for shared, token in enumerate(branch):
            if (following := self.children.get((node, token))) is None:
                return len(branch) - shared
            node = following
        return 0

    def add(self, branch: Sequence[int]) -> None:
        node = -1
        for token in branch:
            following = self.children.setdefault((node, token), len(self.ids))
            if following == len(self.ids):
                self.ids.append(token)
                self.parents.append(node)
            node = following
        self.ends.append(node)

    def tree(self) -> Tree:
        count = len(self.ids)
        sees = torch.eye(count, dtype=torch.bool)
        rows = sees.numpy()  # parents come before their children, so one pass is enough
        for node, parent in enumerate(self.parents):
            if parent >= 0:
                rows[node] |= rows[parent]
        return Tree(torch.tensor(self.ids), sees.sum(dim=1) - 1, sees, torch.tensor(self.ends))
