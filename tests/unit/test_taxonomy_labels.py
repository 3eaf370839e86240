"""Flags in the words of other taxonomies: only where there is a counterpart, and every one that is named exists."""

import pytest

from vidlm.domain import Action, Flag, Severity
from vidlm.moderation.labels import LABELS, Label, Scheme, ancestors, export
from vidlm.moderation.policies import load_policies


def flag(policy_id: str, start_s: float) -> Flag:
    return Flag(policy_id, start_s, start_s + 2, 0.75, 0.5, Severity.LOW, Action.REVIEW, ())


def test_a_flag_is_told_in_each_taxonomy_that_has_a_word_for_it() -> None:
    flags = (flag("violence.fight", 1.0), flag("regulated.gambling", 4.0), flag("violence.fight", 8.0))
    told = {scheme: export(flags, load_policies().policies, scheme) for scheme in Scheme}
    assert [(span.label.id, span.start_s, span.end_s, span.confidence) for span in told[Scheme.AWS]] == [
        ("Physical Violence", 1.0, 3.0, 0.75),
        ("Gambling", 4.0, 6.0, 0.75),
        ("Physical Violence", 8.0, 10.0, 0.75),
    ]
    assert [(span.label.id, span.label.title) for span in told[Scheme.LLAMA_GUARD]] == [("S1", "Violent Crimes")] * 2
    assert [span.label.id for span in told[Scheme.LLAVA_GUARD]] == ["O2", "O2"]
    assert [span.label.title for span in told[Scheme.SAFEWATCH]] == ["Threats, Violence & Harm"] * 2


def test_a_policy_that_is_gone_has_no_label() -> None:
    assert export((flag("custom.gone", 0.0),), load_policies().policies, Scheme.AWS) == ()


@pytest.mark.parametrize(("scheme", "count"), [("aws", 52), ("llama_guard", 14), ("llava_guard", 9), ("safewatch", 6)])
def test_taxonomies_are_whole_and_hang_together(scheme: str, count: int) -> None:
    labels = LABELS[Scheme(scheme)]
    assert len(labels) == count
    for name, label in labels.items():
        assert label.id == name
        assert len(ancestors(Scheme(scheme), label)) <= 2
        assert label.parent is None or label.parent in labels


def test_ancestors_come_from_the_top() -> None:
    weapon = LABELS[Scheme.AWS]["Weapon Violence"]
    assert ancestors(Scheme.AWS, weapon) == (
        Label("Violence", "Violence"),
        Label("Graphic Violence", "Graphic Violence", "Violence"),
    )


def test_most_of_the_built_in_policies_have_a_counterpart() -> None:
    policies = load_policies().policies
    for scheme in Scheme:
        assert sum(scheme in policy.labels for policy in policies) >= len(policies) / 2, scheme
