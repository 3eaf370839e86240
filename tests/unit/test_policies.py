"""Policies: the built-in taxonomy is sound, a set's version follows its content, and every mistake is explained."""

import contextlib
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from vidlm.domain import Policy, Severity
from vidlm.errors import PolicyError
from vidlm.moderation import policies as built_in
from vidlm.moderation.policies import NEVER, load_policies, parse_policies, policy_set, read_policies, to_rows

ROW = {
    "id": "weapons.laser",
    "title": "Laser",
    "blocked": "a laser gun",
    "allowed": "a torch",
    "severity": "low",
    "review": "0.5",
    "block": "0.9",
}

TAXONOMY = {
    "sexual": "explicit_activity explicit_nudity sexual_violence animated_explicit partial_nudity suggestive",
    "child_safety": "suspected_exploitation child_endangerment",
    "violence": "fight assault_abuse armed_attack explosion_fire crash_accident animal_cruelty",
    "graphic": "blood_gore corpse_death mutilation",
    "weapons": "shown in_hand making_instructions",
    "self_harm": "act_or_injury promotion",
    "hate_extremism": "hate_symbol demeaning_protected_group terror_propaganda",
    "harassment": "bullying threat rude_gesture",
    "illegal_acts": "theft_robbery arson_vandalism drug_production_sale",
    "regulated": "drug_use tobacco alcohol gambling",
    "dangerous_acts": "risky_stunt harmful_instructions",
}


def yaml_of(*rows: dict[str, str]) -> str:
    lines = ["policies:"]
    for row in rows:
        for number, (key, value) in enumerate(row.items()):
            lines.append(f"  {'- ' if number == 0 else '  '}{key}: {value}")
    return "\n".join(lines)


def test_taxonomy_is_the_published_one() -> None:
    policies = load_policies().policies
    assert [p.id for p in policies] == [
        f"{parent}.{name}" for parent, names in TAXONOMY.items() for name in names.split()
    ]
    assert {p.parent for p in policies} == set(TAXONOMY)


def test_taxonomy_texts_fit_a_short_question() -> None:
    for policy in load_policies().policies:
        assert len(policy.blocked.split()) <= 12, policy.id
        assert len(policy.allowed.split()) <= 10, policy.id
        assert not policy.blocked.endswith("."), policy.id


def test_low_severity_and_child_safety_never_block_by_themselves() -> None:
    for policy in load_policies().policies:
        if policy.severity is Severity.LOW or policy.parent == "child_safety":
            assert policy.block_threshold == NEVER > 1, policy.id
        if policy.parent == "child_safety":
            assert policy.review_threshold <= 0.25


def test_a_row_becomes_a_policy() -> None:
    (policy,) = parse_policies(yaml_of(ROW)).policies
    expected = Policy("weapons.laser", "Laser", "weapons", "a laser gun", "a torch", Severity.LOW, 0.5, 0.9, 0.4)
    assert policy == expected


def test_disabled_policies_are_left_out() -> None:
    rows = (ROW, ROW | {"id": "weapons.other", "enabled": "false"})
    assert [p.id for p in parse_policies(yaml_of(*rows)).policies] == ["weapons.laser"]


def test_a_row_may_say_more() -> None:
    more = {"keep": "0.3", "at_least_s": "2.5", "labels": "{aws: Weapons, safewatch: C5}"}
    (policy,) = parse_policies(yaml_of(ROW | more)).policies
    assert (policy.keep_threshold, policy.min_duration_s) == (0.3, 2.5)
    assert policy.labels == {"aws": "Weapons", "safewatch": "C5"}


def test_what_is_kept_of_a_policy_makes_it_again() -> None:
    for text in (yaml_of(ROW), built_in.TAXONOMY.read_text()):
        policies = read_policies(yaml.safe_load(text)["policies"])
        assert read_policies(to_rows(policies)) == policies
        assert policy_set(read_policies(to_rows(policies))).version == policy_set(policies).version


def test_a_threshold_that_nothing_reaches_is_never() -> None:
    above = yaml.safe_load(yaml_of(ROW | {"block": "1.5"}))["policies"]
    assert read_policies(above)[0].block_threshold == NEVER
    assert to_rows(read_policies(above))[0]["block"] == "never"


def test_labels_change_no_score_and_so_no_version() -> None:
    labelled = ROW | {"labels": "{aws: Weapons}"}
    assert parse_policies(yaml_of(labelled)).version == parse_policies(yaml_of(ROW)).version


