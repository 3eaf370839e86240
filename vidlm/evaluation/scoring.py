"""From replies to a benchmark's own figures: which are right, under which names they are counted. Pure.

A reply that could not be read is wrong, and counted as unreadable besides.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from vidlm.domain import Span
from vidlm.evaluation import metrics
from vidlm.evaluation.figures import Row, row, sampled, share
from vidlm.evaluation.items import Choice, Grounding, Reply, YesNo
from vidlm.evaluation.singles import Single, times

WHOLE: Final = ""
"""The group that everything belongs to."""


def rows_of(replies: Sequence[Reply]) -> list[Row]:
    """The table of any mixture of items: what a kind has no items for has no row."""
    choices = [(reply.item, reply) for reply in replies if isinstance(reply.item, Choice)]
    yes_no = [(reply.item, reply) for reply in replies if isinstance(reply.item, YesNo)]
    grounded = [(reply.item, reply) for reply in replies if isinstance(reply.item, Grounding)]
    rows = _choice_rows(choices) + _yes_no_rows(yes_no) + _grounding_rows(grounded)
    read = [number for reply in replies for number in reply.chosen]
    return rows + ([share("unreadable", read.count(None), len(read), at_least=False)] if read else [])


def single_of(reply: Reply) -> Single:
    """One reply by itself. A choice is right where every rotation is, an interval where half of it and the truth is
    common to both."""
    match reply.item:
        case Choice(video=video, question=asked, options=options, answer=answer):
            right = all(number == answer for number in reply.chosen)
            return Single(
                row="choice_circular", video=video, asked=asked, said=reply.words, truth=options[answer], right=right
            )
        case YesNo(video=video, question=asked, answer=holds):
            right, (said,) = reply.chosen == (int(holds),), reply.words
            return Single(row="yes_no_accuracy", video=video, asked=asked, said=said, truth=holds, right=right)
        case Grounding(video=video, sentence=asked, span=span):
            right = _iou(reply.found, span) >= 0.5
            return Single(
                row="r1_iou50", video=video, asked=asked, said=times(reply.found), truth=times(span), right=right
            )
        case item:
            raise TypeError(f"an item of no known kind: {item}")


def _choice_rows(choices: Sequence[tuple[Choice, Reply]]) -> list[Row]:
    """Plain accuracy (the options as they are published) and CircularEval, over all and for every group."""
    right = [[number == item.answer for number in reply.chosen] for item, reply in choices]
    rows = []
    for group, members in _members([item.groups for item, _ in choices]).items():
        plain = sum(right[index][0] for index in members)
        circular = metrics.circular_accuracy([right[index] for index in members])
        rows += [
            share(_named("choice_accuracy", group), plain, len(members)),
            share(_named("choice_circular", group), round(circular * len(members)), len(members)),
        ]
    return rows


def _yes_no_rows(asked: Sequence[tuple[YesNo, Reply]]) -> list[Row]:
    right = [reply.chosen == (int(item.answer),) for item, reply in asked]
    rows = [
        share(_named("yes_no_accuracy", group), sum(right[index] for index in members), len(members))
        for group, members in _members([item.groups for item, _ in asked]).items()
    ]
    pairs: dict[str, list[bool]] = {}
    for (item, _), is_right in zip(asked, right, strict=True):
        if item.pair:
            pairs.setdefault(item.pair, []).append(is_right)
    return rows + _mme_rows([(pair[0], pair[1]) for pair in pairs.values() if len(pair) == 2])


def _mme_rows(pairs: Sequence[tuple[bool, bool]]) -> list[Row]:
    """Accuracy over the questions that have a partner, accuracy+ over the pairs, and the sum of both in percent."""
    if not pairs:
        return []
    scores = metrics.mme_scores(pairs)
    nan = float("nan")
    return [
        share("mme_accuracy", sum(one + other for one, other in pairs), 2 * len(pairs)),
        share("mme_accuracy_plus", sum(one and other for one, other in pairs), len(pairs)),
        row("mme_score", scores.score, (nan, nan), len(pairs)),
    ]


def _grounding_rows(grounded: Sequence[tuple[Grounding, Reply]]) -> list[Row]:
    if not grounded:
        return []
    videos = {item.video: number for number, item in enumerate(dict.fromkeys(item for item, _ in grounded))}
    owners = [videos[item.video] for item, _ in grounded]
    ious = np.asarray([_iou(reply.found, item.span) for item, reply in grounded], dtype=np.float64)
    scores = metrics.grounding_scores(ious)
    recalls = [name for name in scores if name != "mean_iou"]
    return [
        sampled("mean_iou", owners, lambda i: metrics.grounding_scores(ious[i])["mean_iou"]),
        *[share(name, round(scores[name] * len(ious)), len(ious)) for name in recalls],
        share("not_found", sum(reply.found is None for _, reply in grounded), len(ious), at_least=False),
    ]


def _iou(found: Span | None, truth: Span) -> float:
    return metrics.temporal_iou([] if found is None else [found], truth)


def _members(groups: Sequence[tuple[str, ...]]) -> dict[str, list[int]]:
    """Group -> the items in it, the whole first; no key where there are no items."""
    members: dict[str, list[int]] = {}
    for index, names in enumerate(groups):
        for name in (WHOLE, *names):
            members.setdefault(name, []).append(index)
    return dict(sorted(members.items()))


def _named(figure: str, group: str) -> str:
    return f"{figure} ({group})" if group else figure