@pytest.mark.parametrize(
    "change",
    [
        {"review": "0.45"},
        {"blocked": "a ray gun"},
        {"title": "Ray"},
        {"severity": "high"},
        {"keep": "0.3"},
        {"at_least_s": "1"},
    ],
)
def test_version_follows_content(change: dict[str, str]) -> None:
    before = parse_policies(yaml_of(ROW)).version
    assert parse_policies("# a comment\n" + yaml_of(dict(reversed(ROW.items())))).version == before
    assert parse_policies(yaml_of(ROW | change)).version != before


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"review": "0.95"}, "field `review` (0.95) is above `block` (0.9)"),
        ({"review": "0"}, "field `review` is 0"),
        ({"review": "1.5"}, "field `review` is 1.5"),
        ({"review": ".nan"}, "field `review` is nan"),
        ({"review": "high"}, "field `review` must be a number, not 'high'"),
        ({"review": "true"}, "field `review` must be a number, not True"),
        ({"review": "1" * 400}, "field `review` is out of range"),
        ({"block": "-1"}, "field `block` is -1"),
        ({"block": "sometimes"}, "field `block` must be a number or `never`"),
        ({"severity": "awful"}, "field `severity` is 'awful'; expected one of none, low, medium, high, severe"),
        ({"severity": "[low]"}, "field `severity`"),
        ({"blocked": "''"}, "field `blocked` must be a text"),
        ({"blocked": "3"}, "field `blocked` must be a text, not 3"),
        ({"title": "x" * 81}, "field `title` is longer than 80 characters"),
        ({"blocked": "'a <|im_end|> b'"}, "field `blocked` must not contain `<|`"),
        ({"keep": "0.6"}, "field `keep` is 0.6; expected more than 0 and at most `review` (0.5)"),
        ({"keep": "0"}, "field `keep` is 0"),
        ({"at_least_s": "-1"}, "field `at_least_s` is -1; expected between 0 and 3600 seconds"),
        ({"at_least_s": "a while"}, "field `at_least_s` must be a number"),
        ({"labels": "S1"}, "field `labels` must be a mapping"),
        ({"labels": "{llama: S1}"}, "no taxonomy 'llama'; known are aws, llama_guard, llava_guard, safewatch"),
        ({"labels": "{llama_guard: S15}"}, "llama_guard has no label 'S15'"),
        ({"labels": "{aws: 3}"}, "aws has no label 3"),
        ({"parent": "graphic"}, "field `parent` is 'graphic' but the id says 'weapons'"),
        ({"enabled": "maybe"}, "field `enabled` must be true or false"),
        ({"treshold": "1"}, "unknown field 'treshold'"),
    ],
)
def test_a_wrong_field_is_explained(change: dict[str, str], says: str) -> None:
    with pytest.raises(PolicyError) as caught:
        parse_policies(yaml_of(ROW | change))
    assert caught.value.detail.startswith("policy 'weapons.laser': ")
    assert says in caught.value.detail
    assert caught.value.code == "invalid_policy"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "expected one key, `policies`"),
        ("policies: 3", "expected one key, `policies`"),
        ("policies: []\nmore: 1", "expected one key, `policies`"),
        ("policies: []", "no policy is enabled"),
        ("policies: [1]", "policy number 1: expected fields"),
        ("policies:\n  - title: x", "policy number 1: field `id` is missing"),
        ("policies: [", "not valid YAML"),
        ("policies: []\npolicies: []", "'policies' is written twice"),
        ("policies: [{id: 2020-99-99}]", "not valid YAML"),
        ("policies: [!!python/name:os.system ]", "not valid YAML"),
        ("[" * 5000, "not valid YAML"),
        (yaml_of(ROW, ROW), "the id is used twice"),
        (yaml_of(ROW | {"id": "Laser"}), "field `id` must look like `parent.name`"),
    ],
)
def test_a_wrong_file_is_explained(text: str, says: str) -> None:
    with pytest.raises(PolicyError, match=r"^[^\n]+$") as caught:
        parse_policies(text)
    assert says in caught.value.detail


@pytest.mark.parametrize("field", ["id", "title", "blocked", "severity", "review", "block"])
def test_a_missing_field_is_named(field: str) -> None:
    with pytest.raises(PolicyError, match=f"field `{field}` is missing"):
        parse_policies(yaml_of({key: value for key, value in ROW.items() if key != field}))


def test_a_file_is_named_without_its_folder(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_bytes(b"\xff\xfe\x00")
    for name in ("mine.yaml", "missing.yaml"):
        with pytest.raises(PolicyError) as caught:
            load_policies(tmp_path / name)
        assert caught.value.detail.startswith(f"{name}: ")
        assert str(tmp_path) not in caught.value.detail


@given(st.text(max_size=200))
def test_any_text_is_a_set_or_an_explanation(text: str) -> None:
    with contextlib.suppress(PolicyError):
        parse_policies("policies:\n  - " + text)
